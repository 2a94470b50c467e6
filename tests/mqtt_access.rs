//! Who may talk to whom: certificates, passwords and client certificates against a real broker.

mod broker;
mod certificates;
mod daemon;
mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use broker::{Broker, OPEN, free_port, more};
use certificates::{certificates, closed, shows, users};
use daemon::{Daemon, Place};

/// A place whose daemon has nothing to see, and a configuration with these lines below `[mqtt]`.
fn place(port: u16, lines: &str) -> (Place, PathBuf) {
    let place = Place::new();
    certificates(&place);
    closed(&place.path("password"), "hunter2\n");
    let config = place.config(&format!(
        "[camera]\nsource = \"test\"\n[microphone]\nsource = \"none\"\n[mqtt]\nport = {port}\n"
    ));
    more(&config, lines);
    (place, config)
}

const TRUSTING: &str = "[mqtt.tls]\nenabled = true\nca_file = \"ca.crt\"";

const VERDICTS: [&str; 3] = ["connected to the broker", "no connection to the broker", "tvsl.toml:"];

/// What the daemon's log says of its first try.
fn verdict(config: &Path) -> String {
    let daemon = Daemon::start(config);
    daemon.log.find(|line| VERDICTS.iter().any(|words| line.contains(words)))
}

#[test]
fn a_certificate_is_verified() {
    for (shown, trusted, expected) in [
        ("server", "ca.crt", "connected to the broker"),
        ("server", "stranger.crt", "ca_file"),
        ("stale", "ca.crt", "clock"),
        ("elsewhere", "ca.crt", "set [mqtt] host to a name that the certificate holds"),
    ] {
        let port = free_port();
        let (place, config) = place(port, &format!("[mqtt.tls]\nenabled = true\nca_file = \"{trusted}\""));
        let _broker = Broker::start(&place, port, &shows(&place, shown, OPEN));
        let told = verdict(&config);
        assert!(told.contains(expected), "{shown} under {trusted}: {told}");
    }
}

#[test]
fn what_is_put_right_is_found_by_the_same_daemon() {
    let port = free_port();
    let (place, config) = place(port, "[mqtt.tls]\nenabled = true\nca_file = \"trusted.crt\"");
    let trust = |authority: &str| {
        fs::copy(place.path(authority), place.path("trusted.crt")).expect("our own file");
    };
    let told = |daemon: &Daemon, verdict: &str, why: &str| {
        daemon.log.find(|line| line.contains(verdict) && line.contains(why));
    };
    trust("stranger.crt");
    let broker = Broker::start(&place, port, &shows(&place, "server", OPEN));
    let daemon = Daemon::start(&config);
    told(&daemon, "no connection to the broker", "ca_file");
    trust("ca.crt");
    told(&daemon, "connected to the broker", "");
    drop(broker);
    let broker = Broker::start(&place, port, &shows(&place, "stale", OPEN));
    told(&daemon, "no connection to the broker", "renew it");
    drop(broker);
    let _broker = Broker::start(&place, port, &shows(&place, "server", OPEN));
    told(&daemon, "connected to the broker", "");
}

#[test]
fn without_a_ca_file_only_the_systems_authorities_are_trusted() {
    let port = free_port();
    let (place, config) = place(port, "[mqtt.tls]\nenabled = true");
    let _broker = Broker::start(&place, port, &shows(&place, "server", OPEN));
    let told = verdict(&config);
    assert!(told.contains("no connection") && told.contains("authorit"), "{told}");
}

#[test]
fn a_broker_may_want_a_client_certificate() {
    let wants = format!("require_certificate true\n{OPEN}");
    let port = free_port();
    let (place_without, config) = place(port, TRUSTING);
    let broker = Broker::start(&place_without, port, &shows(&place_without, "server", &wants));
    let told = verdict(&config);
    assert!(told.contains("no connection") && told.contains("certificate_file"), "{told}");
    more(&config, "certificate_file = \"client.crt\"\nkey_file = \"client.key\"");
    let told = verdict(&config);
    assert!(told.contains("connected to the broker"), "{told}");
    drop(broker);
}

#[test]
fn a_password_comes_from_a_closed_file() {
    let port = free_port();
    let (place, config) = place(port, "username_file = \"user\"\npassword_file = \"password\"");
    closed(&place.path("user"), "tvsl");
    let _broker = Broker::start(&place, port, &format!("user root\n{}", users(&place)));
    let told = verdict(&config);
    assert!(told.contains("connected to the broker"), "{told}");
    fs::write(place.path("password"), "wrong").expect("our own file");
    let told = verdict(&config);
    assert!(told.contains("not authorised") && !told.contains("wrong password"), "{told}");
    fs::set_permissions(place.path("password"), Permissions::from_mode(0o644)).expect("our own file");
    let told = verdict(&config);
    assert!(told.contains("sudo chgrp video") && !told.contains("hunter2"), "{told}");
}

