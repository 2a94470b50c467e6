//! What a sense delivers, watched for faults that no device reports: a frozen picture, digital
//! silence, clipping, lost sound. Pure.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::clock::Instant;
use crate::frame::{Frame, Samples};

/// Watches for a picture that never changes: a real sensor's noise does, from one picture to the next.
#[derive(Debug, Default)]
pub struct PictureVigil {
    /// Digest of the last new picture, and when it came; a camera that is opened again has to show another.
    last: Option<(u64, Instant)>,
    /// When the first picture came since the camera was opened.
    opened: Option<Instant>,
}

/// For how long there was nothing new to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unchanged {
    /// Since the last new picture, whether the camera was open all the time or not.
    pub ever: Duration,
    /// No more than since the camera was opened.
    pub open: Duration,
}

impl PictureVigil {
    /// Takes a picture; gives for how long every picture has been the same.
    pub fn see(&mut self, frame: &Frame) -> Unchanged {
        let mut hasher = DefaultHasher::new();
        frame.rgb.hash(&mut hasher);
        let digest = hasher.finish();
        let opened = *self.opened.get_or_insert(frame.captured);
        let since = match self.last {
            Some((last, since)) if last == digest => since,
            _ => frame.captured,
        };
        self.last = Some((digest, since));
        Unchanged { ever: frame.captured.since(since), open: frame.captured.since(since.max(opened)) }
    }

    /// The camera is taken down, and opened again later.
    pub fn close(&mut self) {
        self.opened = None;
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
        let mut see = |seconds, level| {
            let Unchanged { ever, open } = vigil.see(&frame(seconds, level));
            (ever.as_secs(), open.as_secs())
        };
        assert_eq!(see(1.0, 7), (0, 0));
        assert_eq!(see(4.0, 7), (3, 3));
        assert_eq!(see(5.0, 8), (0, 0));
        assert_eq!(see(6.0, 8), (1, 1));
    }

    #[test]
    fn a_camera_that_is_opened_again_is_still_frozen() {
        let (mut vigil, size) = (PictureVigil::default(), Size::new(1, 1));
        let frame = |seconds, level| Frame { captured: at(seconds), size, source: size, rgb: vec![level; 3] };
        vigil.see(&frame(1.0, 7));
        vigil.close();
        let seconds = Duration::from_secs;
        assert_eq!(vigil.see(&frame(9.0, 7)), Unchanged { ever: seconds(8), open: seconds(0) });
        assert_eq!(vigil.see(&frame(11.0, 7)), Unchanged { ever: seconds(10), open: seconds(2) });
        assert_eq!(vigil.see(&frame(12.0, 8)), Unchanged { ever: seconds(0), open: seconds(0) });
        assert_eq!(vigil.see(&frame(13.0, 8)), Unchanged { ever: seconds(1), open: seconds(1) });
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
