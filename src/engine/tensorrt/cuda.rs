//! The CUDA half: the device, streams that wait for each other, recorded work, and the time it takes.
//!
//! The driver is loaded while the program runs, so a machine without one gets an error and nothing
//! else. Runs against a fake driver in the tests; on a real GPU it has not run yet.

use std::ffi::c_void;
use std::sync::Arc;
use std::time::Duration;

use cudarc::driver::{CudaContext, CudaEvent, CudaGraph, CudaStream, DriverError, sys};
use serde::{Deserialize, Serialize};

use super::error::TensorRtError;
use super::kernel::Kernel;

/// Where NVIDIA's kernel module tells its version; that of JetPack 5 does not.
const RELEASE: &str = "/sys/module/nvidia/version";

/// A GPU, as far as a plan depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// The device's name, "Orin" for example.
    pub name: String,
    /// Compute capability, "8.7" for example.
    pub compute_capability: String,
    /// The newest CUDA that the driver serves, "12.6" for example.
    pub driver: String,
    /// The driver's own version, "540.4.0" for example; empty where it is not told.
    pub release: String,
}

/// The first CUDA device, with its primary context.
#[derive(Debug, Clone)]
pub struct Device {
    pub(super) context: Arc<CudaContext>,
    /// Whether the GPU shares the host's memory, as on a Jetson.
    pub(super) integrated: bool,
    /// What lays pictures out; `None` where the driver does not take it.
    pub(super) kernel: Option<Arc<Kernel>>,
}

impl Device {
    /// Opens the first device.
    ///
    /// # Errors
    /// [`TensorRtError::NoDevice`] without a driver or without a device.
    pub fn first() -> Result<Self, TensorRtError> {
        // SAFETY: this loads libcuda, whose initialisers are safe to run.
        if !unsafe { sys::is_culib_present() } {
            return Err(TensorRtError::NoDevice {
                reason: "libcuda.so, NVIDIA's driver, is not installed".into(),
            });
        }
        let none = |error: DriverError| TensorRtError::NoDevice { reason: error.to_string() };
        let context = CudaContext::new(0).map_err(none)?;
        let integrated = context
            .attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_INTEGRATED)
            .is_ok_and(|answer| answer != 0);
        let kernel = Kernel::load(&context)
            .inspect_err(|error| tracing::warn!("{error}; the CPU lays pictures out instead"));
        Ok(Self { context, integrated, kernel: kernel.ok().map(Arc::new) })
    }

    /// What a plan for this device is bound to.
    ///
    /// # Errors
    /// [`TensorRtError::Cuda`] if the driver does not answer.
    pub fn gpu(&self) -> Result<Gpu, TensorRtError> {
        let failed = during("asking what the GPU is");
        let name = self.context.name().map_err(&failed)?;
        let (major, minor) = self.context.compute_capability().map_err(&failed)?;
        let mut driver = 0;
        // SAFETY: the driver writes one number.
        unsafe { sys::cuDriverGetVersion(&mut driver) }.result().map_err(&failed)?;
        Ok(Gpu {
            name,
            compute_capability: format!("{major}.{minor}"),
            driver: format!("{}.{}", driver / 1000, driver % 1000 / 10),
            release: std::fs::read_to_string(RELEASE).unwrap_or_default().trim().to_owned(),
        })
    }

    /// Whether the GPU shares the host's memory, as on a Jetson.
    pub fn is_integrated(&self) -> bool {
        self.integrated
    }

    /// Whether it lays pictures out itself; otherwise the CPU does.
    pub fn lays_pictures(&self) -> bool {
        self.kernel.is_some()
    }

    /// Makes the device current for the calling thread, as TensorRT expects it.
    ///
    /// # Errors
    /// [`TensorRtError::Cuda`] if the device is gone.
    pub fn bind(&self) -> Result<(), TensorRtError> {
        self.context.bind_to_thread().map_err(during("taking up the GPU"))
    }

    /// A stream of its own.
    pub(super) fn stream(&self) -> Result<Stream, TensorRtError> {
        self.context.new_stream().map(Stream).map_err(during("making a stream"))
    }
}

