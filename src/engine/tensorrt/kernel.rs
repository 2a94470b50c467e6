//! Our own kernels: one lays a picture out and normalises it on the GPU, so that the CPU touches nothing but the small
//! picture's bytes; one copies where the driver would have the host wait. `make test-kernel` compiles it again, for every GPU that is served.

use std::ffi::{CStr, c_int, c_void};
use std::sync::Arc;

use cudarc::driver::{CudaContext, result, sys};

use super::error::TensorRtError;
use super::stream::{Stream, during};
use crate::engine::Layout;

/// `kernels.cu`, compiled for the oldest GPU that is served; the driver makes it into code for the one at hand.
const PTX: &CStr = match CStr::from_bytes_with_nul(concat!(include_str!("kernels.ptx"), "\0").as_bytes()) {
    Ok(text) => text,
    Err(_) => panic!("kernels.ptx holds a NUL"),
};

/// Threads of a block, across and down.
const BLOCK: [u32; 2] = [32, 8];

/// `struct Layout` of `kernels.cu`.
#[repr(C)]
struct Arguments {
    input: [c_int; 2],
    picture: [c_int; 2],
    padding: [c_int; 2],
    channels: [c_int; 3],
    mean: [f32; 3],
    deviation: [f32; 3],
}

/// Threads of a block that copies.
const COPIERS: u32 = 256;

/// The loaded kernels.
#[derive(Debug)]
pub(super) struct Kernel {
    context: Arc<CudaContext>,
    module: sys::CUmodule,
    lay: sys::CUfunction,
    copy: sys::CUfunction,
}

// SAFETY: modules and functions belong to the context, not to a thread.
unsafe impl Send for Kernel {}
// SAFETY: as for `Send`; nothing in it changes.
unsafe impl Sync for Kernel {}

impl Kernel {
    pub(super) fn load(context: &Arc<CudaContext>) -> Result<Self, TensorRtError> {
        let failed = during("loading the kernels");
        context.bind_to_thread().map_err(&failed)?;
        // SAFETY: the context is current, and the text ends in NUL.
        let module = unsafe { result::module::load_data(PTX.as_ptr().cast()) }.map_err(&failed)?;
        // From here on dropping unloads the module.
        let none = std::ptr::null_mut();
        let mut kernel = Self { context: Arc::clone(context), module, lay: none, copy: none };
        // SAFETY: the module was just loaded.
        let function = |name: &CStr| unsafe { result::module::get_function(module, name.to_owned()) };
        kernel.lay = function(c"lay_picture").map_err(&failed)?;
        kernel.copy = function(c"copy_numbers").map_err(&failed)?;
        Ok(kernel)
    }

    /// Enqueues the way of the picture at `rgb` to the tensor at `input`.
    ///
    /// # Safety
    /// `rgb` must be device memory of [`Layout::bytes`], and `input` of as many floats as [`Layout::shape`] says; both
    /// must stay allocated until `stream` has come past.
    pub(super) unsafe fn lay(
        &self,
        layout: &Layout,
        mut rgb: u64,
        mut input: u64,
        stream: &Stream,
    ) -> Result<(), TensorRtError> {
        let fit = &layout.fit;
        let sides = |size: crate::geometry::Size| [size.width as c_int, size.height as c_int];
        let mut arguments = Arguments {
            input: sides(fit.input),
            picture: sides(fit.picture),
            padding: [fit.left as c_int, fit.top as c_int],
            channels: layout.channels.map(|channel| channel as c_int),
            mean: layout.mean,
            deviation: layout.deviation,
        };
        let grid = (fit.input.width.div_ceil(BLOCK[0]), fit.input.height.div_ceil(BLOCK[1]), 1);
        let mut pointers: [*mut c_void; 3] =
            [(&raw mut rgb).cast(), (&raw mut input).cast(), (&raw mut arguments).cast()];
        // SAFETY: the three arguments are those of the kernel and are copied by the call; each thread stays within
        // the picture and the input, for which the caller vouches.
        unsafe {
            result::launch_kernel(self.lay, grid, (BLOCK[0], BLOCK[1], 1), 0, stream.cu(), &mut pointers)
        }
        .map_err(during("laying a picture out"))
    }

    /// Enqueues the way of `count` floats at `from` to `to`.
    ///
    /// # Safety
    /// The GPU must reach as many floats at both, which must stay allocated until `stream` has come past.
    pub(super) unsafe fn copy(
        &self,
        mut from: u64,
        mut to: u64,
        count: usize,
        stream: &Stream,
    ) -> Result<(), TensorRtError> {
        if count == 0 {
            return Ok(()); // no grid is as small
        }
        let mut numbers = count as c_int;
        let grid = ((count as u32).div_ceil(COPIERS), 1, 1);
        let mut pointers: [*mut c_void; 3] =
            [(&raw mut from).cast(), (&raw mut to).cast(), (&raw mut numbers).cast()];
        // SAFETY: the three arguments are those of the kernel and are copied by the call; each thread stays within
        // both places, for which the caller vouches.
        unsafe { result::launch_kernel(self.copy, grid, (COPIERS, 1, 1), 0, stream.cu(), &mut pointers) }
            .map_err(during("copying on the GPU"))
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        if self.context.bind_to_thread().is_ok() {
            // SAFETY: the module was loaded in `load` and is unloaded here only.
            let _ = unsafe { result::module::unload(self.module) };
        }
    }
}
