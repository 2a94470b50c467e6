//! The ear: sound on its own time line, encoded once per hop, and the rows of `A` that came of it.

use std::collections::VecDeque;
use std::time::Duration;

use super::level::LevelMeter;
use super::manifest::{FrontEnd, Manifest};
use super::patches::Patches;
use crate::clock::Instant;
use crate::engine::{Tensor, Value};
use crate::frame::Samples;

/// How long rows outlive the window: sound may run this far ahead of the pictures.
const AHEAD: Duration = Duration::from_secs(30);

/// Stamps of neighbouring blocks that differ by less than this, in seconds, are contiguous.
const JITTER: f64 = 0.05;

/// What was heard in the window up to some instant.
#[derive(Debug, Clone, PartialEq)]
pub struct Hearing {
    /// Start of the window; not before the sound began.
    pub start: Instant,
    /// End of the window; not after the sound ended.
    pub end: Instant,
    /// Root-mean-square level over the window, dBFS, [`super::SILENCE_DBFS`] to 0.
    pub level_dbfs: f32,
    /// `A`, `[1, T, D]`, oldest row first, a hop apart; silence where nothing was heard.
    pub rows: Tensor,
}

/// Cuts sound on a fixed grid of hops and keeps the rows made of it.
pub(super) struct Ear {
    patches: Patches,
    meter: LevelMeter,
    rate: u32,
    hop: usize,
    window: Duration,
    /// Runs of the audio graph that a window holds.
    span: usize,
    /// Samples until the next patch is complete.
    due: usize,
    /// From the first to the last sample taken; `None` before the first.
    extent: Option<(Instant, Instant)>,
    rows: VecDeque<(Instant, Vec<f32>)>,
    /// The newest rows, which may still be on their way.
    coming: Vec<Value>,
    /// When each of them ends.
    ends: Vec<Instant>,
    /// Room for what is read of one.
    read: Tensor,
    /// `A` of one patch of silence, `[1, T, D]`.
    rest: Tensor,
}

impl Ear {
    pub(super) fn new(manifest: &Manifest) -> Self {
        let audio = &manifest.audio;
        let patches = Patches::new(manifest);
        let window = Duration::from_secs_f64(audio.window);
        let hop = manifest.hop_samples();
        Self {
            due: hop + patches.reach(),
            patches,
            meter: LevelMeter::new(audio.sample_rate, window + AHEAD),
            rate: audio.sample_rate,
            hop,
            window,
            span: span(manifest),
            extent: None,
            rows: VecDeque::new(),
            coming: Vec::new(),
            ends: Vec::new(),
            read: Tensor::default(),
            rest: Tensor::default(),
        }
    }

    /// Forgets all sound. What comes next starts a new grid of hops.
    pub(super) fn clear(&mut self) {
        self.restart();
        self.meter.clear();
        self.rows.clear();
        self.coming.clear();
        self.ends.clear();
        self.extent = None;
    }

    /// Sets the rows that stand where nothing was heard: `encode`d silence.
    pub(super) fn rest<E>(
        &mut self,
        encode: impl FnOnce(&Tensor) -> Result<Tensor, E>,
    ) -> Result<&Tensor, E> {
        self.clear();
        self.rest = encode(self.patches.cut())?;
        Ok(&self.rest)
    }

    /// Takes a block. `encode` is called once for every hop it completes, with the patch of sound up
    /// to there, and gives its rows of `A`, which [`Ear::gather`] waits for.
    pub(super) fn push<E>(
        &mut self,
        block: &Samples,
        mut encode: impl FnMut(&Tensor) -> Result<Value, E>,
    ) -> Result<(), E> {
        if block.mono.is_empty() {
            return Ok(());
        }
        if let Some((_, end)) = self.extent {
            let apart = block.captured.seconds_from(end);
            let lost = if apart > JITTER { apart } else { block.lost_before.as_secs_f64() };
            if apart < -JITTER {
                self.clear();
            } else if lost > self.window.as_secs_f64() {
                self.restart();
            } else {
                let silence = vec![0.0; (lost * f64::from(self.rate)).round() as usize];
                self.take(end, &silence, &mut encode)?;
            }
        }
        self.take(block.captured, &block.mono, &mut encode)
    }

    /// Has the rows `read` that came last, but for so many of the newest.
    pub(super) fn gather<E>(
        &mut self,
        but: usize,
        mut read: impl FnMut(&Value, &mut Tensor) -> Result<(), E>,
    ) -> Result<(), E> {
        let ready = self.coming.len().saturating_sub(but);
        let Self { coming, ends, read: tensor, rows, window, .. } = self;
        // Whatever fails, none of them comes any more.
        ends.drain(..ready).zip(coming.drain(..ready)).try_for_each(|(end, value)| {
            read(&value, tensor)?;
            remember(rows, *window + AHEAD, end, &mut tensor.data);
            Ok(())
        })
    }

    /// How many of the newest rows are still on their way, where nothing but they may come last in what was heard up to `until`.
    pub(super) fn coming(&self, until: Instant) -> usize {
        let close = Duration::from_secs_f64(2.0 * self.hop as f64 / f64::from(self.rate)).min(self.window);
        let newest = self.ends.iter().rev().find(|end| **end <= until);
        if newest.is_some_and(|end| until.since(*end) >= close) {
            return 0; // silence follows them
        }
        self.under_way()
    }

    /// How many of the newest rows are still on their way.
    pub(super) fn under_way(&self) -> usize {
        self.coming.iter().rev().take_while(|value| value.is_coming()).count()
    }

