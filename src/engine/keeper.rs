//! TensorRT as a service keeps it: what the GPU cannot run, the CPU engine runs, and plans that are no
//! longer good are built again meanwhile, if the policy lets it; those that lacked memory are loaded again,
//! and built to ask for less if they find none again.
//!
//! A [`Rebuilder`] has plans built somewhere else until they are good; then each waiting graph is
//! exchanged between two runs. Until then the last good plan serves, or the CPU engine.

mod rebuilder;

use std::path::{Path, PathBuf};
use std::sync::mpsc::TryRecvError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::rebuilder::{Cure, Delivery, Order, PATIENCE, Rebuilder};
use super::tensorrt::{TensorRt, TensorRtError};
use super::{CPU, Engine, EngineError, GpuTime, Graph, Input, Port, Tensor, Value, Wanted, pick, together};
use crate::backoff::Backoff;
use crate::clock::Instant;
use crate::config::{Lost, Rebuild};

pub use self::rebuilder::{Build, Job, Unbuilt};

/// Keeps TensorRT going.
pub(super) struct Keeper {
    gpu: Arc<TensorRt>,
    spare: Option<Arc<dyn Engine>>,
    policy: Policy,
    /// Held by every graph, too: without any of them no plan is wanted.
    rebuilder: Option<Arc<Rebuilder>>,
    /// The graphs that TensorRT did not load as it should.
    faults: Mutex<Vec<Fault>>,
    /// What runs the graphs that were loaded.
    engines: Mutex<Vec<&'static str>>,
}

/// Why a graph is not the plan that was asked for.
struct Fault {
    file: PathBuf,
    told: String,
    /// A good plan serves that was only built with other settings.
    serves: bool,
}

/// What the configuration wants done about trouble.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    /// Nothing but TensorRT will do.
    pub only_gpu: bool,
    pub rebuild: Rebuild,
    pub lost: Lost,
}

impl Keeper {
    /// Looks after `gpu`; `spare` runs what it cannot, and `build` mends plans if the policy lets it.
    pub(super) fn new(
        gpu: TensorRt,
        spare: Option<Arc<dyn Engine>>,
        policy: Policy,
        build: Option<Build>,
    ) -> Self {
        let gpu = Arc::new(gpu);
        let rebuilder = build.map(|build| {
            let loads = Arc::clone(&gpu);
            let load = move |file: &Path| match loads.load(file) {
                Err(EngineError::TensorRt(fault))
                    if fault.of_settings() && policy.rebuild == Rebuild::Never =>
                {
                    Ok(loads.last_good(file)?)
                }
                loaded => loaded,
            };
            // Without leave to build, a plan that lacked memory is loaded again all the same.
            let build = (policy.rebuild == Rebuild::Auto).then_some(build);
            Arc::new(Rebuilder::new(build, Box::new(load)))
        });
        Self { gpu, spare, policy, rebuilder, faults: Mutex::default(), engines: Mutex::default() }
    }

    /// The plan of `file` although it was built with other settings, for a service; or why not, if that may pass.
    fn last_good(&self, file: &Path, fault: TensorRtError) -> (Option<Box<dyn Graph>>, TensorRtError) {
        if !fault.of_settings() || self.rebuilder.is_none() {
            return (None, fault);
        }
        match self.gpu.last_good(file) {
            Ok(graph) => (Some(graph), fault),
            Err(passing) if passing.passing() => (None, passing),
            Err(_) => (None, fault),
        }
    }

    /// Something that runs `file` although its plan has a fault.
    fn stand_in(&self, file: &Path, fault: TensorRtError) -> Result<Serving, EngineError> {
        let (last_good, fault) = self.last_good(file, fault);
        let builds = self.policy.rebuild == Rebuild::Auto;
        let cure = match fault.out_of_memory() {
            true => Some(Cure::Load),
            false => (builds && fault.cured_by_building()).then_some(Cure::Build),
        };
        let rebuilder = self.rebuilder.as_ref().filter(|rebuilder| rebuilder.goes_on());
        let mends = cure.zip(rebuilder);
        let stands_in = !self.policy.only_gpu || (builds && mends.is_some());
        let spare = self.spare.as_ref().filter(|_| stands_in);
        let serves = last_good.is_some();
        let (graph, who) = match (last_good, spare) {
            (Some(graph), _) => (graph, "the last good plan"),
            (None, Some(spare)) => (spare.load(file)?, "the CPU engine"),
            (None, None) => return Err(fault.into()),
        };
        let told = fault.of_plan(file);
        self.note(Fault { file: file.to_owned(), told: told.clone(), serves });
        let mut serving = self.serving(file, graph);
        serving.trouble = Some(format!("{told}; {who} serves"));
        serving.better = mends.and_then(|(cure, rebuilder)| rebuilder.order(file, cure, PATIENCE));
        match cure.filter(|_| serving.better.is_some()) {
            Some(cure) => {
                let cure = if cure == Cure::Load { "Tried again" } else { "Being built" };
                tracing::warn!("{told}. {cure} in the background; {who} serves meanwhile");
            }
            None => tracing::warn!("{told}; {who} serves"),
        }
        Ok(serving)
    }

