//! The cameras: a few elements each, left open where the shared picture and sound branches begin.

use std::path::{Path, PathBuf};

use gstreamer as gst;
use gstreamer::prelude::*;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::error::CaptureError;
use super::link::{chain, make, only};
use super::rate::Rate;
use super::still::Still;
use super::{extent, flash, list, mode, oversize};
use crate::config::{self, CameraSource, Transport};

/// An opened source inside a pipeline.
pub(super) struct Origin {
    /// The device, file or stream in words for messages; never a password.
    pub name: String,
    /// What to look at when it fails.
    pub cure: String,
    /// Whether it delivers at its own pace and cannot be made to wait.
    pub live: bool,
    /// Whether nobody else can open it meanwhile.
    pub sole: bool,
    /// The file, if it is one.
    pub file: Option<PathBuf>,
    /// What the file says of itself, if it is a picture.
    pub still: Option<Still>,
    /// The elements whose source pads, present or still to come, carry pictures and sound.
    pub outlets: Vec<gst::Element>,
}

/// Opens the configured camera inside `pipeline`, for at most `most` pictures a second. `live` asks the test picture to keep real time and
/// takes the user's own launch line for live.
pub(super) fn open(
    camera: &config::Camera,
    most: &Rate,
    pipeline: &gst::Bin,
    sound: bool,
    live: bool,
) -> Result<Origin, CaptureError> {
    match camera.source {
        CameraSource::V4l2 => v4l2(camera, most, pipeline),
        CameraSource::Csi => csi(&camera.csi, pipeline),
        CameraSource::Rtsp => rtsp(&camera.rtsp, pipeline),
        CameraSource::File => file(&camera.file.path, pipeline),
        CameraSource::Test => test(&camera.test, pipeline, sound, live),
        CameraSource::Pipeline => launch(&camera.pipeline.launch, pipeline, live),
    }
}

/// What to look at when a V4L2 camera fails.
const V4L2_CURE: &str = "expected a V4L2 camera that offers the [camera.v4l2] size and framerate: `tvsl devices` lists \
                         the cameras, what each offers, and its name under /dev/v4l/by-id";
/// The same where there is only a sensor.
const SENSOR_CURE: &str = "it is a CSI sensor, whose pictures only a Jetson's image processor develops: set [camera] \
                           source = \"csi\", and [camera.csi] sensor to its number";

/// A V4L2 camera, raw or Motion-JPEG, in the mode that suits the most pictures a second.
fn v4l2(camera: &config::Camera, most: &Rate, pipeline: &gst::Bin) -> Result<Origin, CaptureError> {
    let (camera, usual) = (&camera.v4l2, camera.rate);
    let (source, filter, decoder) = (make("v4l2src")?, make("capsfilter")?, make("decodebin")?);
    source.set_property("device", camera.device.to_string_lossy().as_ref());
    chain(pipeline, &[source.clone(), filter.clone(), decoder.clone()])?;
    let offered = mode::offered(&source);
    let vi = source.property::<Option<String>>("device-name").is_some_and(|name| list::is_vi(&name));
    let sensor = vi || offered.as_ref().is_some_and(mode::of_bare_sensor);
    let cure = if sensor { SENSOR_CURE } else { V4L2_CURE };
    let suited = offered.and_then(|offered| mode::suited(&offered, camera, most.get().unwrap_or(usual)));
    let (mode, reach) = suited.unzip();
    most.reach(reach.unwrap_or(f64::INFINITY));
    if let Some(mode) = &mode {
        tracing::debug!(device = %camera.device.display(), %mode, "camera mode chosen");
    }
    filter.set_property("caps", mode.unwrap_or_else(|| mode::asked(camera)));
    Ok(Origin {
        name: format!("camera {}", camera.device.display()),
        cure: cure.into(),
        live: true,
        sole: true,
        file: None,
        still: None,
        outlets: vec![decoder],
    })
}

/// Where nvargus-daemon listens, which alone opens CSI cameras.
const ARGUS: &str = "/tmp/argus_socket";

