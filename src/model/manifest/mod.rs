//! `manifest.toml`: what a model folder says about itself, read strictly and checked.

mod check;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::ModelError;
use crate::bounded;
use crate::geometry::{Fit, Size};

/// Name of the manifest inside a model folder.
pub const FILE: &str = "manifest.toml";

/// A model folder's description of itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format: 1.
    pub schema: u32,
    /// Short name of the model.
    pub name: String,
    /// The model's own version.
    pub version: String,
    /// One sentence for people.
    #[serde(default)]
    pub description: String,
    /// How a picture is prepared.
    pub image: Image,
    /// How sound is prepared.
    pub audio: Audio,
    /// ONNX files per precision; `fp32` must be there.
    pub graphs: BTreeMap<String, Graphs>,
    /// The space in which picture, sound and text meet.
    pub embedding: Embedding,
    /// When a class counts as heard and seen.
    pub thresholds: Thresholds,
    /// The classes, in the order of the rows of `t`.
    pub classes: Vec<Class>,
    /// Every file of the folder that the runtime opens, with its checksum.
    #[serde(default)]
    pub files: Vec<File>,
}

/// How a picture becomes the graph `image`'s input.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Whether the picture keeps its aspect.
    pub aspect: Aspect,
    /// Pixels per grid cell.
    pub stride: u32,
    /// Most cells of the grid; squashed pictures fill the largest square grid of as many.
    pub cells_max: u32,
    /// Subtracted from red, green and blue (0–255).
    pub mean: [f32; 3],
    /// Divides red, green and blue after that.
    pub std: [f32; 3],
    /// Order of the colour planes.
    #[serde(default)]
    pub channels: Channels,
    /// Most pictures that one run is given, one for each camera: what plans for a GPU are built for.
    #[serde(default = "one_camera")]
    pub cameras: u32,
}

fn one_camera() -> u32 {
    1
}

/// What happens to a picture's aspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Aspect {
    /// Kept; the grid follows it and the rest is padding.
    Letterbox,
    /// Ignored; the picture fills a fixed grid.
    Squash,
}

/// Order of the colour planes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red.
    Bgr,
}

/// How sound becomes the graph `audio`'s input.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audio {
    /// What the graph takes.
    pub front_end: FrontEnd,
    /// Samples per second.
    pub sample_rate: u32,
    /// Seconds of sound a frame is judged with.
    pub window: f64,
    /// Seconds between runs of the audio graph.
    pub hop: f64,
    /// Samples (−1 to 1) are multiplied by this.
    #[serde(default = "one")]
    pub scale: f32,
    /// The graph is so little work that a second thread costs more than it saves.
    #[serde(default)]
    pub light: bool,
    /// Settings of the front end `log_mel`.
    pub log_mel: Option<LogMel>,
}

fn one() -> f32 {
    1.0
}

/// What the audio graph takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrontEnd {
    /// Patches of a log-mel spectrogram, `[1, patch_frames, bands]`.
    LogMel,
    /// The window's samples, `[1, S]`.
    Waveform,
}

/// A log-mel spectrogram: periodic Hann window, HTK mel scale, `log(x + log_offset)`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogMel {
    /// Samples per analysis frame.
    pub frame_length: usize,
    /// Samples between frames.
    pub frame_step: usize,
    /// Length of the Fourier transform; the frame is followed by zeros.
    pub fft: usize,
    /// Mel bands.
    pub bands: usize,
    /// Lower edge of the lowest band, Hz.
    pub low_hz: f64,
    /// Upper edge of the highest band, Hz.
    pub high_hz: f64,
    /// Exponent of the magnitude: 1 magnitude, 2 power.
    pub power: f32,
    /// Added before the logarithm.
    pub log_offset: f32,
    /// Frames per patch.
    pub patch_frames: usize,
    /// Frames between patches: `hop`.
    pub patch_step: usize,
}

/// The ONNX files of one precision, relative to the model folder.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Graphs {
    /// Picture → `V`; → `features` where there is an `image_head`.
    pub image: String,
    /// `features` → `V`: what of the picture's way must not be computed in half precision.
    pub image_head: Option<String>,
    /// Sound → `A`.
    pub audio: String,
    /// `V`, `A`, `t` → `p`, `p_v`, `p_a`.
    pub stage1: String,
    /// `V`, `A`, `t` → `H`.
    pub stage2: String,
    /// `tokens` → `t`, where the table is not shipped.
    pub text: Option<String>,
}

/// The space in which picture, sound and text meet.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embedding {
    /// Its dimension, D.
    pub dimension: usize,
    /// Safetensors file with `t`, `[N, D]`; without it the graph `text` computes `t`.
    pub text: Option<String>,
    /// How the graph `text` wants words cut into tokens; without it, only the prompts in this manifest.
    pub tokenizer: Option<Tokenizer>,
}

