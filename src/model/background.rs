//! A robot's own noise: how clearly each class is "heard" in fans and motors alone, learned on
//! request and kept as per-class audio floors.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::Deserialize;

use super::ModelError;
use super::manifest::Manifest;
use super::score::{Score, log_odds, probability};
use crate::bounded;

/// A learned background: a class counts as heard only above its floor.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Background {
    /// Class name → least audio probability.
    pub audio_floor: BTreeMap<String, f32>,
}

impl Background {
    /// Reads a profile that [`Background::to_toml`] wrote.
    ///
    /// # Errors
    /// When the file is missing or is no profile.
    pub fn read(file: &Path) -> Result<Self, ModelError> {
        let failed = |reason: String| ModelError::Background { file: file.to_path_buf(), reason };
        let text = bounded::read_text(file, bounded::TEXT).map_err(|error| failed(error.to_string()))?;
        let profile: Self = toml::from_str(&text).map_err(|error| failed(error.to_string()))?;
        match profile.audio_floor.iter().find(|(_, floor)| !(0.0..=1.0).contains(*floor)) {
            Some((class, floor)) => Err(failed(format!("audio_floor.{class} = {floor}: expected 0 to 1"))),
            None => Ok(profile),
        }
    }

    /// The profile as a commented TOML file.
    pub fn to_toml(&self) -> String {
        let mut text = String::from(
            "# Learned from this machine's own noise. A class counts as heard only above its floor.\n[audio_floor]\n",
        );
        for (class, floor) in &self.audio_floor {
            let _ = writeln!(text, "{class:?} = {floor:.4}");
        }
        text
    }
}

/// Learns a background while nothing but the machine's own noise sounds.
#[derive(Debug, Clone)]
pub struct BackgroundLearner {
    names: Vec<String>,
    observed: Vec<Vec<f32>>,
}

impl BackgroundLearner {
    /// The share of observations that the floor lies above.
    pub const QUANTILE: f64 = 0.99;
    /// Added to that quantile, in log-odds.
    pub const MARGIN: f32 = 0.5;
    /// Observations beyond this many replace none: the noise is known by then.
    const MOST: usize = 100_000;

    /// A learner for the classes of a model.
    pub fn new(manifest: &Manifest) -> Self {
        let names: Vec<String> = manifest.classes.iter().map(|class| class.name.clone()).collect();
        Self { observed: vec![Vec::new(); names.len()], names }
    }

    /// Takes the scores of one frame.
    pub fn observe(&mut self, scores: &[Score]) {
        for score in scores {
            if let Some(seen) = self.observed.get_mut(score.class).filter(|seen| seen.len() < Self::MOST) {
                seen.push(log_odds(score.p_audio));
            }
        }
    }

    /// How many frames were observed.
    pub fn observations(&self) -> usize {
        self.observed.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// The floors of what was observed: a high quantile of every class's audio log-odds and a margin.
    pub fn profile(&self) -> Background {
        let floors = self.names.iter().zip(&self.observed).filter_map(|(name, seen)| {
            let mut sorted = seen.clone();
            sorted.sort_by(f32::total_cmp);
            let last = sorted.len().checked_sub(1)?;
            let quantile = sorted[(last as f64 * Self::QUANTILE).ceil() as usize];
            Some((name.clone(), probability(quantile + Self::MARGIN)))
        });
        Background { audio_floor: floors.collect() }
    }
}
