//! Memory of the GPU and of the host's, allocated once.

use cudarc::driver::{result, sys};

use super::cuda::Device;
use super::error::TensorRtError;
use super::stream::{Stream, during};

/// What goes wrong if there is no memory.
const ALLOCATING: &str = "allocating memory";

/// A plain number, which is valid whatever its bits are.
pub(super) trait Number: Copy + Send + 'static {}

impl Number for f32 {}
impl Number for u8 {}

/// Numbers that the GPU reaches, and the CPU if they were made for both. For both, they lie once on an integrated GPU, in host
/// memory that the GPU sees; elsewhere once on each side, pinned on the host, and are copied. An integrated GPU does not
/// cache host memory, so what it alone writes and reads is its own there as well.
#[derive(Debug)]
pub(super) struct Memory<T: Number> {
    device: Device,
    /// Null if the CPU does not reach it.
    host: *mut T,
    address: sys::CUdeviceptr,
    len: usize,
}

// SAFETY: page-locked memory made with PORTABLE belongs to no thread.
unsafe impl<T: Number> Send for Memory<T> {}
// SAFETY: the CPU writes through `&mut` only; the order of what the GPU does is that of streams and events.
unsafe impl<T: Number> Sync for Memory<T> {}

impl<T: Number> Memory<T> {
    /// `len` numbers for both sides, all 0 on the host.
    pub(super) fn new(device: &Device, len: usize) -> Result<Self, TensorRtError> {
        let mut memory = Self::staged(device, len)?;
        if !device.integrated {
            memory.take_room()?;
        }
        Ok(memory)
    }

    /// `len` numbers for the GPU alone.
    pub(super) fn on_gpu(device: &Device, len: usize) -> Result<Self, TensorRtError> {
        let mut memory = Self { device: device.clone(), host: std::ptr::null_mut(), address: 0, len };
        memory.take_room()?;
        Ok(memory)
    }

    /// `len` numbers on the host, all 0, that the GPU copies from: it reaches them itself if it is integrated.
    pub(super) fn staged(device: &Device, len: usize) -> Result<Self, TensorRtError> {
        let failed = during(ALLOCATING);
        let bytes = len.max(1) * size_of::<T>();
        device.bind()?;
        let flags = sys::CU_MEMHOSTALLOC_PORTABLE | sys::CU_MEMHOSTALLOC_DEVICEMAP;
        // SAFETY: the device is current; the bytes are set to 0 before anyone reads them.
        let host = unsafe {
            let host = result::malloc_host(bytes, flags).map_err(&failed)?;
            host.cast::<u8>().write_bytes(0, bytes);
            host
        };
        // From here on dropping frees the host memory.
        let mut memory = Self { device: device.clone(), host: host.cast(), address: 0, len };
        if device.integrated {
            // SAFETY: the device is current and `host` is memory that it just mapped.
            unsafe { sys::cuMemHostGetDevicePointer_v2(&mut memory.address, host, 0) }
                .result()
                .map_err(&failed)?;
        }
        Ok(memory)
    }

    /// Allocates the GPU's side, which dropping frees.
    fn take_room(&mut self) -> Result<(), TensorRtError> {
        self.device.bind()?;
        // SAFETY: the device is current.
        let address = unsafe { result::malloc_sync(self.len.max(1) * size_of::<T>()) };
        self.address = address.map_err(during(ALLOCATING))?;
        Ok(())
    }

    /// As many numbers for the same sides.
    pub(super) fn like(&self) -> Result<Self, TensorRtError> {
        let make = if self.is_shared() { Self::new } else { Self::on_gpu };
        make(&self.device, self.len)
    }

    /// Whether the CPU reaches it.
    pub(super) fn is_shared(&self) -> bool {
        !self.host.is_null()
    }

    /// Where it was allocated.
    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// How many numbers there is room for.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Where the GPU finds the numbers.
    pub(super) fn address(&self) -> u64 {
        self.address
    }

    /// Puts `numbers`, at most [`Memory::len`], where the GPU takes them from after [`Memory::upload`]. No work that
    /// reads them may be in a stream, and both sides must reach it.
    pub(super) fn write(&mut self, numbers: &[T]) {
        let room = if self.is_shared() { self.len } else { 0 };
        assert!(numbers.len() <= room, "{} numbers for {room}", numbers.len());
        // SAFETY: there is room, as was just checked; `&mut self` is the CPU's only way to it.
        unsafe { self.host.copy_from_nonoverlapping(numbers.as_ptr(), numbers.len()) }
    }

