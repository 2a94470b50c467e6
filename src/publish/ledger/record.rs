//! Lines of the ledger as bytes: a mark, a length, a checksum, and the line in CBOR, which keeps every
//! number to the last bit. What is damaged does not pass for a line, and the next whole one is found.

use std::io;

use serde::{Deserialize, Serialize};

use crate::message::EventMessage;

/// Starts every line; its last letter is the version of what follows.
const MARK: [u8; 4] = *b"TVE1";

/// Whether these bytes may be a log, whole or damaged: there is a mark, or as much of one as fits.
pub(super) fn may_be(bytes: &[u8]) -> bool {
    MARK.starts_with(bytes) || bytes.windows(MARK.len()).any(|window| window == MARK)
}
/// Mark, length and checksum.
const HEAD: usize = 12;
/// No line is nearly this long.
const LONGEST: usize = 1 << 20;

/// So many bytes from the beginning of a log, a line begins, whatever is damaged before it.
pub(super) const SPAN: u64 = 2 * (LONGEST + HEAD) as u64;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Record {
    /// An event waits for the broker.
    Put { number: u64, event: Box<EventMessage> },
    /// So many gave way right before the event with this number.
    Missed { number: u64, missed: u64 },
    /// The events with these numbers wait no more.
    Gone { first: u64, last: u64 },
}

/// What a reader makes of bytes.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The whole lines with their lengths in bytes, in order.
    pub records: Vec<(Record, u64)>,
    /// Where the last of them ends.
    pub end: u64,
    /// Bytes before that which belong to none of them.
    pub damaged: u64,
}

impl Record {
    /// Writes the line behind `out`; gives its length in bytes.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> io::Result<u64> {
        let start = out.len();
        out.extend([0; HEAD]);
        ciborium::into_writer(self, &mut *out).map_err(|error| io::Error::other(error.to_string()))?;
        let length = out.len() - start - HEAD;
        if length > LONGEST {
            out.truncate(start);
            return Err(io::Error::other(format!("an event of {length} bytes is too long to be stored")));
        }
        let sum = crc32fast::hash(&out[start + HEAD..]);
        out[start..start + 4].copy_from_slice(&MARK);
        out[start + 4..start + 8].copy_from_slice(&(length as u32).to_le_bytes());
        out[start + 8..start + HEAD].copy_from_slice(&sum.to_le_bytes());
        Ok((out.len() - start) as u64)
    }

    /// The line that `bytes` begin with, and its length; `None` if they begin with none that is whole.
    fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let (length, sum) = (word(4)? as usize, word(8)?);
        if !bytes.starts_with(&MARK) || length > LONGEST {
            return None;
        }
        let body = bytes.get(HEAD..HEAD + length)?;
        let record = (crc32fast::hash(body) == sum).then(|| ciborium::from_reader(body).ok())??;
        Some((record, HEAD + length))
    }
}

impl Reading {
    /// Reads every whole line there is in `bytes`.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let (mut reading, mut at, mut skipped) = (Self::default(), 0, 0);
        while at < bytes.len() {
            if let Some((record, length)) = Record::read(&bytes[at..]) {
                at += length;
                reading.records.push((record, length as u64));
                (reading.end, reading.damaged, skipped) = (at as u64, reading.damaged + skipped, 0);
            } else {
                at += 1;
                skipped += 1;
            }
        }
        reading
    }
}
