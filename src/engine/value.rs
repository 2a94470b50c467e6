//! What graphs take and give: tensors in the host's memory, tensors on the GPU, and pictures.

use std::borrow::Cow;
use std::sync::Arc;

use super::picture::Picture;
use super::tensor::Tensor;
use super::tensorrt::Lent;
use super::{EngineError, TensorRtError};

/// A named input or output of a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Port {
    /// The tensor's name.
    pub name: String,
    /// Length of every axis; `None` where any length is accepted.
    pub shape: Vec<Option<usize>>,
}

/// What a graph gave: in the host's memory, or still on the GPU, where another graph takes it without a copy.
#[derive(Debug, Clone)]
pub enum Value {
    /// In the host's memory.
    Host(Tensor),
    /// On the GPU, perhaps still being computed.
    Gpu(Arc<Lent>),
}

impl Value {
    /// Length of every axis.
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::Host(tensor) => &tensor.shape,
            Self::Gpu(lent) => lent.shape(),
        }
    }

    /// The values in the host's memory; waits for the GPU if they are there.
    ///
    /// # Errors
    /// [`EngineError::Gone`] if the GPU failed since.
    pub fn tensor(&self) -> Result<Cow<'_, Tensor>, EngineError> {
        match self {
            Self::Host(tensor) => Ok(Cow::Borrowed(tensor)),
            Self::Gpu(lent) => lent.read().map(Cow::Owned).map_err(gone),
        }
    }

    /// Whether the host would have to wait for it.
    pub fn is_coming(&self) -> bool {
        match self {
            Self::Host(_) => false,
            Self::Gpu(lent) => lent.is_coming(),
        }
    }

    /// Puts several into `tensors`; waits once for all that a GPU sends to the host.
    ///
    /// # Errors
    /// As [`Value::tensor`].
    pub(super) fn tensors(values: &[Self], tensors: &mut [Tensor]) -> Result<(), EngineError> {
        Self::read_all(values, tensors).map_err(gone)
    }

    /// [`Value::tensors`], and what the GPU says if it failed.
    pub(super) fn read_all(values: &[Self], tensors: &mut [Tensor]) -> Result<(), TensorRtError> {
        Lent::await_all(values.iter().filter_map(Self::lent))?;
        values.iter().zip(tensors).try_for_each(|(value, tensor)| match value {
            Self::Host(here) => {
                tensor.clone_from(here);
                Ok(())
            }
            Self::Gpu(lent) => lent.read_into(tensor),
        })
    }

    /// What a graph on the GPU lent, if it is that.
    pub(super) fn lent(&self) -> Option<&Lent> {
        match self {
            Self::Host(_) => None,
            Self::Gpu(lent) => Some(lent),
        }
    }
}

impl Default for Value {
    fn default() -> Self {
        Self::Host(Tensor::default())
    }
}

impl From<Tensor> for Value {
    fn from(tensor: Tensor) -> Self {
        Self::Host(tensor)
    }
}

/// What a graph is given as one input.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// Numbers in the host's memory.
    Tensor(&'a Tensor),
    /// Numbers that stay the same as long as it is the same allocation: a GPU is given them once.
    Lasting(&'a Arc<Tensor>),
    /// What another graph gave.
    Value(&'a Value),
    /// Numbers in the host's memory, but for the last of them: those are the last that other graphs gave, the newest at the end.
    Ending(&'a Tensor, &'a [Value]),
    /// A picture, which the engine lays out and normalises.
    Picture(Picture<'a>),
}

impl<'a> Input<'a> {
    /// The picture, if it is one.
    pub(super) fn picture(self) -> Option<Picture<'a>> {
        match self {
            Self::Picture(picture) => Some(picture),
            Self::Tensor(_) | Self::Lasting(_) | Self::Value(_) | Self::Ending(..) => None,
        }
    }

    /// The numbers in the host's memory; a picture is `laid` already.
    pub(super) fn on_host(self, laid: &'a Tensor) -> Result<Cow<'a, Tensor>, EngineError> {
        match self {
            Self::Tensor(tensor) => Ok(Cow::Borrowed(tensor)),
            Self::Lasting(tensor) => Ok(Cow::Borrowed(tensor)),
            Self::Value(value) => value.tensor(),
            Self::Ending(tensor, ends) => ended(tensor, ends).map(Cow::Owned).map_err(gone),
            Self::Picture(_) => Ok(Cow::Borrowed(laid)),
        }
    }

    /// Length of every axis; a picture's stand nowhere else and are put into `room`.
    pub fn shape<'s>(&'s self, room: &'s mut [usize; 4]) -> &'s [usize] {
        match self {
            Self::Tensor(tensor) | Self::Ending(tensor, _) => &tensor.shape,
            Self::Lasting(tensor) => &tensor.shape,
            Self::Value(value) => value.shape(),
            Self::Picture(picture) => {
                *room = picture.layout.shape();
                room
            }
        }
    }
}

impl<'a> From<&'a Tensor> for Input<'a> {
    fn from(tensor: &'a Tensor) -> Self {
        Self::Tensor(tensor)
    }
}

impl<'a> From<&'a Arc<Tensor>> for Input<'a> {
    fn from(tensor: &'a Arc<Tensor>) -> Self {
        Self::Lasting(tensor)
    }
}

impl<'a> From<&'a Value> for Input<'a> {
    fn from(value: &'a Value) -> Self {
        Self::Value(value)
    }
}

impl<'a> From<Picture<'a>> for Input<'a> {
    fn from(picture: Picture<'a>) -> Self {
        Self::Picture(picture)
    }
}

/// `tensor` with the numbers of `ends`, or as many of their last as there is room for, in place of its last.
pub(super) fn ended(tensor: &Tensor, ends: &[Value]) -> Result<Tensor, TensorRtError> {
    let mut read = vec![Tensor::default(); ends.len()];
    Value::read_all(ends, &mut read)?;
    let mut whole = tensor.clone();
    let mut room = whole.data.len();
    for end in read.iter().rev() {
        let count = room.min(end.data.len());
        whole.data[room - count..room].copy_from_slice(&end.data[end.data.len() - count..]);
        room -= count;
    }
    Ok(whole)
}

/// Leaves of what a graph gave what stands at these places, no two of them the same, in their order; whether it is all there.
pub(crate) fn pick<T>(given: &mut Vec<T>, places: &[usize]) -> bool {
    if places.iter().any(|place| *place >= given.len()) {
        return false;
    }
    for (wanted, &place) in places.iter().enumerate() {
        let mut now = place;
        while now < wanted {
            now = places[now]; // it has changed places with what is wanted there
        }
        given.swap(wanted, now);
    }
    given.truncate(places.len());
    true
}

/// Inputs by name and shape, for messages.
pub(super) fn told(inputs: &[(&str, Input<'_>)]) -> String {
    let told = inputs.iter().map(|(name, input)| format!("{name} {:?}", input.shape(&mut [0; 4])));
    told.collect::<Vec<_>>().join(", ")
}

fn gone(error: TensorRtError) -> EngineError {
    EngineError::Gone(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_wanted_is_picked_in_its_order(
            (order, wanted) in (0usize..8).prop_flat_map(|n| (Just((0..n).collect::<Vec<_>>()).prop_shuffle(), 0..=n)),
        ) {
            let places = &order[..wanted];
            let mut given: Vec<_> = (0..order.len()).collect();
            prop_assert!(pick(&mut given, places));
            prop_assert_eq!(&given, places);
            prop_assert!(!pick(&mut given, &[wanted]), "it is not there");
            prop_assert_eq!(given, places);
        }
    }
}
