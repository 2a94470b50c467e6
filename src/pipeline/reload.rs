//! A configuration that changes while the daemon runs: from the signal, or the subscriber, to the analysis
//! thread, and what of it takes effect at once.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::warn;

use crate::config::{Config, Overrides};
use crate::message::{Wish, one_line};

/// Wishes that wait for the analysis, at most: it takes them several times a second.
const MOST_WISHES: usize = 64;

/// What came of reading the file again: the new configuration, or why it is refused.
pub type Reloaded = Result<Box<Config>, String>;

/// Something to change while the pipeline runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The configuration file was read again.
    File(Reloaded),
    /// A subscriber wishes for another setting.
    Wish(Wish),
}

/// Holds the newest reading of the file, and every wish, until the analysis takes them.
#[derive(Debug, Default)]
pub struct Inbox(Mutex<(Option<Reloaded>, VecDeque<Wish>)>);

impl Inbox {
    /// Puts a reading in, in place of one that nobody took.
    pub fn put(&self, reloaded: Reloaded) {
        self.open().0 = Some(reloaded);
    }

    /// Puts a wish in.
    pub fn wish(&self, wish: Wish) {
        let wishes = &mut self.open().1;
        if wishes.len() < MOST_WISHES {
            wishes.push_back(wish);
        } else {
            warn!("too many wishes at once; one for `{}` is not answered", one_line(&wish.key));
        }
    }

    /// Takes the next change out.
    pub fn take(&self) -> Option<Change> {
        let (file, wishes) = &mut *self.open();
        file.take().map(Change::File).or_else(|| wishes.pop_front().map(Change::Wish))
    }

    fn open(&self) -> MutexGuard<'_, (Option<Reloaded>, VecDeque<Wish>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The settings of the file, with what subscribers changed on top.
#[derive(Debug, Clone, PartialEq)]
pub struct Layers {
    /// The file's settings.
    pub file: Config,
    /// What was changed.
    pub overrides: Overrides,
}

impl Layers {
    /// What is in force.
    pub fn merged(&self) -> Config {
        self.overrides.over(&self.file)
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
        let overrides = self.overrides.with(&wish.key, &wish.payload)?;
        Ok(Self { file: self.file.clone(), overrides })
    }
}

/// Which parts a new configuration concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Changes {
    /// Decisions and identities: take effect with the next frame.
    pub judgement: bool,
    /// The camera is opened anew.
    pub camera: bool,
    /// The microphone is opened anew.
    pub microphone: bool,
    /// Sections that take effect at the next start only.
    pub later: Vec<&'static str>,
}

impl Changes {
    /// What differs between two configurations.
    pub fn between(old: &Config, new: &Config) -> Self {
        let later = [
            ("device", old.device != new.device),
            ("model", old.model != new.model),
            ("engine", old.engine != new.engine),
            ("window", old.window != new.window),
            ("mqtt", old.mqtt != new.mqtt),
            ("log", old.log != new.log),
            ("monitor", old.monitor != new.monitor),
        ];
        Self {
            judgement: old.detection != new.detection || old.tracking != new.tracking,
            camera: old.camera != new.camera || old.microphone.source != new.microphone.source,
            microphone: old.microphone != new.microphone,
            later: later.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect(),
        }
    }

    /// Whether a device is opened anew.
    pub fn devices(&self) -> bool {
        self.camera || self.microphone
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let parts = [
            (self.judgement, "detection and tracking follow it from the next picture on"),
            (self.camera, "the camera is opened anew"),
            (self.microphone, "the microphone is opened anew"),
        ];
        let told: Vec<&str> =
            parts.into_iter().filter_map(|(concerned, words)| concerned.then_some(words)).collect();
        f.write_str(if told.is_empty() { "nothing changes now" } else { "" })?;
        f.write_str(&told.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn between(text: &str) -> Changes {
        let new = Config::parse(text, Path::new("test")).expect("a configuration");
        Changes::between(&Config::default(), &new)
    }

    #[test]
    fn each_key_concerns_its_part_alone() {
        let none = Changes { judgement: false, camera: false, microphone: false, later: vec![] };
        assert_eq!(between(""), none);
        assert_eq!(between("detection.sensitivity = 1.0"), Changes { judgement: true, ..none.clone() });
        assert_eq!(between("tracking.hold = 1.0"), Changes { judgement: true, ..none.clone() });
        assert_eq!(between("camera.rate = 5.0"), Changes { camera: true, ..none.clone() });
        assert_eq!(between("microphone.alsa.device = \"x\""), Changes { microphone: true, ..none.clone() });
        let both = Changes { camera: true, microphone: true, ..none.clone() };
        assert_eq!(between("microphone.source = \"none\""), both, "the camera may have to give its sound");
        assert_eq!(between("mqtt.port = 1\nlog.level = \"warn\"").later, ["mqtt", "log"]);
    }

    #[test]
    fn the_newest_reading_counts() {
        let inbox = Inbox::default();
        inbox.put(Err("first".into()));
        inbox.put(Err("second".into()));
        let wish = Wish { key: "enable".into(), payload: b"false".into(), retained: false };
        (0..2 * MOST_WISHES).for_each(|_| inbox.wish(wish.clone()));
        assert_eq!(inbox.take(), Some(Change::File(Err("second".into()))));
        let wishes = std::iter::from_fn(|| inbox.take()).collect::<Vec<_>>();
        assert_eq!(wishes, vec![Change::Wish(wish); MOST_WISHES], "bounded");
    }
}
