//! Has plans built, and brings their graphs to whoever waits for them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::lock;
use crate::backoff::Backoff;
use crate::engine::{EngineError, Graph};

/// Builds the plans of a model folder that are missing or not good, and proves them; returns when the good
/// ones lie in the folder, or says why they do not. It runs on a thread of its own, and may ask whether its
/// plans are still wanted.
pub type Build = Box<dyn Fn(&Path, &dyn Fn() -> bool) -> Result<(), Unbuilt> + Send + Sync>;

/// Loads the plan of an ONNX file.
pub(super) type Load = Box<dyn Fn(&Path) -> Result<Box<dyn Graph>, EngineError> + Send + Sync>;

/// Why plans were not built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unbuilt {
    /// For people.
    pub reason: String,
    /// Whether memory was lacking, of which there may be more later.
    pub lacking: bool,
}

/// Waits before what memory was lacking for is tried again: from this, doubling,
pub(super) const FIRST: Duration = Duration::from_secs(60);
/// to this.
pub(super) const MOST: Duration = Duration::from_secs(3600);

/// How long the thread is waited for at the end.
const ENDING: Duration = Duration::from_secs(5);

/// What an order needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cure {
    /// Its plan is missing or not good: it is built, even if nobody waits for the graph any more.
    Build,
    /// Its plan is good and lacked memory.
    Load,
}

/// Has plans loaded, and built where they must be, on a thread of its own, which is over when this is dropped: whoever has
/// a graph of the engine, or the engine itself, holds it.
pub(super) struct Rebuilder {
    works: Arc<Works>,
    thread: Mutex<Option<Running>>,
}

/// The thread, and what tells that it is over.
struct Running {
    thread: JoinHandle<()>,
    over: Receiver<()>,
}

impl Running {
    /// Waits until it is over, for `most`; whether it is.
    fn end(self, most: Duration) -> bool {
        let over = self.over.recv_timeout(most) != Err(RecvTimeoutError::Timeout);
        if over {
            let _ = self.thread.join();
        }
        over
    }
}

/// What the thread works with.
struct Works {
    build: Build,
    load: Load,
    backoff: Backoff,
    ended: AtomicBool,
    orders: Mutex<Orders>,
}

#[derive(Default)]
struct Orders {
    busy: bool,
    waiting: Vec<Waiting>,
}

/// Somebody who waits for a graph.
struct Waiting {
    file: PathBuf,
    cure: Cure,
    sender: Sender<Box<dyn Graph>>,
    /// Dead once nobody waits any more.
    order: Weak<()>,
    /// When it is tried.
    due: Instant,
    /// How long it then waits for the next time.
    backoff: Backoff,
    /// Whether it was told that its plan finds no memory.
    told: bool,
}

impl Waiting {
    fn is_wanted(&self) -> bool {
        self.order.strong_count() > 0
    }
}

/// A graph that will come, as long as this is held.
pub(super) struct Order {
    graph: Receiver<Box<dyn Graph>>,
    #[allow(dead_code, reason = "dropping it is what it is for")]
    held: Arc<()>,
}

impl Order {
    /// The graph, if it has come; [`TryRecvError::Disconnected`] if it never will.
    pub fn try_recv(&self) -> Result<Box<dyn Graph>, TryRecvError> {
        self.graph.try_recv()
    }
}

impl Rebuilder {
    /// Builds whatever was ordered: a graph that was needed only once, as that of texts, wants its plan too.
    pub fn new(build: Build, load: Load) -> Self {
        Self::patient(build, load, Backoff::new(FIRST, MOST))
    }

    fn patient(build: Build, load: Load, backoff: Backoff) -> Self {
        let works = Works { build, load, backoff, ended: AtomicBool::new(false), orders: Mutex::default() };
        Self { works: Arc::new(works), thread: Mutex::default() }
    }

    /// Whether it takes orders.
    pub fn goes_on(&self) -> bool {
        self.works.is_wanted()
    }

