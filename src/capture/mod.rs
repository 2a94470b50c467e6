//! Cameras, microphones and recordings become stamped frames and sound in the [`queue`](crate::queue).
//!
//! Every camera is a few GStreamer elements before the same two branches ([`CameraSource`]); a sound
//! card is read through ALSA. What a recording holds arrives complete; live input is never waited for.

mod alsa;
mod branch;
mod card;
mod ear;
mod error;
mod extent;
mod flash;
mod jpeg;
mod link;
mod list;
mod media;
mod mode;
mod oversize;
mod rate;
mod recorder;
mod resample;
mod sources;
mod still;
mod wiring;

use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gstreamer as gst;

pub(crate) use alsa::HANGING_CARD;
pub use error::CaptureError;
pub use extent::{cut_off, unreadable};
pub use list::{CameraFound, MicrophoneFound, Mode, cameras, microphones};
pub use rate::Rate;
pub use recorder::Recorder;

use crate::clock::Instant;
use crate::config::{self, CameraSource, MicrophoneSource};
use crate::frame::{Frame, Samples};
use crate::geometry::{Fit, Size};
use crate::queue::{self, Limits, Policy, Sender, Sense, Sensed};
use branch::{Delivery, Scale};
use media::Media;
use sources::Origin;
use wiring::Wants;

/// How time passes while a source is captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Devices and streams: what is not taken in time is shed. Stamps are on `CLOCK_MONOTONIC`.
    Live,
    /// A recording at its own speed. Stamps are on `CLOCK_MONOTONIC`.
    Realtime,
    /// A recording as fast as it is taken. Stamps count from the start of the recording.
    Fast,
}

impl Pace {
    /// The pace that suits a camera: recordings play at their own speed, everything else is live.
    pub fn of(camera: &config::Camera) -> Pace {
        if camera.source == CameraSource::File { Pace::Realtime } else { Pace::Live }
    }

    /// What the queue does when it is full: recordings wait and lose nothing, live input sheds.
    pub fn policy(self) -> Policy {
        match self {
            Pace::Live => Policy::ShedOldest,
            Pace::Realtime => Policy::Wait,
            Pace::Fast => Policy::Merge,
        }
    }
}

/// How a picture of some size is laid into the model's input; frames arrive at the size of its
/// [`picture`](Fit::picture).
pub type Fitting = Arc<dyn Fn(Size) -> Fit + Send + Sync>;

/// What the model wants to be given.
#[derive(Clone)]
pub struct Wanted {
    /// How pictures are fitted.
    pub fitting: Fitting,
    /// Samples of sound in a second.
    pub rate: u32,
    /// Most pictures in a second, which may change while they come; `None`: as the camera's settings say.
    pub most: Option<Rate>,
}

/// Sources at work; they stop when this is dropped.
#[must_use = "dropping it stops the capture"]
pub struct Capture {
    _camera: Camera,
    microphone: Option<Microphone>,
}

impl Capture {
    /// How often the sound card was not read in time; each shows as `lost_before` of a block.
    pub fn overruns(&self) -> u64 {
        self.microphone.as_ref().map_or(0, Microphone::overruns)
    }
}

/// A camera at work; it stops when this is dropped.
#[must_use = "dropping it stops the camera"]
pub struct Camera {
    media: Media,
}

/// A sound card at work; it stops when this is dropped.
#[must_use = "dropping it stops the microphone"]
pub struct Microphone(alsa::Alsa);

impl Microphone {
    /// How often the card was not read in time.
    pub fn overruns(&self) -> u64 {
        self.0.overruns()
    }
}

/// Makes GStreamer ready; as often as one likes. [`start`] and the readers do it themselves.
///
/// # Errors
/// [`CaptureError::GStreamer`] if it does not work here.
pub fn init() -> Result<(), CaptureError> {
    gst::init().map_err(|error| CaptureError::GStreamer(error.to_string()))?;
    wiring::admit_pictures();
    Ok(())
}

/// Judges what of camera and microphone can be judged without opening them.
///
/// # Errors
/// The launch line of `[camera.pipeline]` is not one, there is no such test pattern, the camera has no sound
/// to give, or GStreamer does not start.
pub fn judge(camera: &config::Camera, microphone: &config::Microphone) -> Result<(), CaptureError> {
    give_sound(camera, microphone.source == MicrophoneSource::Media)?;
    match camera.source {
        CameraSource::Pipeline => {
            init()?;
            sources::launch(&camera.pipeline.launch, &gst::Bin::new(), true).map(|_| ())
        }
        CameraSource::Test => {
            init()?;
            flash::picture(&camera.test, &gst::Bin::new(), true).map(|_| ())
        }
        _ => Ok(()),
    }
}

/// Refuses a camera that has no sound track although its sound is asked for.
fn give_sound(camera: &config::Camera, asked: bool) -> Result<(), CaptureError> {
    if asked && !camera.source.has_sound() {
        return Err(CaptureError::NoMediaSound { camera: camera.source.name() });
    }
    Ok(())
}

