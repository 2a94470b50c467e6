//! A GPU with nothing to do goes to sleep and wakes slowly: whoever sees few pictures may keep it awake.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::cuda::Device;
use super::error::TensorRtError;
use super::memory::Memory;

/// Numbers that are set each time.
const NUMBERS: usize = 1 << 16;

/// It never works more often than this.
const BUSIEST: Duration = Duration::from_millis(1);

/// Gives the GPU a little to do every now and then, on a thread and a stream of its own, until it is dropped.
pub(super) struct Warmth {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Warmth {
    /// Lets the GPU work at least once in `every`.
    pub(super) fn new(device: &Device, every: Duration) -> Result<Self, TensorRtError> {
        let (memory, stream) = (Memory::<f32>::new(device, NUMBERS)?, device.stream()?);
        let (stop, stopped) = channel();
        let work = move || {
            while stopped.recv_timeout(every.max(BUSIEST)) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = memory.clear(&stream).and_then(|()| stream.wait()) {
                    tracing::debug!("the GPU is kept awake no longer: {error}");
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
