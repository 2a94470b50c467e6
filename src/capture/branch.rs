//! The two branches behind every source: pictures scaled and packed as RGB, sound as mono samples.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use super::error::CaptureError;
use super::link::{chain, make, only};
use super::oversize;
use super::rate::{Decimator, Rate};
use crate::clock::Instant;
use crate::frame::{Frame, Samples};
use crate::geometry::Size;
use crate::queue::{Sender, Sense, Sensed};

/// Source size to the size pictures are scaled to.
pub(super) type Scale = Arc<dyn Fn(Size) -> Size + Send + Sync>;

/// How the sinks at the ends of the branches work.
pub(super) struct Delivery {
    /// Where everything goes.
    pub out: Sender,
    /// Each item waits for its time: a recording at its own speed.
    pub in_time: bool,
    /// The source cannot wait for the pipeline to fill.
    pub live: bool,
    /// Stamps count from the start of the recording and not from the machine's.
    pub media_time: bool,
    /// Nobody wants it: the branches end in sinks that drop everything.
    pub dropped: bool,
    /// What is odd about a recording is told in the log.
    pub told: bool,
    /// Monotonic nanoseconds at which something last arrived; 0: nothing yet.
    pub last: AtomicU64,
    /// How many pictures were decoded, those too that are not wanted.
    pub decoded: AtomicU64,
    /// Where the furthest item ends, nanoseconds of running time.
    pub reached: AtomicU64,
    /// Senses that have said their last word.
    pub over: Mutex<Vec<Sense>>,
}

/// Posted on the bus when the first picture or sound of a pipeline arrives.
pub(super) const FIRST: &str = "tvsl-first";

/// Posted on the bus when a sense ends: behind the error, if there is one, that made it end.
pub(super) fn end_of(sense: Sense) -> String {
    format!("tvsl-end-of-{sense}")
}

fn note(sink: &impl IsA<gst::Element>, name: &str) {
    let message = gst::message::Application::builder(gst::Structure::new_empty(name))
        .src(sink.upcast_ref::<gst::Element>());
    sink.upcast_ref::<gst::Element>().post_message(message.build()).ok();
}

impl Delivery {
    /// Sends the end or the fault of a sense, once.
    pub fn finish(&self, last_word: Sensed) {
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        if !over.contains(&last_word.sense()) {
            over.push(last_word.sense());
            self.out.send(last_word).ok();
        }
    }

    fn sink(
        self: &Arc<Self>,
        sense: Sense,
        mut item: impl FnMut(&gst::Sample, Instant) -> Option<Sensed> + Send + 'static,
    ) -> Result<gst::Element, CaptureError> {
        if self.dropped {
            return drain(sense);
        }
        let (first, mut empty) = (AtomicBool::new(true), 0);
        let delivery = Arc::clone(self);
        let callbacks = gst_app::AppSinkCallbacks::builder()
            .new_sample(move |sink| {
                let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                let nothing = sample.buffer().is_none_or(|buffer| buffer.size() == 0);
                empty = if nothing { empty + 1 } else { 0 };
                if nothing {
                    return if empty < HOLLOW { Ok(gst::FlowSuccess::Ok) } else { Err(gst::FlowError::Eos) };
                }
                delivery.arrived(sink, first.swap(false, Ordering::Relaxed));
                let Some(stamp) = delivery.stamp(sink, &sample) else { return Ok(gst::FlowSuccess::Ok) };
                match item(&sample, stamp).map(|item| delivery.out.send(item)) {
                    Some(Err(_closed)) => Err(gst::FlowError::Flushing),
                    _ => Ok(gst::FlowSuccess::Ok),
                }
            })
            .eos(move |sink| note(sink, &end_of(sense)))
            .build();
        let sink = gst_app::AppSink::builder().max_buffers(1).sync(self.in_time).async_(!self.live);
        let sink = sink.enable_last_sample(false).callbacks(callbacks).build();
        sink.set_property("qos", false);
        Ok(sink.upcast())
    }

    fn arrived(&self, sink: &gst_app::AppSink, first: bool) {
        if let Some(now) = sink.current_clock_time() {
            self.last.store(now.nseconds().max(1), Ordering::Relaxed);
        }
        if first {
            note(sink, FIRST);
        }
    }

