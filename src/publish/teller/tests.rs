//! What is told, and how often, on a simulated clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::analysis::{SoundWindow, Timing};
use crate::config::Overrides;
use crate::geometry::Size;
use crate::message::tests::{dog, info, message};
use crate::message::{Ended, HealthState};

/// A clock that the test moves, in milliseconds; both clocks count from the same origin.
#[derive(Default)]
struct Simulated(AtomicU64);

impl Simulated {
    fn set(&self, seconds: f64) {
        self.0.store((seconds * 1000.0) as u64, Ordering::Relaxed);
    }
}

impl Clock for Simulated {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.load(Ordering::Relaxed) * 1_000_000)
    }

    fn wall(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// A teller that is connected, of a device that reports dogs; what it tells at its start is read.
fn teller<'a>(config: &Config, clock: &'a Simulated) -> Teller<'a> {
    let settings = Settings::new(config, &Overrides::default());
    let teller = Teller::new(config, (info(config), settings), 1, clock);
    teller.connected();
    told(&teller);
    teller
}

/// Everything it has to tell, which the broker takes.
pub(crate) fn told(teller: &Teller<'_>) -> Vec<Report> {
    let take = || {
        let (ticket, report) = teller.outbox().take()?;
        teller.outbox().store().acknowledge(&ticket);
        Some(report)
    };
    std::iter::from_fn(take).collect()
}

/// Tells of a dog in a picture taken now.
fn see(teller: &Teller<'_>, clock: &Simulated, seconds: f64, phase: Phase) -> Vec<Report> {
    clock.set(seconds);
    teller.message(&message(seconds, vec![dog("1-1", 0.9, phase)], vec![]));
    told(teller)
}

fn end(teller: &Teller<'_>, clock: &Simulated, seconds: f64, last: f64) -> Vec<Report> {
    clock.set(seconds);
    let ended = Ended { id: "1-1".into(), class: "dog".into(), last };
    teller.message(&message(seconds, vec![], vec![ended]));
    told(teller)
}

/// A picture of this size in which nothing sounds.
fn nothing_in(source: Size) -> Analysed {
    let sound = SoundWindow { start: Instant::ZERO, end: Instant::ZERO, level_dbfs: -20.0 };
    let (scores, detections, tracks, maps) = (vec![], vec![], vec![], vec![]);
    let (captured, timing) = (Instant::ZERO, Timing::default());
    Analysed { captured, source, sound, scores, detections, tracks, maps, timing }
}

fn states(reports: Vec<Report>) -> Vec<ClassState> {
    let state = |report| if let Report::State(state) = report { Some(*state) } else { None };
    reports.into_iter().filter_map(state).collect()
}

fn numbers(reports: &[Report]) -> Vec<u64> {
    let number = |report: &Report| if let Report::Detections(m) = report { Some(m.sequence) } else { None };
    reports.iter().filter_map(number).collect()
}

#[test]
fn a_state_that_is_on_is_as_fresh_as_the_last_update() {
    let (mut config, clock) = (Config::default(), Simulated::default());
    config.mqtt.update_every = Duration::from_secs(1);
    let teller = teller(&config, &clock);
    let on = states(see(&teller, &clock, 100.0, Phase::Start));
    assert_eq!((on.len(), on[0].state, on[0].last), (1, OnOff::On, Some(100.0)));
    assert!(states(see(&teller, &clock, 100.5, Phase::Update)).is_empty(), "no update is due");
    let on = states(see(&teller, &clock, 101.0, Phase::Update));
    assert_eq!((on[0].last, on[0].published, on[0].sources[0].duration), (Some(101.0), 101.1, 1.0));
    let off = states(end(&teller, &clock, 103.0, 101.5));
    assert_eq!((off[0].state, off[0].last, off[0].sources.len()), (OnOff::Off, Some(101.0), 0));
}

