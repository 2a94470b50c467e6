//! Has plans loaded again and built, and brings their graphs to whoever waits for them: the one loop of tries for all that
//! TensorRT runs. Time and chance come from a [`Pace`].

#[cfg(test)]
pub(super) mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use super::lock;
use crate::backoff::Backoff;
use crate::clock::Instant;
use crate::engine::{EngineError, Graph};

/// Builds plans of a model folder, and proves them; returns when the good ones lie in the folder, or says why they do not. It runs on a thread of its own, and may ask whether its plans are still wanted.
pub type Build = Box<dyn Fn(&Job<'_>, &dyn Fn() -> bool) -> Result<(), Unbuilt> + Send + Sync>;

/// What is to be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job<'a> {
    /// The model folder.
    pub folder: &'a Path,
    /// Whether the plans that are missing or not good are.
    pub missing: bool,
    /// ONNX files whose plans are good but found no memory: they are built to ask for less.
    pub less: &'a [PathBuf],
}

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

/// Waits before what memory was lacking for is tried again: from a minute, doubling, to an hour.
pub(super) const PATIENCE: Backoff = Backoff::new(Duration::from_secs(60), Duration::from_secs(3600));

/// How long the thread is waited for at the end.
const ENDING: Duration = Duration::from_secs(5);

/// Time and chance as the loop meets them.
pub(super) trait Pace: Send + Sync {
    /// Now, on a clock that nobody sets.
    fn now(&self) -> Instant;

    /// A random number, 0–1.
    fn chance(&self) -> f64;

    /// Returns after `most`, or earlier.
    fn pause(&self, most: Duration);
}

/// The machine's, from the start of the service on; a pause ends when the thread is woken.
struct Real {
    start: std::time::Instant,
}

impl Pace for Real {
    fn now(&self) -> Instant {
        Instant::ZERO + self.start.elapsed()
    }

    fn chance(&self) -> f64 {
        fastrand::f64()
    }

    fn pause(&self, most: Duration) {
        std::thread::park_timeout(most);
    }
}

/// What an order needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cure {
    /// Its plan is missing or not good: it is built, even if nobody waits for the graph any more.
    Build,
    /// Its plan is good and found no memory.
    Load,
    /// The same, and that is known: if it finds none again, it is built to ask for less.
    Less,
    /// The same, and it was built so in vain: it is only loaded from then on, for a build takes memory, too.
    Spent,
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
    /// None: nothing may be built.
    build: Option<Build>,
    load: Load,
    pace: Box<dyn Pace>,
    ended: AtomicBool,
    orders: Mutex<Orders>,
}

#[derive(Default)]
struct Orders {
    busy: bool,
    waiting: Vec<Waiting>,
}

impl Orders {
    /// Takes an order that is tried at once, unless memory was lacking just now.
    fn take(&mut self, file: &Path, cure: Cure, mut patience: Backoff, pace: &dyn Pace) -> Order {
        let wait = match cure {
            Cure::Build | Cure::Load => Duration::ZERO,
            Cure::Less | Cure::Spent => patience.next(pace.chance()),
        };
        let (sender, graph) = channel();
        let held = Arc::new(());
        let (file, order, due) = (file.to_owned(), Arc::downgrade(&held), pace.now() + wait);
        // What ran out for one graph runs out for the next: one build then serves them all.
        let others = self.waiting.iter_mut().filter(|other| cure == Cure::Less && other.cure == cure);
        others.for_each(|other| other.due = other.due.max(due));
        self.waiting.push(Waiting { file, cure, sender, order, due, patience });
        Order { graph, held }
    }
}

/// Somebody who waits for a graph.
struct Waiting {
    file: PathBuf,
    cure: Cure,
    sender: Sender<Delivery>,
    /// Dead once nobody waits any more.
    order: Weak<()>,
    /// When it is tried.
    due: Instant,
    /// How long it then waits for the next time.
    patience: Backoff,
}

impl Waiting {
    fn is_wanted(&self) -> bool {
        self.order.strong_count() > 0
    }
}

/// A graph that has come.
pub(super) struct Delivery {
    pub graph: Box<dyn Graph>,
    /// How long the next order waits if memory is lacking soon again.
    pub patience: Backoff,
}

/// A graph that will come, as long as this is held.
pub(super) struct Order {
    graph: Receiver<Delivery>,
    #[allow(dead_code, reason = "dropping it is what it is for")]
    held: Arc<()>,
}

impl Order {
    /// The graph, if it has come; [`TryRecvError::Disconnected`] if it never will.
    pub fn try_recv(&self) -> Result<Delivery, TryRecvError> {
        self.graph.try_recv()
    }
}

impl Rebuilder {
    /// Builds whatever was ordered, if it may: a graph that was needed only once, as that of texts, wants its plan too.
    pub fn new(build: Option<Build>, load: Load) -> Self {
        Self::at(build, load, Box::new(Real { start: std::time::Instant::now() }))
    }