/// A queue of GPU work.
#[derive(Debug, Clone)]
pub(super) struct Stream(Arc<CudaStream>);

impl Stream {
    /// The `CUstream`, valid as long as this lives.
    pub(super) fn raw(&self) -> *mut c_void {
        self.0.cu_stream().cast()
    }

    /// The same, for the driver's own functions.
    pub(super) fn cu(&self) -> sys::CUstream {
        self.0.cu_stream()
    }

    /// What is enqueued from now on waits, on the GPU, until another stream has come to where `watch` was stopped.
    pub(super) fn after(&self, watch: &Stopwatch) -> Result<(), TensorRtError> {
        self.0.wait(&watch.stop).map_err(during("waiting for an event"))
    }

    /// Waits until everything enqueued so far is done.
    pub(super) fn wait(&self) -> Result<(), TensorRtError> {
        self.0.synchronize().map_err(during("waiting for the GPU"))
    }
}

/// Work of a stream, recorded once and started as a whole: a CUDA graph.
pub(super) struct Recording(CudaGraph);

// SAFETY: CUDA asks that a graph is not used by two threads at once; it is used through `&mut` only.
unsafe impl Send for Recording {}

impl Recording {
    /// Records what `work` enqueues on `stream`, instead of doing it.
    pub(super) fn of(
        stream: &Stream,
        work: impl FnOnce() -> Result<(), TensorRtError>,
    ) -> Result<Self, TensorRtError> {
        let failed = during("recording a graph");
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        stream.0.begin_capture(mode).map_err(&failed)?;
        let outcome = work();
        // Recording ends whatever came of the work, or the stream could not be used any more.
        let graph = stream.0.end_capture(sys::CUgraphInstantiate_flags(0)).map_err(&failed);
        outcome?;
        graph?.map(Self).ok_or_else(|| failed(DriverError(sys::CUresult::CUDA_ERROR_INVALID_VALUE)))
    }

    /// Starts the work on the stream that it was recorded from.
    pub(super) fn start(&mut self) -> Result<(), TensorRtError> {
        self.0.launch().map_err(during("starting a graph"))
    }
}

/// Three places in a stream, and how long the GPU takes from one to the next.
#[derive(Debug)]
pub(super) struct Stopwatch {
    start: CudaEvent,
    lap: CudaEvent,
    stop: CudaEvent,
}

impl Stopwatch {
    pub(super) fn new(device: &Device) -> Result<Self, TensorRtError> {
        let event = || device.context.new_event(Some(sys::CUevent_flags::CU_EVENT_DEFAULT));
        let make = || Ok(Self { start: event()?, lap: event()?, stop: event()? });
        make().map_err(during("making events"))
    }

    pub(super) fn start(&self, stream: &Stream) -> Result<(), TensorRtError> {
        self.start.record(&stream.0).map_err(during("recording an event"))
    }

    pub(super) fn lap(&self, stream: &Stream) -> Result<(), TensorRtError> {
        self.lap.record(&stream.0).map_err(during("recording an event"))
    }

    pub(super) fn stop(&self, stream: &Stream) -> Result<(), TensorRtError> {
        self.stop.record(&stream.0).map_err(during("recording an event"))
    }

    /// The time from start to lap and from start to stop; waits for the stop.
    pub(super) fn times(&self) -> Result<[Duration; 2], TensorRtError> {
        let until = |event| -> Result<Duration, TensorRtError> {
            let milliseconds = self.start.elapsed_ms(event).map_err(during("reading an event"))?;
            Ok(Duration::from_secs_f64(f64::from(milliseconds.max(0.0)) / 1e3))
        };
        Ok([until(&self.lap)?, until(&self.stop)?])
    }
}

pub(super) fn during(doing: &'static str) -> impl Fn(DriverError) -> TensorRtError {
    move |error| match error.0 {
        sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => TensorRtError::Memory { doing },
        _ => TensorRtError::Cuda { doing, reason: error.to_string() },
    }
}
