//! A configuration that changes while the daemon runs: from the signal, or the subscriber, to the analysis
//! thread, and what of it takes effect at once.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::newest;
use crate::capture::Rate;
use crate::config::{self, CameraSource, Config};
use crate::geometry::Fit;
use crate::message::Wish;

/// Wishes for one setting that wait for the analysis, at most: it takes several in a second. As many wait that are for no
/// setting.
const MOST_WISHES: usize = 16;

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

/// Holds the newest reading of the file, and the newest wishes, until the analysis takes them.
#[derive(Debug, Default)]
pub struct Inbox(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    file: Option<Reloaded>,
    wishes: VecDeque<Wish>,
    /// Wishes that gave way since somebody asked.
    gone: u64,
}

impl Waiting {
    fn pop(&mut self, wanted: impl Fn(&Wish) -> bool) -> Option<Wish> {
        let place = self.wishes.iter().position(wanted)?;
        self.wishes.remove(place)
    }
}

impl Inbox {
    /// Puts a reading in, in place of one that nobody took.
    pub fn put(&self, reloaded: Reloaded) {
        self.open().file = Some(reloaded);
    }

    /// Puts a wish in. Where too many wait for the same setting the oldest gives way: the newest is what counts, and who
    /// floods one setting keeps nobody from another.
    pub fn wish(&self, wish: Wish) {
        let mut waiting = self.open();
        waiting.gone += u64::from(newest::push(&mut waiting.wishes, wish, MOST_WISHES, |wish| &wish.key));
    }

    /// How many wishes gave way since this was last asked.
    pub fn gone(&self) -> u64 {
        std::mem::take(&mut self.open().gone)
    }

    /// Takes the next change out, but for [`Inbox::switch`]'s.
    pub fn take(&self) -> Option<Change> {
        let mut waiting = self.open();
        let file = waiting.file.take().map(Change::File);
        file.or_else(|| waiting.pop(|wish| !wish.switches()).map(Change::Wish))
    }

    /// Takes the next wish to switch it on or off out: who wants not to be heard waits for nothing else.
    pub fn switch(&self) -> Option<Wish> {
        self.open().pop(Wish::switches)
    }

    fn open(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which parts a new configuration concerns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Decisions, identities and masks: take effect with the next frame.
    pub judgement: bool,
    /// Rates, waits and limits: take effect at once.
    pub rates: bool,
    /// The camera is opened anew.
    pub camera: bool,
    /// The microphone is opened anew.
    pub microphone: bool,
    /// The model is opened anew, and changed over to.
    pub model: bool,
    /// The broker is connected to anew.
    pub publisher: bool,
    /// What listens for readers of figures begins anew.
    pub monitor: bool,
    /// The level of the log.
    pub log: bool,
    /// Keys that take effect at the next start only.
    pub later: Vec<&'static str>,
}

impl Changes {
    /// What differs between the configuration that is in force and a new one.
    pub fn between(running: &Config, new: &Config) -> Self {
        let (new, later) = lasting(running, new);
        let paced = paced(running, &new);
        Self {
            judgement: running.detection != new.detection
                || running.tracking != new.tracking
                || running.window.memory != new.window.memory,
            rates: paced != *running,
            camera: paced.camera != new.camera || running.microphone.source != new.microphone.source,
            microphone: running.microphone != new.microphone,
            model: running.model != new.model || running.engine != new.engine,
            publisher: running.mqtt.enabled && (&paced.device, &paced.mqtt) != (&new.device, &new.mqtt),
            monitor: running.monitor != new.monitor,
            log: running.log.level != new.log.level,
            later,
        }
    }

    /// The same for another model: what delivers to it is opened anew where it wants sound or pictures of another kind.
    /// `media`: the camera delivers the sound as well.
    pub fn senses(&mut self, before: (u32, Fit), now: (u32, Fit), media: bool) {
        let (sound, pictures) = (before.0 != now.0, before.1 != now.1);
        self.microphone |= sound;
        self.camera |= pictures || (sound && media);
    }

    /// The same for the `open` camera: a V4L2 camera in a mode that is too slow for a new rate is opened in another.
    pub fn mode(&mut self, rate: f64, open: &Rate, running: &config::Camera) {
        let faster = running.source == CameraSource::V4l2 && rate > running.rate;
        self.camera |= faster && !open.reaches(rate);
    }

    /// The same for a recording, which is played to its end as it was opened.
    pub fn of_a_recording(mut self) -> Self {
        let (camera, microphone) = (std::mem::take(&mut self.camera), std::mem::take(&mut self.microphone));
        self.later.extend(camera.then_some("camera"));
        self.later.extend(microphone.then_some("microphone"));
        self
    }

