//! A frame becomes the image graph's input: scaled here, then letterboxed and normalised by the engine.

use super::manifest::{Channels, Image};
use super::resize::Resize;
use crate::engine::{Layout, Picture};
use crate::frame::Frame;
use crate::geometry::{Fit, Size};

/// Prepares frames; keeps its tables between them.
pub(super) struct ImagePreparation {
    settings: Image,
    /// The layout of pictures from a source of this size.
    layout: Option<(Size, Layout)>,
    resize: Resize,
}

impl ImagePreparation {
    pub(super) fn new(settings: &Image) -> Self {
        Self { settings: settings.clone(), layout: None, resize: Resize::default() }
    }

    /// The picture of `frame` and where it goes. Only a frame that is not scaled to the fit yet is scaled here.
    /// `None` when the frame holds fewer bytes than its size says.
    pub(super) fn prepare<'a>(&'a mut self, frame: &'a Frame) -> Option<(Picture<'a>, Fit)> {
        let (width, height) = (frame.size.width as usize, frame.size.height as usize);
        if width == 0 || height == 0 || frame.rgb.len() != width * height * 3 {
            return None;
        }
        let Self { settings, layout, resize } = self;
        if layout.as_ref().is_none_or(|(source, _)| *source != frame.source) {
            *layout = Some((frame.source, laid_out(settings, frame.source)));
        }
        let (_, layout) = layout.as_ref()?;
        let rgb = if frame.size == layout.fit.picture {
            &frame.rgb
        } else {
            resize.run(&frame.rgb, frame.size, layout.fit.picture)
        };
        Some((Picture { rgb, layout }, layout.fit))
    }
}

fn laid_out(settings: &Image, source: Size) -> Layout {
    // For each plane of the input, which of red, green and blue it holds.
    let channels = match settings.channels {
        Channels::Rgb => [0, 1, 2],
        Channels::Bgr => [2, 1, 0],
    };
    Layout {
        fit: settings.fit(source),
        channels,
        mean: channels.map(|channel| settings.mean[channel]),
        deviation: channels.map(|channel| settings.std[channel]),
    }
}
