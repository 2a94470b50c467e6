//! What the file of a picture says of itself before it is decoded: its size, which way up it is meant to be seen, and
//! whether all of it is there.
//!
//! GStreamer hands on the orientation of a JPEG only through a parser that it does not choose by itself, that of a PNG or
//! WebP not at all, and it fills what is missing of a JPEG with grey.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use crate::geometry::Size;

/// The picture of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Still {
    /// Its size as it is stored.
    pub size: Option<Size>,
    /// How it is turned upright, in the words of GStreamer's `video-direction`; `None`: as it is, or nothing says it.
    pub turn: Option<&'static str>,
    /// Whether it is a JPEG.
    pub jpeg: bool,
    /// Whether its end is missing.
    pub cut: bool,
    /// Whether another picture begins before it ends: GStreamer 1.22 may decode that for ever.
    pub torn: bool,
}

impl Still {
    /// `None` for what is no JPEG, PNG, WebP, BMP, GIF or TIFF.
    pub fn of(file: &Path) -> Option<Still> {
        let mut reader = BufReader::new(File::open(file).ok()?);
        let start: Vec<u8> = reader.fill_buf().ok()?.iter().copied().take(12).collect();
        match &start[..] {
            [0xff, 0xd8, 0xff, ..] => Some(jpeg(&mut reader)),
            [0x89, b'P', b'N', b'G', ..] => Some(png(&mut reader)),
            [b'R', b'I', b'F', b'F', .., b'W', b'E', b'B', b'P'] => Some(webp(&mut reader)),
            [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..] => Some(tiff(&mut reader)),
            [b'B', b'M', ..] => Some(Still { size: bmp(&mut reader), ..Still::default() }),
            [b'G', b'I', b'F', b'8', _, _, w0, w1, h0, h1, ..] => {
                Some(Still { size: size_of(&[*w0, *w1], &[*h0, *h1]), ..Still::default() })
            }
            _ => None,
        }
    }

    fn learn(&mut self, exif: &[u8]) {
        let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
        self.turn = self.turn.or(tags(&mut Cursor::new(exif)).iter().find_map(Tag::turn));
    }
}

/// More of EXIF than this is not looked through.
const MOST_EXIF: u32 = 1 << 20;

/// Segments up to the end-of-image marker; what stands between them is coded picture.
fn jpeg(file: &mut (impl BufRead + Seek)) -> Still {
    let mut still = Still { jpeg: true, cut: true, ..Still::default() };
    skip(file, 2); // the marker of its start
    while let Some(marker) = marker(file) {
        still.torn = marker == 0xd8;
        if still.torn || marker == 0xd9 {
            still.cut = still.torn;
            break;
        }
        let Some(length) = take::<2>(file).map(u16::from_be_bytes) else { break };
        let length = u32::from(length).saturating_sub(2);
        let Some(segment) = (if is_told(marker) { bytes(file, length) } else { skip(file, length) }) else {
            break;
        };
        match (marker, &segment[..]) {
            (0xe1, exif) if exif.starts_with(b"Exif\0\0") => still.learn(exif),
            (0xe1, _) => {}
            (_, [_, h1, h0, w1, w0, ..]) => still.size = still.size.or(size_of(&[*w0, *w1], &[*h0, *h1])),
            _ => {}
        }
    }
    still
}

/// Whether a segment is one of those that are read: EXIF, and the start of a frame.
fn is_told(marker: u8) -> bool {
    matches!(marker, 0xe1 | 0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf)
}

/// The next marker that has a segment, or begins or ends a picture.
fn marker(file: &mut impl BufRead) -> Option<u8> {
    let mut next = [0];
    loop {
        if next != [0xff] {
            file.skip_until(0xff).ok()?;
        }
        file.read_exact(&mut next).ok()?;
        if !matches!(next, [0x00 | 0x01 | 0xd0..=0xd7 | 0xff]) {
            return Some(next[0]);
        }
    }
}

/// Chunks up to the one that ends it.
fn png(file: &mut (impl Read + Seek)) -> Still {
    let mut still = Still { cut: true, ..Still::default() };
    if file.seek(SeekFrom::Start(8)).is_err() {
        return still;
    }
    while let Some([l3, l2, l1, l0, name @ ..]) = take::<8>(file) {
        let length = u32::from_be_bytes([l3, l2, l1, l0]);
        let chunk = match &name {
            b"IEND" => {
                still.cut = false;
                break;
            }
            b"IHDR" | b"eXIf" => bytes(file, length),
            _ => skip(file, length),
        };
        match (&name, chunk.as_deref()) {
            (_, None) => break,
            (b"IHDR", Some([w3, w2, w1, w0, h3, h2, h1, h0, ..])) => {
                still.size = size_of(&[*w0, *w1, *w2, *w3], &[*h0, *h1, *h2, *h3]);
            }
            (b"eXIf", Some(exif)) => still.learn(exif),
            _ => {}
        }
        skip(file, 4); // its checksum
    }
    still
}

