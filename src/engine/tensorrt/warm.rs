//! A GPU with nothing to do goes to sleep and wakes slowly: whoever sees few pictures may keep it awake.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use super::cuda::Device;
use super::error::TensorRtError;
use super::memory::Memory;

/// Numbers that are set each time.
const NUMBERS: usize = 1 << 16;

/// It never works more often than this.
const BUSIEST: Duration = Duration::from_millis(1);

/// Keeps the GPU awake while there is a graph for it.
#[derive(Default)]
pub(super) struct Waker {
    every: Duration,
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    warmth: Weak<Warmth>,
    /// Whether it was said that there is none.
    told: bool,
}

impl Waker {
    /// Lets the GPU work at least once in `every`; never, if that is zero.
    pub(super) fn new(every: Duration) -> Self {
        Self { every, now: Mutex::default() }
    }

    /// What a graph holds as long as the GPU is to be awake for it: the same for all; `None` if it may sleep, or must.
    pub(super) fn warmth(&self, device: &Device) -> Option<Arc<Warmth>> {
        if self.every.is_zero() {
            return None;
        }
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(warmth) = now.warmth.upgrade() {
            return Some(warmth);
        }
        match Warmth::new(device, self.every) {
            Ok(warmth) => {
                let warmth = Arc::new(warmth);
                now.warmth = Arc::downgrade(&warmth);
                Some(warmth)
            }
            Err(error) => {
                if !std::mem::replace(&mut now.told, true) {
                    tracing::warn!("the GPU is not kept awake: {error}");
                }
                None
            }
        }
    }
}

/// Gives the GPU a little to do every now and then, on a thread and a stream of its own, until it is dropped.
pub(super) struct Warmth {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Warmth {
    /// Lets the GPU work at least once in `every`.
    fn new(device: &Device, every: Duration) -> Result<Self, TensorRtError> {
        let (memory, stream) = (Memory::<f32>::on_gpu(device, NUMBERS)?, device.stream()?);
        let (stop, stopped) = channel();
        let work = move || {
            while stopped.recv_timeout(every.max(BUSIEST)) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = memory.clear(&stream).and_then(|()| stream.wait()) {
                    tracing::warn!("the GPU is kept awake no longer: {error}");
                    break;
                }
            }
        };
        let thread = std::thread::Builder::new().name("warm".into()).spawn(work);
        let thread = thread.inspect_err(|error| tracing::warn!("no thread to keep the GPU awake: {error}"));
        Ok(Self { stop: Some(stop), thread: thread.ok() })
    }
}

impl Drop for Warmth {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
