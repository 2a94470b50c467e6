//! How loud it was: root-mean-square level over a stretch of time.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Instant;

/// The level of digital silence, dBFS; no quieter level is reported.
pub const SILENCE_DBFS: f32 = -120.0;

/// Steps per second.
const STEPS: u32 = 100;

/// Mean squares of the recent sound in steps of 10 ms.
pub(super) struct LevelMeter {
    step: usize,
    keep: Duration,
    sum: f64,
    count: usize,
    steps: VecDeque<(Instant, f64)>,
}

impl LevelMeter {
    /// A meter for `rate` samples per second that remembers the last `keep`.
    pub(super) fn new(rate: u32, keep: Duration) -> Self {
        let step = (rate / STEPS).max(1) as usize;
        Self { step, keep, sum: 0.0, count: 0, steps: VecDeque::new() }
    }

    /// Takes samples; `end(n)` is when the n-th of them is over.
    pub(super) fn push(&mut self, samples: &[f32], end: impl Fn(usize) -> Instant) {
        for (n, &sample) in samples.iter().enumerate() {
            self.sum += f64::from(if sample.is_finite() { sample * sample } else { 0.0 });
            self.count += 1;
            if self.count == self.step {
                self.steps.push_back((end(n + 1), self.sum / self.step as f64));
                (self.sum, self.count) = (0.0, 0);
            }
        }
        while let (Some((oldest, _)), Some((newest, _))) = (self.steps.front(), self.steps.back())
            && newest.since(*oldest) > self.keep
        {
            self.steps.pop_front();
        }
    }

    pub(super) fn clear(&mut self) {
        self.steps.clear();
        (self.sum, self.count) = (0.0, 0);
    }

    /// Level over the steps that ended after `start` and not after `end`, dBFS,
    /// [`SILENCE_DBFS`] to 0 (a full-scale square wave).
    pub(super) fn dbfs(&self, start: Instant, end: Instant) -> f32 {
        let (mut sum, mut count) = (0.0, 0u32);
        for (at, mean) in self.steps.iter().rev().skip_while(|(at, _)| *at > end) {
            if *at <= start {
                break;
            }
            sum += mean;
            count += 1;
        }
        let mean = sum / f64::from(count.max(1));
        ((10.0 * mean.log10()) as f32).max(SILENCE_DBFS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(samples: Vec<f32>) -> f32 {
        let mut meter = LevelMeter::new(16_000, Duration::from_secs(10));
        meter.push(&samples, |n| Instant::from_secs_f64(n as f64 / 16_000.0));
        meter.dbfs(Instant::ZERO, Instant::from_secs_f64(1.0))
    }

    #[test]
    fn levels_are_finite_and_true() {
        assert_eq!(second(vec![0.0; 16_000]), SILENCE_DBFS);
        assert_eq!(second(Vec::new()), SILENCE_DBFS);
        assert_eq!(second(vec![f32::NAN; 16_000]), SILENCE_DBFS);
        assert!((second(vec![0.1; 16_000]) + 20.0).abs() < 1e-3);
        assert!(second(vec![1.0; 16_000]).abs() < 1e-6);
    }
}
