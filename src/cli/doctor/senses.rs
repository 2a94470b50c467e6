//! Camera and microphone: opened for some seconds, and measured.

use std::sync::Arc;
use std::time::Duration;

use super::Check;
use super::offset::median;
use crate::analysis::Analysis;
use crate::capture::{self, CaptureError, Pace, Rate, Wanted};
use crate::clock::{Clock, Instant, SystemClock};
use crate::config::{Config, MicrophoneSource};
use crate::frame::{Frame, Samples};
use crate::geometry::{Fit, Size};
use crate::queue::{self, Limits, Receiver, Sensed};

/// How long is looked and listened.
const SPAN: Duration = Duration::from_secs(3);
/// How long is listened to what was silent so far: a clip may begin with silence.
const HEARING: Duration = Duration::from_secs(15);
/// How long, while somebody claps.
pub(super) const CLAPPING: Duration = Duration::from_secs(10);
/// A picture in which hardly a pixel exceeds this (of 255) shows a covered lens or a dark room.
const DARK: u8 = 24;
/// Samples from this level on count as clipped.
const CLIPPED: f32 = 0.999;
/// A peak below this (dBFS) is a microphone that is muted or turned down.
const FAINT: f32 = -70.0;

/// Looks and listens; one check each for camera and microphone, and one for both together, with another one if somebody claps
/// meanwhile.
pub(super) fn checks(config: &Config, analysis: Option<&Analysis>, claps: bool) -> Vec<Check> {
    let wanted = wanted(analysis);
    let pace = Pace::of(&config.camera);
    let (sender, receiver) = queue::bounded(Limits::default(), pace.policy());
    let media = config.microphone.source == MicrophoneSource::Media;
    let eye = capture::open_camera(&config.camera, media, &wanted, pace, &sender);
    let alsa = config.microphone.source == MicrophoneSource::Alsa;
    let ear = alsa.then(|| capture::open_microphone(&config.microphone.alsa, wanted.rate, &sender));
    drop(sender);
    let found = gather(&receiver, if claps { CLAPPING } else { SPAN });
    let seen = match &eye {
        Ok(_) => found.picture(config),
        Err(error) => Check::device("camera", error),
    };
    let heard = match (config.microphone.source, &ear, &eye) {
        (MicrophoneSource::None, ..) => Check::warning(
            "microphone",
            "none is configured, so nothing is ever reported",
            "set [microphone] source",
        ),
        (_, Some(Err(error)), _) => Check::device("microphone", error),
        (MicrophoneSource::Media, _, Err(_)) => {
            Check::skipped("microphone", "its sound comes with the camera's")
        }
        _ => found
            .sound(config.microphone.source, ear.iter().flatten().map(capture::Microphone::overruns).sum()),
    };
    let mut checks = vec![seen, heard, found.arrival(config)];
    checks.extend(claps.then(|| found.offset()));
    checks
}

fn wanted(analysis: Option<&Analysis>) -> Wanted {
    let fitting = analysis.map(|analysis| analysis.model().manifest().image.clone());
    Wanted {
        fitting: Arc::new(move |size| match &fitting {
            Some(image) => image.fit(size),
            None => Fit::letterbox(size, 32, 84),
        }),
        rate: analysis.map_or(16_000, |analysis| analysis.model().sample_rate()),
        // The camera's own rate is measured, and not what is left of it for the analysis.
        most: Some(Rate::new(f64::INFINITY)),
    }
}

/// What came in, each item with the time of its arrival.
#[derive(Default)]
struct Found {
    span: Duration,
    frames: Vec<(Instant, Frame)>,
    sound: Vec<(Instant, Samples)>,
    fault: Option<String>,
    /// Whether any sample was not 0.
    loud: bool,
}

fn gather(receiver: &Receiver, span: Duration) -> Found {
    let (clock, mut found) = (SystemClock::new(), Found { span, ..Found::default() });
    let began = clock.now();
    loop {
        let left = (began + found.patience()).since(clock.now());
        let enough = clock.now().since(began) >= span;
        match receiver.recv(left) {
            Ok(Sensed::Frame(frame)) if !enough => found.frames.push((clock.now(), frame)),
            Ok(Sensed::Frame(_)) => {}
            Ok(Sensed::Sound(sound)) => {
                found.loud |= sound.mono.iter().any(|sample| *sample != 0.0);
                found.sound.push((clock.now(), sound));
            }
            Ok(Sensed::Fault(_, error)) => found.fault = Some(error.to_string()),
            Ok(Sensed::End(_)) => {}
            Err(_) => return found,
        }
        if left.is_zero() {
            return found;
        }
    }
}

impl Found {
    /// How long is looked and listened: longer if nothing but zeros was heard.
    fn patience(&self) -> Duration {
        if self.sound.is_empty() || self.loud { self.span } else { self.span.max(HEARING) }
    }

    /// How much was heard.
    fn heard(&self) -> f64 {
        self.sound.iter().map(|(_, block)| block.duration().as_secs_f64()).sum()
    }

