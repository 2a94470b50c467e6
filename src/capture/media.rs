//! One GStreamer pipeline: a source, its branches, a bounded start, and a watch on its bus.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant as Moment};

use gstreamer as gst;
use gstreamer::prelude::*;
use rustix::time::{ClockId, clock_gettime};

use super::branch::{Delivery, FIRST, end_of};
use super::error::CaptureError;
use super::extent::{self, Part};
use super::oversize;
use super::sources::{Origin, whole_picture};
use super::wiring::{Wants, Wiring};
use crate::queue::{Load, Sender, Sense, Sensed};

/// A running pipeline; stops when dropped.
pub(super) struct Media {
    pipeline: gst::Pipeline,
    /// What it reads, for messages.
    name: String,
    live: bool,
    /// Whether nobody else could open that meanwhile. What does not let go of it is waited for then: who opens it has a watchdog.
    sole: bool,
    out: Sender,
    /// Whether it was asked for sound and has none.
    mute: bool,
    watch: Option<JoinHandle<()>>,
}

/// The longest that opening a source may take.
const START: Duration = Duration::from_secs(10);
/// A live source that delivers nothing for so long is broken.
const STALL: Duration = Duration::from_secs(10);
/// A recording of which nothing comes for so long, while all that came was taken, is broken: its decoder turns in a circle.
const STUCK: Duration = Duration::from_secs(10);
/// The same of one that is played in its own time, which may show a picture for minutes.
const STUCK_IN_TIME: Duration = Duration::from_secs(600);
/// The longest that what reads a file may take to let go of it.
const LET_GO: Duration = Duration::from_secs(5);
/// The same of a stream: at the end of a service there is little time.
const HANG_UP: Duration = Duration::from_secs(2);
/// How many of them may be left behind. The next is waited for, until the watchdog has the service started anew.
const MOST_LEFT: usize = 4;
/// How many are, or are being closed.
static LEFT: AtomicUsize = AtomicUsize::new(0);
/// A recording that is shorter than it says by more than this was cut off.
const CUT_OFF: gst::ClockTime = gst::ClockTime::from_seconds(1);
/// How often the watch looks whether anything moves.
const LOOK: gst::ClockTime = gst::ClockTime::from_mseconds(500);
/// Processor time between two looks below which nothing is being decoded.
const IDLE: Duration = Duration::from_millis(100);
const STOP: &str = "tvsl-stop";
const CUT_PICTURE: &str = "is cut off: the end of the picture is missing";

impl Media {
    /// A pipeline on the machine's monotonic clock, still empty.
    pub fn pipeline() -> gst::Pipeline {
        let pipeline = gst::Pipeline::new();
        pipeline.use_clock(Some(&gst::SystemClock::obtain()));
        pipeline.set_auto_flush_bus(false);
        pipeline
    }

    /// Joins the branches to the source and starts it; returns when it delivers, or has filled.
    ///
    /// # Errors
    /// Whatever the source reports within [`START`], [`CaptureError::Stalled`] if it reports nothing.
    pub fn start(
        pipeline: gst::Pipeline,
        origin: Origin,
        wants: Wants,
        delivery: Arc<Delivery>,
        repeat: bool,
    ) -> Result<Media, CaptureError> {
        let live = origin.live;
        let (name, out) = (origin.name.clone(), delivery.out.clone());
        let mut media = Media { pipeline, name, live, sole: origin.sole, out, mute: false, watch: None };
        let wiring = Wiring::connect(&media.pipeline, &origin, wants, Arc::clone(&delivery))?;
        let mut watch = Watch { pipeline: media.pipeline.clone(), origin, wiring, delivery, declared: None };
        watch.start(if live { gst::State::Playing } else { gst::State::Paused })?;
        if repeat {
            watch.rewind(gst::SeekFlags::FLUSH)?;
        }
        media.mute = watch.wiring.lacking().contains(&Sense::Microphone);
        watch.tell_of_cut_picture();
        watch.set_state(gst::State::Playing)?;
        watch.declared = media.pipeline.query_duration::<gst::ClockTime>().filter(|_| !live && !repeat);
        let thread = std::thread::Builder::new().name("camera-watch".into()).spawn(move || watch.run());
        media.watch = Some(thread.map_err(|error| CaptureError::Thread("camera-watch", error.to_string()))?);
        Ok(media)
    }