    /// Keeps a fault to tell of; the same graph may be loaded twice.
    fn note(&self, fault: Fault) {
        let mut faults = lock(&self.faults);
        match faults.iter_mut().find(|other| other.file == fault.file) {
            Some(other) => *other = fault,
            None => faults.push(fault),
        }
    }

    fn serving(&self, file: &Path, graph: Box<dyn Graph>) -> Serving {
        lock(&self.engines).push(graph.engine());
        Serving::new(file, graph, self.spare.clone(), self.policy, self.rebuilder.clone())
    }
}

impl Engine for Keeper {
    fn name(&self) -> &'static str {
        self.gpu.name()
    }

    fn describe(&self) -> String {
        let (engines, target) = (lock(&self.engines).clone(), self.gpu.target());
        match (together(engines), self.trouble()) {
            (CPU, None) => self.gpu.describe(), // nothing was loaded yet
            (CPU, Some(trouble)) => format!("{CPU}, although there is {target}; {trouble}"),
            (runs, None) => format!("{runs}, {target}, because every plan is good"),
            (runs, Some(trouble)) => format!("{runs}, {target}; {trouble}"),
        }
    }

    fn trouble(&self) -> Option<String> {
        let faults = lock(&self.faults);
        let (serve, unused): (Vec<_>, Vec<_>) = faults.iter().partition(|fault| fault.serves);
        match (&*unused, &*serve) {
            ([first, ..], _) => Some(format!("{} of its plans not in use: {}", unused.len(), first.told)),
            ([], [first, ..]) => {
                Some(format!("{} of its plans built with other settings: {}", serve.len(), first.told))
            }
            ([], []) => None,
        }
    }

    fn load(&self, file: &Path) -> Result<Box<dyn Graph>, EngineError> {
        match self.gpu.load(file) {
            Ok(graph) => Ok(Box::new(self.serving(file, graph))),
            Err(EngineError::TensorRt(fault)) => Ok(Box::new(self.stand_in(file, fault)?)),
            Err(other) => Err(other),
        }
    }
}

/// So many runs on the plan end the stay of a graph that ran what the plan takes no such shapes for: making another takes
/// long, keeping it much memory.
const KEPT: u32 = 1000;

/// What runs inputs of shapes that the plan does not take.
struct Aside {
    graph: Box<dyn Graph>,
    /// Where it has each of the outputs that were promised.
    places: Vec<usize>,
    trouble: String,
    /// Runs on the plan since its last.
    idle: u32,
}

/// A graph that may be exchanged between two runs.
struct Serving {
    file: PathBuf,
    graph: Box<dyn Graph>,
    /// Since when it serves.
    since: Instant,
    /// Who runs what the plan takes no such shapes for.
    aside: Option<Aside>,
    /// The outputs as they were promised.
    outputs: Vec<Port>,
    /// Where `graph` has each of them.
    places: Vec<usize>,
    /// Where a better graph will come from.
    better: Option<Order>,
    /// Who goes on when the GPU cannot.
    spare: Option<Arc<dyn Engine>>,
    policy: Policy,
    /// Why `graph` is not the plan on the GPU.
    trouble: Option<String>,
    rebuilder: Option<Arc<Rebuilder>>,
    /// How long a plan for which memory ran out at work is left alone.
    patience: Backoff,
}

impl Serving {
    fn new(
        file: &Path,
        graph: Box<dyn Graph>,
        spare: Option<Arc<dyn Engine>>,
        policy: Policy,
        rebuilder: Option<Arc<Rebuilder>>,
    ) -> Self {
        Self {
            file: file.to_owned(),
            outputs: graph.outputs().to_vec(),
            places: (0..graph.outputs().len()).collect(),
            graph,
            since: now(rebuilder.as_deref()),
            aside: None,
            better: None,
            spare,
            policy,
            trouble: None,
            rebuilder,
            patience: PATIENCE,
        }
    }

