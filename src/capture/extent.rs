//! What can be known of a file before it is decoded: whether it can be read, and whether all of it is there.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::error::CaptureError;

/// Why a file cannot be read to its end, if it cannot; a pipe or a device may have none.
pub fn unreadable(file: &Path) -> Option<String> {
    match fs::metadata(file) {
        Ok(about) if about.is_file() => File::open(file).err().map(|error| error.to_string()),
        Ok(about) if about.is_dir() => Some("is a folder".into()),
        Ok(_) => Some("is a pipe or a device, no file".into()),
        Err(error) => Some(error.to_string()),
    }
}

/// The error that a recording is cut off, where its container says how long it is.
pub fn cut_off(file: &Path) -> Option<CaptureError> {
    let Part { there, whole } = Part::of(file)?;
    let reason =
        format!("is cut off before what is wanted of it: only {there} of its {whole} bytes are there");
    Some(CaptureError::file(file, reason))
}

/// What there is of a recording that is cut off.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    /// Bytes that the file has.
    pub there: u64,
    /// Bytes that it says to have.
    pub whole: u64,
}

impl Part {
    /// `None` for a file that is whole, or of a container (other than Matroska, WebM, MP4, WAV) that does not say it.
    pub fn of(file: &Path) -> Option<Part> {
        let (open, there) = (File::open(file).ok()?, fs::metadata(file).ok()?.len());
        let whole = matroska(&open).or_else(|| boxes(&open, there)).or_else(|| chunks(&open))?;
        (whole > there).then_some(Part { there, whole })
    }
}

/// Bytes of the file up to the end of its segment, if that is written in it.
fn matroska(file: &File) -> Option<u64> {
    let mut head = [0; 256];
    let length = file.read_at(&mut head, 0).ok()?;
    let head = &head[..length];
    let (header, rest) = size(head.strip_prefix(&[0x1a, 0x45, 0xdf, 0xa3])?)?;
    let rest = rest.get(usize::try_from(header).ok()?..)?;
    let (segment, rest) = size(rest.strip_prefix(&[0x18, 0x53, 0x80, 0x67])?)?;
    Some(segment.saturating_add((head.len() - rest.len()) as u64))
}

/// A size as EBML writes it, and what follows; `None` for one that is not known.
fn size(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let length = bytes.first()?.leading_zeros() as usize + 1;
    let (number, rest) = bytes.split_at_checked(length).filter(|_| length <= 8)?;
    let most = (1u64 << (7 * length)) - 1;
    let value = number.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte)) & most;
    (value != most).then_some((value, rest))
}

/// A file of more boxes than this is not looked through to its end.
const MOST_BOXES: usize = 10_000;

/// Where the first box of an MP4 that goes beyond its end would end.
fn boxes(file: &File, there: u64) -> Option<u64> {
    let mut at = 0;
    for _ in 0..MOST_BOXES {
        let mut head = [0; 16];
        let length = file.read_at(&mut head, at).ok()?;
        let number =
            |from: usize, to: usize| head[from..to].iter().fold(0, |n, byte| (n << 8) | u64::from(*byte));
        let named = if at == 0 { &head[4..8] == b"ftyp" } else { length >= 8 };
        let size = if number(0, 4) == 1 { number(8, 16) } else { number(0, 4) };
        let end = at.checked_add(size).filter(|_| named && size >= 8)?;
        if end > there {
            return Some(end);
        }
        at = end;
    }
    None
}

/// From this size on, a WAV was written to a pipe by a program that did not know how long it would be.
const ENDLESS: u32 = 0x7fff_0000;

/// What may stand behind the samples of a WAV.
const BEHIND: [&[u8]; 6] = [b"LIST", b"bext", b"cue ", b"fact", b"id3 ", b"smpl"];

/// Where a WAV ends: its samples, or what stands behind them.
fn chunks(file: &File) -> Option<u64> {
    let mut head = [0; 12];
    file.read_exact_at(&mut head, 0).ok()?;
    let mut at = (head.starts_with(b"RIFF") && head.ends_with(b"WAVE")).then_some(12)?;
    let mut whole = None;
    for _ in 0..MOST_BOXES {
        let mut head = [0; 8];
        if file.read_exact_at(&mut head, at).is_err() {
            break;
        }
        let [name, size] = [&head[..4], &head[4..]];
        let size = u32::from_le_bytes(size.try_into().ok()?);
        let end = at + 8 + u64::from(size);
        if name == b"data" {
            whole = Some((size < ENDLESS).then_some(end)?);
        } else if whole.is_some() {
            if !BEHIND.contains(&name) {
                break;
            }
            whole = Some(end);
        }
        at = end + u64::from(size % 2);
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bytes: &[u8]) -> Option<String> {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        fs::write(file.path(), bytes).expect("room for a file");
        cut_off(file.path()).map(|error| error.to_string())
    }

    /// A header of two bytes, and a segment that says that it holds four.
    const MATROSKA: [u8; 16] = [0x1a, 0x45, 0xdf, 0xa3, 0x82, 1, 2, 0x18, 0x53, 0x80, 0x67, 0x84, 3, 4, 5, 6];

    #[test]
    fn a_segment_that_ends_beyond_the_file_is_cut_off() {
        assert_eq!(told(&MATROSKA), None);
        let cut = told(&MATROSKA[..14]).expect("it is cut off");
        assert!(cut.contains("only 14 of its 16 bytes"), "{cut}");
        assert_eq!(told(&MATROSKA[..9]), None, "nothing says how long it was to be");
        let mut endless = MATROSKA;
        endless[11] = 0xff; // what a live recording writes
        assert_eq!(told(&endless[..14]), None);
    }

    #[test]
    fn a_box_that_ends_beyond_the_file_is_cut_off() {
        let whole =
            [&b"\0\0\0\x0cftypisom"[..], b"\0\0\0\x01mdat\0\0\0\0\0\0\0\x14....", b"\0\0\0\x08free"].concat();
        assert_eq!(told(&whole), None);
        let cut = told(&whole[..30]).expect("it is cut off");
        assert!(cut.contains("only 30 of its 32 bytes"), "{cut}");
        assert_eq!(told(b"\0\0\0\0ftyp"), None, "a box without an end");
        assert_eq!(told(b""), None);
    }

    /// A chunk of an odd length, with its padding, before four bytes of samples.
    const WAV: &[u8; 34] = b"RIFF\x1a\0\0\0WAVEfmt \x01\0\0\0x\0data\x04\0\0\0....";

    #[test]
    fn samples_that_end_beyond_the_file_are_cut_off() {
        assert_eq!(told(WAV), None);
        let cut = told(&WAV[..31]).expect("it is cut off");
        assert!(cut.contains("only 31 of its 34 bytes"), "{cut}");
        assert_eq!(told(&WAV[..29]), None, "nothing says how many samples there were to be");
        let mut endless = *WAV;
        endless[26..30].fill(0xff); // what is written to a pipe
        assert_eq!(told(&endless), None);
        let more = [WAV, &b"LIST\x04\0\0\0INFO"[..]].concat();
        assert_eq!(told(&more), None);
        assert!(told(&more[..42]).expect("it is cut off").contains("only 42 of its 46 bytes"));
        assert_eq!(told(&[WAV, &b"TAG........."[..]].concat()), None, "no chunk");
        assert_eq!(told(b"RIFF"), None);
    }
}