/// Opens camera and microphone and sends what they deliver to `out`, until the handle is dropped.
///
/// Either sense ends with one [`Sensed::End`] or [`Sensed::Fault`]; one that is not there (a clip
/// without sound, `microphone.source = "none"`) ends at once. At most `wanted.most` pictures of a
/// second are delivered, infinity means all.
///
/// # Errors
/// A source that cannot be opened, within 10 s; `out` may then hold what was delivered before.
pub fn start(
    camera: &config::Camera,
    microphone: &config::Microphone,
    wanted: &Wanted,
    pace: Pace,
    out: Sender,
) -> Result<Capture, CaptureError> {
    init()?;
    let media = microphone.source == MicrophoneSource::Media;
    let camera = open_camera(camera, media, wanted, pace, &out)?;
    if let Some(name) = camera.media.mute() {
        tracing::warn!("{name}: has no sound, so nothing of it will be reported");
    }
    let alsa = microphone.source == MicrophoneSource::Alsa;
    let microphone = alsa.then(|| open_microphone(&microphone.alsa, wanted.rate, &out)).transpose()?;
    if microphone.is_none() && !media {
        out.send(Sensed::End(Sense::Microphone)).ok();
    }
    Ok(Capture { _camera: camera, microphone })
}

/// Opens the camera alone, with its sound track if `sound`; sends as [`start`] does. That there is no sound to be had is told by
/// its [`Sensed::End`] alone: who opens a camera again and again says so once.
///
/// # Errors
/// A camera that cannot be opened within 10 s, or has no sound track to give.
pub fn open_camera(
    camera: &config::Camera,
    sound: bool,
    wanted: &Wanted,
    pace: Pace,
    out: &Sender,
) -> Result<Camera, CaptureError> {
    init()?;
    give_sound(camera, sound)?;
    let fitting = Arc::clone(&wanted.fitting);
    let scale: Scale = Arc::new(move |source| fitting(source).picture);
    let pipeline = Media::pipeline();
    let most = wanted.most.clone().unwrap_or_else(|| Rate::new(camera.rate));
    let origin = sources::open(camera, &most, pipeline.as_ref(), sound, pace == Pace::Live)?;
    let repeat = camera.source == CameraSource::File && camera.file.repeat;
    let wants = Wants { pictures: Some((scale, most)), sound: sound.then_some(wanted.rate) };
    let delivery = Arc::new(delivery(&origin, pace, out.group()));
    Ok(Camera { media: Media::start(pipeline, origin, wants, delivery, repeat)? })
}

/// Whether this camera is out of reach of this process, although what opens it is installed: a CSI camera where no
/// nvargus-daemon listens. A service with a `/tmp` of its own sees only the one that was there when it started. Waits for nobody.
pub fn is_out_of_reach(camera: &config::Camera) -> bool {
    camera.source == CameraSource::Csi && init().is_ok() && sources::lacks_argus()
}

/// Has GStreamer find the plug-ins that were installed since it last looked.
///
/// One that failed to load stays in its list as such, on disk too, until its file changes, although what it lacked may have
/// come: those are forgotten before the first, second, fourth look and so on up to the 64th, and then before each 64th, because
/// the list is written each time.
pub fn look_for_plugins() {
    static LOOKS: AtomicU32 = AtomicU32::new(1);
    let look = LOOKS.fetch_add(1, Ordering::Relaxed);
    if look.is_power_of_two() || look.is_multiple_of(64) {
        let registry = gst::Registry::get();
        let failed = |plugin: &gst::Plugin| plugin.plugin_flags().contains(gst::PluginFlags::BLACKLISTED);
        registry
            .plugins()
            .iter()
            .filter(|plugin| failed(plugin))
            .for_each(|plugin| registry.remove_plugin(plugin));
    }
    if let Err(error) = gstreamer::Registry::update() {
        tracing::debug!("plug-ins were not looked for: {error}");
    }
}

/// Opens the sound card alone and reads it towards mono sound at `rate`; sends as [`start`] does.
///
/// # Errors
/// A card that is not there or does not offer what the settings ask for.
pub fn open_microphone(alsa: &config::Alsa, rate: u32, out: &Sender) -> Result<Microphone, CaptureError> {
    alsa::Alsa::start(alsa, rate, out.group()).map(Microphone)
}

/// The first picture of a file: JPEG, PNG or whatever GStreamer decodes, turned upright as its EXIF or its tags say.
///
/// It is scaled down to lie within `max`, its aspect kept.
///
/// # Errors
/// A file that is missing, unreadable or holds no picture.
pub fn read_picture(path: &Path, max: Option<Size>) -> Result<Frame, CaptureError> {
    if let Some(frame) = jpeg::read(path).filter(|_| max.is_none()) {
        return Ok(frame);
    }
    let first = pictures(path, max, true)?.next().transpose()?;
    first.ok_or_else(|| CaptureError::file(path, "holds no picture"))
}

/// All pictures of a file, in order, as [`read_picture`] gives the first; stamps count from the start.
///
/// They are read for a second look: what is odd about the file, such as that it is cut off, was told at the first.
///
/// # Errors
/// A file that is missing, unreadable or holds no picture; later, one that breaks off.
pub fn read_pictures(
    path: &Path,
    max: Option<Size>,
) -> Result<impl Iterator<Item = Result<Frame, CaptureError>>, CaptureError> {
    pictures(path, max, false)
}