#[test]
fn a_state_that_is_on_is_told_as_of_now_on_a_new_connection() {
    let (mut config, clock) = (Config::default(), Simulated::default());
    config.mqtt.update_every = Duration::from_secs(3600);
    let teller = teller(&config, &clock);
    see(&teller, &clock, 100.0, Phase::Start);
    teller.outbox().store().disconnected();
    see(&teller, &clock, 160.0, Phase::Update);
    clock.set(161.0);
    teller.connected();
    let on = states(told(&teller));
    assert_eq!((on.len(), on[0].state, on[0].last, on[0].published), (1, OnOff::On, Some(160.0), 161.0));
    assert_eq!(on[0].sources[0].duration, 60.0);
    end(&teller, &clock, 170.0, 160.0);
    teller.outbox().store().disconnected();
    clock.set(200.0);
    teller.connected();
    let off = states(told(&teller));
    assert_eq!((off[0].state, off[0].published), (OnOff::Off, 170.1), "what is off stays as it was told");
}

#[test]
fn one_of_two_sources_that_ends_does_not_age_its_class() {
    let (config, clock) = (Config::default(), Simulated::default());
    let teller = teller(&config, &clock);
    let two = |phase| vec![dog("1-1", 0.9, phase), dog("1-2", 0.8, phase)];
    teller.message(&message(100.0, two(Phase::Start), vec![]));
    let ended = Ended { id: "1-1".into(), class: "dog".into(), last: 100.0 };
    teller.message(&message(100.4, vec![dog("1-2", 0.8, Phase::Update)], vec![ended]));
    let state = states(told(&teller)).pop().expect("a state");
    assert_eq!((state.state, state.last, state.sources.len()), (OnOff::On, Some(100.4), 1));
}

#[test]
fn detections_keep_to_their_rate_but_starts_and_ends_are_always_told() {
    let (mut config, clock) = (Config::default(), Simulated::default());
    config.mqtt.detections_rate = 2.0;
    let teller = teller(&config, &clock);
    assert_eq!(numbers(&see(&teller, &clock, 100.0, Phase::Start)), [1]);
    for (at, due) in [(100.1, None), (100.4, None), (100.5, Some(2)), (100.9, None), (101.0, Some(3))] {
        let told = numbers(&see(&teller, &clock, at, Phase::Update));
        assert_eq!(told, Vec::from_iter(due), "at {at}");
    }
    assert_eq!(numbers(&see(&teller, &clock, 101.1, Phase::Start)), [4], "what starts is told at once");
    assert!(numbers(&see(&teller, &clock, 101.2, Phase::Update)).is_empty());
    assert_eq!(numbers(&end(&teller, &clock, 101.3, 101.2)), [5], "and what ends");
}

#[test]
fn without_a_rate_every_picture_is_told() {
    let (mut config, clock) = (Config::default(), Simulated::default());
    config.mqtt.detections_rate = 0.0;
    let teller = teller(&config, &clock);
    let all = (0..10).flat_map(|n| see(&teller, &clock, 100.0 + 0.01 * f64::from(n), Phase::Update));
    assert_eq!(numbers(&all.collect::<Vec<_>>()), Vec::from_iter(1..=10));
}

#[test]
fn the_size_of_pictures_is_told_when_it_is_known_and_when_it_changes() {
    let (config, clock) = (Config::default(), Simulated::default());
    let teller = teller(&config, &clock);
    let see = |width, height| {
        teller.analysed(&nothing_in(Size::new(width, height)));
        let size = |report| if let Report::Info(info) = report { info.picture } else { None };
        told(&teller).into_iter().filter_map(size).map(|p| (p.width, p.height)).collect::<Vec<_>>()
    };
    assert_eq!(see(640, 360), [(640, 360)]);
    assert!(see(640, 360).is_empty(), "told once");
    assert_eq!(see(1280, 720), [(1280, 720)]);
    teller.configured(info(&config), Settings::new(&config, &Overrides::default()));
    let kept = |report: &Report| matches!(report, Report::Info(info) if info.picture.is_some());
    assert!(told(&teller).iter().any(kept), "other settings leave it");
}

