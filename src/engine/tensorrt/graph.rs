//! TensorRT behind the crate's graph trait: a plan with its context, on a stream of its own.
//!
//! What a graph is given by another lies on the GPU already: its stream waits for the other's there, and the
//! host waits only where it wants to read.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cuda::Device;
use super::error::TensorRtError;
use super::network::{Direction, TensorInfo};
use super::runtime::{Context, CudaEngine};
use super::slot::{Changes, InputSlot, OutputSlot};
use super::stream::{Recording, Stopwatch, Stream};
use super::warm::Warmth;
use crate::engine::value::told;
use crate::engine::{EngineError, GpuTime, Graph, Input, Port, Tensor, Value};

/// What one run enqueues beside the plan itself; recorded work serves runs of the same kind.
#[derive(Clone, PartialEq)]
struct Kind {
    /// Inputs that come from the host.
    uploads: Vec<bool>,
    /// Whether the outputs go to the host.
    download: bool,
}

/// How far the way from inputs to outputs has got to being one CUDA graph, at the shapes and addresses of the moment. None
/// is kept for others: TensorRT leaves undefined what a recording does once its context was given other shapes.
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
    kind: Kind,
    /// Dropped before the memory it points into.
    context: Context,
    stream: Stream,
    watch: Arc<Stopwatch>,
    /// Whether a run was started whose time was not taken yet.
    running: bool,
    /// Time on the GPU since it was last asked for.
    gpu_time: GpuTime,
    inputs: Vec<InputSlot>,
    outputs: Vec<OutputSlot>,
    ports: [Vec<Port>; 2],
    device: Device,
    /// Held, not used: there is a graph to keep the GPU awake for.
    #[allow(dead_code, reason = "dropping it is what it is for")]
    warmth: Option<Arc<Warmth>>,
}

impl TensorRtGraph {
    /// Allocates every buffer for the largest shapes of the plan's profile, and runs once at those, so that
    /// what TensorRT allocates or loads late is there before the first frame.
    pub(super) fn new(file: &Path, mut engine: CudaEngine, device: &Device) -> Result<Self, TensorRtError> {
        let (given, computed): (Vec<_>, Vec<_>) =
            engine.tensors()?.into_iter().partition(|tensor| tensor.direction == Direction::Input);
        let ports = [ports(&given), ports(&computed)];
        let mut context = engine.context()?;
        let mut inputs = Vec::new();
        for tensor in &given {
            let largest = match tensor.shape.contains(&-1) {
                true => engine.range(&tensor.name, 0)?.max,
                false => tensor.shape.clone(),
            };
            context.set_input_shape(&tensor.name, &largest)?;
            inputs.push(InputSlot::new(tensor, largest, &mut context, device)?);
        }
        context.infer_shapes()?;
        let mut outputs = Vec::new();
        for tensor in &computed {
            let largest = context.shape(&tensor.name)?;
            outputs.push(OutputSlot::new(tensor, largest, &mut context, device)?);
        }
        let mut graph = Self {
            file: file.to_owned(),
            way: Way::New,
            kind: Kind { uploads: vec![true; inputs.len()], download: true },
            context,
            stream: device.stream()?,
            watch: Arc::new(device.stopwatch()?),
            running: false,
            gpu_time: GpuTime::default(),
            inputs,
            outputs,
            ports,
            device: device.clone(),
            warmth: None,
        };
        graph.enqueue()?;
        graph.stream.wait()?;
        Ok(graph)
    }

    /// The same, with the GPU kept awake as long as it lives.
    pub(super) fn kept_warm(mut self, warmth: Option<Arc<Warmth>>) -> Self {
        self.warmth = warmth;
        self
    }

    /// Enqueues the way of the numbers to the GPU, through the plan and back.
    fn enqueue(&mut self) -> Result<(), TensorRtError> {
        for slot in &self.inputs {
            slot.upload(&self.stream)?;
        }
        // SAFETY: the stream is this graph's own; every tensor has an address of memory that is large
        // enough and that lives as long as the graph, which waits for the stream before it goes on.
        unsafe { self.context.enqueue(self.stream.raw()) }?;
        for slot in self.outputs.iter().filter(|_| self.kind.download) {
            slot.download(&self.stream)?;
        }
        Ok(())
    }

