//! The broker: connects for ever, and sends what the outbox holds until it is acknowledged.
//!
//! Every connection is a client of its own, with nothing left of the one before: the outbox is the only
//! memory, so nothing can be lost or told twice between the two.

mod access;
mod secret;
mod wire;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, NetworkOptions, Outgoing, Packet, Publish,
    PublishOptions, QoS, SubscribeReasonCode,
};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, error, info, warn};

pub use access::{AccessError, access, in_handshake, judge, reason};
pub use secret::SecretError;

use super::store::{Ticket, WINDOW};
use super::{Backoff, Teller};
use crate::config::{Address, Config};
use crate::message::{ClassState, Info, Presence, Report, Settings, Wish};
use wire::Wire;

/// Longest time for a connection to be made.
const CONNECT_SECONDS: u64 = 5;
/// A connection that lasted this long was a good one: the next try comes soon. (Two devices with one
/// client id throw each other out at once, again and again.)
const GOOD: Duration = Duration::from_secs(10);
/// How long nothing is listened to after a message that was too large: it may be retained, and come with each subscription.
const DEAF: Duration = Duration::from_secs(600);
/// No setting has a longer name than this, in bytes.
const LONGEST_KEY: usize = 64;
/// Most bytes of a packet beside topic and payload.
const OVERHEAD: usize = 16;
/// Longest time for the last messages and the goodbye at a clean stop.
const GOODBYE: Duration = Duration::from_millis(800);

/// Sends what `teller` has to tell to the configured broker until `stop` is notified, then says goodbye.
/// Connects again for ever; every change of the connection is logged with its reason. What subscribers
/// write to `set/…` goes to `wish`.
pub async fn run(config: &Config, teller: &Teller<'_>, wish: impl Fn(Wish), stop: Arc<Notify>) {
    let brokers = config.mqtt.brokers();
    let (earlier, evictions, said) = (false, 0, BTreeMap::new());
    let mut publisher = Publisher { config, teller, wish: &wish, earlier, evictions, deaf: None, said };
    let mut turn = 0;
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
    loop {
        let began = Instant::now();
        let lost = publisher.connection(&brokers[turn], &stop).await;
        teller.outbox().store().disconnected();
        let Some(why) = lost else { return };
        let good = began.elapsed() >= GOOD;
        if good {
            backoff.reset();
        }
        let broker = &brokers[turn];
        turn = if good { 0 } else { (turn + 1) % brokers.len() };
        let wait = if turn == 0 { backoff.next(fastrand::f64()) } else { Duration::ZERO };
        publisher.complain(broker, why, wait);
        tokio::select! {
            () = sleep(wait) => {}
            () = stop.notified() => return,
        }
    }
}

/// What a device is told by: its settings, and what it says of itself with them.
#[derive(Debug, Clone)]
pub struct Course {
    /// Broker and topics.
    pub config: Config,
    /// What the device is.
    pub info: Info,
    /// What subscribers can change.
    pub settings: Settings,
}

/// [`run`]s by the newest `course` until `stop` is notified. With another one it says goodbye, and connects anew as that
/// says; what the broker has not acknowledged until then is sent there.
pub async fn follow(
    mut course: watch::Receiver<Course>,
    teller: &Teller<'_>,
    wish: impl Fn(Wish),
    stop: Arc<Notify>,
) {
    let mut now = course.borrow_and_update().clone();
    while until_another(&mut course, &now.config, teller, &wish, &stop).await {
        let next = course.borrow_and_update().clone();
        info!("another broker, other topics or another access: connecting anew");
        teller.moved(&now.config, &next.config, next.info.clone(), next.settings.clone());
        now = next;
    }
}

/// [`run`]s until another course is set, and says goodbye; `false`: until the end.
async fn until_another(
    course: &mut watch::Receiver<Course>,
    config: &Config,
    teller: &Teller<'_>,
    wish: &impl Fn(Wish),
    stop: &Notify,
) -> bool {
    let over = Arc::new(Notify::new());
    let mut running = pin!(run(config, teller, wish, Arc::clone(&over)));
    let another = tokio::select! {
        () = &mut running => return false,
        () = stop.notified() => false,
        // Nobody who could tell of another one is there any more: the end.
        changed = course.changed() => changed.is_ok(),
    };
    over.notify_one();
    running.await;
    another
}

struct Publisher<'a> {
    config: &'a Config,
    teller: &'a Teller<'a>,
    /// Takes what subscribers wish.
    wish: &'a dyn Fn(Wish),
    /// Whether what an earlier run left at the broker was read.
    earlier: bool,
    /// Connections in a row that the broker took and that were soon closed without a word.
    evictions: u32,
    /// Until when nothing is listened to: a message was too large to be taken.
    deaf: Option<Instant>,
    /// The last reason that was logged for a connection to a broker that failed.
    said: BTreeMap<String, String>,
}

