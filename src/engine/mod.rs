//! "Run these named tensors": the only place that knows an inference runtime.
//!
//! A back end is chosen once, from the table [`BACKENDS`]; everything above speaks to the two narrow
//! traits [`Engine`] (opens graphs) and [`Graph`] (runs one).

mod auto;

mod cpu;

pub mod tensorrt;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config;

/// A dense tensor of 32-bit floats, row-major.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tensor {
    /// Length of every axis, outermost first.
    pub shape: Vec<usize>,
    /// The values, last axis fastest; as many as the product of `shape`.
    pub data: Vec<f32>,
}

impl Tensor {
    /// A tensor of zeros.
    pub fn zeros(shape: impl Into<Vec<usize>>) -> Self {
        let shape = shape.into();
        let data = vec![0.0; shape.iter().product()];
        Self { shape, data }
    }

    /// A tensor of `data` laid out as `shape`, whose product must be the number of values.
    pub fn new(shape: impl Into<Vec<usize>>, data: Vec<f32>) -> Option<Self> {
        let shape = shape.into();
        (shape.iter().product::<usize>() == data.len()).then_some(Self { shape, data })
    }
}

/// A named input or output of a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Port {
    /// The tensor's name.
    pub name: String,
    /// Length of every axis; `None` where any length is accepted.
    pub shape: Vec<Option<usize>>,
}

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
    fn run(&mut self, inputs: &[(&str, &Tensor)]) -> Result<Vec<Tensor>, EngineError>;
}

/// A runtime that loads graphs.
pub trait Engine: Send + Sync {
    /// The word that selects it in the configuration.
    fn name(&self) -> &'static str;

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

type Open = fn(&config::Engine) -> Result<Arc<dyn Engine>, EngineError>;

/// Every back end of this build, the preferred one first.
const BACKENDS: &[(config::EngineKind, Open)] =
    &[(config::EngineKind::TensorRt, tensorrt::open), (config::EngineKind::Cpu, cpu::open)];

/// Opens the back end that the configuration names. `auto` opens every one that this machine has, and
/// each graph is run by the first that can load it.
///
/// # Errors
/// The error of the named back end, or of the last one tried.
pub fn choose(config: &config::Engine) -> Result<Arc<dyn Engine>, EngineError> {
    let wanted = |kind| config.kind == config::EngineKind::Auto || config.kind == kind;
    let mut engines = Vec::new();
    let mut failure = EngineError::NoLibrary { looked: Vec::new() };
    for (kind, open) in BACKENDS.iter().filter(|(kind, _)| wanted(*kind)) {
        match open(config) {
            Ok(engine) => engines.push(engine),
            Err(error) => {
                tracing::debug!("no {kind:?} engine here: {error}");
                failure = error;
            }
        }
    }
    let best_last = engines.into_iter().rev();
    let chosen = best_last.reduce(|next, first| Arc::new(auto::Auto { first, next })).ok_or(failure)?;
    tracing::info!(engine = chosen.name(), asked = ?config.kind, threads = config.threads, "engine chosen");
    Ok(chosen)
}
