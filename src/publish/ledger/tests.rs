//! The promise of the store on disk, held to random crashes, torn writes and full disks in simulated time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use proptest::prelude::*;

use super::super::store::{Ticket, WINDOW};
use super::*;
use crate::clock::{Clock, Instant};
use crate::config::Config;
use crate::message::tests::event;
use crate::message::{EventPhase, Report};

/// A disk with a cache: what was not synced may be lost, in part, when the power goes.
#[derive(Debug, Clone, Default)]
struct Simulated {
    cached: Vec<u8>,
    durable: Vec<u8>,
    /// It takes no more than so many bytes.
    room: Option<usize>,
    /// It does so many things more; then the machine is dead.
    life: Option<u32>,
    /// Most bytes there ever were, the moment included in which everything was replaced.
    peak: usize,
}

impl Simulated {
    fn act(&mut self) -> io::Result<()> {
        match &mut self.life {
            Some(0) => return Err(io::Error::other("the machine is dead")),
            Some(life) => *life -= 1,
            None => {}
        }
        Ok(())
    }

    fn full(&self, length: usize) -> bool {
        self.room.is_some_and(|room| length > room)
    }

    /// The power goes: of what was not synced, `share` (0–1) is there, and what follows it may be garbage.
    fn cut(mut self, share: f64, garbage: bool) -> Self {
        let common = self.durable.iter().zip(&self.cached).take_while(|(a, b)| a == b).count();
        let kept = common + ((self.cached.len() - common) as f64 * share) as usize;
        if self.cached.len() >= self.durable.len() {
            self.cached.truncate(kept);
            self.cached.extend(std::iter::repeat_n(0x54, if garbage { 100 } else { 0 }));
        } else {
            self.cached.clone_from(&self.durable);
        }
        Self { durable: self.cached.clone(), cached: self.cached, peak: self.peak, ..Self::default() }
    }
}

impl Medium for Simulated {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        Ok(self.cached.clone())
    }

    fn append(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.act()?;
        self.cached.truncate(at as usize);
        let full = self.full(self.cached.len() + bytes.len());
        let written = if full { bytes.len() / 2 } else { bytes.len() };
        self.cached.extend_from_slice(&bytes[..written]);
        self.peak = self.peak.max(self.cached.len());
        if full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.act()?;
        self.durable.clone_from(&self.cached);
        Ok(())
    }

    fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.act()?;
        if self.full(bytes.len()) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.peak = self.peak.max(self.cached.len() + bytes.len());
        (self.cached, self.durable) = (bytes.to_vec(), bytes.to_vec());
        Ok(())
    }
}

/// One step of the world, which takes a second.
#[derive(Debug, Clone, Copy)]
enum Step {
    Events(u8),
    Carry {
        there: usize,
        back: usize,
    },
    Break,
    Connect,
    /// The disk is full at so many bytes, or has room again.
    Room(Option<usize>),
    /// The program is killed.
    Kill,
    /// The power goes within the next flush, after so many actions of the disk.
    PowerCut {
        after: u32,
        share: f64,
        garbage: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let cut = (0u32..4, 0.0..1.0f64, any::<bool>());
    prop_oneof![
        8 => (1u8..5).prop_map(Step::Events),
        4 => (0usize..12, 0usize..12).prop_map(|(there, back)| Step::Carry { there, back }),
        1 => Just(Step::Break),
        1 => Just(Step::Connect),
        1 => prop::option::of(0usize..20_000).prop_map(Step::Room),
        1 => Just(Step::Kill),
        1 => cut.prop_map(|(after, share, garbage)| Step::PowerCut { after, share, garbage }),
    ]
}

/// Most bytes of a line.
const LINE: u64 = 1000;
/// Seconds between flushes.
const EVERY: u64 = 5;

/// A clock that stands: how long something waits makes no difference here.
struct Still;

impl Clock for Still {
    fn now(&self) -> Instant {
        Instant::ZERO
    }

    fn wall(&self) -> Duration {
        Duration::ZERO
    }
}

/// A device that is started again and again, its disk, a wire, and a subscriber that remembers what it was told.
struct World {
    config: Config,
    outbox: Outbox<'static>,
    ledger: Ledger<Simulated>,
    connected: bool,
    there: VecDeque<(Ticket, Report)>,
    back: VecDeque<Ticket>,
    /// Run and number of every event told, as often as it was.
    told: Vec<(u64, u64, u64)>,
    now: u64,
    flushed: u64,
    run: u64,
    put: u64,
    /// How many events of each run are certain to arrive.
    certain: BTreeMap<u64, u64>,
}

impl World {
    fn new(bytes: u64) -> Self {
        let mut config = Config::default();
        (config.mqtt.store.bytes, config.mqtt.keep_events) = (bytes, 100_000);
        let outbox = Outbox::new(&config.mqtt, &Still);
        let (ledger, _) = Ledger::open(Simulated::default(), &config.mqtt.store);
        Self {
            config,
            outbox,
            ledger,
            connected: false,
            there: VecDeque::new(),
            back: VecDeque::new(),
            told: vec![],
            now: 0,
            flushed: 0,
            run: 1,
            put: 0,
            certain: BTreeMap::new(),
        }
    }

