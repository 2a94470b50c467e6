//! What a graph gave and another takes, left where it was computed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::TensorRtError;
use super::memory::Memory;
use super::stream::{MOST_UNDER_WAY, Stopwatch, Stream};
use crate::engine::Tensor;

/// What goes wrong if an output cannot be put aside.
const KEEPING: &str = "keeping an output";

/// An output on the GPU. Before its graph runs again it is put aside if somebody still holds it, so it never changes; if
/// nobody does, it serves for another run's.
/// It is read by the thread that runs its graph, for its stream may just be recorded.
#[derive(Debug, Default)]
pub struct Lent {
    shape: Vec<usize>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    place: Place,
    /// The values, where the host has them.
    numbers: Vec<f32>,
}

#[derive(Debug, Default)]
enum Place {
    Gpu(Spot),
    #[default]
    Host,
    /// The GPU failed before it was put aside, perhaps for want of memory.
    Gone {
        reason: String,
        lacking: bool,
    },
}

/// Where an output lies, and when it is there.
#[derive(Debug, Clone)]
pub(super) struct Spot {
    pub memory: Arc<Memory<f32>>,
    /// Stopped when the output is there.
    pub ready: Arc<Stopwatch>,
    /// The stream of its graph.
    pub stream: Stream,
    /// Whether it is on the host's side as well when it is ready.
    pub sent: bool,
    /// Who reads it on the GPU.
    pub readers: Readers,
    /// Set when the host reads what was not sent to it.
    pub missed: Arc<AtomicBool>,
}

impl Spot {
    /// Whether the host has it already.
    fn is_here(&self) -> Result<bool, TensorRtError> {
        Ok(self.sent && self.ready.is_over()?)
    }
}

/// The runs that read an output where it lies: its graph runs again only after them.
#[derive(Debug, Clone)]
pub(super) struct Readers(Arc<Mutex<Vec<Arc<Stopwatch>>>>);

impl Default for Readers {
    /// With room for the runs of both stages.
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Vec::with_capacity(2 * MOST_UNDER_WAY))))
    }
}

impl Readers {
    /// Notes a run, over when `watch` stops.
    pub fn note(&self, watch: &Arc<Stopwatch>) {
        let mut readers = lock(&self.0);
        if !readers.iter().any(|known| Arc::ptr_eq(known, watch)) {
            readers.push(Arc::clone(watch));
        }
    }

    /// Has `stream` wait, on the GPU, until all of them are over.
    pub fn keep_waiting(&self, stream: &Stream) -> Result<(), TensorRtError> {
        lock(&self.0).drain(..).try_for_each(|watch| stream.after(&watch))
    }
}

impl Lent {
    /// Is the output of such a shape at `spot` from now on.
    pub(super) fn lie(&mut self, shape: impl Iterator<Item = usize>, spot: Spot) {
        self.shape.clear();
        self.shape.extend(shape);
        let count = self.count();
        let kept = self.kept.get_mut().unwrap_or_else(PoisonError::into_inner);
        kept.numbers.clear();
        if spot.sent {
            kept.numbers.reserve(count); // it may be here by the time it must make way
        }
        kept.place = Place::Gpu(spot);
    }

    /// Lets go of where it lies.
    pub(super) fn let_go(&mut self) {
        self.kept.get_mut().unwrap_or_else(PoisonError::into_inner).place = Place::Host;
    }

    /// Length of every axis.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Where it lies, while that is on the GPU.
    pub(super) fn spot(&self) -> Option<Spot> {
        match &lock(&self.kept).place {
            Place::Gpu(spot) => Some(spot.clone()),
            Place::Host | Place::Gone { .. } => None,
        }
    }

    /// The values; waits for the GPU if they are there.
    ///
    /// # Errors
    /// If the GPU failed.
    pub fn read(&self) -> Result<Tensor, TensorRtError> {
        let mut tensor = Tensor::default();
        self.read_into(&mut tensor)?;
        Ok(tensor)
    }

