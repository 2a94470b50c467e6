//! Pictures for subscribers, if they are asked for: what was analysed, and where its heat lies. They are encoded
//! on a thread of their own; one that is due while the one before is not done is left out.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tracing::warn;

use crate::analysis::Analysed;
use crate::clock::Instant;
use crate::config::Mqtt;
use crate::frame::Frame;
use crate::geometry::Size;
use crate::message::{Moment, Report};
use crate::model::HeatMap;
use crate::picture::Raster;
use crate::publish::Teller;
use crate::track::Event;

/// Takes a picture when one is due.
pub(super) struct Photographer {
    snapshot: Last,
    heatmap: Last,
    most: usize,
    shots: SyncSender<Shot>,
}

/// A picture that is to be encoded.
pub(super) struct Shot {
    /// When it was captured, Unix seconds.
    captured: f64,
    size: Size,
    /// Most bytes of it.
    most: usize,
    what: What,
}

enum What {
    /// Red, green and blue.
    Snapshot(Vec<u8>),
    /// The heat of what is reported.
    Heat(Vec<HeatMap>),
}

impl Photographer {
    /// A photographer, and the other end of the line.
    pub fn new(mqtt: &Mqtt) -> (Self, Receiver<Shot>) {
        let (shots, taken) = sync_channel(2);
        let last = |every| Last { every, at: None };
        let (snapshot, heatmap) = (last(mqtt.snapshot_every), last(mqtt.heatmap_every));
        (Self { snapshot, heatmap, most: mqtt.picture_bytes, shots }, taken)
    }

    /// Takes pictures as often, and as large, as `mqtt` says from now on.
    pub fn configure(&mut self, mqtt: &Mqtt) {
        (self.snapshot.every, self.heatmap.every) = (mqtt.snapshot_every, mqtt.heatmap_every);
        self.most = mqtt.picture_bytes;
    }

    /// Sees an analysed picture.
    pub fn see(&mut self, frame: &Frame, analysed: &Analysed, moment: Moment) {
        let (captured, size, most) = (moment.unix(frame.captured), frame.size, self.most);
        let take = |what| self.shots.try_send(Shot { captured, size, most, what }).is_ok();
        if self.snapshot.due(frame.captured) {
            let taken = take(What::Snapshot(frame.rgb.clone()));
            self.snapshot.note(frame.captured, taken);
        }
        if !self.heatmap.due(frame.captured) {
            return;
        }
        let sounding = |map: &&HeatMap| {
            analysed.tracks.iter().any(|track| track.class == map.class && track.event != Event::End)
        };
        let maps: Vec<HeatMap> = analysed.maps.iter().filter(sounding).cloned().collect();
        if !maps.is_empty() {
            let taken = take(What::Heat(maps));
            self.heatmap.note(frame.captured, taken);
        }
    }
}

/// When a picture was last taken.
struct Last {
    every: Duration,
    at: Option<Instant>,
}

impl Last {
    fn due(&self, now: Instant) -> bool {
        !self.every.is_zero() && self.at.is_none_or(|at| now.since(at) >= self.every)
    }

    /// One was taken at `now`, unless nobody had time for it.
    fn note(&mut self, now: Instant, taken: bool) {
        self.at = if taken { Some(now) } else { self.at };
    }
}

/// Encodes every shot and tells it, until nobody takes any more.
pub(super) fn develop(shots: &Receiver<Shot>, teller: &Teller) {
    for Shot { captured, size, most, what } in shots {
        if !teller.outbox().store().is_connected() {
            continue;
        }
        let (topic, channels, pixels) = match what {
            What::Snapshot(rgb) => ("snapshot", 3, rgb),
            What::Heat(maps) => ("heatmap", 1, hottest(&maps, size)),
        };
        let raster = Raster { size, channels, pixels };
        match raster.png_within(most, ("captured", &format!("{captured:.6}"))) {
            Ok(Some(png)) => teller.outbox().put(Report::Picture { topic, png: png.into() }),
            Ok(None) => warn!("no {topic} fits into {most} bytes: raise mqtt.picture_kilobytes"),
            Err(error) => warn!("a {topic} could not be encoded: {error}"),
        }
    }
}

/// Heat of 0 to 255 over the picture: that of the class which is hottest there, each scaled by itself.
fn hottest(maps: &[HeatMap], size: Size) -> Vec<u8> {
    let mut heat = vec![0; size.width as usize * size.height as usize];
    for map in maps.iter().filter_map(|map| map.normalised(size)) {
        for (most, value) in heat.iter_mut().zip(map) {
            *most = (value * 255.0).round().clamp(f32::from(*most), 255.0) as u8;
        }
    }
    heat
}
