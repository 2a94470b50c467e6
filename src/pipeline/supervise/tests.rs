//! Whole turns of the supervision under simulated time: devices that come and go by random schedules, and what
//! subscribers hear of them.

mod world;

use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::super::live::HUNG;
use super::watch::SHUT_OUT;
use super::*;
use crate::config::MicrophoneSource;
use crate::message::{HealthState, Part};
use crate::pipeline::soundtrack;
use crate::queue::Sensed;
use world::{EVERY, FROZEN, RATE, STALL, TURN, Weather, World, YEAR};

/// Every fault has ended: the last one is noticed, the last wait is over, and opening takes its time.
const PATIENCE: Duration = Duration::from_secs(30);
/// A stream may have been looked into for its sound so often that the next time is four minutes away.
const SOUGHT_IN_A_SCHEDULE: Duration = Duration::from_secs(245);

fn weather() -> impl Strategy<Value = Weather> {
    prop_oneof![
        3 => Just(Weather::Fine),
        1 => Just(Weather::Gone),
        1 => Just(Weather::Lacking),
        1 => Just(Weather::Other),
        1 => Just(Weather::Mute),
        1 => Just(Weather::Ended),
        1 => Just(Weather::Hung),
        1 => Just(Weather::Stuck),
        1 => Just(Weather::Frozen),
    ]
}

/// What both devices do, for how many seconds, and what comes first: the years by which the wall clock jumps, and
/// whether the file is read again and names another camera or another card.
type Spell = (Weather, Weather, f64, i64, (bool, bool));

