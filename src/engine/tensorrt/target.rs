//! What a plan is bound to, and why one may not be used.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::{self, Precision};

/// A GPU, as far as a plan depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// The device's name, "Orin" for example.
    pub name: String,
    /// Compute capability, "8.7" for example.
    pub compute_capability: String,
    /// The newest CUDA that the driver serves, "12.6" for example.
    pub driver: String,
    /// The driver's own version, "540.4.0" for example; empty where it is not told.
    pub release: String,
}

/// The machine that a plan is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// TensorRT with all the parts of its version that it tells: 8.x keeps the fourth to itself.
    pub tensorrt: String,
    /// The GPU and its driver.
    pub gpu: Gpu,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Gpu { name, compute_capability, driver, release } = &self.gpu;
        write!(f, "{} for {name}, SM {compute_capability}, CUDA {driver}", self.tensorrt)?;
        if release.is_empty() { Ok(()) } else { write!(f, ", driver {release}") }
    }
}

/// What the configuration asks of every plan. How each graph follows from it stands in [`BuildOptions`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Of the encoders.
    pub precision: Precision,
    /// Most scratch memory that a layer may use, in MiB.
    pub workspace_mib: usize,
    /// How hard to look for faster kernels, 0–5.
    pub level: u8,
}

impl From<&config::TensorRt> for Settings {
    fn from(config: &config::TensorRt) -> Self {
        Self { precision: config.precision, workspace_mib: config.workspace, level: config.level }
    }
}

impl Settings {
    /// What differs from `other`, by the keys of the configuration.
    fn unlike(self, other: Self) -> String {
        let keys = |settings: Self| {
            let Self { precision, workspace_mib, level } = settings;
            [format!("precision {precision}"), format!("workspace {workspace_mib}"), format!("level {level}")]
        };
        let pairs = keys(self).into_iter().zip(keys(other));
        pairs.filter(|(own, other)| own != other).map(|(own, _)| own).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} MiB of workspace, level {}", self.precision, self.workspace_mib, self.level)
    }
}

/// Why a plan may not be used. The cure is the same for all: build it again.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum PlanFault {
    #[error("{}: there is no plan yet; build it with `tvsl engine build`", file.display())]
    Missing { file: PathBuf },
    #[error("{}: {reason}; build the plan again with `tvsl engine build`", file.display())]
    Sidecar { file: PathBuf, reason: String },
    #[error(
        "{}: the plan was built by {built_for}; this device has {device}. Build it again with `tvsl engine build`",
        file.display()
    )]
    Target { file: PathBuf, built_for: Box<Target>, device: Box<Target> },
    #[error(
        "{}: the plan was built with {}; [engine.tensorrt] asks for {}. Build it again with `tvsl engine build`",
        file.display(), built_with.unlike(*asked), asked.unlike(*built_with)
    )]
    Settings { file: PathBuf, built_with: Settings, asked: Settings },
    #[error("{}: the plan was built from another {source_file}; build it again with `tvsl engine build`", file.display())]
    Source { file: PathBuf, source_file: String },
    #[error("{}: was changed while a plan was built from it, so the plan is not used; build it again with `tvsl engine build`", file.display())]
    Changed { file: PathBuf },
    #[error("{}: the plan cannot be read: {reason}; build it again with `tvsl engine build`", file.display())]
    Unreadable { file: PathBuf, reason: String },
    #[error(
        "{}: the plan is not the one that its sidecar describes (SHA-256 {found}, expected {expected}), so it was \
         not loaded; build it again with `tvsl engine build`",
        file.display()
    )]
    Altered { file: PathBuf, expected: String, found: String },
}
