//! What subscribers change while the daemon runs: laid over the file's settings, kept in a file apart.

use super::{Config, Thresholds};
use super::{search, value, words};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Settings of `[detection]` that stand in place of the file's; `None`: the file's holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Overrides {
    /// Whether anything is analysed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable: Option<bool>,
    /// Added to the log-odds of every class, −10 to 10.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "value::some_log_odds")]
    #[schemars(range(min = -10, max = 10))]
    pub sensitivity: Option<f32>,
    /// The only classes reported; empty: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
    /// Thresholds in place of the model's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thresholds: Option<BTreeMap<String, Thresholds>>,
}

impl Overrides {
    /// The settings that may be changed.
    pub const KEYS: [&str; 4] = ["enable", "sensitivity", "classes", "thresholds"];

    /// The same with `key` as the JSON in `payload` says; `null` or nothing gives it back to the file.
    ///
    /// # Errors
    /// There is no such setting, or the payload is no value for it; the sentence says what is expected.
    pub fn with(&self, key: &str, payload: &[u8]) -> Result<Self, String> {
        if !Self::KEYS.contains(&key) {
            return Err(format!("there is no setting `{key}`, expected {}", Self::KEYS.join(", ")));
        }
        let value = match payload {
            [] => Value::Null,
            text => serde_json::from_slice(text).map_err(|error| format!("is no JSON: {error}"))?,
        };
        let mut all = serde_json::to_value(self).map_err(|error| error.to_string())?;
        match all.as_object_mut() {
            Some(all) if value.is_null() => drop(all.remove(key)),
            Some(all) => drop(all.insert(key.into(), value)),
            None => {}
        }
        Self::deserialize(all).map_err(|error| words::explain(&error.to_string(), &[key.into()], None).0)
    }

    /// Forgets what is said of classes that are not `known`, and gives their names. A list of which nothing is left is the
    /// file's again: an empty one would mean every class.
    pub fn forget(&mut self, known: impl Fn(&str) -> bool) -> Vec<String> {
        let mut forgotten = BTreeSet::new();
        if let Some(classes) = &mut self.classes {
            forgotten.extend(classes.extract_if(.., |class| !known(class)));
            self.classes.take_if(|classes| classes.is_empty() && !forgotten.is_empty());
        }
        if let Some(thresholds) = &mut self.thresholds {
            forgotten.extend(thresholds.extract_if(.., |class, _| !known(class)).map(|(class, _)| class));
            self.thresholds.take_if(|thresholds| thresholds.is_empty() && !forgotten.is_empty());
        }
        forgotten.into_iter().collect()
    }

    /// `config` with these settings.
    pub fn over(&self, config: &Config) -> Config {
        let (mut config, own) = (config.clone(), self.clone());
        let detection = &mut config.detection;
        detection.enable = own.enable.unwrap_or(detection.enable);
        detection.sensitivity = own.sensitivity.unwrap_or(detection.sensitivity);
        detection.classes = own.classes.unwrap_or(std::mem::take(&mut detection.classes));
        detection.thresholds = own.thresholds.unwrap_or(std::mem::take(&mut detection.thresholds));
        config
    }

    /// Reads what [`Overrides::save`] wrote; nothing is changed where there is no file.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn load(file: &Path) -> io::Result<Self> {
        if fs::metadata(file).is_ok_and(|about| !about.is_file()) {
            return Err(io::Error::other("it is no file"));
        }
        match fs::read(file) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Writes them to `file` as a whole or not at all, whatever happens meanwhile.
    ///
    /// # Errors
    /// The system refuses it.
    pub fn save(&self, file: &Path) -> io::Result<()> {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        let part = file.with_extension("part");
        let mut writer = File::create(&part)?;
        serde_json::to_writer_pretty(&mut writer, self)?;
        writer.write_all(b"\n")?;
        writer.sync_all()?;
        fs::rename(part, file)
    }
}

impl Config {
    /// The file that keeps what subscribers changed: `mqtt.settings_file`, or one named after the device in
    /// `$STATE_DIRECTORY`, `$XDG_STATE_HOME/tvsl` or `~/.local/state/tvsl`; `None` without any.
    pub fn settings_file(&self) -> Option<PathBuf> {
        search::state_file(&self.mqtt.settings_file, format!("settings-{}.json", self.device.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_changed_and_given_back() {
        let changed = Overrides::default().with("classes", br#"["dog"]"#).expect("a list");
        let changed = changed.with("sensitivity", b"-1.5").expect("a number");
        let config = changed.over(&Config::default());
        assert_eq!(
            (config.detection.classes.as_slice(), config.detection.sensitivity),
            (&["dog".into()][..], -1.5)
        );
        let back =
            changed.with("classes", b"").and_then(|c| c.with("sensitivity", b"null")).expect("nothing");
        assert_eq!(back.over(&Config::default()), Config::default());
    }

    #[test]
    fn a_wrong_value_is_refused_with_what_is_expected() {
        for (key, payload, told) in [
            ("enabel", "true", "expected enable"),
            ("enable", "\"no\"", "is the text \"no\", expected true or false"),
            ("enable", "yes", "no JSON"),
            ("sensitivity", "11", "from -10 to 10"),
            ("classes", "\"dog\"", "expected a list in brackets"),
            ("thresholds", r#"{"dog": {"p": 1.5}}"#, "from 0 to 1"),
            ("thresholds", r#"{"dog": {"q": 0.5}}"#, "unknown key `q`"),
            ("thresholds", r#"{"dog": 5}"#, "is the number 5, expected a section of keys"),
        ] {
            let why = Overrides::default().with(key, payload.as_bytes()).expect_err(payload);
            assert!(why.contains(told), "{key} {payload}: {why}");
        }
    }

    #[test]
    fn classes_that_no_model_knows_any_more_are_forgotten_and_nothing_else() {
        let changed = |key, value: &[u8]| Overrides::default().with(key, value).expect("a value");
        let mut both = changed("classes", br#"["dog", "cat"]"#);
        both.enable = Some(false);
        both.thresholds = changed("thresholds", br#"{"cat": {"p": 0.7}, "owl": {}}"#).thresholds;
        assert_eq!(both.forget(|class| class == "dog"), ["cat", "owl"]);
        let left = Overrides { enable: Some(false), ..changed("classes", br#"["dog"]"#) };
        assert_eq!(both, left);
        assert_eq!(both.forget(|_| false), ["dog"]);
        assert_eq!(both.classes, None, "an empty list would report every class");
        let mut all = changed("classes", b"[]");
        assert_eq!(all.forget(|_| false), Vec::<String>::new());
        assert_eq!(all, changed("classes", b"[]"));
    }

    #[test]
    fn what_is_saved_is_loaded_and_a_damaged_file_is_an_error() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("deeper/settings.json");
        assert_eq!(Overrides::load(&file).expect("no file"), Overrides::default());
        let changed =
            Overrides::default().with("thresholds", br#"{"dog": {"p": 0.7}}"#).expect("a threshold");
        changed.save(&file).expect("room");
        assert_eq!(Overrides::load(&file).expect("a file"), changed);
        assert!(fs::read_to_string(&file).expect("a file").ends_with("}\n"), "a text file");
        fs::write(&file, "{\"enable\": tr").expect("room");
        assert_eq!(Overrides::load(&file).expect_err("damaged").kind(), ErrorKind::UnexpectedEof);
    }
}
