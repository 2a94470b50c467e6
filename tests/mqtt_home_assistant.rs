//! Home Assistant discovers the device by its published rules, and forgets what is no more.

mod broker;
mod daemon;
mod subscriber;
mod support;

use broker::{Broker, OPEN, free_port, more};
use daemon::Daemon;
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
    home.says(&[&ENTITIES[..], &["state binary_sensor state_red ON"]].concat());
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
