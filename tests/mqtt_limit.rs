//! A broker that closes the connection on a message which is larger than it takes: that one is left out, told and counted,
//! and everything else arrives.

mod broker;
mod daemon;
mod subscriber;
mod support;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tvsl::clock::SystemClock;
use tvsl::config::{Config, Overrides};
use tvsl::message::{ClassInfo, Info, Message, ModelInfo, Settings};
use tvsl::publish::{Teller, mqtt};

use broker::{Broker, OPEN, free_port};
use daemon::{PATIENCE, Place};
use subscriber::Subscriber;

/// A device whose `info` has so many classes that it has more than 10 000 bytes.
fn device<'a>(config: &Config, clock: &'a SystemClock) -> Teller<'a> {
    let class =
        |number| ClassInfo { name: format!("c{number}"), label: "a class".into(), prompt: "p".repeat(60) };
    let info = Info {
        schema: 1,
        revision: 1,
        device: "test".into(),
        version: "0".into(),
        model: ModelInfo { name: "none".into(), version: "1".into() },
        engine: "none".into(),
        classes: (0..100).map(class).collect(),
        lens: config.camera.lens.clone(),
        picture: None,
        masked: 0.0,
    };
    Teller::new(config, (info, Settings::new(config, &Overrides::default())), 1, clock)
}

/// A source of a class that has no state, with a prompt of so many bytes: `start`, and `update` after that.
fn seen(id: u64, prompt: usize) -> Message {
    let place =
        json!({"box": [0.0, 0.0, 1.0, 1.0], "pixels": [0, 0, 64, 64], "peak": [0.5, 0.5], "score": 1.0});
    let dog = json!({
        "id": id.to_string(), "event": "start", "class": "dog", "label": "dog", "prompt": "p".repeat(prompt), "p": 0.9,
        "p_audio": 0.9, "p_visual": 0.9, "region": place, "since": 1.0,
    });
    serde_json::from_value(json!({
        "schema": 1, "device": "test", "run": "00000001", "sequence": id, "missed": 0, "late": false,
        "frame": {"captured": 1.0, "width": 64, "height": 64}, "sound": {"start": 0.0, "end": 1.0, "level_dbfs": -20.0},
        "published": 1.0, "detections": [dog], "ended": [],
    }))
    .expect("a message")
}

/// Waits until this holds, while whatever else runs goes on.
async fn until(holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(2 * PATIENCE, wait).await.expect("it never holds");
}

#[test]
fn what_a_broker_will_not_take_is_left_out_and_never_sent_for_ever() {
    gstreamer::init().expect("GStreamer is installed: `make setup`");
    let (place, port, clock) = (Place::new(), free_port(), SystemClock::new());
    let mut config = Config::default();
    (config.device.name, config.mqtt.port, config.mqtt.client_id) = ("test".into(), port, "tvsl-test".into());
    let _broker = Broker::start(&place, port, &format!("{OPEN}\nmax_packet_size 2000"));
    let (subscriber, teller) = (Subscriber::mosquitto(port), device(&config, &clock));
    let store = || teller.outbox().store();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("an event loop");
    runtime.block_on(async {
        let told = async {
            // `info` would close every connection: it is tried once more on one that has lasted, and then no more. On a slow
            // machine a connection may be closed before it was known what closed the one before.
            until(|| store().dropped() == 1).await;
            assert!((3..6).contains(&store().connections()), "{} connections", store().connections());
            (1..=40).for_each(|id| teller.message(&seen(id, 10)));
            until(|| store().is_empty()).await;
            // So would this event, and `detections` with it; those behind them wait and arrive.
            teller.message(&seen(41, 5000));
            (42..=80).for_each(|id| teller.message(&seen(id, 10)));
            until(|| store().is_empty() && store().dropped() == 3).await;
            let connections = store().connections();
            (81..=90).for_each(|id| teller.message(&seen(id, 9000)));
            until(|| store().is_empty()).await;
            assert_eq!(store().connections(), connections, "what is known to be too large is not even tried");
            teller.message(&seen(91, 10));
            until(|| store().is_empty()).await;
        };
        tokio::select! {
            () = mqtt::run(&config, &teller, |_| {}, Arc::new(Notify::new())) => panic!("nobody stopped it"),
            () = told => {}
        }
    });
    for topic in ["events", "detections"] {
        let (mut last, mut missed) = (0, vec![]);
        while last < 91 {
            let message = subscriber.next(topic, |_| true);
            let [number, counted] =
                ["sequence", "missed"].map(|key| message[key].as_u64().expect("a number"));
            if number <= last {
                continue; // it came again after a closed connection
            }
            assert_eq!(number, last + 1 + counted, "{topic}: {message}");
            missed.extend((counted > 0).then_some((number, counted)));
            last = number;
        }
        assert_eq!(missed, [(42, 1), (91, 10)], "{topic}");
    }
    // On a slow machine it may look like a rival before.
    let told = |health: &Value| health["reason"].as_str().is_some_and(|why| why.contains("max_packet_size"));
    let health = subscriber.next("health/broker", told);
    assert_eq!(health["state"], "degraded", "{health}");
    subscriber.next("settings", |settings: &Value| settings["device"] == "test");
}
