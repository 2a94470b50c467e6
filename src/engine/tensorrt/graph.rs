//! TensorRT behind the crate's graph trait: a plan with its context, on a stream of its own.
//!
//! What a graph is given by another lies on the GPU already: its stream waits for the other's there, as the other's waits
//! for this one before it runs again, and the host waits only where it wants to read.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cuda::Device;
use super::error::TensorRtError;
use super::network::{Direction, TensorInfo};
use super::runtime::{Context, CudaEngine};
use super::slot::{Changes, InputSlot, OutputSlot};
use super::stream::{MOST_UNDER_WAY, Recording, Stopwatch, Stream};
use super::warm::Warmth;
use crate::engine::value::told;
use crate::engine::{EngineError, GpuTime, Graph, Input, Port, Tensor, Value, Wanted};

/// How far the way through the plan has got to being one CUDA graph, at the shapes and addresses of the moment. None
/// is kept for others: TensorRT leaves undefined what a recording does once its context was given other shapes.
enum Way {
    /// Not run yet, as TensorRT needs it before it is recorded.
    New,
    /// Run at least once, and not `tried` to be recorded or in vain: what another thread does to the driver may be in the way
    /// once.
    Known { tried: bool },
    /// Recorded.
    Recorded(Recording),
    /// It cannot be recorded.
    Plain,
}

pub(super) struct TensorRtGraph {
    file: PathBuf,
    /// Declared first, dropped first: before what it makes use of.
    way: Way,
    /// Whether it was told that it cannot be recorded.
    told: bool,
    /// Whether the outputs go to the host.
    download: bool,
    /// Dropped before the memory it points into.
    context: Context,
    stream: Stream,
    /// The last runs, in turn: one may be started while those before are under way.
    runs: Vec<Run>,
    /// Which of them is the last.
    last: usize,
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

/// A run that was started.
struct Run {
    watch: Arc<Stopwatch>,
    /// Whether its time is still to be taken.
    untimed: bool,
    /// Whether the GPU lays a picture out in it.
    laid: bool,
}

impl Run {
    fn none(device: &Device) -> Result<Self, TensorRtError> {
        Ok(Self { watch: Arc::new(device.stopwatch()?), untimed: false, laid: false })
    }

    /// Its time, once; waits for its end.
    fn take_time(&mut self) -> Result<GpuTime, TensorRtError> {
        if !std::mem::take(&mut self.untimed) {
            return Ok(GpuTime::default());
        }
        let [lap, whole] = self.watch.times()?;
        Ok(GpuTime { whole, picture: if self.laid { lap } else { Duration::ZERO } })
    }
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
        let runs: Vec<_> = (0..MOST_UNDER_WAY).map(|_| Run::none(device)).collect::<Result<_, _>>()?;
        let mut graph = Self {
            file: file.to_owned(),
            way: Way::New,
            told: false,
            download: false,
            context,
            stream: device.stream()?,
            runs,
            last: 0,
            gpu_time: GpuTime::default(),
            inputs,
            outputs,
            ports,
            device: device.clone(),
            warmth: None,
        };
        graph.inputs.iter().try_for_each(|slot| slot.bring(&graph.stream))?;
        graph.enqueue()?;
        graph.stream.wait()?;
        Ok(graph)
    }

    /// The same, with the GPU kept awake as long as it lives.
    pub(super) fn kept_warm(mut self, warmth: Option<Arc<Warmth>>) -> Self {
        self.warmth = warmth;
        self
    }

    /// Enqueues the way of the numbers through the plan and, if they are wanted there, to the host.
    fn enqueue(&mut self) -> Result<(), TensorRtError> {
        // SAFETY: the stream is this graph's own; every tensor has an address of memory that is large enough. The graph
        // holds its own memory, and that of others which it reads, until it has waited for the run (`launch`, `drop`).
        unsafe { self.context.enqueue(self.stream.raw()) }?;
        for slot in self.outputs.iter().filter(|_| self.download) {
            slot.download(&self.stream)?;
        }
        Ok(())
    }

