//! The loop of tries under simulated time, on one thread: what is tried when, and what comes of it. What only threads can
//! show, that one is woken and ends, stands last.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize};

use proptest::prelude::*;

use super::*;
use crate::engine::keeper::tests::Idle;
use crate::engine::tensorrt::{Said, TensorRtError};

/// The longest wait between two tries.
const MOST: Duration = Duration::from_secs(3600);
/// The shortest.
const LEAST: Duration = Duration::from_secs(30);
/// What a build and a load take.
const BUILD: Duration = Duration::from_secs(90);
const LOAD: Duration = Duration::from_secs(1);

/// What was tried, and when.
type Tries = Vec<(Duration, String)>;

/// Time that passes only where somebody waits or works, and orders that are let go when their time has come.
pub struct Simulated {
    nanos: AtomicU64,
    chance: f64,
    tries: Mutex<Tries>,
    held: Mutex<Vec<(Instant, Order)>>,
}

impl Simulated {
    pub fn new(chance: f64) -> Arc<Self> {
        let (nanos, tries, held) = (AtomicU64::new(0), Mutex::default(), Mutex::default());
        Arc::new(Self { nanos, chance, tries, held })
    }

    pub fn pass(&self, time: Duration) {
        self.nanos.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
        let passed = self.passed();
        lock(&self.held).retain(|(until, _)| *until > Instant::ZERO + passed);
    }

    /// How much time has passed.
    pub fn passed(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }

    fn note(&self, what: String) {
        lock(&self.tries).push((self.passed(), what));
    }

    /// What was tried, without the times.
    fn tried(&self) -> Vec<String> {
        lock(&self.tries).iter().map(|(_, what)| what.clone()).collect()
    }
}

impl Pace for Arc<Simulated> {
    fn now(&self) -> Instant {
        Instant::ZERO + self.passed()
    }

    fn chance(&self) -> f64 {
        self.chance
    }

    fn pause(&self, most: Duration) {
        self.pass(most);
    }
}

fn works(build: Option<Build>, load: Load, pace: &Arc<Simulated>) -> Works {
    let (pace, orders) = (Box::new(Arc::clone(pace)), Mutex::default());
    Works { build, load, pace, ended: AtomicBool::new(false), orders }
}

/// Works whose loads and builds come out so, one after the other; then everything is good.
fn scripted(loads: Vec<TensorRtError>, builds: Vec<Result<(), Unbuilt>>) -> (Works, Arc<Simulated>) {
    let pace = Simulated::new(1.0);
    let (loads, builds) = (Mutex::new(VecDeque::from(loads)), Mutex::new(VecDeque::from(builds)));
    let (at_load, at_build) = (Arc::clone(&pace), Arc::clone(&pace));
    let load = move |file: &Path| {
        at_load.note(format!("load {}", file.display()));
        match lock(&loads).pop_front() {
            Some(fault) => Err(EngineError::TensorRt(fault)),
            None => Ok(Box::new(Idle) as Box<dyn Graph>),
        }
    };
    let build = move |job: &Job<'_>, _: &dyn Fn() -> bool| {
        at_build.note(if job.less.is_empty() { "build".to_owned() } else { format!("less {:?}", job.less) });
        lock(&builds).pop_front().unwrap_or(Ok(()))
    };
    (works(Some(Box::new(build)), Box::new(load), &pace), pace)
}

impl Works {
    fn order(&self, file: &str, cure: Cure) -> Order {
        lock(&self.orders).take(file.as_ref(), cure, PATIENCE, self.pace.as_ref())
    }

    fn work_off(&self) {
        self.work("model".as_ref());
    }
}

fn full() -> TensorRtError {
    TensorRtError::Memory { doing: "allocating memory" }
}

fn bad() -> TensorRtError {
    TensorRtError::Refused { call: "IRuntime::deserializeCudaEngine", said: Said::default() }
}

fn unbuilt(lacking: bool) -> Result<(), Unbuilt> {
    Err(Unbuilt { reason: "it failed".into(), lacking })
}