    /// The capture time of a sample: its running time, on the machine's clock unless media time is wanted.
    fn stamp(&self, sink: &gst_app::AppSink, sample: &gst::Sample) -> Option<Instant> {
        let buffer = sample.buffer()?;
        let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
        // A decoder of single pictures may give none.
        let at = buffer.pts().or(buffer.dts()).or(segment.start().filter(|_| !self.live))?;
        let running = segment.to_running_time(at)?;
        let end = running + buffer.duration().unwrap_or_default();
        self.reached.fetch_max(end.nseconds(), Ordering::Relaxed);
        let origin = if self.media_time { gst::ClockTime::ZERO } else { sink.base_time()? };
        let taken = Instant::from_nanos((origin + running).nseconds());
        // A network stream's clock is recovered from its packets and may lead by some milliseconds.
        let now =
            sink.current_clock_time().filter(|_| self.live).map(|now| Instant::from_nanos(now.nseconds()));
        Some(now.map_or(taken, |now| taken.min(now)))
    }
}

/// After so many buffers without anything in them no other will come: GStreamer's reader of WAV makes them for ever of a file
/// that is cut off in a chunk behind its samples.
const HOLLOW: u32 = 1000;

/// A sink that drops everything and tells only that it is over.
fn drain(sense: Sense) -> Result<gst::Element, CaptureError> {
    let sink = make("fakesink")?;
    sink.set_property("sync", false);
    if let Some(entrance) = sink.static_pad("sink") {
        let told = sink.downgrade();
        entrance.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            let event = info.event().map(|event| event.type_());
            if let (Some(gst::EventType::Eos), Some(sink)) = (event, told.upgrade()) {
                note(&sink, &end_of(sense));
            }
            gst::PadProbeReturn::Ok
        });
    }
    Ok(sink)
}

/// The picture branch, ready to be linked to a pad that delivers raw video.
///
/// The scaled size follows the caps of the source, and so survives a change of resolution in
/// mid-stream; pixels come out square whatever they were. `turn` is how pictures are turned upright, `auto` as the
/// stream says.
pub(super) fn picture(
    bin: &gst::Bin,
    pad: &gst::Pad,
    scale: Scale,
    rate: Rate,
    turn: &str,
    delivery: &Arc<Delivery>,
) -> Result<(), CaptureError> {
    let source = Arc::new(Mutex::new(Size::new(0, 0)));
    let of_source = Arc::clone(&source);
    let sink = delivery.sink(Sense::Camera, move |sample, captured| {
        let source = *of_source.lock().unwrap_or_else(PoisonError::into_inner);
        pack(sample, captured, source).map(Sensed::Frame)
    })?;
    let (mut stages, sized) = if in_image_memory(pad) { on_jetson()? } else { in_software(pad, turn)? };
    stages.push(sink);
    chain(bin, &stages)?;
    if let Some(entrance) = sized.first().and_then(|(element, _)| element.static_pad("sink")) {
        // The probe belongs to the scaler: were it to hold elements, they would keep each other for ever.
        let filters: Vec<_> = sized.iter().map(|(_, filter)| filter.downgrade()).collect();
        entrance.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            if let Some(gst::PadProbeData::Event(event)) = &info.data
                && let gst::EventView::Caps(caps) = event.view()
                && let Some(size) = displayed(caps.caps())
            {
                *source.lock().unwrap_or_else(PoisonError::into_inner) = size;
                let target = scale(size);
                filters
                    .iter()
                    .filter_map(|filter| filter.upgrade())
                    .for_each(|filter| resize(&filter, target));
            }
            gst::PadProbeReturn::Ok
        });
    }
    oversize::bound(pad, bin);
    thin_out(pad, rate, Arc::clone(delivery));
    join(pad, &stages)
}

/// The sound branch, ready to be linked to a pad that delivers raw audio. `beside_pictures`: of a recording's start it is not
/// waited for, which may come late, behind more pictures than a decoder keeps.
pub(super) fn sound(
    bin: &gst::Bin,
    pad: &gst::Pad,
    rate: u32,
    beside_pictures: bool,
    delivery: &Arc<Delivery>,
) -> Result<(), CaptureError> {
    let (mut end, mut told) = (None::<Instant>, false);
    let sink = delivery.sink(Sense::Microphone, move |sample, captured| {
        let bytes = sample.buffer()?.map_readable().ok()?;
        let mono: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        if !told && mono.iter().any(|sample| !sample.is_finite()) {
            tracing::warn!("the sound holds samples that are no numbers; they count as silence");
            told = true;
        }
        let mut block = Samples::new(captured, rate, mono);
        let gap = end.map(|end| captured.since(end)).filter(|gap| *gap > GAP);
        block.lost_before = gap.unwrap_or_default();
        end = Some(block.end());
        Some(Sensed::Sound(block))
    })?;
    if beside_pictures {
        sink.set_property("async", false);
    }
    // A block is heard when it ends, and not when it begins.
    sink.set_property("ts-offset", BLOCK);
    let caps = gst::Caps::builder("audio/x-raw")
        .field("format", "F32LE")
        .field("layout", "interleaved")
        .field("rate", rate as i32)
        .field("channels", 1)
        .build();
    let stages = [make("audioconvert")?, make("audioresample")?, only(caps)?, sink];
    chain(bin, &stages)?;
    join(pad, &stages)
}

