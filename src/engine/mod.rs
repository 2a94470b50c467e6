//! "Run these named tensors": the only place that knows an inference runtime.
//!
//! A back end is chosen once, by [`choose`] or [`serve`]; everything above speaks to the two narrow
//! traits [`Engine`] (opens graphs) and [`Graph`] (runs one).

mod value;

mod picture;
mod tensor;

mod cpu;

pub mod tensorrt;

mod keeper;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::{self, EngineKind};
use keeper::{Keeper, Policy};
use tensorrt::{Settings, Shelf, TensorRt, TensorRtError};

pub use keeper::{Build, Job, Unbuilt};
pub use picture::{Easel, Layout, Picture};
pub use tensor::Tensor;
pub use value::{Input, Port, Value};

pub(crate) use value::pick;

/// One loaded graph.
pub trait Graph: Send {
    /// The inputs it needs, in its own order.
    fn inputs(&self) -> &[Port];

    /// The outputs it gives, in the order of [`Graph::run`].
    fn outputs(&self) -> &[Port];

    /// Runs the graph on borrowed inputs, matched by name; the outputs come in the graph's order.
    ///
    /// # Errors
    /// When the runtime refuses an input (name, shape) or fails.
    fn run(&mut self, inputs: &[(&str, Input<'_>)]) -> Result<Vec<Tensor>, EngineError>;

    /// Starts a run whose outputs are wanted in that place, later: a GPU is not waited for. They come in place of what
    /// `outputs` held; so a graph on a GPU takes nothing of the heap once it has run like that.
    ///
    /// # Errors
    /// As [`Graph::run`]; what fails on a GPU may show only when the outputs are used.
    fn start(
        &mut self,
        inputs: &[(&str, Input<'_>)],
        _wanted: Wanted,
        outputs: &mut Vec<Value>,
    ) -> Result<(), EngineError> {
        outputs.clear();
        outputs.extend(self.run(inputs)?.into_iter().map(Value::Host));
        Ok(())
    }

    /// Whether a run that was started goes on by itself while the host does something else, even starts the next.
    fn runs_beside(&self) -> bool {
        false
    }

    /// Brings what was started for the host, here or in other graphs, to it: into as many `tensors`, in place of what they
    /// held. It waits once for all of it.
    ///
    /// # Errors
    /// When a GPU failed meanwhile.
    fn read(&mut self, outputs: &[Value], tensors: &mut [Tensor]) -> Result<(), EngineError> {
        Value::tensors(outputs, tensors)
    }

    /// Runs again on what was given last, so many `times` in a row, and waits only at the end: the fastest that the plan
    /// can go. How long a run took; `None` without a GPU.
    ///
    /// # Errors
    /// As [`Graph::run`].
    fn repeat(&mut self, _times: u32) -> Result<Option<Duration>, EngineError> {
        Ok(None)
    }

    /// How long the GPU worked on the runs that ended since this was last asked, copies included; `None` without a GPU.
    fn take_gpu_time(&mut self) -> Option<GpuTime> {
        None
    }

    /// Runs on one thread from now on, or on all that the configuration gives it: a second thread always costs CPU of its
    /// own and saves little time. Whether that makes a difference: an engine without threads has nothing to spare.
    ///
    /// # Errors
    /// When the graph cannot be loaded again; it then runs as before.
    fn one_thread(&mut self, _one: bool) -> Result<bool, EngineError> {
        Ok(false)
    }

    /// Why something less good than what was asked for runs it; `None` if all is well.
    fn trouble(&self) -> Option<&str> {
        None
    }

    /// The word for the engine that runs it now.
    fn engine(&self) -> &'static str {
        CPU
    }
}

/// The word for the engine on the CPU.
const CPU: &str = "cpu";

/// The word for TensorRT.
const TENSORRT: &str = "tensorrt";

/// What runs graphs, each told by its own word, in one word for all of them.
pub fn together(engines: impl IntoIterator<Item = &'static str>) -> &'static str {
    let [mut gpu, mut cpu] = [false; 2];
    for engine in engines {
        *(if engine == TENSORRT { &mut gpu } else { &mut cpu }) = true;
    }
    match (gpu, cpu) {
        (true, true) => "tensorrt and cpu",
        (true, false) => TENSORRT,
        (false, _) => CPU,
    }
}

/// Where the outputs of a run that was started are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// By the host, which reads them when it comes to it.
    OnHost,
    /// By other graphs: a GPU keeps them.
    OnGpu,
}

/// How long a GPU worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GpuTime {
    /// In all.
    pub whole: Duration,
    /// Of it, on a picture before the graph itself: copying, letterbox, normalisation.
    pub picture: Duration,
}

impl std::ops::Add for GpuTime {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { whole: self.whole + other.whole, picture: self.picture + other.picture }
    }
}

/// A runtime that loads graphs.
pub trait Engine: Send + Sync {
    /// The word that selects it in the configuration.
    fn name(&self) -> &'static str;

    /// What it is and why it was chosen, in one line; complete once every graph is loaded.
    fn describe(&self) -> String {
        self.name().to_owned()
    }

    /// Why something less good than what was asked for runs a graph that was loaded; `None` if all is well.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// Loads an ONNX file; external-data files are looked for beside it.
    ///
    /// # Errors
    /// When the file is missing, damaged or uses what this runtime cannot run.
    fn load(&self, file: &Path) -> Result<Box<dyn Graph>, EngineError>;
}

/// Why a runtime or a graph could not be used.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No usable ONNX Runtime library.
    #[error(
        "no usable ONNX Runtime library (libonnxruntime.so). Looked at:\n{}\nCure: run `make setup`, which fetches it, \
         or name the file in [engine].library or in TVSL_ONNXRUNTIME", .looked.join("\n")
    )]
    NoLibrary {
        /// One line per place: the path and what was wrong with it.
        looked: Vec<String>,
    },
    /// The runtime did not start.
    #[error("the ONNX Runtime library did not start: {0}")]
    Start(String),
    /// The graph file could not be loaded.
    #[error("{}: the graph cannot be loaded: {reason}. Expected a complete ONNX file with its external data beside it; cure: restore the model folder", file.display())]
    Load {
        /// The ONNX file.
        file: PathBuf,
        /// The runtime's words.
        reason: String,
    },
    /// The graph has an input or output that is no tensor of 32-bit floats.
    #[error("{}: `{port}` is {found}, expected a tensor of float32", file.display())]
    Type {
        /// The ONNX file.
        file: PathBuf,
        /// The input or output.
        port: String,
        /// What it is instead.
        found: String,
    },
    /// TensorRT, its GPU or its plan cannot be used.
    #[error(transparent)]
    TensorRt(#[from] tensorrt::TensorRtError),
    /// The GPU failed at work: for good, so that only a new process can use it again, or for want of memory.
    #[error("{}: {reason}", file.display())]
    Lost {
        /// The ONNX file of the graph that ran.
        file: PathBuf,
        /// What happened.
        reason: String,
        /// Whether memory was lacking, of which there may be more later.
        lacking: bool,
    },
    /// A plan was given inputs of shapes that it was not built for.
    #[error(
        "{}: the plan takes no inputs of these shapes ({inputs}): {reason}; with engine.kind = \"auto\" the CPU does",
        file.display()
    )]
    Outside {
        /// The ONNX file of the graph that was to run.
        file: PathBuf,
        /// TensorRT's words.
        reason: String,
        /// Names and shapes of what it was given.
        inputs: String,
    },
    /// What a graph left on the GPU cannot be had any more.
    #[error("what was on the GPU is gone: {0}")]
    Gone(String),
    /// A run failed.
    #[error("{}: the graph failed: {reason} (inputs: {inputs})", file.display())]
    Run {
        /// The ONNX file.
        file: PathBuf,
        /// The runtime's words.
        reason: String,
        /// Names and shapes of what it was given.
        inputs: String,
    },
}