    /// The same, in time as `pace` has it.
    pub(super) fn at(build: Option<Build>, load: Load, pace: Box<dyn Pace>) -> Self {
        let works = Works { build, load, pace, ended: AtomicBool::new(false), orders: Mutex::default() };
        Self { works: Arc::new(works), thread: Mutex::default() }
    }

    /// Now, on the clock of its orders.
    pub fn now(&self) -> Instant {
        self.works.pace.now()
    }

    /// Whether it takes orders.
    pub fn goes_on(&self) -> bool {
        self.works.is_wanted()
    }

    /// Orders a good plan of `file`, unless nothing is brought any more. One build serves every order that comes before it
    /// ends.
    pub fn order(&self, file: &Path, cure: Cure, patience: Backoff) -> Option<Order> {
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
        Some(orders.take(file, cure, patience, self.works.pace.as_ref()))
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
            let left = self.turn(folder);
            self.put_back(left);
        }
    }

    /// Tries what is due; gives what is to be tried again.
    fn turn(&self, folder: &Path) -> Vec<Waiting> {
        let (waiting, gone): (Vec<_>, Vec<_>) = self.due().into_iter().partition(Waiting::is_wanted);
        let [mut left, mut unbuilt] = [Vec::new(), Vec::new()];
        // A plan may be good and have lacked nothing but memory: a build would only take more of it.
        for (waiting, fault) in self.deliver(waiting) {
            match waiting.cure {
                _ if !fault.passing() => unbuilt.push(Waiting { cure: Cure::Build, ..waiting }),
                Cure::Less if fault.lacks_memory() && self.build.is_some() => unbuilt.push(waiting),
                _ => left.push(self.told(waiting, &fault)),
            }
        }
        unbuilt.extend(gone.into_iter().filter(|gone| gone.cure == Cure::Build));
        if !unbuilt.is_empty() {
            left.extend(self.build_for(folder, unbuilt));
        }
        left
    }

    /// Builds, and delivers to those and to whoever came meanwhile; gives those for whom memory was lacking.
    fn build_for(&self, folder: &Path, unbuilt: Vec<Waiting>) -> Vec<Waiting> {
        let less = unbuilt.iter().filter(|waiting| waiting.cure == Cure::Less);
        let less: BTreeSet<_> = less.map(|waiting| waiting.file.clone()).collect();
        let less = Vec::from_iter(less);
        let missing = unbuilt.iter().any(|waiting| waiting.cure == Cure::Build);
        let failed = self.build(&Job { folder, missing, less: &less });
        let lacking = failed.as_ref().is_some_and(|why| why.lacking);
        let all = unbuilt.into_iter().chain(self.due());
        let (waiting, gone): (Vec<_>, Vec<_>) = all.partition(Waiting::is_wanted);
        let mut left: Vec<_> = gone.into_iter().filter(|gone| lacking && gone.cure == Cure::Build).collect();
        for (waiting, fault) in self.deliver(waiting) {
            if failed.is_some() && less.contains(&waiting.file) && fault.passing() {
                left.push(Waiting { cure: Cure::Spent, ..waiting });
            } else if fault.passing() {
                left.push(self.told(waiting, &fault));
            } else if lacking {
                left.push(Waiting { cure: Cure::Build, ..waiting });
            } else {
                tracing::error!("{fault}");
            }
        }
        left
    }

    /// Builds, if that may be; why not, if it failed.
    fn build(&self, job: &Job<'_>) -> Option<Unbuilt> {
        let build = self.build.as_ref().filter(|_| self.is_wanted())?;
        let failed = build(job, &|| self.is_wanted()).err()?;
        if self.is_wanted() {
            let then = if failed.lacking { " until that is tried again" } else { "" };
            tracing::error!("the plans were not built, so what serves now goes on{then}: {}", failed.reason);
        }
        Some(failed)
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
                Ok(graph) => drop(waiting.sender.send(Delivery { graph, patience: waiting.patience })),
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
        if matches!(waiting.cure, Cure::Less | Cure::Spent) {
            return waiting;
        }
        if self.is_wanted() {
            tracing::warn!("{}: {fault}. The plan is tried again in the background", waiting.file.display());
        }
        Waiting { cure: Cure::Less, ..waiting }
    }

    /// Has these tried again together, as soon as one of them may be.
    fn put_back(&self, mut left: Vec<Waiting>) {
        let chance = self.pace.chance();
        let waits = left.iter_mut().map(|waiting| waiting.patience.next(chance));
        let Some(wait) = waits.min() else { return };
        let due = self.pace.now() + wait;
        lock(&self.orders).waiting.extend(left.into_iter().map(|waiting| Waiting { due, ..waiting }));
    }

    /// Takes what is to be tried by now.
    fn due(&self) -> Vec<Waiting> {
        let now = self.pace.now();
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
                due.since(self.pace.now())
            };
            if wait.is_zero() {
                return true;
            }
            self.pace.pause(wait);
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
