//! What the capture tests share: clips made on the spot, configurations, and a receiver that collects.
#![allow(dead_code, reason = "every test file uses a part")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant as Moment};

use gstreamer as gst;
use gstreamer::prelude::*;
use tvsl::capture::{self, Capture, CaptureError, Pace, Wanted};
use tvsl::config::{self, CameraSource, Channel, MicrophoneSource, Transport};
use tvsl::frame::{Frame, Samples};
use tvsl::geometry::{Fit, Size};
use tvsl::queue::{self, Limits, Receiver, Sense, Sensed};

pub const RATE: u32 = 16_000;

/// A folder of one test's own, removed with the value.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tvsl-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.join(name);
        std::fs::write(&path, bytes).expect("a temporary file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

pub fn camera(source: CameraSource) -> config::Camera {
    config::Camera {
        lens: config::Config::default().camera.lens,
        source,
        rate: f64::INFINITY,
        throttled_rate: 0.0,
        stall: Duration::from_secs(5),
        frozen: Duration::ZERO,
        v4l2: config::V4l2 { device: "/dev/video-none".into(), width: 0, height: 0, framerate: 0.0 },
        csi: config::Csi { sensor: 0, width: 1280, height: 720, framerate: 30.0 },
        rtsp: config::Rtsp { url: String::new(), transport: Transport::Tcp, latency_ms: 50 },
        file: config::MediaFile { path: PathBuf::new(), repeat: false },
        test: config::TestPicture { pattern: "flash".into(), width: 320, height: 180 },
        pipeline: config::Pipeline { launch: String::new() },
    }
}

pub fn clip(path: &Path) -> config::Camera {
    let mut camera = camera(CameraSource::File);
    camera.file.path = path.to_owned();
    camera
}

pub fn microphone(source: MicrophoneSource) -> config::Microphone {
    let (device, channel) = ("default".into(), Channel::Mix);
    config::Microphone { source, alsa: config::Alsa { device, rate: 0, channels: 0, channel } }
}

pub fn wanted() -> Wanted {
    Wanted { fitting: Arc::new(|source| Fit::letterbox(source, 32, 84)), rate: RATE, most: None }
}

pub fn start(
    camera: &config::Camera,
    microphone: &config::Microphone,
    pace: Pace,
) -> Result<(Capture, Receiver), CaptureError> {
    start_with(Limits::default(), camera, microphone, pace)
}

/// With room for all of a live stream, so that nothing is shed however late a busy machine takes it.
pub fn start_roomy(
    camera: &config::Camera,
    microphone: &config::Microphone,
    pace: Pace,
) -> Result<(Capture, Receiver), CaptureError> {
    start_with(Limits { frames: 1000, sound: Duration::from_secs(60) }, camera, microphone, pace)
}

fn start_with(
    limits: Limits,
    camera: &config::Camera,
    microphone: &config::Microphone,
    pace: Pace,
) -> Result<(Capture, Receiver), CaptureError> {
    let (sender, receiver) = queue::bounded(limits, pace.policy());
    capture::start(camera, microphone, &wanted(), pace, sender).map(|capture| (capture, receiver))
}

/// Everything that came, in order within each sense, and how each sense ended.
#[derive(Default)]
pub struct Heard {
    pub frames: Vec<Frame>,
    pub sound: Vec<Samples>,
    pub ends: Vec<Sense>,
    pub faults: Vec<(Sense, String)>,
}

impl Heard {
    pub fn samples(&self) -> usize {
        self.sound.iter().map(|block| block.mono.len()).sum()
    }

    pub fn over(&self) -> bool {
        self.ends.len() + self.faults.len() == 2
    }

    pub fn take(&mut self, item: Sensed) {
        match item {
            Sensed::Frame(frame) => self.frames.push(frame),
            Sensed::Sound(block) => self.sound.push(block),
            Sensed::End(sense) => self.ends.push(sense),
            Sensed::Fault(sense, error) => self.faults.push((sense, error.to_string())),
        }
    }
}

/// Receives until `enough`, both senses are over, or 20 s have passed (which fails).
pub fn collect(receiver: &Receiver, mut enough: impl FnMut(&Heard) -> bool) -> Heard {
    let (mut heard, began) = (Heard::default(), Moment::now());
    while !enough(&heard) && !heard.over() {
        assert!(began.elapsed() < Duration::from_secs(20), "nothing more came");
        if let Ok(item) = receiver.recv(Duration::from_millis(100)) {
            heard.take(item);
        }
    }
    heard
}

/// Runs a launch line to its end. In an element named `picture` the first tenth of every second becomes
/// white, in one named `sound` (S16, stereo, 48 kHz) its first 10 ms become a square wave of 1 kHz.
pub fn make(line: &str, file: &Path) {
    capture::init().expect("GStreamer");
    let line = format!("{line} location={}", file.display());
    let pipeline = gst::parse::launch(&line).expect("a launch line");
    let pipeline = pipeline.downcast::<gst::Pipeline>().expect("a pipeline");
    alter(&pipeline, "picture", |at, bytes| {
        if at % 1_000_000_000 < 100_000_000 {
            bytes.fill(255);
        }
    });
    alter(&pipeline, "sound", |at, bytes| {
        for (i, frame) in (0..).zip(bytes.chunks_exact_mut(4)) {
            let since = (at + i * 1_000_000_000 / 48_000) % 1_000_000_000;
            if since < 10_000_000 {
                let level = if since / 500_000 % 2 == 0 { [0, 0x60] } else { [0, 0xa0] };
                frame.copy_from_slice(&[level, level].concat());
            }
        }
    });
    pipeline.set_state(gst::State::Playing).expect("a pipeline that plays");
    let bus = pipeline.bus().expect("a bus");
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let last = bus.timed_pop_filtered(gst::ClockTime::from_seconds(20), &ends).expect("an end");
    pipeline.set_state(gst::State::Null).expect("a pipeline that stops");
    assert_eq!(last.type_(), gst::MessageType::Eos, "{last:?}");
}

fn alter(pipeline: &gst::Pipeline, element: &str, change: fn(u64, &mut [u8])) {
    let Some(pad) = pipeline.by_name(element).and_then(|element| element.static_pad("src")) else { return };
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data {
            let at = buffer.pts().expect("a stamp").nseconds();
            let buffer = buffer.make_mut();
            buffer.unset_flags(gst::BufferFlags::GAP); // it said that it holds silence
            change(at, &mut buffer.map_writable().expect("memory"));
        }
        gst::PadProbeReturn::Ok
    });
}

