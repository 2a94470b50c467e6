//! TensorRT behind the crate's engine traits: a graph is a plan, a context and its buffers.

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cuda::{Device, Memory, Stopwatch, Stream};
use super::error::TensorRtError;
use super::library::Library;
use super::network::{Direction, Element, TensorInfo};
use super::plan::{self, Settings, Target};
use super::runtime::{Context, CudaEngine, Plan};
use crate::engine::{Engine, EngineError, Graph, Port, Tensor};

/// TensorRT on the first GPU.
pub struct TensorRt {
    library: Library,
    device: Device,
    target: Target,
    settings: Settings,
}

impl TensorRt {
    /// Opens the GPU and the TensorRT that the system loader finds, or the file that `TVSL_TENSORRT` names.
    ///
    /// # Errors
    /// [`TensorRtError::NoDevice`] without a GPU; otherwise as [`Library::find`].
    pub fn open(settings: Settings) -> Result<Self, TensorRtError> {
        let device = Device::first()?;
        let library = match std::env::var_os("TVSL_TENSORRT").filter(|file| !file.is_empty()) {
            Some(file) => Library::open(Path::new(&file))?,
            None => Library::find()?,
        };
        let target = Target { tensorrt: library.version().to_string(), gpu: device.gpu()? };
        Ok(Self { library, device, target, settings })
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

    /// Loads the plan of an ONNX file, if everything its sidecar records still holds.
    ///
    /// # Errors
    /// A [`PlanFault`](super::PlanFault), or what TensorRT refused.
    pub fn engine(&self, onnx: &Path) -> Result<CudaEngine, TensorRtError> {
        let (plan, sidecar) = plan::load(onnx, &self.target)?;
        plan::as_asked(onnx, &sidecar, self.settings)?;
        self.deserialize(&plan)
    }

    /// A graph of the plan on disk, even if it was built with other settings: it serves until a better one is there.
    ///
    /// # Errors
    /// As [`TensorRt::engine`], but for [`PlanFault::Settings`](super::PlanFault::Settings).
    pub fn last_good(&self, onnx: &Path) -> Result<Box<dyn Graph>, TensorRtError> {
        self.graph(onnx, &plan::load(onnx, &self.target)?.0)
    }

    /// A graph of a plan that was just built from `onnx`.
    ///
    /// # Errors
    /// What TensorRT refuses, or too little memory.
    pub fn graph(&self, onnx: &Path, plan: &Plan) -> Result<Box<dyn Graph>, TensorRtError> {
        Ok(Box::new(TensorRtGraph::new(onnx, self.deserialize(plan)?, &self.device)?))
    }

    fn deserialize(&self, plan: &Plan) -> Result<CudaEngine, TensorRtError> {
        self.device.bind()?;
        self.library.runtime()?.deserialize(plan)
    }
}

impl Engine for TensorRt {
    fn name(&self) -> &'static str {
        "tensorrt"
    }

    fn describe(&self) -> String {
        format!("tensorrt, {}", self.target)
    }

    fn load(&self, file: &Path) -> Result<Box<dyn Graph>, EngineError> {
        let engine = self.engine(file)?;
        Ok(Box::new(TensorRtGraph::new(file, engine, &self.device)?))
    }
}

/// One tensor: where it lies, and its shape of the moment.
struct Slot {
    name: CString,
    shape: Vec<i64>,
    memory: Memory,
}

impl Slot {
    fn count(&self) -> usize {
        count(&self.shape)
    }

    fn error(&self, reason: String) -> TensorRtError {
        TensorRtError::Tensor { tensor: self.name.to_string_lossy().into_owned(), reason }
    }
}

struct TensorRtGraph {
    file: PathBuf,
    /// Declared first, dropped first: before the memory it points into.
    context: Context,
    stream: Stream,
    stopwatch: Stopwatch,
    /// Time on the GPU since it was last asked for.
    gpu_time: Duration,
    inputs: Vec<Slot>,
    outputs: Vec<Slot>,
    ports: [Vec<Port>; 2],
    device: Device,
}

impl TensorRtGraph {
    /// Allocates every buffer for the largest shapes of the plan's profile, and runs once at those, so that
    /// what is allocated or loaded late is there before the first frame.
    fn new(file: &Path, mut engine: CudaEngine, device: &Device) -> Result<Self, TensorRtError> {
        let (inputs, outputs): (Vec<_>, Vec<_>) =
            engine.tensors()?.into_iter().partition(|tensor| tensor.direction == Direction::Input);
        let ports = [ports(&inputs), ports(&outputs)];
        let mut context = engine.context()?;
        let mut slots = [Vec::new(), Vec::new()];
        for tensor in &inputs {
            let largest = match tensor.shape.contains(&-1) {
                true => engine.range(&tensor.name, 0)?.max,
                false => tensor.shape.clone(),
            };
            context.set_input_shape(&tensor.name, &largest)?;
            slots[0].push(slot(tensor, largest, &mut context, device)?);
        }
        context.infer_shapes()?;
        for tensor in &outputs {
            let largest = context.shape(&tensor.name)?;
            slots[1].push(slot(tensor, largest, &mut context, device)?);
        }
        let [inputs, outputs] = slots;
        let (stream, stopwatch, gpu_time) = (device.stream()?, Stopwatch::new(device)?, Duration::ZERO);
        let (file, device) = (file.to_owned(), device.clone());
        let mut graph = Self { file, context, stream, stopwatch, gpu_time, inputs, outputs, ports, device };
        graph.warm_up()?;
        Ok(graph)
    }