/// Chunks up to the length that the file says to have.
fn webp(file: &mut (impl Read + Seek)) -> Still {
    let mut still = Still { cut: true, ..Still::default() };
    let Some([_, _, _, _, size @ .., _, _, _, _]) = take::<12>(file) else { return still };
    let Ok(size) = <[u8; 4]>::try_from(&size[..]) else { return still };
    let end = u64::from(u32::from_le_bytes(size)) + 8;
    let there = file.seek(SeekFrom::End(0)).unwrap_or(0);
    still.cut = there < end;
    if file.seek(SeekFrom::Start(12)).is_err() {
        return still;
    }
    while let Some([n0, n1, n2, n3, length @ ..]) = take::<8>(file) {
        let (name, length) = ([n0, n1, n2, n3], u32::from_le_bytes(length));
        let read = if &name == b"EXIF" { length } else { length.min(10) };
        let Some(chunk) = bytes(file, read) else { break };
        match &name {
            b"EXIF" => still.learn(&chunk),
            _ => still.size = still.size.or(webp_size(&name, &chunk)),
        }
        if skip(file, length - read + length % 2).is_none() {
            break;
        }
    }
    still
}

/// The size in the first chunk that holds one: of the canvas, of a lossy picture, or of a lossless one.
fn webp_size(name: &[u8; 4], chunk: &[u8]) -> Option<Size> {
    match (name, chunk) {
        (b"VP8X", [_, _, _, _, w0, w1, w2, h0, h1, h2]) => {
            let size = size_of(&[*w0, *w1, *w2], &[*h0, *h1, *h2])?;
            Some(Size::new(size.width + 1, size.height + 1))
        }
        (b"VP8 ", [_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1]) => {
            size_of(&[*w0, w1 & 0x3f], &[*h0, h1 & 0x3f])
        }
        (b"VP8L", [0x2f, b0, b1, b2, b3, ..]) => {
            let bits = u32::from_le_bytes([*b0, *b1, *b2, *b3]);
            Some(Size::new((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1))
        }
        _ => None,
    }
}

/// GdkPixbuf mirrors a TIFF by itself, and leaves one that lies on its side mirrored at one of its diagonals.
fn tiff(file: &mut (impl Read + Seek)) -> Still {
    let tags = tags(file);
    let value = |name| tags.iter().find(|tag| tag.name == name).map(|tag| tag.value);
    let size = value(256).zip(value(257)).map(|(width, height)| Size::new(width, height));
    let turn = match value(ORIENTATION) {
        Some(5 | 7) => Some("ul-lr"),
        Some(6 | 8) => Some("ur-ll"),
        _ => None,
    };
    Still { size, turn, ..Still::default() }
}

fn bmp(file: &mut impl Read) -> Option<Size> {
    let head = take::<26>(file)?;
    let old = head[14] == 12; // a header of 12 bytes has sides of two
    if old {
        return size_of(&head[18..20], &head[20..22]);
    }
    let size = size_of(&head[18..22], &head[22..26])?;
    // Upside down, the height is negative.
    Some(Size::new(size.width, size.height.cast_signed().unsigned_abs()))
}

/// A size of little-endian sides.
fn size_of(width: &[u8], height: &[u8]) -> Option<Size> {
    let side = |bytes: &[u8]| bytes.iter().rev().fold(0, |side, byte| (side << 8) | u32::from(*byte));
    Some(Size::new(side(width), side(height)))
}

/// The name of the number that says which way up a picture is meant to be seen.
const ORIENTATION: u16 = 0x112;

/// A number that TIFF and EXIF hold under the number of its name.
struct Tag {
    name: u16,
    value: u32,
}

impl Tag {
    /// How a picture of this orientation is turned upright; `None` if it is upright, or this is another tag.
    fn turn(&self) -> Option<&'static str> {
        let turns = ["horiz", "180", "vert", "ul-lr", "90r", "ur-ll", "90l"];
        turns
            .get(usize::try_from(self.value).ok()?.checked_sub(2)?)
            .copied()
            .filter(|_| self.name == ORIENTATION)
    }
}

/// The numbers of the first directory of a TIFF, as far as they can be read.
fn tags(tiff: &mut (impl Read + Seek)) -> Vec<Tag> {
    let mut tags = Vec::new();
    let Some(head) = take::<8>(tiff) else { return tags };
    let little = head.starts_with(b"II");
    let number = |bytes: &[u8]| {
        let append = |number: u32, byte: &u8| (number << 8) | u32::from(*byte);
        if little { bytes.iter().rev().fold(0, append) } else { bytes.iter().fold(0, append) }
    };
    let at = SeekFrom::Start(number(&head[4..8]).into());
    let count = tiff.seek(at).ok().and_then(|_| take::<2>(tiff)).map_or(0, |count| number(&count));
    for _ in 0..count {
        let Some(entry) = take::<12>(tiff) else { break };
        let width = match number(&entry[2..4]) {
            3 => 2,
            4 => 4,
            _ => continue,
        };
        tags.push(Tag { name: number(&entry[0..2]) as u16, value: number(&entry[8..8 + width]) });
    }
    tags
}

fn take<const N: usize>(file: &mut impl Read) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes).ok().map(|()| bytes)
}

/// So many bytes, if all of them are there.
fn bytes(file: &mut impl Read, count: u32) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let count = (count <= MOST_EXIF).then_some(count)?;
    file.take(count.into()).read_to_end(&mut bytes).ok()?;
    (bytes.len() == count as usize).then_some(bytes)
}

/// Goes past so many bytes.
fn skip(file: &mut impl Seek, count: u32) -> Option<Vec<u8>> {
    file.seek_relative(count.into()).ok().map(|()| Vec::new())
}

#[cfg(test)]
mod tests;
