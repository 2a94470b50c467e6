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
        match &*self.place() {
            Place::Gpu(spot) => Some(spot.clone()),
            Place::Host(_) | Place::Gone(_) => None,
        }
    }

    /// The values; waits for the GPU if they are there.
    ///
    /// # Errors
    /// If the GPU failed.
    pub fn read(&self) -> Result<Tensor, TensorRtError> {
        match &*self.place() {
            Place::Gpu(spot) => self.fetch(spot),
            Place::Host(tensor) => Ok(tensor.clone()),
            Place::Gone(reason) => {
                Err(TensorRtError::Cuda { doing: "keeping an output", reason: reason.clone() })
            }
        }
    }

    /// Saves the values, before their place is used for others.
    pub(super) fn settle(&self) {
        let mut place = self.place();
        if let Place::Gpu(spot) = &*place {
            *place = match self.fetch(spot) {
                Ok(tensor) => Place::Host(tensor),
                Err(error) => Place::Gone(error.to_string()),
            };
        }
    }

    fn fetch(&self, spot: &Spot) -> Result<Tensor, TensorRtError> {
        let count = self.shape.iter().product();
        spot.memory.device().bind()?;
        spot.memory.download(count, &spot.stream)?;
        spot.stream.wait()?;
        Ok(Tensor { shape: self.shape.clone(), data: spot.memory.read(count) })
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