    /// Whether a device is opened anew.
    pub fn devices(&self) -> bool {
        self.camera || self.microphone
    }
}

/// `running` with the rates, waits and limits of `new`: they take effect at once wherever they are used.
fn paced(running: &Config, new: &Config) -> Config {
    let mut paced = running.clone();
    let (camera, mqtt) = (&mut paced.camera, &mut paced.mqtt);
    camera.rate = new.camera.rate;
    camera.throttled_rate = new.camera.throttled_rate;
    camera.stall = new.camera.stall;
    camera.frozen = new.camera.frozen;
    camera.lens.clone_from(&new.camera.lens);
    mqtt.detections_rate = new.mqtt.detections_rate;
    mqtt.send_empty = new.mqtt.send_empty;
    mqtt.update_every = new.mqtt.update_every;
    mqtt.level_every = new.mqtt.level_every;
    mqtt.snapshot_every = new.mqtt.snapshot_every;
    mqtt.heatmap_every = new.mqtt.heatmap_every;
    mqtt.picture_bytes = new.mqtt.picture_bytes;
    mqtt.keep_detections = new.mqtt.keep_detections;
    mqtt.keep_events = new.mqtt.keep_events;
    paced.window.wait = new.window.wait;
    paced.service.clone_from(&new.service);
    paced
}

/// What of `new` can be in force beside what runs: keys that take effect at the next start only stay as they are, and are
/// named.
pub(super) fn lasting(running: &Config, new: &Config) -> (Config, Vec<&'static str>) {
    let (mut lasting, mut later) = (new.clone(), Vec::new());
    stay("mqtt.enabled", &mut lasting.mqtt.enabled, &running.mqtt.enabled, &mut later);
    stay("mqtt.store", &mut lasting.mqtt.store, &running.mqtt.store, &mut later);
    stay("mqtt.settings_file", &mut lasting.mqtt.settings_file, &running.mqtt.settings_file, &mut later);
    stay("log.format", &mut lasting.log.format, &running.log.format, &mut later);
    (lasting, later)
}

/// What of `new` can be in force while a recording is played: it goes on as it was opened.
pub(super) fn played(running: &Config, mut new: Config) -> Config {
    (new.camera, new.microphone) = (paced(running, &new).camera, running.microphone.clone());
    new
}

fn stay<T: Clone + PartialEq>(key: &'static str, value: &mut T, running: &T, later: &mut Vec<&'static str>) {
    if value != running {
        value.clone_from(running);
        later.push(key);
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let parts = [
            (self.judgement, "detection and tracking follow it from the next picture on"),
            (self.rates, "rates and waits follow it"),
            (self.camera, "the camera is opened anew"),
            (self.microphone, "the microphone is opened anew"),
            (self.model, "the model has been opened anew"),
            (self.publisher, "the broker is connected to anew"),
            (self.monitor, "the monitor follows it"),
            (self.log, "the log follows it"),
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
        let none = Changes::default();
        let judgement = Changes { judgement: true, ..none.clone() };
        let rates = Changes { rates: true, ..none.clone() };
        let publisher = Changes { publisher: true, ..none.clone() };
        let later = |name| Changes { later: vec![name], ..none.clone() };
        let both = Changes { camera: true, microphone: true, ..none.clone() };
        for (text, concerned) in [
            ("", &none),
            ("detection.sensitivity = 1.0", &judgement),
            ("detection.masks = [[0.0, 0.0, 0.5, 0.5]]", &judgement),
            ("tracking.hold = 1.0", &judgement),
            ("window.memory = 1.0", &judgement),
            ("window.wait = 0.3", &rates),
            ("camera.rate = 5.0", &rates),
            ("camera.rate = 20.0", &rates),
            ("camera.rate = 20.0\ncamera.source = \"test\"", &Changes { camera: true, ..rates.clone() }),
            ("camera.lens.field_of_view = 60.0", &rates),
            ("mqtt.update_every = 5.0", &rates),
            ("mqtt.keep_events = 100", &rates),
            ("service.start_within = 5.0", &rates),
            ("camera.v4l2.device = \"x\"", &Changes { camera: true, ..none.clone() }),
            ("microphone.alsa.device = \"x\"", &Changes { microphone: true, ..none.clone() }),
            ("microphone.source = \"none\"", &both), // the camera may have to give its sound
            ("engine.threads = 3", &Changes { model: true, ..none.clone() }),
            ("model.path = \"x\"", &Changes { model: true, ..none.clone() }),
            ("mqtt.port = 1", &publisher),
            ("mqtt.prefix = \"x\"", &publisher),
            ("mqtt.format = \"cbor\"", &publisher),
            ("mqtt.home_assistant.enabled = true", &publisher),
            ("monitor.port = 1", &Changes { monitor: true, ..none.clone() }),
            ("log.level = \"warn\"", &Changes { log: true, ..none.clone() }),
            ("log.format = \"json\"", &later("log.format")),
            ("mqtt.store.enabled = true", &later("mqtt.store")),
            ("mqtt.enabled = false", &later("mqtt.enabled")),
        ] {
            assert_eq!(between(text), *concerned, "{text}");
        }
        let renamed = between("device.name = \"another\"");
        assert!(renamed.publisher && !renamed.devices() && renamed.later.is_empty(), "{renamed:?}");
    }

    #[test]
    fn a_camera_is_opened_anew_for_a_rate_that_its_mode_does_not_reach_and_another_may() {
        let (open, mut running) = (Rate::new(10.0), Config::default().camera);
        let anew = |running: &config::Camera, rate| {
            let mut changes = Changes::default();
            changes.mode(rate, &open, running);
            changes.camera
        };
        assert!(!anew(&running, 60.0), "no other mode is known to be faster");
        open.reach(15.0);
        assert_eq!([5.0, 15.0, 16.0].map(|rate| anew(&running, rate)), [false, false, true]);
        running.rate = 30.0;
        assert!(!anew(&running, 20.0), "it was the best at more");
        (running.rate, running.source) = (10.0, CameraSource::Test);
        assert!(!anew(&running, 20.0));
    }

    #[test]
    fn what_waits_for_a_start_is_told_against_what_runs() {
        let new = |text: &str| Config::parse(text, Path::new("test")).expect("a configuration");
        let started = Config::default();
        let off = new("mqtt.enabled = false\nmqtt.store.enabled = true\nmqtt.port = 1");
        let (running, later) = lasting(&started, &off);
        assert_eq!(later, ["mqtt.enabled", "mqtt.store"]);
        assert_eq!(
            Changes::between(&started, &off),
            Changes { publisher: true, later, ..Changes::default() }
        );
        // It is told again as long as it waits, and what runs follows the broker meanwhile.
        let other = new("mqtt.enabled = false\nmqtt.port = 2");
        let changes = Changes::between(&running, &other);
        assert_eq!((changes.publisher, changes.later), (true, vec!["mqtt.enabled"]));
        let back = Changes::between(&running, &new("mqtt.port = 1"));
        assert_eq!(back, Changes::default(), "nothing waits any more");
        let other = new("camera.rate = 5.0\ncamera.v4l2.device = \"x\"");
        let changes = |running: &Config| Changes::between(running, &other).of_a_recording();
        let first = changes(&started);
        assert_eq!((first.rates, first.later), (true, vec!["camera"]));
        let again = changes(&played(&started, other.clone()));
        assert_eq!((again.rates, again.later), (false, vec!["camera"]), "it waits still");
    }

    #[test]
    fn the_newest_reading_counts() {
        let inbox = Inbox::default();
        inbox.put(Err("first".into()));
        inbox.put(Err("second".into()));
        assert_eq!(inbox.take(), Some(Change::File(Err("second".into()))));
        assert_eq!(inbox.take(), None);
    }

    #[test]
    fn the_newest_wishes_of_each_setting_wait_and_none_keeps_another_out() {
        let inbox = Inbox::default();
        let wish = |key: &str, payload: usize| Wish {
            key: key.into(),
            payload: payload.to_string().into_bytes(),
            retained: false,
        };
        inbox.wish(wish("enable", 0));
        (0..1000).for_each(|number| inbox.wish(wish("sensitivity", number)));
        (0..1000).for_each(|number| inbox.wish(wish(&format!("no-setting-{number}"), number)));
        assert_eq!((inbox.gone(), inbox.gone()), (2 * (1000 - MOST_WISHES as u64), 0));
        let mut expected = vec![];
        let newest = 1000 - MOST_WISHES..1000;
        expected.extend(newest.clone().map(|number| wish("sensitivity", number)));
        expected.extend(newest.map(|number| wish(&format!("no-setting-{number}"), number)));
        let wishes: Vec<_> = std::iter::from_fn(|| inbox.take()).collect();
        assert_eq!(
            wishes,
            expected.into_iter().map(Change::Wish).collect::<Vec<_>>(),
            "bounded, in their order"
        );
        assert_eq!((inbox.switch(), inbox.switch()), (Some(wish("enable", 0)), None), "behind none of them");
    }
}