/// Whether a CSI camera is out of reach although what opens it is installed: no nvargus-daemon listens.
pub(super) fn lacks_argus() -> bool {
    gst::ElementFactory::find("nvarguscamerasrc").is_some() && is_deserted(Path::new(ARGUS))
}

/// Whether nobody listens at a socket: it is not there, or whoever made it is gone and left it behind. Waits for nobody, not
/// even for one with many clients in its queue.
fn is_deserted(socket: &Path) -> bool {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let tried = SocketAddrUnix::new(socket).and_then(|address| {
        let client = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        net::connect(&client, &address)
    });
    matches!(tried, Err(Errno::NOENT | Errno::CONNREFUSED))
}

/// A Jetson's CSI camera; the picture stays in the image processor's memory until it is small.
fn csi(camera: &config::Csi, pipeline: &gst::Bin) -> Result<Origin, CaptureError> {
    let source = make("nvarguscamerasrc")?;
    source.set_property("sensor-id", camera.sensor as i32);
    let caps = gst::Caps::builder("video/x-raw")
        .features(["memory:NVMM"])
        .field("format", "NV12")
        .field("width", camera.width as i32)
        .field("height", camera.height as i32)
        .field("framerate", mode::fraction(camera.framerate))
        .build();
    let filter = only(caps)?;
    chain(pipeline, &[source, filter.clone()])?;
    Ok(Origin {
        name: format!("CSI camera {}", camera.sensor),
        cure: "expected a sensor with the [camera.csi] mode: check its cable, then `systemctl restart \
               nvargus-daemon tvsl` (both: a service sees only the daemon that was there when it started)"
            .into(),
        live: true,
        sole: true,
        file: None,
        still: None,
        outlets: vec![filter],
    })
}

/// A network camera.
fn rtsp(camera: &config::Rtsp, pipeline: &gst::Bin) -> Result<Origin, CaptureError> {
    make("rtspsrc")?;
    let decoder = uri(&camera.url, pipeline)?;
    let (latency, transport) = (camera.latency_ms, camera.transport);
    decoder.connect("source-setup", false, move |values| {
        let source = values.get(1)?.get::<gst::Element>().ok()?;
        if source.has_property("protocols") {
            source.set_property("latency", latency);
            source.set_property_from_str(
                "protocols",
                match transport {
                    Transport::Tcp => "tcp",
                    Transport::Udp => "udp",
                    Transport::Auto => "udp+udp-mcast+tcp",
                },
            );
            source.set_property("tcp-timeout", 5_000_000u64);
        }
        None
    });
    Ok(Origin {
        name: format!("stream {}", camera.public_url()),
        cure:
            "expected an RTSP server there: check [camera.rtsp] url, the user name and password in it, and \
               that the camera is on the network"
                .into(),
        live: true,
        sole: false,
        file: None,
        still: None,
        outlets: vec![decoder],
    })
}

/// A recording, or a picture.
pub(super) fn file(path: &Path, pipeline: &gst::Bin) -> Result<Origin, CaptureError> {
    let absolute = std::fs::canonicalize(path).map_err(|error| CaptureError::file(path, error))?;
    if let Some(why) = extent::unreadable(&absolute) {
        return Err(CaptureError::file(path, why));
    }
    let about = std::fs::metadata(&absolute).map_err(|error| CaptureError::file(path, error))?;
    if about.len() == 0 {
        return Err(CaptureError::file(path, "is empty"));
    }
    let still = Still::of(&absolute);
    if still.is_some_and(|still| still.torn) {
        let (origin, reason) =
            (path.display().to_string(), "is damaged: another picture begins within it".into());
        return Err(CaptureError::Media { cure: whole_picture(&origin), origin, reason });
    }
    if let Some(size) = still.and_then(|still| still.size).filter(|size| oversize::is_refused(*size)) {
        let origin = path.display().to_string();
        let (reason, cure) = (oversize::reason(size), oversize::cure_of_picture(&origin));
        return Err(CaptureError::Media { origin, reason, cure });
    }
    let address = gst::glib::filename_to_uri(&absolute, None);
    let decoder = uri(&address.map_err(|error| CaptureError::file(path, error))?, pipeline)?;
    Ok(Origin {
        name: path.display().to_string(),
        cure: "expected a whole media file in a format that GStreamer decodes".into(),
        live: false,
        sole: false,
        file: Some(absolute),
        still,
        outlets: vec![decoder],
    })
}

