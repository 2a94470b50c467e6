//! The test camera: a pattern of `videotestsrc`, or `flash`, white for the first tenth of every
//! second; and the sound that goes with it, a click as every second begins.

use gstreamer as gst;
use gstreamer::prelude::*;

use super::error::CaptureError;
use super::sources::{chain, make, only};
use crate::config::TestPicture;

/// The pattern that `videotestsrc` lacks.
const FLASH: &str = "flash";
/// Pictures in a second.
const RATE: i32 = 30;
/// How long a flash lasts.
const LIGHT: u64 = 100_000_000;
const SECOND: u64 = 1_000_000_000;

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
    if let (true, Some(pad)) = (flash, filter.static_pad("src")) {
        pad.add_probe(gst::PadProbeType::BUFFER, |_, info| {
            if let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data {
                lighten(buffer);
            }
            gst::PadProbeReturn::Ok
        });
    }
    Ok(filter)
}

/// The test sound: silence, and a click as every second begins.
pub(super) fn sound(pipeline: &gst::Bin, live: bool) -> Result<gst::Element, CaptureError> {
    let source = make("audiotestsrc")?;
    source.set_property("is-live", live);
    source.set_property_from_str("wave", "ticks");
    source.set_property("samplesperbuffer", 320i32);
    let caps = gst::Caps::builder("audio/x-raw").field("rate", 16_000).field("channels", 1).build();
    let filter = only(caps)?;
    chain(pipeline, &[source, filter.clone()])?;
    Ok(filter)
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
        key: "camera.test",
        reason: format!("pattern \"{pattern}\" is unknown"),
        cure: format!("expected {FLASH}, {}", known.join(", ")),
    })
}

fn lighten(buffer: &mut gst::Buffer) {
    let light = buffer.pts().is_some_and(|at| at.nseconds() % SECOND < LIGHT);
    if light && let Ok(mut bytes) = buffer.make_mut().map_writable() {
        bytes.fill(255);
    }
}