    /// Puts the first `len` numbers as the CPU sees them into `numbers`, none where it does not reach them. No work that
    /// writes them may be in a stream.
    pub(super) fn read(&self, len: usize, numbers: &mut Vec<T>) {
        numbers.clear();
        if self.is_shared() {
            // SAFETY: `host` has room for `self.len` numbers, all initialised and valid, and nobody writes them now.
            numbers.extend_from_slice(unsafe { std::slice::from_raw_parts(self.host, len.min(self.len)) });
        }
    }

    /// Enqueues setting every bit of it to 0, on the GPU's side.
    pub(super) fn clear(&self, stream: &Stream) -> Result<(), TensorRtError> {
        self.device.bind()?;
        let bytes = self.len * size_of::<T>();
        // SAFETY: there is room for that many bytes, which live until the stream was waited for.
        unsafe { sys::cuMemsetD8Async(self.address, 0, bytes, stream.cu()) }
            .result()
            .map_err(during("clearing memory"))
    }

    /// Enqueues the way of the first `len` numbers that were written to the GPU.
    pub(super) fn upload(&self, len: usize, stream: &Stream) -> Result<(), TensorRtError> {
        if self.device.integrated { Ok(()) } else { self.send(self, len, stream) }
    }

    /// Enqueues the way of the first `len` numbers on the host's side of `from` to the GPU's side here.
    fn send(&self, from: &Self, len: usize, stream: &Stream) -> Result<(), TensorRtError> {
        let bytes = len.min(self.len).min(from.len) * size_of::<T>();
        // SAFETY: both sides have room for that many bytes, and live until the stream was waited for.
        unsafe { sys::cuMemcpyHtoDAsync_v2(self.address, from.host.cast(), bytes, stream.cu()) }
            .result()
            .map_err(during("copying to the GPU"))
    }

    /// Enqueues the first `len` numbers' way back, where the CPU reaches them.
    pub(super) fn download(&self, len: usize, stream: &Stream) -> Result<(), TensorRtError> {
        if self.device.integrated || !self.is_shared() {
            return Ok(());
        }
        let bytes = len.min(self.len) * size_of::<T>();
        // SAFETY: both sides have room for that many bytes, and live until the stream was waited for.
        unsafe { sys::cuMemcpyDtoHAsync_v2(self.host.cast(), self.address, bytes, stream.cu()) }
            .result()
            .map_err(during("copying from the GPU"))
    }
}

impl Memory<f32> {
    /// [`Memory::upload`] of what was written to `staged`.
    pub(super) fn upload_from(
        &self,
        staged: &Self,
        len: usize,
        stream: &Stream,
    ) -> Result<(), TensorRtError> {
        if self.device.integrated { self.copy(staged, len, stream) } else { self.send(staged, len, stream) }
    }

    /// Enqueues a copy of the first `len` numbers of `from`, on the GPU's side.
    pub(super) fn copy(&self, from: &Self, len: usize, stream: &Stream) -> Result<(), TensorRtError> {
        let len = len.min(self.len).min(from.len);
        self.end_with(len, from, len, stream)
    }

    /// Enqueues a copy of the last of the first `len` numbers of `from` into the last of the first `room` here, as many
    /// as both have, on the GPU's side.
    pub(super) fn end_with(
        &self,
        room: usize,
        from: &Self,
        len: usize,
        stream: &Stream,
    ) -> Result<(), TensorRtError> {
        let (room, len) = (room.min(self.len), len.min(from.len));
        let count = room.min(len);
        let place = |address: u64, before: usize| address + (before * size_of::<f32>()) as u64;
        let (to, from) = (place(self.address, room - count), place(from.address, len - count));
        match &self.device.kernel {
            // What both see lies in the host's memory, and between two places there the driver's copy has the host wait.
            // SAFETY: both sides have room for that many numbers from there on, and live until the stream was waited for.
            Some(kernel) if self.device.integrated => unsafe { kernel.copy(from, to, count, stream) },
            // SAFETY: as above.
            _ => unsafe { sys::cuMemcpyAsync(to, from, count * size_of::<f32>(), stream.cu()) }
                .result()
                .map_err(during("copying on the GPU")),
        }
    }
}

impl<T: Number> Drop for Memory<T> {
    fn drop(&mut self) {
        if self.device.bind().is_err() {
            return; // the device is gone, and its memory with it
        }
        // SAFETY: both were allocated for this one and are freed here only. The graph that writes it, and every graph that reads
        // it, holds it until it has waited for its run.
        unsafe {
            if self.address != 0 && !(self.device.integrated && self.is_shared()) {
                let _ = result::free_sync(self.address);
            }
            if self.is_shared() {
                let _ = result::free_host(self.host.cast());
            }
        }
    }
}
