//! The promise to subscribers, held to random fault schedules in simulated time.

mod states;

use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;

use super::board::ANNOUNCED;
use super::{ANSWERS, Store, Ticket, WINDOW};
use crate::clock::Instant;
use crate::config::{self, Config};
use crate::message::tests::{answer, detections, event, state};
use crate::message::{EventMessage, EventPhase, OnOff, Report, Source};

/// The time, where it makes no difference.
const NOW: Instant = Instant::ZERO;

/// One step of the world.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The pipeline reports.
    Event,
    Detections,
    State(bool),
    /// A subscriber's wish was judged: the answer, and the settings that are in force.
    Wish,
    /// The connection carries so many reports to the broker, and so many of its answers back.
    Carry {
        there: usize,
        back: usize,
    },
    /// The broker acknowledges so many reports, and dies before it hands them on.
    BrokerForgets(usize),
    /// The connection breaks: reports and answers under way are lost.
    Break,
    Connect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Event),
        4 => Just(Step::Detections),
        1 => any::<bool>().prop_map(Step::State),
        2 => Just(Step::Wish),
        6 => (0usize..12, 0usize..12).prop_map(|(there, back)| Step::Carry { there, back }),
        1 => Just(Step::Break),
        2 => Just(Step::Connect),
    ]
}

/// The same with a broker that loses what it acknowledged.
fn careless_step() -> impl Strategy<Value = Step> {
    prop_oneof![12 => step(), 1 => (0usize..12).prop_map(Step::BrokerForgets)]
}

#[test]
fn what_is_taken_back_is_told_once() {
    let mut store = Store::new(&Config::default().mqtt);
    let taken = |topic: &str| Report::Foreign { topic: topic.into(), payload: String::new() };
    store.put(taken("tvsl/old/info"), NOW);
    store.put(taken("tvsl/new/info"), NOW);
    store.reclaim("tvsl/new/");
    store.connected();
    let (ticket, report) = store.take(NOW).expect("one is left");
    assert_eq!((report, store.take(NOW)), (taken("tvsl/old/info"), None));
    store.acknowledge(&ticket);
    store.disconnected();
    store.connected();
    assert_eq!(store.take(NOW), None, "another device may have that name by now");
}

#[test]
fn what_belongs_under_other_topics_waits_for_them() {
    let mut store = Store::new(&Config::default().mqtt);
    store.connected();
    store.put(event(1), NOW);
    store.hold_back();
    store.put(event(2), NOW);
    let (ticket, _) = store.take(NOW).expect("what was put before");
    store.acknowledge(&ticket);
    assert!(store.take(NOW).is_none() && store.is_empty(), "the goodbye ends");
    store.go_on();
    assert!(matches!(store.take(NOW), Some((Ticket::Event(_), _))));
}

/// A store, a wire, and a broker with one subscriber that remembers everything it was told.
struct World {
    store: Store,
    connected: bool,
    there: VecDeque<(Ticket, Report)>,
    back: VecDeque<Ticket>,
    told: Vec<Report>,
    /// What the broker acknowledged and lost.
    forgotten: Vec<Report>,
    events: u64,
    detections: u64,
    wishes: u64,
    state: Option<bool>,
}

impl World {
    fn new(keep: usize) -> Self {
        let mut config = Config::default().mqtt;
        (config.keep_events, config.keep_detections) = (keep, keep);
        let store = Store::new(&config);
        Self {
            store,
            connected: false,
            there: VecDeque::new(),
            back: VecDeque::new(),
            told: vec![],
            forgotten: vec![],
            events: 0,
            detections: 0,
            wishes: 0,
            state: None,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Event => {
                self.events += 1;
                self.store.put(event(self.events), NOW);
            }
            Step::Detections => {
                self.detections += 1;
                self.store.put(detections(self.detections), NOW);
            }
            Step::State(on) => {
                self.state = Some(on);
                self.store.put(state(if on { OnOff::On } else { OnOff::Off }), NOW);
            }
            Step::Wish => {
                self.wishes += 1;
                answer(self.wishes).into_iter().for_each(|report| self.store.put(report, NOW));
            }
            Step::Carry { there, back } => self.carry(there, back),
            Step::BrokerForgets(many) => {
                let told = self.told.len();
                self.carry(many, usize::MAX);
                self.forgotten.extend(self.told.drain(told..));
                self.step(Step::Break);
            }
            Step::Break => {
                (self.there, self.back, self.connected) = (VecDeque::new(), VecDeque::new(), false);
                self.store.disconnected();
            }
            Step::Connect if self.connected => {}
            Step::Connect => {
                self.connected = true;
                self.store.connected();
            }
        }
        self.there.extend(std::iter::from_fn(|| self.store.take(NOW)));
    }

