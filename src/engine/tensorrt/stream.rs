//! Streams that wait for each other, recorded work, and the time it takes.

use std::ffi::c_void;
use std::sync::Arc;
use std::time::Duration;

use cudarc::driver::{CudaContext, CudaEvent, CudaGraph, CudaStream, DriverError, sys};

use super::error::TensorRtError;

/// Runs of one graph that may be under way at once, as hops of sound between two pictures are; beyond that the host waits.
pub(super) const MOST_UNDER_WAY: usize = 8;

/// A queue of GPU work.
#[derive(Debug, Clone)]
pub(super) struct Stream(Arc<CudaStream>);

impl Stream {
    /// A stream of its own on the device of `context`.
    pub(super) fn new(context: &Arc<CudaContext>) -> Result<Self, TensorRtError> {
        context.new_stream().map(Self).map_err(during("making a stream"))
    }

    /// The `CUstream`, valid as long as this lives.
    pub(super) fn raw(&self) -> *mut c_void {
        self.0.cu_stream().cast()
    }

    /// The same, for the driver's own functions.
    pub(super) fn cu(&self) -> sys::CUstream {
        self.0.cu_stream()
    }

    /// What is enqueued from now on waits, on the GPU, until another stream has come to where `watch` was stopped. The
    /// calling thread has taken up the device afterwards.
    pub(super) fn after(&self, watch: &Stopwatch) -> Result<(), TensorRtError> {
        self.0.wait(&watch.stop).map_err(during("waiting for an event"))
    }

    /// Waits until everything enqueued so far is done. The calling thread has taken up the device afterwards.
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
    pub(super) fn new(context: &Arc<CudaContext>) -> Result<Self, TensorRtError> {
        let event = || context.new_event(Some(sys::CUevent_flags::CU_EVENT_BLOCKING_SYNC));
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

    /// Whether the stop was reached.
    pub(super) fn is_over(&self) -> Result<bool, TensorRtError> {
        // The one call that does not take up the device by itself.
        self.stop
            .context()
            .bind_to_thread()
            .and_then(|()| self.stop.try_is_complete())
            .map_err(during("waiting for the GPU"))
    }

    /// Waits for the stop.
    pub(super) fn wait(&self) -> Result<(), TensorRtError> {
        self.stop.synchronize().map_err(during("waiting for the GPU"))
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

/// The error of the driver while something was under way.
pub(super) fn during(doing: &'static str) -> impl Fn(DriverError) -> TensorRtError {
    move |error| match error.0 {
        sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => TensorRtError::Memory { doing },
        _ => TensorRtError::Cuda { doing, reason: error.to_string() },
    }
}
