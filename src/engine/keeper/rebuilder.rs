//! Has plans built, and brings their graphs to whoever waits for them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
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

/// Has plans built on a thread of its own, which is over when this is dropped: whoever has a graph of the engine, or the
/// engine itself, holds it.
pub(super) struct Rebuilder {
    works: Arc<Works>,
    thread: Mutex<Option<JoinHandle<()>>>,
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
    sender: Sender<Box<dyn Graph>>,
    /// Dead once nobody waits any more.
    order: Weak<()>,
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

    /// Orders a good plan of `file`, to be built after `wait`, or with those that others wait for already. One build serves
    /// every order that comes before it ends.
    pub fn order(&self, file: &Path, wait: Duration) -> Order {
        let (sender, graph) = channel();
        let held = Arc::new(());
        let order = Arc::downgrade(&held);
        let mut orders = lock(&self.works.orders);
        if self.works.is_wanted() {
            orders.waiting.push(Waiting { file: file.to_owned(), sender, order });
            if !orders.busy {
                orders.busy = self.start(file.parent().unwrap_or(Path::new(".")).to_owned(), wait);
            }
        }
        Order { graph, held }
    }

    /// Starts the thread, which waits before the first build; whether that was possible.
    fn start(&self, folder: PathBuf, wait: Duration) -> bool {
        let works = Arc::clone(&self.works);
        let work = move || {
            if works.pause(wait) {
                works.work(&folder);
            }
        };
        match std::thread::Builder::new().name("plans".into()).spawn(work) {
            Ok(thread) => {
                if let Some(before) = lock(&self.thread).replace(thread) {
                    let _ = before.join(); // it is at its end
                }
                true
            }
            Err(error) => {
                tracing::error!("no thread to build plans on: {error}");
                false
            }
        }
    }

    /// Builds and brings nothing from now on; whoever waits learns that.
    pub fn stop(&self) {
        self.works.ended.store(true, Ordering::Release);
        lock(&self.works.orders).waiting.clear();
        if let Some(thread) = &*lock(&self.thread) {
            thread.thread().unpark();
        }
    }
}

impl Drop for Rebuilder {
    fn drop(&mut self) {
        self.stop();
        // A plan that is being loaded would else be in the driver's hands while the process ends.
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }
}

impl Works {
    /// Builds until everything is built that can be, or nobody wants it any more.
    fn work(&self, folder: &Path) {
        let mut backoff = self.backoff.clone();
        loop {
            let outcome = (self.build)(folder, &|| self.is_wanted());
            let unbuilt = outcome.as_ref().is_err_and(|why| why.lacking);
            if let Err(Unbuilt { reason, .. }) = outcome
                && self.is_wanted()
            {
                let then = if unbuilt { " until that is tried again" } else { "" };
                tracing::error!("the plans were not built, so what serves now goes on{then}: {reason}");
            }
            let waiting = std::mem::take(&mut lock(&self.orders).waiting);
            let mut left = self.deliver(waiting);
            // A good plan may find too little memory as well.
            if !unbuilt {
                let lacks = |(_, fault): &(Waiting, EngineError)| fault.passing();
                let (lacking, others): (Vec<_>, Vec<_>) = left.into_iter().partition(lacks);
                others.into_iter().for_each(|(_, fault)| tracing::error!("{fault}"));
                left = lacking;
            }
            {
                let mut orders = lock(&self.orders);
                orders.waiting.extend(left.into_iter().map(|(waiting, _)| waiting));
                orders.busy = unbuilt || !orders.waiting.is_empty();
                if !orders.busy {
                    return;
                }
            }
            if !self.pause(backoff.next(fastrand::f64())) {
                return;
            }
        }
    }

    /// Sends the graphs whose plans are good now; gives those whose are not. Nothing is loaded, or tried again, for a graph
    /// that is gone, as that of texts is once they are read.
    fn deliver(&self, waiting: Vec<Waiting>) -> Vec<(Waiting, EngineError)> {
        let mut left = Vec::new();
        for waiting in waiting.into_iter().filter(|waiting| self.is_wanted() && waiting.is_wanted()) {
            match (self.load)(&waiting.file) {
                Ok(graph) => drop(waiting.sender.send(graph)),
                Err(fault) => left.push((waiting, fault)),
            }
        }
        left
    }

    /// Waits before the next try; `false` when there is nobody to try it for.
    fn pause(&self, wait: Duration) -> bool {
        let began = Instant::now();
        while self.is_wanted() {
            let left = wait.saturating_sub(began.elapsed());
            if left.is_zero() {
                return true;
            }
            std::thread::park_timeout(left);
        }
        *lock(&self.orders) = Orders::default();
        false
    }