    fn carry(&mut self, there: usize, back: usize) {
        for (ticket, report) in self.there.drain(..there.min(self.there.len())) {
            self.told.push(report);
            self.back.push_back(ticket);
        }
        for ticket in self.back.drain(..back.min(self.back.len())) {
            self.store.acknowledge(&ticket);
        }
    }

    /// The faults are over: everything that can arrive does.
    fn settle(&mut self) {
        self.step(Step::Connect);
        for _ in 0..10_000 {
            if self.store.is_empty() {
                return;
            }
            self.step(Step::Carry { there: WINDOW, back: WINDOW });
        }
        panic!("{} reports never leave the store", self.store.waiting());
    }

    /// Sequence numbers and counts of missed messages as a subscriber sees them that drops what it knows.
    fn distinct(&self, number: impl Fn(&Report) -> Option<(u64, u64)>) -> Vec<(u64, u64)> {
        let mut seen: Vec<(u64, u64)> = Vec::new();
        for (sequence, missed) in self.told.iter().filter_map(number) {
            if seen.iter().all(|(known, _)| *known != sequence) {
                seen.push((sequence, missed));
            }
        }
        seen
    }
}

fn of_events(report: &Report) -> Option<(u64, u64)> {
    if let Report::Event(event) = report { Some((event.sequence, event.missed)) } else { None }
}

fn of_detections(report: &Report) -> Option<(u64, u64)> {
    if let Report::Detections(message) = report { Some((message.sequence, message.missed)) } else { None }
}

fn of_answers(report: &Report) -> Option<(u64, u64)> {
    if let Report::Answer(answer) = report { Some((answer.published as u64, 0)) } else { None }
}

/// In order, and every number that never came is counted by the one after it.
fn complete(seen: &[(u64, u64)], put: u64) -> Result<(), TestCaseError> {
    let mut last = 0;
    for (sequence, missed) in seen {
        prop_assert!(*sequence > last, "{sequence} comes after {last}");
        // A report whose acknowledgement was lost may have come and be counted too: never too few.
        prop_assert!(*missed >= sequence - last - 1, "{missed} missed between {last} and {sequence}");
        last = *sequence;
    }
    prop_assert_eq!(last, put, "the newest always comes");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// With room for all, a subscriber that drops what it knows sees every event exactly once, in order.
    #[test]
    fn every_event_comes_once_and_in_order(steps in prop::collection::vec(step(), 0..300)) {
        let mut world = World::new(1000);
        steps.into_iter().for_each(|step| world.step(step));
        world.settle();
        let expected: Vec<(u64, u64)> = (1..=world.events).map(|sequence| (sequence, 0)).collect();
        prop_assert_eq!(world.distinct(of_events), expected);
        prop_assert_eq!(world.store.dropped(), 0);
    }

    /// With too little room, whatever gave way is counted where it is missing, and nothing else is.
    #[test]
    fn what_gives_way_is_counted(keep in 1usize..40, steps in prop::collection::vec(step(), 0..300)) {
        let mut world = World::new(keep);
        for step in steps {
            world.step(step);
            prop_assert!(world.store.waiting() <= 2 * (keep + WINDOW), "bounded");
            prop_assert!(world.store.in_flight() <= WINDOW);
        }
        world.settle();
        complete(&world.distinct(of_events), world.events)?;
        complete(&world.distinct(of_detections), world.detections)?;
    }

    /// What the broker acknowledged and lost is missing, and no `missed` explains it; nothing else is missing.
    #[test]
    fn what_a_broker_forgets_shows_as_a_jump(steps in prop::collection::vec(careless_step(), 0..300)) {
        let mut world = World::new(1000);
        steps.into_iter().for_each(|step| world.step(step));
        world.settle();
        let seen = world.distinct(of_events);
        prop_assert!(seen.iter().all(|(_, missed)| *missed == 0), "nothing gave way: {seen:?}");
        let numbers: Vec<u64> = seen.into_iter().map(|(sequence, _)| sequence).collect();
        prop_assert!(numbers.is_sorted());
        let lost = world.forgotten.iter().filter_map(of_events).map(|(sequence, _)| sequence);
        let lost: BTreeSet<u64> = lost.filter(|sequence| !numbers.contains(sequence)).collect();
        let jumped: BTreeSet<u64> = (1..=world.events).filter(|sequence| !numbers.contains(sequence)).collect();
        prop_assert_eq!(jumped, lost);
    }

    /// With too little room as well, a jump is what gave way and was counted, or what the broker lost.
    #[test]
    fn a_jump_is_counted_or_the_brokers(keep in 1usize..40, steps in prop::collection::vec(careless_step(), 0..300)) {
        let mut world = World::new(keep);
        steps.into_iter().for_each(|step| world.step(step));
        world.settle();
        let lost: BTreeSet<u64> = world.forgotten.iter().filter_map(of_events).map(|(sequence, _)| sequence).collect();
        let mut last = 0;
        for (sequence, missed) in world.distinct(of_events) {
            // The broker may have lost the very message that counts what gave way before it.
            let unexplained = (last + 1..sequence).filter(|number| !lost.contains(number)).count() as u64;
            let counted = missed + world.forgotten.iter().filter_map(of_events).filter(|(number, _)| (last + 1..sequence).contains(number)).map(|(_, missed)| missed).sum::<u64>();
            prop_assert!(counted >= unexplained, "{counted} counted of {unexplained} between {last} and {sequence}");
            last = sequence;
        }
    }

    /// The answers that came are those of the newest wishes, in order; the settings told last are those in force.
    #[test]
    fn wishes_are_answered_and_their_settings_told(steps in prop::collection::vec(step(), 0..300)) {
        let mut world = World::new(100);
        steps.into_iter().for_each(|step| world.step(step));
        world.settle();
        let answers: Vec<u64> = world.distinct(of_answers).into_iter().map(|(number, _)| number).collect();
        prop_assert!(answers.is_sorted());
        let newest = world.wishes.saturating_sub(ANSWERS as u64) + 1;
        prop_assert!((newest..=world.wishes).all(|number| answers.contains(&number)), "{answers:?}");
        let last = world.told.iter().rev().find_map(|report| match report {
            Report::Settings(settings) => Some(u64::from(settings.sensitivity as u32)),
            _ => None,
        });
        prop_assert_eq!(last.unwrap_or(0), world.wishes);
    }

    /// The last word on a topic is its latest value.
    #[test]
    fn the_latest_state_holds(steps in prop::collection::vec(step(), 0..300)) {
        let mut world = World::new(100);
        steps.into_iter().for_each(|step| world.step(step));
        world.settle();
        let last = world.told.iter().rev().find_map(|report| match report {
            Report::State(state) => Some(state.state == OnOff::On),
            _ => None,
        });
        prop_assert_eq!(last, world.state);
    }
}

