//! A subscriber that counts what arrives of all devices, how late, and what is missing.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rumqttc::{
    Client, Connection, Event, Packet, Publish, PublishOptions, QoS, SubscribeFilter, SubscribeReasonCode,
};
use serde::{Deserialize, Serialize};

use crate::config::{Address, Config};
use crate::evaluate::bootstrap::quantile;
use crate::pipeline::Stop;
use crate::publish::mqtt;

/// Start of the topics of simulated devices.
pub(super) const PREFIX: &str = "tvsl-fleet-sim";
/// When nothing more comes for so long, nothing more will.
const QUIET: Duration = Duration::from_secs(2);
/// Longest time until its own message has come back; half of it is for the connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a wait looks whether it was told to stop.
const LOOK: Duration = Duration::from_millis(100);

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

impl Arrival {
    fn of(message: &Publish) -> Option<Self> {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let stamp = serde_json::from_slice(&message.payload).ok()?;
        let (event, bytes) = (message.topic.ends_with(b"/events"), message.payload.len() as u64);
        Some(Self { event, bytes, at, stamp })
    }
}

/// What the listening thread tells.
enum Told {
    /// Its own message came back: others will come too.
    Ready,
    Arrival(Arrival),
    /// Why nothing more will come.
    Lost(String),
}

pub(super) struct Witness {
    told: Receiver<Told>,
    thread: JoinHandle<()>,
}

impl Witness {
    /// Subscribes at the broker with the configured access, and waits until a message of its own has come back; or until
    /// `stop` is asked.
    ///
    /// # Errors
    /// The broker cannot be reached, refuses the access, or keeps the message.
    pub fn start(config: &Config, at: &Address, stop: &Stop) -> Result<Self, String> {
        let name = format!("witness-{:08x}", fastrand::u32(..));
        let options = mqtt::access(config, at, &format!("tvsl-{name}")).map_err(|error| error.to_string())?;
        let (client, connection) = Client::builder(options).capacity(8).build();
        let (out, told) = channel();
        let ear = Ear { client, probe: format!("{PREFIX}/{name}/events"), out };
        let named = std::thread::Builder::new().name("witness".into());
        let thread = named.spawn(move || ear.listen(connection)).map_err(|error| error.to_string())?;
        let (witness, began) = (Self { told, thread }, Instant::now());
        while !stop.asked() {
            match witness.told.recv_timeout(LOOK) {
                Ok(Told::Ready) => break,
                Ok(Told::Lost(why)) => return Err(why),
                _ if began.elapsed() > PATIENCE => {
                    return Err(format!(
                        "a message did not come back within {} s; {RIGHTS}",
                        PATIENCE.as_secs()
                    ));
                }
                _ => {}
            }
        }
        Ok(witness)
    }

    /// Whether its connection broke.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Counts events and detections once nothing more comes; `sent` is how many detections each device told.
    ///
    /// # Errors
    /// The connection broke, so nothing can be said.
    pub fn finish(self, sent: &[(String, u64)]) -> Result<(Tally, Tally), String> {
        let (mut events, mut detections) = (Tally::default(), Tally::default());
        loop {
            match self.told.recv_timeout(QUIET) {
                Ok(Told::Arrival(arrival)) if arrival.event => events.take(arrival),
                Ok(Told::Arrival(arrival)) => detections.take(arrival),
                Ok(Told::Ready) => {}
                Ok(Told::Lost(why)) => return Err(format!("the subscriber that counts was cut off: {why}")),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        detections.lost += sent
            .iter()
            .map(|(name, sent)| sent - detections.last.get(name).unwrap_or(&0).min(sent))
            .sum::<u64>();
        events.sum_up();
        detections.sum_up();
        Ok((events, detections))
    }
}

/// What a broker has to grant.
const RIGHTS: &str = "let this user write and read tvsl-fleet-sim/# (the broker's ACL)";

/// The listening end.
struct Ear {
    client: Client,
    /// Topic of the message that it sends itself.
    probe: String,
    out: Sender<Told>,
}

impl Ear {
    /// Passes on what comes, until the connection breaks or nobody wants to know.
    fn listen(&self, mut connection: Connection) {
        for event in connection.iter() {
            let told =
                event.map_or_else(|error| Some(Told::Lost(mqtt::reason(&error))), |event| self.take(event));
            let Some(told) = told else { continue };
            let last = matches!(told, Told::Lost(_));
            if self.out.send(told).is_err() || last {
                return;
            }
        }
    }

    fn take(&self, event: Event) -> Option<Told> {
        let asked = match event {
            Event::Incoming(Packet::ConnAck(_)) => {
                let filter = |topic| SubscribeFilter::new(format!("{PREFIX}/+/{topic}"), QoS::AtLeastOnce);
                self.client.try_subscribe_many(["events", "detections"].map(filter))
            }
            Event::Incoming(Packet::SubAck(answer)) => {
                if answer.return_codes.contains(&SubscribeReasonCode::Failure) {
                    return Some(Told::Lost(format!("it refuses the subscription; {RIGHTS}")));
                }
                self.client.try_publish(self.probe.as_str(), "back", PublishOptions::at_least_once())
            }
            Event::Incoming(Packet::Publish(message)) if message.topic == self.probe.as_bytes() => {
                return Some(Told::Ready);
            }
            Event::Incoming(Packet::Publish(message)) => return Arrival::of(&message).map(Told::Arrival),
            _ => Ok(()),
        };
        asked.err().map(|error| Told::Lost(error.to_string()))
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
