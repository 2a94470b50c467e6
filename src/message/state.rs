//! What holds now: retained states, the sound's level, and what this device is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{REVISION, SCHEMA, Source};
use crate::analysis::Analysed;
use crate::config::{self, Config};
use crate::model::Model;

use super::Moment;
use super::compose::rounded;

/// Payloads of `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// Connected and at work.
    Online,
    /// Gone without a word: the broker says so in our place (Last Will).
    Offline,
    /// Stopped on purpose.
    Stopped,
}

impl Presence {
    /// The word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Offline => "offline",
            Self::Stopped => "stopped",
        }
    }
}

/// Whether a class is heard and seen now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum OnOff {
    /// At least one source of the class sounds.
    On,
    /// None does.
    Off,
}

/// `state/<class>`, retained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClassState {
    /// Version of the contract: changes only if a field were to change its name or its meaning.
    pub schema: u32,
    /// Name of the device.
    pub device: String,
    /// The run of the program that says so.
    pub run: String,
    /// Name of the class.
    pub class: String,
    /// The class as people say it.
    pub label: String,
    /// Whether it is heard and seen now.
    pub state: OnOff,
    /// When it was last heard and seen, Unix seconds; absent if never. While `ON` it is told anew with every `update`
    /// of its sources and on every connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<f64>,
    /// The sources of the class that sound.
    pub sources: Vec<Source>,
    /// Those that are over, while their `start` may have come and their `end` not yet; absent if none. They matter to the
    /// next run alone, which ends what a crash left here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ending: Vec<Source>,
    /// When the message was made, Unix seconds.
    pub published: f64,
    /// Whether the clock behind the Unix seconds is synchronised; absent where the system does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_synced: Option<bool>,
}

/// `level`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Level {
    /// Version of the contract: changes only if a field were to change its name or its meaning.
    pub schema: u32,
    /// Name of the device.
    pub device: String,
    /// Level of the sound, dBFS, −120 (digital silence) to 0.
    pub level_dbfs: f32,
    /// The end of the sound, Unix seconds.
    pub heard: f64,
    /// When the message was made, Unix seconds.
    pub published: f64,
    /// Whether the clock behind the Unix seconds is synchronised; absent where the system does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_synced: Option<bool>,
}

impl Level {
    /// The level of the sound that a frame was judged with.
    pub fn of(device: &str, analysed: &Analysed, moment: Moment) -> Self {
        Self {
            schema: SCHEMA,
            device: device.into(),
            level_dbfs: rounded(analysed.sound.level_dbfs, 10.0),
            heard: moment.unix(analysed.sound.end),
            published: moment.unix(moment.now),
            clock_synced: moment.synced,
        }
    }
}

/// `info`, retained: what a subscriber may want to know before it reads anything else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Info {
    /// Version of the contract: changes only if a field were to change its name or its meaning.
    pub schema: u32,
    /// How often fields were added to this version so far.
    pub revision: u32,
    /// Name of the device.
    pub device: String,
    /// Version of the program.
    pub version: String,
    /// The model in use.
    pub model: ModelInfo,
    /// What runs it: `tensorrt`, `cpu`, or `tensorrt and cpu` where each runs a part of it; told anew when that changes.
    pub engine: String,
    /// The classes that may be reported, in the model's order.
    pub classes: Vec<ClassInfo>,
    /// What is known of the lens, as configured; empty if nothing is.
    pub lens: config::Lens,
    /// How much of the picture `detection.masks` hide, 0 (nothing) to 1: nothing is found there.
    #[schemars(range(min = 0, max = 1))]
    pub masked: f64,
    /// The camera's pictures; absent until the first was analysed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub picture: Option<Picture>,
}

/// Pictures of the camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Picture {
    /// Pixels across, at the source.
    pub width: u32,
    /// Pixels down, at the source.
    pub height: u32,
}

/// The model in use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ModelInfo {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// A class that may be reported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClassInfo {
    /// Its name in topics and messages.
    pub name: String,
    /// Its name for people.
    pub label: String,
    /// The sentence by which the model knows it.
    pub prompt: String,
}

impl Info {
    /// What this device is.
    pub fn new(config: &Config, model: &Model) -> Self {
        let manifest = model.manifest();
        let wanted = &config.detection.classes;
        let reported = manifest.classes.iter().filter(|c| wanted.is_empty() || wanted.contains(&c.name));
        Self {
            schema: SCHEMA,
            revision: REVISION,
            device: config.device.name.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            model: ModelInfo { name: manifest.name.clone(), version: manifest.version.clone() },
            engine: model.engine().into(),
            classes: reported
                .map(|class| ClassInfo {
                    name: class.name.clone(),
                    label: class.label().into(),
                    prompt: class.prompt.clone(),
                })
                .collect(),
            lens: config.camera.lens.clone(),
            masked: config.detection.masks.share(),
            picture: None,
        }
    }
}