    fn is_wanted(&self) -> bool {
        !self.ended.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tensorrt::TensorRtError;
    use crate::engine::{Input, Port, Tensor};

    struct Nothing;

    impl Graph for Nothing {
        fn inputs(&self) -> &[Port] {
            &[]
        }

        fn outputs(&self) -> &[Port] {
            &[]
        }

        fn run(&mut self, _: &[(&str, Input<'_>)]) -> Result<Vec<Tensor>, EngineError> {
            Ok(Vec::new())
        }
    }

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
            true => Ok(Box::new(Nothing) as Box<dyn Graph>),
            false => Err(fault(file)),
        };
        let backoff = Backoff::new(Duration::ZERO, Duration::ZERO);
        Rebuilder::patient(Box::new(build), Box::new(load), backoff)
    }

    fn unbuilt(lacking: bool) -> Result<(), Unbuilt> {
        Err(Unbuilt { reason: "it failed".into(), lacking })
    }

    #[test]
    fn a_build_that_lacked_memory_is_tried_again_and_any_other_is_not() {
        let (began, builds) = channel();
        let rebuilder = rebuilder(began, 3);
        let order = rebuilder.order("image.onnx".as_ref(), Duration::ZERO);
        for outcome in [unbuilt(true), unbuilt(true), Ok(())] {
            builds.recv().expect("a build").send(outcome).expect("it waits");
        }
        assert!(order.graph.recv().is_ok(), "the plan of the third is good");
        let order = rebuilder.order("audio.onnx".as_ref(), Duration::ZERO);
        builds.recv().expect("a build").send(unbuilt(false)).expect("it waits");
        assert!(order.graph.recv().is_ok(), "what is good is brought even so");
    }

    #[test]
    fn a_good_plan_that_found_too_little_memory_is_tried_again() {
        let (began, builds) = channel();
        let full = |_: &Path| EngineError::TensorRt(TensorRtError::Memory { doing: "allocating memory" });
        let rebuilder = rebuilder_with(began, 3, full);
        let order = rebuilder.order("image.onnx".as_ref(), Duration::ZERO);
        for _ in 0..3 {
            builds.recv().expect("a build").send(Ok(())).expect("it waits");
        }
        assert!(order.graph.recv().is_ok(), "there is memory by then");
    }

    #[test]
    fn a_good_plan_that_nobody_waits_for_any_more_is_not_tried_again() {
        let (began, builds) = channel();
        let full = |_: &Path| EngineError::TensorRt(TensorRtError::Memory { doing: "allocating memory" });
        let rebuilder = rebuilder_with(began, usize::MAX, full);
        drop(rebuilder.order("text.onnx".as_ref(), Duration::ZERO));
        builds.recv().expect("a build").send(Ok(())).expect("it waits");
        let again = builds.recv_timeout(Duration::from_millis(500));
        assert!(again.is_err(), "the plan is built, and nobody wants its graph");
        // Whoever comes later begins anew.
        let _order = rebuilder.order("image.onnx".as_ref(), Duration::ZERO);
        builds.recv().expect("a build").send(Ok(())).expect("it waits");
        assert!(builds.recv().is_ok(), "it is waited for, and tried again");
    }

    #[test]
    fn what_fails_for_good_is_given_up() {
        let (began, builds) = channel();
        let rebuilder = rebuilder(began, usize::MAX);
        let order = rebuilder.order("image.onnx".as_ref(), Duration::ZERO);
        builds.recv().expect("a build").send(unbuilt(false)).expect("it waits");
        assert!(order.graph.recv().is_err() && builds.try_recv().is_err());
    }

    #[test]
    fn a_build_goes_on_without_who_ordered_it_but_not_without_any_user() {
        let (began, builds) = channel();
        let rebuilder = rebuilder(began, 1);
        drop(rebuilder.order("text.onnx".as_ref(), Duration::ZERO));
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
        let order = rebuilder.order("image.onnx".as_ref(), Duration::from_secs(3600));
        assert!(builds.recv_timeout(Duration::from_millis(100)).is_err(), "it is too early");
        drop(rebuilder);
        assert!(order.graph.recv().is_err() && builds.try_recv().is_err());
    }

    #[test]
    fn once_it_is_stopped_nothing_is_built_for_those_who_wait_or_come_later() {
        let (began, builds) = channel();
        let rebuilder = rebuilder(began, usize::MAX);
        let order = rebuilder.order("image.onnx".as_ref(), Duration::ZERO);
        let _end = builds.recv().expect("a build");
        rebuilder.stop();
        assert!(order.graph.recv().is_err(), "it waits for nothing");
        assert!(rebuilder.order("audio.onnx".as_ref(), Duration::ZERO).graph.recv().is_err());
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
            Ok(Box::new(Nothing) as Box<dyn Graph>)
        };
        let (go, wait) = channel();
        let wait = Mutex::new(wait);
        let build = move |_: &Path, _: &dyn Fn() -> bool| {
            lock(&wait).recv().expect("a test that goes on");
            Ok(())
        };
        let rebuilder = Rebuilder::new(Box::new(build), Box::new(load));
        let _orders = ["image.onnx", "audio.onnx"].map(|file| rebuilder.order(file.as_ref(), Duration::ZERO));
        go.send(()).expect("it builds");
        loads.recv().expect("it loads");
        drop(rebuilder);
        assert_eq!(*lock(&loaded), 1, "the first was not waited for, or the second was loaded");
    }
}