    /// What it is called, if it was asked for sound and has none.
    pub fn mute(&self) -> Option<&str> {
        self.mute.then_some(if self.live { "the camera's stream" } else { &self.name })
    }
}

impl Drop for Media {
    fn drop(&mut self) {
        self.out.cancel();
        let stop = gst::message::Application::new(gst::Structure::new_empty(STOP));
        self.pipeline.post_message(stop).ok();
        if let Some(watch) = self.watch.take() {
            watch.join().ok();
        }
        match self.sole {
            true => shut(&self.pipeline),
            false => shut_in_time(&self.pipeline, &self.name, if self.live { HANG_UP } else { LET_GO }),
        }
    }
}

/// Ends everything that works in the pipeline, and waits for it.
fn shut(pipeline: &gst::Pipeline) {
    pipeline.set_state(gst::State::Null).ok();
    // A message holds its element, and so a bus that still holds messages would keep its own pipeline for ever.
    if let Some(bus) = pipeline.bus() {
        bus.set_flushing(true);
    }
}

/// A decoder may turn in a circle for ever at what is damaged (GStreamer 1.22's of JPEG where a picture begins right after
/// another began), and a stream may lock itself up while it stops (GStreamer 1.20's of RTSP, now and then). It is left behind
/// then, with the thread that waits for it.
fn shut_in_time(pipeline: &gst::Pipeline, name: &str, most: Duration) {
    if LEFT.fetch_add(1, Ordering::Relaxed) >= MOST_LEFT {
        tracing::warn!(
            "{name}: it is waited for until what reads it stops, as {MOST_LEFT} others have not yet"
        );
        return shut_counted(pipeline);
    }
    let (done, over) = std::sync::mpsc::channel();
    let working = pipeline.clone();
    let stopping = std::thread::Builder::new().name("camera-stop".into()).spawn(move || {
        shut_counted(&working);
        done.send(()).ok();
    });
    match stopping.map(|_| over.recv_timeout(most)) {
        Ok(Ok(())) => {}
        Ok(Err(_)) => tracing::warn!("{name}: what reads it does not stop; it is left behind"),
        Err(_no_thread) => shut_counted(pipeline),
    }
}

/// The same as [`shut`] of one that was counted.
fn shut_counted(pipeline: &gst::Pipeline) {
    shut(pipeline);
    LEFT.fetch_sub(1, Ordering::Relaxed);
}

/// Reads the bus: first until the source works, then until it is stopped.
struct Watch {
    pipeline: gst::Pipeline,
    origin: Origin,
    wiring: Arc<Wiring>,
    delivery: Arc<Delivery>,
    /// How long the recording says that it is.
    declared: Option<gst::ClockTime>,
}

impl Watch {
    fn start(&mut self, state: gst::State) -> Result<(), CaptureError> {
        let began = Moment::now();
        let (mut undecoded, mut at_rest, mut spent) = (None, false, spent_by_this_process());
        self.set_state(state)?;
        loop {
            let Some(message) = self.next(LOOK) else {
                if began.elapsed() > START {
                    return Err(self.stalled(began.elapsed()));
                }
                // A large picture takes seconds to decode, and nothing is told meanwhile.
                let busy = std::mem::replace(&mut spent, spent_by_this_process());
                let idle = spent < busy + IDLE && !self.is_whole_picture();
                if std::mem::replace(&mut at_rest, self.gave_up()) && at_rest && idle {
                    return Err(self.media("is damaged or incomplete at its start".into()));
                }
                continue;
            };
            if let Some(error) = self.oversize(&message) {
                return Err(error);
            }
            match message.view() {
                gst::MessageView::Error(error) => return Err(undecoded.unwrap_or(self.error(error))),
                gst::MessageView::Element(element) => undecoded = undecoded.or(self.no_decoder(element)),
                gst::MessageView::AsyncDone(_) if !self.origin.live => break,
                gst::MessageView::Eos(_) => break,
                gst::MessageView::Application(note) if named(note, FIRST) => break,
                gst::MessageView::Application(note) => self.ended(note),
                _ => {}
            }
        }
        match (self.wiring.lacking(), undecoded) {
            (lacking, Some(undecoded)) if !lacking.is_empty() => Err(undecoded),
            (lacking, None) if lacking == self.wiring.wants.senses() => Err(self.no_track(&lacking)),
            _ => Ok(()),
        }
    }

