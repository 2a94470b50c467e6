//! A subscriber that counts what arrives of all devices, how late, and what is missing.

use std::collections::{BTreeMap, HashMap};
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
/// All other topics, where each message stands in place of the one before. With QoS 0, those that every device tells when
/// it connects do not push events out of what the broker keeps for a slow subscriber.
const REST: [&str; 6] = ["state/+", "level", "health/+", "info", "settings", "status"];
/// When nothing more comes for so long, nothing more will.
const QUIET: Duration = Duration::from_secs(2);
/// Longest time until its own message has come back; half of it is for the connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a wait looks whether it was told to stop.
const LOOK: Duration = Duration::from_millis(100);

/// What arrived of all devices, by the name of the topic: its level after the device's.
pub(super) type Tallies = BTreeMap<String, Tally>;

/// The topics whose messages have numbers.
pub(super) const NUMBERED: [&str; 2] = ["events", "detections"];

/// What arrived of one topic of all devices.
#[derive(Debug, Default, Serialize)]
pub(super) struct Tally {
    pub messages: u64,
    pub bytes: u64,
    /// Seconds from the publication to its arrival; 0 where messages do not tell.
    pub delay_p50: f64,
    pub delay_p99: f64,
    /// Numbers that never came, and numbers that came again; 0 where messages have no number.
    pub lost: u64,
    pub again: u64,
    #[serde(skip)]
    delays: Vec<f64>,
    #[serde(skip)]
    last: HashMap<String, u64>,
}

/// What a message says of itself, where it does.
#[derive(Default, Deserialize)]
struct Stamp {
    published: Option<f64>,
    #[serde(flatten)]
    number: Option<Number>,
}

/// The fields that numbered topics have.
#[derive(Deserialize)]
struct Number {
    device: String,
    sequence: u64,
    missed: u64,
}

/// A message as it came in.
struct Arrival {
    topic: String,
    bytes: u64,
    at: f64,
    stamp: Stamp,
}

impl Arrival {
    /// Nothing of what was there before, nor of what is taken back.
    fn of(message: &Publish) -> Option<Self> {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let topic = String::from_utf8_lossy(message.topic.split(|&byte| byte == b'/').nth(2)?).into_owned();
        let stamp: Stamp = serde_json::from_slice(&message.payload).unwrap_or_default();
        let bytes = message.payload.len() as u64;
        let whole = stamp.number.is_some() || !NUMBERED.contains(&topic.as_str());
        (bytes > 0 && !message.retain && whole).then_some(Self { topic, bytes, at, stamp })
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

    /// Counts what came once nothing more comes; `sent` is how many detections each device told.
    ///
    /// # Errors
    /// The connection broke, so nothing can be said.
    pub fn finish(self, sent: &[(String, u64)]) -> Result<Tallies, String> {
        let mut tallies: Tallies = NUMBERED.map(|topic| (topic.into(), Tally::default())).into();
        loop {
            match self.told.recv_timeout(QUIET) {
                Ok(Told::Arrival(arrival)) => {
                    tallies.entry(arrival.topic.clone()).or_default().take(arrival);
                }
                Ok(Told::Ready) => {}
                Ok(Told::Lost(why)) => return Err(format!("the subscriber that counts was cut off: {why}")),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        let detections = tallies.entry("detections".into()).or_default();
        detections.lost += sent
            .iter()
            .map(|(name, sent)| sent - detections.last.get(name).unwrap_or(&0).min(sent))
            .sum::<u64>();
        tallies.values_mut().for_each(Tally::sum_up);
        Ok(tallies)
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
                let filter = |topic, qos| SubscribeFilter::new(format!("{PREFIX}/+/{topic}"), qos);
                let counted = NUMBERED.map(|topic| filter(topic, QoS::AtLeastOnce));
                let rest = REST.map(|topic| filter(topic, QoS::AtMostOnce));
                self.client.try_subscribe_many(counted.into_iter().chain(rest))
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
        if stamp.number.is_some_and(|number| !self.is_new(number)) {
            self.again += 1;
            return;
        }
        self.messages += 1;
        self.bytes += bytes;
        self.delays.extend(stamp.published.map(|published| (at - published).max(0.0)));
    }

    /// Whether a number did not come before; those that are left out before it are lost.
    fn is_new(&mut self, Number { device, sequence, missed }: Number) -> bool {
        let last = self.last.entry(device).or_default();
        if sequence <= *last {
            return false;
        }
        // What the device itself dropped, for want of room, never arrived either.
        self.lost += sequence - *last - 1 + if sequence == *last + 1 { missed } else { 0 };
        *last = sequence;
        true
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
            let number = Some(Number { device: device.into(), sequence, missed: 0 });
            let stamp = Stamp { published: Some(0.0), number };
            tally.take(Arrival { topic: "events".into(), bytes: 10, at: 0.5, stamp });
        }
        tally.sum_up();
        assert_eq!((tally.messages, tally.lost, tally.again, tally.bytes), (5, 2, 1, 50));
        assert_eq!(tally.delay_p99, 0.5);
    }

    #[test]
    fn everything_of_a_device_is_counted_under_its_topic() {
        let arrival = |topic: &str, payload: &str, retain| {
            let topic = format!("{PREFIX}/sim-1/{topic}");
            let mut message = Publish::new(topic, QoS::AtLeastOnce, payload.to_owned());
            message.retain = retain;
            Arrival::of(&message)
        };
        let mut tallies = Tallies::default();
        for (topic, payload) in [
            ("events", r#"{"device": "a", "sequence": 1, "missed": 0, "published": 1.5}"#),
            ("state/dog", r#"{"device": "a", "published": 1.5}"#),
            ("level", r#"{"device": "a", "published": 1.5}"#),
            ("health/camera", r#"{"device": "a"}"#),
            ("status", "online"),
        ] {
            let arrival = arrival(topic, payload, false).expect("it counts");
            tallies.entry(arrival.topic.clone()).or_default().take(arrival);
        }
        let counted = |topic: &str| (tallies[topic].messages, tallies[topic].delays.len());
        assert_eq!(["events", "state", "level"].map(counted), [(1, 1); 3]);
        assert_eq!(
            ["health", "status"].map(counted),
            [(1, 0); 2],
            "they do not tell when they were published"
        );
        assert!(arrival("state/dog", "{}", true).is_none(), "of before");
        assert!(arrival("state/dog", "", false).is_none(), "taken back");
        assert!(arrival("events", "back", false).is_none(), "of another witness");
    }
}
