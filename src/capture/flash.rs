//! The test camera: a pattern of `videotestsrc`, or `flash`, white for the first tenth of every
//! second; and the sound that goes with it, a beep as every second begins.

use gstreamer as gst;
use gstreamer::prelude::*;

use super::error::CaptureError;
use super::link::{chain, make, only};
use crate::config::TestPicture;

/// The pattern that `videotestsrc` lacks.
const FLASH: &str = "flash";
/// Pictures in a second.
const RATE: i32 = 30;
/// How long a flash lasts, in nanoseconds.
const LIGHT: u64 = 100_000_000;
/// How long a beep of 1 kHz lasts, in nanoseconds.
const BEEP: u64 = 20_000_000;
const SECOND: u64 = 1_000_000_000;
/// Samples in a second of the test sound.
const SAMPLES: u64 = 16_000;

/// The test picture, 30 a second.
pub(super) fn picture(
    camera: &TestPicture,
    pipeline: &gst::Bin,
    live: bool,
) -> Result<gst::Element, CaptureError> {
    let source = make("videotestsrc")?;
    source.set_property("is-live", live);
    let flash = camera.pattern == FLASH;
    set_pattern(&source, if flash { "black" } else { &camera.pattern })?;
    let caps = gst::Caps::builder("video/x-raw")
        .field("format", if flash { "RGB" } else { "I420" })
        .field("width", camera.width as i32)
        .field("height", camera.height as i32)
        .field("framerate", gst::Fraction::new(RATE, 1))
        .build();
    let filter = only(caps)?;
    chain(pipeline, &[source, filter.clone()])?;
    if flash {
        alter(&filter, lighten);
    }
    Ok(filter)
}

/// The test sound: silence, and a beep as every second begins.
pub(super) fn sound(pipeline: &gst::Bin, live: bool) -> Result<gst::Element, CaptureError> {
    let source = make("audiotestsrc")?;
    source.set_property("is-live", live);
    source.set_property_from_str("wave", "silence");
    source.set_property("samplesperbuffer", SAMPLES as i32 / 50);
    let caps = gst::Caps::builder("audio/x-raw")
        .field("format", "F32LE")
        .field("rate", SAMPLES as i32)
        .field("channels", 1)
        .build();
    let filter = only(caps)?;
    chain(pipeline, &[source, filter.clone()])?;
    alter(&filter, beep);
    Ok(filter)
}

/// Has every buffer that leaves `filter` altered, given its time in nanoseconds.
fn alter(filter: &gst::Element, change: fn(u64, &mut [u8])) {
    let Some(pad) = filter.static_pad("src") else { return };
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data
            && let Some(at) = buffer.pts()
        {
            let buffer = buffer.make_mut();
            buffer.unset_flags(gst::BufferFlags::GAP); // the source says that it holds silence
            if let Ok(mut bytes) = buffer.map_writable() {
                change(at.nseconds(), &mut bytes);
            }
        }
        gst::PadProbeReturn::Ok
    });
}

fn lighten(at: u64, picture: &mut [u8]) {
    if at % SECOND < LIGHT {
        picture.fill(255);
    }
}

fn beep(at: u64, sound: &mut [u8]) {
    for (i, sample) in (0u64..).zip(sound.as_chunks_mut::<4>().0) {
        let since = (at + i * SECOND / SAMPLES) % SECOND;
        if since < BEEP {
            let wave = (since as f64 * 1e-9 * 1000.0 * std::f64::consts::TAU).sin() / 2.0;
            *sample = (wave as f32).to_le_bytes();
        }
    }
}

fn set_pattern(source: &gst::Element, pattern: &str) -> Result<(), CaptureError> {
    let kinds = source.property_type("pattern").and_then(gst::glib::EnumClass::with_type);
    let known = kinds.map(|c| c.values().iter().map(|v| v.nick().to_owned()).collect::<Vec<_>>());
    let known = known.unwrap_or_default();
    if known.iter().any(|nick| nick == pattern) {
        source.set_property_from_str("pattern", pattern);
        return Ok(());
    }
    Err(CaptureError::Setting {
        key: "camera.test.pattern",
        reason: format!("\"{pattern}\" is unknown"),
        cure: format!("expected {FLASH}, {}", known.join(", ")),
    })
}
