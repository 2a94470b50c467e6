//! A JPEG as libjpeg reads it: a picture is to be judged the same wherever it is read.
//!
//! GStreamer's way leads over a form in which neighbouring pixels share their colour, and ends a level darker; for a camera's
//! pictures, which come by no other way, that makes no difference.

use std::path::Path;

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::still::Still;
use super::{extent, oversize};
use crate::bounded;
use crate::clock::Instant;
use crate::frame::Frame;
use crate::geometry::Size;

/// The picture of a whole JPEG in grey or in colours, upright; `None` for everything else, of which GStreamer tells what it is.
pub(super) fn read(file: &Path) -> Option<Frame> {
    if extent::unreadable(file).is_some() {
        return None; // a pipe would be waited for
    }
    let still = Still::of(file).filter(|still| still.jpeg && !still.cut && !still.torn)?;
    still.size.filter(|size| !oversize::is_refused(*size))?;
    let bytes = bounded::read(file, bounded::LIST).ok()?;
    let options = DecoderOptions::new_safe().set_strict_mode(true).jpeg_set_out_colorspace(ColorSpace::RGB);
    let options = options.set_max_width(usize::from(u16::MAX)).set_max_height(usize::from(u16::MAX));
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&bytes), options);
    decoder.decode_headers().ok()?;
    let (info, colours) = (decoder.info()?, decoder.input_colorspace()?);
    if !matches!(colours, ColorSpace::Luma | ColorSpace::YCbCr | ColorSpace::RGB) {
        return None;
    }
    let size = Size::new(info.width.into(), info.height.into());
    let rgb = decoder.decode().ok()?;
    (rgb.len() == size.width as usize * size.height as usize * 3).then_some(())?;
    let (rgb, size) = upright(rgb, size, still.turn.unwrap_or_default());
    Some(Frame { captured: Instant::ZERO, size, source: size, rgb })
}

/// The pixels turned, in the words of GStreamer's `video-direction`, and the size that they have then.
fn upright(rgb: Vec<u8>, size: Size, turn: &str) -> (Vec<u8>, Size) {
    // Whether rows become columns, and then left becomes right, and top becomes bottom.
    let (crossed, mirrored, upended) = match turn {
        "horiz" => (false, true, false),
        "180" => (false, true, true),
        "vert" => (false, false, true),
        "ul-lr" => (true, false, false),
        "90r" => (true, true, false),
        "ur-ll" => (true, true, true),
        "90l" => (true, false, true),
        _ => return (rgb, size),
    };
    let turned = if crossed { Size::new(size.height, size.width) } else { size };
    let mut pixels = Vec::with_capacity(rgb.len());
    for y in 0..turned.height {
        let y = if upended { turned.height - 1 - y } else { y };
        for x in 0..turned.width {
            let x = if mirrored { turned.width - 1 - x } else { x };
            let (column, row) = if crossed { (y, x) } else { (x, y) };
            let at = (row as usize * size.width as usize + column as usize) * 3;
            pixels.extend_from_slice(&rgb[at..at + 3]);
        }
    }
    (pixels, turned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_up_is_turned_upright() {
        // a b c
        // d e f
        let size = Size::new(3, 2);
        let rgb: Vec<u8> = b"abcdef".iter().flat_map(|pixel| [*pixel; 3]).collect();
        for (turn, upright_pixels, sides) in [
            ("", "abcdef", (3, 2)),
            ("horiz", "cbafed", (3, 2)),
            ("180", "fedcba", (3, 2)),
            ("vert", "defabc", (3, 2)),
            ("ul-lr", "adbecf", (2, 3)),
            ("90r", "daebfc", (2, 3)),
            ("ur-ll", "fcebda", (2, 3)),
            ("90l", "cfbead", (2, 3)),
        ] {
            let (pixels, turned) = upright(rgb.clone(), size, turn);
            let letters: String = pixels.chunks(3).map(|pixel| char::from(pixel[0])).collect();
            assert_eq!((letters.as_str(), turned), (upright_pixels, Size::new(sides.0, sides.1)), "{turn}");
        }
    }
}
