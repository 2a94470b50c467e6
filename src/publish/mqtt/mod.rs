//! The broker: connects for ever, and sends what the outbox holds until it is acknowledged.
//!
//! Every connection is a client of its own, with nothing left of the one before: the outbox is the only
//! memory, so nothing can be lost or told twice between the two.

mod access;
mod course;
mod limit;
mod link;
mod listening;
mod secret;
mod standing;
mod visit;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::{ConnectionError, Event, Outgoing, Packet, QoS, SubscribeFilter, SubscribeReasonCode};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tracing::{debug, error, warn};

pub use access::{AccessError, access, in_handshake, judge, reason};
pub use course::{Course, follow};
pub use secret::SecretError;

use super::store::Ticket;
use super::{Former, Name, Teller};
use crate::config::{Address, Config};
use crate::lifecycle::Lifecycle;
use crate::message::{Health, Presence, Report, Wish};
use crate::tally::Tally;
use limit::Limit;
use link::{CONNECT_SECONDS, Dialer, GOOD, Link, RAISE, Tcp};
use visit::Visits;

/// How long nothing is listened to after a message that was too large: it may be retained, and come with each subscription.
const DEAF: Duration = Duration::from_secs(600);
/// What is told meanwhile.
const LARGE: &str = "a message that is too large was sent to it: no setting is taken for some minutes";
/// Topics of which it is told that a message was left out, at most.
const MOST_TOLD: usize = 100;
/// Longest time for the last messages and the goodbye at a clean stop.
const GOODBYE: Duration = Duration::from_millis(800);

/// Why a connection is given up that a router or a firewall forgot.
const SILENT: &str = "it has answered nothing for long, and the connection is given up";
/// Longest time for a broker that took this client to answer what it asks for, or to send more of what is retained.
const ANSWER: Duration = Duration::from_secs(2 * CONNECT_SECONDS);
/// Why a connection to one that does not is given up.
const UNANSWERED: &str =
    "it takes this client and does not answer a subscription, and the connection is given up";

/// Time between two looks at what became of former names.
const LOOK: Duration = Duration::from_secs(1);
/// So long after a broker did not take a message it is tried again, once it is connected to anew: it may have been
/// told to.
const FORGIVEN: Duration = Duration::from_secs(3600);

/// Who takes what the broker brings, what is to be remembered, and how the connection does.
pub trait Listener {
    /// What a subscriber wrote to `set/…`.
    fn wish(&self, wish: Wish);

    /// How the connection does, whenever that changes: subscribers hear of it only while it holds.
    fn health(&self, _health: &Health) {}

    /// Names under which something may be left at the broker, the present one last.
    fn names(&self, _names: Vec<Name>) {}
}

impl<F: Fn(Wish)> Listener for F {
    fn wish(&self, wish: Wish) {
        self(wish);
    }
}

/// Sends what `teller` has to tell to the configured broker until `stop` is notified, then says goodbye.
/// Connects again for ever; every change of the connection is logged with its reason.
pub async fn run(config: &Config, teller: &Teller<'_>, listener: impl Listener, stop: Arc<Notify>) {
    let mut former = Former::new(config, vec![]);
    let ends = Ends { teller, listener: &listener, dialer: &Tcp };
    keep_connected(config, ends, &mut former, &stop).await;
}

/// Between whom the publisher stands.
#[derive(Clone, Copy)]
struct Ends<'a> {
    teller: &'a Teller<'a>,
    listener: &'a dyn Listener,
    dialer: &'a dyn Dialer,
}

