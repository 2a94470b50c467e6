//! A recording of what camera and microphone delivered, to be played again: Matroska with pictures that lost nothing
//! (FFV1, or HuffYUV where GStreamer is old) and samples as they were, each with the time of its capture, to the millisecond.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::error::CaptureError;
use super::link::{chain, make};
use crate::clock::Instant;
use crate::frame::{Frame, Samples};
use crate::geometry::Size;

/// Most bytes that wait to be written: a machine that falls behind by more is too slow to record.
const MOST_WAITING: u64 = 256 << 20;
/// Room for the container's head and index.
const FRAME: u64 = 16 << 10;
/// The cure where writing fails.
const ROOM: &str = "make room on the disk, or name a file on another one with --out";
/// The longest that the last bytes may take to the disk.
const CLOSE: gst::ClockTime = gst::ClockTime::from_seconds(20);

/// How pictures are kept as they were.
#[derive(Clone, Copy)]
struct Lossless {
    encoder: &'static str,
    media: &'static str,
    /// The order of colours that it leaves alone, with a fourth byte.
    format: &'static str,
}

const FFV1: Lossless = Lossless { encoder: "avenc_ffv1", media: "video/x-ffv", format: "BGRx" };

/// Larger; Matroska holds no FFV1 in GStreamer before 1.20, as JetPack 5 has it.
const HUFFYUV: Lossless = Lossless { encoder: "avenc_huffyuv", media: "video/x-huffyuv", format: "BGRA" };

/// How many pictures a second an encoder is told of: up to GStreamer 1.20 it rounds times to that, or to 40 ms if it is told none.
const RATE: i32 = 1000;

/// A recording under way; it begins with the first picture.
pub struct Recorder {
    path: PathBuf,
    lossless: Lossless,
    pipeline: gst::Pipeline,
    pictures: gst_app::AppSrc,
    sound: Option<gst_app::AppSrc>,
    size: Option<Size>,
    began: Option<Instant>,
    last: Instant,
    /// The file holds as much as it may.
    full: Arc<AtomicBool>,
}

impl Recorder {
    /// A new file at `path` that only its owner can read, of at most `most` bytes; with sound of `rate` samples in a
    /// second, if any.
    ///
    /// # Errors
    /// The file is there already or cannot be written, or a plug-in is missing.
    pub fn create(path: &Path, rate: Option<u32>, most: u64) -> Result<Self, CaptureError> {
        super::init()?;
        let muxer = make("matroskamux")?;
        let lossless = if holds(&muxer, FFV1) { FFV1 } else { HUFFYUV };
        Self::with(lossless, muxer, path, rate, most)
    }

    fn with(
        lossless: Lossless,
        muxer: gst::Element,
        path: &Path,
        rate: Option<u32>,
        most: u64,
    ) -> Result<Self, CaptureError> {
        let (encoder, sink) = (make(lossless.encoder)?, make("filesink")?);
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        opened.map_err(|error| refused(path, &error))?;
        sink.set_property("location", path.to_string_lossy().as_ref());
        let pipeline = gst::Pipeline::new();
        let pictures = source();
        chain(pipeline.upcast_ref(), &[pictures.clone().upcast(), encoder, muxer.clone(), sink])?;
        // Else the file would tell others that every picture is to be seen for as long as the encoder is told.
        let pads = muxer.sink_pads().into_iter().filter(|pad| pad.has_property("frame-duration"));
        pads.for_each(|pad| pad.set_property("frame-duration", false));
        let taken = Arc::new(AtomicU64::new(0));
        let sound = rate.map(|rate| {
            let sound = source();
            sound.set_caps(Some(&samples(rate)));
            let linked =
                pipeline.add(&sound).and_then(|()| sound.link_pads(Some("src"), &muxer, Some("audio_%u")));
            linked.map(|()| sound)
        });
        let sound = sound.transpose().map_err(|error| CaptureError::GStreamer(error.to_string()))?;
        let full = Arc::new(AtomicBool::new(false));
        // Above the muxer: what is dropped on a pad that takes it makes GStreamer complain.
        let above = muxer.sink_pads().into_iter().filter_map(|pad| pad.peer());
        above.for_each(|pad| bound(&pad, &taken, most, &full));
        let path = path.to_owned();
        let (size, began, last) = (None, None, Instant::ZERO);
        let recorder = Self { path, lossless, pipeline, pictures, sound, size, began, last, full };
        recorder.pipeline.set_state(gst::State::Playing).map_err(|_| recorder.trouble())?;
        Ok(recorder)
    }

    /// Takes a picture.
    ///
    /// # Errors
    /// It is not of the size of the first, or writing fails or falls behind.
    pub fn see(&mut self, frame: &Frame) -> Result<(), CaptureError> {
        let size = *self.size.get_or_insert_with(|| {
            self.pictures.set_caps(Some(&picture(frame.size, self.lossless)));
            frame.size
        });
        if frame.size != size {
            let words = format!("the pictures changed from {size:?} to {:?}", frame.size);
            return Err(CaptureError::recording(&self.path, words, "record again"));
        }
        let began = *self.began.get_or_insert(frame.captured);
        self.last = frame.captured;
        let pixels =
            frame.rgb.as_chunks::<3>().0.iter().flat_map(|[red, green, blue]| [*blue, *green, *red, 0]);
        self.push(&self.pictures, pixels.collect(), frame.captured.since(began))
    }

    /// Takes sound; what lies before the first picture is left out.
    ///
    /// # Errors
    /// Writing fails or falls behind.
    pub fn hear(&mut self, block: &Samples) -> Result<(), CaptureError> {
        let Some((sound, began)) = self.sound.as_ref().zip(self.began) else { return Ok(()) };
        if block.captured < began {
            return Ok(());
        }
        let bytes = block.mono.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        self.push(sound, bytes, block.captured.since(began))
    }

