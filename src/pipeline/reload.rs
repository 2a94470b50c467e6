//! A configuration that changes while the daemon runs: from the signal to the analysis thread, and what
//! of it takes effect at once.

use std::sync::{Mutex, PoisonError};

use crate::config::Config;

/// What came of reading the file again: the new configuration, or why it is refused.
pub type Reloaded = Result<Box<Config>, String>;

/// Holds the newest reading until the analysis takes it.
#[derive(Debug, Default)]
pub struct Inbox(Mutex<Option<Reloaded>>);

impl Inbox {
    /// Puts a reading in, in place of one that nobody took.
    pub fn put(&self, reloaded: Reloaded) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reloaded);
    }

    /// Takes it out.
    pub fn take(&self) -> Option<Reloaded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
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
        ];
        Self {
            judgement: old.detection != new.detection || old.tracking != new.tracking,
            camera: old.camera != new.camera || old.microphone.source != new.microphone.source,
            microphone: old.microphone != new.microphone,
            later: later.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect(),
        }
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
        assert_eq!(inbox.take(), Some(Err("second".into())));
        assert_eq!(inbox.take(), None);
    }
}
