//! `tvsl check`: is the configuration right, and what would run?

use super::{Common, Failure};
use crate::analysis::{self, Analysis};
use crate::capture;
use crate::config::{CameraSource, Channel, Config, MicrophoneSource, Origin, veiled};
use crate::engine;
use crate::model::manifest::Class;
use crate::model::{Manifest, Model};
use crate::publish::{Disk, mqtt};
use clap::Args;
use std::path::Path;

/// Say whether the configuration is right, and what would run
///
/// Reads the configuration, the files it names and the model's manifest, and parses the camera's launch line; opens no
/// camera, no microphone and no connection.
/// Exits with 0, or with 78 and every fault with its line, its key and what was expected.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Also open the model as `run` would: engine, checksums, graphs, learned background
    #[arg(long)]
    model: bool,
    /// List what the model can name instead: each class, and other names that `eval` knows it by
    #[arg(long, conflicts_with = "model")]
    classes: bool,
}

pub(super) fn run(arguments: Arguments, common: &Common) -> Result<(), Failure> {
    let (config, origin) = common.settings()?;
    let folder = config.model_dir()?;
    let engine = if arguments.model { opened(&config, &folder)? } else { "not opened (try --model)".into() };
    let manifest = judged(&config)?;
    if arguments.classes {
        return super::print(&manifest.classes.iter().map(listed).collect::<String>());
    }
    super::print(&summary(&config, &origin, &described(&folder, &manifest), &engine))
}

/// Judges a configuration as far as that goes without opening anything; gives the manifest of its model.
pub(super) fn judged(config: &Config) -> Result<Manifest, Failure> {
    let wrong = |error| Failure::model(config, error);
    let manifest = Manifest::read(&config.model_dir()?);
    let manifest = manifest.and_then(|manifest| manifest.with_classes(&config.detection)).map_err(wrong)?;
    // Fails for a class that the model lacks, and for a background that is none.
    analysis::decision(&manifest, config).map_err(wrong)?;
    let judged = capture::judge(&config.camera, &config.microphone);
    judged.map_err(|error| Failure::capture(config, error))?;
    files(config)?;
    Ok(manifest)
}

/// Files that only the engine or the broker's client would open.
fn files(config: &Config) -> Result<(), Failure> {
    let library = &config.engine.library;
    if library.components().count() > 1 && !library.is_file() {
        let why =
            format!("{}: there is no such file; leave it empty to have it looked for", library.display());
        return Err(config.fault("engine.library", &why).into());
    }
    if config.mqtt.enabled {
        mqtt::judge(config).map_err(|error| Failure::access(config, error))?;
    }
    Ok(())
}

/// Opens engine and model as `run` does; says what the engine is.
fn opened(config: &Config, folder: &Path) -> Result<String, Failure> {
    let engine = engine::choose(&config.engine).map_err(|error| Failure::engine(config, error))?;
    let wrong = |error| Failure::model(config, error);
    let model = Model::configured(folder, engine.as_ref(), config).map_err(wrong)?;
    Analysis::new(model, config).map_err(wrong)?;
    Ok(format!("{}; {} threads on the CPU", engine.describe(), config.engine.threads))
}

fn described(folder: &Path, manifest: &Manifest) -> String {
    let (name, version, classes) = (&manifest.name, &manifest.version, manifest.classes.len());
    format!("{name} {version}, {classes} classes, in {}", folder.display())
}

/// The class's name and its aliases.
fn listed(class: &Class) -> String {
    format!("{:<20} {}", class.name, class.aliases.join(", ")).trim_end().to_owned() + "\n"
}

/// One line for each part of the program.
fn summary(config: &Config, origin: &Origin, model: &str, engine: &str) -> String {
    let broker = match &config.mqtt {
        mqtt if mqtt.enabled => format!("{}:{}, topic {}", mqtt.host, mqtt.port, config.topic("detections")),
        _ => "none (mqtt.enabled = false)".into(),
    };
    [
        ("configuration", origin.to_string()),
        ("device", config.device.name.clone()),
        ("camera", format!("{}, at most {} pictures/s", camera(config), config.camera.rate)),
        ("microphone", microphone(config)),
        ("model", model.into()),
        ("engine", engine.into()),
        ("broker", broker),
        ("store", store(config)),
    ]
    .iter()
    .map(|(part, what)| format!("{part:<14} {what}\n"))
    .collect()
}

/// Where events outlast a crash.
fn store(config: &Config) -> String {
    match config.store_file() {
        Some(file) => match Disk::new(file.clone()).fault() {
            Some(fault) => format!("{} cannot be: {fault}", file.display()),
            None => file.display().to_string(),
        },
        None if config.mqtt.store.enabled && config.mqtt.enabled => "none: set mqtt.store.file".into(),
        None => "none (mqtt.store.enabled = false)".into(),
    }
}

fn camera(config: &Config) -> String {
    let camera = &config.camera;
    match camera.source {
        CameraSource::V4l2 => format!("v4l2 {}", shown(&camera.v4l2.device)),
        CameraSource::Csi => format!("csi sensor {}", camera.csi.sensor),
        CameraSource::Rtsp => format!("rtsp {}", camera.rtsp.public_url()),
        CameraSource::File => format!("file {}", shown(&camera.file.path)),
        CameraSource::Test => format!("test pattern {}", camera.test.pattern),
        CameraSource::Pipeline => format!("pipeline {}", veiled(&camera.pipeline.launch)),
    }
}

/// The path, with a word if nothing is there now (a camera may be plugged in later).
fn shown(path: &Path) -> String {
    let absent = if path.exists() { "" } else { " (not there now)" };
    format!("{}{absent}", path.display())
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
