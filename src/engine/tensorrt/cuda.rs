//! The GPU.
//!
//! The driver is loaded while the program runs, so a machine without one gets an error and nothing
//! else. Runs against a fake driver in the tests; on a real GPU it has not run yet.

use std::path::Path;
use std::sync::Arc;

use cudarc::driver::{CudaContext, DriverError, result, sys};

use super::error::TensorRtError;
use super::kernel::Kernel;
use super::stream::{Stopwatch, Stream, during};
use super::target::Gpu;
use crate::bounded;

/// Where a Jetson tells its release, which its driver is part of.
const JETSON: &str = "/etc/nv_tegra_release";
/// Where NVIDIA's kernel module tells its version on other machines. A Jetson's is that of its display, or not there.
const MODULE: &str = "/sys/module/nvidia/version";

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
            release: release(Path::new(JETSON), Path::new(MODULE)),
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

/// Which driver it is, as the first of these files tells it; nothing where there is none.
fn release(jetson: &Path, module: &Path) -> String {
    let read =
        |file| bounded::read(file, bounded::TEXT).map(|text| String::from_utf8_lossy(&text).into_owned());
    // "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, …"
    let of_jetson = |text: String| {
        text.lines().next().unwrap_or_default().split(", ").take(2).collect::<Vec<_>>().join(", ")
    };
    let told = read(jetson).map(of_jetson).or_else(|_| read(module)).unwrap_or_default();
    told.trim_start_matches('#').trim().to_owned()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_is_that_of_the_jetsons_release_or_the_modules() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [jetson, module] = ["nv_tegra_release", "version"].map(|name| folder.path().join(name));
        assert_eq!(release(&jetson, &module), "");
        std::fs::write(&module, "540.4.0\n").expect("room for a file");
        assert_eq!(release(&jetson, &module), "540.4.0");
        let told = "# R35 (release), REVISION: 6.0, GCID: 37391689, BOARD: t186ref, EABI: aarch64, DATE: Wed\n# KERNEL_VARIANT: oot\n";
        std::fs::write(&jetson, told).expect("room for a file");
        assert_eq!(release(&jetson, &module), "R35 (release), REVISION: 6.0");
    }
}
