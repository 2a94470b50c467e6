//! Random schedules of faults under simulated time.

use super::*;
use proptest::prelude::*;

/// Time between two turns of the loop.
const TURN: Duration = Duration::from_millis(100);
/// A device that is silent for so long is lost.
const STALL: Duration = Duration::from_secs(2);
/// Longest time that opening takes, in turns.
const OPENING: u32 = 40;

/// What a device does for some turns.
#[derive(Debug, Clone, Copy)]
enum Weather {
    /// It opens and delivers.
    Fine,
    /// It is not there: what is open reports a fault, a try fails.
    Gone,
    /// It opens and delivers nothing, and says nothing.
    Mute,
}

/// A device under a schedule, and its part.
struct World {
    part: Lifecycle,
    now: Instant,
    random: fastrand::Rng,
    /// Turns until the try that is under way has its result.
    tries: Vec<u32>,
    open: bool,
    last_delivery: Instant,
}

impl World {
    fn new(seed: u64) -> Self {
        let now = Instant::from_secs_f64(1000.0);
        let (part, random) = (Lifecycle::new(now), fastrand::Rng::with_seed(seed));
        Self { part, now, random, tries: Vec::new(), open: false, last_delivery: now }
    }

    /// One turn of the loop, as `Device` and `Live` do it.
    fn turn(&mut self, weather: Weather) {
        self.now = self.now + TURN;
        if self.part.begin(self.now) {
            self.tries.push(self.random.u32(0..=OPENING));
        }
        assert!(self.tries.len() <= 1, "two tries at once");
        assert!(!self.open || self.tries.is_empty(), "a try beside an open device");
        match self.tries.first_mut() {
            Some(0) => {
                self.tries.clear();
                match weather {
                    Weather::Gone => self.lose("not there"),
                    Weather::Fine | Weather::Mute => {
                        self.open = true;
                        self.part.opened(self.now);
                    }
                }
            }
            Some(turns) => *turns -= 1,
            None => {}
        }
        match weather {
            Weather::Fine if self.open => {
                self.last_delivery = self.now;
                self.part.delivered(self.now);
            }
            Weather::Gone if self.open => self.lose("gone"),
            _ => {}
        }
        if self.part.silence(self.now) > STALL {
            self.lose("stalled");
        }
    }

    fn lose(&mut self, why: &str) {
        self.open = false;
        let wait = self.part.lost(why, self.now, self.random.f64());
        assert!((FIRST / 2..=MOST).contains(&wait), "waits {wait:?}");
    }
}

fn schedule() -> impl Strategy<Value = Vec<(Weather, u32)>> {
    let weather = prop_oneof![Just(Weather::Fine), Just(Weather::Gone), Just(Weather::Mute)];
    prop::collection::vec((weather, 1u32..400), 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn whatever_happens(schedule in schedule(), seed in any::<u64>()) {
        let mut world = World::new(seed);
        for (weather, turns) in schedule {
            for _ in 0..turns {
                world.turn(weather);
                // Nothing is published for a lost sensor: it counts as delivering only while it does.
                let quiet = world.now.since(world.last_delivery);
                prop_assert!(!world.part.delivers() || quiet <= STALL + TURN, "relied on after {:?}", quiet);
                prop_assert_eq!(world.part.reason().is_empty(), world.part.state() != State::Failed);
                prop_assert!(world.part.since() <= world.now);
            }
        }
        // Every fault ends: a last silence is noticed, the last wait is over, and opening takes its time.
        let patience = STALL + MOST + TURN * (OPENING + 4);
        for _ in 0..patience.as_millis() / TURN.as_millis() {
            world.turn(Weather::Fine);
        }
        prop_assert_eq!(world.part.state(), State::Running);
    }
}

#[test]
fn waits_grow_while_it_fails_and_are_short_again_after_it_worked() {
    let mut part = Lifecycle::new(Instant::ZERO);
    let waits: Vec<u64> = (0..7).map(|_| part.lost("no", Instant::ZERO, 1.0).as_millis() as u64).collect();
    assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
    let at = Instant::from_secs_f64(100.0);
    assert!(part.begin(at));
    part.opened(at);
    part.delivered(at);
    assert_eq!(part.lost("again", at, 1.0), MOST, "a moment of life proves nothing");
    let at = at + MOST;
    assert!(part.begin(at) && !part.begin(at));
    part.opened(at);
    part.delivered(at + STEADY);
    assert_eq!(part.lost("again", at + STEADY, 1.0), FIRST);
}

#[test]
fn complaints_come_and_go_and_are_told_once() {
    let mut part = Lifecycle::new(Instant::ZERO);
    assert!(part.begin(Instant::ZERO));
    part.opened(Instant::ZERO);
    part.complain(Some("clips"), Instant::ZERO);
    assert_eq!((part.state(), part.take_news()), (State::Starting, false), "nothing was delivered yet");
    part.delivered(Instant::ZERO);
    let later = Instant::from_secs_f64(5.0);
    part.complain(Some("clips"), later);
    part.complain(Some("clips"), later + STEADY);
    assert_eq!((part.state(), part.reason(), part.since()), (State::Degraded, "clips", later));
    assert!(part.delivers() && part.take_news() && !part.take_news());
    part.delivered(later + STEADY);
    assert_eq!(part.state(), State::Degraded, "a delivery answers no complaint");
    part.complain(None, later + STEADY);
    assert_eq!((part.state(), part.reason()), (State::Running, ""));
}
