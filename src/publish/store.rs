//! What the broker has not acknowledged: every report is in here until it is, bounded, and whatever had
//! to give way is counted and told to the subscriber.
//!
//! Pure: the connection is told to it as calls, so that a thousand fault schedules are a test.

mod board;
mod lane;
#[cfg(test)]
mod tests;

use crate::clock::Instant;
use crate::config;
use crate::message::{Delivery, EventMessage, Report, Source};

use board::Board;
use lane::Lane;

/// Reports sent and not acknowledged, at most.
pub const WINDOW: usize = 32;
/// Answers that wait for the broker, at most.
const ANSWERS: usize = 64;

/// Stands for a report that was sent, until it is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ticket {
    /// The oldest unacknowledged report of the events with this number, counted from the first.
    Event(u64),
    /// The same of the detections.
    Detections(u64),
    /// The same of the answers.
    Answer(u64),
    /// The latest value of a topic, in this version.
    Value(String, u64),
}

/// The reports on their way to the broker.
///
/// Every numbered report that is put in is acknowledged, waiting, in flight, or counted in the `missed`
/// of the next one of its topic. Order within a topic is kept; after a broken connection what was in
/// flight is sent again, before anything newer.
#[derive(Debug)]
pub struct Store {
    events: Lane,
    detections: Lane,
    answers: Lane,
    board: Board,
    connected: bool,
    connections: u64,
    /// Reports that no broker would take.
    refused: u64,
    /// What was put in since [`Store::hold_back`], and when.
    held: Option<Vec<(Report, Instant)>>,
}

impl Store {
    /// An empty store of the configured bounds, not connected.
    pub fn new(config: &config::Mqtt) -> Self {
        Self {
            events: Lane::new(config.keep_events),
            detections: Lane::new(config.keep_detections),
            answers: Lane::new(ANSWERS),
            board: Board::default(),
            connected: false,
            connections: 0,
            refused: 0,
            held: None,
        }
    }

    /// Holds at most what `config` says from now on; the oldest give way and are counted.
    pub fn bound(&mut self, config: &config::Mqtt) {
        let gone = self.events.bound(config.keep_events);
        self.board.ended(&gone);
        self.detections.bound(config.keep_detections);
    }

    /// Takes a report. Where its lane is full the oldest waiting one gives way.
    pub fn put(&mut self, report: Report, now: Instant) {
        match &mut self.held {
            Some(held) if !matches!(report, Report::Status(_)) => held.push((report, now)),
            _ => self.take_in(report, now),
        }
    }

    /// Keeps what is put in from now on, but `status`, until [`Store::go_on`]: it belongs under other topics.
    pub fn hold_back(&mut self) {
        self.held.get_or_insert_default();
    }

    /// Takes in what was held back.
    pub fn go_on(&mut self) {
        self.held.take().into_iter().flatten().for_each(|(report, put)| self.take_in(report, put));
    }

    /// Takes nothing back below `prefix` any more: these topics are in use again.
    pub fn reclaim(&mut self, prefix: &str) {
        self.board.reclaim(prefix);
    }

    fn take_in(&mut self, report: Report, now: Instant) {
        match report.delivery() {
            Delivery::Kept => {
                let gone = self.events.put(report, !self.connected, now);
                self.board.ended(&gone);
            }
            Delivery::Recent => drop(self.detections.put(report, !self.connected, now)),
            Delivery::Answered => drop(self.answers.put(report, !self.connected, now)),
            Delivery::Retained => self.board.set(report),
            Delivery::Fleeting if self.connected => self.board.set(report),
            Delivery::Fleeting => {}
        }
    }

    /// Puts in the end of a source that the broker holds to be sounding: until that is sent, it finds it so.
    pub fn put_owed(&mut self, end: EventMessage, now: Instant) {
        self.board.owes(Report::state_topic(&end.source.class), &end.source);
        self.put(Report::Event(Box::new(end)), now);
    }