#[test]
fn a_broker_that_forgets_three_events_leaves_a_jump_of_three() {
    let mut world = World::new(100);
    world.step(Step::Connect);
    (0..2).for_each(|_| world.step(Step::Event));
    world.step(Step::Carry { there: 9, back: 9 });
    (0..5).for_each(|_| world.step(Step::Event));
    world.step(Step::BrokerForgets(3));
    world.settle();
    assert_eq!(world.distinct(of_events), [(1, 0), (2, 0), (6, 0), (7, 0)]);
}

#[test]
fn what_waited_for_a_connection_is_late() {
    let mut world = World::new(100);
    world.step(Step::Event);
    world.step(Step::Connect);
    world.step(Step::Event);
    world.step(Step::Carry { there: 9, back: 0 });
    world.step(Step::Break);
    world.settle();
    let late: Vec<(u64, bool)> = world
        .told
        .iter()
        .filter_map(|report| if let Report::Event(e) = report { Some((e.sequence, e.late)) } else { None })
        .collect();
    assert_eq!(late, [(1, true), (2, false), (1, true), (2, true)]);
}

#[test]
fn what_waited_long_for_its_turn_is_late() {
    let (mut store, at) = (Store::new(&Config::default().mqtt), Instant::from_secs_f64);
    let room = WINDOW as u64;
    store.connected();
    (1..=room + 2).for_each(|number| store.put(event(number), at(10.0)));
    let told = |store: &mut Store, seconds| match store.take(at(seconds)) {
        Some((ticket, Report::Event(event))) => Some((ticket, event.sequence, event.late)),
        _ => None,
    };
    let flying: Vec<_> = std::iter::from_fn(|| told(&mut store, 10.0)).collect();
    assert!(flying.len() == WINDOW && flying.iter().all(|(_, _, late)| !late));
    store.put(event(room + 3), at(11.0));
    assert_eq!(told(&mut store, 30.0), None, "the broker is silent");
    flying.iter().take(3).for_each(|(ticket, ..)| store.acknowledge(ticket));
    let next = |told: Option<(Ticket, u64, bool)>| told.map(|(_, number, late)| (number, late));
    assert_eq!(next(told(&mut store, 12.0)), Some((room + 1, false)));
    assert_eq!(next(told(&mut store, 12.1)), Some((room + 2, true)));
    assert_eq!(next(told(&mut store, 12.1)), Some((room + 3, false)), "it came later");
}
