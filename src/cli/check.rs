//! `tvsl check`: is the configuration right, and what would run?

use super::{Common, Failure, with_causes};
use crate::analysis::{self, Analysis};
use crate::capture::{self, CaptureError};
use crate::config::{
    CameraSource, Channel, Config, ConfigError, Draft, EngineKind, MicrophoneSource, Origin, veiled,
};
use crate::engine;
use crate::model::manifest::Class;
use crate::model::{Manifest, Model};
use crate::publish::{Disk, mqtt};
use crate::rights;
use clap::Args;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tracing::warn;

/// Say whether the configuration is right, and what would run
///
/// Reads the configuration, the files it names and the model's manifest, compares every file of the model with its checksum
/// (seconds for each gigabyte), and parses the camera's launch line; opens no camera, no microphone and no connection.
/// Exits with 0, or with 78 and every fault with its line, its key and what was expected. What hangs on a faulty value
/// is not judged.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Also open the model as `run` would: engine, graphs, learned background
    #[arg(long)]
    model: bool,
    /// List what the model can name instead: each class, and other names that `eval` knows it by
    #[arg(long, conflicts_with = "model")]
    classes: bool,
}

pub(super) fn run(arguments: Arguments, common: &Common) -> Result<(), Failure> {
    let (config, origin) = common.judged_settings()?;
    let config = config.of_service();
    let folder = config.model_dir()?;
    let wrong = |error| Failure::model(&config, error);
    let manifest = Manifest::read(&folder).and_then(|manifest| manifest.with_classes(&config.detection));
    let manifest = manifest.map_err(wrong)?;
    if arguments.classes {
        return super::print(&manifest.classes.iter().map(listed).collect::<String>());
    }
    let engine = if arguments.model {
        opened(&config, &folder)?
    } else {
        manifest.verified_graphs(&folder).map_err(wrong)?;
        "not opened (try --model)".into()
    };
    super::print(&summary(&config, &origin, &described(&folder, &manifest), &engine))
}

/// Judges a configuration as far as that goes without opening a device; what hangs on something that is wrong is left out.
pub(super) fn judged(mut draft: Draft) -> Result<Config, Failure> {
    let opened = sources(&mut draft, |_| true);
    let config = all_judged(draft)?;
    opened.map(|()| config)
}

/// The same for a service that starts with the machine: a file that is not there yet comes with its mount, so that is no
/// mistake, and a plug-in that is not installed is waited for as a device is.
pub(super) fn startable(mut draft: Draft) -> Result<Config, Failure> {
    let opened = sources(&mut draft, |error| !error.is_lacking());
    let config = all_judged(draft).map_err(|error| match error.is_late() {
        true => Failure::Lacking(error.to_string()),
        false => error.into(),
    })?;
    opened.map(|()| config)
}

/// That everyone may read a file that holds a camera's password, and what closes it.
pub(super) fn exposed(config: &Config, origin: &Origin) -> Option<(String, String)> {
    let file = origin.file().filter(|_| holds_password(config))?;
    let open = file.metadata().is_ok_and(|about| about.mode() & 0o004 != 0);
    let told = || format!("{} holds the camera's password, and everyone may read it", file.display());
    open.then(|| (told(), rights::closing(file)))
}

/// Whether the configuration itself holds a password: that of a camera, for all others are in files of their own.
pub(super) fn holds_password(config: &Config) -> bool {
    let (rtsp, launch) = (&config.camera.rtsp, &config.camera.pipeline.launch);
    rtsp.public_url() != rtsp.url || veiled(launch) != *launch
}

/// What is judged of everything but the sources.
fn all_judged(mut draft: Draft) -> Result<Config, ConfigError> {
    words(&mut draft);
    clip(&mut draft);
    library(&mut draft);
    broker(&mut draft);
    let config = draft.judged()?;
    if config.microphone.source == MicrophoneSource::None {
        warn!("microphone.source is \"none\": nothing can be heard, so no source is ever reported");
    }
    if config.detection.masks.share() > 0.999 {
        warn!("detection.masks cover the whole picture: nothing can be seen, so no source is ever reported");
    }
    Ok(config)
}