    fn warm_up(&mut self) -> Result<(), TensorRtError> {
        for slot in &mut self.inputs {
            slot.memory.upload(slot.memory.len(), &self.stream)?;
        }
        self.enqueue()?;
        self.stream.wait()
    }

    fn enqueue(&mut self) -> Result<(), TensorRtError> {
        // SAFETY: the stream is this graph's own; every tensor has an address of memory that is large
        // enough and that lives as long as the graph, which waits for the stream before it goes on.
        unsafe { self.context.enqueue(self.stream.raw()) }
    }

    fn execute(&mut self, given: &[(&str, &Tensor)]) -> Result<Vec<Tensor>, TensorRtError> {
        self.device.bind()?;
        self.stopwatch.start(&self.stream)?;
        let mut reshaped = false;
        for slot in &mut self.inputs {
            let name = slot.name.to_bytes();
            let Some((_, tensor)) = given.iter().find(|(given, _)| given.as_bytes() == name) else {
                return Err(slot.error("was not given".to_owned()));
            };
            reshaped |= fill(slot, tensor, &mut self.context)?;
            slot.memory.upload(tensor.data.len(), &self.stream)?;
        }
        if reshaped {
            self.context.infer_shapes()?;
            for slot in &mut self.outputs {
                slot.shape = self.context.shape(&slot.name)?;
                if slot.count() > slot.memory.len() {
                    return Err(slot.error(format!("{:?} is larger than at the largest inputs", slot.shape)));
                }
            }
        }
        self.enqueue()?;
        for slot in &mut self.outputs {
            let count = slot.count();
            slot.memory.download(count, &self.stream)?;
        }
        self.stopwatch.stop(&self.stream)?;
        self.stream.wait()?;
        self.gpu_time += self.stopwatch.time()?;
        Ok(self.outputs.iter_mut().map(read).collect())
    }
}

impl Graph for TensorRtGraph {
    fn inputs(&self) -> &[Port] {
        &self.ports[0]
    }

    fn outputs(&self) -> &[Port] {
        &self.ports[1]
    }

    fn take_gpu_time(&mut self) -> Option<Duration> {
        Some(std::mem::take(&mut self.gpu_time))
    }

    fn run(&mut self, inputs: &[(&str, &Tensor)]) -> Result<Vec<Tensor>, EngineError> {
        let outcome = self.execute(inputs);
        if outcome.is_err() {
            // Copies may still be under way, and the shapes may be half set: start afresh next time.
            let _ = self.stream.wait();
            self.inputs.iter_mut().for_each(|slot| slot.shape = vec![-1]);
        }
        outcome.map_err(|error| match error {
            error if error.lost() => EngineError::Lost { file: self.file.clone(), reason: error.to_string() },
            error => EngineError::Run {
                file: self.file.clone(),
                reason: error.to_string(),
                inputs: inputs
                    .iter()
                    .map(|(name, tensor)| format!("{name} {:?}", tensor.shape))
                    .collect::<Vec<_>>()
                    .join(", "),
            },
        })
    }
}

impl Drop for TensorRtGraph {
    fn drop(&mut self) {
        // Whatever the GPU still does with the buffers must be over before they are freed.
        let _ = self.device.bind();
        let _ = self.stream.wait();
    }
}

/// Allocates a tensor's memory and tells the context where it lies.
fn slot(
    tensor: &TensorInfo,
    largest: Vec<i64>,
    context: &mut Context,
    device: &Device,
) -> Result<Slot, TensorRtError> {
    if tensor.element != Element::Float32 {
        let reason = format!("holds {:?}; expected a plan with float32 at its ends", tensor.element);
        return Err(TensorRtError::Tensor { tensor: tensor.label(), reason });
    }
    let memory = Memory::new(device, count(&largest))?;
    // SAFETY: the memory has room for the largest shape and lives in the graph beside the context.
    unsafe { context.set_address(&tensor.name, memory.address()) }?;
    Ok(Slot { name: tensor.name.clone(), shape: largest, memory })
}

/// Copies an input to where the GPU takes it from; true if its shape changed.
fn fill(slot: &mut Slot, tensor: &Tensor, context: &mut Context) -> Result<bool, TensorRtError> {
    let changed = !slot.shape.iter().map(|extent| *extent as usize).eq(tensor.shape.iter().copied());
    if changed {
        let shape: Vec<i64> = tensor.shape.iter().map(|extent| *extent as i64).collect();
        context.set_input_shape(&slot.name, &shape)?;
        slot.shape = shape;
    }
    if tensor.data.len() != slot.count() || tensor.data.len() > slot.memory.len() {
        return Err(slot.error(format!(
            "has {} numbers for the shape {:?}",
            tensor.data.len(),
            tensor.shape
        )));
    }
    slot.memory.numbers()[..tensor.data.len()].copy_from_slice(&tensor.data);
    Ok(changed)
}

fn read(slot: &mut Slot) -> Tensor {
    let count = slot.count();
    let shape = slot.shape.iter().map(|extent| *extent as usize).collect();
    Tensor { shape, data: slot.memory.numbers()[..count].to_vec() }
}

fn ports(tensors: &[TensorInfo]) -> Vec<Port> {
    let port = |tensor: &TensorInfo| Port {
        name: tensor.label(),
        shape: tensor.shape.iter().map(|extent| usize::try_from(*extent).ok()).collect(),
    };
    tensors.iter().map(port).collect()
}

/// Numbers in a shape whose extents are all known.
fn count(shape: &[i64]) -> usize {
    shape.iter().map(|extent| usize::try_from(*extent).unwrap_or(0)).product()
}
