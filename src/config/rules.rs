//! What must hold between settings, beyond each value by itself.

use super::error::Fault;
use super::lens;
use super::{CameraSource, Config, MicrophoneSource};

/// Every rule that `config` breaks.
pub(super) fn faults(config: &Config) -> Vec<Fault> {
    let faults = [
        camera(config),
        file(config),
        sound_track(config),
        rtsp(config),
        lens::fault(&config.camera.lens),
        keys(config),
    ];
    faults.into_iter().flatten().collect()
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

fn rtsp(config: &Config) -> Option<Fault> {
    let url = &config.camera.rtsp.url;
    let fine = ["rtsp://", "rtsps://", "rtspt://"].iter().any(|scheme| url.starts_with(scheme));
    (!url.is_empty() && !fine).then(|| {
        Fault::rule("camera.rtsp.url", "is no RTSP address".into()).help("expected rtsp://HOST:PORT/PATH")
    })
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
        _ if given(&mqtt.username_file) && !mqtt.username.is_empty() => Some(
            Fault::rule("mqtt.username_file", "stands beside username".into())
                .help("expected either of them; set the other to \"\""),
        ),
        _ => (given(&mqtt.password_file) && mqtt.username.is_empty() && !given(&mqtt.username_file))
            .then(|| missing("mqtt.password_file", "username or username_file")),
    }
}
