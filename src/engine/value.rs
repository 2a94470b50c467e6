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

    /// Brings several to the host's memory, none of them twice; waits for the GPU once at most.
    ///
    /// # Errors
    /// As [`Value::tensor`].
    pub(super) fn tensors(values: Vec<Self>) -> Result<Vec<Tensor>, EngineError> {
        Self::read_all(values).map_err(gone)
    }

    /// [`Value::tensors`], and what the GPU says if it failed.
    pub(super) fn read_all(values: Vec<Self>) -> Result<Vec<Tensor>, TensorRtError> {
        let on_gpu = values.iter().filter_map(|value| match value {
            Self::Host(_) => None,
            Self::Gpu(lent) => Some(lent.as_ref()),
        });
        let mut read = Lent::read_all(&on_gpu.collect::<Vec<_>>())?.into_iter();
        let tensor = |value| match value {
            Self::Host(tensor) => Some(tensor),
            Self::Gpu(_) => read.next(),
        };
        Ok(values.into_iter().filter_map(tensor).collect())
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
            Self::Ending(tensor, ends) => Ok(Cow::Owned(ended(tensor, &Value::tensors(ends.to_vec())?))),
            Self::Picture(_) => Ok(Cow::Borrowed(laid)),
        }
    }

    /// Length of every axis.
    pub fn shape(&self) -> Cow<'_, [usize]> {
        match self {
            Self::Tensor(tensor) => Cow::Borrowed(&tensor.shape),
            Self::Lasting(tensor) => Cow::Borrowed(&tensor.shape),
            Self::Ending(tensor, _) => Cow::Borrowed(&tensor.shape),
            Self::Value(value) => Cow::Borrowed(value.shape()),
            Self::Picture(picture) => Cow::Owned(picture.layout.shape().to_vec()),
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
pub(super) fn ended(tensor: &Tensor, ends: &[Tensor]) -> Tensor {
    let mut whole = tensor.clone();
    let mut room = whole.data.len();
    for end in ends.iter().rev() {
        let count = room.min(end.data.len());
        whole.data[room - count..room].copy_from_slice(&end.data[end.data.len() - count..]);
        room -= count;
    }
    whole
}

/// Inputs by name and shape, for messages.
pub(super) fn told(inputs: &[(&str, Input<'_>)]) -> String {
    let told = inputs.iter().map(|(name, input)| format!("{name} {:?}", input.shape()));
    told.collect::<Vec<_>>().join(", ")
}

fn gone(error: TensorRtError) -> EngineError {
    EngineError::Gone(error.to_string())
}