#[test]
fn a_build_that_lacked_memory_is_tried_again_and_any_other_is_not() {
    let (works, pace) = scripted((0..5).map(|_| bad()).collect(), vec![unbuilt(true), unbuilt(true)]);
    let order = works.order("image.onnx", Cure::Build);
    works.work_off();
    assert!(order.try_recv().is_ok(), "the plan of the third build is good");
    let built: Vec<_> =
        lock(&pace.tries).iter().filter(|(_, what)| what == "build").map(|(at, _)| at.as_secs()).collect();
    assert_eq!(built, [0, 60, 180], "the waits double");

    for (loads, comes) in [(vec![bad()], true), (vec![bad(), bad()], false)] {
        let (works, pace) = scripted(loads, vec![unbuilt(false)]);
        let order = works.order("image.onnx", Cure::Build);
        works.work_off();
        assert_eq!(order.try_recv().is_ok(), comes, "what is good is brought even so, and nothing else");
        assert_eq!(pace.tried(), ["load image.onnx", "build", "load image.onnx"]);
    }
}

#[test]
fn a_good_plan_that_found_too_little_memory_is_loaded_again_and_nothing_is_built() {
    for cure in [Cure::Load, Cure::Build] {
        let (works, pace) = scripted(vec![full()], vec![]);
        let order = works.order("image.onnx", cure);
        works.work_off();
        assert!(order.try_recv().is_ok(), "there is memory by then");
        assert_eq!(pace.tried(), ["load image.onnx"; 2], "{cure:?}");
    }
}

#[test]
fn a_good_plan_that_finds_no_memory_twice_is_built_to_ask_for_less() {
    for (cure, known) in [(Cure::Build, 0), (Cure::Load, 0), (Cure::Less, 1)] {
        let (works, pace) = scripted(vec![full(), full()].split_off(known), vec![]);
        let order = works.order("image.onnx", cure);
        works.work_off();
        assert!(order.try_recv().is_ok());
        let expected = ["load image.onnx", "load image.onnx", "less [\"image.onnx\"]", "load image.onnx"];
        assert_eq!(pace.tried(), expected[known..], "{cure:?}");
    }
    // If that is in vain, it is only loaded from then on.
    let (works, pace) = scripted((0..6).map(|_| full()).collect(), vec![unbuilt(true)]);
    let order = works.order("image.onnx", Cure::Less);
    works.work_off();
    assert!(order.try_recv().is_ok());
    let less = pace.tried().iter().filter(|what| what.starts_with("less")).count();
    assert_eq!((less, pace.tried().len()), (1, 8));
    // Where nothing may be built, it is loaded for ever.
    let (mut works, pace) = scripted(vec![full(), full(), full()], vec![]);
    works.build = None;
    let order = works.order("image.onnx", Cure::Less);
    works.work_off();
    assert!(order.try_recv().is_ok());
    assert_eq!(pace.tried(), ["load image.onnx"; 4]);
}

#[test]
fn what_runs_out_of_memory_together_is_tried_together() {
    let (works, pace) = scripted(vec![full(), full()], vec![]);
    let image = works.order("image.onnx", Cure::Less);
    pace.pass(Duration::from_secs(3));
    let audio = works.order("audio.onnx", Cure::Less);
    works.work_off();
    assert!(image.try_recv().is_ok() && audio.try_recv().is_ok());
    let less: Vec<_> =
        lock(&pace.tries).iter().filter(|(_, what)| what.starts_with("less")).cloned().collect();
    assert_eq!(less, [(Duration::from_secs(63), "less [\"audio.onnx\", \"image.onnx\"]".to_owned())]);
}

#[test]
fn a_plan_that_is_no_longer_good_once_there_is_memory_is_built() {
    let (works, pace) = scripted(vec![full(), bad()], vec![]);
    let order = works.order("image.onnx", Cure::Load);
    works.work_off();
    assert!(order.try_recv().is_ok());
    assert_eq!(pace.tried()[2..], ["build", "load image.onnx"]);
}

#[test]
fn a_gpu_that_failed_is_asked_no_more() {
    let failed = TensorRtError::Cuda { doing: "allocating memory", reason: "it fell off the bus".into() };
    let (works, pace) = scripted(vec![failed], vec![]);
    let orders = [works.order("image.onnx", Cure::Load), works.order("audio.onnx", Cure::Build)];
    works.work_off();
    for order in orders {
        assert!(matches!(order.try_recv(), Err(TryRecvError::Disconnected)), "it waits for ever");
    }
    assert!(!works.is_wanted());
    assert_eq!(pace.tried(), ["load image.onnx"]);
}

