//! Whole turns of the supervision under simulated time: devices that come and go by random schedules, and what
//! subscribers hear of them.

mod world;

use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::*;
use crate::config::MicrophoneSource;
use crate::queue::Sensed;
use world::{FROZEN, RATE, Weather, World, YEAR};

/// Every fault has ended: the last one is noticed, the last wait is over, and opening takes its time.
const PATIENCE: Duration = Duration::from_secs(30);
/// A stream that showed no sound is asked again after a minute.
const PATIENCE_WITH_STREAM: Duration = Duration::from_secs(95);

fn weather() -> impl Strategy<Value = Weather> {
    prop_oneof![
        3 => Just(Weather::Fine),
        1 => Just(Weather::Gone),
        1 => Just(Weather::Mute),
        1 => Just(Weather::Ended),
        1 => Just(Weather::Hung),
        1 => Just(Weather::Frozen),
    ]
}

/// What both devices do, for how many seconds, and the years by which the wall clock jumps meanwhile.
fn schedule() -> impl Strategy<Value = Vec<(Weather, Weather, f64, i64)>> {
    prop::collection::vec((weather(), weather(), 0.1f64..20.0, -55i64..=55), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Nothing is reported for a lost device or of a dead picture ([`Witness`]), never more than one try is under way ([`Machine::begin`]),
    /// and everything works again when the faults are over.
    #[test]
    fn whatever_happens(schedule in schedule(), stream: bool, seed in any::<u64>()) {
        let (source, patience) = match stream {
            true => (MicrophoneSource::Media, PATIENCE_WITH_STREAM),
            false => (MicrophoneSource::Alsa, PATIENCE),
        };
        World::play(seed, source, |world| {
            for (camera, microphone, seconds, years) in schedule {
                world.weather(camera, microphone);
                world.machine.wall.fetch_add(years * YEAR, Ordering::Relaxed);
                world.turns(Duration::from_secs_f64(seconds));
            }
            world.weather(Weather::Fine, Weather::Fine);
            world.turns(patience);
            for part in [Part::Camera, Part::Microphone] {
                assert_eq!(world.state(part), (HealthState::Ok, String::new()), "{part:?}");
            }
            assert!(world.quiet() < Duration::from_secs(1), "nothing is reported for {:?}", world.quiet());
        });
    }
}

#[test]
fn starting_is_told_at_once() {
    World::play(1, MicrophoneSource::Alsa, |world| {
        world.turn();
        for part in [Part::Camera, Part::Microphone] {
            assert_eq!(world.state(part).0, HealthState::Starting);
        }
        world.turns(PATIENCE);
        assert_eq!(world.state(Part::Camera).0, HealthState::Ok);
    });
}

#[test]
fn an_opening_that_hangs_is_told_and_at_last_starves_the_watchdog() {
    for (camera, microphone, part) in
        [(Weather::Hung, Weather::Fine, Part::Camera), (Weather::Fine, Weather::Hung, Part::Microphone)]
    {
        World::play(2, MicrophoneSource::Alsa, |world| {
            world.weather(camera, microphone);
            world.turns(Duration::from_secs(29));
            assert_eq!(world.state(part).0, HealthState::Starting);
            world.turns(Duration::from_secs(2));
            let (state, why) = world.state(part);
            assert!(state == HealthState::Failed && why.contains("more than 30 s"), "{why}");
            world.turns(Duration::from_secs(268));
            assert!(!world.supervisor.stuck, "waiting for a device is progress");
            world.turns(Duration::from_secs(3));
            assert!(world.supervisor.stuck, "waiting for it without end is none");
            world.weather(Weather::Fine, Weather::Fine);
            world.turns(PATIENCE);
            assert_eq!(world.state(part), (HealthState::Ok, String::new()));
            assert!(!world.supervisor.stuck && world.quiet() < Duration::from_secs(1));
        });
    }
}

#[test]
fn a_frozen_camera_is_lost_until_its_picture_changes() {
    for source in [MicrophoneSource::Alsa, MicrophoneSource::Media] {
        World::play(8, source, |world| {
            world.turns(PATIENCE);
            assert_eq!(world.state(Part::Camera), (HealthState::Ok, String::new()));
            let (before, tried) = (world.heard.borrow().told.len(), world.machine.site(Sense::Camera).tried);
            world.weather(Weather::Frozen, Weather::Fine);
            world.turns(FROZEN + Duration::from_secs(1));
            let (state, why) = world.state(Part::Camera);
            assert!(
                state == HealthState::Failed && why.contains("frozen, the same for more than 4 s"),
                "{why}"
            );
            let frozen = Duration::from_secs(300);
            world.turns(frozen);
            let told = world.heard.borrow().told[before..].to_vec();
            let told: Vec<_> = told.into_iter().filter(|(part, _)| *part == Part::Camera).collect();
            assert_eq!(told, [(Part::Camera, HealthState::Failed)], "told once, and never well");
            assert!(world.quiet() > frozen, "something was reported of a dead picture");
            // A try takes at most 4 s to open, is open for 2 s, and is followed by a wait that grows to 10 s.
            let tried = world.machine.site(Sense::Camera).tried - tried;
            assert!((18..60).contains(&tried), "{tried} tries");
            world.weather(Weather::Fine, Weather::Fine);
            world.turns(PATIENCE);
            assert_eq!(world.state(Part::Camera), (HealthState::Ok, String::new()));
            assert!(world.quiet() < Duration::from_secs(1));
        });
    }
}

#[test]
fn a_camera_that_thaws_while_it_is_open_is_well_at_once() {
    World::play(9, MicrophoneSource::Alsa, |world| {
        world.turns(PATIENCE);
        world.weather(Weather::Frozen, Weather::Fine);
        world.turns(FROZEN + Duration::from_secs(1));
        while world.machine.site(Sense::Camera).open == 0 {
            world.turn();
        }
        world.weather(Weather::Fine, Weather::Fine);
        world.turns(Duration::from_secs(1));
        assert_eq!(world.state(Part::Camera), (HealthState::Ok, String::new()));
    });
}

#[test]
fn a_stream_whose_sound_stops_is_opened_anew_and_one_that_has_none_is_asked_now_and_then() {
    World::play(3, MicrophoneSource::Media, |world| {
        world.turns(PATIENCE);
        assert!(world.quiet() < Duration::from_secs(1));
        for weather in [Weather::Mute, Weather::Ended] {
            let before = world.heard.borrow().told.len();
            world.weather(Weather::Fine, weather);
            world.turns(Duration::from_secs(120));
            let told = world.heard.borrow().told[before..].to_vec();
            let lost = told.iter().filter(|told| **told == (Part::Camera, HealthState::Failed)).count();
            assert!((2..=3).contains(&lost), "once when it stops, then once in a minute: {told:?}");
            assert_eq!(world.state(Part::Microphone).0, HealthState::Failed);
            world.weather(Weather::Fine, Weather::Fine);
            world.turns(PATIENCE_WITH_STREAM);
            assert!(world.quiet() < Duration::from_secs(1));
        }
    });
}

#[test]
fn a_machine_that_slows_itself_down_says_so() {
    World::play(4, MicrophoneSource::Alsa, |world| {
        world.turns(PATIENCE);
        let judged = world.supervisor.analysed;
        *world.machine.hot.lock().expect("no panic") = true;
        world.turns(Duration::from_secs(10));
        assert_eq!(world.state(Part::Machine), (HealthState::Degraded, "cpu is at 99 °C".into()));
        let slow = world.supervisor.analysed - judged;
        assert!((15..40).contains(&slow), "{slow} pictures of 50 in 10 s, at 2 a second at most soon");
        *world.machine.hot.lock().expect("no panic") = false;
        world.turns(Duration::from_secs(40));
        assert_eq!(world.state(Part::Machine), (HealthState::Ok, String::new()));
    });
}

#[test]
fn sound_that_is_missing_is_counted() {
    World::play(5, MicrophoneSource::Alsa, |world| {
        let mut block = Samples::new(world.machine.now(), RATE, vec![0.1; 800]);
        block.lost_before = Duration::from_millis(300);
        world.devices.sender.send(Sensed::Sound(block)).expect("somebody listens");
        world.turn();
        let progress = world.supervisor.progress;
        assert_eq!((progress.gaps, progress.lost), (1, Duration::from_millis(300)));
    });
}

#[test]
fn pictures_that_nobody_wants_judged_are_no_pictures_without_sound() {
    World::play(6, MicrophoneSource::Alsa, |world| {
        world.supervisor.config.detection.enable = false;
        world.turns(PATIENCE);
        let before = world.supervisor.progress;
        world.turns(Duration::from_secs(10));
        let after = world.supervisor.progress;
        assert_eq!((after.disabled - before.disabled, after.unjudged), (50, before.unjudged));
    });
}

#[test]
fn what_was_captured_while_it_was_off_is_not_reported_when_it_is_on() {
    World::play(10, MicrophoneSource::Alsa, |world| {
        world.turns(PATIENCE);
        for turns in 0..20 {
            world.switch(false);
            world.turns(Duration::from_secs(3));
            (0..turns).for_each(|_| world.turn());
            // A picture that waits for its sound is still to be judged.
            world.weather(Weather::Fine, Weather::Mute);
            world.turn();
            let told = world.heard.borrow().captured.len();
            world.switch(true);
            let moment = world.supervisor.moment();
            world.weather(Weather::Fine, Weather::Fine);
            world.turns(Duration::from_secs(3));
            let captured = world.heard.borrow().captured[told..].to_vec();
            let since = moment.unix(moment.now);
            assert!(!captured.is_empty() && captured.iter().all(|at| *at >= since), "{since}: {captured:?}");
        }
    });
}