fn pictures(
    path: &Path,
    max: Option<Size>,
    told: bool,
) -> Result<impl Iterator<Item = Result<Frame, CaptureError>>, CaptureError> {
    let scale: Scale = Arc::new(move |source| max.map_or(source, |max| within(source, max)));
    let wants = Wants { pictures: Some((scale, Rate::new(f64::INFINITY))), sound: None };
    let picture = |item| match item {
        Ok(Sensed::Frame(frame)) => Some(Ok(frame)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    };
    Ok(read(path, wants, told)?.filter_map(picture))
}

/// The whole sound of a file as mono samples at `rate`.
///
/// # Errors
/// A file that is missing, unreadable, broken in the middle or without sound.
pub fn read_sound(path: &Path, rate: u32) -> Result<Samples, CaptureError> {
    let mut whole = Samples::new(Instant::ZERO, rate, Vec::new());
    for item in read(path, Wants { pictures: None, sound: Some(rate) }, true)? {
        if let Sensed::Sound(block) = item? {
            whole.mono.extend(block.mono);
        }
    }
    if whole.mono.is_empty() {
        return Err(cut_off(path).unwrap_or_else(|| CaptureError::file(path, "holds no sound")));
    }
    Ok(whole)
}

/// Decodes a recording with its sound, and scales it as it is `wanted`, at most `rate` pictures of a second, into sinks
/// that drop everything: what the pipeline costs by itself.
///
/// # Errors
/// A recording that is missing or unreadable, or that breaks off.
pub fn decode(path: &Path, rate: f64, wanted: &Wanted) -> Result<(), CaptureError> {
    init()?;
    let (sender, receiver) = queue::bounded(Limits::default(), Policy::Wait);
    let fitting = Arc::clone(&wanted.fitting);
    let scale: Scale = Arc::new(move |source| fitting(source).picture);
    let pipeline = Media::pipeline();
    let origin = sources::file(path, pipeline.as_ref())?;
    let delivery = Delivery { dropped: true, told: false, ..delivery(&origin, Pace::Fast, sender) };
    let wants = Wants { pictures: Some((scale, Rate::new(rate))), sound: Some(wanted.rate) };
    let _media = Media::start(pipeline, origin, wants, Arc::new(delivery), false)?;
    for _sense in [Sense::Camera, Sense::Microphone] {
        match receiver.recv(WHOLE) {
            Ok(Sensed::Fault(_, error)) => {
                let unknown = CaptureError::file(path, "cannot be read on");
                return Err(*error.downcast().unwrap_or(Box::new(unknown)));
            }
            Ok(_) => {}
            Err(_) => return Err(CaptureError::file(path, "does not come to its end")),
        }
    }
    Ok(())
}

/// The longest that a recording may take to be decoded.
const WHOLE: Duration = Duration::from_secs(600);

/// What a file holds, as fast as it is taken, up to the end of the one sense that is wanted.
fn read(
    path: &Path,
    wants: Wants,
    told: bool,
) -> Result<impl Iterator<Item = Result<Sensed, CaptureError>>, CaptureError> {
    init()?;
    let (sender, receiver) = queue::bounded(Limits::default(), Policy::Wait);
    let pipeline = Media::pipeline();
    let origin = sources::file(path, pipeline.as_ref())?;
    let delivery = Arc::new(Delivery { told, ..delivery(&origin, Pace::Fast, sender) });
    let media = Media::start(pipeline, origin, wants, delivery, false)?;
    let stalled = CaptureError::file(path, "cannot be read on");
    let mut over = false;
    Ok(std::iter::from_fn(move || {
        let _running = &media;
        if std::mem::replace(&mut over, true) {
            return None;
        }
        match receiver.recv(READ) {
            Ok(Sensed::End(_)) => None,
            Ok(Sensed::Fault(_, error)) => Some(Err(*error.downcast().unwrap_or(Box::new(stalled.clone())))),
            Ok(item) => {
                over = false;
                Some(Ok(item))
            }
            Err(_) => Some(Err(stalled.clone())),
        }
    }))
}

/// The longest that a file may take to yield its next piece.
const READ: Duration = Duration::from_secs(10);

fn delivery(origin: &Origin, pace: Pace, out: Sender) -> Delivery {
    Delivery {
        out,
        in_time: !origin.live && pace != Pace::Fast,
        live: origin.live,
        media_time: !origin.live && pace == Pace::Fast,
        dropped: false,
        told: true,
        last: AtomicU64::default(),
        decoded: AtomicU64::default(),
        reached: AtomicU64::new(0),
        over: Mutex::default(),
    }
}

fn within(source: Size, max: Size) -> Size {
    let share = |side: u32, limit: u32| f64::from(limit) / f64::from(side.max(1));
    let scale = share(source.width, max.width).min(share(source.height, max.height)).min(1.0);
    let side = |side: u32| ((f64::from(side) * scale).round() as u32).max(1);
    Size::new(side(source.width), side(source.height))
}

#[cfg(test)]
mod tests;
