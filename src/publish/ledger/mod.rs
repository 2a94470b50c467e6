//! Events that the broker has not acknowledged, on a medium that outlasts the program.
//!
//! A log to which each flush appends, in one write and one sync, what changed since the one before: a
//! mirror of the events in the [`Store`](super::Store), never in the way of it. What was acknowledged
//! within an interval is never written, so a healthy connection costs the flash nothing. A log that holds
//! mostly what is over is written anew as a whole. Knows no clock and no files: the [`Medium`] is an argument, so
//! that crashes at any step are a test.

mod disk;
mod record;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;

use super::Outbox;
use crate::config;
use crate::message::EventMessage;

pub use disk::Disk;
use record::{Reading, Record};

/// Events that are copied at a time while analysis may have to wait for the store.
const CHUNK: usize = 128;
/// A log shorter than this, in bytes, is never written anew for its length alone.
const SHORT: u64 = 256 << 10;

/// Where the log is kept.
pub trait Medium {
    /// All there is; nothing, if nothing was ever written.
    ///
    /// # Errors
    /// It cannot be read.
    fn read(&mut self) -> io::Result<Vec<u8>>;

    /// Writes `bytes` at `at`, where what was written before ends; whatever was beyond is cut off. It may
    /// be lost until the next [`Medium::sync`].
    ///
    /// # Errors
    /// They were not written, or only some of them.
    fn append(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// What was appended outlasts a power cut from now on.
    ///
    /// # Errors
    /// Nobody knows what of it does.
    fn sync(&mut self) -> io::Result<()>;

    /// Puts `bytes` in the place of everything, as a whole or not at all, and for good.
    ///
    /// # Errors
    /// Everything is as it was.
    fn replace(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// What an earlier run left.
#[derive(Debug, Default)]
pub struct Found {
    /// Its events that the broker did not acknowledge, with their numbers, oldest first.
    pub events: Vec<(u64, EventMessage)>,
    /// Bytes at the end that a crash left half written; they are dropped.
    pub torn: u64,
    /// Bytes in the middle that cannot be read; they are left out.
    pub damaged: u64,
    /// Why nothing could be read at all.
    pub error: Option<io::Error>,
}

/// The log, and what is known of it.
#[derive(Debug)]
pub struct Ledger<M> {
    medium: M,
    /// Most bytes on the medium, the moment included in which it is written anew.
    most: u64,
    /// The events on the medium that wait.
    lines: BTreeMap<u64, Line>,
    /// The first number that is not on the medium yet.
    next: u64,
    /// Where the log ends.
    end: u64,
    /// Whether what is on the medium is not to be relied on.
    doubtful: bool,
}

/// An event on the medium.
#[derive(Debug, Clone, Copy)]
struct Line {
    bytes: u64,
    missed: u64,
}

/// What a flush adds.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    put: Vec<(u64, Line)>,
    missed: Vec<(u64, u64)>,
    gone: Vec<u64>,
}

impl<M: Medium> Ledger<M> {
    /// Opens the log on `medium` with what an earlier run left there.
    pub fn open(mut medium: M, config: &config::DiskStore) -> (Self, Found) {
        let (read, error) = match medium.read() {
            Ok(bytes) => (bytes, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let reading = Reading::of(&read);
        let (torn, damaged) = (read.len() as u64 - reading.end, reading.damaged);
        let doubtful = error.is_some() || torn > 0 || damaged > 0;
        let (lines, end) = (BTreeMap::new(), reading.end);
        let mut ledger = Self { medium, most: config.bytes, lines, next: 0, end, doubtful };
        let events = ledger.replay(reading.records);
        (ledger, Found { events, torn, damaged, error })
    }

    /// Brings the medium up to what waits in `outbox`, of which events published before `oldest` (Unix
    /// seconds), and the oldest beyond the bound, give way.
    ///
    /// # Errors
    /// The medium refuses it. The events stay where they are, and the next flush tries all of it again.
    pub fn flush(&mut self, outbox: &Outbox<'_>, oldest: Option<f64>) -> io::Result<()> {
        if let Some(oldest) = oldest {
            // Stamps of a clock that was not set yet say nothing of an event's age.
            outbox.store().give_way(|_, event| event.clock_synced != Some(false) && event.published < oldest);
        }
        let mut batch = self.batch(outbox)?;
        if let Some(last) = self.surplus(&batch) {
            outbox.store().give_way(|number, _| number <= last);
            batch = self.batch(outbox)?;
        }
        if self.doubtful || self.wasteful(&batch) {
            return self.renew(outbox);
        }
        if batch.bytes.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.medium.append(self.end, &batch.bytes) {
            if error.kind() == io::ErrorKind::NotFound {
                return self.renew(outbox); // the medium was emptied by somebody
            }
            // What was written of it is no line to rely on. (If it cannot be cut off now, the next append does.)
            self.medium.append(self.end, &[]).ok();
            return Err(error);
        }
        // After a sync that failed the system may have forgotten what it did not write.
        self.medium.sync().inspect_err(|_| self.doubtful = true)?;
        self.take(batch);
        Ok(())
    }

    /// Events on the medium that wait for the broker.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether none waits there.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// What the lines say in the end.
    fn replay(&mut self, records: Vec<(Record, u64)>) -> Vec<(u64, EventMessage)> {
        let mut events: BTreeMap<u64, (EventMessage, u64)> = BTreeMap::new();
        for (record, bytes) in records {
            match record {
                Record::Put { number, event } => {
                    events.insert(number, (*event, bytes));
                }
                Record::Missed { number, missed } => {
                    events.entry(number).and_modify(|(event, _)| event.missed = missed);
                }
                Record::Gone { first, last } => events.retain(|number, _| !(first..=last).contains(number)),
            }
        }
        let line = |(number, (event, bytes)): (&u64, &(EventMessage, u64))| {
            (*number, Line { bytes: *bytes, missed: event.missed })
        };
        self.lines = events.iter().map(line).collect();
        // Numbers of events that are over are given again; lines are read in the order of their writing.
        self.next = self.lines.last_key_value().map_or(0, |(number, _)| number + 1);
        events.into_iter().map(|(number, (event, _))| (number, event)).collect()
    }

    /// What changed. New events come before what they stand in for: a batch that is written in part never
    /// hides what gave way.
    fn batch(&self, outbox: &Outbox<'_>) -> io::Result<Batch> {
        let kept: BTreeMap<u64, u64> = outbox.store().kept().collect();
        let mut batch = Batch::default();
        batch.put = puts(outbox, self.next, &mut batch.bytes)?;
        for (&number, line) in &self.lines {
            match kept.get(&number) {
                Some(&missed) if missed != line.missed => batch.missed.push((number, missed)),
                Some(_) => {}
                None => batch.gone.push(number),
            }
        }
        for &(number, missed) in &batch.missed {
            Record::Missed { number, missed }.write(&mut batch.bytes)?;
        }
        for range in batch.gone.chunk_by(|a, b| a + 1 == *b) {
            Record::Gone { first: range[0], last: range[range.len() - 1] }.write(&mut batch.bytes)?;
        }
        Ok(batch)
    }

    fn take(&mut self, batch: Batch) {
        self.end += batch.bytes.len() as u64;
        self.next = batch.put.last().map_or(self.next, |(number, _)| number + 1);
        self.lines.extend(batch.put);
        for (number, missed) in batch.missed {
            self.lines.entry(number).and_modify(|line| line.missed = missed);
        }
        self.lines.retain(|number, _| batch.gone.binary_search(number).is_err());
    }

    /// Writes all that waits anew.
    fn renew(&mut self, outbox: &Outbox<'_>) -> io::Result<()> {
        let mut bytes = Vec::new();
        let put = puts(outbox, 0, &mut bytes)?;
        self.medium.replace(&bytes)?;
        (self.end, self.doubtful) = (0, false);
        self.lines.clear();
        self.take(Batch { bytes, put, ..Batch::default() });
        Ok(())
    }

    /// The last of the oldest events that have to give way for the rest to be within a third of the bound: another
    /// two are for the log's length, which is written anew before it is longer.
    fn surplus(&self, batch: &Batch) -> Option<u64> {
        let stays = |(number, _): &(u64, Line)| batch.gone.binary_search(number).is_err();
        let all = self.lines.iter().map(|(number, line)| (*number, *line)).filter(stays);
        let all: Vec<(u64, Line)> = all.chain(batch.put.iter().copied()).collect();
        let mut bytes: u64 = all.iter().map(|(_, line)| line.bytes).sum();
        let too_many = all.iter().take_while(|(_, line)| {
            let over = bytes > self.most / 3;
            bytes -= line.bytes;
            over
        });
        too_many.last().map(|(number, _)| *number)
    }

    /// Whether the log would be too long, or hold little but what is over.
    fn wasteful(&self, batch: &Batch) -> bool {
        let end = self.end + batch.bytes.len() as u64;
        let waiting: u64 =
            self.lines.values().chain(batch.put.iter().map(|(_, line)| line)).map(|l| l.bytes).sum();
        end > self.most / 3 * 2 || end > 4 * waiting + SHORT
    }
}

/// Writes the events from number `from` on behind `bytes`. Copies a few at a time, so that nobody waits long for
/// the store.
fn puts(outbox: &Outbox<'_>, mut from: u64, bytes: &mut Vec<u8>) -> io::Result<Vec<(u64, Line)>> {
    let mut put = Vec::new();
    loop {
        let events = outbox.store().copies(from, CHUNK);
        let Some((last, _)) = events.last() else { return Ok(put) };
        from = last + 1;
        for (number, event) in events {
            let missed = event.missed;
            let length = Record::Put { number, event: Box::new(event) }.write(bytes)?;
            put.push((number, Line { bytes: length, missed }));
        }
    }
}
