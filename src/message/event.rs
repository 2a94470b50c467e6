//! The life of a sounding source: `start`, `update`, `end`, with one id.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::compose::rounded;
use super::{Message, Phase as Sign, Place, SCHEMA, Sounding};
use crate::bearing::Bearing;

/// What a subscriber is told when a source starts, now and then while it goes on, and when it is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventMessage {
    /// Version of the contract: changes only if a field were to change its name or its meaning.
    pub schema: u32,
    /// Name of the device.
    pub device: String,
    /// The run of the program that sends this.
    pub run: String,
    /// One more for every message of this topic and run; starts at 1.
    pub sequence: u64,
    /// Messages of this topic that had to be dropped right before this one, never acknowledged. One of them may have
    /// arrived all the same.
    pub missed: u64,
    /// Whether it waited for a connection to the broker, or more than 2 s for its turn.
    pub late: bool,
    /// What happened.
    pub event: Phase,
    /// Whether this `end` is told because an earlier run was interrupted; when the sound ended is not
    /// known then.
    pub interrupted: bool,
    /// To whom it happened.
    pub source: Source,
    /// When the message was made, Unix seconds.
    pub published: f64,
    /// Whether the clock behind the Unix seconds is synchronised; absent where the system does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_synced: Option<bool>,
}

/// Where in its life a source stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It is there now and was not before.
    Start,
    /// It is still there.
    Update,
    /// It is over.
    End,
}

/// A sounding source over its life so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Source {
    /// Its identity, as in `detections`; never used again, not even after a restart.
    pub id: String,
    /// Name of its class.
    pub class: String,
    /// Its class as people say it.
    pub label: String,
    /// The sentence by which the model knows its class.
    pub prompt: String,
    /// Probability that it is heard and seen, 0–1, when last seen.
    pub p: f32,
    /// Probability that it is heard, when last seen.
    pub p_audio: f32,
    /// Probability that it is seen, when last seen.
    pub p_visual: f32,
    /// The highest `p` of its life.
    pub p_peak: f32,
    /// The mean `p` of its life.
    pub p_mean: f32,
    /// Where it was last seen.
    pub region: Place,
    /// Where it was when `p` was highest.
    pub best: Place,
    /// The direction of `region`; absent unless `[camera.lens]` is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearing: Option<Bearing>,
    /// The frame it was first seen in, Unix seconds.
    pub started: f64,
    /// The frame it was last seen in, Unix seconds.
    pub last: f64,
    /// Seconds from `started` to `last`, on a clock that never steps.
    pub duration: f64,
}

/// Follows the messages of one run and tells the life of every source in them. Pure.
#[derive(Debug)]
pub struct Chronicle {
    every: f64,
    sequence: u64,
    lives: BTreeMap<String, Life>,
}

#[derive(Debug)]
struct Life {
    source: Source,
    sum: f64,
    count: u32,
    told: f64,
}

impl Chronicle {
    /// A chronicle that tells an update of a source at most once in `every`.
    pub fn new(every: Duration) -> Self {
        Self { every: every.as_secs_f64(), sequence: 0, lives: BTreeMap::new() }
    }

    /// Tells an update of a source at most once in `every` from now on.
    pub fn pace(&mut self, every: Duration) {
        self.every = every.as_secs_f64();
    }

    /// What `message` adds to the lives of its sources: starts and due updates, then ends.
    pub fn follow(&mut self, message: &Message) -> Vec<EventMessage> {
        let mut events = Vec::new();
        for sounding in &message.detections {
            events.extend(self.see(sounding, message));
        }
        for ended in &message.ended {
            if let Some(life) = self.lives.remove(&ended.id) {
                events.push(self.event(Phase::End, life.source, message));
            }
        }
        events
    }

    /// The sources of `class` that sound now.
    pub fn sounding(&self, class: &str) -> Vec<Source> {
        self.lives.values().map(|life| &life.source).filter(|s| s.class == class).cloned().collect()
    }

    /// The next sequence number of the topic.
    pub fn number(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    fn see(&mut self, sounding: &Sounding, message: &Message) -> Option<EventMessage> {
        let now = message.frame.captured;
        let life = self.lives.entry(sounding.id.clone()).or_insert_with(|| Life::of(sounding, now));
        life.see(sounding, now);
        let start = sounding.event == Sign::Start;
        // Stamps may step back with the wall clock: then an update is due at once.
        if !start && (0.0..self.every).contains(&(now - life.told)) {
            return None;
        }
        life.told = now;
        let source = life.source.clone();
        Some(self.event(if start { Phase::Start } else { Phase::Update }, source, message))
    }

    fn event(&mut self, event: Phase, source: Source, message: &Message) -> EventMessage {
        EventMessage {
            schema: SCHEMA,
            device: message.device.clone(),
            run: message.run.clone(),
            sequence: self.number(),
            missed: 0,
            late: false,
            event,
            interrupted: false,
            source,
            published: message.published,
            clock_synced: message.clock_synced,
        }
    }
}

impl Life {
    fn of(sounding: &Sounding, now: f64) -> Self {
        let s = sounding;
        let source = Source {
            id: s.id.clone(),
            class: s.class.clone(),
            label: s.label.clone(),
            prompt: s.prompt.clone(),
            p: s.p,
            p_audio: s.p_audio,
            p_visual: s.p_visual,
            p_peak: 0.0,
            p_mean: s.p,
            region: s.region,
            best: s.region,
            bearing: s.bearing,
            started: s.since,
            last: now,
            duration: 0.0,
        };
        Self { source, sum: 0.0, count: 0, told: now }
    }

    fn see(&mut self, sounding: &Sounding, now: f64) {
        self.sum += f64::from(sounding.p);
        self.count += 1;
        let source = &mut self.source;
        if sounding.p > source.p_peak {
            (source.p_peak, source.best) = (sounding.p, sounding.region);
        }
        (source.p, source.p_audio, source.p_visual) = (sounding.p, sounding.p_audio, sounding.p_visual);
        (source.region, source.bearing) = (sounding.region, sounding.bearing);
        source.p_mean = rounded((self.sum / f64::from(self.count)) as f32, 1e4);
        // `since` is `started` told anew: the difference to now is free of the wall clock's steps.
        source.duration = ((now - sounding.since) * 1e6).round() / 1e6;
        source.last = now;
    }
}