impl EngineError {
    /// Whether it may be over without anybody's doing.
    pub fn passing(&self) -> bool {
        match self {
            Self::TensorRt(error) => error.passing(),
            _ => self.lacks_memory(),
        }
    }

    /// Whether memory of the GPU was lacking.
    pub fn lacks_memory(&self) -> bool {
        match self {
            Self::TensorRt(error) => error.out_of_memory(),
            Self::Lost { lacking, .. } => *lacking,
            _ => false,
        }
    }

    /// Whether the GPU failed for good: no later call of this process will succeed.
    pub fn for_good(&self) -> bool {
        match self {
            Self::TensorRt(error) => error.lost() && !error.out_of_memory(),
            Self::Lost { lacking, .. } => !lacking,
            _ => false,
        }
    }

    /// Whether the GPU failed at work, which no other configuration would mend.
    pub fn lost(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::Gone(_))
    }

    /// What helps whoever wants a GPU that cannot be had at all.
    pub fn cure(&self) -> Option<&'static str> {
        match self {
            Self::TensorRt(error) => error.cure(),
            _ => None,
        }
    }

    /// The dotted key of the setting at fault, if one is.
    pub fn key(&self) -> Option<&'static str> {
        match self {
            _ if self.passing() => None,
            Self::NoLibrary { .. } => Some("engine.library"),
            Self::TensorRt(_) | Self::Outside { .. } => Some("engine.kind"),
            _ => None,
        }
    }
}

