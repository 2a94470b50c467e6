//! What subscribers change while the daemon runs: laid over the file's settings, kept in a file apart.

use super::{Config, Thresholds};
use super::{classes, json, state, value, words};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Most bytes of a wish: what is told of all settings then is within what any broker takes.
const LONGEST: usize = 16 << 10;

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
    /// The only classes reported, each once, 500 of 100 bytes at most; empty: all.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "classes::some_list")]
    pub classes: Option<Vec<String>>,
    /// Thresholds in place of the model's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thresholds: Option<BTreeMap<String, Thresholds>>,
}

/// What a file keeps of what subscribers changed, as far as it can be read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recalled {
    /// What was changed.
    pub overrides: Overrides,
    /// What cannot be read, and why.
    pub faults: Vec<String>,
    /// Whether that may be the wish that nothing is analysed. It is taken for it: who switched a device off is not to be
    /// heard because a file was damaged.
    pub doubtful: bool,
}

impl Overrides {
    /// The settings that may be changed.
    pub const KEYS: [&str; 4] = ["enable", "sensitivity", "classes", "thresholds"];

    /// The setting of that name, if it is one.
    pub fn setting(key: &str) -> Option<&'static str> {
        Self::KEYS.into_iter().find(|setting| *setting == key)
    }

    /// The same with `key` as the JSON in `payload` says; `null` or nothing gives it back to the file.
    ///
    /// # Errors
    /// There is no such setting, or the payload is no value for it; the sentence says what is expected.
    pub fn with(&self, key: &str, payload: &[u8]) -> Result<Self, String> {
        if Self::setting(key).is_none() {
            return Err(format!("there is no setting `{key}`, expected {}", Self::KEYS.join(", ")));
        }
        if payload.len() > LONGEST {
            return Err(format!("is {} bytes long, expected at most {LONGEST}", payload.len()));
        }
        self.set(key, if payload.is_empty() { Value::Null } else { json::read(payload)? })
    }

    /// What `file` keeps; nothing where there is no file.
    pub fn recall(file: &Path) -> Recalled {
        let text = state::read(file).map_err(|error| error.to_string());
        let settings = text.and_then(|text| match text.map(|text| json::read(&text)).transpose()? {
            None => Ok(Map::new()),
            Some(Value::Object(settings)) => Ok(settings),
            Some(_) => Err("is no object of settings".into()),
        });
        let mut recalled = Recalled::default();
        match settings {
            Ok(settings) => settings.into_iter().for_each(|(key, value)| recalled.take(&key, value)),
            Err(why) => recalled.doubt(why),
        }
        recalled
    }

    /// The same with this value of `key`.
    fn set(&self, key: &str, value: Value) -> Result<Self, String> {
        let mut all = serde_json::to_value(self).map_err(|error| error.to_string())?;
        match all.as_object_mut() {
            Some(all) if value.is_null() => drop(all.remove(key)),
            Some(all) => drop(all.insert(key.into(), value)),
            None => {}
        }
        serde_path_to_error::deserialize(all).map_err(|error| {
            let path = error.path().to_string();
            let fault = words::explain(&error.into_inner().to_string(), &[key.into()], None).0;
            let within = path.strip_prefix(key).and_then(|rest| rest.strip_prefix('.'));
            within.map_or(fault.clone(), |place| format!("{place}: {fault}"))
        })
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
}

impl Recalled {
    /// Takes one setting of the file.
    fn take(&mut self, key: &str, value: Value) {
        if Overrides::setting(key).is_none() {
            return self.faults.push(format!("{key:?} is no setting of this version"));
        }
        match self.overrides.set(key, value) {
            Ok(overrides) => self.overrides = overrides,
            Err(why) if key == "enable" => self.doubt(format!("{key}: {why}")),
            Err(why) => self.faults.push(format!("{key}: {why}")),
        }
    }

