//! Pictures out of cameras: turned upright whichever way the camera was held, told when they are cut off, refused when
//! they would fill the memory.

mod support;

use std::path::{Path, PathBuf};

use support::*;
use tvsl::capture::{Pace, read_picture};
use tvsl::config::MicrophoneSource;
use tvsl::geometry::Size;
use tvsl::picture::{Canvas, write_png};

/// The upright picture, by quarters: red and green above, blue and white below.
const QUARTERS: [[[u8; 3]; 2]; 2] = [[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]];
const UPRIGHT: Size = Size::new(96, 64);

/// Where the camera stored what belongs to the upright point (x, y), as EXIF describes the orientations: the size of what
/// is stored, and the point in it.
fn stored(orientation: u16, x: u32, y: u32) -> (Size, u32, u32) {
    let Size { width, height } = UPRIGHT;
    let (right, bottom) = (width - 1, height - 1);
    let (lying, standing) = (Size::new(height, width), UPRIGHT);
    match orientation {
        1 => (standing, x, y),
        2 => (standing, right - x, y),
        3 => (standing, right - x, bottom - y),
        4 => (standing, x, bottom - y),
        5 => (lying, y, x),
        6 => (lying, y, right - x),
        7 => (lying, bottom - y, right - x),
        _ => (lying, bottom - y, x),
    }
}

/// The file that a camera held so would write, before it says how it was held.
fn taken(folder: &Folder, orientation: u16) -> PathBuf {
    let (size, ..) = stored(orientation, 0, 0);
    let mut rgb = vec![0; (size.width * size.height * 3) as usize];
    for y in 0..UPRIGHT.height {
        for x in 0..UPRIGHT.width {
            let (_, column, row) = stored(orientation, x, y);
            let colour = QUARTERS[(2 * y / UPRIGHT.height) as usize][(2 * x / UPRIGHT.width) as usize];
            let at = 3 * (row * size.width + column) as usize;
            rgb[at..at + 3].copy_from_slice(&colour);
        }
    }
    let path = folder.join("taken.png");
    write_png(&Canvas::new(size, rgb), &path).expect("a picture");
    path
}

/// EXIF that holds the orientation behind another tag, in either order of bytes.
fn exif(orientation: u16) -> Vec<u8> {
    let big = orientation.is_multiple_of(2);
    let short = |n: u16| if big { n.to_be_bytes() } else { n.to_le_bytes() };
    let long = |n: u32| if big { n.to_be_bytes() } else { n.to_le_bytes() };
    let mut exif = if big { b"MM\0*".to_vec() } else { b"II*\0".to_vec() };
    exif.extend(long(8));
    exif.extend(short(2));
    for (tag, value) in [(0x0106, 2), (0x0112, orientation)] {
        exif.extend([short(tag), short(3)].concat());
        exif.extend(long(1));
        exif.extend([short(value), short(0)].concat());
    }
    exif.extend(long(0));
    exif
}

fn encoded(folder: &Folder, orientation: u16, encoder: &str) -> Vec<u8> {
    let (from, to) = (taken(folder, orientation), folder.join("encoded"));
    make(&format!("filesrc location={} ! pngdec ! videoconvert ! {encoder} ! filesink", from.display()), &to);
    std::fs::read(to).expect("a file")
}

fn jpeg(folder: &Folder, orientation: u16) -> Vec<u8> {
    let mut file = encoded(folder, orientation, "jpegenc quality=95");
    let exif = [&b"Exif\0\0"[..], &exif(orientation)].concat();
    let length = (exif.len() as u16 + 2).to_be_bytes();
    file.splice(2..2, [&[0xff, 0xe1][..], &length, &exif].concat());
    file
}

/// The checksum of a chunk of PNG.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 },
        )
    })
}

fn png(folder: &Folder, orientation: u16) -> Vec<u8> {
    let mut file = std::fs::read(taken(folder, orientation)).expect("a file");
    let chunk = [&b"eXIf"[..], &exif(orientation)].concat();
    let length = (chunk.len() as u32 - 4).to_be_bytes();
    let header = 8 + 8 + 13 + 4;
    file.splice(header..header, [&length[..], &chunk, &crc(&chunk).to_be_bytes()].concat());
    file
}

/// The same as the extended form of WebP, behind whose picture EXIF stands.
fn webp(folder: &Folder, orientation: u16) -> Vec<u8> {
    let plain = encoded(folder, orientation, "webpenc lossless=true");
    let chunk = |name: &[u8; 4], data: &[u8]| {
        let padding = &[0][..data.len() % 2];
        [&name[..], &(data.len() as u32).to_le_bytes(), data, padding].concat()
    };
    let (size, ..) = stored(orientation, 0, 0);
    let side = |side: u32| (side - 1).to_le_bytes()[..3].to_vec();
    let canvas = [vec![0x08, 0, 0, 0], side(size.width), side(size.height)].concat();
    let inner = [&b"WEBP"[..], &chunk(b"VP8X", &canvas), &plain[12..], &chunk(b"EXIF", &exif(orientation))];
    chunk(b"RIFF", &inner.concat())
}

