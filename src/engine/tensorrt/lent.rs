//! What a graph gave and another takes, left where it was computed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::TensorRtError;
use super::memory::Memory;
use super::stream::{Stopwatch, Stream};
use crate::engine::Tensor;

/// An output on the GPU. Before its graph runs again it is saved to the host's memory if somebody still holds it,
/// so it never changes.
#[derive(Debug)]
pub struct Lent {
    shape: Vec<usize>,
    place: Mutex<Place>,
}

#[derive(Debug)]
enum Place {
    Gpu(Spot),
    Host(Tensor),
    /// The GPU failed before it was saved.
    Gone(String),
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
            Place::Host(_) | Place::Gone(_) => None,
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
        let places: Vec<_> = lents.iter().map(|lent| (*lent, lock(&lent.place))).collect();
        let on_gpu = places.iter().filter_map(|(lent, place)| match &**place {
            Place::Gpu(spot) => Some((lent.count(), spot)),
            Place::Host(_) | Place::Gone(_) => None,
        });
        fetch(&on_gpu.collect::<Vec<_>>())?;
        places.iter().map(|(lent, place)| lent.at(place)).collect()
    }

    /// Whether the host would have to wait for it.
    pub fn is_coming(&self) -> bool {
        self.spot().is_some_and(|spot| !spot.is_here().unwrap_or(false))
    }

    /// Saves the values, before their place is used for others.
    pub(super) fn settle(&self) {
        let mut place = lock(&self.place);
        if let Place::Gpu(spot) = &*place {
            let saved = fetch(&[(self.count(), spot)]).and_then(|()| self.at(&place));
            *place = saved.map_or_else(|error| Place::Gone(error.to_string()), Place::Host);
        }
    }

    fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// The values at `place`, where they have been fetched.
    fn at(&self, place: &MutexGuard<'_, Place>) -> Result<Tensor, TensorRtError> {
        match &**place {
            Place::Gpu(spot) => {
                Ok(Tensor { shape: self.shape.clone(), data: spot.memory.read(self.count()) })
            }
            Place::Host(tensor) => Ok(tensor.clone()),
            Place::Gone(reason) => {
                Err(TensorRtError::Cuda { doing: "keeping an output", reason: reason.clone() })
            }
        }
    }
}

/// Brings so many numbers of each spot to the host's side: the last one's stream waits for all of them on the GPU, and
/// the host for that stream alone.
fn fetch(spots: &[(usize, &Spot)]) -> Result<(), TensorRtError> {
    let Some((_, last)) = spots.last() else { return Ok(()) };
    let mut wait = false;
    for (count, spot) in spots {
        if spot.is_here()? {
            continue;
        }
        last.stream.after(&spot.ready)?;
        if !spot.sent {
            spot.memory.download(*count, &last.stream)?;
        }
        wait = true;
    }
    if wait { last.stream.wait() } else { Ok(()) }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
