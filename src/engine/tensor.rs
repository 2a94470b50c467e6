//! Numbers in the host's memory.

/// A dense tensor of 32-bit floats, row-major.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tensor {
    /// Length of every axis, outermost first.
    pub shape: Vec<usize>,
    /// The values, last axis fastest; as many as the product of `shape`.
    pub data: Vec<f32>,
}

impl Tensor {
    /// A tensor of zeros.
    pub fn zeros(shape: impl Into<Vec<usize>>) -> Self {
        let shape = shape.into();
        let data = vec![0.0; shape.iter().product()];
        Self { shape, data }
    }

    /// A tensor of `data` laid out as `shape`, whose product must be the number of values.
    pub fn new(shape: impl Into<Vec<usize>>, data: Vec<f32>) -> Option<Self> {
        let shape = shape.into();
        (shape.iter().product::<usize>() == data.len()).then_some(Self { shape, data })
    }
}
