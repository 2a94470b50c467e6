//! The pictures that the demonstration leaves: frames of the clip with what was told about them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::capture::{self, Pace, Wanted};
use crate::config::{CameraSource, Config, MicrophoneSource};
use crate::evaluate::clip::Truth;
use crate::frame::Frame;
use crate::geometry::{Fit, Rect, Size};
use crate::message::{Message, Sounding};
use crate::picture::{self, Canvas, Mark, colour};
use crate::queue::{self, Limits, Policy, Sensed};

/// Draws one picture in the middle of everything that is heard and seen, one just before its first
/// sound, and one of the moment with the most to tell, into `out`; tells how many.
pub(super) fn leave(truth: &Truth, messages: &[Message], start: f64, out: &Path) -> Result<usize, String> {
    let mut times: Vec<f64> = truth.visible().map(|i| (i.start + i.end) / 2.0).collect();
    times.push(truth.visible().map(|i| i.start).fold(f64::INFINITY, f64::min) / 2.0);
    let fullest = messages.iter().max_by_key(|message| message.detections.len());
    times.extend(fullest.map(|message| message.frame.captured - start));
    times.sort_by(f64::total_cmp);
    times.dedup_by(|a, b| (*a - *b).abs() < 0.5);
    let frames = frames_at(&truth.clip, &times)?;
    for (frame, time) in frames.iter().zip(&times) {
        let told = told_at(messages, start, *time);
        let name = if told.is_empty() { "nothing".into() } else { names(&told) };
        let mut canvas = Canvas::new(frame.size, frame.rgb.clone());
        picture::draw_marks(&mut canvas, &marks(&told));
        picture::caption(&mut canvas, &format!("{time:.1} s"), &name);
        let file = format!("{time:04.1}s-{}.png", name.replace([' ', ','], "-").replace("--", "-"));
        picture::write_png(&canvas, &out.join(file)).map_err(|error| error.to_string())?;
    }
    Ok(frames.len())
}

/// What a subscriber had been told at that time of the clip.
fn told_at(messages: &[Message], start: f64, time: f64) -> Vec<&Sounding> {
    let near = |m: &&Message| (m.frame.captured - start - time).abs() < 0.11;
    let distance = |m: &&Message| ((m.frame.captured - start - time).abs() * 1e6) as u64;
    messages
        .iter()
        .filter(near)
        .min_by_key(distance)
        .map(|m| m.detections.iter().collect())
        .unwrap_or_default()
}

fn names(told: &[&Sounding]) -> String {
    told.iter().map(|s| s.label.as_str()).collect::<Vec<_>>().join(", ")
}

fn marks(told: &[&Sounding]) -> Vec<Mark> {
    let mark = |(n, s): (usize, &&Sounding)| {
        let [x0, y0, x1, y1] = s.region.rect;
        Mark {
            rect: Rect { x0, y0, x1, y1 },
            peak: (s.region.peak[0], s.region.peak[1]),
            colour: colour::of_class(n),
            title: format!("{} {:.0} %", s.label, s.p * 100.0),
            detail: format!("heard {:.0} %, seen {:.0} %", s.p_audio * 100.0, s.p_visual * 100.0),
        }
    };
    told.iter().enumerate().map(mark).collect()
}

/// The first frame at or after each of these times, which rise, in full size.
fn frames_at(clip: &Path, times: &[f64]) -> Result<Vec<Frame>, String> {
    let mut config = Config::default();
    config.camera.source = CameraSource::File;
    config.camera.file.path = clip.into();
    config.microphone.source = MicrophoneSource::None;
    let whole = |size: Size| Fit { rows: 1, columns: 1, input: size, picture: size, left: 0, top: 0 };
    let wanted = Wanted { fitting: Arc::new(whole), rate: 16_000, most: None };
    let (sender, receiver) = queue::bounded(Limits::default(), Policy::Wait);
    let capture = capture::start(&config.camera, &config.microphone, &wanted, Pace::Fast, sender)
        .map_err(|error| error.to_string())?;
    let mut frames = Vec::new();
    while frames.len() < times.len() {
        match receiver.recv(Duration::from_secs(10)) {
            Ok(Sensed::Frame(frame)) if frame.captured.as_secs_f64() >= times[frames.len()] => {
                frames.push(frame)
            }
            Ok(Sensed::Frame(_) | Sensed::Sound(_)) => {}
            Ok(Sensed::Fault(_, error)) => return Err(error.to_string()),
            Ok(Sensed::End(queue::Sense::Microphone)) => {}
            Ok(Sensed::End(queue::Sense::Camera)) | Err(_) => break,
        }
    }
    drop((receiver, capture));
    Ok(frames)
}