/// [`run`]s, and takes back what was left under `former` names. Brokers are tried in their order, and after the last
/// the first again, once the wait that [`Lifecycle`] says is over.
async fn keep_connected(config: &Config, ends: Ends<'_>, former: &mut Former, stop: &Notify) {
    let brokers = config.mqtt.brokers();
    let mut publisher = Publisher::new(config, ends, former);
    let (mut visits, mut turn) = (Visits::default(), 0);
    loop {
        publisher.begin();
        let broker = &brokers[turn];
        let ended = publisher.connection(broker, visits.preferred(config, turn, ends), stop).await;
        ends.teller.outbox().store().disconnected();
        if publisher.life.delivers() {
            visits.leave(broker);
        }
        let wait = match ended {
            Ended::Stopped => return visits.end(config, turn, ends).await,
            Ended::Lost(why) => {
                turn = if publisher.was_good() { 0 } else { (turn + 1) % brokers.len() };
                publisher.lose(broker, why, turn > 0)
            }
            Ended::Preferred(other) => {
                turn = other;
                publisher.leave(broker, &brokers[other])
            }
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = stop.notified() => return,
        }
    }
}

/// How a connection ended.
enum Ended {
    /// Everything is said: it was to stop.
    Stopped,
    /// It broke, for this reason.
    Lost(String),
    /// The broker of this number comes before it, and takes this client again.
    Preferred(usize),
}

struct Publisher<'a> {
    config: &'a Config,
    teller: &'a Teller<'a>,
    former: &'a mut Former,
    listener: &'a dyn Listener,
    dialer: &'a dyn Dialer,
    life: Lifecycle,
    /// The brokers at which what an earlier run left was read.
    earlier: BTreeSet<String>,
    /// Connections in a row that the broker took and that were soon closed without a word.
    evictions: u32,
    /// Until when nothing is listened to: a message was too large to be taken.
    deaf: Option<Instant>,
    /// Wishes whose key is too long.
    long_keys: Tally,
    /// The last reason that was logged for a connection to a broker that failed.
    said: BTreeMap<String, String>,
    /// The largest message that each broker takes, and since when that is known.
    limits: BTreeMap<String, (Limit, Instant)>,
    /// Topics with a message that was left out, and that was said.
    left_out: BTreeSet<String>,
}

impl<'a> Publisher<'a> {
    fn new(config: &'a Config, ends: Ends<'a>, former: &'a mut Former) -> Self {
        let Ends { teller, listener, dialer } = ends;
        Self {
            config,
            teller,
            former,
            listener,
            dialer,
            life: Lifecycle::new(teller.now()),
            earlier: BTreeSet::new(),
            evictions: 0,
            deaf: None,
            long_keys: Tally::default(),
            said: BTreeMap::new(),
            limits: BTreeMap::new(),
            left_out: BTreeSet::new(),
        }
    }

    /// Makes a connection and keeps it until it breaks, until a broker is `preferred`, or until `stop` is notified and
    /// everything is said.
    async fn connection(
        &mut self,
        broker: &Address,
        preferred: impl Future<Output = usize>,
        stop: &Notify,
    ) -> Ended {
        let (mut limit, since) =
            self.limits.remove(&broker.to_string()).unwrap_or_else(|| (Limit::default(), Instant::now()));
        if since.elapsed() > FORGIVEN {
            limit.forget();
        }
        limit.begin();
        let known = limit.refused();
        let mut link = match Link::new(self.config, broker, limit, self.dialer) {
            Ok(link) => link,
            Err(error) => return Ended::Lost(error.to_string()),
        };
        let lost = self.through(&mut link, broker, preferred, stop).await;
        let since = if link.limit.refused() == known { since } else { Instant::now() };
        self.limits.insert(broker.to_string(), (link.limit, since));
        lost
    }

