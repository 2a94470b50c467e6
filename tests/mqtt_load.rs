//! What waits for the broker: drained fast when it comes, bounded while it is away. Prints the figures.

mod broker;
mod daemon;

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant as Stopwatch};

use serde_json::{Value, json};
use tokio::sync::Notify;
use tvsl::analysis::{Analysed, SoundWindow, Timing};
use tvsl::clock::{Clock, Instant};
use tvsl::config::{Config, Overrides};
use tvsl::geometry::{Rect, Size};
use tvsl::message::{Composer, Info, Message, Moment, Settings};
use tvsl::model::{Manifest, Score};
use tvsl::publish::{Disk, Ledger, Teller, mqtt};
use tvsl::regions::Region;
use tvsl::track::{Event, Track};

use broker::{Broker, free_port};
use daemon::{PATIENCE, Place};

/// Sources that sound at once.
const SOURCES: u64 = 5;
/// Pictures from the start of a source to its end.
const LIFE: u64 = 120;

/// A clock that the test moves, in milliseconds.
#[derive(Default)]
struct Simulated(AtomicU64);

impl Clock for Simulated {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.load(Ordering::Relaxed) * 1_000_000)
    }

    fn wall(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// A device without devices: it tells of made-up sources.
struct Device<'a> {
    clock: &'a Simulated,
    composer: Composer,
    teller: Teller<'a>,
    pictures: u64,
}

impl<'a> Device<'a> {
    fn new(config: &Config, clock: &'a Simulated) -> Self {
        let manifest = Manifest::read(Path::new("tests/data/tiny")).expect("the tests' model");
        let info: Info = serde_json::from_value(json!({
            "schema": 1, "revision": 1, "device": "test", "version": "0", "model": {"name": "tiny", "version": "1"},
            "engine": "none", "classes": [], "lens": {"field_of_view": 0.0, "fx": 0.0, "fy": 0.0, "cx": 0.0, "cy": 0.0,
            "distortion": [], "width": 0, "height": 0}, "masked": 0.0,
        }))
        .expect("what a device is");
        let settings = Settings::new(config, &Overrides::default());
        let teller = Teller::new(config, (info, settings), 1, clock);
        Self { clock, composer: Composer::new(config, &manifest, 1), teller, pictures: 0 }
    }

    /// Tells of the next picture, `apart` milliseconds after the one before.
    fn see(&mut self, apart: u64) {
        self.clock.0.fetch_add(apart, Ordering::Relaxed);
        let (life, age) = (self.pictures / LIFE, self.pictures % LIFE);
        self.pictures += 1;
        let event = match age {
            0 => Event::Start,
            age if age + 1 == LIFE => Event::End,
            _ => Event::Update,
        };
        let message = self.message(life, event);
        self.teller.message(&message);
    }

    fn message(&mut self, life: u64, event: Event) -> Message {
        let now = self.clock.now();
        let score = Score { class: 0, p: 0.9, p_audio: 0.8, p_visual: 0.95 };
        let region =
            Region { rect: Rect { x0: 0.2, y0: 0.2, x1: 0.4, y1: 0.6 }, peak: (0.3, 0.4), score: 1.0 };
        let track =
            |n| Track { id: life * SOURCES + n, class: 0, score, region, started: now, seen: now, event };
        let analysed = Analysed {
            captured: now,
            source: Size::new(640, 360),
            sound: SoundWindow { start: now, end: now, level_dbfs: -20.0 },
            scores: vec![],
            detections: vec![],
            tracks: (0..SOURCES).map(track).collect(),
            maps: vec![],
            timing: Timing::default(),
        };
        let moment = Moment { now, wall: self.clock.wall(), synced: None };
        self.composer.compose(&analysed, moment).expect("there are tracks")
    }

    fn waiting(&self) -> usize {
        self.teller.outbox().store().waiting()
    }
}

fn config(port: u16) -> Config {
    let mut config = Config::default();
    (config.device.name, config.mqtt.port, config.mqtt.keep_events) = ("test".into(), port, 10_000);
    config.mqtt.client_id = "tvsl-test".into();
    config
}

