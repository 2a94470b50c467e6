//! What a sound card delivers becomes an unbroken, smoothly stamped stream at the rate that is wanted.
//!
//! Pure: the card's samples, and the measured instant at which they end, are arguments.

use std::time::Duration;

use super::resample::Resampler;
use crate::clock::Instant;
use crate::frame::Samples;

/// The measured end may lie so far after the predicted one before it counts as lost sound.
const JUMP: f64 = 0.1;
/// Bandwidth in Hz with which the stamps follow the measured ones, once settled.
const FOLLOW: f64 = 0.05;
/// A card's clock is never further from the nominal rate than this share.
const DRIFT: f64 = 0.002;

/// Stamps and resamples one card's stream.
pub(super) struct Ear {
    resampler: Resampler,
    rate: u32,
    line: TimeLine,
    /// End of the last block handed on.
    end: Option<Instant>,
    /// The next block comes after a gap.
    broken: bool,
}

impl Ear {
    /// For a card at `from` samples in a second, towards `rate`.
    pub fn new(from: u32, rate: u32) -> Self {
        let (resampler, line) = (Resampler::new(from, rate), TimeLine::new(from));
        Self { resampler, rate, line, end: None, broken: false }
    }

    /// The card lost sound; what it delivers next is a new stretch.
    pub fn overrun(&mut self) {
        self.resampler.reset();
        self.line.forget();
        self.broken = true;
    }

    /// Where the next `samples` are expected to end.
    pub fn expects(&self, samples: usize) -> Option<Instant> {
        Some(self.line.end? + Duration::from_secs_f64(samples as f64 * self.line.period))
    }

    /// Takes the card's next samples, whose last was measured to end at `end`. Nothing comes of none,
    /// nor while the resampler fills.
    pub fn hear(&mut self, samples: &[f32], end: Instant) -> Option<Samples> {
        if samples.is_empty() {
            return None;
        }
        if self.line.jumps(samples.len(), end) {
            self.overrun();
        }
        let clean: Vec<f32> = samples.iter().map(|v| if v.is_finite() { *v } else { 0.0 }).collect();
        let end = self.line.advance(clean.len(), end);
        let place = self.resampler.ahead() + clean.len() as f64;
        let mono = self.resampler.push(&clean);
        if mono.is_empty() {
            return None;
        }
        let captured = end - Duration::from_secs_f64((place * self.line.period).max(0.0));
        let mut block = Samples::new(captured, self.rate, mono);
        if std::mem::take(&mut self.broken) {
            block.lost_before = self.end.map_or(Duration::ZERO, |end| captured.since(end));
        }
        self.end = Some(block.end());
        Some(block)
    }
}

/// A card's samples on the monotonic clock: a second-order loop that follows the measured instants
/// without their jitter, and learns the card's true rate.
struct TimeLine {
    nominal: f64,
    period: f64,
    end: Option<Instant>,
    followed: f64,
}

impl TimeLine {
    fn new(rate: u32) -> Self {
        let nominal = 1.0 / f64::from(rate.max(1));
        Self { nominal, period: nominal, end: None, followed: 0.0 }
    }

    /// Keeps the learnt rate, forgets the place.
    fn forget(&mut self) {
        (self.end, self.followed) = (None, 0.0);
    }

    fn error(&self, samples: usize, measured: Instant) -> Option<f64> {
        Some(measured.seconds_from(self.end?) - samples as f64 * self.period)
    }

    fn jumps(&self, samples: usize, measured: Instant) -> bool {
        self.error(samples, measured).is_some_and(|error| error > JUMP)
    }