    /// What [`Publisher::connection`] does, over `link`. Nothing but its own time ends a goodbye: `stop` is notified once, and
    /// would be forgotten.
    async fn through(
        &mut self,
        link: &mut Link,
        broker: &Address,
        preferred: impl Future<Output = usize>,
        stop: &Notify,
    ) -> Ended {
        let mut preferred = pin!(preferred);
        tokio::select! {
            made = self.connect(broker, link) => if let Err(why) = made { return Ended::Lost(why) },
            other = &mut preferred => return Ended::Preferred(other),
            () = stop.notified() => return Ended::Stopped,
        }
        loop {
            self.send(link);
            let missed = link.patience();
            let event = tokio::select! {
                event = link.network.poll() => event,
                () = self.teller.outbox().arrival() => continue,
                other = &mut preferred => return Ended::Preferred(other),
                () = sleep_until(link.good), if link.awaits_good(self.evictions) => {
                    self.evictions = 0;
                    self.life.complain(self.flaw(link).as_deref(), self.teller.now());
                    self.tell();
                    continue;
                }
                () = sleep_until(missed) => {
                    if !link.asks() {
                        return Ended::Lost(SILENT.into());
                    }
                    self.ask(link);
                    continue;
                }
                () = sleep_until(link.look), if self.former.any() && link.asked.is_some() => {
                    self.settle(link);
                    continue;
                }
                () = stop.notified() => {
                    self.goodbye(link).await;
                    return Ended::Stopped;
                }
            };
            if let Err(error) = event.map(|event| self.take(link, event)) {
                return Ended::Lost(self.broken(link, &error));
            }
        }
    }

    /// Why a connection broke, as far as can be told.
    fn broken(&mut self, link: &mut Link, error: &ConnectionError) -> String {
        let closed = access::closed(error);
        let largest = link.wire.largest();
        if access::too_large(error) {
            self.deaf = Some(Instant::now() + DEAF);
        }
        let evicted = Instant::now() < link.good && closed;
        self.evictions = if evicted { self.evictions + 1 } else { 0 };
        let explained = closed && link.limit.close(largest);
        let large = explained.then(|| {
            let bytes = largest.unwrap_or_default();
            format!("it closed the connection when it was sent a message of {bytes} bytes; if it does again, {RAISE}")
        });
        large.or_else(|| self.rival()).unwrap_or_else(|| reason(error))
    }

    /// What is wrong with a connection that holds.
    fn flaw(&self, link: &Link) -> Option<String> {
        let small = || {
            let bytes = link.limit.refused()?;
            Some(format!("it takes no message of {bytes} bytes, which are left out and counted; {RAISE}"))
        };
        self.rival().or_else(small)
    }

