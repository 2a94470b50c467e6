//! What the senses deliver: a picture or a block of sound, each with the time it was captured.

use std::time::Duration;

use crate::clock::Instant;
use crate::geometry::Size;

/// One picture, tightly packed RGB, `height × width × 3` bytes, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// When the picture was taken.
    pub captured: Instant,
    /// Size of `rgb`: the source scaled down with its aspect kept.
    pub size: Size,
    /// Size of the picture before it was scaled; regions in pixels refer to it.
    pub source: Size,
    /// Red, green, blue, 0–255.
    pub rgb: Vec<u8>,
}

/// A block of mono sound.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    /// When the first sample was taken.
    pub captured: Instant,
    /// Samples per second.
    pub rate: u32,
    /// −1 to 1; never NaN or infinite ([`Samples::new`] replaces those by 0).
    pub mono: Vec<f32>,
    /// Sound that was lost between the previous block and this one, by an overrun for example.
    pub lost_before: Duration,
}

impl Samples {
    /// A block without a gap before it. Samples that are no finite number become 0; more than full
    /// scale is clipped to ±1.
    pub fn new(captured: Instant, rate: u32, mut mono: Vec<f32>) -> Self {
        for sample in &mut mono {
            *sample = if sample.is_finite() { sample.clamp(-1.0, 1.0) } else { 0.0 };
        }
        Self { captured, rate, mono, lost_before: Duration::ZERO }
    }

    /// How long the block lasts.
    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.mono.len() as f64 / f64::from(self.rate.max(1)))
    }

    /// The instant after the last sample.
    pub fn end(&self) -> Instant {
        self.captured + self.duration()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_samples_become_silence() {
        let block = Samples::new(Instant::ZERO, 16_000, vec![f32::NAN, f32::INFINITY, 2.0, 0.5]);
        assert_eq!(block.mono, [0.0, 0.0, 1.0, 0.5]);
    }
}