    /// The same, in one call to the driver from the third time on that nothing has changed.
    fn go(&mut self) -> Result<(), TensorRtError> {
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

    /// Starts a run; the host does not wait for it.
    fn launch(&mut self, given: &[(&str, Input<'_>)], download: bool) -> Result<(), TensorRtError> {
        self.device.bind()?;
        // What the last run reads and writes is about to change.
        self.take_time()?;
        self.outputs.iter_mut().for_each(OutputSlot::settle);
        self.take(given, download)?;
        let stream = &self.stream;
        self.inputs.iter().try_for_each(|slot| slot.await_source(stream))?;
        self.watch.start(stream)?;
        self.inputs.iter().try_for_each(|slot| slot.lay(stream))?;
        self.watch.lap(stream)?;
        self.go()?;
        self.watch.stop(&self.stream)?;
        self.running = true;
        Ok(())
    }

    /// Takes the inputs, and follows their shapes and places.
    fn take(&mut self, given: &[(&str, Input<'_>)], download: bool) -> Result<(), TensorRtError> {
        let mut changes = Changes::default();
        for slot in &mut self.inputs {
            let Changes { shape, address } = slot.take(given, &mut self.context)?;
            changes.shape |= shape;
            changes.address |= address;
        }
        if changes.shape {
            self.context.infer_shapes()?;
            self.outputs.iter_mut().try_for_each(|slot| slot.follow(&self.context))?;
        }
        let kind = Kind { uploads: self.inputs.iter().map(InputSlot::is_uploaded).collect(), download };
        if changes.shape || changes.address || kind != self.kind {
            self.way = Way::New;
            self.kind = kind;
        }
        Ok(())
    }

    /// Adds the time of the run that was started last, and waits for its end.
    fn take_time(&mut self) -> Result<(), TensorRtError> {
        if std::mem::take(&mut self.running) {
            let [lap, stop] = self.watch.times()?;
            if self.inputs.iter().any(InputSlot::is_laid) {
                self.gpu_time.picture += lap;
            }
            self.gpu_time.whole += stop;
        }
        Ok(())
    }

    fn run_now(&mut self, given: &[(&str, Input<'_>)]) -> Result<Vec<Tensor>, TensorRtError> {
        self.launch(given, true)?;
        self.stream.wait()?;
        Ok(self.outputs.iter().map(OutputSlot::read).collect())
    }

    fn start_now(&mut self, given: &[(&str, Input<'_>)]) -> Result<Vec<Value>, TensorRtError> {
        self.launch(given, false)?;
        if self.inputs.iter().any(InputSlot::is_lent) {
            // Whoever gave the input may run again as soon as this returns.
            self.stream.wait()?;
        }
        let Self { outputs, watch, stream, .. } = self;
        Ok(outputs.iter_mut().map(|slot| slot.lend(watch, stream)).collect())
    }

    fn repeat_now(&mut self, times: u32) -> Result<Duration, TensorRtError> {
        self.device.bind()?;
        self.take_time()?;
        self.stream.wait()?;
        let began = Instant::now();
        for _ in 0..times {
            // SAFETY: as in `enqueue`; nothing that the plan reads or writes changes meanwhile.
            unsafe { self.context.enqueue(self.stream.raw()) }?;
        }
        self.stream.wait()?;
        Ok(began.elapsed() / times.max(1))
    }

    /// What failed, told; the next run starts afresh.
    fn failed(&mut self, error: TensorRtError, given: &[(&str, Input<'_>)]) -> EngineError {
        // Copies may still be under way, and the shapes may be half set.
        let _ = self.stream.wait();
        self.running = false;
        self.inputs.iter_mut().for_each(InputSlot::forget);
        let (file, reason, inputs) = (self.file.clone(), error.to_string(), told(given));
        match error {
            error if error.lost() => EngineError::Lost { file, reason },
            error if error.outside_profile() => EngineError::Outside { file, reason, inputs },
            _ => EngineError::Run { file, reason, inputs },
        }
    }
}

impl Graph for TensorRtGraph {
    fn inputs(&self) -> &[Port] {
        &self.ports[0]
    }

    fn outputs(&self) -> &[Port] {
        &self.ports[1]
    }

    fn take_gpu_time(&mut self) -> Option<GpuTime> {
        // A run that failed has no time, and its failure shows where its outputs are used.
        let _ = self.take_time();
        Some(std::mem::take(&mut self.gpu_time))
    }

    fn repeat(&mut self, times: u32) -> Result<Option<Duration>, EngineError> {
        self.repeat_now(times).map(Some).map_err(|error| self.failed(error, &[]))
    }

    fn run(&mut self, inputs: &[(&str, Input<'_>)]) -> Result<Vec<Tensor>, EngineError> {
        self.run_now(inputs).map_err(|error| self.failed(error, inputs))
    }

    fn start(&mut self, inputs: &[(&str, Input<'_>)]) -> Result<Vec<Value>, EngineError> {
        self.start_now(inputs).map_err(|error| self.failed(error, inputs))
    }
}

impl Drop for TensorRtGraph {
    fn drop(&mut self) {
        // Whatever the GPU still does with the buffers must be over before they are freed.
        let _ = self.device.bind();
        let _ = self.stream.wait();
    }
}

fn ports(tensors: &[TensorInfo]) -> Vec<Port> {
    let port = |tensor: &TensorInfo| Port {
        name: tensor.label(),
        shape: tensor.shape.iter().map(|extent| usize::try_from(*extent).ok()).collect(),
    };
    tensors.iter().map(port).collect()
}