/// Classes, thresholds, prompts, background and memory, as the model's manifest has it.
fn words(draft: &mut Draft) {
    if !draft.is_sound(&["model.path"]) {
        return;
    }
    let config = draft.config().clone();
    let folder = match config.model_found() {
        Ok(folder) => folder,
        Err(why) => return draft.late("model.path", &why),
    };
    let manifest = match Manifest::read(&folder) {
        Ok(manifest) => manifest,
        Err(error) => return draft.fault("model.path", &with_causes(&error)),
    };
    let free = manifest.reads_text();
    let (manifest, misworded) = match manifest.clone().with_classes(&config.detection) {
        Ok(worded) => (Some(worded), None),
        // Without its words a model that reads them has no classes that could be judged.
        Err(error) => (Some(manifest).filter(|_| !free), Some(error)),
    };
    let faults = manifest.map_or(Vec::new(), |manifest| analysis::faults(&manifest, &config));
    for error in misworded.into_iter().chain(faults) {
        let key = error.key().unwrap_or_else(|| "model.path".into());
        let late = key == "detection.background" && is_gone(&config.detection.background);
        if late { draft.late(&key, &with_causes(&error)) } else { draft.fault(&key, &with_causes(&error)) }
    }
}

/// Whether there is nothing of that name.
fn is_gone(file: &Path) -> bool {
    file.try_exists().is_ok_and(|there| !there)
}

/// What of camera and microphone can be judged without opening them, and `counts`; fails where GStreamer does not work.
fn sources(draft: &mut Draft, counts: impl FnOnce(&CaptureError) -> bool) -> Result<(), Failure> {
    if !draft.is_sound(&["camera.source", "camera.pipeline", "camera.test", "microphone.source"]) {
        return Ok(());
    }
    let judged = capture::judge(&draft.config().camera, &draft.config().microphone);
    let Some(error) = judged.err().filter(counts) else { return Ok(()) };
    match error.key() {
        Some(key) => draft.fault(key, &with_causes(&error)),
        None => return Err(Failure::failed(error)),
    }
    Ok(())
}

/// A clip is there, or never will be: it is no device that may be plugged in.
fn clip(draft: &mut Draft) {
    const KEY: &str = "camera.file.path";
    let camera = &draft.config().camera;
    if camera.source != CameraSource::File || !draft.is_sound(&["camera.source", KEY]) {
        return;
    }
    let path = &camera.file.path;
    let empty = || path.metadata().is_ok_and(|about| about.len() == 0).then(|| "is empty".to_owned());
    if let Some(why) = capture::unreadable(path).or_else(empty) {
        draft.fault(KEY, &format!("{}: {why}; expected a readable media file", path.display()));
    }
}

/// The library of the CPU engine, if one is named: a file, or a name that the system's loader knows.
fn library(draft: &mut Draft) {
    const KEY: &str = "engine.library";
    let engine = &draft.config().engine;
    let file = &engine.library;
    if file.as_os_str().is_empty() || !draft.is_sound(&["engine.kind", KEY]) {
        return;
    }
    let why = if file.components().count() > 1 {
        let why = format!("{}: there is no such file; leave it empty to have it looked for", file.display());
        if is_gone(file) {
            return draft.late(KEY, &why);
        }
        (!file.is_file()).then_some(why)
    } else if engine.kind == EngineKind::TensorRt {
        None
    } else {
        engine::library(engine).err().map(|error| with_causes(&error))
    };
    if let Some(why) = why {
        draft.fault(KEY, &why);
    }
}

/// Files that only the broker's client would open.
fn broker(draft: &mut Draft) {
    if !draft.config().mqtt.enabled || !draft.is_sound(&["mqtt"]) {
        return;
    }
    let mqtt = &draft.config().mqtt;
    let kept =
        [("mqtt.settings_file", mqtt.settings_file.clone()), ("mqtt.store.file", mqtt.store.file.clone())];
    if let Some((key, file)) = kept.into_iter().find(|(_, file)| file.is_dir()) {
        let why = format!("{} is a folder, expected a file in it", file.display());
        return draft.fault(key, &why);
    }
    if let Err(error) = mqtt::judge(draft.config()) {
        let (key, why) = (error.key().unwrap_or("mqtt.tls.ca_file"), error.to_string());
        if error.is_late() { draft.late(key, &why) } else { draft.fault(key, &why) }
    }
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
        Some(file) if let Some(state) = config.closed_to(&file) => {
            format!("{} ({})", file.display(), super::for_root(state))
        }
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
