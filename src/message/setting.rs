//! Settings that subscribers may change: what they wish, what holds, and what is answered.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SCHEMA;
use crate::config::{Config, Overrides, Thresholds};

/// What a subscriber wrote to `set/<key>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Which setting.
    pub key: String,
    /// Its new value, JSON; empty or `null`: the configuration file's.
    pub payload: Vec<u8>,
    /// Whether the broker kept the message, and would tell it again on every connection.
    pub retained: bool,
}

impl Wish {
    /// Whether it is to switch the device on or off.
    pub fn switches(&self) -> bool {
        self.key == "enable"
    }
}

/// A stranger's words, fit for one line of a log: without line ends and other control characters, and not endless.
pub fn one_line(text: &str) -> String {
    const MOST: usize = 300;
    let mut line: String = text.chars().take(MOST).flat_map(shown).collect();
    if text.chars().nth(MOST).is_some() {
        line.push('…');
    }
    line
}

/// A reason that was written for a terminal, in lines, as one sentence: without what points at a place in a file.
pub fn one_sentence(text: &str) -> String {
    let told = text.lines().map(str::trim).filter(|line| !line.is_empty() && !is_excerpt(line));
    let whole =
        told.fold(String::new(), |whole, line| match (whole.chars().last(), line.strip_prefix("= ")) {
            (None, _) => line.into(),
            (_, Some(cure)) => format!("{whole}; {cure}"),
            (Some(':' | ',' | ';' | '.'), _) => format!("{whole} {line}"),
            _ => format!("{whole}; {line}"),
        });
    one_line(&whole)
}

/// Whether a line of a reason shows a place in a file: `   4 | port = 0`, or the marks below.
fn is_excerpt(line: &str) -> bool {
    line.split_once('|').is_some_and(|(number, _)| number.trim().chars().all(|c| c.is_ascii_digit()))
}

fn shown(c: char) -> impl Iterator<Item = char> {
    let escaped = c.is_control().then(|| c.escape_default());
    let plain = (!c.is_control()).then_some(c);
    escaped.into_iter().flatten().chain(plain)
}

/// `settings`, retained: the settings in force that `set/<key>` can change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Settings {
    /// Version of the contract: changes only if a field were to change its name or its meaning.
    pub schema: u32,
    /// Name of the device.
    pub device: String,
    /// Whether anything is analysed.
    pub enable: bool,
    /// Added to the log-odds of every class, −10 to 10.
    pub sensitivity: f32,
    /// The only classes reported; empty: all.
    pub classes: Vec<String>,
    /// Thresholds in place of the model's own, by class.
    pub thresholds: BTreeMap<String, Thresholds>,
    /// The keys that were changed by `set/<key>`; the others stand in the configuration file.
    pub changed: Vec<String>,
}

impl Settings {
    /// The settings of `config`, in which `overrides` are in force.
    pub fn new(config: &Config, overrides: &Overrides) -> Self {
        let detection = config.detection.clone();
        let changed = [
            overrides.enable.is_some(),
            overrides.sensitivity.is_some(),
            overrides.classes.is_some(),
            overrides.thresholds.is_some(),
        ];
        let changed = Overrides::KEYS.into_iter().zip(changed).filter(|(_, changed)| *changed);
        Self {
            schema: SCHEMA,
            device: config.device.name.clone(),
            enable: detection.enable,
            sensitivity: detection.sensitivity,
            classes: detection.classes,
            thresholds: detection.thresholds,
            changed: changed.map(|(key, _)| key.into()).collect(),
        }
    }
}

/// `set/<key>/result`: what came of a wish.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Answer {
    /// Version of the contract: changes only if a field were to change its name or its meaning.
    pub schema: u32,
    /// Name of the device.
    pub device: String,
    /// Which setting; the level of its topic before the last.
    pub key: String,
    /// Whether it is in force.
    pub accepted: bool,
    /// Why it is not in force, or will not be after a restart; empty if all is well.
    pub reason: String,
    /// When the message was made, Unix seconds.
    pub published: f64,
    /// Whether the clock behind the Unix seconds is synchronised; absent where the system does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_synced: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_readable_sentence() {
        let told = "no class \"gren\". It knows these 3:\n  red, green,\n  blue";
        assert_eq!(one_sentence(told), "no class \"gren\". It knows these 3: red, green, blue");
        let told = "a.toml:4:8: mqtt.port: 0 is out of range\n   4 | port = 0\n     |        ^\n   = did you mean 1883?\n";
        assert_eq!(one_sentence(told), "a.toml:4:8: mqtt.port: 0 is out of range; did you mean 1883?");
        assert_eq!(one_sentence("first\n\nsecond\n"), "first; second");
        assert_eq!(one_sentence("\u{1b}[31m"), r"\u{1b}[31m", "no terminal obeys it");
        assert_eq!(one_sentence(&"x".repeat(1000)).chars().count(), 301);
    }
}