    /// Orders a good plan of `file` after `wait`, unless nothing is brought any more. One build serves every order that comes
    /// before it ends.
    pub fn order(&self, file: &Path, cure: Cure, wait: Duration) -> Option<Order> {
        let (sender, graph) = channel();
        let held = Arc::new(());
        let (order, backoff) = (Arc::downgrade(&held), self.works.backoff.clone());
        let due = Instant::now() + wait;
        let mut orders = lock(&self.works.orders);
        if !self.works.is_wanted() {
            return None;
        }
        if orders.busy {
            self.wake(); // it may pause for longer
        } else {
            self.start(file.parent().unwrap_or(Path::new(".")).to_owned())?;
            orders.busy = true;
        }
        orders.waiting.push(Waiting {
            file: file.to_owned(),
            cure,
            sender,
            order,
            due,
            backoff,
            told: false,
        });
        Some(Order { graph, held })
    }

    /// Starts the thread, if that is possible.
    fn start(&self, folder: PathBuf) -> Option<()> {
        let works = Arc::clone(&self.works);
        let (running, over) = channel();
        let work = move || {
            let _running: Sender<()> = running;
            works.work(&folder);
        };
        match std::thread::Builder::new().name("plans".into()).spawn(work) {
            Ok(thread) => {
                if let Some(before) = lock(&self.thread).replace(Running { thread, over }) {
                    before.end(ENDING); // it is at its end
                }
                Some(())
            }
            Err(error) => {
                tracing::error!("no thread to build plans on: {error}");
                None
            }
        }
    }

    fn wake(&self) {
        if let Some(running) = &*lock(&self.thread) {
            running.thread.thread().unpark();
        }
    }

    /// Builds and brings nothing from now on; whoever waits learns that.
    pub fn stop(&self) {
        self.works.end();
        self.wake();
    }
}

impl Drop for Rebuilder {
    fn drop(&mut self) {
        self.stop();
        // A plan that is being loaded would else be in the driver's hands while the process ends; but a driver that failed
        // may never let it go.
        let thread = lock(&self.thread).take();
        if thread.is_some_and(|thread| !thread.end(ENDING)) {
            tracing::debug!("the thread of the plans is left although it goes on");
        }
    }
}

impl Works {
    /// Tries until there is every graph that can be had, or nobody wants one any more.
    fn work(&self, folder: &Path) {
        while self.pause() {
            // A plan may be good and have lacked nothing but memory: a build would only take more of it.
            let (waiting, gone): (Vec<_>, Vec<_>) = self.due().into_iter().partition(Waiting::is_wanted);
            let faulty = self.deliver(waiting);
            let (passing, bad): (Vec<_>, Vec<_>) = faulty.into_iter().partition(|(_, fault)| fault.passing());
            let mut left: Vec<_> =
                passing.into_iter().map(|(waiting, fault)| self.told(waiting, &fault)).collect();
            let bad = bad.into_iter().map(|(waiting, _)| Waiting { cure: Cure::Build, ..waiting });
            let unbuilt: Vec<_> =
                gone.into_iter().filter(|gone| gone.cure == Cure::Build).chain(bad).collect();
            if !unbuilt.is_empty() {
                left.extend(self.build_for(folder, unbuilt));
            }
            self.put_back(left);
        }
    }

    /// Builds, and delivers to those and to whoever came meanwhile; gives those for whom memory was lacking.
    fn build_for(&self, folder: &Path, unbuilt: Vec<Waiting>) -> Vec<Waiting> {
        if !self.is_wanted() {
            return Vec::new();
        }
        let outcome = (self.build)(folder, &|| self.is_wanted());
        let lacking = outcome.as_ref().is_err_and(|why| why.lacking);
        if let Err(Unbuilt { reason, .. }) = outcome
            && self.is_wanted()
        {
            let then = if lacking { " until that is tried again" } else { "" };
            tracing::error!("the plans were not built, so what serves now goes on{then}: {reason}");
        }
        let all = unbuilt.into_iter().chain(self.due());
        let (waiting, gone): (Vec<_>, Vec<_>) = all.partition(Waiting::is_wanted);
        let mut left: Vec<_> = gone.into_iter().filter(|gone| lacking && gone.cure == Cure::Build).collect();
        for (waiting, fault) in self.deliver(waiting) {
            if fault.passing() {
                left.push(self.told(waiting, &fault));
            } else if lacking {
                left.push(Waiting { cure: Cure::Build, ..waiting });
            } else {
                tracing::error!("{fault}");
            }
        }
        left
    }