/// What mosquitto's own client reads of the events, as a subscriber whom the broker knows.
fn reader(port: u16, more: &[&str]) -> String {
    let mut command = Command::new("mosquitto_sub");
    command
        .args(["-p", &port.to_string(), "-c", "-i", "reader", "-q", "1", "-t", "tvsl/test/events"])
        .args(more);
    let output = command.output().expect("clients are installed: `make setup-test`");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn ten_thousand_events_that_waited_are_told_in_order() {
    let _alone = alone();
    let (place, port, clock) = (Place::new(), free_port(), Simulated::default());
    let mut config = config(port);
    config.mqtt.update_every = Duration::ZERO;
    let mut device = Device::new(&config, &clock);
    (0..10_000 / SOURCES).for_each(|_| device.see(100));
    let _broker = Broker::start(&place, port, "allow_anonymous true\nmax_queued_messages 0");
    reader(port, &["-E"]); // from now on the broker keeps events for it
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("an event loop");
    let began = Stopwatch::now();
    runtime.block_on(async {
        let run = mqtt::run(&config, &device.teller, |_| {}, Arc::new(Notify::new()));
        let told = async {
            while !device.teller.outbox().store().is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            () = run => panic!("nobody stopped it"),
            told = tokio::time::timeout(PATIENCE, told) => told.expect("the broker takes everything"),
        }
    });
    let taken = began.elapsed();
    println!(
        "10 000 events and {} detections were taken in {:.2} s; the goal is 2 s on an idle machine",
        config.mqtt.keep_detections,
        taken.as_secs_f64()
    );
    let lines = reader(port, &["-C", "10000", "-W", "60"]);
    let numbers =
        lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()?["sequence"].as_u64());
    assert!(numbers.eq(1..=10_000), "each once and in order");
}

/// Memory is the whole process's: one test of it at a time, and none beside the drain.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Resident memory of this process, bytes.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("a number") * 4096
}

/// Lets a day pass, `minute` called for each of its minutes; gives how much more memory is needed after it than after its first
/// half, in MiB, and how many messages wait at the end of both.
fn day(config: &Config, mut minute: impl FnMut(&Device)) -> (f64, usize) {
    let clock = Simulated::default();
    let mut device = Device::new(config, &clock);
    let mut watch = |hours: u64| {
        for picture in 0..hours * 1800 {
            device.see(2000);
            if picture % 30 == 0 {
                minute(&device);
            }
        }
        (resident(), device.waiting())
    };
    let (before, waiting) = watch(12);
    let (after, still) = watch(12);
    assert_eq!(still, waiting);
    let grown = after.saturating_sub(before) as f64 / f64::from(1 << 20);
    println!("{waiting} messages wait; {grown:.2} MiB more after a day than after half of it");
    (grown, waiting)
}

/// As many as there is room for.
fn full(config: &Config) -> usize {
    config.mqtt.keep_events + config.mqtt.keep_detections
}

#[test]
fn a_day_without_a_broker_needs_no_more_memory_than_half_of_it() {
    let _alone = alone();
    let config = config(1);
    let (grown, waiting) = day(&config, |_| {});
    assert_eq!(waiting, full(&config), "the store is full");
    assert!(grown < 1.0, "{grown} MiB more");
}

#[test]
fn nor_does_one_with_a_broker_that_takes_everything() {
    let _alone = alone();
    let config = config(1);
    let (grown, waiting) = day(&config, |device| {
        let outbox = device.teller.outbox();
        outbox.store().connected();
        while let Some((ticket, _)) = outbox.take() {
            outbox.store().acknowledge(&ticket);
        }
    });
    assert!(waiting < full(&config) / 10, "what the last minute told");
    assert!(grown < 1.0, "{grown} MiB more");
}

#[test]
fn nor_does_one_with_the_store_on_disk() {
    let _alone = alone();
    let (place, config) = (Place::new(), config(1));
    let (mut ledger, _) = Ledger::open(Disk::new(place.path("events.log")), &config.mqtt.store);
    let (grown, waiting) =
        day(&config, |device| ledger.flush(device.teller.outbox(), None).expect("room on the disk"));
    assert_eq!(waiting, full(&config), "the store is full");
    assert_eq!(ledger.len(), config.mqtt.keep_events);
    let length = std::fs::metadata(place.path("events.log")).expect("a file").len();
    assert!(length <= config.mqtt.store.bytes, "{length} bytes");
    assert!(grown < 1.0, "{grown} MiB more");
}
