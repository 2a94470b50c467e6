//! What the queue holds: the two lanes, and which of them comes next.

use std::collections::VecDeque;
use std::time::{Duration, Instant as Moment};

use super::{Limits, Load, Policy, Sense, Sensed, Shed, nanos};

#[derive(Debug, Default)]
pub(super) struct Lane {
    pub items: VecDeque<(u64, Sensed)>,
    load: u64,
    limit: u64,
    ended: bool,
}

impl Lane {
    pub fn new(limit: u64) -> Self {
        Self { limit, ..Self::default() }
    }

    pub fn clear(&mut self) {
        self.items.clear();
        self.load = 0;
    }

    pub fn full(&self) -> bool {
        self.load >= self.limit
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub frames: Lane,
    pub sound: Lane,
    arrived: u64,
    pub shed: Shed,
    /// Frames that were forgotten.
    pub forgotten: u64,
    /// Sound shed since the last block that was received.
    lost: Duration,
    pub senders: usize,
    /// Since when one lane has been waited for while the other holds something.
    alone: Option<(Sense, Moment)>,
    pub receiver_gone: bool,
}

impl State {
    pub fn new(limits: Limits) -> Self {
        Self {
            frames: Lane::new(limits.frames.max(1) as u64),
            sound: Lane::new(nanos(limits.sound).max(1)),
            ..Self::default()
        }
    }

    pub fn load(&self) -> Load {
        Load { frames: self.frames.load as usize, sound: Duration::from_nanos(self.sound.load) }
    }

    pub fn lane(&mut self, sense: Sense) -> &mut Lane {
        match sense {
            Sense::Camera => &mut self.frames,
            Sense::Microphone => &mut self.sound,
        }
    }

    pub fn push(&mut self, item: Sensed, weight: u64) {
        self.arrived += 1;
        let order = self.arrived;
        self.alone.take_if(|(awaited, _)| *awaited == item.sense());
        let lane = self.lane(item.sense());
        lane.load += weight;
        lane.ended = false;
        lane.items.push_back((order, item));
    }

    pub fn pop(&mut self, sense: Sense) -> Option<Sensed> {
        let lane = self.lane(sense);
        let (_, mut item) = lane.items.pop_front()?;
        lane.load -= item.weight();
        lane.ended = item.captured().is_none();
        if let Sensed::Sound(sound) = &mut item {
            sound.lost_before += std::mem::take(&mut self.lost);
        }
        Some(item)
    }

    /// Drops what a sense has sent and nobody took.
    pub fn forget(&mut self, sense: Sense) {
        let frames =
            self.lane(sense).items.iter().filter(|(_, item)| matches!(item, Sensed::Frame(_))).count();
        self.forgotten += frames as u64;
        self.lane(sense).clear();
    }

    pub fn shed_oldest(&mut self, sense: Sense) {
        let lane = self.lane(sense);
        let oldest = lane.items.iter().position(|(_, item)| item.weight() > 0);
        let Some((_, item)) = oldest.and_then(|at| lane.items.remove(at)) else { return };
        lane.load -= item.weight();
        match item {
            Sensed::Sound(sound) => {
                self.shed.samples += sound.mono.len() as u64;
                self.lost += sound.lost_before + sound.duration();
            }
            _ => self.shed.frames += 1,
        }
    }

    /// For how long one lane has been waited for at `now` while the other holds something, by whoever asked for the next
    /// item how often.
    pub fn waited(&mut self, now: Moment) -> Duration {
        let awaited = match (self.frames.items.is_empty(), self.sound.items.is_empty()) {
            (true, false) => Sense::Camera,
            (false, true) => Sense::Microphone,
            _ => return Duration::ZERO,
        };
        let (_, since) = self.alone.take_if(|(before, _)| *before == awaited).unwrap_or((awaited, now));
        self.alone = Some((awaited, since));
        now.duration_since(since)
    }

    /// The lane to receive from now, if any.
    pub fn next(&self, policy: Policy, patience_over: bool) -> Option<Sense> {
        let merging = policy == Policy::Merge && self.senders > 0;
        let alone = |lane: &Lane, other: &Lane| {
            let last_words = lane.items.front().is_some_and(|(_, item)| item.captured().is_none());
            !merging || other.ended || last_words || (patience_over && lane.full())
        };
        match (self.frames.items.front(), self.sound.items.front()) {
            (None, None) => None,
            (Some(_), None) => alone(&self.frames, &self.sound).then_some(Sense::Camera),
            (None, Some(_)) => alone(&self.sound, &self.frames).then_some(Sense::Microphone),
            (Some(frame), Some(sound)) => {
                let sound_first = match policy {
                    Policy::Merge => sound.1.captured() <= frame.1.captured(),
                    Policy::Wait | Policy::ShedOldest => sound.0 < frame.0,
                };
                Some(if sound_first { Sense::Microphone } else { Sense::Camera })
            }
        }
    }
}
