//! A frame becomes the image graph's input: scaled, letterboxed, normalised, planes first.

use super::manifest::{Channels, Image};
use super::resize::Resize;
use crate::engine::Tensor;
use crate::frame::Frame;
use crate::geometry::{Fit, Size};

/// Prepares frames; keeps its input tensor and tables between frames.
pub(super) struct ImagePreparation {
    settings: Image,
    /// Normalised value of every byte, per plane of the input.
    table: [[f32; 256]; 3],
    fit: Option<(Size, Fit)>,
    input: Tensor,
    resize: Resize,
}

impl ImagePreparation {
    pub(super) fn new(settings: &Image) -> Self {
        let plane = |source: usize| {
            std::array::from_fn(|byte| (byte as f32 - settings.mean[source]) / settings.std[source])
        };
        Self {
            table: planes(settings.channels).map(plane),
            settings: settings.clone(),
            fit: None,
            input: Tensor::default(),
            resize: Resize::default(),
        }
    }

    /// Lays `frame` into the input tensor `[1, 3, H, W]`. A frame already scaled to the fit is only
    /// normalised; any other is scaled here. `None` when the frame holds fewer bytes than its size says.
    pub(super) fn prepare(&mut self, frame: &Frame) -> Option<(&Tensor, Fit)> {
        let (width, height) = (frame.size.width as usize, frame.size.height as usize);
        if width == 0 || height == 0 || frame.rgb.len() != width * height * 3 {
            return None;
        }
        let fit = self.remember(frame.source);
        let Self { table, settings, input, resize, .. } = self;
        let rgb = if frame.size == fit.picture {
            &frame.rgb
        } else {
            resize.run(&frame.rgb, frame.size, fit.picture)
        };
        lay(rgb, &fit, table, planes(settings.channels), &mut input.data);
        Some((&*input, fit))
    }

    /// The fit of this source; a new one clears the input to padding (0).
    fn remember(&mut self, source: Size) -> Fit {
        if let Some((size, fit)) = self.fit
            && size == source
        {
            return fit;
        }
        let fit = self.settings.fit(source);
        self.input = Tensor::zeros([1, 3, fit.input.height as usize, fit.input.width as usize]);
        self.fit = Some((source, fit));
        fit
    }
}

/// For each plane of the input, which of red, green and blue it holds.
fn planes(channels: Channels) -> [usize; 3] {
    match channels {
        Channels::Rgb => [0, 1, 2],
        Channels::Bgr => [2, 1, 0],
    }
}

fn lay(rgb: &[u8], fit: &Fit, table: &[[f32; 256]; 3], order: [usize; 3], input: &mut [f32]) {
    let (columns, width) = (fit.input.width as usize, fit.picture.width as usize);
    let (left, top) = (fit.left as usize, fit.top as usize);
    let size = columns * fit.input.height as usize;
    for ((plane, table), source) in input.chunks_exact_mut(size).zip(table).zip(order) {
        let rows = plane.chunks_exact_mut(columns).skip(top);
        for (row, pixels) in rows.zip(rgb.chunks_exact(width * 3)) {
            for (value, pixel) in row[left..left + width].iter_mut().zip(pixels.chunks_exact(3)) {
                *value = table[usize::from(pixel[source])];
            }
        }
    }
}