    /// Sends the graphs whose plans are good now; gives those whose are not. Nothing is loaded, or tried again, for a graph
    /// that is gone, as that of texts is once they are read, nor on a GPU that failed.
    fn deliver(&self, waiting: Vec<Waiting>) -> Vec<(Waiting, EngineError)> {
        let mut left = Vec::new();
        for waiting in waiting {
            if !self.is_wanted() {
                return Vec::new();
            }
            if !waiting.is_wanted() {
                continue;
            }
            match (self.load)(&waiting.file) {
                Ok(graph) => drop(waiting.sender.send(graph)),
                Err(fault) if fault.for_good() => {
                    tracing::error!(
                        "{fault}; this process builds and loads no plan in the background any more"
                    );
                    self.end();
                }
                Err(fault) => left.push((waiting, fault)),
            }
        }
        left
    }

    /// Has it known, once for each order, why its plan does not serve, which a build would not mend.
    fn told(&self, waiting: Waiting, fault: &EngineError) -> Waiting {
        if !waiting.told && self.is_wanted() {
            tracing::warn!("{}: {fault}. The plan is tried again in the background", waiting.file.display());
        }
        Waiting { cure: Cure::Load, told: true, ..waiting }
    }

    /// Has these tried again together, as soon as one of them may be.
    fn put_back(&self, mut left: Vec<Waiting>) {
        let random = fastrand::f64();
        let waits = left.iter_mut().map(|waiting| waiting.backoff.next(random));
        let Some(wait) = waits.min() else { return };
        let due = Instant::now() + wait;
        lock(&self.orders).waiting.extend(left.into_iter().map(|waiting| Waiting { due, ..waiting }));
    }

    /// Takes what is to be tried by now.
    fn due(&self) -> Vec<Waiting> {
        let now = Instant::now();
        let mut orders = lock(&self.orders);
        let (due, later) =
            std::mem::take(&mut orders.waiting).into_iter().partition(|one: &Waiting| one.due <= now);
        orders.waiting = later;
        due
    }

    /// Waits until something is to be tried; `false` when there is nothing, or nobody to try it for.
    fn pause(&self) -> bool {
        loop {
            let wait = {
                let mut orders = lock(&self.orders);
                let due = orders.waiting.iter().map(|waiting| waiting.due).min().filter(|_| self.is_wanted());
                let Some(due) = due else {
                    *orders = Orders::default();
                    return false;
                };
                due.saturating_duration_since(Instant::now())
            };
            if wait.is_zero() {
                return true;
            }
            std::thread::park_timeout(wait);
        }
    }

    fn end(&self) {
        self.ended.store(true, Ordering::Release);
        lock(&self.orders).waiting.clear();
    }