    /// The same, in place of what `tensor` held.
    ///
    /// # Errors
    /// If the GPU failed.
    pub fn read_into(&self, tensor: &mut Tensor) -> Result<(), TensorRtError> {
        tensor.shape.clone_from(&self.shape);
        let kept = lock(&self.kept);
        match &kept.place {
            Place::Gpu(spot) => return fetch(self.count(), spot, &mut tensor.data),
            Place::Host => tensor.data.clone_from(&kept.numbers),
            Place::Gone { lacking: true, .. } => return Err(TensorRtError::Memory { doing: KEEPING }),
            Place::Gone { reason, .. } => {
                return Err(TensorRtError::Cuda { doing: KEEPING, reason: reason.clone() });
            }
        }
        Ok(())
    }

    /// Waits once for all that are sent to the host: the last one's stream for the others on the GPU, and the host for that
    /// stream alone.
    pub(in crate::engine) fn await_all<'a>(
        lents: impl DoubleEndedIterator<Item = &'a Self>,
    ) -> Result<(), TensorRtError> {
        let mut waits: Option<Stream> = None;
        for Spot { ready, stream, .. } in lents.rev().filter_map(Self::spot).filter(|spot| spot.sent) {
            if !ready.is_over()? {
                waits.get_or_insert(stream).after(&ready)?;
            }
        }
        waits.map_or(Ok(()), |stream| stream.wait())
    }

    /// Whether the host would have to wait for it.
    pub fn is_coming(&self) -> bool {
        self.spot().is_some_and(|spot| !spot.is_here().unwrap_or(false))
    }

    /// Puts the values aside if they lie in `memory`, before it is used for others: where `keep` has room for so many numbers
    /// of a spot, or in the host's memory.
    pub(super) fn make_way(
        &self,
        memory: &Arc<Memory<f32>>,
        keep: impl FnOnce(usize, &Spot) -> Result<Option<Spot>, TensorRtError>,
    ) {
        let Kept { place, numbers } = &mut *lock(&self.kept);
        let Place::Gpu(spot) = &*place else { return };
        if !Arc::ptr_eq(&spot.memory, memory) {
            return;
        }
        let kept = spot.is_here().and_then(|here| if here { Ok(None) } else { keep(self.count(), spot) });
        let kept = kept.and_then(|kept| match kept {
            Some(spot) => Ok(Place::Gpu(spot)),
            None => fetch(self.count(), spot, numbers).map(|()| Place::Host),
        });
        *place = kept.unwrap_or_else(|error| Place::Gone {
            reason: error.to_string(),
            lacking: error.out_of_memory(),
        });
    }

    /// How many values there are.
    pub(super) fn count(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Brings so many numbers of a spot to the host; waits for them.
fn fetch(count: usize, spot: &Spot, numbers: &mut Vec<f32>) -> Result<(), TensorRtError> {
    if spot.is_here()? {
        spot.memory.read(count, numbers);
        return Ok(());
    }
    let Spot { ready, stream, .. } = spot;
    stream.after(ready)?;
    let place = bring(count, spot)?;
    stream.wait()?;
    place.read(count, numbers);
    Ok(())
}

/// Enqueues the way of a spot's numbers to the host, if they are not sent there, and tells where they come to.
fn bring(count: usize, spot: &Spot) -> Result<Arc<Memory<f32>>, TensorRtError> {
    let Spot { memory, stream, sent, missed, .. } = spot;
    if *sent {
        return Ok(Arc::clone(memory));
    }
    if memory.is_shared() {
        memory.download(count, stream)?;
        return Ok(Arc::clone(memory));
    }
    missed.store(true, Ordering::Relaxed); // from the next run on it lies where the host reads it
    let place = Memory::new(memory.device(), count)?;
    place.copy(memory, count, stream)?;
    Ok(Arc::new(place))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