/// Whether there is a library for the CPU engine where the configuration says.
///
/// # Errors
/// There is none, or it does not start.
pub fn library(config: &config::Engine) -> Result<(), EngineError> {
    cpu::open(config).map(drop)
}

/// Opens the back end that the configuration names. `auto` takes TensorRT where library, GPU and plans are
/// good and the CPU engine for the rest; `tensorrt` takes nothing else.
///
/// # Errors
/// The error of the back end that would have had to do.
pub fn choose(config: &config::Engine) -> Result<Arc<dyn Engine>, EngineError> {
    open(config, None)
}

/// As [`choose`], for a service: it goes on when the GPU fails, and has plans built by `build` in the
/// background, as `[engine.tensorrt]` says. Even with `tensorrt`, the CPU engine serves until they are good.
///
/// # Errors
/// As [`choose`].
pub fn serve(config: &config::Engine, build: Build) -> Result<Arc<dyn Engine>, EngineError> {
    open(config, Some(build))
}

fn open(config: &config::Engine, build: Option<Build>) -> Result<Arc<dyn Engine>, EngineError> {
    let only_gpu = config.kind == EngineKind::TensorRt;
    if config.kind == EngineKind::Cpu {
        return cpu::open(config);
    }
    match TensorRt::open(Settings::from(&config.tensorrt)) {
        Ok(gpu) => {
            let mut gpu = gpu.with_plans_on(Shelf::new(config.tensorrt.spare.clone()));
            let config::TensorRt { rebuild, lost, keep_warm, .. } = config.tensorrt;
            if build.is_some() {
                gpu.keep_warm(keep_warm);
            }
            let spare = cpu::open(config).inspect_err(|error| tracing::debug!("no CPU engine: {error}")).ok();
            Ok(Arc::new(Keeper::new(gpu, spare, Policy { only_gpu, rebuild, lost }, build)))
        }
        Err(reason) if only_gpu => Err(reason.into()),
        Err(reason) => Ok(Arc::new(InPlace { engine: cpu::open(config)?, reason })),
    }
}

/// An engine in place of TensorRT, which says why.
struct InPlace {
    engine: Arc<dyn Engine>,
    reason: TensorRtError,
}

impl Engine for InPlace {
    fn name(&self) -> &'static str {
        self.engine.name()
    }

    fn describe(&self) -> String {
        format!("{}, because {}", self.name(), self.reason)
    }

    /// A machine without NVIDIA's software is as it should be; one whose GPU does not answer is not.
    fn trouble(&self) -> Option<String> {
        let cure = "once the GPU answers, start tvsl anew";
        self.reason.passing().then(|| format!("{}; the {} engine serves; {cure}", self.reason, self.name()))
    }

    fn load(&self, file: &Path) -> Result<Box<dyn Graph>, EngineError> {
        let graph = self.engine.load(file)?;
        Ok(match self.trouble() {
            Some(trouble) => Box::new(Substitute { graph, trouble }),
            None => graph,
        })
    }
}

/// A graph of the CPU's that a GPU should run.
struct Substitute {
    graph: Box<dyn Graph>,
    trouble: String,
}

impl Graph for Substitute {
    fn inputs(&self) -> &[Port] {
        self.graph.inputs()
    }

    fn outputs(&self) -> &[Port] {
        self.graph.outputs()
    }

    fn run(&mut self, inputs: &[(&str, Input<'_>)]) -> Result<Vec<Tensor>, EngineError> {
        self.graph.run(inputs)
    }

    fn one_thread(&mut self, one: bool) -> Result<bool, EngineError> {
        self.graph.one_thread(one)
    }

    fn trouble(&self) -> Option<&str> {
        Some(&self.trouble)
    }

    fn engine(&self) -> &'static str {
        self.graph.engine()
    }
}
