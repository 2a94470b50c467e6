//! Who may talk to whom: certificates, passwords and client certificates against a real broker.

mod broker;
mod certificates;
mod daemon;
mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

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

/// What the daemon's log says of its first try.
fn verdict(config: &std::path::Path) -> String {
    let daemon = Daemon::start(config);
    daemon.log.find(|line| {
        ["connected to the broker", "no connection to the broker"].iter().any(|words| line.contains(words))
    })
}

#[test]
fn a_certificate_is_verified() {
    for (shown, trusted, expected) in [
        ("server", "ca.crt", "connected to the broker"),
        ("server", "stranger.crt", "ca_file"),
        ("stale", "ca.crt", "clock"),
    ] {
        let port = free_port();
        let (place, config) = place(port, &format!("[mqtt.tls]\nenabled = true\nca_file = \"{trusted}\""));
        let _broker = Broker::start(&place, port, &shows(&place, shown, OPEN));
        let told = verdict(&config);
        assert!(told.contains(expected), "{shown} under {trusted}: {told}");
    }
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
    let (place, config) = place(port, "username = \"tvsl\"\npassword_file = \"password\"");
    let _broker = Broker::start(&place, port, &format!("user root\n{}", users(&place)));
    let told = verdict(&config);
    assert!(told.contains("connected to the broker"), "{told}");
    fs::write(place.path("password"), "wrong").expect("our own file");
    let told = verdict(&config);
    assert!(told.contains("not authorised") && !told.contains("wrong password"), "{told}");
    fs::set_permissions(place.path("password"), Permissions::from_mode(0o644)).expect("our own file");
    let told = verdict(&config);
    assert!(told.contains("chmod o=") && !told.contains("hunter2"), "{told}");
}

#[test]
fn the_next_broker_is_tried_when_the_first_is_away() {
    let (away, port) = (free_port(), free_port());
    let (place, config) = place(away, &format!("fallbacks = [\"127.0.0.1:{port}\"]"));
    let _broker = Broker::start(&place, port, OPEN);
    let daemon = Daemon::start(&config);
    let told = daemon.log.find(|line| line.contains("connected to the broker"));
    assert!(told.contains(&port.to_string()), "{told}");
}
