//! The messages subscribers read, in one place: the contract, schema 1.
//!
//! A later revision may add fields; it never renames one, and it never changes what one means.
//! [`Report`] is the list of everything that is published, with its topic and how it is delivered.

mod compose;
mod event;
mod health;
mod report;
mod ros2;
mod setting;
mod state;
#[cfg(test)]
pub(crate) mod tests;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bearing::Bearing;
use crate::clock::{Clock, Instant};

pub use compose::Composer;
pub use event::{Chronicle, EventMessage, Phase as EventPhase, Source};
pub use health::{Health, HealthMessage, HealthState, Part};
pub use report::{Delivery, Report};
pub use ros2::Detection2DArray;
pub use setting::{Answer, Settings, Wish, one_line, one_sentence};
pub use state::{ClassInfo, ClassState, Info, Level, ModelInfo, OnOff, Picture, Presence};

/// Version of every message: it changes only if a field were to change its name or its meaning.
pub const SCHEMA: u32 = 1;
/// How often fields were added to schema 1 so far.
pub const REVISION: u32 = 9;

/// What one analysed frame has to tell: who is sounding where, and whose sound is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// Version of the contract: changes only if a field were to change its name or its meaning.
    pub schema: u32,
    /// Name of the device.
    pub device: String,
    /// The run of the program, eight hexadecimal digits: a new one says that it was started anew.
    pub run: String,
    /// One more for every message of this topic and run, so that a subscriber sees gaps; starts at 1.
    pub sequence: u64,
    /// Messages of this topic that had to be dropped right before this one, never acknowledged. One of them may have
    /// arrived all the same.
    pub missed: u64,
    /// Whether it waited for a connection to the broker, or more than 2 s for its turn.
    pub late: bool,
    /// The picture.
    pub frame: FrameStamp,
    /// The sound it was judged with.
    pub sound: SoundStamp,
    /// When the message was made, Unix seconds.
    pub published: f64,
    /// Whether the clock behind the Unix seconds is synchronised; absent where the system does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_synced: Option<bool>,
    /// What is heard and seen now, in the order of its start.
    pub detections: Vec<Sounding>,
    /// What was reported before and is over.
    pub ended: Vec<Ended>,
}

/// The picture that was judged.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FrameStamp {
    /// When it was captured, Unix seconds.
    pub captured: f64,
    /// Pixels across, at the source.
    pub width: u32,
    /// Pixels down, at the source.
    pub height: u32,
}

/// The sound that was judged.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SoundStamp {
    /// Its first sample, Unix seconds.
    pub start: f64,
    /// The end of its last sample, Unix seconds.
    pub end: f64,
    /// Its level, dBFS, −120 (digital silence) to 0.
    pub level_dbfs: f32,
}

/// One thing that sounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sounding {
    /// The same for as long as it lasts, and never used again, not even after a restart.
    pub id: String,
    /// Whether this is its first message.
    pub event: Phase,
    /// Name of its class.
    pub class: String,
    /// Its class as people say it.
    pub label: String,
    /// The sentence by which the model knows its class.
    pub prompt: String,
    /// Probability that it is heard and seen, 0–1.
    pub p: f32,
    /// Probability that it is heard, by the sound alone.
    pub p_audio: f32,
    /// Probability that it is seen, by the picture alone.
    pub p_visual: f32,
    /// Where it is.
    pub region: Place,
    /// The direction of the region; absent unless `[camera.lens]` is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearing: Option<Bearing>,
    /// The frame it was first seen in, Unix seconds.
    pub since: f64,
}

/// Where in the life of a [`Sounding`] a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Its first message.
    Start,
    /// Any later one.
    Update,
}

/// Where something is in the picture.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Place {
    /// Left, top, right and bottom, 0–1 of the picture.
    #[serde(rename = "box")]
    pub rect: [f32; 4],
    /// The same in pixels of the source.
    pub pixels: [u32; 4],
    /// The hottest point of the heat map, 0–1 from the left and from the top.
    pub peak: [f32; 2],
    /// Heat at the peak, relative to the hottest and coldest points of the picture, 0–1.
    pub score: f32,
}

/// A thing whose sound is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ended {
    /// Its id.
    pub id: String,
    /// Name of its class.
    pub class: String,
    /// The frame it was last seen in, Unix seconds.
    pub last: f64,
}

/// The same moment on both clocks, read when a message is made: the only place where wall-clock time
/// meets the monotonic one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// On the clock of the source.
    pub now: Instant,
    /// Since the Unix epoch.
    pub wall: Duration,
    /// Whether the wall clock is synchronised, where the system tells.
    pub synced: Option<bool>,
}

impl Moment {
    /// This moment on `clock`.
    pub fn of(clock: &dyn Clock) -> Self {
        Self { now: clock.now(), wall: clock.wall(), synced: clock.synced() }
    }

    /// The moment of a recording that counts from its own start: stamps are seconds into it.
    pub fn of_recording(now: Instant) -> Self {
        Self { now, wall: Duration::from_nanos(now.as_nanos()), synced: None }
    }

    /// Unix seconds of an instant, to the microsecond.
    pub fn unix(&self, at: Instant) -> f64 {
        let seconds = self.wall.as_secs_f64() + at.seconds_from(self.now);
        (seconds * 1e6).round() / 1e6
    }
}
