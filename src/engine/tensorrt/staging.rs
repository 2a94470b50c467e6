//! Room in turn for what several runs that are under way at once are given, and for what they gave.

use std::collections::VecDeque;
use std::sync::Arc;

use super::cuda::Device;
use super::error::TensorRtError;
use super::lent::{Readers, Spot};
use super::memory::{Memory, Number};
use super::stream::{MOST_UNDER_WAY, Stopwatch, Stream};

/// Buffers for an input of the next run, while runs before it read theirs; the oldest comes first.
pub(super) struct Staging<T: Number> {
    make: fn(&Device, usize) -> Result<Memory<T>, TensorRtError>,
    buffers: VecDeque<Buffer<T>>,
}

struct Buffer<T: Number> {
    memory: Memory<T>,
    /// The run that reads it, if any did.
    reader: Option<Arc<Stopwatch>>,
}

impl<T: Number> Buffer<T> {
    fn is_free(&self) -> Result<bool, TensorRtError> {
        self.reader.as_ref().map_or(Ok(true), |run| run.is_over())
    }
}

impl<T: Number> Staging<T> {
    /// No buffers yet, each to be made so.
    pub(super) fn new(make: fn(&Device, usize) -> Result<Memory<T>, TensorRtError>) -> Self {
        Self { make, buffers: VecDeque::new() }
    }

    /// The same with `count` buffers of `len` numbers to begin with.
    pub(super) fn with(mut self, device: &Device, len: usize, count: usize) -> Result<Self, TensorRtError> {
        for _ in 0..count {
            self.buffers.push_back(Buffer { memory: (self.make)(device, len)?, reader: None });
        }
        Ok(self)
    }

    /// Puts `numbers` into a buffer of `len` that no run reads.
    pub(super) fn put(&mut self, device: &Device, len: usize, numbers: &[T]) -> Result<(), TensorRtError> {
        self.make_room(device, len)?;
        if let Some(buffer) = self.buffers.back_mut() {
            buffer.memory.write(numbers);
            buffer.reader = None;
        }
        Ok(())
    }

    /// Puts a buffer that no run reads at the end: the oldest, if it is free or must be waited for, or a new one.
    fn make_room(&mut self, device: &Device, len: usize) -> Result<(), TensorRtError> {
        let is_free = self.buffers.front().map_or(Ok(false), Buffer::is_free)?;
        if !is_free && self.buffers.len() < MOST_UNDER_WAY {
            match (self.make)(device, len) {
                // Whoever waits needs no more memory.
                Err(TensorRtError::Memory { .. }) if !self.buffers.is_empty() => {}
                made => {
                    self.buffers.push_back(Buffer { memory: made?, reader: None });
                    return Ok(());
                }
            }
        }
        self.buffers.rotate_left(1);
        let reader = self.buffers.back().and_then(|oldest| oldest.reader.as_ref());
        reader.map_or(Ok(()), |run| run.wait())
    }

    /// The run of `watch`, which goes on to time another, is over.
    pub(super) fn let_go(&mut self, watch: &Arc<Stopwatch>) {
        let read =
            |buffer: &&mut Buffer<T>| buffer.reader.as_ref().is_some_and(|run| Arc::ptr_eq(run, watch));
        self.buffers.iter_mut().filter(read).for_each(|buffer| buffer.reader = None);
    }

    /// What was put last.
    pub(super) fn last(&self) -> Option<&Memory<T>> {
        self.buffers.back().map(|buffer| &buffer.memory)
    }

    /// The run that reads what was put last is over when `watch` stops.
    pub(super) fn read_by(&mut self, watch: &Arc<Stopwatch>) {
        if let Some(buffer) = self.buffers.back_mut() {
            buffer.reader = Some(Arc::clone(watch));
        }
    }
}

/// Room for outputs that somebody still wants to read when their place is used for the next run's.
#[derive(Default)]
pub(super) struct Spares(Vec<Spare>);

struct Spare {
    memory: Arc<Memory<f32>>,
    /// Stopped when the output is there.
    ready: Arc<Stopwatch>,
    readers: Readers,
}

impl Spares {
    /// Has `stream` copy the first `len` numbers of `spot`, where `stream` computed them, to a place of their own; `None` if
    /// there is no room.
    pub(super) fn keep(
        &mut self,
        len: usize,
        spot: &Spot,
        stream: &Stream,
    ) -> Result<Option<Spot>, TensorRtError> {
        let Some(spare) = self.free(&spot.memory) else { return Ok(None) };
        let Spare { memory, ready, readers } = spare;
        readers.keep_waiting(stream)?;
        memory.copy(&spot.memory, len, stream)?;
        if spot.sent {
            memory.download(len, stream)?;
        }
        ready.stop(stream)?;
        Ok(Some(Spot {
            memory: Arc::clone(memory),
            ready: Arc::clone(ready),
            stream: stream.clone(),
            sent: spot.sent,
            readers: readers.clone(),
            missed: Arc::clone(&spot.missed),
        }))
    }

    /// Has `stream` wait, on the GPU, for the runs of other graphs that read one of them.
    pub(super) fn await_readers(&self, stream: &Stream) -> Result<(), TensorRtError> {
        self.0.iter().try_for_each(|spare| spare.readers.keep_waiting(stream))
    }

    /// A place that nobody holds any more, or a new one as large as `like`.
    fn free(&mut self, like: &Memory<f32>) -> Option<&Spare> {
        let mut spares = self.0.iter_mut();
        let free = spares.position(|Spare { memory, .. }| {
            memory.is_shared() == like.is_shared() && Arc::get_mut(memory).is_some()
        });
        let place = free.or_else(|| self.grow(like))?;
        self.0.get(place)
    }

    fn grow(&mut self, like: &Memory<f32>) -> Option<usize> {
        if self.0.len() == MOST_UNDER_WAY {
            return None;
        }
        let (memory, ready) = (like.like().ok()?, like.device().stopwatch().ok()?);
        self.0.push(Spare { memory: Arc::new(memory), ready: Arc::new(ready), readers: Readers::default() });
        Some(self.0.len() - 1)
    }
}
