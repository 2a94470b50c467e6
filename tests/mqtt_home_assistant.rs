//! Home Assistant discovers the device by its published rules, and forgets what is no more.

mod broker;
mod daemon;
mod subscriber;
mod support;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use broker::{Broker, OPEN, free_port, more};
use daemon::{Daemon, Place};
use subscriber::{Subscriber, place, publish, publish_to};

const ENTITIES: [&str; 12] = [
    "entity binary_sensor state_red",
    "entity binary_sensor state_green",
    "entity binary_sensor state_blue",
    "entity event event_red",
    "entity event event_green",
    "entity event event_blue",
    "entity binary_sensor health_camera",
    "entity binary_sensor health_microphone",
    "entity binary_sensor health_engine",
    "entity binary_sensor health_broker",
    "entity sensor level",
    "entity switch enable",
];

#[test]
fn the_device_is_discovered_shown_switched_and_forgotten() {
    let port = free_port();
    let (place, config) = place(port);
    more(&config, &format!("settings_file = \"{}\"", place.path("settings.json").display()));
    let plain = std::fs::read_to_string(&config).expect("a file");
    let _broker = Broker::start(&place, port, OPEN);
    more(&config, "[mqtt.home_assistant]\nenabled = true");
    let mut daemon = Daemon::start(&config);
    let subscriber = Subscriber::start(port);
    subscriber.status("online");
    let home = Subscriber::home_assistant(port);
    let healthy = ["camera", "microphone", "engine", "broker"]
        .map(|part| format!("state binary_sensor health_{part} OFF"));
    let shown: Vec<&str> = healthy.iter().map(String::as_str).collect();
    home.says(&[&ENTITIES[..], &["state binary_sensor state_red ON"], &shown].concat());
    publish_to(port, "homeassistant/status", "online", &[]);
    home.says(&ENTITIES);
    publish(port, "set/enable", "false", &[]);
    home.says(&[
        "state switch enable false",
        "state binary_sensor state_red OFF",
        "state event event_red end",
    ]);
    publish(port, "set/classes", "[\"red\"]", &[]);
    home.says(&["gone event event_green", "gone binary_sensor state_green", "gone event event_blue"]);
    daemon.signal("TERM");
    assert!(daemon.end().success());
    std::fs::write(&config, plain).expect("room for a file");
    let _off = Daemon::start(&config);
    home.says(&["gone event event_red", "gone sensor level", "gone switch enable"]);
}

#[test]
fn what_earlier_models_and_names_left_is_taken_back() {
    let port = free_port();
    let (place, config) = place(port);
    let _broker = Broker::start(&place, port, OPEN);
    more(&config, "[mqtt.home_assistant]\nformer = [\"attic\"]");
    let home = Subscriber::home_assistant(port);
    let left = r#"{"state_topic": "x", "availability_topic": "y", "name": "x", "unique_id": "ID", "device": {"identifiers": ["x"]}}"#;
    for id in ["test/state_gone", "attic/level"] {
        let topic = format!("homeassistant/sensor/tvsl_{id}/config");
        publish_to(port, &topic, &left.replace("ID", id), &["-r"]);
    }
    home.says(&["entity sensor state_gone", "entity sensor level"]);
    let _daemon = Daemon::start(&config);
    home.says(&["gone sensor state_gone", "gone sensor level"]);
}

/// Gives the device of a configuration another name.
fn rename(config: &Path, old: &str, new: &str) {
    let text = std::fs::read_to_string(config).expect("a file");
    let name = |name: &str| format!("name = \"{name}\"");
    assert!(text.contains(&name(old)));
    std::fs::write(config, text.replace(&name(old), &name(new))).expect("room for a file");
}

/// What a daemon of this place remembers of its names.
fn memory(place: &Place) -> PathBuf {
    let folder = place.path("state/tvsl").read_dir().expect("a folder");
    let mut files = folder.map(|file| file.expect("a file").path());
    files.find(|file| file.display().to_string().contains("names-")).expect("it remembers its names")
}

/// All that the broker keeps under `filter` for who comes now.
fn kept(port: u16, filter: &str) -> Vec<String> {
    let mut command = std::process::Command::new("mosquitto_sub");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-F", "%t %p", "--retained-only", "-W", "1"]);
    let output = command.args(["-t", filter]).output().expect("clients are installed: `make setup-test`");
    String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
}

