//! What is wrong with a scenes file, told as the errors of a configuration are: file, line, key, what was expected, the cure.

use std::fmt::Write;
use std::path::{Path, PathBuf};

/// A scene file that cannot be used; each says where and what would cure it.
#[derive(Debug, thiserror::Error)]
pub enum ScenesError {
    /// The file cannot be read.
    #[error("cannot read scenes file {path}: {error}; give the path of a JSON file with the key `scenes`")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Not JSON, or not the JSON of scenes.
    #[error("{0}")]
    Format(String),
    /// The JSON is well formed, but a value in it is impossible.
    #[error("{path}: scenes[{scene}].{key}: {problem}; {cure}")]
    Value {
        /// The scenes file.
        path: PathBuf,
        /// Index of the scene, from 0.
        scene: usize,
        /// Key inside the scene.
        key: String,
        /// What is wrong.
        problem: String,
        /// What to do.
        cure: &'static str,
    },
}

/// Longer lines would bury the message.
const WIDEST: usize = 160;

impl ScenesError {
    /// What the reader of JSON says of the `text` of `path`, with the line and a mark where it stopped.
    pub(super) fn format(
        path: &Path,
        text: &str,
        error: &serde_path_to_error::Error<serde_json::Error>,
    ) -> Self {
        let (key, inner) = (error.path().to_string(), error.inner());
        let (line, column) = (inner.line(), inner.column());
        let message = inner.to_string();
        let message = message.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&message);
        let mut told = format!("{}:{line}:{column}: ", path.display());
        if key != "." {
            told += &format!("{key}: ");
        }
        let _ = writeln!(told, "{message}");
        let content = line.checked_sub(1).and_then(|line| text.lines().nth(line)).unwrap_or("");
        if content.chars().count() <= WIDEST && content.is_char_boundary(column) {
            // Columns are counted in bytes.
            let before = content[..column].chars().count().saturating_sub(1);
            let _ = writeln!(told, "{line:>4} | {content}\n     | {}^", " ".repeat(before));
        }
        Self::Format(told + "   = `tvsl eval --help` shows the form")
    }

    /// A list of scenes without one.
    pub(super) fn empty(path: &Path) -> Self {
        let path = path.display();
        Self::Format(format!(
            "{path}: scenes: the list is empty, expected at least one scene\n   = `tvsl eval --help` shows the form"
        ))
    }
}