/// `seconds` of black at 25 a second, white for the first tenth of each second, as Motion-JPEG.
///
/// As cameras have it: of JPEG that holds RGB, GStreamer 1.20 decodes one picture and no other.
pub fn flashes(seconds: u32) -> String {
    format!(
        "videotestsrc pattern=black num-buffers={} ! video/x-raw,format=RGB,width=320,height=180,framerate=25/1 \
         ! identity name=picture ! videoconvert ! video/x-raw,format=I420",
        25 * seconds
    )
}

/// `seconds` of stereo at 48 kHz, a click as each second begins.
pub fn clicks(seconds: u32) -> String {
    format!(
        "audiotestsrc wave=silence samplesperbuffer=480 num-buffers={} ! \
         audio/x-raw,format=S16LE,rate=48000,channels=2 ! identity name=sound ! audioconvert",
        100 * seconds
    )
}

/// A Matroska clip with both, undamaged by coding.
pub fn flash_and_click(file: &Path, seconds: u32) {
    let (flashes, clicks) = (flashes(seconds), clicks(seconds));
    make(
        &format!("{flashes} ! jpegenc ! queue ! m. {clicks} ! queue ! m. matroskamux name=m ! filesink"),
        file,
    );
}

/// Seconds at which the picture turns from dark to light.
pub fn flash_times(heard: &Heard) -> Vec<f64> {
    let light =
        |frame: &Frame| frame.rgb.iter().map(|v| u64::from(*v)).sum::<u64>() > frame.rgb.len() as u64 * 128;
    let mut dark = false;
    let mut times = Vec::new();
    for frame in &heard.frames {
        let now = light(frame);
        if now && std::mem::replace(&mut dark, !now) {
            times.push(frame.captured.as_secs_f64());
        }
        dark = !now;
    }
    times
}

/// Seconds at which a click begins after at least 100 ms of quiet.
pub fn click_times(heard: &Heard) -> Vec<f64> {
    let mut last_loud = f64::NEG_INFINITY;
    let mut times = Vec::new();
    for block in &heard.sound {
        for (i, _) in block.mono.iter().enumerate().filter(|(_, v)| v.abs() > 0.1) {
            let at = block.captured.as_secs_f64() + i as f64 / f64::from(block.rate);
            if at - last_loud > 0.1 {
                times.push(at);
            }
            last_loud = at;
        }
    }
    times
}

/// Asserts that every flash has its click within `limit` seconds; at least `least` pairs. Gives how far they are apart at worst.
pub fn assert_paired(heard: &Heard, limit: f64, least: usize) -> f64 {
    let (flashes, clicks) = (flash_times(heard), click_times(heard));
    let end = heard.sound.last().map_or(0.0, |block| block.end().as_secs_f64());
    let apart = |at: &f64| clicks.iter().map(|click| (click - at).abs()).fold(f64::INFINITY, f64::min);
    let heard_flashes: Vec<_> = flashes.iter().filter(|at| **at + limit < end).collect();
    let worst = heard_flashes.iter().map(|at| apart(at)).fold(0.0, f64::max);
    println!("{} flashes, {} clicks, worst {:.1} ms apart", heard_flashes.len(), clicks.len(), worst * 1e3);
    assert!(heard_flashes.len() >= least && worst <= limit, "flashes {flashes:?}, clicks {clicks:?}");
    worst
}

/// The size of pictures of 16:9 in the default model's grid.
pub const WIDE: Size = Size::new(384, 216);

/// Descriptors and threads of this process.
pub fn held() -> [usize; 2] {
    ["/proc/self/fd", "/proc/self/task"].map(|folder| std::fs::read_dir(folder).expect("a Linux").count())
}
