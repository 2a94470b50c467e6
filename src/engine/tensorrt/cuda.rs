//! The GPU.
//!
//! The driver is loaded while the program runs, so a machine without one gets an error and nothing
//! else. Runs against a fake driver in the tests; on a real GPU it has not run yet.

use std::sync::Arc;

use cudarc::driver::{CudaContext, DriverError, result, sys};

use super::error::TensorRtError;
use super::kernel::Kernel;
use super::stream::{Stopwatch, Stream, during};
use super::target::Gpu;

/// Where NVIDIA's kernel module tells its version; that of JetPack 5 does not.
const RELEASE: &str = "/sys/module/nvidia/version";

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
    /// [`TensorRtError::NoDriver`] or [`TensorRtError::NoDevice`].
    pub fn first() -> Result<Self, TensorRtError> {
        // SAFETY: this loads libcuda, whose initialisers are safe to run.
        if !unsafe { sys::is_culib_present() } {
            return Err(TensorRtError::NoDriver);
        }
        let none = |error: DriverError| TensorRtError::NoDevice { reason: error.to_string() };
        wait_without_spinning();
        let context = CudaContext::new(0).map_err(none)?;
        // SAFETY: no `CudaSlice` is made; what waits for what is told here, by events of our own.
        unsafe { context.disable_event_tracking() };
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
        Stream::new(&self.context)
    }

    /// Three places in a stream, still to be set.
    pub(super) fn stopwatch(&self) -> Result<Stopwatch, TensorRtError> {
        Stopwatch::new(&self.context)
    }
}

/// Has a thread that waits for the GPU sleep: by itself the driver may keep a whole core busy with looking.
fn wait_without_spinning() {
    let flag = sys::CUctx_flags::CU_CTX_SCHED_BLOCKING_SYNC as u32;
    let set = result::init().and_then(|()| result::device::get(0)).and_then(|device| {
        // SAFETY: the driver is initialised and the device is its own.
        unsafe { sys::cuDevicePrimaryCtxSetFlags_v2(device, flag) }.result()
    });
    if let Err(error) = set {
        tracing::debug!("waiting for the GPU may keep a core busy: {error}");
    }
}
