//! A JPEG as libjpeg reads it, to the byte: a picture is to be judged the same wherever it is read.
//!
//! GStreamer's way leads over a form in which neighbouring pixels share their colour, and ends a level darker; for a camera's
//! pictures, which come by no other way, that makes no difference.

use std::panic::catch_unwind;
use std::path::Path;

use mozjpeg::{ColorSpace, Decompress};

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
    let size = still.size.filter(|size| !oversize::is_refused(*size))?;
    let bytes = bounded::read(file, bounded::LIST).ok()?;
    // libjpeg leaves a file that it cannot read in the middle of its work, which the library makes an unwinding that prints nothing.
    let rgb = catch_unwind(|| decode(&bytes, size)).ok()??;
    let (rgb, size) = upright(rgb, size, still.turn.unwrap_or_default());
    Some(Frame { captured: Instant::ZERO, size, source: size, rgb })
}

/// Its pixels, where it is of this size.
fn decode(bytes: &[u8], size: Size) -> Option<Vec<u8>> {
    let decoder = Decompress::new_mem(bytes).ok()?;
    let read = matches!(
        decoder.color_space(),
        ColorSpace::JCS_GRAYSCALE | ColorSpace::JCS_YCbCr | ColorSpace::JCS_RGB
    );
    (read && decoder.size() == (size.width as usize, size.height as usize)).then_some(())?;
    let mut lines = decoder.rgb().ok()?;
    let rgb = lines.read_scanlines().ok()?;
    lines.finish().ok()?;
    Some(rgb)
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
    fn what_libjpeg_refuses_half_way_is_left_to_others() {
        let whole = std::fs::read("tests/data/colours.jpg").expect("a picture");
        let size = Size::new(24, 16);
        assert!(decode(&whole, size).is_some_and(|rgb| rgb.len() == 24 * 16 * 3));
        assert_eq!(decode(&whole, Size::new(16, 24)), None);
        // Frame, tables for sums and for codes, and scan; what stands in each is wrong in turn.
        for marker in [0xc0, 0xdb, 0xc4, 0xda] {
            let at = whole.windows(2).position(|pair| pair == [0xff, marker]).expect("a marker");
            let mut wrong = whole.clone();
            wrong[at + 4..at + 8].fill(0xee);
            let found = catch_unwind(|| decode(&wrong, size));
            assert!(!matches!(found, Ok(Some(_))), "{marker:x}");
        }
    }

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
