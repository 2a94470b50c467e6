//! A subscriber that counts what arrives of all devices, how late, and what is missing.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rumqttc::{Client, Event, MqttOptions, Packet, QoS};
use serde::{Deserialize, Serialize};

use crate::config::Address;
use crate::evaluate::bootstrap::quantile;

/// Start of the topics of simulated devices.
pub(super) const PREFIX: &str = "tvsl-fleet-sim";
/// When nothing more comes for so long, nothing more will.
const QUIET: Duration = Duration::from_secs(2);

/// What arrived of one topic of all devices.
#[derive(Debug, Default, Serialize)]
pub(super) struct Tally {
    pub messages: u64,
    pub bytes: u64,
    /// Seconds from the publication to its arrival.
    pub delay_p50: f64,
    pub delay_p99: f64,
    /// Numbers that never came, and numbers that came again.
    pub lost: u64,
    pub again: u64,
    #[serde(skip)]
    delays: Vec<f64>,
    #[serde(skip)]
    last: HashMap<String, u64>,
}

/// The fields that both topics have.
#[derive(Deserialize)]
struct Stamp {
    device: String,
    sequence: u64,
    missed: u64,
    published: f64,
}

/// A message as it came in.
struct Arrival {
    event: bool,
    bytes: u64,
    at: f64,
    stamp: Stamp,
}

pub(super) struct Witness(Receiver<Arrival>);

impl Witness {
    /// Subscribes at the broker.
    pub fn start(at: &Address) -> Result<Self, String> {
        let mut options = MqttOptions::new("tvsl-fleet-witness", (at.host.clone(), at.port));
        options.set_max_packet_size(256 * 1024, 256 * 1024);
        let (client, mut connection) = Client::builder(options).capacity(8).build();
        for topic in ["events", "detections"] {
            client
                .subscribe(format!("{PREFIX}/+/{topic}"), QoS::AtLeastOnce)
                .map_err(|error| error.to_string())?;
        }
        let ((out, arrivals), (subscribed, ready)) = (channel(), channel());
        let listen = move || {
            let _client = client; // without it the connection would close
            for event in connection.iter() {
                match event {
                    Ok(Event::Incoming(Packet::SubAck(_))) => drop(subscribed.send(Ok(()))),
                    Ok(Event::Incoming(Packet::Publish(message))) => {
                        let at =
                            SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
                        let Ok(stamp) = serde_json::from_slice(&message.payload) else { continue };
                        let (event, bytes) =
                            (message.topic.ends_with(b"/events"), message.payload.len() as u64);
                        if out.send(Arrival { event, bytes, at, stamp }).is_err() {
                            return;
                        }
                    }
                    Ok(_) => {}
                    Err(error) => return drop(subscribed.send(Err(error.to_string()))),
                }
            }
        };
        std::thread::Builder::new()
            .name("witness".into())
            .spawn(listen)
            .map_err(|error| error.to_string())?;
        for _ in 0..2 {
            ready
                .recv_timeout(Duration::from_secs(5))
                .map_err(|_| format!("{at}: the broker does not answer"))??;
        }
        Ok(Self(arrivals))
    }

    /// Counts events and detections once nothing more comes; `sent` is how many detections each device told.
    pub fn finish(self, sent: &[(String, u64)]) -> (Tally, Tally) {
        let (mut events, mut detections) = (Tally::default(), Tally::default());
        loop {
            match self.0.recv_timeout(QUIET) {
                Ok(arrival) if arrival.event => events.take(arrival),
                Ok(arrival) => detections.take(arrival),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        detections.lost += sent
            .iter()
            .map(|(name, sent)| sent - detections.last.get(name).unwrap_or(&0).min(sent))
            .sum::<u64>();
        events.sum_up();
        detections.sum_up();
        (events, detections)
    }
}

impl Tally {
    fn take(&mut self, Arrival { bytes, at, stamp, .. }: Arrival) {
        let last = self.last.entry(stamp.device).or_default();
        if stamp.sequence <= *last {
            self.again += 1;
            return;
        }
        // What the device itself dropped, for want of room, never arrived either.
        self.lost += stamp.sequence - *last - 1 + if stamp.sequence == *last + 1 { stamp.missed } else { 0 };
        *last = stamp.sequence;
        self.messages += 1;
        self.bytes += bytes;
        self.delays.push((at - stamp.published).max(0.0));
    }

    fn sum_up(&mut self) {
        self.delays.sort_by(f64::total_cmp);
        let at = |q| quantile(&self.delays, q).unwrap_or(0.0);
        (self.delay_p50, self.delay_p99) = (at(0.5), at(0.99));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_lost_and_known_numbers_came_again() {
        let mut tally = Tally::default();
        for (device, sequence) in [("a", 1), ("b", 1), ("a", 2), ("a", 2), ("a", 5), ("b", 2)] {
            let stamp = Stamp { device: device.into(), sequence, missed: 0, published: 0.0 };
            tally.take(Arrival { event: true, bytes: 10, at: 0.5, stamp });
        }
        tally.sum_up();
        assert_eq!((tally.messages, tally.lost, tally.again, tally.bytes), (5, 2, 1, 50));
        assert_eq!(tally.delay_p99, 0.5);
    }
}
