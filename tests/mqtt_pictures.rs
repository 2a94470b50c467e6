//! Pictures over MQTT: none unless asked for; then whole PNGs of the analysed picture, read by an independent client.

mod broker;
mod daemon;
mod subscriber;
mod support;

use broker::{Broker, OPEN, free_port, more};
use daemon::Daemon;
use serde_json::Value;
use subscriber::{Subscriber, place, publish};

const PICTURES: [&str; 2] = ["snapshot", "heatmap"];

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_else(|| panic!("no {name} in {value}"))
}

/// When a picture was captured.
fn stamp(picture: &Value) -> f64 {
    let captured = picture["captured"].as_str().expect("a note");
    captured.parse().expect("Unix seconds")
}

#[test]
fn pictures_are_told_as_configured_until_the_device_is_switched_off() {
    let port = free_port();
    let (place, config) = place(port);
    let file = place.path("settings.json");
    more(&config, &format!("settings_file = \"{}\"", file.display()));
    more(&config, "snapshot_every = 0.2\nheatmap_every = 0.2\npicture_kilobytes = 4");
    let _broker = Broker::start(&place, port, OPEN);
    let subscriber = Subscriber::start(port);
    let _daemon = Daemon::start(&config);
    for (topic, channels) in [("snapshot", 3), ("heatmap", 1)] {
        let picture = subscriber.next(topic, |_| true);
        assert_eq!(number(&picture, "channels"), channels);
        // The tests' model is given squares of 64 pixels.
        assert_eq!((number(&picture, "width"), number(&picture, "height")), (64, 64));
        assert!(number(&picture, "bytes") <= 4000, "{picture}");
        let captured = stamp(&picture);
        let next = stamp(&subscriber.next(topic, |_| true));
        assert!(next - captured > 0.199, "{captured} and {next}");
        subscriber.next("detections", |message| message["frame"]["captured"].as_f64() == Some(next));
    }
    publish(port, "set/enable", "false", &[]);
    let end = subscriber.event("end")["published"].as_f64().expect("a stamp");
    let mut now = end;
    while now < end + 2.0 {
        publish(port, "set/sensitivity", "0.1", &[]);
        now = subscriber.next("set/sensitivity/result", |_| true)["published"].as_f64().expect("a stamp");
    }
    publish(port, "set/enable", "true", &[]);
    for topic in PICTURES {
        let after = stamp(&subscriber.next(topic, |picture| stamp(picture) > end));
        assert!(after > end + 1.0, "{topic} of a device that is switched off: {after}");
    }
}

#[test]
fn no_picture_leaves_a_device_that_was_not_asked_for_any() {
    let port = free_port();
    let (place, config) = place(port);
    let _broker = Broker::start(&place, port, OPEN);
    let subscriber = Subscriber::mosquitto(port);
    let mut daemon = Daemon::start(&config);
    (0..10).for_each(|_| drop(subscriber.lines.find(|line| line.starts_with("tvsl/test/detections "))));
    daemon.signal("TERM");
    assert!(daemon.end().success());
    subscriber.lines.find(|line| {
        assert!(!PICTURES.iter().any(|topic| line.starts_with(&format!("tvsl/test/{topic} "))), "{line}");
        line == "tvsl/test/status stopped"
    });
}