#[test]
fn what_nobody_waits_for_is_not_loaded_and_built_only_if_its_plan_may_be_bad() {
    for (cure, expected) in [(Cure::Build, &["build"][..]), (Cure::Load, &[]), (Cure::Less, &[])] {
        let (works, pace) = scripted(vec![], vec![]);
        drop(works.order("text.onnx", cure));
        works.work_off();
        assert_eq!(pace.tried(), expected, "{cure:?}");
    }
    // Nor when that shows while it waits.
    let (works, pace) = scripted(vec![full()], vec![]);
    let order = works.order("text.onnx", Cure::Build);
    lock(&pace.held).push((Instant::from_secs_f64(10.0), order));
    works.work_off();
    assert_eq!(pace.tried(), ["load text.onnx"]);
}

/// What the GPU's memory and the builder are like for some minutes.
#[derive(Debug, Clone, Copy)]
struct Spell {
    minutes: f64,
    /// MiB of workspace that there is memory for.
    room: usize,
    /// Whether the builder fails, whatever memory there is.
    broken: bool,
}

/// What is wanted: the cure, what its plan is like, and for how many minutes somebody waits.
type Wanted = (Cure, bool, f64);

#[derive(Debug, Clone, Copy)]
struct Plan {
    good: bool,
    /// MiB of workspace.
    asks: usize,
    /// How often it was loaded in vain for want of memory.
    lacked: u32,
}

/// The GPU with its plans.
struct World {
    pace: Arc<Simulated>,
    spells: Vec<Spell>,
    /// From when on it does not answer any more.
    dead: Option<Instant>,
    plans: Mutex<BTreeMap<PathBuf, Plan>>,
    /// Whether something is under way.
    busy: AtomicBool,
    /// How often plans were to be built to ask for less.
    lessened: AtomicUsize,
}

impl World {
    /// What it is like now; when the spells are over, all is well.
    fn spell(&self) -> Spell {
        let mut left = self.pace.passed().as_secs_f64() / 60.0;
        let found = self.spells.iter().find(|spell| {
            left -= spell.minutes;
            left < 0.0
        });
        found.copied().unwrap_or(Spell { minutes: f64::INFINITY, room: usize::MAX, broken: false })
    }

    fn is_dead(&self) -> bool {
        self.dead.is_some_and(|dead| self.pace.now() >= dead)
    }

    /// Something that is tried for some time; nothing else is meanwhile.
    fn tries<T>(&self, what: String, takes: Duration, work: impl FnOnce() -> T) -> T {
        assert!(!self.busy.swap(true, Ordering::Relaxed), "{what} beside another try");
        self.pace.note(what);
        self.pace.pass(takes);
        let outcome = work();
        self.busy.store(false, Ordering::Relaxed);
        outcome
    }

    fn load(&self, file: &Path) -> Result<Box<dyn Graph>, EngineError> {
        self.tries(file.display().to_string(), LOAD, || {
            let mut plans = lock(&self.plans);
            let plan = plans.get_mut(file).expect("a plan that was ordered");
            let fault = match *plan {
                _ if self.is_dead() => {
                    TensorRtError::Cuda { doing: "loading", reason: "it fell off the bus".into() }
                }
                Plan { good: false, .. } => bad(),
                Plan { asks, .. } if asks > self.spell().room => {
                    plan.lacked += 1;
                    full()
                }
                _ => return Ok(Box::new(Idle) as Box<dyn Graph>),
            };
            Err(EngineError::TensorRt(fault))
        })
    }

    fn build(&self, job: &Job<'_>) -> Result<(), Unbuilt> {
        self.tries("build".to_owned(), BUILD, || {
            let (mut lacking, spell) = (false, self.spell());
            self.lessened.fetch_add(usize::from(!job.less.is_empty()), Ordering::Relaxed);
            for (file, plan) in lock(&self.plans).iter_mut() {
                let less = job.less.contains(file);
                assert!(!less || (plan.good && plan.lacked > 0), "{} has no need of less", file.display());
                let asks = if less { plan.asks / 2 } else { 1024 };
                match () {
                    () if !less && (plan.good || !job.missing) => {}
                    () if self.is_dead() || spell.broken => return unbuilt(false),
                    () if asks < 64 || asks > spell.room => lacking = true,
                    () => *plan = Plan { good: true, asks, lacked: 0 },
                }
            }
            if lacking { unbuilt(true) } else { Ok(()) }
        })
    }
}

fn spells() -> impl Strategy<Value = Vec<Spell>> {
    let room = prop_oneof![Just(0), Just(100), Just(300), Just(700), Just(usize::MAX)];
    let spell = (0.1f64..200.0, room, prop::bool::weighted(0.1));
    let spell = spell.prop_map(|(minutes, room, broken)| Spell { minutes, room, broken });
    prop::collection::vec(spell, 0..6)
}

