//! The message subscribers read, in one place: schema 1, JSON.
//!
//! A later version may add fields; it never renames one, and it never changes what one means.

mod health;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::analysis::{Analysed, SoundWindow};
use crate::clock::Instant;
use crate::config::Config;
use crate::geometry::Size;
use crate::model::Manifest;
use crate::track::{Event, Track};

pub use health::{Health, HealthState, Part};

/// Version of [`Message`].
pub const SCHEMA: u32 = 1;

/// What one analysed frame has to tell: who is sounding where, and whose sound is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Name of the device.
    pub device: String,
    /// One more for every message of this run, so that a subscriber sees gaps; starts at 1.
    pub sequence: u64,
    /// The picture.
    pub frame: FrameStamp,
    /// The sound it was judged with.
    pub sound: SoundStamp,
    /// When the message was made, Unix seconds.
    pub published: f64,
    /// What is heard and seen now, in the order of its start.
    pub detections: Vec<Sounding>,
    /// What was reported before and is over.
    pub ended: Vec<Ended>,
}

/// The picture that was judged.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FrameStamp {
    /// When it was captured, Unix seconds.
    pub captured: f64,
    /// Pixels across, at the source.
    pub width: u32,
    /// Pixels down, at the source.
    pub height: u32,
}

/// The sound that was judged.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SoundStamp {
    /// Its first sample, Unix seconds.
    pub start: f64,
    /// The end of its last sample, Unix seconds.
    pub end: f64,
    /// Its level, dBFS, −120 (digital silence) to 0.
    pub level_dbfs: f32,
}

/// One thing that sounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sounding {
    /// The same for as long as it lasts, and never used again, not even after a restart.
    pub id: String,
    /// Whether this is its first message.
    pub event: Phase,
    /// Name of its class.
    pub class: String,
    /// Its class as people say it.
    pub label: String,
    /// Probability that it is heard and seen, 0–1.
    pub p: f32,
    /// Probability that it is heard, by the sound alone.
    pub p_audio: f32,
    /// Probability that it is seen, by the picture alone.
    pub p_visual: f32,
    /// Where it is.
    pub region: Place,
    /// The frame it was first seen in, Unix seconds.
    pub since: f64,
}

/// Where in the life of a [`Sounding`] a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Its first message.
    Start,
    /// Any later one.
    Update,
}

/// Where something is in the picture.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
}

impl Moment {
    /// The moment of a recording that counts from its own start: stamps are seconds into it.
    pub fn of_recording(now: Instant) -> Self {
        Self { now, wall: Duration::from_nanos(now.as_nanos()) }
    }

    /// Unix seconds of an instant, to the microsecond.
    pub fn unix(&self, at: Instant) -> f64 {
        let seconds = self.wall.as_secs_f64() + at.seconds_from(self.now);
        (seconds * 1e6).round() / 1e6
    }
}

/// Makes the messages of one run: names, ids and sequence numbers.
#[derive(Debug, Clone)]
pub struct Composer {
    device: String,
    run: String,
    sequence: u64,
    names: Vec<(String, String)>,
    last: Option<(Size, Instant, SoundWindow)>,
}

impl Composer {
    /// A composer for the classes of a model. `run` is a random number that keeps the ids of two runs
    /// apart.
    pub fn new(config: &Config, manifest: &Manifest, run: u32) -> Self {
        let names = manifest.classes.iter().map(|class| (class.name.clone(), class.label.clone())).collect();
        Self { device: config.device.name.clone(), run: format!("{run:08x}"), sequence: 0, names, last: None }
    }

    /// The message of an analysed frame; `None` if it has nothing to tell.
    pub fn compose(&mut self, analysed: &Analysed, moment: Moment) -> Option<Message> {
        self.last = Some((analysed.source, analysed.captured, analysed.sound));
        self.tell(&analysed.tracks, moment)
    }

    /// The message that ends `tracks` when no frame follows, as at a clean stop.
    pub fn close(&mut self, tracks: &[Track], moment: Moment) -> Option<Message> {
        self.tell(tracks, moment)
    }

    fn tell(&mut self, tracks: &[Track], moment: Moment) -> Option<Message> {
        let (size, captured, sound) = self.last.filter(|_| !tracks.is_empty())?;
        self.sequence += 1;
        let (over, present): (Vec<&Track>, Vec<&Track>) = tracks.iter().partition(|t| t.event == Event::End);
        Some(Message {
            schema: SCHEMA,
            device: self.device.clone(),
            sequence: self.sequence,
            frame: FrameStamp { captured: moment.unix(captured), width: size.width, height: size.height },
            sound: SoundStamp {
                start: moment.unix(sound.start),
                end: moment.unix(sound.end),
                level_dbfs: rounded(sound.level_dbfs, 10.0),
            },
            published: moment.unix(moment.now),
            detections: present.into_iter().map(|track| self.sounding(track, size, moment)).collect(),
            ended: over.into_iter().map(|track| self.ended(track, moment)).collect(),
        })
    }

    fn sounding(&self, track: &Track, size: Size, moment: Moment) -> Sounding {
        let (class, label) = self.name(track);
        Sounding {
            id: self.id(track),
            event: if track.event == Event::Start { Phase::Start } else { Phase::Update },
            class,
            label,
            p: share(track.score.p),
            p_audio: share(track.score.p_audio),
            p_visual: share(track.score.p_visual),
            region: place(track, size),
            since: moment.unix(track.started),
        }
    }

    fn ended(&self, track: &Track, moment: Moment) -> Ended {
        Ended { id: self.id(track), class: self.name(track).0, last: moment.unix(track.seen) }
    }

    fn id(&self, track: &Track) -> String {
        format!("{}-{}", self.run, track.id)
    }

    fn name(&self, track: &Track) -> (String, String) {
        self.names.get(track.class).cloned().unwrap_or_default()
    }
}

fn place(track: &Track, size: Size) -> Place {
    let region = &track.region;
    let rect = region.rect;
    Place {
        rect: [rect.x0, rect.y0, rect.x1, rect.y1].map(share),
        pixels: rect.pixels(size),
        peak: [share(region.peak.0), share(region.peak.1)],
        score: share(region.score),
    }
}

/// To four decimals: more would be noise that every subscriber pays for.
fn share(value: f32) -> f32 {
    rounded(value, 1e4)
}

fn rounded(value: f32, steps: f32) -> f32 {
    (value * steps).round() / steps
}