    /// Changes over to `graph`, unless it lacks an output.
    fn exchange(&mut self, graph: Box<dyn Graph>) -> bool {
        let Some(places) = places(&self.outputs, graph.as_ref()) else {
            tracing::error!("{}: the new plan lacks an output and is not used", self.file.display());
            return false;
        };
        (self.graph, self.places, self.aside) = (graph, places, None);
        self.since = now(self.rebuilder.as_deref());
        true
    }

    fn take_delivery(&mut self) {
        let Some(better) = &self.better else { return };
        match better.try_recv() {
            Ok(Delivery { graph, patience }) => {
                (self.better, self.patience) = (None, patience);
                if self.exchange(graph) {
                    self.trouble = None;
                    tracing::info!("{}: the new plan is in use", self.file.display());
                }
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => self.better = None,
        }
    }

    /// Has the CPU go on after a fault of the GPU, unless the policy wants that told; whether it does. What memory was
    /// lacking for is tried again later; a GPU that failed is none any more for this process.
    fn go_on(&mut self, fault: &EngineError) -> Result<bool, EngineError> {
        let EngineError::Lost { lacking, .. } = fault else { return Ok(false) };
        if let Some(rebuilder) = self.rebuilder.as_ref().filter(|_| !lacking) {
            rebuilder.stop();
        }
        let spare = self.spare.clone().filter(|_| self.policy.lost == Lost::Cpu);
        let Some(spare) = spare else { return Ok(false) };
        self.better = self.rebuilder.as_ref().filter(|_| *lacking).and_then(|rebuilder| {
            self.patience.calm(rebuilder.now().since(self.since));
            rebuilder.order(&self.file, Cure::Less, self.patience.clone())
        });
        let then = if self.better.is_some() { ", and the plan is tried again in the background" } else { "" };
        let trouble = format!("{fault}; the {} engine goes on{then}", spare.name());
        tracing::error!("{trouble}");
        self.trouble = Some(trouble);
        let graph = spare.load(&self.file)?;
        Ok(self.exchange(graph))
    }

    /// Does `work` on the CPU, as the plan takes no inputs of such shapes; the next may be the GPU's again.
    fn beside<T>(
        &mut self,
        fault: EngineError,
        mut work: impl FnMut(&mut dyn Graph, &mut Vec<T>) -> Result<(), EngineError>,
        outputs: &mut Vec<T>,
    ) -> Result<(), EngineError> {
        let spare = self.spare.as_ref().filter(|_| !self.policy.only_gpu);
        let Some(spare) = spare else { return Err(fault) };
        let trouble = format!("{fault}; for such inputs the {} engine goes on", spare.name());
        let aside = match &mut self.aside {
            Some(aside) => aside,
            none => {
                tracing::error!("{trouble}");
                let graph = spare.load(&self.file)?;
                let places = places(&self.outputs, graph.as_ref()).unwrap_or_default();
                none.insert(Aside { graph, places, trouble: String::new(), idle: 0 })
            }
        };
        (aside.trouble, aside.idle) = (trouble, 0);
        work(aside.graph.as_mut(), outputs)?;
        pick(outputs, &aside.places);
        Ok(())
    }

    /// Does `work` on the graph; where the GPU fails or the plan takes no such shapes, again on the CPU.
    fn through<T>(
        &mut self,
        mut work: impl FnMut(&mut dyn Graph, &mut Vec<T>) -> Result<(), EngineError>,
        outputs: &mut Vec<T>,
    ) -> Result<(), EngineError> {
        self.take_delivery();
        match work(self.graph.as_mut(), outputs) {
            Err(fault @ EngineError::Outside { .. }) => return self.beside(fault, work, outputs),
            Err(fault) if self.go_on(&fault)? => work(self.graph.as_mut(), outputs)?,
            outcome => outcome?,
        }
        if let Some(aside) = &mut self.aside {
            aside.idle += 1;
        }
        self.aside.take_if(|aside| aside.idle >= KEPT);
        pick(outputs, &self.places);
        Ok(())
    }
}

/// Now, where somebody counts the time for which a graph served.
fn now(rebuilder: Option<&Rebuilder>) -> Instant {
    rebuilder.map_or(Instant::ZERO, Rebuilder::now)
}

/// Where `graph` has each of the outputs that were promised; `None` if it lacks one.
fn places(promised: &[Port], graph: &dyn Graph) -> Option<Vec<usize>> {
    let place = |port: &Port| graph.outputs().iter().position(|own| own.name == port.name);
    promised.iter().map(place).collect()
}

impl Graph for Serving {
    fn inputs(&self) -> &[Port] {
        self.graph.inputs()
    }

    fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    fn take_gpu_time(&mut self) -> Option<GpuTime> {
        self.graph.take_gpu_time()
    }

    fn trouble(&self) -> Option<&str> {
        let aside = self.aside.as_ref().filter(|aside| aside.idle == 0);
        aside.map(|aside| aside.trouble.as_str()).or(self.trouble.as_deref())
    }

    fn engine(&self) -> &'static str {
        self.graph.engine()
    }

    fn runs_beside(&self) -> bool {
        self.graph.runs_beside()
    }

    fn read(&mut self, outputs: &[Value], tensors: &mut [Tensor]) -> Result<(), EngineError> {
        match self.graph.read(outputs, tensors) {
            // What was being computed is lost with the GPU, and only that.
            Err(fault) if self.go_on(&fault)? => Err(EngineError::Gone(fault.to_string())),
            outcome => outcome,
        }
    }

    fn repeat(&mut self, times: u32) -> Result<Option<Duration>, EngineError> {
        self.graph.repeat(times)
    }

    fn one_thread(&mut self, one: bool) -> Result<bool, EngineError> {
        self.graph.one_thread(one)
    }

    fn run(&mut self, inputs: &[(&str, Input<'_>)]) -> Result<Vec<Tensor>, EngineError> {
        let mut outputs = Vec::new();
        let run = |graph: &mut dyn Graph, outputs: &mut Vec<_>| {
            *outputs = graph.run(inputs)?;
            Ok(())
        };
        self.through(run, &mut outputs)?;
        Ok(outputs)
    }

    fn start(
        &mut self,
        inputs: &[(&str, Input<'_>)],
        wanted: Wanted,
        outputs: &mut Vec<Value>,
    ) -> Result<(), EngineError> {
        self.through(|graph, outputs| graph.start(inputs, wanted, outputs), outputs)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::rebuilder::tests::Simulated;

    /// A plan that fails with what `fails` says of a run, and a CPU that does not.
    struct Plan<F>(F);

    impl<F: FnMut() -> Option<EngineError> + Send> Graph for Plan<F> {
        fn inputs(&self) -> &[Port] {
            &[]
        }

        fn outputs(&self) -> &[Port] {
            &[]
        }

        fn engine(&self) -> &'static str {
            crate::engine::TENSORRT
        }

        fn run(&mut self, _: &[(&str, Input<'_>)]) -> Result<Vec<Tensor>, EngineError> {
            self.0().map_or(Ok(Vec::new()), Err)
        }
    }

    /// A graph with nothing to compute, and the engine on the CPU that has such.
    pub(super) struct Idle;

    impl Graph for Idle {
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

    impl Engine for Idle {
        fn name(&self) -> &'static str {
            CPU
        }

        fn load(&self, _: &Path) -> Result<Box<dyn Graph>, EngineError> {
            Ok(Box::new(Self))
        }
    }

    fn lost(lacking: bool) -> EngineError {
        EngineError::Lost { file: "image.onnx".into(), reason: "it failed".into(), lacking }
    }

    /// What builds nothing, and how often it did.
    fn counted() -> (Build, Arc<AtomicUsize>) {
        let builds = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&builds);
        let build = move |_: &Job<'_>, _: &dyn Fn() -> bool| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        (Box::new(build), builds)
    }

    /// How long a graph that must come may take on a busy machine.
    const PATIENT: Duration = Duration::from_secs(10);

    /// A graph on the GPU with the faults of its first runs, and a count of the builds since; nobody waits for real.
    fn serving(faults: Vec<EngineError>) -> (Serving, Arc<AtomicUsize>) {
        serving_in(&Simulated::new(0.0), faults)
    }

    /// The same, in time as `pace` has it.
    fn serving_in(pace: &Arc<Simulated>, mut faults: Vec<EngineError>) -> (Serving, Arc<AtomicUsize>) {
        let (build, builds) = counted();
        let load = |_: &Path| Ok(Box::new(Plan(|| None)) as Box<dyn Graph>);
        let rebuilder = Rebuilder::at(Some(build), Box::new(load), Box::new(Arc::clone(pace)));
        let policy = Policy { only_gpu: false, rebuild: Rebuild::Auto, lost: Lost::Cpu };
        let plan = Plan(move || (!faults.is_empty()).then(|| faults.remove(0)));
        let (file, rebuilder) = ("image.onnx".as_ref(), Some(Arc::new(rebuilder)));
        (Serving::new(file, Box::new(plan), Some(Arc::new(Idle)), policy, rebuilder), builds)
    }

    /// Runs until the graph is on the GPU, for `most`; whether it comes.
    fn comes_back(serving: &mut Serving, most: Duration) -> bool {
        (0..most.as_millis() / 10).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            serving.run(&[]).is_ok() && serving.engine() == crate::engine::TENSORRT
        })
    }

    #[test]
    fn a_plan_that_memory_ran_out_for_comes_back_however_often_that_is() {
        let (mut serving, builds) = serving(vec![lost(true)]);
        for time in 1..=2 {
            assert!(serving.run(&[]).is_ok() && serving.engine() == CPU, "{time}");
            assert!(serving.trouble().is_some_and(|told| told.contains("tried again")), "{time}");
            assert!(comes_back(&mut serving, PATIENT) && serving.trouble().is_none(), "{time}");
            assert_eq!(builds.load(Ordering::Relaxed), 0, "it was good all the time");
            let mut again = vec![lost(true)];
            serving.graph = Box::new(Plan(move || again.pop()));
        }
    }

    #[test]
    fn a_plan_that_served_for_long_is_tried_again_soon() {
        let pace = Simulated::new(0.0);
        let (mut serving, _) = serving_in(&pace, vec![]);
        let mut shortage = |after| {
            pace.pass(after);
            let mut fault = vec![lost(true)];
            serving.graph = Box::new(Plan(move || fault.pop()));
            let began = pace.passed();
            assert!(serving.run(&[]).is_ok() && comes_back(&mut serving, PATIENT));
            (pace.passed() - began).as_secs()
        };
        let [soon, long] = [Duration::ZERO, Duration::from_secs(3601)];
        assert_eq!([soon, soon, long, soon].map(&mut shortage), [30, 60, 30, 60]);
    }

    #[test]
    fn a_gpu_that_failed_is_not_tried_again_by_anybody() {
        let (mut serving, _) = serving(vec![lost(false)]);
        // One that pauses for real: in simulated time the other graph would come before the GPU fails.
        let load = |_: &Path| Ok(Box::new(Plan(|| None)) as Box<dyn Graph>);
        let (build, builds) = counted();
        let rebuilder = Arc::new(Rebuilder::new(Some(build), Box::new(load)));
        serving.rebuilder = Some(Arc::clone(&rebuilder));
        let other = rebuilder.order("audio.onnx".as_ref(), Cure::Less, PATIENCE).expect("it goes on");
        assert!(serving.run(&[]).is_ok() && serving.engine() == CPU);
        assert!(serving.trouble().is_some_and(|told| !told.contains("tried again")));
        // Nor is it promised to another graph that memory runs out for meanwhile.
        let (mut beside, _) = self::serving(vec![lost(true)]);
        beside.rebuilder = Some(rebuilder);
        assert!(beside.run(&[]).is_ok() && beside.engine() == CPU);
        assert!(beside.trouble().is_some_and(|told| !told.contains("tried again")));
        assert!(matches!(other.try_recv(), Err(TryRecvError::Disconnected)), "another graph waits for ever");
        assert!(serving.better.is_none(), "it waits for what never comes");
        assert!(!comes_back(&mut serving, Duration::from_secs(1)));
        assert_eq!(builds.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn one_run_outside_the_profile_leaves_the_next_to_the_gpu() {
        let outside = || EngineError::Outside {
            file: "image.onnx".into(),
            reason: "it is too large".into(),
            inputs: "image [9]".into(),
        };
        let (mut serving, builds) = serving(vec![outside(), outside()]);
        for _ in 0..2 {
            assert!(serving.run(&[]).is_ok());
            assert_eq!(serving.engine(), crate::engine::TENSORRT);
            let told = serving.trouble().expect("it is told");
            assert!(told.contains("for such inputs the cpu engine goes on"), "{told}");
        }
        assert!(serving.run(&[]).is_ok() && serving.trouble().is_none(), "the plan ran");
        assert!(serving.aside.is_some(), "there may be more such");
        for _ in 1..KEPT {
            assert!(serving.run(&[]).is_ok());
        }
        assert!(serving.aside.is_none(), "it is kept for ever");
        assert_eq!(builds.load(Ordering::Relaxed), 0, "another plan would take no more");
        serving.policy.only_gpu = true;
        serving.graph = Box::new(Plan(move || Some(outside())));
        assert!(matches!(serving.run(&[]), Err(EngineError::Outside { .. })));
    }
}