fn wanted() -> impl Strategy<Value = Vec<Wanted>> {
    let cure = prop_oneof![Just((Cure::Build, false)), Just((Cure::Load, true)), Just((Cure::Less, true))];
    let minutes = prop_oneof![Just(f64::INFINITY), 0.0f64..300.0];
    prop::collection::vec((cure, minutes).prop_map(|((cure, good), minutes)| (cure, good, minutes)), 1..4)
}

proptest! {
    /// Whatever memory there is when: one try at a time, none soon after another, none for who is gone or on a GPU that is
    /// lost; and once all is well everybody who still waits is served.
    #[test]
    fn whatever_happens(spells in spells(), wanted in wanted(), dead in prop::option::weighted(0.2, 0.0f64..300.0), chance in 0.0f64..=1.0) {
        let pace = Simulated::new(chance);
        let named = |number: usize| PathBuf::from(format!("{number}.onnx"));
        let plan = |(number, (_, good, _)): (usize, &Wanted)| {
            (named(number), Plan { good: *good, asks: 1024, lacked: 1 })
        };
        let world = Arc::new(World {
            pace: Arc::clone(&pace),
            dead: dead.map(|minutes| Instant::from_secs_f64(minutes * 60.0)),
            plans: Mutex::new(wanted.iter().enumerate().map(plan).collect()),
            busy: AtomicBool::new(false),
            lessened: AtomicUsize::new(0),
            spells,
        });
        let (loads, builds) = (Arc::clone(&world), Arc::clone(&world));
        let build: Build = Box::new(move |job, _| builds.build(job));
        let works = works(Some(build), Box::new(move |file| loads.load(file)), &pace);
        let mut waits = Vec::new();
        for (number, (cure, _, minutes)) in wanted.iter().enumerate() {
            let order = works.order(&named(number).display().to_string(), *cure);
            match minutes.is_finite() {
                true => lock(&pace.held).push((Instant::from_secs_f64(minutes * 60.0), order)),
                false => waits.push(order),
            }
        }
        works.work_off();

        let tries = lock(&pace.tries).clone();
        let fine = Duration::from_secs_f64(world.spells.iter().map(|spell| spell.minutes * 60.0).sum());
        let end = tries.last().map_or(Duration::ZERO, |(at, _)| *at);
        let spare = (BUILD + LOAD * 6) * 4;
        prop_assert!(end <= fine + MOST + spare, "it goes on until {end:?}, and all was well at {fine:?}: {tries:?}");
        // From 1024 MiB to 64, and once in vain.
        let lessened = world.lessened.load(Ordering::Relaxed);
        prop_assert!(lessened <= wanted.len() * 5, "built {lessened} times to ask for less: {tries:?}");
        let broken = world.spells.iter().any(|spell| spell.broken) || world.dead.is_some();
        for order in &waits {
            let served = order.try_recv();
            prop_assert!(served.is_ok() || broken, "not served: {tries:?}");
            prop_assert!(!matches!(served, Err(TryRecvError::Empty)), "it waits for ever: {tries:?}");
        }
        for (number, (_, _, minutes)) in wanted.iter().enumerate() {
            let name = named(number).display().to_string();
            let own: Vec<_> = tries.iter().enumerate().filter(|(_, (_, what))| *what == name).collect();
            for pair in own.windows(2) {
                let [(first, (before, _)), (second, (after, _))] = pair else { unreachable!() };
                let built = tries[*first..*second].iter().any(|(_, what)| what == "build");
                prop_assert!(built || *after - *before >= LEAST, "{name} soon after: {tries:?}");
            }
            let late = own.iter().find(|(_, (at, _))| at.as_secs_f64() > minutes * 60.0 + 1.0);
            prop_assert!(late.is_none(), "{name} is loaded for nobody: {tries:?}");
        }
        if let Some(dead) = world.dead.map(|dead| dead.since(Instant::ZERO)) {
            let after = tries.iter().filter(|(at, what)| what != "build" && *at >= dead).count();
            prop_assert!(after <= 1, "a lost GPU is asked again: {tries:?}");
        }
    }
}

