//! The connection under simulated time: brokers that come and go by random schedules, and what is told of it. Client,
//! publisher and store are the program's own; only the network and the brokers are not.

mod world;

use proptest::prelude::*;
use tokio::time::sleep;

use super::link::CONNECT_SECONDS;
use super::*;
use crate::message::HealthState;
use world::{KEEP_ALIVE, MOST, OPENING, Weather, World};

/// A connection that is dead is noticed so soon, and so is a try that leads to nothing: the broker is asked after a silence of
/// one and a half of these, and given another.
const NOTICED: Duration = KEEP_ALIVE.saturating_mul(3);
/// Every fault has ended and was noticed: the last wait is over, and connecting takes its time.
const PATIENCE: Duration = MOST.saturating_add(OPENING);

fn weather() -> impl Strategy<Value = Weather> {
    prop_oneof![
        3 => Just(Weather::Fine),
        1 => Just(Weather::Gone),
        1 => Just(Weather::Mute),
        1 => Just(Weather::Hung),
        1 => Just(Weather::Deaf),
        1 => Just(Weather::Refusing),
        1 => Just(Weather::Rival),
    ]
}

/// What three brokers do, for how many seconds, and whether the settings are read anew then.
fn schedule() -> impl Strategy<Value = Vec<([Weather; 3], f64, bool)>> {
    let step = ([weather(), weather(), weather()], 0.1f64..40.0, prop::bool::weighted(0.2));
    prop::collection::vec(step, 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Never more than one try is under way, and every wait is as long as it should be ([`World::begins`]); nobody is told
    /// that a connection holds which does not ([`World::hear`]); and it is well when the faults are over.
    #[test]
    fn whatever_happens(schedule in schedule(), brokers in 1usize..=3, seed in any::<u64>()) {
        World::play(seed, brokers, async |world| {
            for (weather, seconds, reload) in schedule {
                world.weather(&weather);
                world.watch(Duration::from_secs_f64(seconds)).await;
                if reload {
                    world.reload();
                }
            }
            // Of a rival it is noticed at last that it is gone.
            let unnoticed = if world.trying() { NOTICED + GOOD } else { Duration::ZERO };
            world.weather(&[Weather::Fine; 3]);
            world.watch(unnoticed + PATIENCE).await;
            world.arrive().await;
            assert!(world.connected(), "{:?}", world.told());
            world.watch(GOOD).await; // a rival is remembered until then
            world.arrive().await;
            assert_eq!(world.told(), (HealthState::Ok, String::new()));
        });
    }

    /// However long a broker was away, it is told `ok` at most the longest wait, and the time to connect, after it is back.
    #[test]
    fn a_broker_that_is_back_is_found_in_time(refusing: bool, seconds in 0.1f64..2000.0, seed in any::<u64>()) {
        let away = if refusing { Weather::Refusing } else { Weather::Gone };
        World::play(seed, 1, async |world| {
            world.weather(&[away]);
            world.watch(Duration::from_secs_f64(seconds)).await;
            assert!(!world.connected());
            world.weather(&[Weather::Fine]);
            world.watch(PATIENCE).await;
            assert_eq!(world.told(), (HealthState::Ok, String::new()));
        });
    }
}

#[test]
fn starting_is_told_at_once_and_a_refusal_with_its_reason() {
    World::play(1, 1, async |world| {
        world.weather(&[Weather::Refusing]);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(world.told().0, HealthState::Starting);
        world.watch(OPENING).await;
        let (state, why) = world.told();
        assert!(
            state == HealthState::Failed && why.starts_with("broker0:1883: it refuses this client"),
            "{why}"
        );
        world.reload();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(world.told().0, HealthState::Starting, "other settings may be what it takes");
    });
}

#[test]
fn a_broker_that_never_answers_is_given_up_in_time() {
    for silent in [Weather::Mute, Weather::Hung] {
        World::play(2, 2, async |world| {
            world.weather(&[silent, Weather::Fine]);
            world.watch(Duration::from_secs(CONNECT_SECONDS) + OPENING * 2).await;
            assert_eq!(world.told(), (HealthState::Ok, String::new()), "the next one is tried at once");
        });
    }
}

#[test]
fn a_broker_that_answers_no_subscription_is_given_up_and_not_gone_back_to() {
    World::play(6, 2, async |world| {
        world.weather(&[Weather::Deaf, Weather::Deaf]);
        world.watch(ANSWER + OPENING + Duration::from_secs(1)).await;
        assert_eq!(world.told(), (HealthState::Failed, format!("broker0:1883: {UNANSWERED}")));
        world.weather(&[Weather::Deaf, Weather::Fine]);
        // The try of the second that is under way was not answered either, and the first comes before the next.
        world.watch((ANSWER + OPENING) * 2 + OPENING * 2).await;
        assert_eq!(world.told(), (HealthState::Ok, String::new()), "the next one is tried");
        let heard = world.heard().len();
        world.watch(Duration::from_secs(600)).await;
        assert_eq!(world.heard().len(), heard, "it stays: {:?}", world.told());
        world.weather(&[Weather::Fine, Weather::Fine]);
        world.watch(Duration::from_secs(70)).await;
        let back = |(_, why): &(HealthState, String)| why.contains("going back to broker0");
        assert!(world.heard()[heard..].iter().any(back), "it goes back to one that answers");
        assert_eq!(world.told(), (HealthState::Ok, String::new()));
    });
}

#[test]
fn a_broker_that_answers_no_subscription_any_more_is_given_up_too() {
    World::play(8, 1, async |world| {
        world.watch(Duration::from_secs(60)).await;
        assert_eq!(world.told(), (HealthState::Ok, String::new()));
        world.weather(&[Weather::Gone]);
        world.watch(OPENING).await;
        let heard = world.heard().len();
        world.weather(&[Weather::Deaf]);
        world.watch((ANSWER + PATIENCE) * 3).await;
        assert_eq!(world.told(), (HealthState::Failed, format!("broker0:1883: {UNANSWERED}")));
        let ok = world.heard()[heard..].iter().any(|(state, _)| *state == HealthState::Ok);
        assert!(!ok, "{:?}", world.heard());
        world.weather(&[Weather::Fine]);
        world.watch(ANSWER + PATIENCE).await;
        assert_eq!(world.told(), (HealthState::Ok, String::new()));
    });
}

/// The goodbye to a broker that went silent takes a while: meanwhile one that is preferred is found to be back.
#[test]
fn a_stop_is_heeded_while_a_preferred_broker_comes_back() {
    for tenths in 0..25 {
        World::play(7, 2, async |world| {
            world.weather(&[Weather::Gone, Weather::Fine]);
            world.watch(Duration::from_secs(60) + Duration::from_millis(100) * tenths).await;
            world.weather(&[Weather::Fine, Weather::Mute]);
        });
    }
}

#[test]
fn a_fleet_does_not_come_back_in_one_instant() {
    let waits = |seed| {
        World::play(seed, 1, async |world| {
            world.weather(&[Weather::Gone]);
            world.watch(Duration::from_secs(600)).await;
            world.longest_waits()
        })
    };
    let (ours, theirs): (Vec<Duration>, Vec<Duration>) = (waits(3), waits(4));
    assert!(ours.len() > 50 && ours != theirs, "{ours:?}");
    let (least, most) = (ours.iter().min().expect("some"), ours.iter().max().expect("some"));
    assert!(*most - *least > MOST / 4, "between half of the longest and all of it: {ours:?}");
}

#[test]
fn a_rival_is_told_and_forgotten() {
    World::play(5, 1, async |world| {
        world.weather(&[Weather::Rival]);
        world.watch(Duration::from_secs(120)).await;
        let said = |world: &World| world.heard().iter().any(|(_, why)| why.contains("Another client"));
        assert!(said(world), "{:?}", world.heard());
        world.weather(&[Weather::Fine]);
        world.watch(PATIENCE + GOOD).await;
        assert_eq!(world.told(), (HealthState::Ok, String::new()));
    });
}