#[test]
fn nothing_is_told_of_a_lens_that_is_not_known() {
    let mut config = Config::default();
    let lens = |config: &Config| serde_json::to_value(info(config)).expect("JSON")["lens"].clone();
    assert_eq!(lens(&config), serde_json::json!({}));
    config.camera.lens.field_of_view = 60.0;
    assert_eq!(lens(&config), serde_json::json!({"field_of_view": 60.0}));
}

#[test]
fn health_is_told_with_the_contracts_version_and_the_device() {
    let (config, clock) = (Config::default(), Simulated::default());
    let teller = teller(&config, &clock);
    let (state, reason) = (HealthState::Degraded, "a rival".into());
    teller.health(Health { part: Part::Broker, state, reason, since: 0.0, clock_synced: None });
    let told = told(&teller).pop().expect("health").payload(&config.mqtt).expect("JSON");
    let told: serde_json::Value = serde_json::from_slice(&told).expect("JSON");
    let expected = serde_json::json!({
        "schema": SCHEMA, "device": config.device.name, "part": "broker", "state": "degraded", "reason": "a rival", "since": 0.0,
    });
    assert_eq!(told, expected);
}

/// One that nobody has set.
struct Unset;

impl Clock for Unset {
    fn now(&self) -> Instant {
        Instant::ZERO
    }

    fn wall(&self) -> Duration {
        Duration::ZERO
    }

    fn synced(&self) -> Option<bool> {
        Some(false)
    }
}

#[test]
fn whatever_is_stamped_says_whether_the_clock_is_set() {
    let config = Config::default();
    let settings = Settings::new(&config, &Overrides::default());
    let teller = Teller::new(&config, (info(&config), settings), 1, &Unset);
    teller.connected();
    teller.analysed(&nothing_in(Size::new(640, 360)));
    teller.answer("enable".into(), true, String::new());
    let json = |report: &Report| {
        report.payload(&config.mqtt).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())
    };
    let all: Vec<serde_json::Value> = told(&teller).iter().filter_map(json).collect();
    let stamped: Vec<_> = all.iter().filter(|told| told.get("published").is_some()).collect();
    for kind in ["state", "level_dbfs", "accepted"] {
        assert!(stamped.iter().any(|told| told.get(kind).is_some()), "{kind}: {all:#?}");
    }
    assert!(stamped.iter().all(|told| told["clock_synced"] == false), "{stamped:#?}");
}

#[test]
fn a_device_without_a_microphone_announces_no_health_of_one() {
    let (mut config, clock) = (Config::default(), Simulated::default());
    config.mqtt.home_assistant.enabled = true;
    let announced = |config: &Config| {
        let settings = Settings::new(config, &Overrides::default());
        let teller = Teller::new(config, (info(config), settings), 1, &clock);
        teller.connected();
        let topics = told(&teller).iter().map(Report::topic).collect::<Vec<_>>();
        topics.into_iter().filter(|topic| topic.contains("/health_")).count()
    };
    assert_eq!(announced(&config), 4);
    config.microphone.source = crate::config::MicrophoneSource::None;
    assert_eq!(announced(&config), 3, "camera, engine and connection");
}

#[test]
fn what_is_told_of_a_part_is_taken_back_once() {
    let (config, clock) = (Config::default(), Simulated::default());
    let teller = teller(&config, &clock);
    let taken_back = || told(&teller).iter().map(Report::topic).collect::<Vec<_>>();
    teller.forget(Part::Web);
    assert!(taken_back().is_empty(), "nothing was told of it");
    teller.health(Health {
        part: Part::Web,
        state: HealthState::Ok,
        reason: String::new(),
        since: 0.0,
        clock_synced: None,
    });
    told(&teller);
    teller.forget(Part::Web);
    teller.forget(Part::Web);
    assert_eq!(taken_back(), ["health/web"]);
}