fn schedule() -> impl Strategy<Value = Vec<Spell>> {
    prop::collection::vec((weather(), weather(), 0.1f64..20.0, -55i64..=55, any::<(bool, bool)>()), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Nothing is reported for a lost device or of a dead picture ([`Witness`]), never more than one try is under way ([`Machine::begin`]),
    /// and everything works again when the faults are over.
    #[test]
    fn whatever_happens(schedule in schedule(), stream: bool, seed in any::<u64>()) {
        let source = if stream { MicrophoneSource::Media } else { MicrophoneSource::Alsa };
        World::play(seed, source, |world| {
            for (camera, microphone, seconds, years, (other_camera, other_card)) in schedule {
                world.weather(camera, microphone);
                world.rename(other_camera, other_card);
                world.machine.wall.fetch_add(years * YEAR, Ordering::Relaxed);
                world.turns(Duration::from_secs_f64(seconds));
            }
            world.weather(Weather::Fine, Weather::Fine);
            world.turns(PATIENCE);
            let began = world.machine.now();
            while stream && world.state(Part::Microphone).0 != HealthState::Ok {
                world.turn();
                assert!(world.machine.now().since(began) < SOUGHT_IN_A_SCHEDULE, "its sound is not found");
            }
            world.turns(Duration::from_secs(2));
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
fn what_is_not_installed_is_told_and_waited_for_from_the_start_on() {
    World::play(14, MicrophoneSource::Alsa, |world| {
        world.weather(Weather::Lacking, Weather::Fine);
        world.turns(Duration::from_secs(300));
        let (state, why) = world.state(Part::Camera);
        assert!(state == HealthState::Failed && why.contains("decodes its Theora; install one"), "{why}");
        assert_eq!(world.state(Part::Microphone).0, HealthState::Ok);
        // With waits that grow to 10 s, and an opening of up to 4 s.
        let tried = world.machine.site(Sense::Camera).tried;
        assert!((20..60).contains(&tried), "{tried} tries");
        world.weather(Weather::Fine, Weather::Fine);
        world.turns(PATIENCE);
        assert_eq!(world.state(Part::Camera), (HealthState::Ok, String::new()));
        assert!(world.quiet() < Duration::from_secs(1));
    });
}

#[test]
fn a_card_that_has_another_ones_name_at_boot_is_told_and_waited_for() {
    World::play(20, MicrophoneSource::Alsa, |world| {
        world.weather(Weather::Fine, Weather::Other);
        world.turns(Duration::from_secs(300));
        let (state, why) = world.state(Part::Microphone);
        assert!(state == HealthState::Failed && why.contains("does not record so; expected"), "{why}");
        assert_eq!(world.state(Part::Camera), (HealthState::Ok, String::new()));
        assert_eq!(world.quiet(), Duration::MAX, "nothing is reported of what is not heard");
        world.weather(Weather::Fine, Weather::Fine);
        world.turns(PATIENCE);
        assert_eq!(world.state(Part::Microphone), (HealthState::Ok, String::new()));
        assert!(world.quiet() < Duration::from_secs(1));
    });
}

#[test]
fn a_new_configuration_that_the_card_there_does_not_fit_gives_way_to_the_one_before() {
    World::play(21, MicrophoneSource::Alsa, |world| {
        world.turns(PATIENCE);
        world.weather(Weather::Fine, Weather::Other);
        world.reload(|file| file.microphone.alsa.rate = 12_345);
        world.turns(Duration::from_secs(10));
        let (state, why) = world.state(Part::Configuration);
        assert!(state == HealthState::Degraded && why.contains("microphone.alsa.rate"), "{why}");
        assert_ne!(world.supervisor.config.microphone.alsa.rate, 12_345);
    });
}

#[test]
fn a_wrong_configuration_ends_a_start_whatever_else_is_lacking() {
    World::play(15, MicrophoneSource::Alsa, |world| {
        world.weather(Weather::Lacking, Weather::Hung);
        world.turns(Duration::from_secs(20));
        world.weather(Weather::Lacking, Weather::Wrong);
        let ended = (0..100).find_map(|_| world.try_turn().err()).expect("it ends");
        assert!(matches!(&ended, PipelineError::Capture(error) if error.is_configuration()), "{ended}");
    });
}

#[test]
fn only_a_camera_that_fails_for_long_and_is_out_of_reach_ends_the_program() {
    World::play(22, MicrophoneSource::Alsa, |world| {
        world.weather(Weather::Gone, Weather::Fine);
        world.turns(SHUT_OUT * 10); // it may be plugged in
        world.weather(Weather::Fine, Weather::Fine);
        world.turns(PATIENCE);
        world.machine.shut_out.store(true, Ordering::Relaxed);
        world.turns(SHUT_OUT * 2); // it works, whatever is seen of it
        world.weather(Weather::Gone, Weather::Fine);
        world.turns(SHUT_OUT - Duration::from_secs(1));
        let ended = (0..100).find_map(|_| world.try_turn().err()).expect("it ends");
        assert!(matches!(ended, PipelineError::ShutOut), "{ended}");
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

/// What was told of the devices since so much was.
fn told_since(world: &World, before: usize) -> Vec<(Part, HealthState)> {
    world.heard.borrow().told[before..].to_vec()
}

#[test]
fn a_card_whose_reading_hangs_is_lost_although_nobody_says_so() {
    World::play(17, MicrophoneSource::Alsa, |world| {
        world.turns(PATIENCE);
        world.weather(Weather::Fine, Weather::Stuck);
        world.turns(HUNG + Duration::from_secs(1));
        let (state, why) = world.state(Part::Microphone);
        assert!(state == HealthState::Failed && why.contains("reading it gives no answer for 8."), "{why}");
        assert_eq!(world.state(Part::Camera).0, HealthState::Ok);
        world.weather(Weather::Fine, Weather::Fine);
        world.turns(PATIENCE);
        assert_eq!(world.state(Part::Microphone), (HealthState::Ok, String::new()));
    });
}

#[test]
fn no_camera_is_lost_for_a_low_rate_of_its_pictures() {
    World::play(18, MicrophoneSource::Alsa, |world| {
        world.turns(PATIENCE);
        // Those above it are left out before they are taken.
        world.reload(|file| file.camera.rate = 0.1);
        let before = world.heard.borrow().told.len();
        for _ in 0..10 {
            world.weather(Weather::Mute, Weather::Fine);
            world.turns(Duration::from_secs(10));
            world.weather(Weather::Fine, Weather::Fine);
            world.turns(TURN * EVERY as u32);
        }
        assert_eq!(told_since(world, before), [], "it does as well as it can");
    });
}

#[test]
fn a_higher_rate_opens_the_camera_anew_only_where_its_mode_is_too_slow() {
    World::play(21, MicrophoneSource::Alsa, |world| {
        world.turns(PATIENCE);
        world.supervisor.most.reach(15.0);
        for (rate, opened) in [(12.0, 1), (15.0, 1), (5.0, 1), (20.0, 2)] {
            world.reload(|file| file.camera.rate = rate);
            world.turns(PATIENCE);
            assert_eq!(world.machine.site(Sense::Camera).tried, opened, "{rate} pictures a second");
        }
        assert_eq!(world.state(Part::Camera), (HealthState::Ok, String::new()));
    });
}

#[test]
fn what_the_file_only_names_is_read_again_with_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write =
        |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("room for a file");
    World::play(22, MicrophoneSource::Alsa, |world| {
        let settle = |world: &mut World| {
            while world.supervisor.making.is_some() {
                world.turn();
            }
            world.turns(Duration::from_secs(1));
        };
        let again = |world: &mut World| {
            world.reload(|_| {});
            settle(world);
        };
        write("noise.toml", "[audio_floor]\n");
        write("manifest.toml", "one");
        world.turns(PATIENCE);
        world.reload(|file| {
            file.detection.background = folder.path().join("noise.toml");
            file.model.path = folder.path().into();
        });
        settle(world);
        let opened = *world.gate.lock().expect("no panic");
        again(world);
        assert_eq!(*world.gate.lock().expect("no panic"), opened, "nothing has changed");
        write("manifest.toml", "another");
        again(world);
        assert_eq!(*world.gate.lock().expect("no panic"), opened + 1, "another model in the same folder");
        write("noise.toml", "no profile");
        again(world);
        let (state, why) = world.state(Part::Configuration);
        assert!(state == HealthState::Degraded && why.contains("not a background profile"), "{why}");
        write("noise.toml", "[audio_floor]\n# learned anew\n");
        again(world);
        assert_eq!(world.state(Part::Configuration), (HealthState::Ok, String::new()));
        assert_eq!(*world.gate.lock().expect("no panic"), opened + 1);
        assert!(world.quiet() < Duration::from_secs(2));
    });
}

/// It may be on a mount that is gone, and somebody who is not to be heard cannot wait for it.
#[test]
fn a_wish_reads_no_file_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let noise = folder.path().join("noise.toml");
    let write = |text: &str| std::fs::write(&noise, text).expect("room for a file");
    let refused = |world: &World| world.state(Part::Configuration).0 == HealthState::Degraded;
    World::play(24, MicrophoneSource::Alsa, |world| {
        world.turns(PATIENCE);
        write("[audio_floor]\n");
        world.reload(|file| file.detection.background.clone_from(&noise));
        world.turns(Duration::from_secs(1));
        assert!(!refused(world) && world.supervisor.config.detection.background == noise);
        write("no profile");
        world.wish_switched(false);
        world.turn();
        assert!(!world.supervisor.config.detection.enable, "what is in the file waits for a reload");
        world.reload(|file| file.tracking.keep = 0.5);
        world.turns(Duration::from_secs(1));
        assert!(refused(world));
        std::fs::remove_file(&noise).expect("it is there");
        for on in [true, false] {
            world.wish_switched(on);
            world.turn();
            assert_eq!(world.supervisor.config.detection.enable, on, "a refused reload changes nothing");
        }
    });
}

#[test]
fn pictures_that_are_not_judged_are_counted_by_what_kept_them_from_it() {
    World::play(23, MicrophoneSource::Alsa, |world| {
        world.turns(PATIENCE);
        let before = world.supervisor.progress;
        let (size, captured) = (Size::new(64, 36), world.machine.now());
        let broken = Frame { captured, size, source: size, rgb: vec![0; 7] };
        world.devices.sender.send(Sensed::Frame(broken)).expect("somebody listens");
        world.turns(Duration::from_secs(2));
        assert_eq!(world.supervisor.progress.misjudged, before.misjudged + 1);
        assert_eq!(world.supervisor.progress.forgotten, before.forgotten);
        world.busy(Duration::from_secs(1));
        let waiting = world.devices.receiver.load().frames as u64;
        world.rename(true, false);
        world.turn();
        let forgotten = world.supervisor.progress.forgotten - before.forgotten;
        assert!(forgotten > 0 && forgotten <= waiting, "{forgotten} of {waiting}");
    });
}

#[test]
fn who_switches_it_off_waits_for_nothing_that_is_being_made() {
    World::play(19, MicrophoneSource::Alsa, |world| {
        world.turns(PATIENCE);
        let gate = Arc::clone(&world.gate);
        let held = gate.lock().expect("no panic");
        world.reload(|file| file.engine.threads = 2);
        world.turns(Duration::from_secs(1));
        world.wish_switched(false);
        world.turn();
        assert!(!world.supervisor.config.detection.enable && world.supervisor.making.is_some());
        world.heard.borrow_mut().captured.clear();
        world.turns(Duration::from_secs(2));
        assert!(world.heard.borrow().captured.is_empty(), "nothing is reported");
        drop(held);
        while world.supervisor.making.is_some() {
            world.turn();
        }
        let config = &world.supervisor.config;
        assert!(!config.detection.enable && config.engine.threads == 2, "nor afterwards");
        world.switch(true);
        world.turns(Duration::from_secs(2));
        assert!(world.quiet() < Duration::from_secs(1));
    });
}

#[test]
fn a_change_whose_making_hangs_is_told_and_at_last_starves_the_watchdog() {
    World::play(20, MicrophoneSource::Alsa, |world| {
        world.turns(PATIENCE);
        let gate = Arc::clone(&world.gate);
        let held = gate.lock().expect("no panic");
        world.reload(|file| file.engine.threads = 2);
        let before = world.heard.borrow().told.len();
        world.turns(Duration::from_secs(29));
        assert_eq!(told_since(world, before), []);
        world.turns(Duration::from_secs(2));
        let (state, why) = world.state(Part::Configuration);
        assert!(state == HealthState::Degraded && why.starts_with("a change is still being made"), "{why}");
        assert!(world.supervisor.configuration.line().contains(&why), "in the service's status too");
        world.turns(Duration::from_secs(268));
        assert!(!world.supervisor.stuck, "it may take a while");
        world.turns(Duration::from_secs(3));
        assert!(world.supervisor.stuck && world.quiet() < Duration::from_secs(1), "but not for ever");
        assert_eq!(told_since(world, before), [(Part::Configuration, HealthState::Degraded)], "once");
        drop(held);
        while world.supervisor.making.is_some() {
            world.turn();
        }
        world.turns(Duration::from_secs(2));
        assert_eq!(world.state(Part::Configuration), (HealthState::Ok, String::new()));
        assert!(!world.supervisor.stuck && world.supervisor.config.engine.threads == 2);
    });
}

#[test]
fn no_device_is_lost_by_an_analysis_that_is_slow_or_stopped_and_one_that_stalls_after_it_is() {
    for (source, camera, why) in [
        (MicrophoneSource::Alsa, Weather::Mute, "no picture for"),
        (MicrophoneSource::Media, Weather::Mute, "no picture for"),
        (MicrophoneSource::Media, Weather::Fine, "no sound in the stream for"),
    ] {
        World::play(13, source, |world| {
            world.turns(PATIENCE);
            let before = world.heard.borrow().told.len();
            (0..10).for_each(|_| world.slow_picture(STALL * 3));
            world.turns(Duration::from_secs(2));
            world.stopped(STALL * 3);
            world.turns(Duration::from_secs(2));
            // The sound that is shed makes it degraded.
            let lost = |told: &(Part, HealthState)| told.1 == HealthState::Failed;
            assert_eq!(told_since(world, before).iter().find(|told| lost(told)), None);
            assert!(world.quiet() < Duration::from_secs(1));
            world.busy(STALL * 3);
            world.weather(camera, Weather::Mute);
            let last = world.machine.now();
            while world.state(Part::Camera).0 == HealthState::Ok {
                world.turn();
            }
            let noticed = world.machine.now().since(last);
            let told = world.state(Part::Camera).1;
            assert!(told.starts_with(why), "{told}");
            // What waits is taken first: three seconds of sound, a block of a fifth of a second in each turn.
            assert!(noticed <= STALL + Duration::from_secs(2), "noticed after {noticed:?}");
            world.weather(Weather::Fine, Weather::Fine);
            world.turns(PATIENCE);
            assert_eq!(world.state(Part::Camera), (HealthState::Ok, String::new()));
        });
    }
}

#[test]
fn a_file_that_is_read_again_begins_no_try_beside_one_that_hangs_and_grants_it_no_more_time() {
    World::play(16, MicrophoneSource::Alsa, |world| {
        world.weather(Weather::Hung, Weather::Hung);
        for _ in 0..9 {
            world.turns(Duration::from_secs(20));
            world.rename(true, true);
            world.reload(|file| file.microphone.source = MicrophoneSource::None);
            world.reload(|file| file.microphone.source = MicrophoneSource::Alsa);
        }
        world.turns(Duration::from_secs(110));
        for (sense, part) in [(Sense::Camera, Part::Camera), (Sense::Microphone, Part::Microphone)] {
            assert_eq!(world.machine.site(sense).tried, 1, "one try of the {sense}");
            let (state, why) = world.state(part);
            assert!(state == HealthState::Failed && why.contains("more than 30 s"), "{why}");
        }
        assert!(!world.supervisor.stuck);
        world.turns(Duration::from_secs(12));
        assert!(world.supervisor.stuck, "five minutes since the first");
        world.weather(Weather::Fine, Weather::Fine);
        world.turns(PATIENCE);
        for (sense, part) in [(Sense::Camera, Part::Camera), (Sense::Microphone, Part::Microphone)] {
            let site = world.machine.site(sense);
            assert_eq!((site.tried, site.open), (2, 1), "{sense}");
            assert_eq!(world.state(part), (HealthState::Ok, String::new()));
        }
        assert!(!world.supervisor.stuck && world.quiet() < Duration::from_secs(1));
    });
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

/// A stream may have sound again after at most ten minutes, and some seconds that opening it takes.
const SOUGHT: Duration = Duration::from_secs(620);

#[test]
fn a_stream_whose_sound_stops_is_opened_anew_and_then_looked_into_now_and_then() {
    World::play(3, MicrophoneSource::Media, |world| {
        world.turns(PATIENCE);
        assert!(world.quiet() < Duration::from_secs(1));
        for weather in [Weather::Mute, Weather::Ended] {
            let before = world.heard.borrow().told.len();
            world.weather(Weather::Fine, weather);
            world.turns(Duration::from_secs(1800));
            let told = world.heard.borrow().told[before..].to_vec();
            let lost = told.iter().filter(|told| **told == (Part::Camera, HealthState::Failed)).count();
            assert_eq!(lost, 1, "once when it stops: {told:?}");
            assert_eq!(world.state(Part::Microphone), (HealthState::Failed, soundtrack::NONE.into()));
            world.weather(Weather::Fine, Weather::Fine);
            world.turns(SOUGHT);
            assert!(world.quiet() < Duration::from_secs(1));
        }
    });
}

#[test]
fn a_stream_that_has_no_sound_is_told_once_and_its_pictures_do_not_fail() {
    World::play(11, MicrophoneSource::Media, |world| {
        world.weather(Weather::Fine, Weather::Ended);
        world.turns(Duration::from_secs(3600));
        let told = world.heard.borrow().told.clone();
        let of = |part| told.iter().filter(|told| told.0 == part).map(|told| told.1).collect::<Vec<_>>();
        assert_eq!(of(Part::Camera), [HealthState::Starting, HealthState::Ok]);
        assert_eq!(of(Part::Microphone), [HealthState::Starting, HealthState::Failed]);
        assert_eq!(world.state(Part::Microphone).1, soundtrack::NONE);
        // After 1, up to 2, 4, 8 and then 10 minutes, each no less than half of it.
        let tried = world.machine.site(Sense::Camera).tried;
        assert!((8..=16).contains(&tried), "{tried} times opened in an hour");
        world.weather(Weather::Fine, Weather::Fine);
        world.turns(SOUGHT);
        assert_eq!(world.state(Part::Microphone), (HealthState::Ok, String::new()));
        assert!(world.quiet() < Duration::from_secs(1));
        assert_eq!(world.heard.borrow().told.iter().filter(|told| told.0 == Part::Camera).count(), 2);
    });
}

#[test]
fn a_camera_that_goes_while_its_sound_is_sought_is_told() {
    World::play(12, MicrophoneSource::Media, |world| {
        world.weather(Weather::Fine, Weather::Ended);
        world.turns(PATIENCE);
        while world.machine.site(Sense::Camera).open == 1 {
            world.turn();
        }
        assert_eq!(world.state(Part::Camera).0, HealthState::Ok, "it is being opened anew");
        world.weather(Weather::Gone, Weather::Fine);
        world.turns(PATIENCE);
        assert_eq!(world.state(Part::Camera).0, HealthState::Failed);
        world.weather(Weather::Fine, Weather::Fine);
        world.turns(PATIENCE);
        for part in [Part::Camera, Part::Microphone] {
            assert_eq!(world.state(part), (HealthState::Ok, String::new()));
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
fn pictures_that_the_model_fails_on_are_forgiven_but_for_fifty_in_a_row() {
    World::play(23, MicrophoneSource::Alsa, |world| {
        world.turns(PATIENCE);
        let size = Size::new(32, 18);
        let torn = |world: &mut World| {
            let captured = world.machine.now();
            world.supervisor.judge(Frame { captured, size, source: size, rgb: vec![0; 7] }, || None)
        };
        for _ in 0..3 {
            (1..MOST_FAILURES).for_each(|_| torn(world).expect("no more than a passing trouble"));
            assert_eq!(world.state(Part::Engine).0, HealthState::Failed);
            world.turns(PATIENCE);
            assert_eq!(world.state(Part::Engine), (HealthState::Ok, String::new()));
            assert!(world.quiet() < Duration::from_secs(1));
        }
        (1..MOST_FAILURES).for_each(|_| torn(world).expect("no more than a passing trouble"));
        let ended = torn(world).expect_err("a service manager starts it anew");
        assert!(matches!(ended, PipelineError::Model(_)), "{ended}");
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

#[test]
fn wishes_without_end_keep_no_picture_from_being_judged() {
    World::play(13, MicrophoneSource::Alsa, |world| {
        world.turns(PATIENCE);
        let judged = world.supervisor.analysed;
        world.heard.borrow_mut().flood = true;
        world.turns(Duration::from_secs(60));
        assert_eq!(world.supervisor.analysed - judged, 300, "pictures of 60 s");
        for part in [Part::Camera, Part::Microphone] {
            assert_eq!(world.state(part), (HealthState::Ok, String::new()), "{part:?}");
        }
        assert!(world.quiet() < Duration::from_secs(1), "nothing is reported for {:?}", world.quiet());
        world.switch(false);
    });
}