#[test]
fn the_user_name_may_come_from_a_closed_file_too() {
    let port = free_port();
    let (place, config) = place(port, "username_file = \"user\"\npassword_file = \"password\"");
    closed(&place.path("user"), "tvsl\n");
    let _broker = Broker::start(&place, port, &format!("user root\n{}", users(&place)));
    let told = verdict(&config);
    assert!(told.contains("connected to the broker"), "{told}");
    closed(&place.path("user"), "somebody");
    let told = verdict(&config);
    assert!(told.contains("not authorised") && told.contains("username_file"), "{told}");
    fs::write(place.path("user"), [0xff, 0xfe]).expect("our own file");
    let told = verdict(&config);
    assert!(told.contains("mqtt.username_file") && told.contains("UTF-8"), "{told}");
    fs::set_permissions(place.path("user"), Permissions::from_mode(0o644)).expect("our own file");
    let told = verdict(&config);
    assert!(told.contains("mqtt.username_file") && told.contains("chgrp video"), "{told}");
}

#[test]
fn user_and_password_may_be_systemd_credentials() {
    let port = free_port();
    let (place, config) = place(port, "username_file = \"mqtt-user\"\npassword_file = \"mqtt-password\"");
    let _broker = Broker::start(&place, port, &format!("user root\n{}", users(&place)));
    let folder = place.path("credentials");
    fs::create_dir(&folder).expect("room for a folder");
    fs::write(folder.join("mqtt-user"), "tvsl").expect("room for a file");
    fs::write(folder.join("mqtt-password"), "hunter2").expect("room for a file");
    let daemon = Daemon::start_with(&config, &[("CREDENTIALS_DIRECTORY", folder.to_str().expect("text"))]);
    let told = daemon.log.find(|line| VERDICTS.iter().any(|words| line.contains(words)));
    assert!(told.contains("connected to the broker"), "{told}");
}

/// Everything that a daemon writes at the level `trace`, until it knows how it stands with the broker and is told to stop.
fn everything(config: &Path) -> Vec<String> {
    let mut daemon = Daemon::start_with(config, &[("TVSL_LOG", "trace")]);
    let mut lines = Vec::new();
    let verdict = daemon.log.find(|line| {
        lines.push(line.to_owned());
        VERDICTS.iter().any(|words| line.contains(words))
    });
    let refused = verdict.contains("tvsl.toml:");
    if !refused {
        daemon.signal("TERM");
    }
    lines.extend(daemon.log.rest());
    lines.extend(daemon.messages.rest());
    assert_eq!(daemon.end().code(), Some(if refused { 78 } else { 0 }));
    lines
}

#[test]
fn no_secret_is_in_any_line_of_the_log() {
    let port = free_port();
    let access = "username_file = \"user\"\npassword_file = \"password\"";
    let client = "certificate_file = \"client.crt\"\nkey_file = \"client.key\"";
    let (place, config) = place(port, &format!("{access}\n{TRUSTING}\n{client}"));
    closed(&place.path("user"), "wachtmeister");
    let wants = format!("require_certificate true\n{}", users(&place));
    let _broker = Broker::start(&place, port, &shows(&place, "server", &wants));
    let key = fs::read_to_string(place.path("client.key")).expect("our own file");
    let body = |line: &&str| !line.starts_with("-----");
    let mut secrets: Vec<String> = key.lines().filter(body).map(str::to_owned).collect();
    assert!(secrets.iter().any(|line| line.len() > 40), "{} lines of a key", secrets.len());
    secrets.extend(["hunter2", "wachtmeister", "sesame-opens"].map(str::to_owned));
    let silent = |what: &str, expected: &str| {
        let lines = everything(&config);
        assert!(lines.iter().any(|line| line.contains(expected)), "{what}: {}", lines.join("\n"));
        let refused = lines.iter().any(|line| line.contains("chgrp video"));
        let traced = lines.iter().any(|line| line.contains("TRACE"));
        assert!(refused || traced, "{what}: nothing is at the level trace");
        let told = lines.iter().find(|line| secrets.iter().any(|secret| line.contains(secret.as_str())));
        assert_eq!(told, None, "{what}");
    };
    silent("a user that is not known", "not authorised");
    closed(&place.path("user"), "tvsl");
    silent("the right user and password", "connected to the broker");
    closed(&place.path("password"), "sesame-opens");
    silent("a wrong password", "not authorised");
    closed(&place.path("client.key"), &key.replace("-----BEGIN", "-----BEGAN"));
    silent("a damaged key", "no connection to the broker");
    closed(&place.path("client.key"), &key);
    fs::set_permissions(place.path("client.key"), Permissions::from_mode(0o644)).expect("our own file");
    silent("a key that everybody can read", "chgrp video");
}
