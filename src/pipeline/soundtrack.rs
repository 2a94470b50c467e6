//! The sound of a camera's stream: lost and found with its camera, or not in the stream at all. Pure.

use std::time::Duration;

use tracing::{debug, warn};

use crate::backoff::Backoff;
use crate::clock::Instant;
use crate::lifecycle::{Lifecycle, State};
use crate::queue::Sense;

/// What is told of a stream in which there is none.
pub(super) const NONE: &str = "the stream has no sound";
/// A stream that shows no sound, or none yet, is looked into again after this,
const FIRST: Duration = Duration::from_secs(60);
/// and then ever more seldom, down to this.
const MOST: Duration = Duration::from_secs(600);

/// The sound of a stream.
pub(super) struct SoundTrack {
    pub life: Lifecycle,
    waits: Backoff,
    /// How long the stream may go without sound before it is looked into again.
    patience: Duration,
}

impl SoundTrack {
    /// That of a stream still to be opened.
    pub fn new(now: Instant) -> Self {
        let mut waits = Backoff::new(FIRST, MOST);
        Self { life: Lifecycle::new(now), patience: waits.next(1.0), waits }
    }

    /// Its camera is open, and so it is: it has no tries of its own.
    pub fn open(&mut self, now: Instant) {
        if self.life.begin(Instant::from_nanos(u64::MAX)) {
            self.life.opened(now);
        }
    }

    /// Takes note of sound.
    pub fn delivered(&mut self, now: Instant) {
        if !self.life.delivers() {
            self.waits.reset();
            self.patience = self.waits.next(1.0);
        }
        self.life.delivered(now);
    }

    /// It is lost with its camera; where there was none, that stays what is wrong with it.
    pub fn lose(&mut self, why: &str, now: Instant) {
        let why = if self.lacks() { NONE } else { why };
        self.life.lost(why, now, 0.0);
    }

    fn lacks(&self) -> bool {
        self.life.state() == State::Failed && self.life.reason() == NONE
    }

    /// Its camera delivers, and it does not: that is told, once.
    pub fn lack(&mut self, now: Instant) {
        let (device, wait) = (Sense::Microphone, self.patience.as_secs());
        if self.lacks() {
            debug!(%device, "{NONE}; looking for it again in {wait} s");
        } else {
            warn!(%device, "{NONE}, so nothing is reported; looking for it ever more seldom, first in {wait} s");
        }
        self.life.lost(NONE, now, 0.0);
    }

    /// Whether to look into the stream again, whose pictures came for so long without sound.
    pub fn is_due(&self, alone: Duration) -> bool {
        !self.life.delivers() && alone > self.patience
    }

    /// The stream is looked into again; next time after a longer wait, which `random` (0-1) spreads.
    pub fn sought(&mut self, now: Instant, random: f64) {
        self.patience = self.waits.next(random);
        self.lack(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_without_sound_is_looked_into_ever_more_seldom_until_it_has_some() {
        let mut track = SoundTrack::new(Instant::ZERO);
        let mut waits = Vec::new();
        for _ in 0..7 {
            let due = (0..).map(Duration::from_secs).find(|alone| track.is_due(*alone)).expect("a wait");
            waits.push(due.as_secs() - 1);
            track.sought(Instant::ZERO, 1.0);
        }
        assert_eq!(waits, [60, 120, 240, 480, 600, 600, 600]);
        assert_eq!((track.life.state(), track.life.reason()), (State::Failed, NONE));
        track.lose("the picture is frozen", Instant::ZERO);
        assert!(track.lacks(), "and will be told no second time");
        track.open(Instant::ZERO);
        track.delivered(Instant::ZERO);
        assert!(!track.is_due(Duration::MAX), "it has some");
        track.lack(Instant::ZERO);
        assert!(track.is_due(FIRST + Duration::from_secs(1)) && !track.is_due(FIRST));
    }
}
