//! The CUDA half: the device, a stream per graph, and memory that is allocated once.
//!
//! The driver is loaded while the program runs, so a machine without one gets an error and nothing
//! else. Runs against a fake driver in the tests; on a real GPU it has not run yet.

use std::ffi::c_void;
use std::sync::Arc;
use std::time::Duration;

use cudarc::driver::{CudaContext, CudaEvent, CudaGraph, CudaStream, DriverError, result, sys};
use serde::{Deserialize, Serialize};

use super::error::TensorRtError;

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
}

/// The first CUDA device, with its primary context.
#[derive(Debug, Clone)]
pub struct Device {
    context: Arc<CudaContext>,
    integrated: bool,
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
        Ok(Self { context, integrated })
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
        })
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
#[derive(Clone)]
pub(super) struct Stream(Arc<CudaStream>);

impl Stream {
    /// The `CUstream`, valid as long as this lives.
    pub(super) fn raw(&self) -> *mut c_void {
        self.0.cu_stream().cast()
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

/// How long the GPU takes from one place in a stream to another.
pub(super) struct Stopwatch {
    start: CudaEvent,
    stop: CudaEvent,
}

impl Stopwatch {
    pub(super) fn new(device: &Device) -> Result<Self, TensorRtError> {
        let event = || device.context.new_event(Some(sys::CUevent_flags::CU_EVENT_DEFAULT));
        let make = || Ok(Self { start: event()?, stop: event()? });
        make().map_err(during("making events"))
    }

    pub(super) fn start(&self, stream: &Stream) -> Result<(), TensorRtError> {
        self.start.record(&stream.0).map_err(during("recording an event"))
    }

    pub(super) fn stop(&self, stream: &Stream) -> Result<(), TensorRtError> {
        self.stop.record(&stream.0).map_err(during("recording an event"))
    }

    /// The time between the two, once the stream was waited for.
    pub(super) fn time(&self) -> Result<Duration, TensorRtError> {
        let milliseconds = self.start.elapsed_ms(&self.stop).map_err(during("reading an event"))?;
        Ok(Duration::from_secs_f64(f64::from(milliseconds.max(0.0)) / 1e3))
    }
}

/// Numbers that both the CPU and the GPU reach. On an integrated GPU they lie once, in host memory
/// that the GPU sees; elsewhere once on each side, pinned on the host, and are copied.
pub(super) struct Memory {
    device: Device,
    host: *mut f32,
    address: sys::CUdeviceptr,
    len: usize,
}

// SAFETY: page-locked memory made with PORTABLE belongs to no thread.
unsafe impl Send for Memory {}

impl Memory {
    /// `len` numbers, all 0.
    pub(super) fn new(device: &Device, len: usize) -> Result<Self, TensorRtError> {
        let failed = during("allocating memory");
        let bytes = len.max(1) * size_of::<f32>();
        device.bind()?;
        let flags = sys::CU_MEMHOSTALLOC_PORTABLE | sys::CU_MEMHOSTALLOC_DEVICEMAP;
        // SAFETY: the device is current; the bytes are set to 0 before anyone reads them.
        let host = unsafe {
            let host = result::malloc_host(bytes, flags).map_err(&failed)?;
            host.cast::<u8>().write_bytes(0, bytes);
            host.cast::<f32>()
        };
        // From here on dropping frees the host memory.
        let mut memory = Self { device: device.clone(), host, address: 0, len };
        // SAFETY: the device is current and `host` is memory that it just mapped.
        memory.address = unsafe {
            if device.integrated {
                let mut address = 0;
                sys::cuMemHostGetDevicePointer_v2(&mut address, host.cast(), 0).result().map_err(&failed)?;
                address
            } else {
                result::malloc_sync(bytes).map_err(&failed)?
            }
        };
        Ok(memory)
    }

    /// How many numbers there is room for.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Where the GPU finds the numbers.
    pub(super) fn address(&self) -> u64 {
        self.address
    }

    /// The numbers as the CPU sees them. No work that touches them may be in the stream.
    pub(super) fn numbers(&mut self) -> &mut [f32] {
        // SAFETY: `host` has room for `len` numbers, all initialised, and `&mut self` is the only way to them;
        // the graph waits for its stream before it comes here.
        unsafe { std::slice::from_raw_parts_mut(self.host, self.len) }
    }

    /// Enqueues the first `len` numbers' way to the GPU.
    pub(super) fn upload(&mut self, len: usize, stream: &Stream) -> Result<(), TensorRtError> {
        if self.device.integrated {
            return Ok(());
        }
        let address = self.address;
        // SAFETY: both sides have room for `len` numbers, and live until the stream was waited for.
        unsafe { result::memcpy_htod_async(address, &self.numbers()[..len], stream.0.cu_stream()) }
            .map_err(during("copying to the GPU"))
    }

    /// Enqueues the first `len` numbers' way back.
    pub(super) fn download(&mut self, len: usize, stream: &Stream) -> Result<(), TensorRtError> {
        if self.device.integrated {
            return Ok(());
        }
        let address = self.address;
        // SAFETY: both sides have room for `len` numbers, and live until the stream was waited for.
        unsafe { result::memcpy_dtoh_async(&mut self.numbers()[..len], address, stream.0.cu_stream()) }
            .map_err(during("copying from the GPU"))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.device.bind().is_err() {
            return; // the device is gone, and its memory with it
        }
        // SAFETY: both were allocated in `new` and are freed here only; the graph that owns this waits
        // for its stream before it drops.
        unsafe {
            if !self.device.integrated && self.address != 0 {
                let _ = result::free_sync(self.address);
            }
            let _ = result::free_host(self.host.cast());
        }
    }
}

fn during(doing: &'static str) -> impl Fn(DriverError) -> TensorRtError {
    move |error| match error.0 {
        sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => TensorRtError::Memory { doing },
        _ => TensorRtError::Cuda { doing, reason: error.to_string() },
    }
}