    fn run(self) {
        let mut quiet = Quiet::default();
        loop {
            let Some(message) = self.next(LOOK) else {
                match quiet.look(&self.delivery) {
                    Some(silence) if silence > self.patience() => return self.fault(&self.stalled(silence)),
                    _ => continue,
                }
            };
            if let Some(error) = self.oversize(&message) {
                return self.fault(&error);
            }
            match message.view() {
                gst::MessageView::Application(note) if named(note, STOP) => return,
                gst::MessageView::Application(note) => self.ended(note),
                gst::MessageView::Error(error) => return self.fault(&self.error(error)),
                gst::MessageView::SegmentDone(_) => {
                    if let Err(error) = self.rewind(gst::SeekFlags::empty()) {
                        return self.fault(&error);
                    }
                }
                gst::MessageView::Warning(warning) => {
                    tracing::warn!(origin = self.origin.name, "{}", warning.error().message());
                }
                _ => {}
            }
        }
    }

    /// Whether an element that reads by itself has stopped doing so. `decodebin` may swallow the error
    /// with which a demuxer stops; two looks apart tell that from a short file on its way.
    fn gave_up(&self) -> bool {
        let stopped =
            |pad: gst::Pad| pad.mode() == gst::PadMode::Pull && pad.task_state() == gst::TaskState::Paused;
        let elements = self.pipeline.iterate_recurse().into_iter().flatten();
        elements.flat_map(|element| element.sink_pads()).any(stopped)
    }

    fn next(&self, timeout: gst::ClockTime) -> Option<gst::Message> {
        self.pipeline.bus()?.timed_pop(timeout)
    }

