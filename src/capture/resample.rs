//! Change of sample rate for a sound card's stream: a polyphase windowed sinc without delay.
//!
//! Written here and not taken from a crate because the stamps need to know to which input sample every
//! output sample belongs; GStreamer's own resampler serves the recordings.

/// Zero crossings of the sinc on either side.
const CROSSINGS: f64 = 16.0;
/// Share of the lower Nyquist frequency that passes.
const PASS: f64 = 0.92;
/// Kaiser window's shape: some 80 dB of stop band.
const BETA: f64 = 8.0;

/// Turns a stream of one rate into a stream of another.
pub(super) struct Resampler {
    up: usize,
    down: usize,
    /// `up` filters of `taps` coefficients each.
    filters: Vec<f32>,
    taps: usize,
    /// Input not yet used up; begins `taps / 2 - 1` samples before the next output's place.
    input: Vec<f32>,
    /// Place of the next output after the input sample before it, in `1 / up` samples.
    phase: usize,
}

impl Resampler {
    /// From `from` to `to` samples in a second, both at least 1.
    pub fn new(from: u32, to: u32) -> Self {
        let (from, to) = (from.max(1) as usize, to.max(1) as usize);
        let shared = greatest_common_divisor(from, to);
        let (up, down) = (to / shared, from / shared);
        let taps = 2 * (CROSSINGS * (down as f64 / up as f64).max(1.0)).ceil() as usize;
        let filters = (0..up).flat_map(|phase| filter(phase as f64 / up as f64, taps, up, down)).collect();
        let mut resampler = Self { up, down, filters, taps, input: Vec::new(), phase: 0 };
        resampler.reset();
        resampler
    }

    /// Forgets the stream: silence lies before the next input sample.
    pub fn reset(&mut self) {
        self.input = vec![0.0; self.taps / 2 - 1];
        self.phase = 0;
    }

    /// How many input samples after the place of the next output the input ends.
    pub fn ahead(&self) -> f64 {
        (self.input.len() + 1) as f64 - self.taps as f64 / 2.0 - self.phase as f64 / self.up as f64
    }

    /// Takes input and returns what output it allows.
    pub fn push(&mut self, samples: &[f32]) -> Vec<f32> {
        self.input.extend_from_slice(samples);
        let (mut output, mut at) = (Vec::with_capacity(samples.len() * self.up / self.down + 1), 0);
        while let Some(window) = self.input.get(at..at + self.taps) {
            let filter = &self.filters[self.phase * self.taps..][..self.taps];
            output.push(window.iter().zip(filter).map(|(x, h)| x * h).sum());
            self.phase += self.down;
            at += self.phase / self.up;
            self.phase %= self.up;
        }
        // A step is shorter than the filter, so `at` lies within the input.
        self.input.drain(..at);
        output
    }
}

/// The coefficients for an output that lies `fraction` of a sample after the input sample before it.
fn filter(fraction: f64, taps: usize, up: usize, down: usize) -> Vec<f32> {
    let band = PASS * (up as f64 / down as f64).min(1.0);
    let (half, centre) = (taps as f64 / 2.0, taps as f64 / 2.0 - 1.0 + fraction);
    let weights = (0..taps).map(|tap| {
        let x = tap as f64 - centre;
        let arch = (1.0 - (x / half).powi(2)).max(0.0).sqrt();
        sinc(band * x) * bessel(BETA * arch)
    });
    let weights: Vec<f64> = weights.collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| (weight / sum) as f32).collect()
}

fn sinc(x: f64) -> f64 {
    let x = std::f64::consts::PI * x;
    if x.abs() < 1e-9 { 1.0 } else { x.sin() / x }
}

/// The modified Bessel function of order zero.
fn bessel(x: f64) -> f64 {
    let terms = (1..40).scan(1.0, |term, k| {
        *term *= (x / 2.0 / f64::from(k)).powi(2);
        Some(*term)
    });
    1.0 + terms.sum::<f64>()
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tone(rate: u32, hertz: f64, seconds: f64) -> Vec<f32> {
        let turn = std::f64::consts::TAU * hertz / f64::from(rate);
        (0..(f64::from(rate) * seconds) as usize).map(|i| (turn * i as f64).sin() as f32).collect()
    }

    fn level(samples: &[f32]) -> f32 {
        (samples.iter().map(|v| v * v).sum::<f32>() / samples.len() as f32).sqrt()
    }

    #[test]
    fn a_tone_keeps_its_phase_and_what_is_too_high_vanishes() {
        for from in [8000, 16_000, 22_050, 44_100, 48_000, 96_000] {
            let got = Resampler::new(from, 16_000).push(&tone(from, 1000.0, 0.5));
            let error: Vec<_> =
                got.iter().zip(tone(16_000, 1000.0, 0.5)).map(|(a, b)| a - b).skip(100).collect();
            assert!(level(&error) < 1e-3, "{from}: {}", level(&error));
            if from > 20_000 {
                assert!(level(&Resampler::new(from, 16_000).push(&tone(from, 9_500.0, 0.5))[100..]) < 1e-3);
            }
        }
    }

    proptest! {
        #[test]
        fn pieces_make_the_same_stream(cuts in proptest::collection::vec(0usize..700, 1..20)) {
            let whole = tone(44_100, 700.0, 0.2);
            let expected = Resampler::new(44_100, 16_000).push(&whole);
            let (mut resampler, mut rest, mut got) = (Resampler::new(44_100, 16_000), &whole[..], Vec::new());
            for cut in cuts {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                got.extend(resampler.push(now));
                rest = later;
            }
            got.extend(resampler.push(rest));
            prop_assert_eq!(got.len(), expected.len());
            let place = got.len() as f64 * 44_100.0 / 16_000.0;
            prop_assert!((place + resampler.ahead() - whole.len() as f64).abs() < 1e-6);
            prop_assert!(got == expected);
        }
    }
}
