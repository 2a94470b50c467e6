//! What a sense delivers, watched for faults that no device reports: a frozen picture, digital
//! silence, clipping, lost sound. Pure.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::clock::Instant;
use crate::frame::{Frame, Samples};

/// Watches for a picture that never changes: a real sensor's noise does, from one picture to the next.
#[derive(Debug, Default)]
pub struct PictureVigil {
    /// Digest of the last new picture, and when it came.
    last: Option<(u64, Instant)>,
}

impl PictureVigil {
    /// Takes a picture; gives for how long every picture has been the same.
    pub fn see(&mut self, frame: &Frame) -> Duration {
        let mut hasher = DefaultHasher::new();
        frame.rgb.hash(&mut hasher);
        let digest = hasher.finish();
        match self.last {
            Some((last, since)) if last == digest => frame.captured.since(since),
            _ => {
                self.last = Some((digest, frame.captured));
                Duration::ZERO
            }
        }
    }
}

/// Sound is judged over stretches of this length.
const STRETCH: Duration = Duration::from_secs(5);
/// From this level on a sample counts as clipped.
const CLIPPED: f32 = 0.999;
/// So many of a thousand samples may be clipped.
const FEW: usize = 2;

/// Watches for sound that tells nothing.
#[derive(Debug, Default)]
pub struct SoundVigil {
    heard: Duration,
    samples: usize,
    clipped: usize,
    silent: bool,
    lost: Duration,
    complaint: Option<String>,
}

impl SoundVigil {
    /// Takes a block; gives what is wrong with the sound of the last whole stretch.
    pub fn hear(&mut self, block: &Samples) -> Option<&str> {
        if self.samples == 0 {
            self.silent = true;
        }
        self.heard += block.duration() + block.lost_before;
        self.lost += block.lost_before;
        self.samples += block.mono.len();
        self.clipped += block.mono.iter().filter(|sample| sample.abs() >= CLIPPED).count();
        self.silent &= block.mono.iter().all(|sample| *sample == 0.0);
        if self.heard >= STRETCH {
            let complaint = self.judge();
            *self = Self { complaint, ..Self::default() };
        }
        self.complaint.as_deref()
    }

    fn judge(&self) -> Option<String> {
        let lost = self.lost.as_secs_f64();
        if self.silent {
            Some("digital silence: every sample is 0; unmute it and turn capture up".into())
        } else if self.clipped * 1000 > self.samples * FEW {
            Some("it clips: turn capture down".into())
        } else if lost > 0.01 {
            Some(format!("{lost:.1} of {} s were lost: this machine is too busy", STRETCH.as_secs()))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Size;

    fn at(seconds: f64) -> Instant {
        Instant::from_secs_f64(seconds)
    }

    #[test]
    fn a_frozen_picture_is_timed_from_its_first() {
        let (mut vigil, size) = (PictureVigil::default(), Size::new(1, 1));
        let frame = |seconds, level| Frame { captured: at(seconds), size, source: size, rgb: vec![level; 3] };
        assert_eq!(vigil.see(&frame(1.0, 7)), Duration::ZERO);
        assert_eq!(vigil.see(&frame(4.0, 7)), Duration::from_secs(3));
        assert_eq!(vigil.see(&frame(5.0, 8)), Duration::ZERO);
        assert_eq!(vigil.see(&frame(6.0, 8)), Duration::from_secs(1));
    }

    /// The complaint after `seconds` of blocks of 100 ms at `level`.
    fn after(vigil: &mut SoundVigil, seconds: u32, level: f32, lost: f64) -> Option<String> {
        let mut last = None;
        for _ in 0..seconds * 10 {
            let mut block = Samples::new(Instant::ZERO, 1000, vec![level; 100]);
            block.lost_before = Duration::from_secs_f64(lost);
            last = vigil.hear(&block).map(String::from);
        }
        last
    }

    #[test]
    fn silence_clipping_and_losses_are_told_and_forgotten() {
        let mut vigil = SoundVigil::default();
        assert_eq!(after(&mut vigil, 5, 0.1, 0.0), None);
        assert!(after(&mut vigil, 5, 0.0, 0.0).is_some_and(|why| why.contains("silence")));
        assert!(after(&mut vigil, 1, 0.1, 0.0).is_some(), "one second proves nothing");
        assert!(after(&mut vigil, 5, 1.0, 0.0).is_some_and(|why| why.contains("clips")));
        assert_eq!(after(&mut vigil, 10, 0.1, 0.0), None);
        assert!(after(&mut vigil, 8, 0.1, 0.05).is_some_and(|why| why.contains("lost")));
    }
}
