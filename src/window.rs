//! A frame with the sound up to it, on one clock: frames wait until the sound has reached them.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Instant;
use crate::frame::Frame;

/// How long a frame waits for the sound that belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Until it has come, there is no more, or [`MOST_WAITING`] wait: recorded sources.
    Endless,
    /// At most this long after the frame arrived: live sources.
    AtMost(Duration),
}

/// Frames of a recording that wait for its sound, at most: where that is away for longer the oldest is judged by the sound
/// there is, and not the whole recording kept in memory.
pub const MOST_WAITING: usize = 128;

/// Holds frames, oldest first, until the sound has reached their capture time. Time is an argument.
#[derive(Debug)]
pub struct Pairing {
    patience: Patience,
    frames: VecDeque<(Instant, Frame)>,
    /// Where the sound so far ends; the greatest instant once there is no more.
    heard: Instant,
}

impl Pairing {
    /// An empty pairing.
    pub fn new(patience: Patience) -> Self {
        Self { patience, frames: VecDeque::new(), heard: Instant::ZERO }
    }

    /// Has live frames wait at most so long from now on; recorded ones wait on.
    pub fn wait(&mut self, most: Duration) {
        if let Patience::AtMost(wait) = &mut self.patience {
            *wait = most;
        }
    }

    /// Another source of sound, or none: frames wait for it, or for nothing.
    pub fn expect(&mut self, sound: bool) {
        match sound {
            true if self.heard == Instant::from_nanos(u64::MAX) => self.heard = Instant::ZERO,
            true => {}
            false => self.no_more_sound(),
        }
    }

    /// Takes a frame that arrived at `now`.
    pub fn frame(&mut self, frame: Frame, now: Instant) {
        self.frames.push_back((now, frame));
    }

    /// Notes that the sound was taken up to `end`.
    pub fn sound(&mut self, end: Instant) {
        self.heard = self.heard.max(end);
    }

    /// Notes that no more sound will come: no frame waits any longer.
    pub fn no_more_sound(&mut self) {
        self.heard = Instant::from_nanos(u64::MAX);
    }

    /// The oldest frame, once the sound has reached it or its wait is over.
    pub fn next(&mut self, now: Instant) -> Option<Frame> {
        let (_, oldest) = self.frames.front()?;
        let late = self.deadline().is_some_and(|deadline| deadline <= now);
        let full = self.patience == Patience::Endless && self.frames.len() > MOST_WAITING;
        let ready = oldest.captured <= self.heard || late || full;
        if ready { self.frames.pop_front().map(|(_, frame)| frame) } else { None }
    }

    /// The frame that [`Pairing::next`] gives next, if one is held.
    pub fn coming(&mut self) -> Option<&mut Frame> {
        self.frames.front_mut().map(|(_, frame)| frame)
    }

    /// When [`Pairing::next`] gives the oldest frame even if no more sound comes.
    pub fn deadline(&self) -> Option<Instant> {
        match (self.patience, self.frames.front()) {
            (Patience::AtMost(wait), Some((arrived, _))) => Some(*arrived + wait),
            _ => None,
        }
    }

    /// How many frames are held.
    pub fn held(&self) -> usize {
        self.frames.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Size;
    use proptest::prelude::*;

    fn at(seconds: f64) -> Instant {
        Instant::from_secs_f64(seconds)
    }

    fn frame(seconds: f64) -> Frame {
        let size = Size::new(1, 1);
        Frame { captured: at(seconds), size, source: size, rgb: vec![0; 3] }
    }

    #[test]
    fn a_recording_whose_sound_is_away_is_not_kept_in_memory() {
        let mut pairing = Pairing::new(Patience::Endless);
        (0..1000).for_each(|second| pairing.frame(frame(1.0 + f64::from(second)), at(0.0)));
        let given = std::iter::from_fn(|| pairing.next(at(0.0))).count();
        assert_eq!((given, pairing.held()), (1000 - MOST_WAITING, MOST_WAITING));
    }

    #[test]
    fn a_recorded_frame_waits_for_its_sound_however_long() {
        let mut pairing = Pairing::new(Patience::Endless);
        pairing.frame(frame(1.0), at(0.0));
        pairing.sound(at(0.9));
        assert_eq!(pairing.next(at(1e6)), None);
        pairing.sound(at(1.0));
        assert_eq!(pairing.next(at(0.0)), Some(frame(1.0)));
        assert_eq!(pairing.coming(), None);
        pairing.frame(frame(2.0), at(0.0));
        assert_eq!(pairing.coming(), Some(&mut frame(2.0)));
        pairing.no_more_sound();
        assert_eq!(pairing.next(at(0.0)), Some(frame(2.0)));
    }

    #[test]
    fn a_live_frame_waits_at_most_so_long() {
        let mut pairing = Pairing::new(Patience::AtMost(Duration::from_millis(100)));
        pairing.frame(frame(5.0), at(5.0));
        assert_eq!(pairing.deadline(), Some(at(5.1)));
        assert_eq!(pairing.next(at(5.05)), None);
        assert_eq!(pairing.next(at(5.1)), Some(frame(5.0)));
        assert_eq!(pairing.deadline(), None);
        pairing.frame(frame(6.0), at(6.0));
        pairing.wait(Duration::from_millis(300));
        assert_eq!((pairing.next(at(6.2)), pairing.next(at(6.3))), (None, Some(frame(6.0))), "another wait");
        pairing.expect(false);
        pairing.frame(frame(7.0), at(7.0));
        assert_eq!(pairing.next(at(7.0)), Some(frame(7.0)), "there is no sound any more");
        pairing.expect(true);
        pairing.frame(frame(8.0), at(8.0));
        assert_eq!(pairing.next(at(8.0)), None, "it waits for the new sound");
    }

    #[derive(Debug, Clone)]
    enum Op {
        Frame(f64),
        Sound(f64),
        Next,
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let step = 0f64..0.3;
        prop::collection::vec(
            prop_oneof![step.clone().prop_map(Op::Frame), step.prop_map(Op::Sound), Just(Op::Next)],
            0..200,
        )
    }

    proptest! {
        #[test]
        fn frames_leave_in_order_and_none_is_lost(ops in ops()) {
            let mut pairing = Pairing::new(Patience::Endless);
            let (mut seen, mut heard, mut given, mut taken) = (0.0, 0.0, Vec::new(), Vec::new());
            for op in ops {
                match op {
                    Op::Frame(step) => { seen += step; given.push(at(seen)); pairing.frame(frame(seen), at(0.0)); }
                    Op::Sound(step) => { heard += step; pairing.sound(at(heard)); }
                    Op::Next => taken.extend(pairing.next(at(0.0)).map(|f| {
                        assert!(f.captured <= at(heard));
                        f.captured
                    })),
                }
            }
            pairing.no_more_sound();
            taken.extend(std::iter::from_fn(|| pairing.next(at(0.0)).map(|f| f.captured)));
            prop_assert_eq!(taken, given);
        }
    }
}
