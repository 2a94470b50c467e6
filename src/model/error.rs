//! What can go wrong with a model folder, in words.

use std::io;
use std::path::PathBuf;

use super::ClassId;
use crate::engine::EngineError;
use crate::geometry::Size;

/// What helps where a file could not be read.
fn cure(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::PermissionDenied => {
            "let everybody read it, or do this with sudo or as the service's user"
        }
        _ => "restore the file, or check [model].path",
    }
}

/// Why a model folder could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file is missing or unreadable.
    #[error("{}: {cause}. Expected a complete model folder; cure: {}", file.display(), cure(cause))]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The manifest is no manifest or contradicts itself.
    #[error("{}: {reason}", file.display())]
    Manifest {
        /// The manifest.
        file: PathBuf,
        /// Key, value and what was expected.
        reason: String,
    },
    /// A file is not the one the manifest describes.
    #[error("{}: altered: its SHA-256 is {found}, the manifest expects {expected}. Cure: restore the file", file.display())]
    Altered {
        /// The file.
        file: PathBuf,
        /// Checksum in the manifest.
        expected: String,
        /// Checksum of the file.
        found: String,
    },
    /// A table of tensors is damaged or lacks the tensor.
    #[error("{}: {reason}", file.display())]
    Table {
        /// The safetensors file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A graph's shape is not what the manifest promises.
    #[error("graph `{graph}`: `{port}` is {found}, expected {expected}")]
    Shape {
        /// Which graph.
        graph: &'static str,
        /// Which input or output.
        port: String,
        /// Its shape.
        found: String,
        /// The shape that the manifest promises.
        expected: String,
    },
    /// The configuration names a class that the model lacks.
    #[error(
        "{key}: the model `{model}` has no class \"{name}\"; the nearest is \"{nearest}\"{}",
        listed(known)
    )]
    Class {
        /// The configuration key.
        key: &'static str,
        /// The name in it.
        name: String,
        /// The model's name.
        model: String,
        /// The class most like it.
        nearest: String,
        /// Every class that it has; empty where they were told already.
        known: Vec<String>,
    },
    /// A text for a model whose texts are fixed.
    #[error(
        "detection.prompts.{class}: the model `{model}` has a fixed list of classes and reads no text; cure: remove the line"
    )]
    Fixed {
        /// The model's name.
        model: String,
        /// The class of the text.
        class: String,
    },
    /// A text that the model cannot read.
    #[error(
        "detection.prompts.{class}: \"{text}\" has {tokens} tokens, expected 1 to {most}; cure: another text"
    )]
    Text {
        /// The class.
        class: String,
        /// Its text.
        text: String,
        /// The tokens in it.
        tokens: usize,
        /// The most that the model reads.
        most: usize,
    },
    /// A text in the spelling of HTML.
    #[error(
        "detection.prompts.{class}: \"{text}\" holds `{entity}`, expected text as it is read; cure: the character itself"
    )]
    Entity {
        /// The class.
        class: String,
        /// Its text.
        text: String,
        /// What is not read as it stands.
        entity: String,
    },
    /// A background profile cannot be used.
    #[error("{}: not a background profile: {reason}", file.display())]
    Background {
        /// The profile.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Sound that is to count on for longer than the model hears it.
    #[error(
        "window.memory: {asked} is out of range, expected seconds from 0 to {window}, the window of the model `{model}`"
    )]
    Memory {
        /// Seconds that are asked for.
        asked: f64,
        /// Seconds that the model hears.
        window: f64,
        /// The model's name.
        model: String,
    },
    /// A class index outside the model.
    #[error("class {0} is not one of the model's")]
    Index(ClassId),
    /// Sound of another rate.
    #[error("sound has {found} samples per second, the model expects {expected}")]
    Rate {
        /// The model's rate.
        expected: u32,
        /// The block's rate.
        found: u32,
    },
    /// A frame whose bytes do not match its size.
    #[error("a frame of {}x{} RGB pixels came with {bytes} bytes", size.width, size.height)]
    Frame {
        /// The size it claims.
        size: Size,
        /// The bytes it has.
        bytes: usize,
    },
    /// The runtime failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl ModelError {
    /// The dotted key of the setting at fault, if one is.
    pub fn key(&self) -> Option<String> {
        match self {
            Self::Class { key: "detection.classes", .. } => Some("detection.classes".to_owned()),
            Self::Class { key, name, .. } => Some(format!("{key}.{name}")),
            Self::Fixed { class, .. } | Self::Text { class, .. } | Self::Entity { class, .. } => {
                Some(format!("detection.prompts.{class}"))
            }
            Self::Background { .. } => Some("detection.background".to_owned()),
            Self::Engine(error) => error.key().map(str::to_owned),
            Self::Memory { .. } => Some("window.memory".to_owned()),
            _ => None,
        }
    }

    /// Whether it may be over without anybody's doing.
    pub fn passing(&self) -> bool {
        matches!(self, Self::Engine(error) if error.passing())
    }

    /// Whether the GPU failed at work, which no other configuration would mend.
    pub fn lost(&self) -> bool {
        matches!(self, Self::Engine(error) if error.lost())
    }

    /// Whether the process is to end: the GPU failed or lacked memory, and nothing may go on in its place.
    pub fn ends_the_process(&self) -> bool {
        matches!(self, Self::Engine(EngineError::Lost { .. }))
    }
}

/// Characters of a line of names.
const LINE: usize = 98;

/// The names, if there are any, in indented lines of their own, for a terminal.
fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let mut text = format!(". It knows these {}:", names.len());
    let mut column = LINE;
    for (i, name) in names.iter().enumerate() {
        let name = format!("{name}{}", if i + 1 < names.len() { "," } else { "" });
        let wide = name.chars().count() + 1;
        let fits = column + wide <= LINE;
        column = if fits { column + wide } else { 1 + wide };
        text += &format!("{}{name}", if fits { " " } else { "\n  " });
    }
    text
}
