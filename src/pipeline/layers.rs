//! The settings of the file with what subscribers changed on top, and which of that is in force. Pure.

use tracing::warn;

use crate::config::{Config, Overrides};
use crate::message::Wish;
use crate::model::Manifest;

/// The settings of the file, with what subscribers changed on top.
#[derive(Debug, Clone, PartialEq)]
pub struct Layers {
    /// The file's settings.
    pub file: Config,
    /// What was changed, whether it may be now or not.
    pub overrides: Overrides,
    /// Whether anybody could change it since the start, if the file lets them.
    reachable: bool,
    /// What of an earlier run's changes is not among them.
    pub lost: Lost,
}

/// What of the changes that an earlier run wrote down could not be taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lost {
    /// What, and why; empty: nothing.
    pub why: String,
    /// Whether nothing is analysed for it: that may have been the wish.
    pub off: bool,
}

impl Layers {
    /// A file that nobody changed.
    pub fn new(file: Config) -> Self {
        let reachable = file.mqtt.enabled;
        Self { file, overrides: Overrides::default(), reachable, lost: Lost::default() }
    }

    /// What is in force.
    pub fn merged(&self) -> Config {
        self.wished().over(&self.file)
    }

    /// What of the changes is in force: that nothing is analysed holds even where no wish is taken any more.
    pub fn wished(&self) -> Overrides {
        if self.obeys() {
            return self.overrides.clone();
        }
        let off = self.overrides.enable.filter(|enable| !enable);
        Overrides { enable: off, ..Overrides::default() }
    }

    /// Whether wishes are taken.
    pub fn obeys(&self) -> bool {
        self.reachable && self.file.mqtt.commands
    }

    /// The same without what subscribers said of classes that a model does not know: another model may have come since.
    pub fn fitting(mut self, manifest: &Manifest) -> Self {
        let reads = manifest.reads_text();
        let aside = self.overrides.forget(|class| reads || manifest.class(class).is_some());
        if !aside.is_empty() {
            let (model, classes) = (&manifest.name, aside.join(", "));
            warn!(
                "changed over MQTT, and set aside because the model `{model}` has no such class: {classes}"
            );
        }
        self
    }

    /// The same changes over another file.
    pub fn of(&self, file: Config) -> Self {
        Self { file, ..self.clone() }
    }

    /// The same with a wish granted.
    ///
    /// # Errors
    /// It cannot be: the sentence says why.
    pub fn granting(&self, wish: &Wish) -> Result<Self, String> {
        if wish.retained {
            return Err(
                "a retained wish would be told again on every connection; send it without retain".into()
            );
        }
        if !self.obeys() {
            return Err("is no longer taken: mqtt.commands = false".into());
        }
        let overrides = self.overrides.with(&wish.key, &wish.payload)?;
        // What was lost stays told as long as it keeps the device from seeing and hearing.
        let lost = if self.lost.off && wish.key != "enable" { self.lost.clone() } else { Lost::default() };
        Ok(Self { overrides, lost, ..self.clone() })
    }

    /// The same as it is switched on or off `now`: that may have changed while these were being made.
    pub fn switched_as(mut self, now: &Self) -> Self {
        self.overrides.enable = now.overrides.enable;
        if now.lost == Lost::default() {
            self.lost = Lost::default(); // what was amiss was written anew since
        }
        self
    }

    /// What is amiss with what subscribers changed while `running` is in force, and the cure; empty if nothing is.
    pub fn amiss(&self, running: &Config) -> String {
        let file = running.settings_file().map_or("what it keeps".into(), |file| file.display().to_string());
        let (why, topic) = (&self.lost.why, running.topic("set/enable"));
        let obeys = [("mqtt.enabled", running.mqtt.enabled), ("mqtt.commands", running.mqtt.commands)];
        let deaf = obeys.into_iter().find(|(_, on)| !on).map(|(key, _)| key);
        let cure = match deaf {
            None => format!("send true to {topic}, or delete {file} and start anew"),
            Some(key) => {
                format!("delete {file} and start anew, or set {key} = true and send true to {topic}")
            }
        };
        match deaf {
            _ if self.lost.off => format!(
                "nothing is analysed, since somebody may have switched it off over MQTT: {file} cannot be read ({why}); \
                 to switch it on, {cure}"
            ),
            Some(key) if self.overrides.enable == Some(false) && self.file.detection.enable => format!(
                "nothing is analysed: it was switched off over MQTT, where {key} = false lets nobody switch it on; \
                 to switch it on, {cure}"
            ),
            None if !why.is_empty() => format!(
                "left out of what was changed over MQTT: {why} ({file}, which the next change writes anew)"
            ),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn what_keeps_a_device_switched_off_is_told_with_the_cure_until_somebody_switches_it() {
        let config = |text: &str| Config::parse(text, Path::new("test")).expect("a configuration");
        let obeys = config("mqtt.settings_file = \"/s.json\"");
        let forbids = config("mqtt.settings_file = \"/s.json\"\nmqtt.commands = false");
        let off = Layers {
            overrides: Overrides { enable: Some(false), ..Overrides::default() },
            ..Layers::new(obeys.clone())
        };
        assert_eq!(off.amiss(&obeys), "", "whoever switched it off may switch it on");
        let told = off.amiss(&forbids);
        assert!(
            told.contains("mqtt.commands = false lets nobody") && told.contains("delete /s.json"),
            "{told}"
        );
        let lost = Lost { why: "it is no file".into(), off: true };
        let doubtful = Layers { lost, ..off };
        let told = doubtful.amiss(&obeys);
        assert!(told.contains("it is no file") && told.contains("send true to tvsl/"), "{told}");
        let wish =
            |key: &str, payload: &str| Wish { key: key.into(), payload: payload.into(), retained: false };
        let louder = doubtful.granting(&wish("sensitivity", "1")).expect("a wish");
        assert_eq!(louder.amiss(&obeys), told, "it is off still");
        assert_eq!(doubtful.granting(&wish("enable", "false")).expect("a wish").amiss(&obeys), "");
        let lost = Lost { why: "\"hum\" is no setting of this version".into(), off: false };
        let partly = Layers { lost, ..Layers::new(obeys.clone()) };
        assert!(partly.amiss(&obeys).contains("left out of what was changed over MQTT: \"hum\""));
        assert_eq!(partly.granting(&wish("sensitivity", "1")).expect("a wish").amiss(&obeys), "");
    }

    #[test]
    fn what_was_changed_waits_where_no_wish_is_taken_but_off_is_off() {
        let config = |text: &str| Config::parse(text, Path::new("test")).expect("a configuration");
        let changed = Overrides { sensitivity: Some(1.5), enable: Some(false), ..Overrides::default() };
        let off = Overrides { enable: Some(false), ..Overrides::default() };
        let layers = Layers { overrides: changed.clone(), ..Layers::new(config("")) };
        assert_eq!(layers.wished(), changed);
        let deaf = layers.of(config("mqtt.commands = false"));
        assert_eq!(deaf.wished(), off);
        let wish = Wish { key: "enable".into(), payload: b"true".to_vec(), retained: false };
        assert!(deaf.granting(&wish).expect_err("nobody may").contains("mqtt.commands = false"));
        assert_eq!(deaf.of(config("")).wished(), changed, "nothing is forgotten");
        assert_eq!(layers.of(config("mqtt.enabled = false")).wished(), changed, "from the next start on");
        let alone = Layers { overrides: changed, ..Layers::new(config("mqtt.enabled = false")) };
        assert_eq!(alone.wished(), off);
        assert_eq!(alone.of(config("")).wished(), off, "nobody is heard until the next start");
    }
}
