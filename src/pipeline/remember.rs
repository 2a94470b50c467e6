//! What subscribers changed, and the names of the device, outlast the daemon. A change is written down before it is answered.
//!
//! On a thread of its own: flash may take seconds, and analysis waits for nobody.

use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;

use tracing::{error, info, warn};

use super::reload::Layers;
use super::workshop::{Workshop, rewords};
use crate::analysis::Analysis;
use crate::config::{self, Config, Overrides};
use crate::publish::{Name, Teller};

/// What is to be written down.
pub(super) enum Note {
    /// A wish for the setting `key` was judged: the settings that are in force now, or why it is refused.
    Judged { key: String, result: Result<Overrides, String> },
    /// Names under which something may be left at the broker.
    Names(Vec<Name>),
}

/// Where it is written down; without a file it is not.
pub(super) struct Notebook {
    settings: Option<PathBuf>,
    names: Option<PathBuf>,
    /// What stands there.
    known: Vec<Name>,
}

/// The settings of an earlier run over those of the file, in force in `analysis`. What cannot be read or
/// does not fit the model any more is left out and told.
pub(super) fn restore(config: &Config, analysis: &mut Analysis, workshop: &dyn Workshop) -> Layers {
    let mut layers = Layers { file: config.clone(), overrides: Overrides::default() };
    let Some(file) = config.settings_file().filter(|_| config.mqtt.enabled && config.mqtt.commands) else {
        return layers;
    };
    let restored =
        config::kept::<Overrides>(&file).map_err(|error| error.to_string()).and_then(|overrides| {
            let saved = Layers { file: config.clone(), overrides };
            let overrides = saved.fitting(analysis.model().manifest()).overrides;
            let merged = overrides.over(config);
            if rewords(analysis.model(), config, &merged) {
                let words = workshop.words(&merged)?;
                analysis.reword(words, &merged).map_err(|error| error.to_string())?;
            } else {
                analysis.configure(&merged).map_err(|error| error.to_string())?;
            }
            Ok(overrides)
        });
    match restored {
        Ok(overrides) if overrides == Overrides::default() => {}
        Ok(overrides) => {
            let settings = serde_json::to_string(&overrides).unwrap_or_default();
            info!(file = %file.display(), "settings that were changed over MQTT are in force: {settings}");
            layers.overrides = overrides;
        }
        Err(why) => error!("{}: the settings changed over MQTT are left out: {why}", file.display()),
    }
    layers
}

impl Notebook {
    /// What an earlier run wrote for `config`. What cannot be read is left out and told.
    pub fn open(config: &Config) -> Self {
        let (settings, names) = (config.settings_file(), config.names_file());
        let known = names.as_deref().filter(|_| config.mqtt.enabled).map(config::kept).transpose();
        let known = known.unwrap_or_else(|error| {
            let file = names.as_deref().unwrap_or(Path::new("")).display();
            warn!("{file}: the former names of this device cannot be read: {error}");
            None
        });
        Self { settings, names, known: known.unwrap_or_default() }
    }

    /// The names that it holds, the newest last.
    pub fn names(&self) -> Vec<Name> {
        self.known.clone()
    }

    /// Writes every note down, and answers wishes after that, until nobody makes any more.
    pub fn write(mut self, notes: &Receiver<Note>, teller: &Teller) {
        for note in notes {
            match note {
                Note::Judged { key, result } => answer(key, result, self.settings.as_deref(), teller),
                Note::Names(names) => self.remember(names),
            }
        }
    }

    /// Writes the names down if they are others than before: flash is spared.
    fn remember(&mut self, names: Vec<Name>) {
        let Some(file) = self.names.as_deref().filter(|_| names != self.known) else { return };
        if let Err(error) = config::keep(file, &names) {
            warn!(
                "{}: the name of this device is not remembered ({error}); when it is renamed while it is off, list \
                 it in [mqtt.home_assistant] former",
                file.display()
            );
        }
        self.known = names;
    }
}

/// Answers a wish, once what is in force is written to `file`.
fn answer(key: String, result: Result<Overrides, String>, file: Option<&Path>, teller: &Teller) {
    let kept = result.map(|overrides| keep(&overrides, file));
    if let Ok(Err(why)) = &kept {
        warn!("a setting changed over MQTT is {why}");
    }
    match kept {
        Ok(kept) => teller.answer(key, true, kept.err().unwrap_or_default()),
        Err(why) => teller.answer(key, false, why),
    }
}

fn keep(overrides: &Overrides, file: Option<&Path>) -> Result<(), String> {
    let lost = "in force until the next start only";
    let file = file.ok_or_else(|| format!("{lost}: no file for it is known, set mqtt.settings_file"))?;
    config::keep(file, overrides).map_err(|error| format!("{lost}: {}: {error}", file.display()))
}
