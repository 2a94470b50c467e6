//! Which decoders a source gets, and which of its pads go to which branch.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;

use super::branch::{self, Delivery, Scale};
use super::error::CaptureError;
use super::link::make;
use super::oversize;
use super::rate::Rate;
use super::sources::Origin;
use crate::queue::{Sense, Sensed};

/// What is wanted of a source.
#[derive(Clone)]
pub(super) struct Wants {
    /// Pictures, scaled so, at most so many in a second.
    pub pictures: Option<(Scale, Rate)>,
    /// Sound of so many samples in a second.
    pub sound: Option<u32>,
}

impl Wants {
    pub fn senses(&self) -> Vec<Sense> {
        let pictures = self.pictures.as_ref().map(|_| Sense::Camera);
        pictures.into_iter().chain(self.sound.map(|_| Sense::Microphone)).collect()
    }

    fn includes(&self, sense: Sense) -> bool {
        self.senses().contains(&sense)
    }
}

/// Joins pads to branches as they appear, from whichever thread they appear in.
pub(super) struct Wiring {
    bin: gst::glib::WeakRef<gst::Pipeline>,
    pub wants: Wants,
    delivery: Arc<Delivery>,
    /// The sense of each track, in the order in which they appeared; the first of each is joined.
    tracks: Mutex<Vec<Sense>>,
    /// The source in words for messages.
    name: String,
    /// How pictures are turned upright.
    turn: &'static str,
    /// Outlets that may still show pads.
    open: AtomicUsize,
    /// Whether what comes first is a picture and no film.
    still: OnceLock<bool>,
    /// Whether its pictures are too large to be decoded at all, which is told on the bus.
    oversize: AtomicBool,
}

impl Wiring {
    pub fn connect(
        pipeline: &gst::Pipeline,
        origin: &Origin,
        wants: Wants,
        delivery: Arc<Delivery>,
    ) -> Result<Arc<Self>, CaptureError> {
        let (open, still) = (AtomicUsize::new(origin.outlets.len()), OnceLock::new());
        let turn = origin.still.and_then(|still| still.turn).unwrap_or("auto");
        let (bin, name, tracks) = (pipeline.downgrade(), origin.name.clone(), Mutex::default());
        let oversize = AtomicBool::new(false);
        let wiring = Arc::new(Self { bin, wants, delivery, tracks, name, turn, open, still, oversize });
        for outlet in &origin.outlets {
            let pads = outlet.src_pads();
            if pads.is_empty() {
                wiring.follow(outlet);
            } else {
                pads.iter().try_for_each(|pad| wiring.join(pad))?;
                wiring.complete();
            }
        }
        Ok(wiring)
    }

    /// Joins the pads of a decoder to come; tracks that nobody wants stay undecoded.
    fn follow(self: &Arc<Self>, decoder: &gst::Element) {
        let (added, complete, plug) = (Arc::clone(self), Arc::clone(self), Arc::clone(self));
        decoder.connect_pad_added(move |decoder, pad| {
            if let Err(error) = added.join(pad) {
                gst::element_error!(decoder, gst::CoreError::Pad, ["{error}"]);
            }
        });
        decoder.connect_no_more_pads(move |_| complete.complete());
        decoder.connect("autoplug-continue", false, move |values| {
            let caps = values.get(2).and_then(|caps| caps.get::<gst::Caps>().ok());
            Some(caps.is_none_or(|caps| plug.is_decoded(&caps)).to_value())
        });
        pass_over_unfit(decoder);
    }

    /// Whether it is worth decoding: what is wanted, and what may hold that.
    fn is_decoded(&self, caps: &gst::Caps) -> bool {
        self.still.get_or_init(|| caps.structure(0).is_some_and(|s| s.name().starts_with("image/")));
        let wanted = sense_of(caps).is_none_or(|sense| self.wants.includes(sense)) || is_container(caps);
        wanted && !self.is_oversize(caps)
    }

    fn is_oversize(&self, caps: &gst::Caps) -> bool {
        let oversize = self.bin.upgrade().is_some_and(|bin| oversize::tell(caps, bin.upcast_ref()));
        self.oversize.fetch_or(oversize, Ordering::AcqRel);
        oversize
    }

    /// Whether what comes first is a picture and no film, as far as is known.
    pub fn is_still(&self) -> bool {
        self.still.get() == Some(&true)
    }

