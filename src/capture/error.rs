//! What can go wrong with a camera, a microphone or a recording, and the cure.

use std::path::{Path, PathBuf};

use crate::queue::Sense;

/// Why a source could not be opened, or why it stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// GStreamer itself does not start.
    #[error("GStreamer does not start: {0}; install it with `apt-get install gstreamer1.0-plugins-base`")]
    GStreamer(String),
    /// A plug-in that every installation needs, or that this source needs.
    #[error("GStreamer has no element `{element}`; install it with `apt-get install {package}`")]
    Element {
        /// Name of the element.
        element: String,
        /// Debian package that holds it.
        package: String,
    },
    /// The track is in a format that no installed plug-in decodes.
    #[error("{origin}: no plug-in decodes its {format}; {cure}")]
    Decoder {
        /// The file or stream.
        origin: String,
        /// GStreamer's description of the format.
        format: String,
        /// What to install, or another format.
        cure: String,
    },
    /// The recording cannot be read from disk at all.
    #[error("{}: {reason}; expected a readable media file", path.display())]
    File {
        /// The file as it was given.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A recording cannot be written.
    #[error("{}: {reason}; {cure}", path.display())]
    Recording {
        /// The file as it was given.
        path: PathBuf,
        /// What is wrong.
        reason: String,
        /// What would do.
        cure: &'static str,
    },
    /// GStreamer opened the source and reports that it does not work, or no longer.
    #[error("{origin}: {reason}; {cure}")]
    Media {
        /// The device, file or stream.
        origin: String,
        /// GStreamer's words.
        reason: String,
        /// What to look at.
        cure: String,
    },
    /// Nothing that was asked for is in there.
    #[error("{origin} has no {missing}; expected {expected}")]
    NoTrack {
        /// The file or stream.
        origin: String,
        /// What it lacks.
        missing: &'static str,
        /// What would have done.
        expected: &'static str,
    },
    /// The source is open and delivers nothing.
    #[error("{origin} delivered nothing for {seconds} s; {cure}")]
    Stalled {
        /// The device, file or stream.
        origin: String,
        /// How long it was waited for.
        seconds: u64,
        /// What to look at.
        cure: String,
    },
    /// The launch line of `[camera.pipeline]` is not one.
    #[error(
        "camera.pipeline.launch: {0}; expected a GStreamer launch line that ends in an element (not in caps) \
         whose last pad is left open, such as \"v4l2src ! jpegparse\""
    )]
    Launch(String),
    /// The launch line names an element that is not installed, or misspells one.
    #[error(
        "camera.pipeline.launch: {0}; look for a misspelling, or install the package that holds it: `apt-cache search \
         gstreamer1.0` lists them"
    )]
    LaunchElement(String),
    /// A value of the configuration that GStreamer does not know, whatever is plugged in.
    #[error("{key}: {reason}; {cure}")]
    Setting {
        /// Its dotted key.
        key: &'static str,
        /// What is wrong with the value.
        reason: String,
        /// What would be right.
        cure: String,
    },
    /// A value of the configuration that the device there does not fit: another one may be the right one.
    #[error("{key}: {reason}; {cure}")]
    Unfit {
        /// Its dotted key.
        key: &'static str,
        /// What is wrong with the value.
        reason: String,
        /// What would be right.
        cure: String,
    },
    /// `microphone.source = "media"` beside a camera that has no sound track.
    #[error(
        "microphone.source: \"media\" is the sound track of the camera's source, but camera source \
         \"{camera}\" has none; expected microphone source \"alsa\" or \"none\""
    )]
    NoMediaSound {
        /// Word of the camera's source.
        camera: &'static str,
    },
    /// The sound card does not open, does not fit, or broke down.
    #[error(
        "microphone \"{device}\": {reason}; capture devices here: {known}; set [microphone.alsa] device to one"
    )]
    Microphone {
        /// ALSA's name of the device.
        device: String,
        /// What ALSA reports.
        reason: String,
        /// The capture devices that there are.
        known: String,
    },
    /// Opening panicked.
    #[error("opening the {0} failed by a bug; please report this with the log above")]
    Bug(Sense),
    /// A thread could not be started.
    #[error("cannot start the {0} thread: {1}; the system is out of threads or memory")]
    Thread(&'static str, String),
}

impl CaptureError {
    /// Whether it passes as devices come and go: no missing plug-in does, and of a setting that a device does not fit it
    /// is not known which of the two is wrong.
    pub fn may_pass(&self) -> bool {
        !matches!(self, Self::GStreamer(_)) && !self.is_lacking() && self.key().is_none()
    }

    /// Whether a plug-in is not installed.
    pub fn is_lacking(&self) -> bool {
        matches!(self, Self::Element { .. } | Self::Decoder { .. } | Self::LaunchElement(_))
    }

    /// Whether only another configuration can mend it, whatever is plugged in or installed.
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Launch(_) | Self::NoMediaSound { .. } | Self::Setting { .. })
    }

    /// The dotted key of the setting at fault, if one is, or may be.
    pub fn key(&self) -> Option<&'static str> {
        match self {
            Self::Launch(_) | Self::LaunchElement(_) => Some("camera.pipeline.launch"),
            Self::NoMediaSound { .. } => Some("microphone.source"),
            Self::Setting { key, .. } | Self::Unfit { key, .. } => Some(key),
            _ => None,
        }
    }

    pub(super) fn file(path: &Path, reason: impl ToString) -> Self {
        Self::File { path: path.to_owned(), reason: reason.to_string() }
    }

    pub(super) fn recording(path: &Path, reason: impl ToString, cure: &'static str) -> Self {
        Self::Recording { path: path.to_owned(), reason: reason.to_string(), cure }
    }

    pub(super) fn element(name: &str) -> Self {
        Self::Element { element: name.to_owned(), package: package_of(name).to_owned() }
    }
}

/// The Debian package (or Jetson's) that holds an element used here.
fn package_of(element: &str) -> &'static str {
    match element {
        "v4l2src" | "rtspsrc" | "videoflip" | "matroskamux" => "gstreamer1.0-plugins-good",
        "nvarguscamerasrc" | "nvvidconv" => "nvidia-l4t-gstreamer",
        "avenc_ffv1" | "avenc_huffyuv" => "gstreamer1.0-libav",
        "capsfilter" | "fakesink" | "filesrc" | "filesink" => "libgstreamer1.0-0",
        _ => "gstreamer1.0-plugins-base",
    }
}