    fn event(&self) -> Report {
        let Report::Event(mut told) = event(self.put) else { panic!("an event") };
        told.run = self.run.to_string();
        Report::Event(told)
    }

    fn step(&mut self, step: Step) {
        self.now += 1;
        match step {
            Step::Events(count) => (0..count).for_each(|_| {
                self.put += 1;
                self.outbox.put(self.event());
            }),
            Step::Carry { there, back } => self.carry(there, back),
            Step::Break => self.disconnect(),
            Step::Connect if self.connected => {}
            Step::Connect => {
                self.connected = true;
                self.outbox.store().connected();
            }
            Step::Room(room) => self.ledger.medium.room = room,
            Step::Kill => self.start(self.ledger.medium.clone()),
            Step::PowerCut { after, share, garbage } => {
                self.ledger.medium.life = Some(after);
                self.flush();
                self.start(self.ledger.medium.clone().cut(share, garbage));
            }
        }
        if self.now - self.flushed >= EVERY {
            self.flush();
        }
        let mut store = self.outbox.store();
        self.there.extend(std::iter::from_fn(|| store.take(Instant::ZERO)));
    }

    fn flush(&mut self) {
        self.flushed = self.now;
        if self.ledger.flush(&self.outbox, None).is_ok() {
            self.certain.insert(self.run, self.put);
        }
    }

    fn disconnect(&mut self) {
        (self.there, self.back, self.connected) = (VecDeque::new(), VecDeque::new(), false);
        self.outbox.store().disconnected();
    }

    /// The program starts on what is left on the disk.
    fn start(&mut self, disk: Simulated) {
        self.disconnect();
        (self.run, self.put) = (self.run + 1, 0);
        self.outbox = Outbox::new(&self.config.mqtt, &Still);
        let (ledger, found) = Ledger::open(disk, &self.config.mqtt.store);
        self.ledger = ledger;
        let mut store = self.outbox.store();
        found.events.into_iter().for_each(|(number, event)| store.restore(number, event));
    }

    fn carry(&mut self, there: usize, back: usize) {
        for (ticket, report) in self.there.drain(..there.min(self.there.len())) {
            if let Report::Event(event) = report {
                let run = event.run.parse().expect("a number");
                self.told.push((run, event.sequence, event.missed));
            }
            self.back.push_back(ticket);
        }
        for ticket in self.back.drain(..back.min(self.back.len())) {
            self.outbox.store().acknowledge(&ticket);
        }
    }

    /// The faults are over: everything that can arrive does.
    fn settle(&mut self) {
        self.ledger.medium.room = None;
        self.step(Step::Connect);
        for _ in 0..100_000 {
            if self.outbox.store().is_empty() {
                self.flush();
                return;
            }
            self.step(Step::Carry { there: WINDOW, back: WINDOW });
        }
        panic!("events never leave the store");
    }