/// Usual length of a block of decoded sound, in nanoseconds.
const BLOCK: i64 = 20_000_000;
/// Stamps further apart than the samples between them by this much show lost sound.
const GAP: std::time::Duration = std::time::Duration::from_millis(10);

/// The filter that fixes the size, with the scaler before it.
type Sized = Vec<(gst::Element, gst::Element)>;

fn in_software(pad: &gst::Pad, direction: &str) -> Result<(Vec<gst::Element>, Sized), CaptureError> {
    let (turn, scaler, filter) = (make("videoflip")?, make("videoscale")?, only(small("RGB", None))?);
    let entrance = make("videoconvert")?;
    let narrowed = but_rgb(pad, &entrance).filter(|_| gst::version() < RGB_IN_THE_MIDST);
    let mut stages: Vec<_> = narrowed.map(only).transpose()?.into_iter().collect();
    turn.set_property_from_str("video-direction", direction);
    scaler.set_property("add-borders", false);
    scaler.set_property_from_str("method", "bilinear2");
    stages.extend([entrance, turn, scaler.clone(), make("videoconvert")?, filter.clone()]);
    Ok((stages, vec![(scaler, filter)]))
}

/// Before this version a decoder of JPEG fails when it comes to RGB in the midst of a stream, as it may once the size is known.
const RGB_IN_THE_MIDST: (u32, u32, u32, u32) = (1, 22, 0, 0);

/// What of the `entrance` a pad may choose from that did not begin with RGB.
fn but_rgb(pad: &gst::Pad, entrance: &gst::Element) -> Option<gst::Caps> {
    let is_other = |format: &str| {
        let format = gst_video::VideoFormat::from_string(format);
        format != gst_video::VideoFormat::Unknown && !gst_video::VideoFormatInfo::from_format(format).is_rgb()
    };
    let began = pad.current_caps()?;
    if !is_other(began.structure(0)?.get("format").ok()?) {
        return None;
    }
    let known = entrance.pad_template("sink")?.caps().structure(0)?.get::<gst::List>("format").ok()?;
    let others = known.iter().filter(|format| format.get::<&str>().is_ok_and(is_other)).cloned();
    Some(gst::Caps::builder("video/x-raw").field("format", gst::List::from_values(others)).build())
}

/// The image processor scales, so that only the small picture reaches the CPU.
fn on_jetson() -> Result<(Vec<gst::Element>, Sized), CaptureError> {
    let scaler = make("nvvidconv")?;
    let (rgba, rgb) = (only(small("RGBA", None))?, only(small("RGB", None))?);
    let stages = vec![scaler.clone(), rgba.clone(), make("videoconvert")?, rgb.clone()];
    Ok((stages, vec![(scaler.clone(), rgba), (scaler, rgb)]))
}

fn in_image_memory(pad: &gst::Pad) -> bool {
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    caps.features(0).is_some_and(|features| features.contains("memory:NVMM"))
}

fn small(format: &str, size: Option<Size>) -> gst::Caps {
    let caps = gst::Caps::builder("video/x-raw").field("format", format);
    let caps = caps.field("pixel-aspect-ratio", gst::Fraction::new(1, 1));
    match size {
        Some(size) => caps.field("width", size.width as i32).field("height", size.height as i32).build(),
        None => caps.build(),
    }
}

fn resize(filter: &gst::Element, size: Size) {
    let caps = filter.property::<gst::Caps>("caps");
    if let Some(format) = caps.structure(0).and_then(|s| s.get::<&str>("format").ok()) {
        filter.set_property("caps", small(format, Some(size)));
    }
}

/// The size at which a picture with these caps is meant to be seen, its pixels made square.
fn displayed(caps: &gst::CapsRef) -> Option<Size> {
    let structure = caps.structure(0)?;
    let side = |name| structure.get::<i32>(name).ok().and_then(|n| u32::try_from(n).ok());
    let (width, height) = (side("width")?, side("height")?);
    let pixel = structure.get::<gst::Fraction>("pixel-aspect-ratio").ok();
    let aspect = pixel.map_or(1.0, |p| f64::from(p.numer()) / f64::from(p.denom()));
    let width = (f64::from(width) * aspect).round() as u32;
    (width > 0 && height > 0).then(|| Size::new(width, height))
}

