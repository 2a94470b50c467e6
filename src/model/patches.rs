//! Front ends: the recent sound in the form the audio graph takes.

use super::log_mel::Spectrogram;
use super::manifest::{FrontEnd, Manifest};
use crate::engine::Tensor;

/// Takes samples and cuts the newest patch from their history; before the first sample there was
/// silence.
pub(super) struct Patches {
    front: Front,
    patch: Tensor,
    /// Values of `history` per patch.
    length: usize,
    history: Vec<f32>,
    scale: f32,
}

enum Front {
    LogMel { spectrogram: Box<Spectrogram>, overlap: usize },
    Waveform,
}

impl Patches {
    pub(super) fn new(manifest: &Manifest) -> Self {
        let audio = &manifest.audio;
        let (front, shape) = match (audio.front_end, &audio.log_mel) {
            (FrontEnd::LogMel, Some(mel)) => {
                let spectrogram = Box::new(Spectrogram::new(mel, audio.sample_rate));
                let overlap = mel.frame_length - mel.frame_step;
                (Front::LogMel { spectrogram, overlap }, vec![1, mel.patch_frames, mel.bands])
            }
            _ => (Front::Waveform, vec![1, manifest.window_samples()]),
        };
        let patch = Tensor::zeros(shape);
        let mut patches =
            Self { front, length: patch.data.len(), patch, history: Vec::new(), scale: audio.scale };
        patches.restart();
        patches
    }

    /// Samples beyond the hops that the first patch needs: the last frame reaches past its step.
    pub(super) fn reach(&self) -> usize {
        match &self.front {
            Front::LogMel { overlap, .. } => *overlap,
            Front::Waveform => 0,
        }
    }

    /// Forgets all sound.
    pub(super) fn restart(&mut self) {
        let silence = match &mut self.front {
            Front::LogMel { spectrogram, .. } => {
                spectrogram.clear();
                spectrogram.silence()
            }
            Front::Waveform => 0.0,
        };
        self.history.clear();
        self.history.resize(self.length, silence);
    }

    /// Takes samples, −1 to 1; what is no number counts as silence.
    pub(super) fn push(&mut self, samples: &[f32]) {
        let scale = self.scale;
        let scaled = samples.iter().map(|&s| if s.is_finite() { s * scale } else { 0.0 });
        match &mut self.front {
            Front::LogMel { spectrogram, .. } => spectrogram.push(scaled, &mut self.history),
            Front::Waveform => self.history.extend(scaled),
        }
        if self.history.len() > 2 * self.length {
            self.history.drain(..self.history.len() - self.length);
        }
    }

    /// The newest patch.
    pub(super) fn cut(&mut self) -> &Tensor {
        let newest = self.history.len() - self.length;
        self.patch.data.copy_from_slice(&self.history[newest..]);
        &self.patch
    }
}