/// Plays until its first event, and ends as `signal` says.
fn play(config: &Path, subscriber: &Subscriber, signal: &str) {
    let mut daemon = Daemon::start(config);
    subscriber.event("start");
    daemon.signal(signal);
    daemon.end();
    subscriber.status(if signal == "TERM" { "stopped" } else { "offline" });
}

#[test]
fn a_device_that_is_renamed_while_it_is_off_leaves_nothing_behind() {
    let port = free_port();
    let (place, config) = place(port);
    more(&config, "[mqtt.home_assistant]\nenabled = true");
    let _broker = Broker::start(&place, port, OPEN);
    let subscriber = Subscriber::start(port);
    let home = Subscriber::home_assistant(port);
    play(&config, &subscriber, "TERM");
    let written = |place: &Place| memory(place).metadata().expect("a file").ino();
    let before = written(&place);
    // A crash: its state says ON and names a source, its status is the broker's last will.
    play(&config, &subscriber, "KILL");
    assert_eq!(written(&place), before, "flash is spared");
    home.says(&ENTITIES);
    rename(&config, "test", "hall");
    let everybody = Subscriber::lasting(port);
    let _daemon = Daemon::start(&config);
    let gone: Vec<String> = ENTITIES.iter().map(|entity| entity.replace("entity ", "gone ")).collect();
    home.says(&gone.iter().map(String::as_str).collect::<Vec<_>>());
    for topic in ["info", "settings", "state/red", "state/blue", "health/broker", "health/engine"] {
        subscriber.payload(topic, str::is_empty);
    }
    everybody
        .lines
        .find(|line| line.starts_with("tvsl/hall/events") && line.contains("\"interrupted\":true"));
    assert_eq!(kept(port, "tvsl/test/#"), ["tvsl/test/status offline"]);
    assert_eq!(kept(port, "homeassistant/+/tvsl_test/#"), [""; 0]);
    assert_eq!(kept(port, "homeassistant/+/tvsl_hall/#").len(), ENTITIES.len());
    assert_ne!(written(&place), before);
}

#[test]
fn a_former_name_that_another_device_has_is_left_alone() {
    let port = free_port();
    let (theirs, ours) = (place(port), place(port));
    more(&ours.1, "keep_alive = 5"); // so that it is soon sure that no last will of its own is still to come
    let _broker = Broker::start(&ours.0, port, OPEN);
    let subscriber = Subscriber::start(port);
    play(&ours.1, &subscriber, "TERM");
    rename(&ours.1, "test", "hall");
    let _other = Daemon::start(&theirs.1);
    subscriber.status("online");
    let daemon = Daemon::start(&ours.1);
    daemon.log.find(|line| line.contains("another client is online as \"test\""));
    let kept = kept(port, "tvsl/test/#");
    for topic in ["status online", "info {", "settings {", "state/red {"] {
        assert!(kept.iter().any(|line| line.starts_with(&format!("tvsl/test/{topic}"))), "{topic}: {kept:?}");
    }
}

#[test]
fn a_class_and_a_part_that_are_no_more_after_a_restart_are_taken_back() {
    let port = free_port();
    let (place, config) = place(port);
    let _broker = Broker::start(&place, port, OPEN);
    let subscriber = Subscriber::start(port);
    let store = std::fs::read_to_string(&config).expect("a file");
    more(&config, "[mqtt.home_assistant]\nenabled = true\n[mqtt.store]\nenabled = true");
    let home = Subscriber::home_assistant(port);
    play(&config, &subscriber, "KILL");
    home.says(&ENTITIES);
    subscriber.next("health/store", |_| true);
    std::fs::write(
        &config,
        format!("detection.classes = [\"red\"]\n{store}[mqtt.home_assistant]\nenabled = true\n"),
    )
    .expect("room for a file");
    let _daemon = Daemon::start(&config);
    home.says(&["gone event event_green", "gone binary_sensor state_green", "gone event event_blue"]);
    for topic in ["state/green", "state/blue", "health/store"] {
        subscriber.payload(topic, str::is_empty);
    }
}