/// A plain TIFF in either order of bytes: its header, the picture in one strip, and the directory behind it.
fn tiff(folder: &Folder, orientation: u16) -> Vec<u8> {
    let rgb = encoded(folder, orientation, "video/x-raw,format=RGB ! identity");
    let (Size { width, height }, ..) = stored(orientation, 0, 0);
    let big = orientation.is_multiple_of(2);
    let short = |n: u16| if big { n.to_be_bytes() } else { n.to_le_bytes() };
    let long = |n: u32| if big { n.to_be_bytes() } else { n.to_le_bytes() };
    let entry = |tag: u16, value: u32| [&short(tag)[..], &short(4), &long(1), &long(value)].concat();
    let end = 8 + rgb.len() as u32;
    let mut file = if big { b"MM\0*".to_vec() } else { b"II*\0".to_vec() };
    file.extend(long(end));
    file.extend(&rgb);
    let numbers = [
        (256, width),
        (257, height),
        (258, 8), // bits of a sample; one number stands for all of them
        (262, 2), // red, green, blue
        (273, 8), // where the strip begins
        (274, orientation.into()),
        (277, 3), // samples of a pixel
        (278, height),
        (279, rgb.len() as u32),
    ];
    file.extend(short(numbers.len() as u16));
    numbers.iter().for_each(|(tag, value)| file.extend(entry(*tag, *value)));
    file.extend(long(0));
    file
}

fn assert_upright(path: &Path) {
    let frame = read_picture(path, None).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((frame.source, frame.size), (UPRIGHT, UPRIGHT), "{}", path.display());
    for (row, colours) in QUARTERS.iter().enumerate() {
        for (column, colour) in colours.iter().enumerate() {
            let (x, y) = (24 + 48 * column, 16 + 32 * row);
            let pixel = &frame.rgb[3 * (y * 96 + x)..][..3];
            let near = pixel.iter().zip(colour).all(|(a, b)| a.abs_diff(*b) < 24);
            assert!(near, "{}: {pixel:?} at {x}, {y}, expected {colour:?}", path.display());
        }
    }
}

type Make = fn(&Folder, u16) -> Vec<u8>;

#[test]
fn a_picture_is_turned_upright_whichever_way_the_camera_was_held() {
    let folder = Folder::new("orientations");
    let formats: [(&str, Make); 4] = [("jpg", jpeg), ("png", png), ("webp", webp), ("tiff", tiff)];
    for (name, file) in formats {
        for orientation in 1..=8 {
            let bytes = file(&folder, orientation);
            assert_upright(&folder.file(&format!("held-{orientation}.{name}"), &bytes));
        }
    }
}

#[test]
fn a_picture_as_camera_is_turned_too() {
    let folder = Folder::new("orientation-camera");
    let path = folder.file("held-6.jpg", &jpeg(&folder, 6));
    let (_capture, receiver) =
        start(&clip(&path), &microphone(MicrophoneSource::None), Pace::Fast).expect("a picture");
    let heard = collect(&receiver, |_| false);
    assert_eq!(heard.frames.iter().map(|frame| frame.source).collect::<Vec<_>>(), [UPRIGHT]);
}

#[test]
fn an_orientation_that_is_none_turns_nothing() {
    let folder = Folder::new("orientation-none");
    for wrong in [0, 9, 6000] {
        let upright = encoded(&folder, 1, "jpegenc quality=95");
        let exif = [&b"Exif\0\0"[..], &exif(wrong)].concat();
        let mut file = upright;
        file.splice(2..2, [&[0xff, 0xe1, 0, exif.len() as u8 + 2][..], &exif].concat());
        assert_upright(&folder.file("wrong.jpg", &file));
    }
}

#[test]
fn a_picture_that_would_fill_the_memory_is_refused_before_it_is_decoded() {
    let folder = Folder::new("large-pictures");
    let (wide, high) = (60_000u32.to_be_bytes(), 30_000u32.to_be_bytes());
    let png = [&b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"[..], &wide, &high, b"\x08\x02\0\0\0\0\0\0\0"].concat();
    let mut jpeg = encoded(&folder, 1, "jpegenc");
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).expect("a start of frame");
    jpeg[frame + 5..frame + 9].copy_from_slice(&[high[2], high[3], wide[2], wide[3]]);
    for (name, bytes) in [("large.png", png), ("large.jpg", jpeg)] {
        let error = read_picture(&folder.file(name, &bytes), None).expect_err("too large").to_string();
        for words in [name, "has 60000 x 30000 pixels, expected at most 67108864", "-resize 4096x4096"] {
            assert!(error.contains(words), "{error}\ndoes not contain {words}");
        }
    }
}

#[test]
fn a_picture_that_is_cut_off_and_cannot_be_decoded_says_so() {
    let folder = Folder::new("cut-pictures");
    let whole = png(&folder, 1);
    let cut = folder.file("cut.png", &whole[..whole.len() / 2]);
    let error = read_picture(&cut, None).expect_err("half a picture").to_string();
    assert!(error.contains("cut.png: is cut off") && error.contains("whole picture"), "{error}");
}

/// The pixels are those that Pillow made of the file with libjpeg-turbo.
#[test]
fn a_jpeg_has_the_colours_that_libjpeg_gives_it() {
    let frame = read_picture(Path::new("tests/data/colours.jpg"), None).expect("a picture");
    let expected = std::fs::read("tests/data/colours.rgb").expect("pixels");
    assert_eq!(frame.size, Size::new(24, 16));
    assert!(frame.rgb == expected, "{:?} where {expected:?} was expected", frame.rgb);
}