    /// [`Ear::up_to`], when all was gathered but the newest rows of [`Ear::coming`]: those are given apart, where they have
    /// ended by then, and their places are left empty.
    pub(super) fn lately(&self, until: Instant, memory: Duration, room: Tensor) -> (Hearing, &[Value]) {
        let hearing = self.up_to(until, memory, room);
        let recent = |end: &Instant| self.is_recent(*end, until);
        let last = self.ends.iter().rposition(recent).map_or(0, |newest| newest + 1);
        let [runs, run] = [&hearing.rows, &self.rest].map(|rows| rows.data.len());
        let count = self.ends.iter().filter(|end| recent(end)).count().min(runs.div_ceil(run.max(1)));
        (hearing, &self.coming[last - count..last])
    }

    /// What was heard up to `until`, with its rows in `room`; rows that ended more than `memory` before are left out, and the
    /// places of those that were not gathered are empty.
    pub(super) fn up_to(&self, until: Instant, memory: Duration, room: Tensor) -> Hearing {
        let (from, to) = self.extent.unwrap_or((until, until));
        let start = (until - self.window).max(from).min(until);
        let end = to.min(until).max(start);
        let level_dbfs = self.meter.dbfs(start, until);
        let count = self.remembered(memory);
        let rows = latest(self.window(until, self.span.min(count), room), count);
        Hearing { start, end, level_dbfs, rows }
    }

    /// Rows that are at most `memory` old when the newest has just ended. A patch gives a row every hop; the rows of a
    /// waveform share its window.
    fn remembered(&self, memory: Duration) -> usize {
        let row = match self.rest.shape.get(1) {
            Some(&rows) if rows > 1 => self.window.as_secs_f64() / rows as f64,
            _ => self.hop as f64 / f64::from(self.rate),
        };
        ((memory.as_secs_f64() / row + 1e-9) as usize).saturating_add(1)
    }

    fn restart(&mut self) {
        self.patches.restart();
        self.due = self.hop + self.patches.reach();
    }

    fn take<E>(
        &mut self,
        start: Instant,
        samples: &[f32],
        encode: &mut impl FnMut(&Tensor) -> Result<Value, E>,
    ) -> Result<(), E> {
        let rate = f64::from(self.rate);
        let end = |n: usize| start + Duration::from_secs_f64(n as f64 / rate);
        self.extent = Some((self.extent.map_or(start, |(from, _)| from), end(samples.len())));
        self.meter.push(samples, end);
        let mut taken = 0;
        while taken < samples.len() {
            let part = self.due.min(samples.len() - taken);
            self.patches.push(&samples[taken..taken + part]);
            taken += part;
            self.due -= part;
            if self.due == 0 {
                self.due = self.hop;
                let row = encode(self.patches.cut())?;
                self.coming.push(row);
                self.ends.push(end(taken));
            }
        }
        Ok(())
    }

    /// Whether what ended then is in the window up to `until`.
    fn is_recent(&self, end: Instant, until: Instant) -> bool {
        end <= until && until.since(end) < self.window
    }

    /// The last `span` runs of the window up to `until`. Where the sound stopped a hop or more ago silence
    /// follows it, so that the index of a row keeps telling its age.
    fn window(&self, until: Instant, span: usize, room: Tensor) -> Tensor {
        let hop = self.hop as f64 / f64::from(self.rate);
        let gathered = self.rows.iter().map(|(end, row)| (*end, Some(row)));
        let runs = gathered.chain(self.ends.iter().map(|end| (*end, None)));
        let recent = runs.filter(|(end, _)| self.is_recent(*end, until));
        let late = recent.clone().next_back().map_or(f64::INFINITY, |(end, _)| until.seconds_from(end));
        let silent = ((late / hop) as usize).saturating_sub(1).min(span);
        let all = recent.clone().count();
        let heard = all.min(span - silent);
        let silent = if heard == 0 { 1 } else { silent };
        let Tensor { mut shape, mut data } = room;
        data.clear();
        for (_, row) in recent.skip(all - heard) {
            match row {
                Some(row) => data.extend_from_slice(row),
                None => data.resize(data.len() + self.rest.data.len(), 0.0),
            }
        }
        (0..silent).for_each(|_| data.extend_from_slice(&self.rest.data));
        let [batch, rows, dimension] = [0, 1, 2].map(|axis| self.rest.shape.get(axis).copied().unwrap_or(0));
        shape.clear();
        shape.extend([batch, rows * (heard + silent), dimension]);
        Tensor { shape, data }
    }
}

/// Puts `row` after those of before, and the oldest, if it has been `kept` long enough, in its place: it is room for the next.
fn remember(rows: &mut VecDeque<(Instant, Vec<f32>)>, kept: Duration, end: Instant, row: &mut Vec<f32>) {
    let oldest = rows.pop_front_if(|(oldest, _)| end.since(*oldest) > kept);
    let room = oldest.map(|(_, row)| row).unwrap_or_default();
    rows.push_back((end, std::mem::replace(row, room)));
}

/// The last `count` of the rows [1,T,D].
fn latest(mut rows: Tensor, count: usize) -> Tensor {
    if let [1, total, dimension] = rows.shape[..] {
        rows.data.drain(..total.saturating_sub(count) * dimension);
        rows.shape[1] = total.min(count);
    }
    rows
}

/// Runs of the audio graph per window: patches that lie wholly within it, or the one waveform.
fn span(manifest: &Manifest) -> usize {
    let audio = &manifest.audio;
    match (audio.front_end, &audio.log_mel) {
        (FrontEnd::LogMel, Some(mel)) => {
            let patch = (mel.patch_frames * mel.frame_step) as f64 / f64::from(audio.sample_rate);
            1 + ((audio.window - patch) / audio.hop + 1e-9) as usize
        }
        _ => 1,
    }
}
