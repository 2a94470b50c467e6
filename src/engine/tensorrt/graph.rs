//! TensorRT behind the crate's graph trait: a plan, a context and its buffers.

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cuda::{Device, Memory, Recording, Stopwatch, Stream};
use super::error::TensorRtError;
use super::network::{Direction, Element, TensorInfo};
use super::runtime::{Context, CudaEngine};
use crate::engine::{EngineError, Graph, Port, Tensor};

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

/// How far the way from inputs to outputs has got to being one CUDA graph, at the shapes of the moment.
enum Way {
    /// Not run yet, as TensorRT needs it before it is recorded.
    New,
    /// Run once.
    Known,
    /// Recorded.
    Recorded(Recording),
    /// It cannot be recorded.
    Plain,
}

pub(super) struct TensorRtGraph {
    file: PathBuf,
    /// Declared first, dropped first: before what it makes use of.
    way: Way,
    /// Dropped before the memory it points into.
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
    /// what TensorRT allocates or loads late is there before the first frame.
    pub(super) fn new(file: &Path, mut engine: CudaEngine, device: &Device) -> Result<Self, TensorRtError> {
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
        let mut graph = Self {
            file,
            way: Way::New,
            context,
            stream,
            stopwatch,
            gpu_time,
            inputs,
            outputs,
            ports,
            device,
        };
        graph.warm_up()?;
        Ok(graph)
    }

    fn warm_up(&mut self) -> Result<(), TensorRtError> {
        self.enqueue()?;
        self.stream.wait()
    }

    /// Enqueues the way of the numbers to the GPU, through the plan and back.
    fn enqueue(&mut self) -> Result<(), TensorRtError> {
        for slot in &mut self.inputs {
            let count = slot.count();
            slot.memory.upload(count, &self.stream)?;
        }
        // SAFETY: the stream is this graph's own; every tensor has an address of memory that is large
        // enough and that lives as long as the graph, which waits for the stream before it goes on.
        unsafe { self.context.enqueue(self.stream.raw()) }?;
        for slot in &mut self.outputs {
            let count = slot.count();
            slot.memory.download(count, &self.stream)?;
        }
        Ok(())
    }

    /// The same, in one call to the driver from the third time on that the shapes are the same.
    fn start(&mut self) -> Result<(), TensorRtError> {
        match std::mem::replace(&mut self.way, Way::Plain) {
            Way::New => {
                self.enqueue()?;
                self.way = Way::Known;
            }
            Way::Known => match self.record() {
                Ok(mut recording) => {
                    recording.start()?;
                    self.way = Way::Recorded(recording);
                }
                Err(error) => {
                    tracing::debug!("{}: runs without a CUDA graph: {error}", self.file.display());
                    self.enqueue()?;
                }
            },
            Way::Recorded(mut recording) => {
                recording.start()?;
                self.way = Way::Recorded(recording);
            }
            Way::Plain => self.enqueue()?,
        }
        Ok(())
    }

    fn record(&mut self) -> Result<Recording, TensorRtError> {
        let stream = self.stream.clone();
        Recording::of(&stream, || self.enqueue())
    }

    fn execute(&mut self, given: &[(&str, &Tensor)]) -> Result<Vec<Tensor>, TensorRtError> {
        self.device.bind()?;
        let mut reshaped = false;
        for slot in &mut self.inputs {
            let name = slot.name.to_bytes();
            let Some((_, tensor)) = given.iter().find(|(given, _)| given.as_bytes() == name) else {
                return Err(slot.error("was not given".to_owned()));
            };
            reshaped |= fill(slot, tensor, &mut self.context)?;
        }
        if reshaped {
            self.reshape()?;
        }
        self.stopwatch.start(&self.stream)?;
        self.start()?;
        self.stopwatch.stop(&self.stream)?;
        self.stream.wait()?;
        self.gpu_time += self.stopwatch.time()?;
        Ok(self.outputs.iter_mut().map(read).collect())
    }

    /// Follows the inputs' new shapes.
    fn reshape(&mut self) -> Result<(), TensorRtError> {
        self.way = Way::New;
        self.context.infer_shapes()?;
        for slot in &mut self.outputs {
            slot.shape = self.context.shape(&slot.name)?;
            if slot.count() > slot.memory.len() {
                return Err(slot.error(format!("{:?} is larger than at the largest inputs", slot.shape)));
            }
        }
        Ok(())
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