    /// The same, in one call to the driver from the third time on that nothing has changed.
    fn go(&mut self) -> Result<(), TensorRtError> {
        match std::mem::replace(&mut self.way, Way::Plain) {
            Way::New => {
                self.enqueue()?;
                self.way = Way::Known { tried: false };
            }
            Way::Known { tried } => match self.record() {
                Ok(mut recording) => {
                    recording.start()?;
                    self.way = Way::Recorded(recording);
                }
                Err(error) => {
                    self.enqueue()?;
                    if !tried {
                        self.way = Way::Known { tried: true };
                    } else if !std::mem::replace(&mut self.told, true) {
                        let file = self.file.display();
                        tracing::warn!(
                            "{file}: runs without a CUDA graph, at more work for the CPU: {error}"
                        );
                    }
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
        let before = Arc::clone(&self.runs[self.last].watch);
        self.last = (self.last + 1) % self.runs.len();
        self.take_time(self.last)?;
        self.outputs.iter_mut().for_each(|slot| slot.make_way(&self.stream));
        let watch = Arc::clone(&self.runs[self.last].watch);
        self.inputs.iter_mut().for_each(|slot| slot.let_go(&watch));
        self.take(given, download, &before)?;
        let stream = &self.stream;
        self.inputs.iter().try_for_each(|slot| slot.await_source(stream))?;
        self.outputs.iter().try_for_each(|slot| slot.await_readers(stream))?;
        watch.start(stream)?;
        self.inputs.iter().try_for_each(|slot| slot.bring(stream))?;
        watch.lap(stream)?;
        self.go()?;
        watch.stop(&self.stream)?;
        self.inputs.iter_mut().for_each(|slot| slot.read_by(&watch));
        let laid = self.inputs.iter().any(InputSlot::is_laid);
        self.runs[self.last] = Run { watch, untimed: true, laid };
        Ok(())
    }

    /// Takes the inputs, and follows their shapes and places; the run `before` may be under way.
    fn take(
        &mut self,
        given: &[(&str, Input<'_>)],
        download: bool,
        before: &Stopwatch,
    ) -> Result<(), TensorRtError> {
        let mut changes = Changes::default();
        for slot in &mut self.inputs {
            let Changes { shape, address } = slot.take(given, &mut self.context, before)?;
            changes.shape |= shape;
            changes.address |= address;
        }
        if changes.shape {
            self.context.infer_shapes()?;
            self.outputs.iter_mut().try_for_each(|slot| slot.follow(&self.context))?;
        }
        for slot in &mut self.outputs {
            changes.address |= slot.share(download, &mut self.context, &self.stream)?;
        }
        if changes.shape || changes.address || download != self.download {
            self.way = Way::New;
            self.download = download;
        }
        Ok(())
    }

    /// Adds the time of one of the last runs, and waits for its end.
    fn take_time(&mut self, run: usize) -> Result<(), TensorRtError> {
        self.gpu_time = self.gpu_time + self.runs[run].take_time()?;
        Ok(())
    }

    fn run_now(&mut self, given: &[(&str, Input<'_>)]) -> Result<Vec<Tensor>, TensorRtError> {
        self.launch(given, true)?;
        self.stream.wait()?;
        Ok(self.outputs.iter().map(OutputSlot::read).collect())
    }

    fn start_now(
        &mut self,
        given: &[(&str, Input<'_>)],
        wanted: Wanted,
        outputs: &mut Vec<Value>,
    ) -> Result<(), TensorRtError> {
        outputs.clear(); // first, for what is still held is put aside
        let sent = wanted == Wanted::OnHost;
        self.launch(given, sent)?;
        let Self { outputs: slots, runs, last, stream, .. } = self;
        outputs.extend(slots.iter_mut().map(|slot| slot.lend(&runs[*last].watch, stream, sent)));
        Ok(())
    }

    fn repeat_now(&mut self, times: u32) -> Result<Duration, TensorRtError> {
        (0..self.runs.len()).try_for_each(|run| self.take_time(run))?;
        self.outputs.iter().try_for_each(|slot| slot.await_readers(&self.stream))?;
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
        self.runs.iter_mut().for_each(|run| run.untimed = false);
        self.inputs.iter_mut().for_each(InputSlot::forget);
        let (file, reason, inputs) = (self.file.clone(), error.to_string(), told(given));
        match error {
            error if error.lost() => EngineError::Lost { file, reason, lacking: error.out_of_memory() },
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
        for run in 0..self.runs.len() {
            if self.runs[run].untimed && self.runs[run].watch.is_over().unwrap_or(true) {
                // A run that failed has no time, and its failure shows where its outputs are used.
                let _ = self.take_time(run);
            }
        }
        Some(std::mem::take(&mut self.gpu_time))
    }

    fn engine(&self) -> &'static str {
        crate::engine::TENSORRT
    }

    fn runs_beside(&self) -> bool {
        true
    }

    fn read(&mut self, outputs: &[Value], tensors: &mut [Tensor]) -> Result<(), EngineError> {
        Value::read_all(outputs, tensors).map_err(|error| self.failed(error, &[]))
    }

    fn repeat(&mut self, times: u32) -> Result<Option<Duration>, EngineError> {
        self.repeat_now(times).map(Some).map_err(|error| self.failed(error, &[]))
    }

    fn run(&mut self, inputs: &[(&str, Input<'_>)]) -> Result<Vec<Tensor>, EngineError> {
        self.run_now(inputs).map_err(|error| self.failed(error, inputs))
    }

    fn start(
        &mut self,
        inputs: &[(&str, Input<'_>)],
        wanted: Wanted,
        outputs: &mut Vec<Value>,
    ) -> Result<(), EngineError> {
        self.start_now(inputs, wanted, outputs).map_err(|error| self.failed(error, inputs))
    }
}

impl Drop for TensorRtGraph {
    fn drop(&mut self) {
        // Whatever the GPU still does with the buffers must be over before they are freed. The first call to the driver
        // gives back what failed when something else was dropped, and does nothing more then.
        let _ = self.device.bind();
        self.outputs.iter().for_each(|slot| {
            let _ = slot.await_last_readers(&self.stream);
        });
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
