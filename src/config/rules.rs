//! What must hold between settings, beyond each value by itself.

use super::error::{Fault, sound};
use super::{CameraSource, Config, MicrophoneSource};
use super::{Channel, lens, rtsp};

/// A rule, and the keys that it is about.
type Rule = (&'static [&'static str], fn(&Config) -> Option<Fault>);

const RULES: [Rule; 7] = [
    (
        &[
            "camera.source",
            "camera.v4l2.device",
            "camera.rtsp.url",
            "camera.file.path",
            "camera.pipeline.launch",
        ],
        camera,
    ),
    (&["camera.source", "camera.file.path"], file),
    (&["camera.source", "microphone.source"], sound_track),
    (&["camera.rtsp.url"], address),
    (&["microphone.alsa.channels", "microphone.alsa.channel"], channel),
    (&["camera.lens"], |config| lens::fault(&config.camera.lens)),
    (&["mqtt.username_file", "mqtt.password_file", "mqtt.tls"], keys),
];

/// Every rule that `config` breaks, but for those about something that is `known` to be wrong.
pub(super) fn faults(config: &Config, known: &[Fault]) -> Vec<Fault> {
    RULES.iter().filter(|(about, _)| sound(known, about)).filter_map(|(_, rule)| rule(config)).collect()
}

/// The chosen camera must say what to open.
fn camera(config: &Config) -> Option<Fault> {
    let camera = &config.camera;
    let (key, empty, expected) = match camera.source {
        CameraSource::V4l2 => {
            ("camera.v4l2.device", camera.v4l2.device.as_os_str().is_empty(), "/dev/video0")
        }
        CameraSource::Rtsp => {
            ("camera.rtsp.url", camera.rtsp.url.is_empty(), "rtsp://192.168.1.20:554/stream")
        }
        CameraSource::File => ("camera.file.path", camera.file.path.as_os_str().is_empty(), "clip.mp4"),
        CameraSource::Pipeline => {
            ("camera.pipeline.launch", camera.pipeline.launch.trim().is_empty(), "v4l2src ! videoconvert")
        }
        CameraSource::Csi | CameraSource::Test => return None,
    };
    let source = camera.source.name();
    empty.then(|| {
        Fault::rule(key, format!("is empty, but camera.source is \"{source}\""))
            .help(format!("for example \"{expected}\""))
    })
}

/// A clip is a file, and no address of one.
fn file(config: &Config) -> Option<Fault> {
    let path = config.camera.file.path.to_string_lossy();
    (config.camera.source == CameraSource::File && path.contains("://")).then(|| {
        Fault::rule("camera.file.path", "is an address, expected the path of a file".into())
            .help("a network camera is camera.source \"rtsp\" with camera.rtsp.url")
    })
}

/// A camera device has no sound track.
fn sound_track(config: &Config) -> Option<Fault> {
    let source = config.camera.source;
    (config.microphone.source == MicrophoneSource::Media && !source.has_sound()).then(|| {
        Fault::rule(
            "microphone.source",
            format!("\"media\" takes the camera's sound track, and a \"{}\" camera has none", source.name()),
        )
        .help("expected \"alsa\" or \"none\", or camera.source \"file\", \"rtsp\", \"test\" or \"pipeline\"")
    })
}

fn address(config: &Config) -> Option<Fault> {
    let url = Some(&config.camera.rtsp.url).filter(|url| !url.is_empty())?;
    let why = rtsp::fault(url)?;
    Some(
        Fault::rule("camera.rtsp.url", why.into()).help(
            "expected rtsp://HOST:PORT/PATH; who needs a user and a password writes them before the host",
        ),
    )
}

/// A channel is one of those that the device is opened with.
fn channel(config: &Config) -> Option<Fault> {
    let alsa = &config.microphone.alsa;
    match (alsa.channels, alsa.channel) {
        (channels @ 1.., Channel::Index(index)) if index >= channels => Some(
            Fault::rule("microphone.alsa.channel", format!("is {index}, but channels is {channels}"))
                .help(format!("channels are counted from 0: expected 0 to {}, or \"mix\"", channels - 1)),
        ),
        _ => None,
    }
}

/// A certificate is nothing without its key, a password nothing without its user.
fn keys(config: &Config) -> Option<Fault> {
    let (mqtt, tls) = (&config.mqtt, &config.mqtt.tls);
    let missing = |key: &str, other: &str| {
        Fault::rule(key, format!("is set, but {other} is not")).help(format!("set {other} too"))
    };
    let given = |path: &std::path::Path| !path.as_os_str().is_empty();
    match (given(&tls.certificate_file), given(&tls.key_file)) {
        (true, false) => Some(missing("mqtt.tls.certificate_file", "key_file")),
        (false, true) => Some(missing("mqtt.tls.key_file", "certificate_file")),
        _ => (given(&mqtt.password_file) && !given(&mqtt.username_file))
            .then(|| missing("mqtt.password_file", "username_file")),
    }
}
