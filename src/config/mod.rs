//! Every setting: typed, strict, with `config/tvsl.toml` as the one source of defaults. Opens no device.
//!
//! A user's file is laid over the built-in one key by key, so it need hold only what differs. What is
//! wrong with it is told all at once, each fault with its line, its key, what was expected and the
//! nearest thing that would be right ([`ConfigError`]).

mod classes;
mod devices;
mod draft;
mod error;
mod json;
mod judgement;
mod layer;
mod lens;
mod overrides;
mod place;
mod rtsp;
mod rules;
mod search;
mod service;
mod state;
mod syntax;
mod value;
mod veil;
mod words;

pub use classes::{MOST_CLASSES, class_level};
pub use devices::{
    Alsa, Camera, CameraSource, Channel, Csi, Device, MediaFile, Microphone, MicrophoneSource, Pipeline,
    Rtsp, TestPicture, Transport, V4l2,
};
pub use draft::Draft;
pub use error::{ConfigError, Fault};
pub use judgement::{
    Detection, Engine, EngineKind, Lost, Model, Precision, Rebuild, TensorRt, Thresholds, Tracking, Window,
};
pub use lens::Lens;
pub use overrides::{Overrides, Recalled};
pub use search::{Origin, places};
pub use service::{
    Address, DiskStore, Format, HomeAssistant, Log, LogFormat, LogLevel, Monitor, Mqtt, Service, Tls,
};
pub use state::{keep, kept};
pub use veil::{GONE, sensitive, veiled};

use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::Spanned;
use toml::de::DeTable;

/// Every setting of the program.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who this device is.
    pub device: Device,
    /// Where pictures come from.
    pub camera: Camera,
    /// Where sound comes from.
    pub microphone: Microphone,
    /// Which model judges.
    pub model: Model,
    /// What runs the model.
    pub engine: Engine,
    /// How pictures and sound are paired.
    pub window: Window,
    /// What is reported.
    pub detection: Detection,
    /// How detections become lasting identities.
    pub tracking: Tracking,
    /// The broker.
    pub mqtt: Mqtt,
    /// What is logged.
    pub log: Log,
    /// What can be read over HTTP.
    pub monitor: Monitor,
    /// The word with systemd.
    pub service: Service,
    /// The file this came from; `None`: the built-in one.
    #[serde(skip)]
    written: Option<Arc<Written>>,
    /// Whose state it is about, see [`Config::of_service`].
    #[serde(skip)]
    whose: search::Whose,
}

/// A configuration file as it was read: what is found wrong with it later is told with its place, too.
#[derive(Debug, PartialEq)]
struct Written {
    file: PathBuf,
    text: String,
}

impl Config {
    /// The shipped file, which is the default of every key.
    pub const BUILT_IN: &str = include_str!("../../config/tvsl.toml");

    /// The shipped file as a table.
    fn built_in() -> Spanned<DeTable<'static>> {
        DeTable::parse_recoverable(Config::BUILT_IN).0
    }

    /// Reads `file` over the defaults.
    ///
    /// # Errors
    /// The file cannot be read or is wrong; every fault found is in the error.
    pub fn load(file: &Path) -> Result<Config, ConfigError> {
        Draft::load(file)?.judged()
    }

    /// That the value of the dotted `key` cannot be, as only the model, the engine or a device could tell: the same
    /// words as for a fault that reading found, with its place in the file.
    pub fn fault(&self, key: &str, why: &str) -> ConfigError {
        let written = self.written.as_deref();
        ConfigError::of(written, vec![Fault::found(key, why, written)])
    }

    /// Folder of the file this came from, where relative paths are looked for first.
    fn base(&self) -> Option<&Path> {
        let folder = self.written.as_ref()?.file.parent()?;
        Some(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })
    }

    /// Reads `text` over the defaults; faults name it `file`.
    ///
    /// # Errors
    /// The text is no TOML, or has unknown keys, wrong types or impossible values.
    pub fn parse(text: &str, file: &Path) -> Result<Config, ConfigError> {
        Draft::parse(text, file)?.judged()
    }

    /// The topic `name` of this device, such as `tvsl/hall/detections`.
    pub fn topic(&self, name: &str) -> String {
        format!("{}/{name}", self.mqtt.prefix.replace("{device}", &self.device.name))
    }

    /// The folder of the model: `model.path` as it stands if absolute; otherwise the first that holds a
    /// `manifest.toml` of: beside the configuration file, in the working directory, in `/usr/share/tvsl`,
    /// in the folders above the program.
    ///
    /// # Errors
    /// None of them does; the error lists them.
    pub fn model_dir(&self) -> Result<PathBuf, ConfigError> {
        self.model_found().map_err(|why| self.fault("model.path", &why))
    }

    /// The same, with an error that leaves it to others to tell the place.
    ///
    /// # Errors
    /// As [`Config::model_dir`].
    pub fn model_found(&self) -> Result<PathBuf, String> {
        search::model_dir(&self.model.path, self.base())
    }

    /// The folder for what is computed once: `model.cache`, `$CACHE_DIRECTORY`, `$STATE_DIRECTORY`,
    /// `$XDG_CACHE_HOME/tvsl` or `~/.cache/tvsl`, whichever is set first; `None` without any.
    pub fn cache_dir(&self) -> Option<PathBuf> {
        let named = Some(self.model.cache.clone()).filter(|path| !path.as_os_str().is_empty());
        named.or_else(|| search::cache_dir(&self.whose))
    }

    /// Turns relative paths of files that lie beside the configuration file into ones that lead there;
    /// others stay relative to the working directory.
    fn anchor(&mut self) {
        let Some(base) = self.base().map(Path::to_path_buf) else { return };
        let mqtt = &mut self.mqtt;
        for path in [
            &mut self.camera.file.path,
            &mut self.detection.background,
            &mut self.engine.library,
            &mut mqtt.username_file,
            &mut mqtt.password_file,
            &mut mqtt.settings_file,
            &mut mqtt.store.file,
            &mut mqtt.tls.ca_file,
            &mut mqtt.tls.certificate_file,
            &mut mqtt.tls.key_file,
        ] {
            let beside = base.join(&*path);
            if !path.as_os_str().is_empty() && beside.exists() {
                *path = beside;
            }
        }
    }

    /// Fills in the names and folders that depend on the machine.
    fn named(mut self) -> Config {
        if self.device.name.is_empty() {
            self.device.name = search::device_name();
        }
        if self.mqtt.client_id.is_empty() {
            self.mqtt.client_id = "tvsl-{device}".into();
        }
        self.mqtt.client_id = self.mqtt.client_id.replace("{device}", &self.device.name);
        self.engine.tensorrt.spare = self.cache_dir();
        self
    }
}

impl Default for Config {
    /// The built-in configuration.
    fn default() -> Self {
        Config::parse("", Path::new("built-in")).expect("the shipped file is valid: tests/config.rs")
    }
}
