//! What there is to see and hear with: cameras with their modes, sound cards with stable names.

use std::path::{Path, PathBuf};

use ::alsa::Direction;
use ::alsa::device_name::HintIter;
use gstreamer as gst;
use gstreamer::prelude::*;
use serde::Serialize;

use super::{CaptureError, init};

/// A camera that the system shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CameraFound {
    /// What its maker calls it.
    pub name: String,
    /// For `camera.v4l2.device`: the name that stays the same after replugging, if it has one.
    pub device: PathBuf,
    /// The device file that this is now.
    pub node: PathBuf,
    /// What it delivers.
    pub modes: Vec<Mode>,
}

/// The format of a bare sensor, such as a Jetson's CSI port shows under V4L2: its pictures have to be developed first.
pub(super) const BAYER: &str = "video/x-bayer";

impl CameraFound {
    /// Whether it is a sensor that `camera.source = "v4l2"` cannot use, and `"csi"` can.
    pub fn is_bare_sensor(&self) -> bool {
        let bayer = !self.modes.is_empty() && self.modes.iter().all(|mode| mode.format == BAYER);
        bayer || is_vi(&self.name)
    }
}

/// Whether a device of that name is a sensor at a Jetson's video input. GStreamer knows no word for pixels of 10 bits, so
/// such a one may seem to offer nothing.
pub(super) fn is_vi(name: &str) -> bool {
    name.starts_with("vi-output")
}

/// A way in which a camera delivers pictures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mode {
    /// `image/jpeg`, or the name of a raw format such as `YUY2`.
    pub format: String,
    /// Pixels across; the largest where the camera offers a range.
    pub width: u32,
    /// Pixels down; likewise.
    pub height: u32,
    /// Pictures in a second, fastest first; of a range its ends.
    pub framerates: Vec<f64>,
}

/// A capture device of ALSA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MicrophoneFound {
    /// For `microphone.alsa.device`.
    pub device: String,
    /// ALSA's words about it.
    pub description: String,
    /// Whether the name stays the same after replugging, because it names the card and not its number.
    pub stable: bool,
}

/// The Video4Linux2 cameras, in the order of their device files.
///
/// # Errors
/// [`CaptureError::GStreamer`] if GStreamer or its device monitor does not start.
pub fn cameras() -> Result<Vec<CameraFound>, CaptureError> {
    init()?;
    let monitor = gst::DeviceMonitor::new();
    monitor.add_filter(Some("Video/Source"), None);
    monitor.start().map_err(|error| CaptureError::GStreamer(error.to_string()))?;
    let mut found: Vec<CameraFound> = monitor.devices().iter().filter_map(camera).collect();
    monitor.stop();
    found.sort_by(|a, b| a.node.cmp(&b.node));
    found.dedup_by(|a, b| a.node == b.node);
    Ok(found)
}

fn camera(device: &gst::Device) -> Option<CameraFound> {
    let about = device.properties()?;
    let node = ["device.path", "api.v4l2.path"].iter().find_map(|key| about.get::<String>(*key).ok())?;
    let node = PathBuf::from(node);
    let modes = device.caps().map(|caps| modes(&caps)).unwrap_or_default();
    Some(CameraFound { name: device.display_name().into(), device: stable_name(&node), node, modes })
}

/// The link under `/dev/v4l` that leads to `node`; `node` itself if there is none.
fn stable_name(node: &Path) -> PathBuf {
    let folders = ["/dev/v4l/by-id", "/dev/v4l/by-path"];
    link_to(node, &folders.map(Path::new)).unwrap_or_else(|| node.to_owned())
}

/// The first link in `folders`, each in order of name, that leads to `node`.
fn link_to(node: &Path, folders: &[&Path]) -> Option<PathBuf> {
    let target = node.canonicalize().ok()?;
    folders.iter().find_map(|folder| {
        let mut links: Vec<PathBuf> = folder.read_dir().ok()?.flatten().map(|entry| entry.path()).collect();
        links.sort();
        links.into_iter().find(|link| link.canonicalize().is_ok_and(|path| path == target))
    })
}

/// The modes in `caps`, each once, largest first.
fn modes(caps: &gst::CapsRef) -> Vec<Mode> {
    let mut modes: Vec<Mode> = caps.iter().filter_map(mode).collect();
    modes.sort_by_key(|mode| std::cmp::Reverse(u64::from(mode.width) * u64::from(mode.height)));
    modes.dedup();
    modes
}

fn mode(structure: &gst::StructureRef) -> Option<Mode> {
    let raw = || structure.get::<&str>("format").unwrap_or("raw").to_owned();
    let format = if structure.name() == "video/x-raw" { raw() } else { structure.name().to_string() };
    let (width, height) = (side(structure, "width")?, side(structure, "height")?);
    Some(Mode { format, width, height, framerates: framerates(structure) })
}

