//! Stage 1: which classes are both heard and seen.

use std::collections::BTreeMap;

use super::manifest::Manifest;
use super::score::{Score, shifted};
use super::{Background, ClassId, ModelError};
use crate::config;

/// The rule that turns scores into the set of classes that are both heard and seen.
#[derive(Debug, Clone)]
pub struct Decision {
    classes: Vec<Limits>,
    level_dbfs: f32,
    keep: f32,
}

/// Least probabilities of one class.
#[derive(Debug, Clone, Copy)]
struct Limits {
    p: f32,
    p_v: f32,
    p_a: f32,
    /// Of the noises of the place: nothing lowers it.
    floor: f32,
    allowed: bool,
}

impl Limits {
    /// Whether `score` reaches every limit, lowered by `slack` in log-odds.
    fn passes(&self, score: &Score, slack: f32) -> bool {
        let least = |p| shifted(p, -slack);
        self.allowed
            && score.p >= least(self.p)
            && score.p_visual >= least(self.p_v)
            && score.p_audio >= least(self.p_a).max(self.floor)
    }
}

impl Decision {
    /// The model's thresholds, changed by the configuration and by a learned background: a threshold
    /// set in the configuration replaces the model's, `sensitivity` is added to every log-odds, and a
    /// class must be heard at least as clearly as each of its audio floors says.
    ///
    /// # Errors
    /// When the configuration names a class that the model lacks.
    pub fn new(
        manifest: &Manifest,
        config: &config::Detection,
        background: Option<&Background>,
    ) -> Result<Self, ModelError> {
        if let Some(stranger) = strangers(manifest, config).into_iter().next() {
            return Err(stranger);
        }
        let nothing = BTreeMap::new();
        let learned = background.map_or(&nothing, |b| &b.audio_floor);
        let classes = manifest
            .classes
            .iter()
            .map(|class| {
                let (all, own) = (manifest.thresholds, config.thresholds.get(&class.name));
                let limit = |set: Option<f32>, model: Option<f32>, general: f32| {
                    shifted(set.or(model).unwrap_or(general), -config.sensitivity)
                };
                let floor = |floors: &BTreeMap<String, f32>| floors.get(&class.name).copied().unwrap_or(0.0);
                Limits {
                    p: limit(own.and_then(|o| o.p), class.p, all.p),
                    p_v: limit(own.and_then(|o| o.p_v), class.p_v, all.p_v),
                    p_a: limit(own.and_then(|o| o.p_a), class.p_a, all.p_a),
                    floor: floor(&config.audio_floor).max(floor(learned)),
                    allowed: config.classes.is_empty() || config.classes.contains(&class.name),
                }
            })
            .collect();
        Ok(Self { classes, level_dbfs: manifest.thresholds.level_dbfs, keep: 0.0 })
    }

    /// The same rule with hysteresis: for a class that goes on, each threshold but the audio floor is
    /// `log_odds` lower, so that a score near its threshold does not flicker.
    pub fn keeping(self, log_odds: f32) -> Self {
        Self { keep: log_odds, ..self }
    }

    /// The set S: classes over all their thresholds, the most probable first; none where the sound is
    /// quieter than the model's gate. `going` are the classes whose events go on.
    pub fn select(&self, scores: &[Score], level_dbfs: f32, going: &[ClassId]) -> Vec<Score> {
        let slack = |class| if going.contains(&class) { self.keep } else { 0.0 };
        let passes = |score: &&Score| {
            self.classes.get(score.class).is_some_and(|limit| limit.passes(score, slack(score.class)))
        };
        if level_dbfs < self.level_dbfs {
            return Vec::new();
        }
        let mut selected: Vec<Score> = scores.iter().filter(passes).copied().collect();
        selected.sort_by(|a, b| b.p.total_cmp(&a.p));
        selected
    }
}

/// Every class that a configuration names and the model lacks; the first tells which there are.
pub fn strangers(manifest: &Manifest, config: &config::Detection) -> Vec<ModelError> {
    let named = config.classes.iter().map(|name| (name, "detection.classes"));
    let floors = config.audio_floor.keys().map(|name| (name, "detection.audio_floor"));
    let own = config.thresholds.keys().map(|name| (name, "detection.thresholds"));
    let lacking = named.chain(floors).chain(own).filter(|(name, _)| manifest.class(name).is_none());
    let mut strangers: Vec<_> = lacking.map(|(name, key)| unknown(manifest, key, name)).collect();
    for stranger in strangers.iter_mut().skip(1) {
        if let ModelError::Class { known, .. } = stranger {
            known.clear();
        }
    }
    strangers
}

pub(super) fn unknown(manifest: &Manifest, key: &'static str, name: &str) -> ModelError {
    let near = |class: &str| std::cmp::Reverse(strsim::damerau_levenshtein(class, name));
    let nearest = manifest.classes.iter().map(|c| &c.name).max_by_key(|class| near(class));
    let part_of = manifest.class_or_alias(name).map(|class| &manifest.classes[class].name);
    ModelError::Class {
        key,
        name: name.to_owned(),
        model: manifest.name.clone(),
        nearest: part_of.or(nearest).cloned().unwrap_or_default(),
        known: manifest.classes.iter().map(|class| class.name.clone()).collect(),
    }
}
