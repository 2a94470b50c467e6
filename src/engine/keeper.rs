//! TensorRT as a service keeps it: what the GPU cannot run, the CPU engine runs, and plans that are no
//! longer good are built again meanwhile.
//!
//! A [`Rebuilder`] has plans built somewhere else until they are good; then each waiting graph is
//! exchanged between two runs. Until then the last good plan serves, or the CPU engine.

mod rebuilder;

use std::path::{Path, PathBuf};
use std::sync::mpsc::TryRecvError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::rebuilder::{Order, Rebuilder};
use super::tensorrt::{PlanFault, TensorRt, TensorRtError};
use super::{CPU, Engine, EngineError, GpuTime, Graph, Input, Port, Tensor, Value, Wanted, together};
use crate::config::{Lost, Rebuild};

pub use self::rebuilder::{Build, Unbuilt};

/// Keeps TensorRT going.
pub(super) struct Keeper {
    gpu: Arc<TensorRt>,
    spare: Option<Arc<dyn Engine>>,
    policy: Policy,
    rebuilder: Option<Arc<Rebuilder>>,
    /// Held by every graph, too: without any of them no plan is wanted.
    user: Arc<()>,
    /// Why graphs were not loaded by TensorRT.
    faults: Mutex<Vec<String>>,
    /// What runs the graphs that were loaded.
    engines: Mutex<Vec<&'static str>>,
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
        let build = build.filter(|_| policy.rebuild == Rebuild::Auto);
        let loads = Arc::clone(&gpu);
        let load = move |file: &Path| loads.load(file);
        let user = Arc::new(());
        let users = Arc::downgrade(&user);
        let rebuilder = build.map(|build| Arc::new(Rebuilder::new(build, Box::new(load), users)));
        Self { gpu, spare, policy, rebuilder, user, faults: Mutex::default(), engines: Mutex::default() }
    }

    /// Something that runs `file` although its plan has a fault.
    fn stand_in(&self, file: &Path, fault: TensorRtError) -> Result<Serving, EngineError> {
        let lacking = fault.out_of_memory();
        let rebuilder = self.rebuilder.as_ref().filter(|_| fault.cured_by_building() || lacking);
        let spare = self.spare.as_ref().filter(|_| rebuilder.is_some() || !self.policy.only_gpu);
        let last_good = match &fault {
            TensorRtError::Plan(PlanFault::Settings { .. }) if rebuilder.is_some() => {
                self.gpu.last_good(file).ok()
            }
            _ => None,
        };
        let (graph, who) = match (last_good, spare) {
            (Some(graph), _) => (graph, "the last good plan"),
            (None, Some(spare)) => (spare.load(file)?, "the CPU engine"),
            (None, None) => return Err(fault.into()),
        };
        self.note(fault.to_string());
        let mut serving = self.serving(file, graph);
        serving.trouble = Some(format!("{fault}; {who} serves"));
        match rebuilder {
            Some(rebuilder) => {
                let cure = if lacking { "Tried again" } else { "Being built" };
                tracing::warn!("{fault}. {cure} in the background; {who} serves meanwhile");
                serving.better = Some(rebuilder.order(file));
            }
            None => tracing::warn!("{fault}; {who} runs {}", file.display()),
        }
        Ok(serving)
    }

    /// Keeps a fault to tell of; the same graph may be loaded twice.
    fn note(&self, fault: String) {
        let mut faults = lock(&self.faults);
        if !faults.contains(&fault) {
            faults.push(fault);
        }
    }

    fn serving(&self, file: &Path, graph: Box<dyn Graph>) -> Serving {
        lock(&self.engines).push(graph.engine());
        let outputs = graph.outputs().to_vec();
        Serving {
            file: file.to_owned(),
            order: (0..outputs.len()).collect(),
            outputs,
            graph,
            better: None,
            spare: self.spare.clone(),
            policy: self.policy,
            trouble: None,
            user: Arc::clone(&self.user),
        }
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
        faults.first().map(|first| format!("{} of its plans not in use: {first}", faults.len()))
    }

    fn load(&self, file: &Path) -> Result<Box<dyn Graph>, EngineError> {
        match self.gpu.load(file) {
            Ok(graph) => Ok(Box::new(self.serving(file, graph))),
            Err(EngineError::TensorRt(fault)) => Ok(Box::new(self.stand_in(file, fault)?)),
            Err(other) => Err(other),
        }
    }
}

