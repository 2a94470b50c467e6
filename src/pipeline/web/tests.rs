//! The monitor under simulated time: ports that are taken, settings that change and readers that are not let in, by random
//! schedules, and what is told of it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use proptest::prelude::*;
use tokio::time::{Instant, sleep_until};

use super::*;
use crate::clock::paused::{Paused, play};
use crate::config::Config;
use crate::message::tests::info;
use crate::message::{Health, HealthState};

/// Waits between tries: from this, doubling,
const FIRST: Duration = Duration::from_millis(500);
/// to this.
const MOST: Duration = Duration::from_secs(10);
/// Longest time that opening takes.
const OPENING: Duration = Duration::from_millis(200);
/// Time between two readers.
const READER: Duration = Duration::from_secs(1);
/// The event loop's clock has no finer parts.
const TICK: Duration = Duration::from_millis(2);

/// The machine's ports, of which one is asked for.
#[derive(Default)]
struct House(Mutex<Rooms>);

#[derive(Default)]
struct Rooms {
    /// Somebody else listens there.
    taken: bool,
    /// There is no room for one more connection.
    crowded: bool,
    /// Tries under way, and doors open.
    tries: u32,
    open: u32,
    /// Where the last try was, when it was over, and how many there were before.
    last: Option<(SocketAddr, Instant, u32)>,
}

impl House {
    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on it is like this.
    fn is(&self, taken: bool, crowded: bool) {
        let mut rooms = self.rooms();
        (rooms.taken, rooms.crowded) = (taken, crowded);
    }

    /// A try begins: alone, and after the wait that is due.
    fn begins(&self, address: SocketAddr) -> Trying<'_> {
        let mut rooms = self.rooms();
        assert_eq!((rooms.tries, rooms.open), (0, 0), "a try beside another, or beside an open door");
        rooms.tries += 1;
        let before = rooms.last.filter(|(last, ..)| *last == address);
        if let Some((_, over, before)) = before {
            let (wait, most) = (over.elapsed(), (FIRST * 2_u32.pow(before.min(5))).min(MOST));
            assert!(wait >= most / 2 && wait <= most + TURN + TICK, "{wait:?}, and not up to {most:?}");
        }
        let before = before.map_or(0, |(.., before)| before + 1);
        Trying { house: self, address, before }
    }
}

/// A try that is under way, until it is over or nobody waits for it any more.
struct Trying<'a> {
    house: &'a House,
    address: SocketAddr,
    before: u32,
}

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        let mut rooms = self.house.rooms();
        rooms.tries -= 1;
        rooms.last = Some((self.address, Instant::now(), self.before));
    }
}

/// A door that is open.
struct Opened<'a>(&'a House);

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        self.0.rooms().open -= 1;
    }
}

impl<'a> Doors for &'a House {
    type Open = Opened<'a>;

    async fn open(&self, _: &Arc<Monitor>, address: SocketAddr) -> Result<Opened<'a>, Closed> {
        let _trying = self.begins(address);
        sleep(OPENING.mul_f64(fastrand::f64())).await;
        let mut rooms = self.rooms();
        if rooms.taken {
            return Err(Closed { address, error: io::ErrorKind::AddrInUse.into() });
        }
        rooms.open += 1;
        Ok(Opened(self))
    }

    async fn admit(&self, _: &mut Opened<'a>) -> io::Result<()> {
        sleep(READER).await;
        if self.rooms().crowded { Err(io::Error::other("too many open files")) } else { Ok(()) }
    }
}

/// The monitor's ports, and the monitor in it.
struct World<'a> {
    house: &'a House,
    monitor: Arc<Monitor>,
    address: watch::Sender<Option<SocketAddr>>,
    port: u16,
}

impl World<'_> {
    fn play(seed: u64, act: impl AsyncFnOnce(&mut World)) {
        fastrand::seed(seed);
        play(async {
            let (clock, house) = (Paused::new(), House::default());
            let monitor = Arc::new(Monitor::new(info(&Config::default())));
            let (address, listened) = watch::channel(None);
            let mut world = World { house: &house, monitor: Arc::clone(&monitor), address, port: 0 };
            world.moves();
            tokio::select! {
                () = act(&mut world) => {}
                never = Web::new(monitor, &house, None, &clock).follow(listened) => match never {},
            }
        });
    }

    /// Another port is asked for.
    fn moves(&mut self) {
        self.port += 1;
        self.address.send_replace(Some(SocketAddr::from(([127, 0, 0, 1], self.port))));
    }

    /// Lets time pass. Nobody is told that it listens while it does not.
    async fn watch(&self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            sleep_until(until.min(Instant::now() + TURN)).await;
            tokio::task::yield_now().await; // what is due at the same instant is done
            let well =
                self.told().filter(|told| [HealthState::Ok, HealthState::Degraded].contains(&told.state));
            assert_eq!(well.is_some(), self.house.rooms().open == 1, "told {:?}", self.told());
        }
    }

    /// What is told of it.
    fn told(&self) -> Option<Health> {
        let mut told = None;
        self.monitor.note(|figures, _| told = figures.parts.get(&Part::Web).map(|part| part.health.clone()));
        told
    }
}

/// Whether the port is taken, the house is crowded, for how many seconds, and which settings come then: another port, or none.
fn schedule() -> impl Strategy<Value = Vec<(bool, bool, f64, Option<bool>)>> {
    let settings = prop_oneof![3 => Just(None), 1 => any::<bool>().prop_map(Some)];
    prop::collection::vec((any::<bool>(), any::<bool>(), 0.1f64..40.0, settings), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Never more than one try is under way, every wait is as long as it should be ([`House::begins`]), nobody is told that
    /// it listens while it does not ([`World::watch`]), and it is well at most the longest wait after the faults are over.
    #[test]
    fn whatever_happens(schedule in schedule(), seed in any::<u64>()) {
        World::play(seed, async |world| {
            for (taken, crowded, seconds, settings) in schedule {
                world.house.is(taken, crowded);
                world.watch(Duration::from_secs_f64(seconds)).await;
                match settings {
                    Some(true) => world.moves(),
                    Some(false) => drop(world.address.send_replace(None)),
                    None => {}
                }
            }
            let listens = world.address.borrow().is_some();
            world.house.is(false, false);
            world.watch(MOST + TURN + OPENING + READER * 2).await;
            let told = world.told().map(|told| (told.state, told.reason));
            assert_eq!(told, listens.then(|| (HealthState::Ok, String::new())));
        });
    }
}

#[test]
fn a_port_that_is_taken_is_told_with_the_cure_and_a_crowd_too() {
    World::play(1, async |world| {
        world.house.is(true, false);
        world.watch(READER).await;
        let told = world.told().expect("it is tried");
        assert!(
            told.state == HealthState::Failed && told.reason.contains("set another [monitor] port"),
            "{told:?}"
        );
        world.house.is(false, true);
        world.watch(FIRST * 2 + READER * 2).await;
        let told = world.told().expect("it is open");
        assert!(
            told.state == HealthState::Degraded && told.reason.contains("too many open files"),
            "{told:?}"
        );
    });
}