/// Ways to cut words into tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tokenizer {
    /// CLIP's byte-pair encoding between start and end of text, at most 77 tokens.
    Clip,
}

/// When a class counts as heard and seen; probabilities unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// Least joint probability.
    pub p: f32,
    /// Least visual probability.
    pub p_v: f32,
    /// Least audio probability.
    pub p_a: f32,
    /// Below this level of sound, dBFS, nothing is sounding.
    pub level_dbfs: f32,
    /// Regions are where the min–max-normalised map is at least this.
    pub map: f32,
}

/// One class.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// Its identifier in messages and configuration.
    pub name: String,
    /// The sentence its row of `t` embeds.
    #[serde(default)]
    pub prompt: String,
    /// Its name for people; empty: `name`.
    #[serde(default)]
    pub label: String,
    /// Other names for it, or for parts of it, in the scene files of others.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// The prompt's tokens, for models with a text graph.
    #[serde(default)]
    pub tokens: Vec<u32>,
    /// Overrides [`Thresholds::p`].
    pub p: Option<f32>,
    /// Overrides [`Thresholds::p_v`].
    pub p_v: Option<f32>,
    /// Overrides [`Thresholds::p_a`].
    pub p_a: Option<f32>,
    /// Overrides [`Thresholds::map`].
    pub map: Option<f32>,
}

impl Class {
    /// The name for people.
    pub fn label(&self) -> &str {
        if self.label.is_empty() { &self.name } else { &self.label }
    }
}

/// A file of the model folder.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Relative to the folder.
    pub path: String,
    /// SHA-256 of its bytes, lower-case hexadecimal.
    pub sha256: String,
    /// SPDX identifier of its licence.
    #[serde(default)]
    pub license: String,
    /// Where its contents come from.
    #[serde(default)]
    pub source: String,
}

impl Manifest {
    /// Reads and checks the manifest of the model folder `dir`; opens none of the other files.
    ///
    /// # Errors
    /// When it is missing, is no manifest, or contradicts itself: file, key and what was expected.
    pub fn read(dir: &Path) -> Result<Self, ModelError> {
        let file = dir.join(FILE);
        let text = bounded::read_text(&file, bounded::TEXT)
            .map_err(|cause| ModelError::Read { file: file.clone(), cause })?;
        Self::parse(&text, &file)
    }

    /// The same for `text`, which stands in `file`.
    ///
    /// # Errors
    /// When it is no manifest, or contradicts itself.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ModelError> {
        let fault = |reason| ModelError::Manifest { file: file.to_path_buf(), reason };
        let manifest: Self = toml::from_str(text).map_err(|error| fault(error.to_string()))?;
        manifest.fault().map_or(Ok(manifest), |reason| Err(fault(reason)))
    }

    /// The index of the class `name`.
    pub fn class(&self, name: &str) -> Option<super::ClassId> {
        self.classes.iter().position(|class| class.name == name)
    }

    /// The index of the class that is called `name` or has it among its aliases.
    pub fn class_or_alias(&self, name: &str) -> Option<super::ClassId> {
        let known_as = |class: &Class| class.aliases.iter().any(|alias| alias == name);
        self.class(name).or_else(|| self.classes.iter().position(known_as))
    }

    /// Every class's threshold on its normalised heat map.
    pub fn map_thresholds(&self) -> Vec<f32> {
        self.classes.iter().map(|class| class.map.unwrap_or(self.thresholds.map)).collect()
    }

    /// The graphs of a precision.
    pub fn precision(&self, name: &str) -> Option<&Graphs> {
        self.graphs.get(name)
    }

    /// Samples of sound a frame is judged with.
    pub fn window_samples(&self) -> usize {
        (self.audio.window * f64::from(self.audio.sample_rate)).round() as usize
    }

    /// Samples between runs of the audio graph.
    pub fn hop_samples(&self) -> usize {
        (self.audio.hop * f64::from(self.audio.sample_rate)).round() as usize
    }
}

impl Image {
    /// The red, green and blue that says nothing to the model, as the padding around a picture does.
    pub fn neutral(&self) -> [u8; 3] {
        self.mean.map(|mean| mean.round().clamp(0.0, 255.0) as u8)
    }

    /// Where a picture of the size `source` lies in the model's input.
    pub fn fit(&self, source: Size) -> Fit {
        let side = self.cells_max.isqrt();
        match self.aspect {
            Aspect::Letterbox => Fit::letterbox(source, self.stride, self.cells_max),
            Aspect::Squash => Fit::squash(self.stride, side, side),
        }
    }
}
