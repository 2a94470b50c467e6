//! Files that somebody else wrote, read as a whole up to a limit, or piece by piece: a wrong path or a device is told, and
//! does not fill the memory.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

/// No text that people write is nearly this large, in bytes; nor is a certificate.
pub const TEXT: u64 = 1 << 20;
/// No list of scenes, clips or messages is nearly this large.
pub const LIST: u64 = 1 << 28;
/// Nor is a file of a model: what describes a graph ends at 2 GiB, and weights lie within 4.
pub const MODEL: u64 = 1 << 32;

/// What `file` holds, which is no more than `most` bytes.
///
/// # Errors
/// The file cannot be read, or is larger ([`ErrorKind::FileTooLarge`]).
pub fn read(file: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_opened(File::open(file)?, most)
}

/// The same of a file that is open.
///
/// # Errors
/// As [`read`].
pub fn read_opened(file: File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 <= most {
        return Ok(bytes);
    }
    let why = format!("it is larger than {most} bytes; is it the right file?");
    Err(io::Error::new(ErrorKind::FileTooLarge, why))
}

/// The same of a text.
///
/// # Errors
/// As [`read`], or it is no text in UTF-8 ([`ErrorKind::InvalidData`]).
pub fn read_text(file: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read(file, most)?)
        .map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is no text in UTF-8"))
}

/// SHA-256 of what `file` holds, which is never in memory as a whole.
///
/// # Errors
/// The file cannot be read, or is none.
pub fn sha256(file: &Path) -> io::Result<String> {
    if !fs::metadata(file)?.is_file() {
        return Err(io::Error::other("it is no file")); // a device may have no end
    }
    let mut file = File::open(file)?;
    let mut hash = Sha256::new();
    let mut block = vec![0; 1 << 16];
    loop {
        match file.read(&mut block)? {
            0 => break,
            n => hash.update(&block[..n]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_the_limit_and_a_device_no_further() {
        let file = tempfile::NamedTempFile::new().expect("room for a file");
        std::fs::write(file.path(), "four").expect("room for a file");
        assert_eq!(read_text(file.path(), 4).expect("a text"), "four");
        let kind = |file: &Path, most| read_text(file, most).expect_err("a fault").kind();
        assert_eq!(kind(file.path(), 3), ErrorKind::FileTooLarge);
        assert_eq!(kind(Path::new("/dev/zero"), TEXT), ErrorKind::FileTooLarge);
        std::fs::write(file.path(), b"\xff").expect("room for a file");
        assert_eq!(kind(file.path(), 4), ErrorKind::InvalidData);
        file.as_file().set_len(1 << 40).expect("a file of holes");
        assert_eq!(kind(file.path(), TEXT), ErrorKind::FileTooLarge);
    }
}
