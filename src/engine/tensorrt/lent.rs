//! What a graph gave and another takes, left where it was computed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::TensorRtError;
use super::memory::Memory;
use super::stream::{Stopwatch, Stream};
use crate::engine::Tensor;

/// What goes wrong if an output cannot be put aside.
const KEEPING: &str = "keeping an output";

/// An output on the GPU. Before its graph runs again it is put aside if somebody still holds it, so it never changes.
/// It is read by the thread that runs its graph, for its stream may just be recorded.
#[derive(Debug)]
pub struct Lent {
    shape: Vec<usize>,
    place: Mutex<Place>,
}

#[derive(Debug)]
enum Place {
    Gpu(Spot),
    Host(Tensor),
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
#[derive(Debug, Clone, Default)]
pub(super) struct Readers(Arc<Mutex<Vec<Arc<Stopwatch>>>>);

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
    pub(super) fn new(shape: Vec<usize>, spot: Spot) -> Self {
        Self { shape, place: Mutex::new(Place::Gpu(spot)) }
    }

    /// Length of every axis.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Where it lies, while that is on the GPU.
    pub(super) fn spot(&self) -> Option<Spot> {
        match &*lock(&self.place) {
            Place::Gpu(spot) => Some(spot.clone()),
            Place::Host(_) | Place::Gone { .. } => None,
        }
    }

    /// The values; waits for the GPU if they are there.
    ///
    /// # Errors
    /// If the GPU failed.
    pub fn read(&self) -> Result<Tensor, TensorRtError> {
        Ok(Self::read_all(&[self])?.remove(0))
    }

    /// The values of several, none of them twice; waits once for all that are on the GPU.
    ///
    /// # Errors
    /// If the GPU failed.
    pub fn read_all(lents: &[&Self]) -> Result<Vec<Tensor>, TensorRtError> {
        let places: Vec<_> = lents.iter().map(|lent| (lent.count(), lock(&lent.place))).collect();
        let on_gpu = places.iter().filter_map(|(count, place)| match &**place {
            Place::Gpu(spot) => Some((*count, spot)),
            Place::Host(_) | Place::Gone { .. } => None,
        });
        let mut fetched = fetch(&on_gpu.collect::<Vec<_>>())?.into_iter();
        let read = |(lent, (_, place)): (&&Self, &(usize, MutexGuard<'_, Place>))| match &**place {
            Place::Gpu(_) => {
                Ok(Tensor { shape: lent.shape.clone(), data: fetched.next().unwrap_or_default() })
            }
            Place::Host(tensor) => Ok(tensor.clone()),
            Place::Gone { lacking: true, .. } => Err(TensorRtError::Memory { doing: KEEPING }),
            Place::Gone { reason, .. } => Err(TensorRtError::Cuda { doing: KEEPING, reason: reason.clone() }),
        };
        lents.iter().zip(&places).map(read).collect()
    }

    /// Whether the host would have to wait for it.
    pub fn is_coming(&self) -> bool {
        self.spot().is_some_and(|spot| !spot.is_here().unwrap_or(false))
    }

    /// Puts the values aside, before their place is used for others: where `keep` has room for so many numbers of a spot, or in
    /// the host's memory.
    pub(super) fn make_way(&self, keep: impl FnOnce(usize, &Spot) -> Result<Option<Spot>, TensorRtError>) {
        let mut place = lock(&self.place);
        let Place::Gpu(spot) = &*place else { return };
        let kept = spot.is_here().and_then(|here| if here { Ok(None) } else { keep(self.count(), spot) });
        let kept = kept.and_then(|kept| match kept {
            Some(spot) => Ok(Place::Gpu(spot)),
            None => {
                let data = fetch(&[(self.count(), spot)])?.pop().unwrap_or_default();
                Ok(Place::Host(Tensor { shape: self.shape.clone(), data }))
            }
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

/// Brings so many numbers of each spot to the host: the last one's stream waits for all of them on the GPU, and the host for
/// that stream alone.
fn fetch(spots: &[(usize, &Spot)]) -> Result<Vec<Vec<f32>>, TensorRtError> {
    let Some((_, Spot { stream, .. })) = spots.last() else { return Ok(Vec::new()) };
    let mut places = Vec::with_capacity(spots.len());
    let mut wait = false;
    let sent = spots.iter().try_for_each(|&(count, spot)| {
        if !spot.is_here()? {
            stream.after(&spot.ready)?;
            wait = true;
        }
        places.push(bring(count, spot, stream)?);
        Ok(())
    });
    // What is on its way when another fails must arrive as well, before its place is freed.
    let waited = if wait { stream.wait() } else { Ok(()) };
    sent.and(waited)?;
    Ok(places.iter().zip(spots).map(|(place, (count, _))| place.read(*count)).collect())
}

/// Enqueues the way of a spot's numbers to the host, if they are not sent there, and tells where they come to.
fn bring(count: usize, spot: &Spot, stream: &Stream) -> Result<Arc<Memory<f32>>, TensorRtError> {
    let Spot { memory, sent, missed, .. } = spot;
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
