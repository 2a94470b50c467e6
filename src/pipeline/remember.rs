//! What subscribers changed outlasts the daemon: written down before it is answered.
//!
//! On a thread of its own: flash may take seconds, and analysis waits for nobody.

use std::path::Path;
use std::sync::mpsc::Receiver;

use tracing::{error, info, warn};

use super::reload::Layers;
use super::workshop::{Workshop, rewords};
use crate::analysis::Analysis;
use crate::config::{Config, Overrides};
use crate::publish::Teller;

/// A wish that was judged: the settings that are in force now, or why it is refused.
pub(super) struct Outcome {
    pub key: String,
    pub result: Result<Overrides, String>,
}

/// The settings of an earlier run over those of the file, in force in `analysis`. What cannot be read or
/// does not fit the model any more is left out and told.
pub(super) fn restore(config: &Config, analysis: &mut Analysis, workshop: &dyn Workshop) -> Layers {
    let mut layers = Layers { file: config.clone(), overrides: Overrides::default() };
    let Some(file) = config.settings_file().filter(|_| config.mqtt.enabled && config.mqtt.commands) else {
        return layers;
    };
    let restored = Overrides::load(&file).map_err(|error| error.to_string()).and_then(|overrides| {
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

/// Writes the outcome of each wish to `file`, then answers it, until nobody judges wishes any more.
pub(super) fn remember(outcomes: &Receiver<Outcome>, file: Option<&Path>, teller: &Teller) {
    for Outcome { key, result } in outcomes {
        let kept = result.map(|overrides| keep(&overrides, file));
        if let Ok(Err(why)) = &kept {
            warn!("a setting changed over MQTT is {why}");
        }
        match kept {
            Ok(kept) => teller.answer(key, true, kept.err().unwrap_or_default()),
            Err(why) => teller.answer(key, false, why),
        }
    }
}

fn keep(overrides: &Overrides, file: Option<&Path>) -> Result<(), String> {
    let lost = "in force until the next start only";
    let file = file.ok_or_else(|| format!("{lost}: no file for it is known, set mqtt.settings_file"))?;
    overrides.save(file).map_err(|error| format!("{lost}: {}: {error}", file.display()))
}