    /// What a subscriber sees that drops the runs and numbers it knows.
    fn distinct(&self) -> Vec<(u64, u64, u64)> {
        let mut known = BTreeSet::new();
        self.told.iter().filter(|(run, number, _)| known.insert((*run, *number))).copied().collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// Whatever breaks, every event that was flushed arrives once and in order, and so does every event of a run
    /// that was not crashed.
    #[test]
    fn a_crash_loses_at_most_what_came_after_the_last_flush(steps in prop::collection::vec(step(), 0..120)) {
        let mut world = World::new(32_000_000);
        steps.into_iter().for_each(|step| world.step(step));
        world.settle();
        let seen = world.distinct();
        let place = |(run, number, _): &(u64, u64, u64)| (*run, *number);
        prop_assert!(seen.iter().map(place).is_sorted(), "in order: {seen:?}");
        prop_assert!(seen.iter().all(|(_, _, missed)| *missed == 0));
        world.certain.insert(world.run, world.put);
        for (&run, &certain) in &world.certain {
            let numbers = seen.iter().filter(|(told, _, _)| *told == run).map(|(_, number, _)| *number);
            let numbers: Vec<u64> = numbers.collect();
            prop_assert!(numbers.len() as u64 >= certain, "run {run}: {} of {certain}", numbers.len());
            prop_assert_eq!(&numbers, &(1..=numbers.len() as u64).collect::<Vec<_>>(), "run {}: no gap", run);
        }
        prop_assert!(world.ledger.is_empty(), "nothing is kept that was told");
    }

    /// With too little room on the disk, it stays within its bound, and whatever gave way is counted.
    #[test]
    fn what_the_bound_drops_is_counted(bytes in 3_000u64..30_000, steps in prop::collection::vec(step(), 0..120)) {
        let (mut world, mut flying) = (World::new(bytes), 0);
        for step in steps {
            world.step(if let Step::PowerCut { .. } = step { Step::Kill } else { step });
            flying = flying.max(world.outbox.store().in_flight() as u64);
        }
        // An event cannot give way while it is in flight, nor can the newest.
        let (peak, most) = (world.ledger.medium.peak as u64, bytes + 2 * flying.max(1) * LINE);
        prop_assert!(peak <= most, "{peak} bytes where {most} are allowed");
        world.settle();
        let (mut last, mut counted, mut strays) = ((0, 0), 0, 0);
        for (run, number, missed) in world.distinct() {
            counted += missed;
            // What gave way, but not on a full disk before the crash, comes after all.
            if (run, number) < last {
                strays += 1;
                prop_assert!(strays <= counted, "{run}: {number} comes after {last:?}");
                continue;
            }
            let before = if run == last.0 { last.1 } else { 0 };
            prop_assert!(number - before - 1 <= missed, "{run}: {missed} missed between {before} and {number}");
            last = (run, number);
        }
    }

    /// Any damage is survived: what is read was written, and the rest of the file is still read.
    #[test]
    fn damage_hides_only_what_it_hits(at in 0usize..8000, length in 1usize..600, with in any::<u8>()) {
        let config = Config::default().mqtt;
        let (outbox, disk) = (Outbox::new(&config, &Still), Simulated::default());
        (1..=10).for_each(|number| outbox.put(event(number)));
        let (mut ledger, _) = Ledger::open(disk, &config.store);
        ledger.flush(&outbox, None).expect("room");
        let mut disk = ledger.medium.clone();
        let whole = disk.cached.len();
        let line = whole / 10;
        let hit = at.min(whole)..(at + length).min(whole);
        disk.cached[hit.clone()].fill(with);
        let (mut ledger, found) = Ledger::open(disk, &config.store);
        let numbers: Vec<u64> = found.events.iter().map(|(_, event)| event.sequence).collect();
        prop_assert!(numbers.is_sorted() && numbers.len() + hit.len() / line + 2 >= 10, "{numbers:?}");
        // The next flush leaves a whole file behind.
        let outbox = Outbox::new(&config, &Still);
        found.events.into_iter().for_each(|(number, event)| outbox.store().restore(number, event));
        ledger.flush(&outbox, None).expect("room");
        let (_, again) = Ledger::open(ledger.medium.clone(), &config.store);
        prop_assert_eq!((again.torn, again.damaged, again.events.len()), (0, 0, numbers.len()));
    }
}

#[test]
fn what_is_told_at_once_is_never_written() {
    let config = Config::default().mqtt;
    let outbox = Outbox::new(&config, &Still);
    outbox.store().connected();
    let (mut ledger, _) = Ledger::open(Simulated { life: Some(0), ..Simulated::default() }, &config.store);
    for number in 1..=100 {
        outbox.put(event(number));
        let (ticket, _) = outbox.take().expect("an event");
        outbox.store().acknowledge(&ticket);
        ledger.flush(&outbox, None).expect("nothing to write");
    }
}

#[test]
fn old_events_give_way_and_are_counted_and_the_newest_stays() {
    let config = Config::default().mqtt;
    let outbox = Outbox::new(&config, &Still);
    let (mut ledger, _) = Ledger::open(Simulated::default(), &config.store);
    (1..=3).for_each(|number| outbox.put(event(number))); // all published at 100.1
    ledger.flush(&outbox, Some(100.0)).expect("room");
    assert_eq!(ledger.len(), 3);
    ledger.flush(&outbox, Some(200.0)).expect("room");
    let (_, found) = Ledger::open(ledger.medium.clone(), &config.store);
    let left: Vec<(u64, u64)> =
        found.events.iter().map(|(_, event)| (event.sequence, event.missed)).collect();
    assert_eq!(left, [(3, 2)]);
}

#[test]
fn a_full_disk_is_told_and_everything_is_written_when_there_is_room() {
    let config = Config::default().mqtt;
    let outbox = Outbox::new(&config, &Still);
    let (mut ledger, _) = Ledger::open(Simulated { room: Some(1000), ..Simulated::default() }, &config.store);
    (1..=20).for_each(|number| outbox.put(event(number)));
    let error = ledger.flush(&outbox, None).expect_err("no room");
    assert_eq!((error.kind(), ledger.len()), (io::ErrorKind::StorageFull, 0));
    ledger.medium.room = None;
    ledger.flush(&outbox, None).expect("room");
    let (_, found) = Ledger::open(ledger.medium.clone(), &config.store);
    assert_eq!((found.events.len(), found.torn, found.damaged), (20, 0, 0));
}

#[test]
fn an_event_is_read_as_it_was_written() {
    let Report::Event(mut event) = event(7) else { panic!("an event") };
    (event.published, event.event, event.source.bearing) = (1_769_085_300.160_001, EventPhase::End, None);
    event.source.p = 0.931_7;
    let mut bytes = Vec::new();
    let record = Record::Put { number: 7, event };
    record.write(&mut bytes).expect("memory");
    assert_eq!(Reading::of(&bytes).records, [(record, bytes.len() as u64)]);
}
