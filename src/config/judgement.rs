//! The sections `[model]`, `[engine]`, `[window]`, `[detection]` and `[tracking]`: how it judges.

use super::{classes, value};
use crate::mask::Masks;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// `[model]`: which model judges.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Folder with a `manifest.toml`; see [`super::Config::model_dir`] for where a relative path is looked for.
    #[serde(deserialize_with = "value::path")]
    pub path: PathBuf,
    /// Folder for embeddings of texts; empty: see [`super::Config::cache_dir`].
    pub cache: PathBuf,
}

/// `[engine]`: what runs the model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Engine {
    /// The back end.
    pub kind: EngineKind,
    /// Threads of the CPU back end, 1–64.
    #[serde(deserialize_with = "value::threads")]
    pub threads: usize,
    /// The file of ONNX Runtime's library; empty: looked for where the shipped file says.
    pub library: PathBuf,
    /// How TensorRT's plans are built and looked after.
    pub tensorrt: TensorRt,
}

/// `[engine.tensorrt]`: plans, and a GPU that fails.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorRt {
    /// What becomes of a plan that is missing or no longer good.
    pub rebuild: Rebuild,
    /// What becomes of the service when the GPU fails.
    pub lost: Lost,
    /// How exactly the encoders compute.
    pub precision: Precision,
    /// Most scratch memory that a layer may use, in MiB, 16–65 536.
    #[serde(deserialize_with = "value::mebibytes")]
    pub workspace: usize,
    /// How hard the builder looks for faster kernels, 0–5.
    #[serde(deserialize_with = "value::level")]
    pub level: u8,
    /// The GPU gets something to do at least so often; zero: only what there is.
    #[serde(deserialize_with = "value::seconds")]
    pub keep_warm: Duration,
    /// A folder for the plans of a model folder that cannot be written to; filled in from
    /// [`super::Config::cache_dir`].
    #[serde(skip)]
    pub spare: Option<PathBuf>,
}

/// What becomes of a plan that is missing or no longer good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rebuild {
    /// `tvsl run` has it built in the background and changes over when it is good.
    Auto,
    /// It is left alone.
    Never,
}

/// What becomes of the service when the GPU fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lost {
    /// The CPU engine goes on.
    Cpu,
    /// It ends, to be started again.
    Exit,
}

/// How exactly a plan computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Half precision where it is faster and does no harm.
    Fp16,
    /// Single precision.
    Fp32,
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fp16 => "fp16",
            Self::Fp32 => "fp32",
        })
    }
}

/// The back ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// The best that the machine has.
    Auto,
    /// TensorRT on an NVIDIA GPU, with plans built by `tvsl engine build`.
    TensorRt,
    /// ONNX Runtime on the processor.
    Cpu,
}

/// `[window]`: how pictures and sound are paired.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// How long a sound counts after it is over, at most the model's window.
    #[serde(deserialize_with = "value::seconds")]
    pub memory: Duration,
    /// Longest time that a live picture waits for the sound of its moment.
    #[serde(deserialize_with = "value::seconds")]
    pub wait: Duration,
}

/// `[detection]`: what is reported.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detection {
    /// Whether anything is analysed.
    pub enable: bool,
    /// Added to the log-odds of every class, −10 to 10.
    #[serde(deserialize_with = "value::log_odds")]
    pub sensitivity: f32,
    /// The only classes reported; empty: all.
    #[serde(deserialize_with = "classes::list")]
    pub classes: Vec<String>,
    /// What of the picture is neither seen, reported nor sent.
    #[serde(deserialize_with = "value::masks")]
    pub masks: Masks,
    /// File of a learned background profile; empty: none.
    pub background: PathBuf,
    /// Audio probability that a class must exceed here.
    #[serde(deserialize_with = "value::probabilities")]
    pub audio_floor: BTreeMap<String, f32>,
    /// Text of a class for a model that reads free text; `{}` stands for the class.
    pub prompts: BTreeMap<String, String>,
    /// Thresholds in place of the model's own.
    pub thresholds: BTreeMap<String, Thresholds>,
}

/// `[detection.thresholds.CLASS]`: probabilities from which a class counts; `None`: the model's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Thresholds {
    /// Of the class being both seen and heard.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "value::some_probability")]
    #[schemars(with = "f32", range(min = 0, max = 1))]
    pub p: Option<f32>,
    /// Of the class being seen.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "value::some_probability")]
    #[schemars(with = "f32", range(min = 0, max = 1))]
    pub p_v: Option<f32>,
    /// Of the class being heard.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "value::some_probability")]
    #[schemars(with = "f32", range(min = 0, max = 1))]
    pub p_a: Option<f32>,
}

/// `[tracking]`: how detections become lasting identities.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tracking {
    /// How long a class must stay before its event starts.
    #[serde(deserialize_with = "value::seconds")]
    pub start_after: Duration,
    /// The probability from which an event starts at once, 0–1; 1: never.
    #[serde(deserialize_with = "value::probability")]
    pub sure: f32,
    /// How long a class must be gone before its event ends.
    #[serde(deserialize_with = "value::seconds")]
    pub hold: Duration,
    /// How far below its thresholds a class may fall while its event goes on, log-odds, 0–10.
    #[serde(deserialize_with = "value::slack")]
    pub keep: f32,
    /// Overlap (intersection over union, 0–1) from which two regions are the same object.
    #[serde(deserialize_with = "value::probability")]
    pub iou: f32,
}
