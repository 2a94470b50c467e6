//! Open vocabulary: classes in the user's own words, as texts whose embeddings are computed once.

use std::path::Path;

use instant_clip_tokenizer::Tokenizer as ClipTokenizer;

use super::embeddings::Cache;
use super::manifest::{Class, Manifest};
use super::{ModelError, detect, parts, words};
use crate::config::{Config, Detection};
use crate::engine::{Engine, Tensor};

/// Tokens of a text that CLIP reads, without start and end.
const MOST_TOKENS: usize = 75;

impl Manifest {
    /// The manifest with the classes that the configuration names. A model that reads free text knows
    /// exactly those, in that order, or its own where none is named; any other keeps its list.
    ///
    /// # Errors
    /// A prompt for a model of fixed texts or for a class that is not named, or a text of impossible length.
    pub fn with_classes(mut self, config: &Detection) -> Result<Self, ModelError> {
        let prompted = config.prompts.keys().next();
        if !self.reads_text() {
            return match prompted {
                Some(class) => Err(ModelError::Fixed { model: self.name, class: class.clone() }),
                None => Ok(self),
            };
        }
        if config.classes.is_empty() && prompted.is_none() {
            return Ok(self);
        }
        let own = self.classes.iter().map(|class| &class.name);
        let named: Vec<_> =
            if config.classes.is_empty() { own.collect() } else { config.classes.iter().collect() };
        let tokenizer = ClipTokenizer::new();
        let mut classes: Vec<Class> = Vec::with_capacity(named.len());
        for name in named {
            if !classes.iter().any(|class| &class.name == name) {
                classes.push(self.worded(name, config, &tokenizer)?);
            }
        }
        self.classes = classes;
        match config.prompts.keys().find(|name| self.class(name).is_none()) {
            Some(name) => Err(detect::unknown(&self, "detection.prompts", name)),
            None => Ok(self),
        }
    }

    /// Whether the model reads free text: its classes are whatever words it is given.
    pub fn reads_text(&self) -> bool {
        self.embedding.tokenizer.is_some() && self.embedding.text.is_none()
    }

    /// The class `name`: as it stands in the manifest, or with the words of the configuration.
    fn worded(&self, name: &str, config: &Detection, tokenizer: &ClipTokenizer) -> Result<Class, ModelError> {
        let own = self.class(name).and_then(|id| self.classes.get(id));
        let template = config.prompts.get(name);
        if let (Some(own), None) = (own, template) {
            return Ok(own.clone());
        }
        let prompt = template.map_or("{}", String::as_str).replace("{}", &name.replace('_', " "));
        if let Some(entity) = words::entity(&prompt) {
            let (class, entity) = (name.to_owned(), entity.to_owned());
            return Err(ModelError::Entity { class, text: prompt, entity });
        }
        let mut tokens = words::tokens(tokenizer, &prompt);
        if !(1..=MOST_TOKENS).contains(&tokens.len()) {
            let (class, tokens) = (name.to_owned(), tokens.len());
            return Err(ModelError::Text { class, text: prompt, tokens, most: MOST_TOKENS });
        }
        tokens.insert(0, tokenizer.start_of_text());
        tokens.push(tokenizer.end_of_text());
        let tokens = tokens.into_iter().map(|token| u32::from(token.to_u16())).collect();
        Ok(Class { name: name.to_owned(), prompt, tokens, ..own.cloned().unwrap_or_default() })
    }
}

/// The words that a model of free text knows, read: what [`super::Model::reword`] takes.
pub struct Vocabulary {
    pub(super) manifest: Manifest,
    pub(super) text: Tensor,
}

impl Vocabulary {
    /// Reads the words that `config` names for the model in `dir`, unless the configured cache has them.
    ///
    /// # Errors
    /// As [`super::Model::configured`].
    pub fn read(dir: &Path, engine: &dyn Engine, config: &Config) -> Result<Self, ModelError> {
        let manifest = Manifest::read(dir)?.with_classes(&config.detection)?;
        let text = parts::text(dir, &manifest, engine, Cache::of(config).as_ref())?;
        Ok(Self { manifest, text })
    }

    /// The model's manifest with these words for its classes.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}