fn pack(sample: &gst::Sample, captured: Instant, source: Size) -> Option<Frame> {
    let info = gst_video::VideoInfo::from_caps(sample.caps()?).ok()?;
    let view = gst_video::VideoFrameRef::from_buffer_ref_readable(sample.buffer()?, &info).ok()?;
    let size = Size::new(view.width(), view.height());
    let (row, stride) = (size.width as usize * 3, view.plane_stride()[0] as usize);
    let mut rgb = Vec::with_capacity(row * size.height as usize);
    for line in view.plane_data(0).ok()?.chunks(stride).take(size.height as usize) {
        rgb.extend_from_slice(line.get(..row)?);
    }
    Some(Frame { captured, size, source, rgb })
}

/// Drops pictures above the rate before anything is spent on them.
fn thin_out(pad: &gst::Pad, rate: Rate, delivery: Arc<Delivery>) {
    let mut decimator = Decimator::new(rate);
    let decimator = Mutex::new(move |at: Instant| decimator.keeps(at));
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        delivery.decoded.fetch_add(1, Ordering::Relaxed);
        let at = info.buffer().and_then(|b| b.pts()).map(|at| Instant::from_nanos(at.nseconds()));
        let mut keeps = decimator.lock().unwrap_or_else(PoisonError::into_inner);
        if at.is_none_or(&mut *keeps) { gst::PadProbeReturn::Ok } else { gst::PadProbeReturn::Drop }
    });
}

fn join(pad: &gst::Pad, stages: &[gst::Element]) -> Result<(), CaptureError> {
    let failed = |error: &dyn std::fmt::Display| CaptureError::GStreamer(error.to_string());
    for element in stages.iter().rev() {
        element.sync_state_with_parent().map_err(|error| failed(&error))?;
    }
    let entrance = stages.first().and_then(|first| first.static_pad("sink"));
    let entrance = entrance.ok_or_else(|| failed(&"a branch without an entrance"))?;
    pad.link(&entrance).map(|_| ()).map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::{self, Limits, Policy};

    fn delivery() -> Arc<Delivery> {
        let (out, _receiver) = queue::bounded(Limits::default(), Policy::Wait);
        Arc::new(Delivery {
            out,
            in_time: false,
            live: false,
            media_time: true,
            dropped: false,
            told: true,
            last: AtomicU64::new(0),
            decoded: AtomicU64::new(0),
            reached: AtomicU64::new(0),
            over: Mutex::default(),
        })
    }

    fn pictures(pipeline: &gst::Pipeline, pad: &gst::Pad) {
        picture(pipeline.upcast_ref(), pad, Arc::new(|size| size), Rate::new(10.0), "auto", &delivery())
            .expect("a branch");
    }

    #[test]
    fn a_branch_goes_with_its_pipeline() {
        gst::init().expect("GStreamer");
        let (pipeline, source) = (gst::Pipeline::new(), make("videotestsrc").expect("an element"));
        pipeline.add(&source).expect("room for an element");
        let pad = source.static_pad("src").expect("a pad");
        pictures(&pipeline, &pad);
        let elements = pipeline.iterate_elements().into_iter().flatten();
        let elements: Vec<_> = elements.map(|element| (element.name(), element.downgrade())).collect();
        drop((pad, source, pipeline));
        let kept: Vec<_> = elements.iter().filter(|(_, element)| element.upgrade().is_some()).collect();
        assert!(elements.len() > 5 && kept.is_empty(), "{kept:?}");
    }

    #[test]
    fn what_did_not_begin_with_rgb_is_not_asked_for_it() {
        gst::init().expect("GStreamer");
        let (pad, entrance) =
            (gst::Pad::new(gst::PadDirection::Src), make("videoconvert").expect("an element"));
        let caps = |format: &str| gst::Caps::builder("video/x-raw").field("format", format).build();
        pad.set_active(true).expect("a pad");
        assert!(but_rgb(&pad, &entrance).is_none(), "nothing is known yet");
        pad.push_event(gst::event::StreamStart::new("test"));
        let takes = |began: &str, then: &str| {
            pad.push_event(gst::event::Caps::new(&caps(began)));
            but_rgb(&pad, &entrance).is_none_or(|taken| taken.can_intersect(&caps(then)))
        };
        for (began, then) in
            [("I420", "NV12"), ("I420", "Y42B"), ("GRAY8", "I420"), ("BGRx", "RGB"), ("RGB", "I420")]
        {
            assert!(takes(began, then), "{began}, then {then}");
        }
        assert!(!takes("I420", "RGB") && !takes("GRAY8", "BGRx"));
    }
}
