//! A picture as an input of a graph: which pixels go where, and how they become numbers. The CPU's way of
//! laying it out stands here; a GPU has a kernel that gives the same numbers.

use super::tensor::Tensor;
use crate::geometry::Fit;

/// A scaled picture and where it goes.
#[derive(Debug, Clone, Copy)]
pub struct Picture<'a> {
    /// Tightly packed red, green and blue of `layout.fit.picture`, row by row.
    pub rgb: &'a [u8],
    /// Where it goes.
    pub layout: &'a Layout,
}

/// How a picture becomes the tensor `[1, 3, H, W]`: letterboxed in 0, normalised, planes first.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// Size of the tensor, and where the picture lies in it.
    pub fit: Fit,
    /// Which of red, green and blue each plane holds.
    pub channels: [usize; 3],
    /// Taken from the bytes of each plane.
    pub mean: [f32; 3],
    /// What that is then divided by.
    pub deviation: [f32; 3],
}

impl Layout {
    /// Of the tensor.
    pub fn shape(&self) -> [usize; 4] {
        [1, 3, self.fit.input.height as usize, self.fit.input.width as usize]
    }

    /// Bytes that a picture of this layout has.
    pub fn bytes(&self) -> usize {
        self.fit.picture.width as usize * self.fit.picture.height as usize * 3
    }

    /// Whether the picture lies within the tensor.
    pub fn is_sound(&self) -> bool {
        let Fit { input, picture, left, top, .. } = self.fit;
        let inside =
            |padding: u32, side: u32, room: u32| padding.checked_add(side).is_some_and(|reach| reach <= room);
        inside(left, picture.width, input.width) && inside(top, picture.height, input.height)
    }

    /// Normalised value of every byte, by plane.
    fn table(&self) -> [[f32; 256]; 3] {
        std::array::from_fn(|plane| {
            std::array::from_fn(|byte| (byte as f32 - self.mean[plane]) / self.deviation[plane])
        })
    }
}

/// Lays pictures out on the CPU; keeps its tensor and its table between them.
#[derive(Default)]
pub struct Easel {
    prepared: Option<(Layout, [[f32; 256]; 3])>,
    tensor: Tensor,
}

impl Easel {
    /// The tensor of `picture`; zeros if its layout is not sound.
    pub fn lay(&mut self, picture: Picture<'_>) -> &Tensor {
        let layout = picture.layout;
        if self.prepared.as_ref().is_none_or(|(last, _)| last != layout) {
            self.prepared = Some((layout.clone(), layout.table()));
            self.tensor = Tensor::zeros(layout.shape());
        }
        if let Some((layout, table)) = &self.prepared
            && layout.is_sound()
        {
            lay(picture.rgb, layout, table, &mut self.tensor.data);
        }
        &self.tensor
    }
}

fn lay(rgb: &[u8], layout: &Layout, table: &[[f32; 256]; 3], input: &mut [f32]) {
    let Fit { input: size, picture, left, top, .. } = layout.fit;
    let (columns, width, left) = (size.width as usize, picture.width as usize, left as usize);
    let planes = input.chunks_exact_mut((columns * size.height as usize).max(1));
    for ((plane, table), channel) in planes.zip(table).zip(layout.channels) {
        let rows = plane.chunks_exact_mut(columns.max(1)).skip(top as usize);
        for (row, pixels) in rows.zip(rgb.chunks_exact((width * 3).max(1))) {
            for (value, pixel) in row[left..left + width].iter_mut().zip(pixels.chunks_exact(3)) {
                *value = table[usize::from(pixel[channel])];
            }
        }
    }
}
