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
    coming: Vec<(Instant, Value)>,
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
            rest: Tensor::default(),
        }
    }

    /// Forgets all sound. What comes next starts a new grid of hops.
    pub(super) fn clear(&mut self) {
        self.restart();
        self.meter.clear();
        self.rows.clear();
        self.coming.clear();
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
        read: impl FnOnce(Vec<Value>) -> Result<Vec<Tensor>, E>,
    ) -> Result<(), E> {
        let ready = self.coming.len().saturating_sub(but);
        let (ends, values): (Vec<_>, Vec<_>) = self.coming.drain(..ready).unzip();
        if !values.is_empty() {
            let rows = read(values)?;
            ends.into_iter().zip(rows).for_each(|(end, rows)| self.remember(end, rows.data));
        }
        Ok(())
    }

    /// How many of the newest rows are still on their way, where nothing but they may come last in what was heard up to `until`.
    pub(super) fn coming(&self, until: Instant) -> usize {
        let close = Duration::from_secs_f64(2.0 * self.hop as f64 / f64::from(self.rate)).min(self.window);
        let newest = self.coming.iter().rev().find(|(end, _)| *end <= until);
        if newest.is_some_and(|(end, _)| until.since(*end) >= close) {
            return 0; // silence follows them
        }
        self.under_way()
    }

    /// How many of the newest rows are still on their way.
    pub(super) fn under_way(&self) -> usize {
        self.coming.iter().rev().take_while(|(_, value)| value.is_coming()).count()
    }

    /// [`Ear::up_to`], when all was gathered but the newest rows of [`Ear::coming`]: those are given apart, where they have
    /// ended by then, and their places are left empty.
    pub(super) fn lately(&mut self, until: Instant, memory: Duration) -> (Hearing, Vec<Value>) {
        let recent = |(end, _): &&(Instant, Value)| *end <= until && until.since(*end) < self.window;
        let (ends, mut values): (Vec<_>, Vec<_>) = self.coming.iter().filter(recent).cloned().unzip();
        let gathered = self.rows.len();
        let empty = vec![0.0; self.rest.data.len()];
        self.rows.extend(ends.into_iter().map(|end| (end, empty.clone())));
        let hearing = self.up_to(until, memory);
        self.rows.truncate(gathered);
        let [runs, run] = [&hearing.rows, &self.rest].map(|rows| rows.data.len());
        let surplus = values.len().saturating_sub(runs.div_ceil(run.max(1)));
        (hearing, values.split_off(surplus))
    }

    /// What was heard, of the rows that were gathered, up to `until`; rows that ended more than `memory` before are left out.
    pub(super) fn up_to(&self, until: Instant, memory: Duration) -> Hearing {
        let (from, to) = self.extent.unwrap_or((until, until));
        let start = (until - self.window).max(from).min(until);
        let end = to.min(until).max(start);
        let level_dbfs = self.meter.dbfs(start, until);
        let count = self.remembered(memory);
        let rows = latest(self.window(until, self.span.min(count)), count);
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
                self.coming.push((end(taken), row));
            }
        }
        Ok(())
    }

    fn remember(&mut self, end: Instant, row: Vec<f32>) {
        self.rows.push_back((end, row));
        while self.rows.front().is_some_and(|(oldest, _)| end.since(*oldest) > self.window + AHEAD) {
            self.rows.pop_front();
        }
    }

    /// The last `span` runs of the window up to `until`. Where the sound stopped a hop or more ago silence
    /// follows it, so that the index of a row keeps telling its age.
    fn window(&self, until: Instant, span: usize) -> Tensor {
        let hop = self.hop as f64 / f64::from(self.rate);
        let recent = |(end, _): &&(Instant, Vec<f32>)| *end <= until && until.since(*end) < self.window;
        let newest = self.rows.iter().rev().find(recent);
        let late = newest.map_or(f64::INFINITY, |(end, _)| until.seconds_from(*end));
        let silent = ((late / hop) as usize).saturating_sub(1).min(span);
        let heard: Vec<_> = self.rows.iter().rev().filter(recent).take(span - silent).collect();
        let silent = if heard.is_empty() { 1 } else { silent };
        let mut data = Vec::with_capacity((heard.len() + silent) * self.rest.data.len());
        heard.iter().rev().for_each(|(_, row)| data.extend_from_slice(row));
        (0..silent).for_each(|_| data.extend_from_slice(&self.rest.data));
        let [batch, rows, dimension] = [0, 1, 2].map(|axis| self.rest.shape.get(axis).copied().unwrap_or(0));
        Tensor { shape: vec![batch, rows * (heard.len() + silent), dimension], data }
    }
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
