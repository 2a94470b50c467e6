//! Analysed frames to messages: names, ids, bearings and sequence numbers.

use crate::analysis::{Analysed, SoundWindow};
use crate::bearing::Lens;
use crate::clock::Instant;
use crate::config::{self, Config};
use crate::geometry::Size;
use crate::model::{Manifest, manifest::Class};
use crate::track::{Event, Track};

use super::{Ended, FrameStamp, Message, Moment, Phase, Place, SCHEMA, SoundStamp, Sounding};

/// Makes the messages of one run: names, ids and sequence numbers.
#[derive(Debug, Clone)]
pub struct Composer {
    device: String,
    run: String,
    sequence: u64,
    names: Vec<Names>,
    lens: config::Lens,
    send_empty: bool,
    last: Option<(Size, Instant, SoundWindow)>,
}

impl Composer {
    /// A composer for the classes of a model. `run` is a random number that keeps the ids of two runs
    /// apart.
    pub fn new(config: &Config, manifest: &Manifest, run: u32) -> Self {
        Self {
            device: config.device.name.clone(),
            run: format!("{run:08x}"),
            sequence: 0,
            names: manifest.classes.iter().map(Names::of).collect(),
            lens: config.camera.lens.clone(),
            send_empty: config.mqtt.send_empty,
            last: None,
        }
    }

    /// Goes on with other settings or classes; numbers go on too.
    pub fn configure(&mut self, config: &Config, manifest: &Manifest) {
        self.device.clone_from(&config.device.name);
        self.names = manifest.classes.iter().map(Names::of).collect();
        self.lens.clone_from(&config.camera.lens);
        self.send_empty = config.mqtt.send_empty;
    }

    /// The run that the messages belong to.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// The message of an analysed frame; `None` if it has nothing to tell and empty ones are not asked
    /// for.
    pub fn compose(&mut self, analysed: &Analysed, moment: Moment) -> Option<Message> {
        self.last = Some((analysed.source, analysed.captured, analysed.sound));
        if analysed.tracks.is_empty() && !self.send_empty {
            return None;
        }
        self.tell(&analysed.tracks, moment)
    }

    /// The message that ends `tracks` when no frame follows, as at a clean stop.
    pub fn close(&mut self, tracks: &[Track], moment: Moment) -> Option<Message> {
        if tracks.is_empty() { None } else { self.tell(tracks, moment) }
    }

    fn tell(&mut self, tracks: &[Track], moment: Moment) -> Option<Message> {
        let (size, captured, sound) = self.last?;
        self.sequence += 1;
        let lens = self.lens.of(size);
        let (over, present): (Vec<&Track>, Vec<&Track>) = tracks.iter().partition(|t| t.event == Event::End);
        Some(Message {
            schema: SCHEMA,
            device: self.device.clone(),
            run: self.run.clone(),
            sequence: self.sequence,
            missed: 0,
            late: false,
            frame: FrameStamp { captured: moment.unix(captured), width: size.width, height: size.height },
            sound: SoundStamp {
                start: moment.unix(sound.start),
                end: moment.unix(sound.end),
                level_dbfs: rounded(sound.level_dbfs, 10.0),
            },
            published: moment.unix(moment.now),
            clock_synced: moment.synced,
            detections: present.into_iter().map(|track| self.sounding(track, size, lens, moment)).collect(),
            ended: over.into_iter().map(|track| self.ended(track, moment)).collect(),
        })
    }

    fn sounding(&self, track: &Track, size: Size, lens: Option<Lens>, moment: Moment) -> Sounding {
        let Names { class, label, prompt } = self.names(track);
        Sounding {
            id: self.id(track),
            event: if track.event == Event::Start { Phase::Start } else { Phase::Update },
            class,
            label,
            prompt,
            p: share(track.score.p),
            p_audio: share(track.score.p_audio),
            p_visual: share(track.score.p_visual),
            region: place(track, size),
            bearing: lens.and_then(|lens| lens.bearing(&track.region.rect)),
            since: moment.unix(track.started),
        }
    }

    fn ended(&self, track: &Track, moment: Moment) -> Ended {
        Ended { id: self.id(track), class: self.names(track).class, last: moment.unix(track.seen) }
    }

    fn id(&self, track: &Track) -> String {
        format!("{}-{}", self.run, track.id)
    }

    fn names(&self, track: &Track) -> Names {
        self.names.get(track.class).cloned().unwrap_or_default()
    }
}

/// What a class is called.
#[derive(Debug, Clone, Default)]
struct Names {
    class: String,
    label: String,
    prompt: String,
}

impl Names {
    fn of(class: &Class) -> Self {
        Self { class: class.name.clone(), label: class.label().into(), prompt: class.prompt.clone() }
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

pub(super) fn rounded(value: f32, steps: f32) -> f32 {
    (value * steps).round() / steps
}
