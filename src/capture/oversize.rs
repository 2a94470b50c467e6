//! The largest picture that is taken, of files and streams alike.

use std::sync::atomic::{AtomicBool, Ordering};

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::geometry::Size;

/// Pictures of more pixels are refused: the decoder alone would take up to a gigabyte for one.
const MOST_PIXELS: u64 = 64 << 20;
/// Posted on the bus of a pipeline whose source shows larger ones.
const TOLD: &str = "tvsl-oversize";

/// Whether pictures of this size are refused.
pub(super) fn is_refused(Size { width, height }: Size) -> bool {
    u64::from(width) * u64::from(height) > MOST_PIXELS
}

/// What is wrong with pictures of this size.
pub(super) fn reason(Size { width, height }: Size) -> String {
    format!("has {width} x {height} pixels, expected at most {MOST_PIXELS} (64 Mi)")
}

/// What to do about a picture in a file.
pub(super) fn cure_of_picture(name: &str) -> String {
    format!(
        "`convert '{name}[0]' -auto-orient -resize 4096x4096 picture.jpg` (package imagemagick) makes a smaller one"
    )
}

/// What to do about a film.
pub(super) fn cure_of_film(name: &str) -> String {
    format!("`ffmpeg -i '{name}' -vf scale=1920:-2 smaller.mkv` (package ffmpeg) makes a smaller one")
}

/// What to do about a live camera.
pub(super) const CURE_OF_CAMERA: &str =
    "set a smaller picture in the camera's own settings, or in its section of [camera]";

/// Whether these caps, raw or still encoded, say that the pictures are refused; it is then told on the bus of `bin`.
pub(super) fn tell(caps: &gst::CapsRef, bin: &gst::Bin) -> bool {
    let Some(size) = stored(caps).filter(|size| is_refused(*size)) else { return false };
    let sides = gst::Structure::builder(TOLD).field("width", size.width).field("height", size.height);
    bin.post_message(gst::message::Application::new(sides.build())).ok();
    true
}

/// The size that was told by a message, if it is such a one.
pub(super) fn told(message: &gst::MessageRef) -> Option<Size> {
    let sides = message.structure().filter(|structure| structure.name() == TOLD)?;
    Some(Size::new(sides.get("width").ok()?, sides.get("height").ok()?))
}

/// Lets no picture of `pad` pass from the first refused one on.
pub(super) fn bound(pad: &gst::Pad, bin: &gst::Bin) {
    let over = AtomicBool::new(pad.current_caps().is_some_and(|caps| tell(&caps, bin)));
    let bin = bin.downgrade();
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM | gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(event) = info.event()
            && let gst::EventView::Caps(caps) = event.view()
            && bin.upgrade().is_some_and(|bin| tell(caps.caps(), &bin))
        {
            over.store(true, Ordering::Relaxed);
        }
        let refused = over.load(Ordering::Relaxed) && info.buffer().is_some();
        if refused { gst::PadProbeReturn::Drop } else { gst::PadProbeReturn::Ok }
    });
}

/// The size at which pictures with these caps are stored, if they say it.
fn stored(caps: &gst::CapsRef) -> Option<Size> {
    let structure = caps.structure(0)?;
    let side = |name| structure.get::<i32>(name).ok().and_then(|side| u32::try_from(side).ok());
    Some(Size::new(side("width")?, side("height")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_of_64_mi_pixels_are_taken_and_larger_ones_are_not() {
        assert!(!is_refused(Size::new(8192, 8192)) && is_refused(Size::new(8192, 8193)));
        assert!(is_refused(Size::new(u32::MAX, u32::MAX)));
        gst::init().expect("GStreamer");
        let size = |caps: &str| stored(&caps.parse::<gst::Caps>().expect("caps"));
        assert_eq!(size("image/jpeg, width=16384, height=9"), Some(Size::new(16_384, 9)));
        assert_eq!(size("video/x-h264"), None, "not known yet");
    }
}