    /// Whether anything is listened to.
    fn hears(&self) -> bool {
        self.deaf.is_none_or(|until| Instant::now() >= until)
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

    /// Waits for the broker's consent, and for an answer to each subscription: one that never comes would be missed by nobody
    /// later. What an earlier run left behind is asked for before anything of this run can overwrite it.
    async fn connect(&mut self, broker: &Address, link: &mut Link) -> Result<(), String> {
        let mut heard = None;
        while !matches!(heard, Some(Event::Incoming(Packet::ConnAck(_)))) {
            heard = Some(link.network.poll().await.map_err(|error| reason(&error))?);
        }
        if !self.hears() {
            self.opened(broker, Some(LARGE));
            return Ok(());
        }
        let asked = |filter: String| SubscribeFilter::new(filter, QoS::AtMostOnce);
        if !self.earlier.contains(&link.broker)
            && link.client.try_subscribe_many(self.told_before().map(asked)).is_ok()
        {
            // Nothing is told that would change the answer before that was read: what is retained comes before the answer to
            // a later request. Brokers that take longer for it are listened to until our own states come back.
            self.until(link, |packet| matches!(packet, Packet::SubAck(_))).await?;
            self.ask(link);
            self.until(link, |packet| matches!(packet, Packet::UnsubAck(_))).await?;
        }
        let mut unanswered = 0;
        if self.config.mqtt.commands {
            let set = link.client.try_subscribe(self.config.topic("set/+"), QoS::AtLeastOnce);
            unanswered += self.attempt(set);
        }
        for filter in self.teller.filters() {
            unanswered += self.attempt(link.client.try_subscribe(filter, QoS::AtMostOnce));
        }
        for filters in self.former.ask() {
            unanswered += self.attempt(link.client.try_subscribe_many(filters.into_iter().map(asked)));
        }
        (link.asked, link.look) = (Some(Instant::now()), Instant::now() + LOOK);
        for _ in 0..unanswered {
            self.until(link, |packet| matches!(packet, Packet::SubAck(_))).await?;
        }
        self.listener.names(self.former.names());
        self.opened(broker, self.flaw(link).as_deref());
        Ok(())
    }

    /// Takes what comes up to a packet that is `enough`. What is retained may be much, and come slowly; answers to pings
    /// alone are none.
    async fn until(&mut self, link: &mut Link, enough: fn(&Packet) -> bool) -> Result<(), String> {
        let mut patience = Instant::now() + ANSWER;
        loop {
            let polled =
                timeout_at(patience, link.network.poll()).await.map_err(|_| UNANSWERED.to_owned())?;
            let event = polled.map_err(|error| self.broken(link, &error))?;
            if matches!(&event, Event::Incoming(Packet::Publish(message)) if message.retain) {
                patience = Instant::now() + ANSWER;
            }
            let last = matches!(&event, Event::Incoming(packet) if enough(packet));
            self.take(link, event);
            if last {
                return Ok(());
            }
        }
    }

    /// Hands the client what waits.
    fn send(&mut self, link: &mut Link) {
        let mut held = std::mem::take(&mut link.held).into_iter();
        while let Some((ticket, report)) = held.next().or_else(|| self.teller.outbox().take()) {
            if let Err((unsent, why)) = link.publish(self.config, ticket, report) {
                self.leave_out(&unsent, &why);
            }
        }
    }

    /// Does not send a report that nobody would take: told once for each topic, and counted.
    fn leave_out(&mut self, ticket: &Ticket, (topic, why): &(String, String)) {
        self.teller.outbox().store().refuse(ticket);
        let start: String = topic.chars().take(100).collect();
        if self.left_out.len() < MOST_TOLD && self.left_out.insert(start.clone()) {
            error!(topic = start, "a message is not sent: {why}");
        } else {
            debug!(topic = start, "a message is not sent: {why}");
        }
    }

    fn take(&mut self, link: &mut Link, event: Event) {
        if matches!(event, Event::Incoming(_)) {
            link.hear();
        }
        let done = match event {
            Event::Outgoing(Outgoing::Publish(packet)) => self.sent(link, packet),
            Event::Incoming(Packet::PubAck(answer)) => {
                link.wire.acknowledged(answer.pkid).map(|(ticket, read)| {
                    link.limit.pass(read);
                    ticket
                })
            }
            Event::Incoming(Packet::UnsubAck(_)) => {
                link.limit.pass(link.wire.all_read());
                None
            }
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

    /// The client sent a report. The broker says nothing of one with QoS 0: if it is larger than all before, an answer
    /// to something else tells that it was read.
    fn sent(&self, link: &mut Link, packet: u16) -> Option<Ticket> {
        let done = link.wire.sent(packet, |bytes| link.limit.is_bold(bytes))?;
        if link.wire.largest().is_some_and(|bytes| link.limit.is_bold(bytes)) {
            self.ask(link);
        }
        Some(done)
    }

    /// Sends what still waits and the word `stopped`, and closes the connection.
    async fn goodbye(&mut self, link: &mut Link) {
        let said = timeout(GOODBYE, async {
            self.drain(link).await?;
            self.teller.outbox().put(Report::Status(Presence::Stopped));
            self.drain(link).await?;
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
            // What is held would wait for longer than anybody who stops.
            let held = !link.held.is_empty() && link.wire.largest().is_none();
            if held || self.teller.outbox().store().is_empty() {
                return Ok(());
            }
            let event = link.network.poll().await?;
            self.take(link, event);
        }
    }

    /// Asks the broker for an answer that changes nothing: nothing is listened to there.
    fn ask(&self, link: &Link) {
        self.attempt(link.client.try_unsubscribe(self.config.topic("snapshot")));
    }

    /// How many requests were taken, of one.
    fn attempt(&self, result: Result<(), rumqttc::ClientError>) -> u32 {
        if let Err(error) = &result {
            debug!("a request was not taken: {error}");
        }
        u32::from(result.is_ok())
    }
}

#[cfg(test)]
mod tests;