fn side(structure: &gst::StructureRef, field: &str) -> Option<u32> {
    let range = |_| structure.get::<gst::IntRange<i32>>(field).map(|range| range.max());
    structure.get::<i32>(field).or_else(range).ok().and_then(|pixels| u32::try_from(pixels).ok())
}

/// Pictures in a second, fastest first; of a range its ends.
pub(super) fn framerates(structure: &gst::StructureRef) -> Vec<f64> {
    let rate = |fraction: gst::Fraction| f64::from(fraction.numer()) / f64::from(fraction.denom());
    let one = structure.get::<gst::Fraction>("framerate").map(|one| vec![one]);
    let range = |_| {
        let range = structure.get::<gst::FractionRange>("framerate");
        range.map(|range| vec![range.max(), range.min()])
    };
    let list = |_| {
        let list = structure.get::<gst::List>("framerate");
        list.map(|list| list.iter().filter_map(|value| value.get::<gst::Fraction>().ok()).collect())
    };
    let mut rates: Vec<f64> =
        one.or_else(range).or_else(list).unwrap_or_default().into_iter().map(rate).collect();
    rates.sort_by(|a, b| b.total_cmp(a));
    rates.dedup();
    rates
}

/// The devices that ALSA can record from, as `arecord -L` lists them.
pub fn microphones() -> Vec<MicrophoneFound> {
    let hints = HintIter::new_str(None, "pcm").into_iter().flatten();
    let captures = hints.filter(|hint| hint.direction != Some(Direction::Playback));
    let named = captures.filter_map(|hint| Some((hint.name?, hint.desc.unwrap_or_default())));
    named
        .filter(|(device, _)| device != "null")
        .map(|(device, description)| MicrophoneFound {
            stable: device.contains("CARD=") && !numbered(&device),
            description: description.replace('\n', ", "),
            device,
        })
        .collect()
}

/// Whether the card is named by its number, which changes with the order of plugging.
fn numbered(device: &str) -> bool {
    let card = device.split("CARD=").nth(1).unwrap_or_default();
    card.starts_with(|first: char| first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr;

    #[test]
    fn modes_are_read_from_single_values_lists_and_ranges() {
        gst::init().expect("GStreamer");
        let caps = gst::Caps::from_str(
            "video/x-raw, format=YUY2, width=640, height=480, framerate={ (fraction)15/1, (fraction)30/1 }; \
             image/jpeg, width=1280, height=720, framerate=30/1; \
             video/x-raw, format=NV12, width=[ 16, 1920 ], height=[ 16, 1080 ], framerate=[ 0/1, 60/1 ]",
        )
        .expect("caps");
        let mode = |format: &str, width, height, framerates: &[f64]| Mode {
            format: format.into(),
            width,
            height,
            framerates: framerates.into(),
        };
        let expected = [
            mode("NV12", 1920, 1080, &[60.0, 0.0]),
            mode("image/jpeg", 1280, 720, &[30.0]),
            mode("YUY2", 640, 480, &[30.0, 15.0]),
        ];
        assert_eq!(modes(&caps), expected);
    }

    #[test]
    fn a_bare_sensor_is_one_that_offers_nothing_else() {
        gst::init().expect("GStreamer");
        let bare = |caps: &str| {
            let modes = modes(&gst::Caps::from_str(caps).expect("caps"));
            let (name, device, node) = ("imx219".into(), "/dev/video0".into(), "/dev/video0".into());
            CameraFound { name, device, node, modes }.is_bare_sensor()
        };
        assert!(is_vi("vi-output, imx219 9-0010") && !is_vi("HD Pro Webcam C920"));
        let sensor = "video/x-bayer, format=rggb, width=3280, height=2464, framerate=21/1; \
                      video/x-bayer, format=rggb, width=1920, height=1080, framerate=30/1";
        assert!(bare(sensor));
        assert!(!bare(&format!("{sensor}; video/x-raw, format=YUY2, width=640, height=480, framerate=30/1")));
        assert!(!bare("image/jpeg, width=640, height=480, framerate=30/1") && !bare("EMPTY"));
    }

    #[test]
    fn a_stable_name_is_a_link_to_the_device_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let (node, links) = (folder.path().join("video3"), folder.path().join("by-id"));
        std::fs::write(&node, "").and_then(|()| std::fs::create_dir(&links)).expect("room for files");
        assert_eq!(link_to(&node, &[&links]), None);
        let link = links.join("usb-Webcam-index0");
        std::os::unix::fs::symlink("../video3", &link).expect("room for a link");
        assert_eq!(link_to(&node, &[&links]), Some(link));
        assert_eq!(link_to(&folder.path().join("video4"), &[&links]), None);
    }

    #[test]
    fn a_card_by_number_has_no_stable_name() {
        assert!(numbered("hw:CARD=1,DEV=0"));
        assert!(!numbered("plughw:CARD=Webcam,DEV=0"));
    }
}