    /// What cannot be read for this reason may have been that nothing is analysed.
    fn doubt(&mut self, why: String) {
        self.faults.push(why);
        (self.doubtful, self.overrides.enable) = (true, Some(false));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{keep, kept};
    use std::fs;
    use std::io::ErrorKind;

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
            ("classes", r#"["dog", "dog"]"#, "\"dog\" twice"),
            ("classes", r#"["a/b", "a_b"]"#, "would share the topic state/a_b"),
            ("classes", r#"["dog", " "]"#, "an empty name"),
            ("classes", r#"["a\nb"]"#, "control character"),
            ("thresholds", r#"{"dog": {"p": 0.5, "p": 0.6}}"#, "\"p\" twice"),
            ("thresholds", r#"{"dog": {}, "dog": {"p": 0.6}}"#, "\"dog\" twice"),
            ("sensitivity", "11", "from -10 to 10"),
            ("classes", "\"dog\"", "expected a list in brackets"),
            ("thresholds", r#"{"cat": {}, "dog": {"p": 1.5}}"#, "dog.p: 1.5 is out of range"),
            ("thresholds", r#"{"dog": {"q": 0.5}}"#, "dog.q: unknown key `q`"),
            ("thresholds", r#"{"dog": 5}"#, "dog: is the number 5, expected a section of keys"),
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
    fn no_wish_is_larger_than_a_broker_takes() {
        let none = Overrides::default();
        let list = |names: Vec<String>| serde_json::to_vec(&names).expect("JSON");
        let many = |count| list((0..count).map(|number| format!("class {number}")).collect());
        assert!(none.with("classes", &many(500)).is_ok());
        let refused = |payload: &[u8]| none.with("classes", payload).expect_err("too much");
        assert!(refused(&many(501)).contains("501 names, expected at most 500"));
        assert!(refused(&list(vec!["x".repeat(101)])).contains("of 101 bytes, expected at most 100"));
        assert!(refused(&[&[b' '; LONGEST][..], b"[]"].concat()).contains("16386 bytes long"));
    }

    #[test]
    fn what_is_saved_is_loaded_and_a_damaged_file_is_an_error() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("deeper/settings.json");
        assert_eq!(kept::<Overrides>(&file).expect("no file"), Overrides::default());
        let changed =
            Overrides::default().with("thresholds", br#"{"dog": {"p": 0.7}}"#).expect("a threshold");
        assert!(keep(&file, &changed).expect("room"));
        assert!(!keep(&file, &changed).expect("a file"), "what stands there is not written again");
        assert_eq!(kept::<Overrides>(&file).expect("a file"), changed);
        assert!(fs::read_to_string(&file).expect("a file").ends_with("}\n"), "a text file");
        fs::write(&file, "{\"enable\": tr").expect("room");
        assert_eq!(kept::<Overrides>(&file).expect_err("damaged").kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn of_a_damaged_file_each_setting_is_taken_that_can_be_read_and_in_doubt_it_is_off() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("settings.json");
        assert_eq!(Overrides::recall(&file), Recalled::default(), "no file");
        let recall = |text: &str| {
            fs::write(&file, text).expect("room");
            Overrides::recall(&file)
        };
        let quieter = Overrides { sensitivity: Some(-1.5), ..Overrides::default() };
        for (text, enable, why) in [
            (r#"{"enable": false, "sensitivity": -1.5, "hum": [1]}"#, Some(false), "\"hum\" is no setting"),
            (r#"{"sensitivity": -1.5, "classes": ["a", "a"]}"#, None, "classes: holds \"a\" twice"),
        ] {
            let Recalled { overrides, faults, doubtful } = recall(text);
            assert_eq!((overrides, doubtful), (Overrides { enable, ..quieter.clone() }, false), "{text}");
            assert!(faults.len() == 1 && faults[0].contains(why), "{faults:?}");
        }
        let mistaken = recall(r#"{"enable": "no", "sensitivity": -1.5}"#);
        assert_eq!(mistaken.overrides, Overrides { enable: Some(false), ..quieter });
        assert!(mistaken.doubtful && mistaken.faults[0].starts_with("enable: is the text"), "{mistaken:?}");
        let off = Overrides { enable: Some(false), ..Overrides::default() };
        for text in ["", "{\"enable\": fal", "[]", "null", r#"{"enable": true, "enable": false}"#, "\0\0\0\0"]
        {
            let Recalled { overrides, faults, doubtful } = recall(text);
            assert_eq!((overrides, faults.len(), doubtful), (off.clone(), 1, true), "{text:?}");
        }
        assert_eq!(recall("{}"), Recalled::default());
        let folder = Overrides::recall(folder.path());
        assert_eq!((folder.overrides, folder.faults), (off, vec!["it is no file".into()]));
    }
}
