//! Streaming log-mel spectrogram: periodic Hann window, magnitude (or power) of the
//! Fourier transform, HTK mel bands (the zero-frequency bin left out), logarithm with an offset.

use std::f64::consts::PI;
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use super::manifest::LogMel;

/// Turns samples into spectrogram frames of `bands` values, one every `frame_step` samples.
pub struct Spectrogram {
    settings: LogMel,
    transform: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
    /// Per band: its first bin and its weights from there on.
    bands: Vec<(usize, Vec<f32>)>,
    pending: Vec<f32>,
    time: Vec<f32>,
    bins: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
    magnitude: Vec<f32>,
}

impl Spectrogram {
    /// A spectrogram of sound with `rate` samples per second.
    pub fn new(settings: &LogMel, rate: u32) -> Self {
        let transform = RealFftPlanner::new().plan_fft_forward(settings.fft);
        Self {
            window: hann(settings.frame_length),
            bands: mel_bands(settings, rate),
            pending: Vec::with_capacity(settings.frame_length * 2),
            time: transform.make_input_vec(),
            bins: transform.make_output_vec(),
            scratch: transform.make_scratch_vec(),
            magnitude: vec![0.0; settings.fft / 2 + 1],
            settings: settings.clone(),
            transform,
        }
    }

    /// Takes samples and appends every frame they complete to `frames`, `bands` values each.
    pub fn push(&mut self, samples: impl IntoIterator<Item = f32>, frames: &mut Vec<f32>) {
        self.pending.extend(samples);
        let (length, step) = (self.settings.frame_length, self.settings.frame_step);
        let mut start = 0;
        while self.pending.len() - start >= length {
            self.frame(start, frames);
            start += step;
        }
        self.pending.drain(..start);
    }

    /// One frame of silence.
    pub fn silence(&self) -> f32 {
        self.settings.log_offset.ln()
    }

    /// Forgets samples that did not yet complete a frame.
    pub fn clear(&mut self) {
        self.pending.clear();
    }

    fn frame(&mut self, start: usize, frames: &mut Vec<f32>) {
        let samples = &self.pending[start..start + self.settings.frame_length];
        let (head, tail) = self.time.split_at_mut(samples.len());
        head.iter_mut().zip(samples.iter().zip(&self.window)).for_each(|(t, (s, w))| *t = s * w);
        tail.fill(0.0);
        let done = self.transform.process_with_scratch(&mut self.time, &mut self.bins, &mut self.scratch);
        debug_assert!(done.is_ok(), "buffers come from the transform itself");
        let power = self.settings.power;
        for (magnitude, bin) in self.magnitude.iter_mut().zip(&self.bins) {
            let square = bin.norm_sqr();
            *magnitude = if power == 1.0 { square.sqrt() } else { square.powf(power / 2.0) };
        }
        frames.extend(self.bands.iter().map(|(first, weights)| {
            let energy: f32 = weights.iter().zip(&self.magnitude[*first..]).map(|(w, m)| w * m).sum();
            (energy + self.settings.log_offset).ln()
        }));
    }
}

fn hann(length: usize) -> Vec<f32> {
    let turn = 2.0 * PI / length as f64;
    (0..length).map(|n| (0.5 - 0.5 * (turn * n as f64).cos()) as f32).collect()
}

/// HTK's mel scale.
fn mel(hz: f64) -> f64 {
    1127.0 * (hz / 700.0).ln_1p()
}

/// Triangles that are straight on the mel scale, one per band.
fn mel_bands(settings: &LogMel, rate: u32) -> Vec<(usize, Vec<f32>)> {
    let (low, high) = (mel(settings.low_hz), mel(settings.high_hz));
    let edge = |index: usize| low + (high - low) * index as f64 / (settings.bands + 1) as f64;
    let bin = |index: usize| mel(index as f64 * f64::from(rate) / settings.fft as f64);
    let band = |index: usize| {
        let (left, centre, right) = (edge(index), edge(index + 1), edge(index + 2));
        let weight = |at: usize| {
            let (rise, fall) = ((bin(at) - left) / (centre - left), (right - bin(at)) / (right - centre));
            rise.min(fall).max(0.0) as f32
        };
        let bins = 1..settings.fft / 2 + 1;
        let first = bins.clone().find(|&at| weight(at) > 0.0).unwrap_or(1);
        (first, (first..bins.end).map(weight).take_while(|&w| w > 0.0).collect())
    };
    (0..settings.bands).map(band).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> LogMel {
        LogMel {
            frame_length: 400,
            frame_step: 160,
            fft: 512,
            bands: 64,
            low_hz: 125.0,
            high_hz: 7500.0,
            power: 1.0,
            log_offset: 0.001,
            patch_frames: 96,
            patch_step: 24,
        }
    }

    fn tone(hz: f32) -> Vec<f32> {
        (0..4000).map(|n| (n as f32 * hz * std::f32::consts::TAU / 16_000.0).sin()).collect()
    }

    #[test]
    fn blocks_of_any_length_give_the_same_frames() {
        let sound = tone(440.0);
        let (mut whole, mut parts) = (Vec::new(), Vec::new());
        Spectrogram::new(&settings(), 16_000).push(sound.iter().copied(), &mut whole);
        let mut stream = Spectrogram::new(&settings(), 16_000);
        sound.chunks(37).for_each(|block| stream.push(block.iter().copied(), &mut parts));
        assert_eq!(whole, parts);
        assert_eq!(whole.len(), (1 + (4000 - 400) / 160) * 64);
    }

    #[test]
    fn a_tone_is_loudest_in_its_band_and_silence_is_the_floor() {
        let mut frames = Vec::new();
        let mut stream = Spectrogram::new(&settings(), 16_000);
        stream.push(tone(1000.0), &mut frames);
        let loudest = |frame: &[f32]| (0..64).max_by(|&a, &b| frame[a].total_cmp(&frame[b]));
        let expected = (mel(1000.0) - mel(125.0)) / (mel(7500.0) - mel(125.0)) * 65.0 - 1.0;
        assert_eq!(loudest(&frames[..64]), Some(expected.round() as usize));
        frames.clear();
        stream.clear();
        stream.push(vec![0.0; 400], &mut frames);
        assert!(frames.iter().all(|&v| v == stream.silence()));
    }
}