/// One connection.
struct Link {
    client: AsyncClient,
    network: EventLoop,
    wire: Wire,
}

impl Publisher<'_> {
    /// Makes a connection and keeps it until it breaks (the reason), or until `stop` is notified and
    /// everything is said (`None`).
    async fn connection(&mut self, broker: &Address, stop: &Notify) -> Option<String> {
        let mut link = match Link::new(self.config, broker) {
            Ok(link) => link,
            Err(error) => return Some(error.to_string()),
        };
        tokio::select! {
            made = self.connect(broker, &mut link) => if let Err(error) = made { return Some(reason(&error)) },
            () = stop.notified() => return None,
        }
        let good = Instant::now() + GOOD;
        loop {
            self.send(&mut link);
            let event = tokio::select! {
                event = link.network.poll() => event,
                () = self.teller.outbox().arrival() => continue,
                () = sleep_until(good), if self.evictions > 0 => {
                    self.evictions = 0;
                    self.teller.broker(String::new());
                    continue;
                }
                () = stop.notified() => {
                    self.goodbye(link).await;
                    return None;
                }
            };
            if let Err(error) = event.map(|event| self.take(&mut link, event)) {
                let evicted = Instant::now() < good && access::closed(&error);
                self.evictions = if evicted { self.evictions + 1 } else { 0 };
                if access::too_large(&error) {
                    self.deaf = Some(Instant::now() + DEAF);
                }
                return Some(self.rival().unwrap_or_else(|| reason(&error)));
            }
        }
    }

    /// What was seen when the broker took this client and the connection was soon closed, again and again; and its likely cause.
    fn rival(&self) -> Option<String> {
        (self.evictions > 1).then(|| {
            format!(
                "it took this client and the connection was closed within {} s, again and again. Another client with the client \
                 id {:?} would do that: give each device a [device] name of its own, or a [mqtt] client_id. If there is \
                 none, look at the broker's log",
                GOOD.as_secs(),
                self.config.mqtt.client_id
            )
        })
    }

    /// Waits for the broker's consent. What an earlier run left behind is asked for before anything of
    /// this run can overwrite it.
    async fn connect(&mut self, broker: &Address, link: &mut Link) -> Result<(), ConnectionError> {
        while !matches!(link.network.poll().await?, Event::Incoming(Packet::ConnAck(_))) {}
        if self.rival().is_none() {
            info!(%broker, "connected to the broker");
            self.said.clear();
        }
        if self.deaf.is_some_and(|until| Instant::now() < until) {
            self.teller.connected(
                "a message that is too large was sent to it: no setting is taken for some minutes".into(),
            );
            return Ok(());
        }
        if !self.earlier && link.client.try_subscribe(self.config.topic("state/+"), QoS::AtMostOnce).is_ok() {
            // Until the broker has heard the question, nothing is told that would change the answer.
            loop {
                match link.network.poll().await? {
                    Event::Incoming(Packet::SubAck(_)) => break,
                    event => self.take(link, event),
                }
            }
        }
        if self.config.mqtt.commands {
            self.attempt(link.client.try_subscribe(self.config.topic("set/+"), QoS::AtLeastOnce));
        }
        for filter in self.teller.filters() {
            self.attempt(link.client.try_subscribe(filter, QoS::AtMostOnce));
        }
        self.teller.connected(self.rival().unwrap_or_default());
        Ok(())
    }

    /// Hands the client what waits.
    fn send(&self, link: &mut Link) {
        while let Some((ticket, report)) = self.teller.outbox().take() {
            if let Some(unsent) = link.publish(self.config, ticket, &report) {
                self.teller.outbox().store().acknowledge(&unsent);
            }
        }
    }

    fn take(&mut self, link: &mut Link, event: Event) {
        let done = match event {
            Event::Outgoing(Outgoing::Publish(packet)) => link.wire.sent(packet),
            Event::Incoming(Packet::PubAck(answer)) => link.wire.acknowledged(answer.pkid),
            Event::Incoming(Packet::Publish(message)) => {
                self.hear(link, &message);
                None
            }
            Event::Incoming(Packet::SubAck(answer))
                if answer.return_codes.contains(&SubscribeReasonCode::Failure) =>
            {
                warn!(
                    "the broker does not let this client read what it asks for: no setting can be changed over MQTT, or Home Assistant is not heard"
                );
                None
            }
            other => {
                debug!(event = ?other, "mqtt");
                None
            }
        };
        if let Some(ticket) = done {
            self.teller.outbox().store().acknowledge(&ticket);
        }
    }

    /// Takes wishes, and reads the states that an earlier run left; our own, coming back, says that those
    /// were all.
    fn hear(&mut self, link: &Link, message: &Publish) {
        let topic = String::from_utf8_lossy(&message.topic);
        if let Some(key) = topic.strip_prefix(&self.config.topic("set/")) {
            if key.len() > LONGEST_KEY {
                return warn!(
                    bytes = key.len(),
                    "a wish whose key is longer than {LONGEST_KEY} bytes is not answered"
                );
            }
            let (payload, retained) = (message.payload.to_vec(), message.retain);
            (self.wish)(Wish { key: key.into(), payload, retained });
        } else if self.teller.overhear(&topic, &message.payload, message.retain) {
            debug!(%topic, "heard of Home Assistant");
        } else if message.retain {
            match serde_json::from_slice::<ClassState>(&message.payload) {
                Ok(state) if self.config.topic(&Report::state_topic(&state.class)) == topic => {
                    self.teller.earlier(state);
                }
                Ok(_) => debug!(%topic, "a retained state is of another class than its topic"),
                Err(error) => debug!("a retained state is not ours: {error}"),
            }
        } else if !self.earlier {
            self.earlier = true;
            self.attempt(link.client.try_unsubscribe(self.config.topic("state/+")));
        }
    }

    /// Sends what still waits and the word `stopped`, and closes the connection.
    async fn goodbye(&mut self, mut link: Link) {
        let said = timeout(GOODBYE, async {
            self.drain(&mut link).await?;
            self.teller.outbox().put(Report::Status(Presence::Stopped));
            self.drain(&mut link).await?;
            self.attempt(link.client.try_disconnect());
            while !matches!(link.network.poll().await?, Event::Outgoing(Outgoing::Disconnect)) {}
            Ok::<(), ConnectionError>(())
        });
        match said.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                warn!("the broker was lost while the last messages were sent: {}", reason(&error))
            }
            Err(_) => {
                warn!("the broker did not take the last messages within {} ms", GOODBYE.as_millis());
            }
        }
    }

    /// Sends until the broker has everything.
    async fn drain(&mut self, link: &mut Link) -> Result<(), ConnectionError> {
        loop {
            self.send(link);
            if self.teller.outbox().store().is_empty() {
                return Ok(());
            }
            let event = link.network.poll().await?;
            self.take(link, event);
        }
    }

    fn attempt(&self, result: Result<(), rumqttc::ClientError>) {
        if let Err(error) = result {
            debug!("a request was not taken: {error}");
        }
    }

    /// Tells why there is no connection: each reason once as a warning, its repetitions quietly.
    fn complain(&mut self, broker: &Address, why: String, wait: Duration) {
        let (name, seconds) = (broker.to_string(), wait.as_secs_f64());
        if self.said.get(&name) == Some(&why) {
            debug!(%broker, "still no connection: {why}; trying again in {seconds:.1} s");
        } else {
            warn!(%broker, "no connection to the broker: {why}; trying again for ever, first in {seconds:.1} s");
            self.said.insert(name, why);
        }
    }
}