    /// From the first picture to the last.
    pub fn length(&self) -> Duration {
        self.began.map_or(Duration::ZERO, |began| self.last.since(began))
    }

    /// Whether the file is as large as it may become; what else is recorded is left out.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Size of the pictures; `None` before the first.
    pub fn size(&self) -> Option<Size> {
        self.size
    }

    /// Writes what waits, and the index.
    ///
    /// # Errors
    /// Writing fails, or takes longer than 20 s.
    pub fn finish(self) -> Result<(), CaptureError> {
        for source in [Some(&self.pictures), self.sound.as_ref()].into_iter().flatten() {
            source.end_of_stream().map_err(|_| self.trouble())?;
        }
        let ends = [gst::MessageType::Eos, gst::MessageType::Error];
        let end = self.pipeline.bus().and_then(|bus| bus.timed_pop_filtered(CLOSE, &ends));
        match end.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Eos(_)) => Ok(()),
            Some(gst::MessageView::Error(error)) => {
                Err(CaptureError::recording(&self.path, error.error().message(), ROOM))
            }
            _ => Err(CaptureError::recording(&self.path, "the disk does not take it in time", ROOM)),
        }
    }

    fn push(&self, source: &gst_app::AppSrc, bytes: Vec<u8>, at: Duration) -> Result<(), CaptureError> {
        if source.current_level_bytes() > MOST_WAITING {
            let words = "this machine is too slow to record so much";
            return Err(CaptureError::recording(&self.path, words, "set a lower [camera] rate"));
        }
        let mut buffer = gst::Buffer::from_mut_slice(bytes);
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(gst::ClockTime::try_from(at).ok());
        }
        source.push_buffer(buffer).map(drop).map_err(|_| self.trouble())
    }

    /// What the pipeline reports.
    fn trouble(&self) -> CaptureError {
        let error = self.pipeline.bus().and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
        match error.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Error(error)) => {
                CaptureError::recording(&self.path, error.error().message(), ROOM)
            }
            _ => CaptureError::recording(&self.path, "GStreamer stopped writing", ROOM),
        }
    }
}

/// Why there can be no new file at `path`.
fn refused(path: &Path, error: &io::Error) -> CaptureError {
    let told = |reason, cure| CaptureError::recording(path, reason, cure);
    match error.kind() {
        _ if path.is_dir() => told("is a folder", "name a file in it with --out"),
        io::ErrorKind::AlreadyExists => told("is there already", "name another file with --out"),
        io::ErrorKind::NotFound => told("its folder is not there", "make it, or name another with --out"),
        _ => CaptureError::recording(path, error, "name a file that can be written with --out"),
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.pipeline.set_state(gst::State::Null).ok();
    }
}

/// Lets encoded pictures and sound through until the file is full, with what the container adds to them.
fn bound(pad: &gst::Pad, taken: &Arc<AtomicU64>, most: u64, full: &Arc<AtomicBool>) {
    let (taken, full, most) = (Arc::clone(taken), Arc::clone(full), most.saturating_sub(FRAME + most / 20));
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let bytes = info.buffer().map_or(0, |buffer| buffer.size() as u64);
        if full.load(Ordering::Relaxed) || taken.fetch_add(bytes, Ordering::Relaxed) + bytes > most {
            full.store(true, Ordering::Relaxed);
            return gst::PadProbeReturn::Drop;
        }
        gst::PadProbeReturn::Ok
    });
}

fn source() -> gst_app::AppSrc {
    gst_app::AppSrc::builder().format(gst::Format::Time).max_bytes(MOST_WAITING).build()
}

/// Whether a muxer takes what is encoded so.
fn holds(muxer: &gst::Element, lossless: Lossless) -> bool {
    let encoded = gst::Caps::new_empty_simple(lossless.media);
    muxer.pad_template_list().iter().any(|template| template.caps().can_intersect(&encoded))
}

fn picture(size: Size, lossless: Lossless) -> gst::Caps {
    let caps = gst::Caps::builder("video/x-raw").field("format", lossless.format);
    let caps = caps.field("width", size.width as i32).field("height", size.height as i32);
    caps.field("framerate", gst::Fraction::new(RATE, 1)).build()
}

fn samples(rate: u32) -> gst::Caps {
    let caps = gst::Caps::builder("audio/x-raw").field("format", "F32LE").field("layout", "interleaved");
    caps.field("rate", rate as i32).field("channels", 1).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beside tests/record.rs, which holds it to whichever of the two this GStreamer has.
    #[test]
    fn an_older_gstreamer_loses_no_bit_of_a_picture_either() {
        crate::capture::init().expect("GStreamer");
        let folder = tempfile::tempdir().expect("a folder");
        let (file, size, mut random) =
            (folder.path().join("old.mkv"), Size::new(37, 23), fastrand::Rng::with_seed(3));
        let rgb: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(37 * 23 * 3).collect();
        let muxer = make("matroskamux").expect("Matroska");
        let mut recorder = Recorder::with(HUFFYUV, muxer, &file, None, u64::MAX).expect("a new file");
        let times =
            [0, 90, 210, 300, 1_400].map(|milliseconds| Instant::from_nanos(milliseconds * 1_000_000));
        for captured in times {
            recorder.see(&Frame { captured, size, source: size, rgb: rgb.clone() }).expect("room");
        }
        recorder.finish().expect("a whole file");
        let read: Vec<Frame> =
            crate::capture::read_pictures(&file, None).expect("pictures").flatten().collect();
        assert_eq!(read.iter().map(|frame| frame.captured).collect::<Vec<_>>(), times);
        assert!(read.iter().all(|frame| frame.size == size && frame.rgb == rgb));
    }
}
