//! The sections `[device]`, `[camera]` and `[microphone]`: who this is and what it opens.

use super::lens::Lens;
use super::{rtsp, value};
use serde::Deserialize;
use serde::de::{self, Deserializer, Error};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// `[device]`: who this device is.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Name in topics and messages; never empty once a configuration is loaded.
    #[serde(deserialize_with = "value::topic_level")]
    pub name: String,
}

/// `[camera]`: where pictures come from. Every source keeps its own section, so that switching is one word.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Camera {
    /// Which of the sections below is in use.
    pub source: CameraSource,
    /// Pictures analysed in a second, at most; above 0.
    #[serde(deserialize_with = "value::rate")]
    pub rate: f64,
    /// Pictures analysed in a second, at most, while the machine slows itself down; 0: as many as ever.
    #[serde(deserialize_with = "value::limit_or_zero")]
    pub throttled_rate: f64,
    /// A live camera that delivers no picture for so long is taken down and opened again.
    #[serde(deserialize_with = "value::stall")]
    pub stall: Duration,
    /// Likewise one whose picture has not changed by a bit for so long; zero: never.
    #[serde(deserialize_with = "value::seconds")]
    pub frozen: Duration,
    /// A USB or built-in camera.
    pub v4l2: V4l2,
    /// A Jetson's ribbon-cable camera.
    pub csi: Csi,
    /// A network camera.
    pub rtsp: Rtsp,
    /// A recorded clip.
    pub file: MediaFile,
    /// A made-up picture.
    pub test: TestPicture,
    /// A launch line of the user's own.
    pub pipeline: Pipeline,
    /// What is known of the lens.
    pub lens: Lens,
}

/// The kinds of camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CameraSource {
    /// A Video4Linux2 device.
    V4l2,
    /// A MIPI CSI-2 sensor behind a Jetson's `nvarguscamerasrc`.
    Csi,
    /// An RTSP stream.
    Rtsp,
    /// A recorded clip.
    File,
    /// A test pattern.
    Test,
    /// A GStreamer launch line.
    Pipeline,
}

impl CameraSource {
    /// The word of the configuration file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V4l2 => "v4l2",
            Self::Csi => "csi",
            Self::Rtsp => "rtsp",
            Self::File => "file",
            Self::Test => "test",
            Self::Pipeline => "pipeline",
        }
    }

    /// Whether the source may have a sound track that `microphone.source = "media"` can use.
    pub const fn has_sound(self) -> bool {
        !matches!(self, Self::V4l2 | Self::Csi)
    }
}

/// `[camera.v4l2]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct V4l2 {
    /// Device file.
    pub device: PathBuf,
    /// Pixels across; 0: near 640, or what goes with the height.
    #[serde(deserialize_with = "value::side_or_zero")]
    pub width: u32,
    /// Pixels down; 0: near 360, or what goes with the width.
    #[serde(deserialize_with = "value::side_or_zero")]
    pub height: u32,
    /// Pictures in a second; 0: the most that the camera offers in that size.
    #[serde(deserialize_with = "value::rate_or_zero")]
    pub framerate: f64,
}

/// `[camera.csi]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Csi {
    /// Number of the sensor, from 0.
    pub sensor: u32,
    /// Pixels across of the sensor mode.
    #[serde(deserialize_with = "value::side")]
    pub width: u32,
    /// Pixels down of the sensor mode.
    #[serde(deserialize_with = "value::side")]
    pub height: u32,
    /// Pictures in a second of the sensor mode.
    #[serde(deserialize_with = "value::rate")]
    pub framerate: f64,
}

/// `[camera.rtsp]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rtsp {
    /// Address of the stream; may hold a password, so log [`Rtsp::public_url`] instead.
    pub url: String,
    /// How packets travel.
    pub transport: Transport,
    /// Milliseconds of buffering against an uneven network.
    #[serde(deserialize_with = "value::latency")]
    pub latency_ms: u32,
}

impl Rtsp {
    /// The address without the user name and password it may hold, and without the values of its query, where many
    /// cameras want them.
    pub fn public_url(&self) -> String {
        rtsp::public(&self.url)
    }
}

/// How the packets of an RTSP stream travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Inside the RTSP connection: nothing is lost, a bad network delays.
    Tcp,
    /// Datagrams: a bad network loses pictures.
    Udp,
    /// Datagrams if they arrive, else the RTSP connection.
    Auto,
}

/// `[camera.file]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MediaFile {
    /// The clip.
    pub path: PathBuf,
    /// Start over at its end, for ever.
    pub repeat: bool,
}

/// `[camera.test]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestPicture {
    /// A pattern of GStreamer's `videotestsrc`, or `flash`: white as every second begins, with a beep.
    #[serde(deserialize_with = "value::word")]
    pub pattern: String,
    /// Pixels across.
    #[serde(deserialize_with = "value::side")]
    pub width: u32,
    /// Pixels down.
    #[serde(deserialize_with = "value::side")]
    pub height: u32,
}

/// `[camera.pipeline]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// A GStreamer launch line that leaves its last pad open; a second open pad may carry sound.
    pub launch: String,
}

/// `[microphone]`: where sound comes from.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Microphone {
    /// Which source is in use.
    pub source: MicrophoneSource,
    /// A sound card.
    pub alsa: Alsa,
}

/// The kinds of microphone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MicrophoneSource {
    /// An ALSA capture device.
    Alsa,
    /// The sound track of the camera's file, stream or test source.
    Media,
    /// No sound: nothing can be heard, so nothing is reported.
    None,
}

impl MicrophoneSource {
    /// The word of the configuration file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alsa => "alsa",
            Self::Media => "media",
            Self::None => "none",
        }
    }
}

/// `[microphone.alsa]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alsa {
    /// ALSA's name of the device, such as `default` or `plughw:CARD=Device`.
    #[serde(deserialize_with = "value::word")]
    pub device: String,
    /// Samples in a second; 0: what the device offers nearest the model's rate.
    #[serde(deserialize_with = "value::sample_rate_or_zero")]
    pub rate: u32,
    /// Channels to open the device with; 0: what it offers nearest one.
    #[serde(deserialize_with = "value::channels_or_zero")]
    pub channels: u32,
    /// Which channel is listened to.
    pub channel: Channel,
}

/// The part of a multi-channel recording that is listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// The mean of all channels.
    Mix,
    /// One channel, counted from 0.
    Index(u32),
}

impl<'de> Deserialize<'de> for Channel {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(ChannelVisitor)
    }
}

struct ChannelVisitor;

impl de::Visitor<'_> for ChannelVisitor {
    type Value = Channel;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("\"mix\" or the number of a channel, from 0 to 63")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Channel, E> {
        match text {
            "mix" => Ok(Channel::Mix),
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_i64<E: Error>(self, index: i64) -> Result<Channel, E> {
        match u32::try_from(index) {
            Ok(index @ 0..64) => Ok(Channel::Index(index)),
            _ => Err(E::invalid_value(de::Unexpected::Signed(index), &self)),
        }
    }
}
