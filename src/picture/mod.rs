//! Pictures for people: heat, boxes and labels drawn over a frame, written as PNG.

mod canvas;
pub mod colour;
mod encode;
mod font;
mod text;

use std::path::{Path, PathBuf};

use crate::geometry::{Rect, Size};

pub use canvas::Canvas;
pub use colour::Rgb;
pub use encode::Raster;

/// What is drawn around one region.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// Where it is, normalised.
    pub rect: Rect,
    /// Where its map peaks, normalised.
    pub peak: (f32, f32),
    /// Its colour; [`colour::of_class`] gives each class its own.
    pub colour: Rgb,
    /// First line of its label, for example `dog 93 %`.
    pub title: String,
    /// Second, smaller line; may be empty.
    pub detail: String,
}

/// A picture that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write picture {path}: {error}; check that the folder exists, is writable and has space")]
pub struct PictureError {
    /// The file.
    path: PathBuf,
    /// What the encoder or the system said.
    error: png::EncodingError,
}

/// Draws `marks` over the picture: the boxes with their peaks first, then the labels, each moved so
/// that it stays inside and covers no label before it.
pub fn draw_marks(canvas: &mut Canvas, marks: &[Mark]) {
    let scale = Scale::of(canvas.size());
    for mark in marks {
        canvas.outline(&mark.rect, mark.colour, scale.line, scale.radius);
        canvas.ring(mark.peak, mark.colour, scale.radius);
    }
    let mut taken = Vec::new();
    for mark in marks {
        let place = text::place(canvas.size(), mark, &scale, &taken);
        text::label(canvas, mark, &scale, place);
        taken.push(place);
    }
}

/// Writes a caption on a dark strip along the lower edge, `left` and `right` aligned to its ends.
pub fn caption(canvas: &mut Canvas, left: &str, right: &str) {
    text::caption(canvas, left, right, &Scale::of(canvas.size()));
}

/// Writes the picture as PNG.
///
/// # Errors
/// The file cannot be created or written.
pub fn write_png(canvas: &Canvas, path: &Path) -> Result<(), PictureError> {
    let error = |error| PictureError { path: path.into(), error };
    let file = std::fs::File::create(path).map_err(|e| error(e.into()))?;
    let Size { width, height } = canvas.size();
    let mut encoder = png::Encoder::new(std::io::BufWriter::new(file), width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(error)?;
    writer.write_image_data(canvas.rgb()).map_err(error)?;
    writer.finish().map_err(error)
}

/// Sizes of everything drawn, in pixels, so that it reads alike on pictures of any size.
#[derive(Debug, Clone, Copy)]
struct Scale {
    line: f32,
    radius: f32,
    title: f32,
    detail: f32,
    pad: f32,
}

impl Scale {
    fn of(size: Size) -> Self {
        let unit = (f64::from(size.width) * f64::from(size.height)).sqrt() as f32 / 1000.0;
        let unit = unit.clamp(0.35, 3.0);
        Self {
            line: (4.0 * unit).max(2.0),
            radius: 12.0 * unit,
            title: (32.0 * unit).max(15.0),
            detail: (22.0 * unit).max(11.5),
            pad: (10.0 * unit).max(4.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(rect: Rect) -> Mark {
        let title = "a label far too long for any small picture to hold".into();
        Mark { rect, peak: rect.centre(), colour: colour::of_class(3), title, detail: "heard 0.9".into() }
    }

    #[test]
    fn marks_of_any_box_and_size_stay_inside() {
        let far = Rect { x0: -3.0, y0: -1.0, x1: 9.0, y1: 4.0 };
        let rects = [far, Rect::default(), Rect { x0: 0.98, y0: 0.98, x1: 1.0, y1: 1.0 }];
        for (width, height) in [(1, 1), (7, 300), (64, 48), (640, 360)] {
            let mut canvas = Canvas::new(Size::new(width, height), vec![90; (width * height * 3) as usize]);
            draw_marks(&mut canvas, &rects.map(mark));
            caption(&mut canvas, "left ♪ ☃ text", "right");
            assert_eq!(canvas.rgb().len(), (width * height * 3) as usize);
        }
    }

    #[test]
    fn an_outline_colours_its_edge_and_not_its_middle() {
        let mut canvas = Canvas::new(Size::new(100, 100), vec![0; 30_000]);
        let rect = Rect { x0: 0.2, y0: 0.2, x1: 0.8, y1: 0.8 };
        canvas.outline(&rect, Rgb([255, 0, 0]), 4.0, 6.0);
        assert_eq!(canvas.pixel(50, 20), Rgb([255, 0, 0]));
        assert_eq!(canvas.pixel(50, 50), Rgb([0, 0, 0]));
    }

    #[test]
    fn a_written_picture_reads_back() {
        let rgb: Vec<u8> = (0..24).map(|i| i * 10).collect();
        let path = std::env::temp_dir().join(format!("tvsl-picture-{}.png", std::process::id()));
        write_png(&Canvas::new(Size::new(4, 2), rgb.clone()), &path).unwrap();
        let file = std::io::BufReader::new(std::fs::File::open(&path).unwrap());
        let mut reader = png::Decoder::new(file).read_info().unwrap();
        let mut read = vec![0; 24];
        reader.next_frame(&mut read).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read, rgb);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = write_png(&Canvas::new(Size::new(1, 1), vec![0; 3]), Path::new("no/such/a.png"));
        assert!(error.unwrap_err().to_string().contains("no/such/a.png"));
    }
}
