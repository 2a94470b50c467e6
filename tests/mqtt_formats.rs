//! `detections` in the formats that robots and small machines ask for, read by independent software.

mod broker;
mod daemon;
mod subscriber;
mod support;

use broker::{Broker, OPEN, free_port, more};
use daemon::Daemon;
use serde_json::Value;
use subscriber::{Subscriber, place};

/// The second message of `detections` in a format.
fn detections(format: &str) -> Value {
    let port = free_port();
    let (place, config) = place(port);
    more(&config, &format!("format = \"{format}\"\nframe_id = \"eye\""));
    let _broker = Broker::start(&place, port, OPEN);
    let subscriber = Subscriber::start(port);
    let _daemon = Daemon::start(&config);
    assert_eq!(subscriber.event("start")["source"]["class"], "red", "events stay JSON");
    subscriber.detections();
    subscriber.detections()
}

#[test]
fn robots_read_vision_msgs() {
    let array = detections("ros2");
    let red = &array["detections"][0];
    assert_eq!(array["header"]["frame_id"], "eye");
    assert_eq!(red["results"][0]["hypothesis"]["class_id"], "red");
    assert_eq!(red["header"], array["header"]);
    assert!(red["bbox"]["size_x"].as_f64().is_some_and(|pixels| pixels > 0.0));
}

#[test]
fn cbor_has_the_fields_of_json() {
    let message = detections("cbor");
    assert_eq!((message["schema"].as_u64(), message["sequence"].as_u64()), (Some(1), Some(2)));
    assert_eq!(message["detections"][0]["class"], "red");
}
