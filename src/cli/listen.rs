//! A subscriber like any other: its own connection, its own thread, nothing but the topics.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rumqttc::{Client, Event, MqttOptions, Packet, QoS};

use crate::message::Message;

/// What a subscriber sees.
#[derive(Debug)]
pub(super) enum Heard {
    /// A message of the topic `detections`, and the Unix time at which it arrived.
    Message(Box<Message>, f64),
    /// A word of the topic `status`.
    Status(String),
    /// A payload that is no message.
    Unreadable(String),
}

/// Subscribes to everything under `prefix` and returns what arrives.
pub(super) fn subscribe(port: u16, prefix: &str) -> Result<Receiver<Heard>, String> {
    let mut options = MqttOptions::new("tvsl-subscriber", ("127.0.0.1", port));
    options.set_max_packet_size(256 * 1024, 256 * 1024);
    let (client, mut connection) = Client::builder(options).capacity(8).build();
    client.subscribe(format!("{prefix}/#"), QoS::AtLeastOnce).map_err(|error| error.to_string())?;
    let (out, heard) = channel();
    let (subscribed, ready) = channel();
    let listen = move || {
        // The client lives here: without it the connection would close.
        let _client = client;
        for event in connection.iter() {
            match event {
                Ok(Event::Incoming(Packet::SubAck(_))) => drop(subscribed.send(())),
                Ok(Event::Incoming(Packet::Publish(publish))) => {
                    if pass_on(&out, &publish.topic, &publish.payload).is_err() {
                        return;
                    }
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
    };
    std::thread::Builder::new().name("subscriber".into()).spawn(listen).map_err(|error| error.to_string())?;
    ready
        .recv_timeout(Duration::from_secs(5))
        .map_err(|_| "the broker did not answer a subscriber in 5 s".to_string())?;
    Ok(heard)
}

fn pass_on(out: &Sender<Heard>, topic: &[u8], payload: &[u8]) -> Result<(), ()> {
    let arrived = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let heard = if topic.ends_with(b"/status") {
        Heard::Status(String::from_utf8_lossy(payload).into())
    } else if topic.ends_with(b"/detections") {
        match serde_json::from_slice(payload) {
            Ok(message) => Heard::Message(Box::new(message), arrived),
            Err(error) => Heard::Unreadable(error.to_string()),
        }
    } else {
        return Ok(());
    };
    out.send(heard).map_err(drop)
}