    fn is_wanted(&self) -> bool {
        !self.ended.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    use crate::engine::keeper::tests::Idle;
    use crate::engine::tensorrt::{Said, TensorRtError};

    /// One whose builds are told to `began` with the way to end them, and whose plans are good after the `good`th.
    fn rebuilder(began: Sender<Sender<Result<(), Unbuilt>>>, good: usize) -> Rebuilder {
        let fault = |file: &Path| {
            let (file, reason, inputs) = (file.to_owned(), "no plan".to_owned(), String::new());
            EngineError::Run { file, reason, inputs }
        };
        rebuilder_with(began, good, fault)
    }

    /// The same, with another fault of loading before.
    fn rebuilder_with(
        began: Sender<Sender<Result<(), Unbuilt>>>,
        good: usize,
        fault: impl Fn(&Path) -> EngineError + Send + Sync + 'static,
    ) -> Rebuilder {
        let builds = Arc::new(Mutex::new(0));
        let built = Arc::clone(&builds);
        let build = move |_: &Path, wanted: &dyn Fn() -> bool| {
            let (end, ended) = channel();
            began.send(end).expect("a test that listens");
            let outcome = loop {
                match ended.recv_timeout(Duration::from_millis(1)) {
                    Ok(outcome) => break outcome,
                    Err(_) if !wanted() => break Err(Unbuilt { reason: "not wanted".into(), lacking: true }),
                    Err(_) => {}
                }
            };
            *lock(&built) += 1;
            outcome
        };
        let load = move |file: &Path| match *lock(&builds) >= good {
            true => Ok(Box::new(Idle) as Box<dyn Graph>),
            false => Err(fault(file)),
        };
        let backoff = Backoff::new(Duration::ZERO, Duration::ZERO);
        Rebuilder::patient(Box::new(build), Box::new(load), backoff)
    }

    fn ordered(rebuilder: &Rebuilder, file: &str) -> Order {
        rebuilder.order(file.as_ref(), Cure::Build, Duration::ZERO).expect("it goes on")
    }

    fn unbuilt(lacking: bool) -> Result<(), Unbuilt> {
        Err(Unbuilt { reason: "it failed".into(), lacking })
    }

    #[test]
    fn a_build_that_lacked_memory_is_tried_again_and_any_other_is_not() {
        let (began, builds) = channel();
        let rebuilder = rebuilder(began, 3);
        let order = ordered(&rebuilder, "image.onnx");
        for outcome in [unbuilt(true), unbuilt(true), Ok(())] {
            builds.recv().expect("a build").send(outcome).expect("it waits");
        }
        assert!(order.graph.recv().is_ok(), "the plan of the third is good");
        let order = ordered(&rebuilder, "audio.onnx");
        assert!(order.graph.recv().is_ok() && builds.try_recv().is_err(), "it is good without a build");

        let (began, builds) = channel();
        let rebuilder = self::rebuilder(began, 1);
        let order = ordered(&rebuilder, "image.onnx");
        builds.recv().expect("a build").send(unbuilt(false)).expect("it waits");
        assert!(order.graph.recv().is_ok(), "what is good is brought even so");
    }

    /// One that is patient for as long as `backoff` says, with the outcomes of its loads one after the other, the last for
    /// ever; and a count of its builds.
    fn loading(backoff: Backoff, outcomes: Vec<Option<TensorRtError>>) -> (Rebuilder, Arc<AtomicUsize>) {
        let builds = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&builds);
        let build = move |_: &Path, _: &dyn Fn() -> bool| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        let outcomes = Mutex::new(outcomes.into_iter());
        let load = move |_: &Path| match lock(&outcomes).next().flatten() {
            Some(fault) => Err(EngineError::TensorRt(fault)),
            None => Ok(Box::new(Idle) as Box<dyn Graph>),
        };
        (Rebuilder::patient(Box::new(build), Box::new(load), backoff), builds)
    }

    const AT_ONCE: Backoff = Backoff::new(Duration::ZERO, Duration::ZERO);

    fn full() -> Option<TensorRtError> {
        Some(TensorRtError::Memory { doing: "allocating memory" })
    }

    #[test]
    fn a_good_plan_that_found_too_little_memory_is_loaded_again_and_nothing_is_built() {
        for cure in [Cure::Load, Cure::Build] {
            let (rebuilder, builds) = loading(AT_ONCE, vec![full(), full(), None]);
            let order = rebuilder.order("image.onnx".as_ref(), cure, Duration::ZERO).expect("it goes on");
            assert!(order.graph.recv().is_ok(), "there is memory by then");
            assert_eq!(builds.load(Ordering::Relaxed), 0, "{cure:?}");
        }
    }

