//! A configuration while it is judged: what is wrong with it is collected, to be told all at once.

use super::error::{Fault, sound};
use super::search::{self, Origin};
use super::{Config, ConfigError, Written, layer};
use std::path::Path;
use std::sync::Arc;

/// A configuration, and what was found wrong with it so far. Faulty values stand at their defaults.
#[derive(Debug)]
pub struct Draft {
    config: Config,
    written: Option<Arc<Written>>,
    faults: Vec<Fault>,
}

impl Draft {
    /// Reads the configuration from where [`Config::origin`] finds it.
    ///
    /// # Errors
    /// There is nothing that could be judged further: the file cannot be read, or is no TOML.
    pub fn find(argument: Option<&Path>, environment: Option<&Path>) -> Result<(Draft, Origin), ConfigError> {
        let origin = Config::origin(argument, environment);
        let built_in = || Ok(Draft { config: Config::default(), written: None, faults: Vec::new() });
        Ok((origin.file().map_or_else(built_in, Draft::load)?, origin))
    }

    /// Reads `file` over the defaults.
    pub(super) fn load(file: &Path) -> Result<Draft, ConfigError> {
        let mut draft = Draft::parse(&search::read(file)?, file)?;
        draft.config.written.clone_from(&draft.written);
        draft.config.anchor();
        Ok(draft)
    }

    /// Reads `text` over the defaults; faults name it `file`.
    pub(super) fn parse(text: &str, file: &Path) -> Result<Draft, ConfigError> {
        let (config, faults) =
            layer::read(text).map_err(|faults| ConfigError::invalid(file, text, faults))?;
        let written = Some(Arc::new(Written { file: file.into(), text: text.into() }));
        Ok(Draft { config: config.named(), written, faults })
    }

    /// What can be judged further, as far as [`Draft::is_sound`] says so.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether nothing is known to be wrong with these keys or sections, nor with anything in them or around them.
    pub fn is_sound(&self, keys: &[&str]) -> bool {
        sound(&self.faults, keys)
    }

    /// Adds that the value of the dotted `key` cannot be, as only the model, the engine or a device could tell.
    pub fn fault(&mut self, key: &str, why: &str) {
        self.faults.push(Fault::found(key, why, self.written.as_deref()));
    }

    /// Adds the same of a file that is not there: it may come later, with a mount.
    pub fn late(&mut self, key: &str, why: &str) {
        self.faults.push(Fault { late: true, ..Fault::found(key, why, self.written.as_deref()) });
    }

    /// The configuration.
    ///
    /// # Errors
    /// Anything was found wrong with it: everything, in the order of the file.
    pub fn judged(self) -> Result<Config, ConfigError> {
        match self.faults.is_empty() {
            true => Ok(self.config),
            false => Err(ConfigError::of(self.written.as_deref(), self.faults)),
        }
    }
}

impl Config {
    /// Reads the configuration from where [`Config::origin`] finds it.
    ///
    /// # Errors
    /// That file cannot be read or is wrong; a later place never hides a fault in an earlier one.
    pub fn find(
        argument: Option<&Path>,
        environment: Option<&Path>,
    ) -> Result<(Config, Origin), ConfigError> {
        let (draft, origin) = Draft::find(argument, environment)?;
        Ok((draft.judged()?, origin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_sound_if_nothing_in_it_and_nothing_around_it_is_faulty() {
        let faults = [Fault::rule("camera.rtsp.url", String::new()), Fault::rule("mqtt", String::new())];
        for (key, expected) in [
            ("camera.rtsp.url", false),
            ("camera.rtsp", false),
            ("camera", false),
            ("camera.source", true),
            ("camera.rtsp.url_of", true),
            ("mqtt.port", false),
            ("mqttx", true),
        ] {
            assert_eq!(sound(&faults, &[key]), expected, "{key}");
        }
    }
}
