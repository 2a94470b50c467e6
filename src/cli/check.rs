//! `tvsl check`: is the configuration right, and what would run?

use super::{Common, Failure};
use crate::config::{CameraSource, Channel, Config, MicrophoneSource, Origin};
use clap::Args;
use std::path::Path;

/// Say whether the configuration is right, and what would run
///
/// Reads the configuration and finds the model; opens no camera, no microphone and no connection. Exits
/// with 0, or with 78 and every fault with its line, its key and what was expected.
#[derive(Args, Debug)]
pub(super) struct Arguments {}

pub(super) fn run(_: Arguments, common: &Common) -> Result<(), Failure> {
    let (config, origin) = common.settings()?;
    let model = config.model_dir()?;
    super::print(&summary(&config, &origin, &model))
}

/// One line for each part of the program.
fn summary(config: &Config, origin: &Origin, model: &Path) -> String {
    let broker = match &config.mqtt {
        mqtt if mqtt.enabled => format!("{}:{}, topic {}", mqtt.host, mqtt.port, config.topic("detections")),
        _ => "none (mqtt.enabled = false)".into(),
    };
    [
        ("configuration", origin.to_string()),
        ("device", config.device.name.clone()),
        ("camera", format!("{}, at most {} pictures/s", camera(config), config.camera.rate)),
        ("microphone", microphone(config)),
        ("model", model.display().to_string()),
        ("broker", broker),
    ]
    .iter()
    .map(|(part, what)| format!("{part:<14} {what}\n"))
    .collect()
}

fn camera(config: &Config) -> String {
    let camera = &config.camera;
    match camera.source {
        CameraSource::V4l2 => format!("v4l2 {}", camera.v4l2.device.display()),
        CameraSource::Csi => format!("csi sensor {}", camera.csi.sensor),
        CameraSource::Rtsp => format!("rtsp {}", camera.rtsp.public_url()),
        CameraSource::File => format!("file {}", config.file(&camera.file.path).display()),
        CameraSource::Test => format!("test pattern {}", camera.test.pattern),
        CameraSource::Pipeline => format!("pipeline {}", camera.pipeline.launch),
    }
}

fn microphone(config: &Config) -> String {
    let alsa = &config.microphone.alsa;
    match (config.microphone.source, alsa.channel) {
        (MicrophoneSource::Alsa, Channel::Mix) => format!("alsa {}", alsa.device),
        (MicrophoneSource::Alsa, Channel::Index(n)) => format!("alsa {}, channel {n}", alsa.device),
        (MicrophoneSource::Media, _) => "the sound track of the camera's source".into(),
        (MicrophoneSource::None, _) => "none: nothing can be heard, so nothing is reported".into(),
    }
}