/// A graph that may be exchanged between two runs.
struct Serving {
    file: PathBuf,
    graph: Box<dyn Graph>,
    /// The outputs as they were promised, and where `graph` has each of them.
    outputs: Vec<Port>,
    order: Vec<usize>,
    /// Where a better graph will come from.
    better: Option<Order>,
    /// Who goes on when the GPU cannot.
    spare: Option<Arc<dyn Engine>>,
    policy: Policy,
    /// Why `graph` is not the plan on the GPU.
    trouble: Option<String>,
    #[allow(dead_code, reason = "dropping it is what it is for")]
    user: Arc<()>,
}

impl Serving {
    /// Changes over to `graph`, unless it lacks an output.
    fn exchange(&mut self, graph: Box<dyn Graph>) -> bool {
        let place = |port: &Port| graph.outputs().iter().position(|own| own.name == port.name);
        let order: Option<Vec<usize>> = self.outputs.iter().map(place).collect();
        let Some(order) = order else {
            tracing::error!("{}: the new plan lacks an output and is not used", self.file.display());
            return false;
        };
        (self.graph, self.order) = (graph, order);
        true
    }

    fn take_delivery(&mut self) {
        let Some(better) = &self.better else { return };
        match better.try_recv() {
            Ok(graph) => {
                self.better = None;
                if self.exchange(graph) {
                    self.trouble = None;
                    tracing::info!("{}: the new plan is in use", self.file.display());
                }
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => self.better = None,
        }
    }

    /// Who does again what failed on the GPU: nobody, if the policy wants that told.
    fn stand_in(&mut self, fault: &EngineError) -> Option<Arc<dyn Engine>> {
        let may = match fault {
            EngineError::Lost { .. } => self.policy.lost == Lost::Cpu,
            EngineError::Outside { .. } => !self.policy.only_gpu,
            _ => false,
        };
        if may { self.spare.take() } else { None }
    }

    /// Has the CPU go on after a fault of the GPU; whether it does.
    fn go_on(&mut self, fault: &EngineError) -> Result<bool, EngineError> {
        let Some(spare) = self.stand_in(fault) else { return Ok(false) };
        let trouble = format!("{fault}; the {} engine goes on", spare.name());
        tracing::error!("{trouble}");
        self.trouble = Some(trouble);
        self.better = None;
        let graph = spare.load(&self.file)?;
        Ok(self.exchange(graph))
    }

    /// Does `work` on the graph; where the GPU fails or the plan takes no such shapes, again on the CPU.
    fn through<T>(
        &mut self,
        mut work: impl FnMut(&mut dyn Graph) -> Result<Vec<T>, EngineError>,
    ) -> Result<Vec<T>, EngineError>
    where
        T: Default,
    {
        self.take_delivery();
        let mut all = match work(self.graph.as_mut()) {
            Err(fault) if self.go_on(&fault)? => work(self.graph.as_mut())?,
            outcome => outcome?,
        };
        Ok(self.order.iter().filter_map(|&place| all.get_mut(place).map(std::mem::take)).collect())
    }
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
        self.trouble.as_deref()
    }

    fn engine(&self) -> &'static str {
        self.graph.engine()
    }

    fn runs_beside(&self) -> bool {
        self.graph.runs_beside()
    }

    fn read(&mut self, outputs: Vec<Value>) -> Result<Vec<Tensor>, EngineError> {
        match self.graph.read(outputs) {
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
        self.through(|graph| graph.run(inputs))
    }

    fn start(&mut self, inputs: &[(&str, Input<'_>)], wanted: Wanted) -> Result<Vec<Value>, EngineError> {
        self.through(|graph| graph.start(inputs, wanted))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
