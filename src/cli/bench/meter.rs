//! What work costs: processor time, memory, and the calls of an engine.

use std::ops::Add;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::engine::{Engine, EngineError, GpuTime, Graph, Input, Port, Tensor, Value, Wanted};

/// Processor time of all threads of this process so far.
pub(super) fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The most memory this process ever held, in megabytes; `None` where the system does not tell.
pub(super) fn peak_rss() -> Option<f64> {
    megabytes("VmHWM:")
}

/// The memory this process holds now, in megabytes; `None` where the system does not tell.
pub(super) fn rss() -> Option<f64> {
    megabytes("VmRSS:")
}

fn megabytes(key: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok().map(|kib| kib * 1024.0 / 1e6)
}

/// Wall and processor time between two moments.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cost {
    pub wall: Duration,
    pub cpu: Duration,
}

impl Add for Cost {
    type Output = Cost;
    fn add(self, other: Cost) -> Cost {
        Cost { wall: self.wall + other.wall, cpu: self.cpu + other.cpu }
    }
}

/// A moment on both clocks.
pub(super) struct Mark(Instant, Duration);

impl Mark {
    pub fn now() -> Self {
        Self(Instant::now(), cpu())
    }

    /// What was spent since.
    pub fn cost(&self) -> Cost {
        Cost { wall: self.0.elapsed(), cpu: cpu().saturating_sub(self.1) }
    }
}

/// What the calls of one graph cost in all.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Calls {
    pub count: u64,
    pub cost: Cost,
}

/// The calls of every graph, by file name.
pub(super) type Tally = Arc<Mutex<Vec<(String, Calls)>>>;

/// An engine whose calls are counted. Nothing else may run in the process meanwhile: processor time is
/// the whole process's, since an engine has threads of its own.
pub(super) struct Metered {
    inner: Arc<dyn Engine>,
    tally: Tally,
}

impl Metered {
    pub fn new(inner: Arc<dyn Engine>) -> (Self, Tally) {
        let tally = Tally::default();
        (Self { inner, tally: Arc::clone(&tally) }, tally)
    }
}

impl Engine for Metered {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn load(&self, file: &Path) -> Result<Box<dyn Graph>, EngineError> {
        Ok(self.metered(file, self.inner.load(file)?))
    }
}

impl Metered {
    fn metered(&self, file: &Path, graph: Box<dyn Graph>) -> Box<dyn Graph> {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.push((name, Calls::default()));
        Box::new(MeteredGraph { graph, place: tally.len() - 1, tally: Arc::clone(&self.tally) })
    }
}

struct MeteredGraph {
    graph: Box<dyn Graph>,
    tally: Tally,
    place: usize,
}

impl Graph for MeteredGraph {
    fn inputs(&self) -> &[Port] {
        self.graph.inputs()
    }

    fn outputs(&self) -> &[Port] {
        self.graph.outputs()
    }

    fn take_gpu_time(&mut self) -> Option<GpuTime> {
        self.graph.take_gpu_time()
    }

    fn trouble(&self) -> Option<&str> {
        self.graph.trouble()
    }

    fn engine(&self) -> &'static str {
        self.graph.engine()
    }

    fn one_thread(&mut self, one: bool) -> Result<bool, EngineError> {
        self.graph.one_thread(one)
    }

    fn repeat(&mut self, times: u32) -> Result<Option<Duration>, EngineError> {
        self.graph.repeat(times)
    }

    fn run(&mut self, inputs: &[(&str, Input<'_>)]) -> Result<Vec<Tensor>, EngineError> {
        self.metered(|graph| graph.run(inputs))
    }

    fn start(
        &mut self,
        inputs: &[(&str, Input<'_>)],
        wanted: Wanted,
        outputs: &mut Vec<Value>,
    ) -> Result<(), EngineError> {
        self.metered(|graph| graph.start(inputs, wanted, outputs))
    }

    fn runs_beside(&self) -> bool {
        self.graph.runs_beside()
    }

    fn read(&mut self, outputs: &[Value], tensors: &mut [Tensor]) -> Result<(), EngineError> {
        let began = Mark::now();
        let read = self.graph.read(outputs, tensors);
        self.note(0, began.cost());
        read
    }
}

impl MeteredGraph {
    fn metered<T>(&mut self, work: impl FnOnce(&mut dyn Graph) -> T) -> T {
        let began = Mark::now();
        let outputs = work(self.graph.as_mut());
        self.note(1, began.cost());
        outputs
    }

    fn note(&self, runs: u64, cost: Cost) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = &mut tally[self.place].1;
        calls.count += runs;
        calls.cost = calls.cost + cost;
    }
}
