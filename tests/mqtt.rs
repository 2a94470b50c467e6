//! Subscribers are told through a real broker, and every fault of the broker is survived.

mod broker;
mod daemon;
mod subscriber;
mod support;
mod wire;

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use broker::{Broker, OPEN, free_port, more};
use daemon::Daemon;
use subscriber::{Subscriber, place, publish, works_on};
use wire::Wire;

fn start(config: &Path) -> Daemon {
    Daemon::start(config)
}

#[test]
fn a_subscriber_is_told_what_is_heard_and_seen() {
    let port = free_port();
    let (place, config) = place(port);
    let _broker = Broker::start(&place, port, OPEN);
    let subscriber = Subscriber::start(port);
    let mut daemon = start(&config);
    subscriber.status("online");
    let first = subscriber.detections();
    assert_eq!((first["schema"].as_u64(), first["sequence"].as_u64()), (Some(1), Some(1)));
    assert_eq!(first["device"], "test");
    let red = &first["detections"][0];
    assert_eq!((red["class"].as_str(), red["event"].as_str()), (Some("red"), Some("start")));
    let stamp = |part: &str, name: &str| first[part][name].as_f64().expect("a stamp");
    assert!(stamp("sound", "start") < stamp("sound", "end"));
    assert!(stamp("sound", "end") <= stamp("frame", "captured") + 1e-6);
    assert!(stamp("frame", "captured") < first["published"].as_f64().expect("a stamp"));
    let second = subscriber.detections();
    assert_eq!(second["sequence"], 2);
    assert_eq!(second["detections"][0]["id"], red["id"], "one id for as long as it lasts");
    daemon.signal("TERM");
    let last = subscriber.lines.find(|line| line.contains("\"ended\":[{"));
    assert!(last.contains(red["id"].as_str().expect("an id")), "a clean stop ends what was reported");
    subscriber.status("stopped");
    assert!(daemon.end().success());
}

#[test]
fn the_broker_says_that_a_killed_device_is_gone() {
    let port = free_port();
    let (place, config) = place(port);
    let _broker = Broker::start(&place, port, OPEN);
    let subscriber = Subscriber::mosquitto(port);
    let daemon = start(&config);
    subscriber.status("online");
    daemon.signal("KILL");
    subscriber.status("offline");
    Subscriber::mosquitto(port).status("offline"); // retained: told to whoever comes later
}

#[test]
fn a_broker_that_comes_late_or_comes_back_is_found() {
    let port = free_port();
    let (place, config) = place(port);
    let daemon = start(&config);
    daemon.log.find(|line| line.contains("no connection to the broker"));
    daemon.messages.find(|line| line.contains("\"red\"")); // analysis does not wait for it
    let broker = Broker::start(&place, port, OPEN);
    let subscriber = Subscriber::start(port);
    subscriber.status("online");
    subscriber.detections();
    drop((subscriber, broker));
    daemon.log.find(|line| line.contains("no connection to the broker"));
    let _broker = Broker::start(&place, port, OPEN);
    let subscriber = Subscriber::start(port);
    subscriber.status("online");
    subscriber.detections();
    // The new broker knows nothing: everything that holds is told to it again.
    subscriber.next("state/red", |state| state["state"] == "ON");
    subscriber.next("state/green", |state| state["state"] == "OFF");
    for topic in ["info", "settings", "health/configuration", "health/engine", "health/broker"] {
        subscriber.next(topic, |_| true);
    }
}

#[test]
fn a_refusal_is_told_with_its_reason_and_is_no_connection() {
    let port = free_port();
    let (place, config) = place(port);
    let _broker = Broker::start(&place, port, "allow_anonymous false");
    let daemon = start(&config);
    let told = daemon.log.find(|line| line.contains("no connection to the broker"));
    assert!(told.contains("not authorised"), "{told}");
    daemon.messages.find(|line| line.contains("\"red\""));
}

#[test]
fn a_broker_that_accepts_and_never_answers_holds_up_nothing() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let (_place, config) = place(silent.local_addr().expect("an address").port());
    let mut daemon = start(&config);
    daemon.messages.find(|line| line.contains("\"red\""));
    daemon.log.find(|line| line.contains("it does not answer in time"));
    daemon.signal("TERM");
    assert!(daemon.end().success());
}