    #[test]
    fn a_plan_that_is_no_longer_good_once_there_is_memory_is_built() {
        let bad = TensorRtError::Refused { call: "IRuntime::deserializeCudaEngine", said: Said::default() };
        let (rebuilder, builds) = loading(AT_ONCE, vec![full(), Some(bad), None]);
        let order = rebuilder.order("image.onnx".as_ref(), Cure::Load, Duration::ZERO).expect("it goes on");
        assert!(order.graph.recv().is_ok());
        assert_eq!(builds.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_gpu_that_failed_is_asked_no_more() {
        let failed = TensorRtError::Cuda { doing: "allocating memory", reason: "it fell off the bus".into() };
        let (rebuilder, builds) = loading(AT_ONCE, vec![Some(failed)]);
        let order = rebuilder.order("image.onnx".as_ref(), Cure::Load, Duration::ZERO).expect("it goes on");
        assert!(order.graph.recv().is_err(), "it was tried again, and nothing fails then");
        assert!(!rebuilder.goes_on());
        assert!(rebuilder.order("audio.onnx".as_ref(), Cure::Load, Duration::ZERO).is_none());
        assert_eq!(builds.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn an_order_does_not_wait_for_one_that_is_to_be_tried_later() {
        let hour = Duration::from_secs(3600);
        let (rebuilder, _) = loading(Backoff::new(hour, hour), vec![full(), None]);
        let order = |wait| rebuilder.order("image.onnx".as_ref(), Cure::Load, wait).expect("it goes on");
        let (later, lacking) = (order(hour), order(Duration::ZERO));
        std::thread::sleep(Duration::from_millis(100)); // it lacks memory, and the thread pauses for an hour
        let soon = order(Duration::ZERO);
        assert!(soon.graph.recv_timeout(Duration::from_secs(10)).is_ok(), "it waits for the others");
        let none = |order: &Order| matches!(order.try_recv(), Err(TryRecvError::Empty));
        assert!(none(&later) && none(&lacking), "they are tried too early");
    }

    #[test]
    fn a_good_plan_that_nobody_waits_for_any_more_is_not_tried_again() {
        let (began, builds) = channel();
        let full = |_: &Path| EngineError::TensorRt(TensorRtError::Memory { doing: "allocating memory" });
        let rebuilder = rebuilder_with(began, usize::MAX, full);
        drop(ordered(&rebuilder, "text.onnx"));
        // Unless it was tried before that, it is built: nobody knows that it is good.
        if let Ok(end) = builds.recv_timeout(Duration::from_millis(200)) {
            end.send(Ok(())).expect("it waits");
        }
        let again = builds.recv_timeout(Duration::from_millis(500));
        assert!(again.is_err(), "the plan is built, and nobody wants its graph");
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

    #[test]
    fn what_fails_for_good_is_given_up() {
        let (began, builds) = channel();
        let rebuilder = rebuilder(began, usize::MAX);
        let order = ordered(&rebuilder, "image.onnx");
        builds.recv().expect("a build").send(unbuilt(false)).expect("it waits");
        assert!(order.graph.recv().is_err() && builds.try_recv().is_err());
    }

    #[test]
    fn a_build_goes_on_without_who_ordered_it_but_not_without_any_user() {
        let (began, builds) = channel();
        let rebuilder = rebuilder(began, 1);
        drop(ordered(&rebuilder, "text.onnx"));
        let end = builds.recv().expect("a build");
        assert!(end.send(unbuilt(true)).is_ok(), "it goes on");
        let _end = builds.recv().expect("and is tried again");
        drop(rebuilder);
        assert!(builds.recv().is_err(), "that was the last, and nothing is left of it");
    }

    #[test]
    fn an_order_may_wait_and_ends_with_the_rebuilder_even_so() {
        let (began, builds) = channel();
        let rebuilder = rebuilder(began, 0);
        let order = rebuilder.order("image.onnx".as_ref(), Cure::Build, Duration::from_secs(3600));
        let order = order.expect("it goes on");
        assert!(builds.recv_timeout(Duration::from_millis(100)).is_err(), "it is too early");
        drop(rebuilder);
        assert!(order.graph.recv().is_err() && builds.try_recv().is_err());
    }

    #[test]
    fn once_it_is_stopped_nothing_is_built_for_those_who_wait_or_come_later() {
        let (began, builds) = channel();
        let rebuilder = rebuilder(began, usize::MAX);
        let order = ordered(&rebuilder, "image.onnx");
        let _end = builds.recv().expect("a build");
        rebuilder.stop();
        assert!(order.graph.recv().is_err(), "it waits for nothing");
        assert!(rebuilder.order("audio.onnx".as_ref(), Cure::Build, Duration::ZERO).is_none());
        assert!(builds.recv_timeout(Duration::from_millis(100)).is_err(), "the build was the last");
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
        let build = move |_: &Path, _: &dyn Fn() -> bool| {
            lock(&wait).recv().expect("a test that goes on");
            Ok(())
        };
        let rebuilder = Rebuilder::new(Box::new(build), Box::new(load));
        let _orders = ["image.onnx", "audio.onnx"].map(|file| ordered(&rebuilder, file));
        go.send(()).expect("it builds");
        loads.recv().expect("it loads");
        drop(rebuilder);
        assert_eq!(*lock(&loaded), 1, "the first was not waited for, or the second was loaded");
    }
}
