//! Headers as they are written, whole, cut and damaged.

use super::*;

fn still(bytes: &[u8]) -> Option<Still> {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), bytes).expect("room for a file");
    Still::of(file.path())
}

/// EXIF with a thumbnail of its own, a frame of 640 by 480, and coded picture with a stuffed byte and a restart.
const JPEG: &[u8] = b"\xff\xd8\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\xff\xd8\xff\xd9\
    \xff\xc2\0\x0b\x08\x01\xe0\x02\x80\x01\x01\x11\0\xff\xda\0\x08\x01\x01\0\0\x3f\0\x12\xff\0\x34\xff\xd0\x56\
    \xff\xda\0\x08\x01\x01\0\0\x3f\0\x78\xff\xff\xd9";

#[test]
fn a_jpeg_is_whole_up_to_its_end_marker() {
    let whole = Still { size: Some(Size::new(640, 480)), turn: Some("90r"), jpeg: true, ..Still::default() };
    assert_eq!(still(JPEG), Some(whole));
    let trailed = [JPEG, b"what a telephone writes behind it"].concat();
    assert_eq!(still(&trailed), Some(whole));
    for length in [JPEG.len() - 1, JPEG.len() - 4, 70, 56] {
        assert_eq!(still(&JPEG[..length]), Some(Still { cut: true, ..whole }), "{length}");
    }
}

#[test]
fn in_a_jpeg_no_other_begins() {
    let torn = |bytes: &[u8]| still(bytes).is_some_and(|still| still.torn);
    assert!(torn(b"\xff\xd8\xff\xd8"));
    assert!(torn(&[&JPEG[..JPEG.len() - 4], JPEG].concat()));
    assert!(!torn(&[JPEG, JPEG].concat()), "as telephones write them");
}

#[test]
fn a_file_may_end_or_be_damaged_anywhere() {
    for length in 12..JPEG.len() {
        assert!(still(&JPEG[..length]).is_some_and(|still| still.cut), "{length}");
        let mut damaged = JPEG.to_vec();
        damaged[length] ^= 0xff;
        assert!(still(&damaged).is_some(), "{length}");
    }
    assert_eq!(still(b""), None);
    assert_eq!(still(b"\x1a\x45\xdf\xa3 is a film"), None);
    assert!(still(b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffIHDR").is_some_and(|still| still.cut));
    assert!(still(b"RIFF\xff\xff\xff\xffWEBPVP8X\xff\xff\xff\xff").is_some_and(|still| still.cut));
    assert_eq!(still(b"II*\0\xff\xff\xff\xff\xff\xff\xff\xff"), Some(Still::default()));
}

#[test]
fn each_format_tells_its_size() {
    let sized = |bytes: &[u8]| still(bytes).and_then(|still| still.size);
    let size = Some(Size::new(300, 200));
    assert_eq!(sized(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x01\x2c\0\0\0\xc8\x08\x02\0\0\0"), size);
    assert_eq!(sized(b"GIF89a\x2c\x01\xc8\0\0\0"), size);
    assert_eq!(sized(b"BM\0\0\0\0\0\0\0\0\0\0\0\0\x28\0\0\0\x2c\x01\0\0\xc8\0\0\0"), size);
    assert_eq!(
        sized(b"BM\0\0\0\0\0\0\0\0\0\0\0\0\x28\0\0\0\x2c\x01\0\0\x38\xff\xff\xff"),
        size,
        "upside down"
    );
    assert_eq!(sized(b"BM\0\0\0\0\0\0\0\0\0\0\0\0\x0c\0\0\0\x2c\x01\xc8\0\x01\0\x18\0"), size, "as of old");
    let tiff = b"II*\0\x08\0\0\0\x02\0\0\x01\x03\0\x01\0\0\0\x2c\x01\0\0\x01\x01\x04\0\x01\0\0\0\xc8\0\0\0";
    assert_eq!(sized(tiff), size);
    let webp = |chunk: &[u8]| sized(&[b"RIFF\x16\0\0\0WEBP", chunk].concat());
    assert_eq!(webp(b"VP8X\x0a\0\0\0\0\0\0\0\x2b\x01\0\xc7\0\0"), size);
    assert_eq!(webp(b"VP8 \x0a\0\0\0\0\0\0\x9d\x01\x2a\x2c\x01\xc8\0"), size);
    assert_eq!(webp(b"VP8L\x0a\0\0\0\x2f\x2b\xc1\x31\0\0\0\0\0\0"), size);
}

#[test]
fn a_webp_is_as_long_as_it_says() {
    let whole = b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x2b\x01\0\xc7\0\0";
    assert_eq!(still(whole).map(|still| still.cut), Some(false));
    assert_eq!(still(&whole[..whole.len() - 1]).map(|still| still.cut), Some(true));
}