impl Link {
    fn new(config: &Config, broker: &Address) -> Result<Self, AccessError> {
        // Room for all that may be in flight, and for what is said beside it.
        let (client, mut network) =
            AsyncClient::builder(access::options(config, broker)?).capacity(2 * WINDOW).build();
        let mut options = NetworkOptions::new();
        options.set_connection_timeout(CONNECT_SECONDS);
        options.set_tcp_nodelay(true);
        network.set_network_options(options);
        Ok(Self { client, network, wire: Wire::default() })
    }

    /// Hands one report to the client. One that cannot be sent now stays in flight, and is sent again on the next
    /// connection; one that never can is given back, lest nothing is sent any more.
    #[must_use = "what comes back is not sent"]
    fn publish(&mut self, config: &Config, ticket: Ticket, report: &Report) -> Option<Ticket> {
        let address = report.address(config);
        let delivery = report.delivery();
        let options = match delivery.qos() {
            0 => PublishOptions::at_most_once(),
            _ => PublishOptions::at_least_once(),
        };
        let options = if delivery.retained() { options.retained() } else { options };
        let sent = match report.payload(&config.mqtt) {
            Ok(payload) if !fits(&address, &payload) => {
                let start: String = address.chars().take(100).collect();
                error!(topic = start, bytes = payload.len(), "a message that MQTT cannot carry is not sent");
                return Some(ticket);
            }
            Ok(payload) => self.client.try_publish(address, payload, options).map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match sent {
            Ok(()) => self.wire.requested(ticket),
            Err(error) => warn!("a message could not be sent: {error}"),
        }
        None
    }
}

/// Whether MQTT can carry a message (MQTT 3.1.1, sections 1.5.3 and 4.7.3), and this client too.
fn fits(topic: &str, payload: &[u8]) -> bool {
    let name = topic.len() <= usize::from(u16::MAX) && !topic.contains(['\0', '+', '#']);
    name && topic.len() + payload.len() + OVERHEAD <= access::LARGEST_PACKET
}