    /// Takes back a state of a former name, once the ends of these sources were sent that it names.
    pub fn take_back<'a>(&mut self, topic: String, named: impl Iterator<Item = &'a Source>, now: Instant) {
        self.put(Report::taken_back(topic.clone()), now);
        named.for_each(|source| self.board.owes(topic.clone(), source));
    }

    /// Puts back an event that an earlier run left, with its number; all of them before any other report.
    pub fn restore(&mut self, number: u64, event: EventMessage) {
        self.events.restore(number, event.missed, Report::Event(Box::new(event)));
    }

    /// The numbers of the events that are not acknowledged, each with how many gave way right before it.
    pub fn kept(&self) -> impl Iterator<Item = (u64, u64)> {
        self.events.kept(0).map(|(number, missed, _)| (number, missed))
    }

    /// Copies of these events from a number on, `most` of them at most.
    pub fn copies(&self, from: u64, most: usize) -> Vec<(u64, EventMessage)> {
        let copy = |(number, missed, report): (u64, u64, &Report)| match report {
            Report::Event(event) => Some((number, EventMessage { missed, ..(**event).clone() })),
            _ => None,
        };
        self.events.kept(from).filter_map(copy).take(most).collect()
    }

    /// Drops the oldest events that wait while `old` says so. They are counted; the newest event stays.
    pub fn give_way(&mut self, old: impl Fn(u64, &EventMessage) -> bool) {
        let gone = self.events.give_way_while(|number, report| match report {
            Report::Event(event) => old(number, event),
            _ => false,
        });
        self.board.ended(&gone);
    }

    /// Whether something is to be taken back that the broker still has.
    pub fn takes_back(&self) -> bool {
        self.board.takes_back()
    }

    /// The next report to send, with its ticket; `None` if nothing waits, nobody is connected, or
    /// enough is in flight. States first, then answers, events, states of sources that are over, and detections. What has
    /// waited long for its turn is late.
    pub fn take(&mut self, now: Instant) -> Option<(Ticket, Report)> {
        if !self.connected || self.in_flight() >= WINDOW {
            return None;
        }
        let early = self.announce();
        if let Some((topic, version, report)) = self.board.next(false) {
            return Some((Ticket::Value(topic, version), report));
        }
        if let Some((number, report)) = self.answers.next(now) {
            return Some((Ticket::Answer(number), report));
        }
        if let Some((number, report)) = (!early).then(|| self.events.next(now)).flatten() {
            return Some((Ticket::Event(number), report));
        }
        let over = self.events.is_sent().then(|| self.board.next(true)).flatten();
        if let Some((topic, version, report)) = over {
            return Some((Ticket::Value(topic, version), report));
        }
        self.detections.next(now).map(|(number, report)| (Ticket::Detections(number), report))
    }

    /// Whether the oldest event that waits is a start that a state has to name first. The states then name the next sources
    /// that are over already: without that nobody would end them after a crash between their start and their end.
    fn announce(&mut self) -> bool {
        let early = self.events.waiting().next().is_some_and(|report| self.board.awaits(report));
        if early {
            self.events.waiting().take(WINDOW).for_each(|report| self.board.announce(report));
        }
        early
    }

    /// The broker has what `ticket` stands for. Tickets of an earlier connection say nothing.
    pub fn acknowledge(&mut self, ticket: &Ticket) {
        match ticket {
            Ticket::Event(number) => {
                let there = self.events.acknowledge(*number);
                self.board.ended(&there);
                self.settle();
            }
            Ticket::Detections(number) => drop(self.detections.acknowledge(*number)),
            Ticket::Answer(number) => drop(self.answers.acknowledge(*number)),
            Ticket::Value(topic, version) => self.board.acknowledge(topic, *version),
        }
    }

    /// With all events at the broker nothing waits for its end.
    fn settle(&mut self) {
        if self.events.len() == 0 {
            self.board.settle();
        }
    }

    /// What `ticket` stands for is not sent: nobody would take it. The next of its topic tells.
    pub fn refuse(&mut self, ticket: &Ticket) {
        let refused = match ticket {
            Ticket::Event(number) => {
                let gone = self.events.refuse(*number);
                self.board.ended(&gone);
                self.settle();
                gone.is_some()
            }
            Ticket::Detections(number) => self.detections.refuse(*number).is_some(),
            Ticket::Answer(number) => self.answers.refuse(*number).is_some(),
            Ticket::Value(topic, version) => self.board.refuse(topic, *version),
        };
        self.refused += u64::from(refused);
    }

    /// A connection begins: every retained value is told again.
    pub fn connected(&mut self) {
        self.connected = true;
        self.connections += 1;
        self.board.tell_all();
    }

    /// The connection is gone: what was in flight waits again, in its old order, and all that waits is
    /// late.
    pub fn disconnected(&mut self) {
        self.connected = false;
        self.lanes_mut().into_iter().for_each(Lane::recall);
        self.board.recall();
    }

    /// Whether there is a connection.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// Connections made so far.
    pub fn connections(&self) -> u64 {
        self.connections
    }

    /// Reports sent and not acknowledged.
    pub fn in_flight(&self) -> usize {
        self.lanes().map(Lane::in_flight).into_iter().sum::<usize>() + self.board.in_flight()
    }

    /// Numbered reports that are not acknowledged yet.
    pub fn waiting(&self) -> usize {
        self.lanes().map(Lane::len).into_iter().sum()
    }

    /// Whether everything is acknowledged, states included.
    pub fn is_empty(&self) -> bool {
        self.waiting() == 0 && self.board.is_told()
    }

    /// Reports that gave way unacknowledged, or that no broker would take.
    pub fn dropped(&self) -> u64 {
        self.lanes().map(Lane::dropped).into_iter().sum::<u64>() + self.refused
    }

    /// Those of them that no broker would take.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    fn lanes(&self) -> [&Lane; 3] {
        [&self.answers, &self.events, &self.detections]
    }

    fn lanes_mut(&mut self) -> [&mut Lane; 3] {
        [&mut self.answers, &mut self.events, &mut self.detections]
    }
}