    fn picture(&self, config: &Config) -> Check {
        const STAGE: &str = "camera";
        let (Some((_, first)), Some((_, last))) = (self.frames.first(), self.frames.last()) else {
            let found =
                self.fault.clone().unwrap_or_else(|| format!("no picture in {} s", self.span.as_secs()));
            return Check::failed(STAGE, found, "check its cable, and that nothing else uses it");
        };
        let Size { width, height } = first.source;
        let span = last.captured.seconds_from(first.captured);
        let rate = (self.frames.len() - 1) as f64 / span.max(1e-3);
        let about = format!("{width} x {height}, {rate:.1} pictures/s");
        if let Some(fault) = &self.fault {
            return Check::failed(STAGE, format!("{about}, then: {fault}"), "check its cable and its power");
        }
        if rate < 0.8 * config.camera.rate && span > 1.0 {
            let cure = "more light (cameras slow down in the dark), a faster mode (`tvsl devices`), or a lower [camera] rate";
            return Check::warning(STAGE, format!("{about}; {} are asked for", config.camera.rate), cure);
        }
        if dark(last) {
            return Check::warning(
                STAGE,
                format!("{about}; the picture is black"),
                "uncover the lens, or light the room",
            );
        }
        if self.frames.len() > 10 && self.frames.iter().all(|(_, frame)| frame.rgb == first.rgb) {
            let cure = "a real camera is never so quiet: plug it in again, or restart its stream";
            return Check::warning(STAGE, format!("{about}; every picture is the same"), cure);
        }
        Check::ok(STAGE, about)
    }

    fn sound(&self, source: MicrophoneSource, overruns: u64) -> Check {
        const STAGE: &str = "microphone";
        let samples: Vec<f32> = self.sound.iter().flat_map(|(_, block)| block.mono.iter().copied()).collect();
        if samples.is_empty() {
            let found =
                self.fault.clone().unwrap_or_else(|| format!("no sound in {} s", self.span.as_secs()));
            let cure = match source {
                MicrophoneSource::Alsa => "try it with `arecord -D DEVICE -d 3 /dev/null`",
                _ => {
                    "check that the camera's file or stream carries sound, or set [microphone] source = \"alsa\""
                }
            };
            return Check::failed(STAGE, found, cure);
        }
        let power = samples.iter().map(|v| f64::from(v * v)).sum::<f64>() / samples.len() as f64;
        let peak = samples.iter().fold(0f32, |most, v| most.max(v.abs()));
        let clipped = samples.iter().filter(|v| v.abs() >= CLIPPED).count();
        let about = format!("level {:.0} dBFS, peak {:.0} dBFS", dbfs(power.sqrt() as f32), dbfs(peak));
        if peak == 0.0 {
            let cure = match source {
                MicrophoneSource::Alsa => {
                    "unmute it and turn capture up with `alsamixer -V capture`; check that it is plugged in"
                }
                _ => "switch the camera's own microphone on, or set [microphone] source = \"alsa\"",
            };
            let found = format!("digital silence: every sample of {:.0} s is 0", self.heard());
            return Check::failed(STAGE, found, cure);
        }
        if dbfs(peak) < FAINT {
            return Check::warning(
                STAGE,
                format!("{about}: next to nothing"),
                "turn capture up with `alsamixer -V capture`",
            );
        }
        if clipped * 1000 > samples.len() {
            return Check::warning(
                STAGE,
                format!("{about}: too loud, it clips"),
                "turn capture down with `alsamixer -V capture`",
            );
        }
        if overruns > 0 {
            let cure = "this machine is too busy to record: lower [camera] rate or stop other programs";
            return Check::warning(STAGE, format!("{about}; sound was lost {overruns} times"), cure);
        }
        Check::ok(STAGE, about)
    }

    /// Whether the sound of a moment arrives in time for its picture, by the stamps of both.
    fn arrival(&self, config: &Config) -> Check {
        const STAGE: &str = "arrival";
        let frames = self.frames.iter().map(|(arrived, frame)| arrived.seconds_from(frame.captured));
        let sound = self.sound.iter().map(|(arrived, block)| arrived.seconds_from(block.end()));
        let (Some(seen), Some(heard)) = (median(frames), median(sound)) else {
            return Check::skipped(STAGE, "needs a picture and sound");
        };
        let ms = |seconds: f64| (seconds * 1e3).round();
        let about = format!("pictures arrive {} ms after their moment, sound {} ms", ms(seen), ms(heard));
        let wait = config.window.wait.as_secs_f64();
        if heard - seen > wait {
            let cure = format!("set [window] wait to {:.1}", heard - seen + 0.1);
            return Check::warning(STAGE, format!("{about}: pictures are judged without their sound"), cure);
        }
        Check::ok(STAGE, about)
    }

    /// Whether the stamps themselves are right, by what claps look and sound like.
    fn offset(&self) -> Check {
        if self.frames.is_empty() || self.sound.is_empty() {
            return Check::skipped("offset", "needs a picture and sound");
        }
        let frames: Vec<&Frame> = self.frames.iter().map(|(_, frame)| frame).collect();
        Check::offset(super::offset::measure(&frames, self.sound.iter().map(|(_, block)| block)))
    }
}

fn dark(frame: &Frame) -> bool {
    let lit = frame.rgb.iter().filter(|value| **value > DARK).count();
    lit * 1000 < frame.rgb.len()
}

fn dbfs(level: f32) -> f32 {
    20.0 * level.max(1e-6).log10()
}

impl Check {
    /// A device that does not open; a busy one has a cure of its own.
    fn device(stage: &'static str, error: &CaptureError) -> Self {
        let busy = error.to_string().contains("busy");
        let check = Self::error(stage, error);
        if busy {
            Self { cure: Some("stop what uses it: `systemctl stop tvsl`".into()), ..check }
        } else {
            check
        }
    }
}