    fn set_state(&self, state: gst::State) -> Result<(), CaptureError> {
        if self.pipeline.set_state(state).is_ok() {
            return Ok(());
        }
        let bus = self.pipeline.bus();
        let message = bus.and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
        Err(match message.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Error(error)) => self.error(error),
            _ => self.media("does not start".into()),
        })
    }

    /// Plays from the start; at the end of the segment comes `SegmentDone` in place of the end of the stream.
    fn rewind(&self, flags: gst::SeekFlags) -> Result<(), CaptureError> {
        let sought = self.pipeline.seek_simple(flags | gst::SeekFlags::SEGMENT, gst::ClockTime::ZERO);
        sought.map_err(|_| self.media("cannot be played again from its start".into()))
    }

    fn ended(&self, note: &gst::message::Application) {
        let senses = [Sense::Camera, Sense::Microphone].into_iter();
        for sense in senses.filter(|sense| named(note, &end_of(*sense))) {
            // With the pictures a recording is over, even if its sound goes on.
            if self.wiring.wants.senses().first() == Some(&sense) {
                self.tell_if_cut_off();
            }
            self.delivery.finish(Sensed::End(sense));
        }
    }

    /// A demuxer ends a recording that was cut off as if it were whole.
    fn tell_if_cut_off(&self) {
        if !self.delivery.told {
            return;
        }
        let name = &self.origin.name;
        let reached = gst::ClockTime::from_nseconds(self.delivery.reached.load(Ordering::Relaxed));
        let seconds = |time: gst::ClockTime| time.nseconds() as f64 / 1e9;
        if let Some(declared) = self.declared.filter(|declared| reached + CUT_OFF < *declared) {
            tracing::warn!(
                "{name}: ends after {:.1} s, but says that it lasts {:.1} s: it is cut off, damaged, or all sound from there on",
                seconds(reached),
                seconds(declared)
            );
        } else if let Some(Part { there, whole }) = self.origin.file.as_deref().and_then(Part::of) {
            // Where the length of the file is what tells how long it lasts, as with WAV.
            tracing::warn!("{name}: is cut off: only {there} of its {whole} bytes are there");
        }
    }

    /// A decoder makes up what is missing of a picture.
    fn tell_of_cut_picture(&self) {
        if self.delivery.told && self.is_cut_picture() {
            tracing::warn!(
                "{}: {CUT_PICTURE}, and what it would have shown there is not seen",
                self.origin.name
            );
        }
    }

    /// It only has to be decoded, for which a busy machine may leave no time between two looks.
    fn is_whole_picture(&self) -> bool {
        self.origin.still.is_some_and(|still| !still.cut)
    }

    fn is_cut_picture(&self) -> bool {
        self.origin.still.is_some_and(|still| still.cut)
    }

    fn fault(&self, error: &CaptureError) {
        for sense in self.wiring.wants.senses() {
            self.delivery.finish(Sensed::Fault(sense, Box::new(error.clone())));
        }
    }

    fn patience(&self) -> Duration {
        match (self.origin.live, self.delivery.in_time) {
            (true, _) => STALL,
            (false, false) => STUCK,
            (false, true) => STUCK_IN_TIME,
        }
    }

    fn media(&self, reason: String) -> CaptureError {
        let Origin { name, cure, .. } = &self.origin;
        let cure = if self.is_picture() { whole_picture(name) } else { cure.clone() };
        CaptureError::Media { origin: name.clone(), reason, cure }
    }

    /// A camera may deliver JPEG as well.
    fn is_picture(&self) -> bool {
        self.origin.file.is_some() && self.wiring.is_still()
    }

    fn error(&self, message: &gst::message::Error) -> CaptureError {
        let (words, details) = (message.error(), message.debug().unwrap_or_default());
        tracing::debug!(origin = self.origin.name, %details, "GStreamer reports an error");
        let words = words.message().trim_end_matches('.');
        self.media(if self.is_cut_picture() { CUT_PICTURE } else { words }.to_owned())
    }

    /// That its pictures are too large, if that is what is told.
    fn oversize(&self, message: &gst::Message) -> Option<CaptureError> {
        let (size, origin) = (oversize::told(message)?, self.origin.name.clone());
        let cure = match self.origin.file {
            Some(_) if self.is_picture() => oversize::cure_of_picture(&origin),
            Some(_) => oversize::cure_of_film(&origin),
            None => oversize::CURE_OF_CAMERA.into(),
        };
        Some(CaptureError::Media { origin, reason: oversize::reason(size), cure })
    }

    fn stalled(&self, silence: Duration) -> CaptureError {
        let Origin { name, cure, .. } = &self.origin;
        CaptureError::Stalled { origin: name.clone(), seconds: silence.as_secs(), cure: cure.clone() }
    }

    fn no_track(&self, lacking: &[Sense]) -> CaptureError {
        if let Some(cut_off) = self.origin.file.as_deref().and_then(extent::cut_off) {
            return cut_off;
        }
        let (missing, expected) = match lacking {
            [Sense::Camera] => ("picture", "a picture or a video track"),
            [Sense::Microphone] => ("sound", "a sound track"),
            _ => ("picture and no sound", "a recording with at least one of them"),
        };
        CaptureError::NoTrack { origin: self.origin.name.clone(), missing, expected }
    }

    fn no_decoder(&self, message: &gst::message::Element) -> Option<CaptureError> {
        let lacks = message.structure().filter(|s| s.name() == "missing-plugin")?;
        let format = lacks.get::<String>("name").unwrap_or_else(|_| "format".into());
        let format = format.strip_suffix(" decoder").unwrap_or(&format).to_owned();
        let origin = self.origin.name.clone();
        let install = "install one with `apt-get install gstreamer1.0-libav gstreamer1.0-plugins-bad`";
        let cure = if self.is_picture() { whole_picture(&origin) } else { install.into() };
        Some(CaptureError::Decoder { origin, format, cure })
    }
}

/// For how many looks in a row nothing came of a source although nobody had it wait; a picture that the rate leaves out has
/// come. They are counted, and not the time between them: a process may be stopped for a while.
#[derive(Default)]
struct Quiet {
    looks: u32,
    /// What had come at the last look.
    came: (u64, u64),
}

impl Quiet {
    /// How long it has been quiet; `None`: nobody can tell.
    fn look(&mut self, delivery: &Delivery) -> Option<Duration> {
        let came = (delivery.last.load(Ordering::Relaxed), delivery.decoded.load(Ordering::Relaxed));
        let waits = !delivery.live && delivery.out.load() != Load::default();
        self.looks = if waits || came != self.came { 0 } else { self.looks + 1 };
        self.came = came;
        (!delivery.dropped).then(|| Duration::from_nanos(LOOK.nseconds()) * self.looks)
    }
}

/// Processor time of all threads so far.
fn spent_by_this_process() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn named(message: &gst::message::Application, name: &str) -> bool {
    message.structure().is_some_and(|structure| structure.name() == name)
}