/// Builds that are told to `began` with the way to end them, and plans that are good after the `good`th.
fn on_a_thread(began: Sender<Sender<Result<(), Unbuilt>>>, good: usize) -> Rebuilder {
    let builds = Arc::new(Mutex::new(0));
    let built = Arc::clone(&builds);
    let build = move |_: &Job<'_>, wanted: &dyn Fn() -> bool| {
        let (end, ended) = channel();
        began.send(end).expect("a test that listens");
        let outcome = loop {
            match ended.recv_timeout(Duration::from_millis(1)) {
                Ok(outcome) => break outcome,
                Err(_) if !wanted() => break unbuilt(true),
                Err(_) => {}
            }
        };
        *lock(&built) += 1;
        outcome
    };
    let load = move |_: &Path| match *lock(&builds) >= good {
        true => Ok(Box::new(Idle) as Box<dyn Graph>),
        false => Err(EngineError::TensorRt(bad())),
    };
    Rebuilder::at(Some(Box::new(build)), Box::new(load), Box::new(Simulated::new(1.0)))
}

fn ordered(rebuilder: &Rebuilder, file: &str) -> Order {
    rebuilder.order(file.as_ref(), Cure::Build, PATIENCE).expect("it goes on")
}

#[test]
fn a_build_goes_on_without_who_ordered_it_but_not_without_any_user() {
    let (began, builds) = channel();
    let rebuilder = on_a_thread(began, 1);
    drop(ordered(&rebuilder, "text.onnx"));
    let end = builds.recv().expect("a build");
    assert!(end.send(unbuilt(true)).is_ok(), "it goes on");
    let _end = builds.recv().expect("and is tried again");
    drop(rebuilder);
    assert!(builds.recv().is_err(), "that was the last, and nothing is left of it");
}

/// The thread that pauses for a minute is woken for what may be tried at once, and for its end.
#[test]
fn nothing_waits_for_what_is_to_be_tried_later() {
    let loaded = |_: &Path| Ok(Box::new(Idle) as Box<dyn Graph>);
    let rebuilder = Rebuilder::new(None, Box::new(loaded));
    let order = |cure| rebuilder.order("image.onnx".as_ref(), cure, PATIENCE).expect("it goes on");
    let (later, soon) = (order(Cure::Less), order(Cure::Load));
    assert!(soon.graph.recv_timeout(LEAST / 2).is_ok(), "it waits for the other");
    assert!(matches!(later.try_recv(), Err(TryRecvError::Empty)), "it is tried too early");
    drop(rebuilder);
    assert!(later.graph.recv_timeout(LEAST / 2).is_err());
}

#[test]
fn once_it_is_stopped_nothing_is_built_for_those_who_wait_or_come_later() {
    let (began, builds) = channel();
    let rebuilder = on_a_thread(began, usize::MAX);
    let order = ordered(&rebuilder, "image.onnx");
    let _end = builds.recv().expect("a build");
    rebuilder.stop();
    assert!(order.graph.recv().is_err(), "it waits for nothing");
    assert!(rebuilder.order("audio.onnx".as_ref(), Cure::Build, PATIENCE).is_none());
    drop(rebuilder);
    assert!(builds.recv().is_err(), "the build was the last");
}

#[test]
fn a_thread_that_does_not_end_is_left() {
    let (end, ended) = channel();
    let (running, over) = channel::<()>();
    let thread = std::thread::spawn(move || {
        let _running = running;
        let _ = ended.recv();
    });
    assert!(!Running { thread, over }.end(Duration::from_millis(50)));
    end.send(()).expect("it was left, and goes on");
}

/// The driver is in the midst of it: handlers at the exit of the process must not run meanwhile.
#[test]
fn a_plan_that_is_being_loaded_is_waited_for_and_no_other_is_loaded() {
    let (loading, loads) = channel();
    let loaded = Arc::new(Mutex::new(0));
    let count = Arc::clone(&loaded);
    let load = move |_: &Path| {
        loading.send(()).expect("a test that listens");
        std::thread::sleep(Duration::from_millis(200));
        *lock(&count) += 1;
        Ok(Box::new(Idle) as Box<dyn Graph>)
    };
    let (go, wait) = channel();
    let wait = Mutex::new(wait);
    let build = move |_: &Job<'_>, _: &dyn Fn() -> bool| {
        lock(&wait).recv().expect("a test that goes on");
        Ok(())
    };
    let rebuilder = Rebuilder::new(Some(Box::new(build)), Box::new(load));
    let _orders = ["image.onnx", "audio.onnx"].map(|file| ordered(&rebuilder, file));
    go.send(()).expect("it builds");
    loads.recv().expect("it loads");
    drop(rebuilder);
    assert_eq!(*lock(&loaded), 1, "the first was not waited for, or the second was loaded");
}
