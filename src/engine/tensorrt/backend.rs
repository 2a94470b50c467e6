//! TensorRT behind the crate's engine trait: the library, the GPU, and the plans that may be loaded.

use std::path::Path;
use std::time::Duration;

use super::cuda::Device;
use super::error::TensorRtError;
use super::graph::TensorRtGraph;
use super::library::Library;
use super::plan;
use super::runtime::{CudaEngine, Plan};
use super::shelf::Shelf;
use super::sources::Known;
use super::target::{PlanFault, Settings, Target};
use super::warm::Waker;
use crate::engine::{Engine, EngineError, Graph};

/// TensorRT on the first GPU.
pub struct TensorRt {
    library: Library,
    device: Device,
    target: Target,
    settings: Settings,
    shelf: Shelf,
    /// Files that plans were built from.
    known: Known,
    waker: Waker,
}

impl TensorRt {
    /// Opens the GPU and the TensorRT that the system loader finds, or the file that `TVSL_TENSORRT` names.
    ///
    /// # Errors
    /// [`TensorRtError::NoDriver`] or [`TensorRtError::NoDevice`] without a GPU; otherwise as [`Library::find`].
    pub fn open(settings: Settings) -> Result<Self, TensorRtError> {
        let device = Device::first()?;
        let library = match std::env::var_os("TVSL_TENSORRT").filter(|file| !file.is_empty()) {
            Some(file) => Library::open(Path::new(&file))?,
            None => Library::find()?,
        };
        let target = Target { tensorrt: library.version().to_string(), gpu: device.gpu()? };
        Ok(Self {
            library,
            device,
            target,
            settings,
            shelf: Shelf::default(),
            known: Known::default(),
            waker: Waker::default(),
        })
    }

    /// The same, with the plans on `shelf`; without one they lie in the model folders.
    pub fn with_plans_on(mut self, shelf: Shelf) -> Self {
        self.shelf = shelf;
        self
    }

    /// Where plans lie.
    pub fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// Has the GPU work at least once in `every` while there is a graph that is loaded from now on, so that it does not go
    /// to sleep; zero: lets it sleep.
    pub fn keep_warm(&mut self, every: Duration) {
        self.waker = Waker::new(every);
    }

    /// What plans must have been built for.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// What plans must have been built with.
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// The loaded library.
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// The GPU.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Loads a plan of an ONNX file, if everything its sidecar records still holds.
    ///
    /// # Errors
    /// A [`PlanFault`], or what TensorRT refused.
    pub fn engine(&self, plan: &Path, onnx: &Path) -> Result<CudaEngine, TensorRtError> {
        self.loaded(plan, onnx, Some(self.settings))
    }

    fn loaded(&self, plan: &Path, onnx: &Path, asked: Option<Settings>) -> Result<CudaEngine, TensorRtError> {
        let (bytes, sidecar) = plan::load(plan, onnx, &self.target, &self.known)?;
        if let Some(asked) = asked {
            plan::as_asked(plan, &sidecar, asked)?;
        }
        let engine = self.deserialize(&bytes)?;
        plan::takes_its_shapes(plan, &sidecar, &engine)?;
        Ok(engine)
    }

    /// A graph of a plan on disk, even if it was built with other settings: it serves until a better one is there.
    ///
    /// # Errors
    /// As [`TensorRt::engine`], but for [`PlanFault::Settings`].
    pub fn last_good(&self, onnx: &Path) -> Result<Box<dyn Graph>, TensorRtError> {
        self.first_good(onnx, |plan| self.serving(onnx, self.loaded(plan, onnx, None)?))
    }

    /// What `open` makes of the first plan on the shelf that it takes; else the fault of one that may serve meanwhile, or of
    /// the first.
    fn first_good<T>(
        &self,
        onnx: &Path,
        open: impl Fn(&Path) -> Result<T, TensorRtError>,
    ) -> Result<T, TensorRtError> {
        let mut told = None;
        for plan in self.shelf.plans(onnx) {
            match open(&plan) {
                Ok(good) => return Ok(good),
                Err(fault) if told.is_none() => told = Some(fault),
                Err(fault @ TensorRtError::Plan(PlanFault::Settings { .. })) => told = Some(fault),
                Err(fault) => tracing::debug!("{fault}"),
            }
        }
        Err(told.unwrap_or_else(|| PlanFault::Missing { file: self.shelf.place(onnx) }.into()))
    }

    /// A graph of a plan that was just built from `onnx`.
    ///
    /// # Errors
    /// What TensorRT refuses, or too little memory.
    pub fn graph(&self, onnx: &Path, plan: &Plan) -> Result<Box<dyn Graph>, TensorRtError> {
        self.serving(onnx, self.deserialize(plan)?)
    }

    /// A graph; as long as it lives the GPU is kept awake, if it is.
    fn serving(&self, onnx: &Path, engine: CudaEngine) -> Result<Box<dyn Graph>, TensorRtError> {
        let graph = TensorRtGraph::new(onnx, engine, &self.device)?;
        Ok(Box::new(graph.kept_warm(self.waker.warmth(&self.device))))
    }

    fn deserialize(&self, plan: &Plan) -> Result<CudaEngine, TensorRtError> {
        self.device.bind()?;
        self.library.runtime()?.deserialize(plan)
    }
}

impl Engine for TensorRt {
    fn name(&self) -> &'static str {
        crate::engine::TENSORRT
    }

    fn describe(&self) -> String {
        format!("tensorrt, {}", self.target)
    }

    fn load(&self, file: &Path) -> Result<Box<dyn Graph>, EngineError> {
        Ok(self.first_good(file, |plan| self.serving(file, self.engine(plan, file)?))?)
    }
}