    /// Moves on by `samples` and returns the smoothed instant of their end.
    fn advance(&mut self, samples: usize, measured: Instant) -> Instant {
        let (Some(begin), Some(error)) = (self.end, self.error(samples, measured)) else {
            self.end = Some(measured);
            return measured;
        };
        let span = samples as f64 * self.nominal;
        let bandwidth = FOLLOW + 0.5 / (1.0 + self.followed);
        let pull = (std::f64::consts::TAU * bandwidth * span).min(0.5);
        let error = error.clamp(-JUMP, JUMP);
        let moved = samples as f64 * self.period + std::f64::consts::SQRT_2 * pull * error;
        self.period += pull * pull * error / samples as f64;
        self.period = self.period.clamp(self.nominal * (1.0 - DRIFT), self.nominal * (1.0 + DRIFT));
        self.followed += span;
        let end = begin + Duration::from_secs_f64(moved.max(0.0));
        self.end = Some(end);
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: usize = 960;

    fn at(seconds: f64) -> Instant {
        Instant::from_secs_f64(1000.0 + seconds)
    }

    /// Blocks of 20 ms from a card whose clock is `drift` fast and whose stamps are up to `jitter` late.
    fn play(ear: &mut Ear, seconds: f64, drift: f64, jitter: f64) -> Vec<(f64, Samples)> {
        let mut random = fastrand::Rng::with_seed(7);
        let true_rate = 48_000.0 * (1.0 + drift);
        (1..=(seconds * 50.0) as usize)
            .filter_map(|i| {
                let end = (i * BLOCK) as f64 / true_rate;
                let block = ear.hear(&[0.1; BLOCK], at(end + random.f64() * jitter))?;
                Some((end, block))
            })
            .collect()
    }

    #[test]
    fn minutes_of_a_fast_card_drift_nowhere() {
        let mut ear = Ear::new(48_000, 16_000);
        let blocks = play(&mut ear, 300.0, 150e-6, 0.005);
        for (end, block) in &blocks[3000..] {
            let late = block.end().seconds_from(at(*end)) + 0.001;
            assert!((0.0..0.006).contains(&late), "{late} s late at {end} s");
        }
        assert!(blocks.iter().all(|(_, block)| block.lost_before.is_zero()));
    }

    #[test]
    fn the_stamps_are_smoother_than_the_measurement() {
        let mut ear = Ear::new(48_000, 16_000);
        let blocks = play(&mut ear, 60.0, 0.0, 0.010);
        for pair in blocks[500..].windows(2) {
            let step = pair[1].1.captured.seconds_from(pair[0].1.end());
            assert!(step.abs() < 0.000_6, "a step of {step} s");
        }
    }

    #[test]
    fn an_overrun_is_a_gap_on_the_true_time_line() {
        let mut ear = Ear::new(16_000, 16_000);
        let before = ear.hear(&[0.0; 3200], at(0.2)).expect("sound");
        ear.overrun();
        let after = ear.hear(&[0.0; 3200], at(0.9)).expect("sound");
        assert!((after.captured.seconds_from(at(0.7))).abs() < 1e-6);
        assert_eq!(after.lost_before, after.captured.since(before.end()));
        assert!((after.lost_before.as_secs_f64() - 0.5).abs() < 0.002);
    }

    #[test]
    fn a_gap_that_the_card_does_not_report_is_seen_in_the_stamps() {
        let mut ear = Ear::new(16_000, 16_000);
        ear.hear(&[0.0; 3200], at(0.2)).expect("sound");
        let after = ear.hear(&[0.0; 3200], at(1.4)).expect("sound");
        assert!((after.lost_before.as_secs_f64() - 1.0).abs() < 0.002);
    }

    #[test]
    fn nothing_and_nonsense_are_harmless() {
        let mut ear = Ear::new(48_000, 16_000);
        assert!(ear.hear(&[], at(0.0)).is_none());
        let block = ear.hear(&[f32::NAN; BLOCK], at(0.02)).expect("sound");
        assert!(block.mono.iter().all(|v| *v == 0.0));
        let early = ear.hear(&[0.5; BLOCK], Instant::ZERO).expect("a stamp from before the boot");
        assert!(early.captured >= block.captured);
    }
}
