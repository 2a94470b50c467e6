//! Pictures as PNG in memory, no longer than they may be.

use png::{BitDepth, ColorType, Compression, Encoder, EncodingError};

use crate::geometry::Size;

/// A picture narrower or lower than this shows nothing.
const LEAST: u32 = 16;

/// Tightly packed pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct Raster {
    /// Width and height in pixels.
    pub size: Size,
    /// Bytes of a pixel: 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// Row by row, `height × width × channels` bytes.
    pub pixels: Vec<u8>,
}

impl Raster {
    /// The picture as PNG of at most `most` bytes, made smaller until it fits, with a note under a keyword;
    /// `None` if it would show nothing any more.
    ///
    /// # Errors
    /// `pixels` are not as many as they should be.
    pub fn png_within(mut self, most: usize, note: (&str, &str)) -> Result<Option<Vec<u8>>, EncodingError> {
        while self.size.width >= LEAST && self.size.height >= LEAST {
            let png = self.png(note)?;
            if png.len() <= most {
                return Ok(Some(png));
            }
            let share = (most as f64 / png.len() as f64).sqrt().clamp(0.25, 0.95) * 0.95;
            let side = |side: u32| (f64::from(side) * share) as u32;
            self = self.shrunk(Size::new(side(self.size.width), side(self.size.height)));
        }
        Ok(None)
    }

    fn png(&self, (keyword, note): (&str, &str)) -> Result<Vec<u8>, EncodingError> {
        let mut png = Vec::new();
        let mut encoder = Encoder::new(&mut png, self.size.width, self.size.height);
        encoder.set_color(if self.channels == 1 { ColorType::Grayscale } else { ColorType::Rgb });
        encoder.set_depth(BitDepth::Eight);
        encoder.set_compression(Compression::Balanced);
        encoder.add_text_chunk(keyword.into(), note.into())?;
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.pixels)?;
        writer.finish()?;
        Ok(png)
    }

    /// The same in `size`, which is smaller: each pixel is the mean of those it stands for.
    fn shrunk(&self, size: Size) -> Self {
        let span = |at: u32, to: u32, from: u32| {
            let start = (u64::from(at) * u64::from(from) / u64::from(to)) as usize;
            let end = (u64::from(at + 1) * u64::from(from) / u64::from(to)) as usize;
            start..end.max(start + 1)
        };
        let (width, channels) = (self.size.width as usize, self.channels);
        let mut pixels = Vec::with_capacity(size.width as usize * size.height as usize * channels);
        for y in 0..size.height {
            let rows = span(y, size.height, self.size.height);
            for x in 0..size.width {
                let columns = span(x, size.width, self.size.width);
                let count = (rows.len() * columns.len()) as u32;
                for channel in 0..channels {
                    let line =
                        |y| columns.clone().map(move |x| self.pixels[(y * width + x) * channels + channel]);
                    let sum: u32 = rows.clone().flat_map(line).map(u32::from).sum();
                    pixels.push(((sum + count / 2) / count) as u8);
                }
            }
        }
        Self { size, channels, pixels }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(png: &[u8]) -> (Size, Vec<u8>, String) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
        let frame = reader.next_frame(&mut pixels).expect("a picture");
        let note = reader.info().uncompressed_latin1_text[0].text.clone();
        (Size::new(frame.width, frame.height), pixels, note)
    }

    #[test]
    fn what_fits_is_as_it_was() {
        let size = Size::new(20, 16);
        let raster = Raster { size, channels: 3, pixels: (0..960).map(|i| (i % 251) as u8).collect() };
        let png = raster.clone().png_within(10_000, ("captured", "1.5")).expect("pixels").expect("room");
        assert_eq!(read(&png), (size, raster.pixels, "1.5".into()));
    }

    #[test]
    fn what_does_not_fit_is_made_smaller_with_its_aspect_and_its_light() {
        let mut random = fastrand::Rng::with_seed(7);
        let size = Size::new(640, 360);
        let pixels: Vec<u8> = (0..640 * 360).map(|_| random.u8(..)).collect();
        for most in [100_000, 20_000, 4_000] {
            let raster = Raster { size, channels: 1, pixels: pixels.clone() };
            let png = raster.png_within(most, ("captured", "1.5")).expect("pixels").expect("room");
            let (Size { width, height }, shrunk, _) = read(&png);
            assert!(png.len() <= most && png.len() > most / 3, "{} of {most}", png.len());
            assert!((f64::from(width) / f64::from(height) - 16.0 / 9.0).abs() < 0.1, "{width} x {height}");
            let mean = shrunk.iter().map(|v| f64::from(*v)).sum::<f64>() / shrunk.len() as f64;
            assert!((mean - 127.5).abs() < 2.0, "{mean}");
        }
        let raster = Raster { size, channels: 1, pixels };
        assert_eq!(raster.png_within(60, ("captured", "1.5")).expect("pixels"), None);
    }
}
