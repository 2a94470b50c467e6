//! One connection: what is handed to the client, and when.

use std::time::Duration;

use rumqttc::{AsyncClient, EventLoop, MqttOptions, NetworkOptions, PublishOptions};
use tokio::time::Instant;
use tracing::warn;

use super::access::{AccessError, LARGEST_PACKET, options};
use super::limit::{Limit, Turn};
use super::wire::Wire;
use crate::config::{Address, Config};
use crate::message::Report;
use crate::publish::store::{Ticket, WINDOW};

/// Longest time for a connection to be made.
pub(super) const CONNECT_SECONDS: u64 = 5;
/// A connection that lasted this long was a good one: the next try comes soon. (Two devices with one
/// client id throw each other out at once, again and again.)
pub(super) const GOOD: Duration = Duration::from_secs(10);
/// Most bytes of a packet beside topic and payload.
const OVERHEAD: usize = 16;
/// What to do about a broker that takes only small messages.
pub(super) const RAISE: &str = "raise its limit (mosquitto: max_packet_size)";

/// How brokers are reached.
pub(super) trait Dialer {
    /// Has the client that these options are for reach its broker this way.
    fn dial(&self, options: &mut MqttOptions);
}

/// Over the network, as the client does by itself.
pub(super) struct Tcp;

impl Dialer for Tcp {
    fn dial(&self, _: &mut MqttOptions) {}
}

/// One connection.
pub(super) struct Link {
    /// The broker, as it is configured.
    pub broker: String,
    pub client: AsyncClient,
    pub network: EventLoop,
    pub wire: Wire,
    pub limit: Limit,
    /// What waits for its [`Turn`].
    pub held: Vec<(Ticket, Report)>,
    /// When it has lasted long enough to be a good one.
    pub good: Instant,
    /// When the broker last said a word, and whether it was asked for one since.
    heard: (Instant, bool),
    keep_alive: Duration,
    /// When the broker was asked for what is left of former names, if it was, and when to look next.
    pub asked: Option<Instant>,
    pub look: Instant,
}

/// A client that waits for nothing longer than it must, and its connection, which is yet to be made.
pub(super) fn hurried(options: MqttOptions) -> (AsyncClient, EventLoop) {
    // Room for all that may be in flight, and for what is said beside it.
    let (client, mut network) = AsyncClient::builder(options).capacity(2 * WINDOW).build();
    let mut options = NetworkOptions::new();
    options.set_connection_timeout(CONNECT_SECONDS);
    options.set_tcp_nodelay(true);
    network.set_network_options(options);
    (client, network)
}

impl Link {
    /// A connection that is yet to be made.
    pub fn new(
        config: &Config,
        broker: &Address,
        limit: Limit,
        dialer: &dyn Dialer,
    ) -> Result<Self, AccessError> {
        let mut options = options(config, broker)?;
        dialer.dial(&mut options);
        let (client, network) = hurried(options);
        let (broker, wire, held, now) = (broker.to_string(), Wire::default(), vec![], Instant::now());
        let (good, heard, keep_alive) = (now + GOOD, (now, false), config.mqtt.keep_alive);
        Ok(Self {
            broker,
            client,
            network,
            wire,
            limit,
            held,
            good,
            heard,
            keep_alive,
            asked: None,
            look: now,
        })
    }

    /// The broker said a word.
    pub fn hear(&mut self) {
        self.heard = (Instant::now(), false);
    }

    /// When a word of the broker is missed.
    pub fn patience(&self) -> Instant {
        let (since, asked) = self.heard;
        since + self.keep_alive.mul_f64(if asked { 2.5 } else { 1.5 })
    }

    /// Whether it is yet to be asked for one. The client does that by itself only while nothing is sent, and a level that is
    /// sent every second wants no answer.
    pub fn asks(&mut self) -> bool {
        !std::mem::replace(&mut self.heard.1, true)
    }

    /// Whether something begins when it has lasted a while.
    pub fn awaits_good(&self, evictions: u32) -> bool {
        evictions > 0 || (Instant::now() < self.good && !self.held.is_empty())
    }

    /// Hands one report to the client, or holds it until its turn comes. One that cannot be sent now stays in flight, and
    /// is sent again on the next connection; one that never can comes back with its topic and the reason.
    pub fn publish(
        &mut self,
        config: &Config,
        ticket: Ticket,
        report: Report,
    ) -> Result<(), (Ticket, (String, String))> {
        let address = report.address(config);
        let payload = match report.payload(&config.mqtt) {
            Ok(payload) if fits(&address, &payload) => payload,
            Ok(payload) => {
                return Err((ticket, (address, format!("MQTT cannot carry its {} bytes", payload.len()))));
            }
            Err(error) => return Err((ticket, (address, error.to_string()))),
        };
        let bytes = address.len() + payload.len();
        match self.turn(&ticket, &report, bytes) {
            Turn::Now => self.hand(address, payload, ticket, &report),
            Turn::Later => self.held.push((ticket, report)),
            Turn::Never => {
                let why = format!("the broker closes the connection on its {bytes} bytes; {RAISE}");
                return Err((ticket, (address, why)));
            }
        }
        Ok(())
    }

    /// When a report of so many bytes is sent. None overtakes one of its topic.
    fn turn(&self, ticket: &Ticket, report: &Report, bytes: usize) -> Turn {
        let numbered = !matches!(ticket, Ticket::Value(..));
        let same = |held: &Ticket| numbered && std::mem::discriminant(held) == std::mem::discriminant(ticket);
        // Nor does an event overtake the state that names its source, nor one that names it no more its end.
        let paired = |held: &Ticket, held_report: &Report| {
            let event = |ticket: &Ticket| matches!(ticket, Ticket::Event(_));
            let state = |report: &Report| matches!(report, Report::State(_) | Report::Gone(_));
            (event(ticket) && state(held_report)) || (state(report) && event(held))
        };
        let behind = self.held.iter().any(|(held, report)| same(held) || paired(held, report));
        let alone = self.wire.largest().is_none_or(|bytes| !self.limit.is_bold(bytes));
        match self.limit.turn(bytes, alone, Instant::now() >= self.good) {
            Turn::Now if behind => Turn::Later,
            turn => turn,
        }
    }

    fn hand(&mut self, address: String, payload: Vec<u8>, ticket: Ticket, report: &Report) {
        let (delivery, bytes) = (report.delivery(), address.len() + payload.len());
        let options = match delivery.qos() {
            0 => PublishOptions::at_most_once(),
            _ => PublishOptions::at_least_once(),
        };
        let options = if delivery.retained() { options.retained() } else { options };
        match self.client.try_publish(address, payload, options) {
            Ok(()) => self.wire.requested(ticket, bytes),
            Err(error) => warn!("a message could not be sent: {error}"),
        }
    }
}

/// Whether MQTT can carry a message (MQTT 3.1.1, sections 1.5.3 and 4.7.3), and this client too.
fn fits(topic: &str, payload: &[u8]) -> bool {
    let name = topic.len() <= usize::from(u16::MAX) && !topic.contains(['\0', '+', '#']);
    name && topic.len() + payload.len() + OVERHEAD <= LARGEST_PACKET
}