    fn join(&self, pad: &gst::Pad) -> Result<(), CaptureError> {
        let Some(pipeline) = self.bin.upgrade() else { return Ok(()) };
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let raw = caps.structure(0).is_some_and(|s| s.name().ends_with("/x-raw"));
        let mut tracks = self.tracks.lock().unwrap_or_else(PoisonError::into_inner);
        let sense = sense_of(&caps).filter(|_| raw);
        match (sense.filter(|sense| !tracks.contains(sense)), &self.wants.pictures, self.wants.sound) {
            (Some(Sense::Camera), Some((scale, rate)), _) => {
                let (bin, scale) = (pipeline.upcast_ref(), Arc::clone(scale));
                branch::picture(bin, pad, scale, rate.clone(), self.turn, &self.delivery)?;
            }
            (Some(Sense::Microphone), _, Some(rate)) => {
                let beside_pictures = self.wants.includes(Sense::Camera);
                branch::sound(pipeline.upcast_ref(), pad, rate, beside_pictures, &self.delivery)?;
            }
            _ => discard(&pipeline, pad)?,
        }
        tracks.extend(sense);
        Ok(())
    }

    /// One outlet has shown all its pads; after the last, the senses that are not there end.
    fn complete(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 && !self.oversize.load(Ordering::Acquire) {
            for sense in self.lacking() {
                self.delivery.finish(Sensed::End(sense));
            }
            self.tell_of_more();
        }
    }

    /// Of several tracks of a kind all but the first are lost.
    fn tell_of_more(&self) {
        let tracks = self.tracks.lock().unwrap_or_else(PoisonError::into_inner);
        for sense in self.wants.senses() {
            let count = tracks.iter().filter(|track| **track == sense).count();
            if count > 1 && self.delivery.told {
                let (kind, taken) = match sense {
                    Sense::Camera => ("video", "seen"),
                    Sense::Microphone => ("sound", "heard"),
                };
                tracing::warn!("{}: has {count} {kind} tracks; only the first is {taken}", self.name);
            }
        }
    }

    pub fn lacking(&self) -> Vec<Sense> {
        let tracks = self.tracks.lock().unwrap_or_else(PoisonError::into_inner);
        self.wants.senses().into_iter().filter(|sense| !tracks.contains(sense)).collect()
    }
}

/// Whether a demuxer takes it: "video/webm" may hold sound as well.
fn is_container(caps: &gst::Caps) -> bool {
    let demuxers =
        gst::ElementFactory::factories_with_type(gst::ElementFactoryType::DEMUXER, gst::Rank::MARGINAL);
    demuxers.iter().any(|demuxer| demuxer.can_sink_any_caps(caps))
}

/// Lets decoders be chosen from GdkPixbuf's, too, where no other does it; left to itself GStreamer never takes it.
pub(super) fn admit_pictures() {
    if let Some(pictures) = gst::ElementFactory::find("gdkpixbufdec") {
        pictures.set_rank(gst::Rank::MARGINAL);
    }
}

/// Makes the decoder try others than those that cannot do it.
fn pass_over_unfit(decoder: &gst::Element) {
    let results = gst::glib::Type::from_name("GstAutoplugSelectResult");
    let Some(results) = results.and_then(gst::glib::EnumClass::with_type) else { return };
    if ["try", "skip"].iter().any(|word| results.value_by_nick(word).is_none()) {
        return;
    }
    decoder.connect("autoplug-select", false, move |values| {
        let factory = values.get(3).and_then(|factory| factory.get::<gst::ElementFactory>().ok());
        let skip = factory.is_some_and(|factory| is_unfit(&factory));
        results.to_value_by_nick(if skip { "skip" } else { "try" })
    });
}

/// FFmpeg's reader of GIF turns in a circle at the end of the file; for BMP and TIFF it wants the whole file at once, where
/// GdkPixbuf takes pieces.
fn is_unfit(factory: &gst::ElementFactory) -> bool {
    ["avdemux_gif", "avdec_bmp", "avdec_tiff"].contains(&factory.name().as_str())
}

fn discard(pipeline: &gst::Pipeline, pad: &gst::Pad) -> Result<(), CaptureError> {
    let sink = make("fakesink")?;
    sink.set_property("async", false);
    sink.set_property("sync", false);
    pipeline.add(&sink).ok();
    sink.sync_state_with_parent().ok();
    if let Some(entrance) = sink.static_pad("sink") {
        pad.link(&entrance).ok();
    }
    Ok(())
}

fn sense_of(caps: &gst::CapsRef) -> Option<Sense> {
    match caps.structure(0)?.name().split('/').next()? {
        "video" | "image" => Some(Sense::Camera),
        "audio" => Some(Sense::Microphone),
        _ => None,
    }
}