#[test]
fn the_life_of_a_source_is_told_and_its_class_has_a_state() {
    let port = free_port();
    let (place, config) = place(port);
    more(&config, "update_every = 0\n[camera.lens]\nfield_of_view = 60");
    let _broker = Broker::start(&place, port, OPEN);
    let subscriber = Subscriber::start(port);
    let daemon = start(&config);
    let info = subscriber.next("info", |_| true);
    assert_eq!(info["classes"][0]["name"], "red");
    assert_eq!(subscriber.next("state/red", |_| true)["state"], "OFF");
    assert_eq!(subscriber.next("health/broker", |_| true)["state"], "ok");
    let start = subscriber.event("start");
    assert_eq!((start["sequence"].as_u64(), start["late"].as_bool()), (Some(1), Some(false)));
    assert!(start["source"]["bearing"]["azimuth_deg"].as_f64().expect("an angle").abs() <= 30.0);
    let on = subscriber.next("state/red", |state| state["state"] == "ON");
    assert_eq!(on["sources"][0]["id"], start["source"]["id"]);
    assert_eq!(subscriber.event("update")["source"]["id"], start["source"]["id"]);
    assert!(subscriber.next("level", |_| true)["level_dbfs"].as_f64().expect("a level") > -20.0);
    daemon.signal("TERM");
    let end = subscriber.event("end");
    assert_eq!(end["source"]["id"], start["source"]["id"]);
    assert!(end["source"]["duration"].as_f64().expect("a time") > 0.0);
    subscriber.next("state/red", |state| state["state"] == "OFF");
    subscriber.status("stopped");
}

#[test]
fn what_a_crash_interrupted_is_ended_by_the_next_run() {
    let port = free_port();
    let (place, config) = place(port);
    let _broker = Broker::start(&place, port, OPEN);
    let subscriber = Subscriber::start(port);
    let daemon = start(&config);
    let start_of_first = subscriber.event("start");
    subscriber.next("state/red", |state| state["state"] == "ON");
    daemon.signal("KILL");
    subscriber.status("offline");
    let _second = start(&config);
    let end = subscriber.event("end");
    assert_eq!(
        (end["interrupted"].as_bool(), &end["source"]["id"]),
        (Some(true), &start_of_first["source"]["id"])
    );
    assert_ne!(end["run"], start_of_first["run"]);
    let fresh = subscriber.next("state/red", |state| state["run"] == end["run"]);
    assert!(fresh["sources"].as_array().is_some_and(|sources| !sources.contains(&end["source"])));
}

/// A subscriber that drops what it knows sees every event once and in order, whatever happens to the
/// connection between device and broker.
#[test]
fn no_event_is_lost_on_a_wire_that_breaks() {
    let port = free_port();
    let wire = Wire::to(port);
    let (place, config) = place(wire.port);
    more(&config, "update_every = 0");
    let _broker = Broker::start(&place, port, OPEN);
    let subscriber = Subscriber::start(port);
    let mut daemon = start(&config);
    let (mut told, mut again) = (0, 0);
    for round in 0..6 {
        again += subscriber.events(told, told + 8);
        told += 8;
        if round % 2 == 1 {
            wire.lose_answers();
            works_on(&daemon);
        }
        wire.cut();
    }
    assert!(again > 0, "what was not acknowledged is sent again");
    daemon.signal("TERM");
    assert!(daemon.end().success());
}

#[test]
fn every_topic_is_as_its_schema_says() {
    let port = free_port();
    let (place, config) = place(port);
    more(&config, "[camera.lens]\nfield_of_view = 60");
    let _broker = Broker::start(&place, port, OPEN);
    let subscriber = Subscriber::start(port);
    let daemon = start(&config);
    subscriber.status("online");
    for topic in
        ["detections", "events", "health/broker", "health/engine", "info", "level", "settings", "state/red"]
    {
        subscriber.next(topic, |_| true);
    }
    daemon.signal("TERM");
    subscriber.status("stopped");
}

#[test]
fn who_comes_late_is_told_what_holds_and_nothing_else() {
    let port = free_port();
    let (place, config) = place(port);
    let _broker = Broker::start(&place, port, OPEN);
    let subscriber = Subscriber::start(port);
    let mut daemon = start(&config);
    subscriber.detections();
    subscriber.next("level", |_| true);
    daemon.signal("TERM");
    assert!(daemon.end().success());
    subscriber.status("stopped");
    let late = Subscriber::start(port);
    // A broker tells what it kept first; this is the sign that it has.
    let sign = r#"{"schema": 1, "device": "test", "level_dbfs": 0, "heard": 0, "published": 0}"#;
    publish(port, "level", sign, &["-q", "0"]);
    let mut told = Vec::new();
    late.lines.find(|line| {
        told.push(line.split(' ').next().unwrap_or_default().replace("tvsl/test/", ""));
        line.starts_with("tvsl/test/level ")
    });
    told.sort();
    let parts = ["broker", "camera", "configuration", "engine", "microphone"];
    let health = parts.map(|part| format!("health/{part}"));
    let states = ["blue", "green", "red"].map(|class| format!("state/{class}"));
    let sole = |topic: &str| vec![topic.to_owned()];
    let kept =
        [&health[..], &sole("info"), &sole("level"), &sole("settings"), &states, &sole("status")].concat();
    assert_eq!(told, kept);
}