/// What would do in place of a picture that cannot be read.
pub(super) fn whole_picture(name: &str) -> String {
    format!(
        "expected a whole picture as JPEG (not CMYK), PNG, WebP, BMP or TIFF; `convert '{name}[0]' picture.png` (package \
         imagemagick) makes one of another format"
    )
}

/// A made-up picture, or the `flash` that goes with a click.
fn test(
    camera: &config::TestPicture,
    pipeline: &gst::Bin,
    sound: bool,
    live: bool,
) -> Result<Origin, CaptureError> {
    let mut outlets = vec![flash::picture(camera, pipeline, live)?];
    if sound {
        outlets.push(flash::sound(pipeline, live)?);
    }
    let (name, cure) = (format!("test picture \"{}\"", camera.pattern), "this is an error of tvsl".into());
    Ok(Origin { name, cure, live, sole: false, file: None, still: None, outlets })
}

/// The user's own launch line: every pad it leaves open is decoded if need be.
pub(super) fn launch(line: &str, pipeline: &gst::Bin, live: bool) -> Result<Origin, CaptureError> {
    let failed = |error: gst::glib::Error| match error.kind::<gst::ParseError>() {
        Some(gst::ParseError::NoSuchElement) => CaptureError::LaunchElement(error.message().to_owned()),
        _ => CaptureError::Launch(error.message().to_owned()),
    };
    let bin = gst::parse::bin_from_description(line, false).map_err(failed)?;
    chain(pipeline, &[bin.clone().upcast()])?;
    let mut outlets = Vec::new();
    while let Some(open) = bin.find_unlinked_pad(gst::PadDirection::Src) {
        let unlinked = |error: gst::glib::BoolError| CaptureError::Launch(error.to_string());
        let exit = gst::GhostPad::builder_with_target(&open).map_err(unlinked)?;
        let exit = exit.name(format!("exit{}", outlets.len())).build();
        bin.add_pad(&exit).map_err(unlinked)?;
        let decoder = make("decodebin")?;
        chain(pipeline, std::slice::from_ref(&decoder))?;
        bin.link_pads(Some(exit.name().as_str()), &decoder, None).map_err(unlinked)?;
        outlets.push(decoder);
    }
    if outlets.is_empty() {
        return Err(CaptureError::Launch("no pad is left open".into()));
    }
    let cure = "expected [camera.pipeline] launch to deliver pictures: try it with `gst-launch-1.0 -v ... ! \
                fakesink`";
    let name = "[camera.pipeline]".into();
    Ok(Origin { name, cure: cure.into(), live, sole: true, file: None, still: None, outlets })
}

/// Anything with an address, decoded.
fn uri(address: &str, pipeline: &gst::Bin) -> Result<gst::Element, CaptureError> {
    let decoder = make("uridecodebin")?;
    decoder.set_property("uri", address);
    chain(pipeline, std::slice::from_ref(&decoder))?;
    Ok(decoder)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_socket_is_deserted_when_nobody_listens_and_not_when_its_queue_is_full() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("argus_socket");
        assert!(is_deserted(&path), "it is not there");
        let daemon = UnixListener::bind(&path).expect("a socket");
        assert!(!is_deserted(&path));
        net::listen(&daemon, 0).expect("a short queue");
        (0..3).for_each(|_| assert!(!is_deserted(&path), "it is busy"));
        drop(daemon);
        assert!(path.exists() && is_deserted(&path), "it was left behind");
        std::fs::remove_file(&path).expect("it is there");
        let _daemon = UnixListener::bind(&path).expect("a socket");
        assert!(!is_deserted(&path), "another one listens");
    }
}
