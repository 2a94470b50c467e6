//! What subscribers changed, and the names of the device, outlast the daemon. A change is written down before it is answered.
//!
//! On a thread of its own: flash may take seconds, and analysis waits for nobody.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::{info, warn};

use super::layers::{Layers, Lost};
use super::notes::{Noted, Waiting};
use super::pulse::Pulse;
use super::workshop::{Workshop, rewords};
use crate::analysis::Analysis;
use crate::clock::{Clock, Instant};
use crate::config::{self, Config, Overrides, Recalled};
use crate::message::one_sentence;
use crate::publish::{Name, Teller};

/// Writes of settings that may come one after another without a wait; people who try what suits them need no more.
const AT_ONCE: u32 = 20;
/// Time between two writes beyond that: whoever may change settings could wear out flash, which takes some thousand writes of
/// each part of it.
const APART: Duration = Duration::from_secs(10);

/// When flash may be written. Pure: time is an argument.
#[derive(Debug, Default, PartialEq)]
struct Flash {
    /// When it has had so much rest that [`AT_ONCE`] writes are free again.
    rested: Instant,
}

impl Flash {
    /// When the next write is free.
    fn free(&self) -> Instant {
        self.rested - APART * (AT_ONCE - 1)
    }

    /// It was written at `now`.
    fn written(&mut self, now: Instant) {
        self.rested = self.rested.max(now) + APART;
    }
}

/// Where it is written down; without a file it is not.
pub(super) struct Notebook {
    settings: Option<PathBuf>,
    names: Option<PathBuf>,
    /// What stands there.
    known: Vec<Name>,
    flash: Flash,
    /// Whether it stands there that it is switched off, and the writes of that alone: nothing else makes them wait.
    enable: Option<bool>,
    switched: Flash,
    /// Why settings could not be written, as it was said last; empty: they could.
    said: String,
}

/// The settings of an earlier run over those of the file, in force in `analysis`. Of what cannot be read, or does not fit the
/// model any more, each is left out alone. Where no wish is taken they wait until the file lets them be.
pub(super) fn restore(config: &Config, analysis: &mut Analysis, workshop: &dyn Workshop) -> Layers {
    let mut layers = Layers::new(config.clone());
    let Some(file) = config.settings_file() else { return layers };
    let Recalled { overrides, mut faults, doubtful } = Overrides::recall(&file);
    layers.overrides = overrides.clone();
    layers = layers.fitting(analysis.model().manifest());
    if layers.overrides != overrides {
        faults.push(format!(
            "classes that the model {} has not are set aside",
            analysis.model().manifest().name
        ));
    }
    if layers.obeys() {
        let wished = layers.overrides;
        layers.overrides = enforce(wished, |next| put(next, config, analysis, workshop), &mut faults);
    }
    let wished = layers.wished();
    if !doubtful && wished != Overrides::default() {
        let settings = serde_json::to_string(&wished).unwrap_or_default();
        info!(file = %file.display(), "settings that were changed over MQTT are in force: {settings}");
    }
    layers.lost = Lost { why: one_sentence(&faults.join("; ")), off: doubtful };
    layers
}

/// Has as many of these settings `put` in force as can be, and gives them: all together, or else one after another.
fn enforce(
    wished: Overrides,
    mut put: impl FnMut(&Overrides) -> Result<(), String>,
    faults: &mut Vec<String>,
) -> Overrides {
    if put(&wished).is_ok() {
        return wished;
    }
    let mut taken = Overrides { enable: wished.enable, ..Overrides::default() };
    // Classes before their thresholds.
    let steps = [
        ("sensitivity", Overrides { sensitivity: wished.sensitivity, ..taken.clone() }),
        ("classes", Overrides { classes: wished.classes, ..taken.clone() }),
        ("thresholds", Overrides { thresholds: wished.thresholds, ..taken.clone() }),
    ];
    for (key, step) in steps {
        let next = Overrides {
            enable: taken.enable,
            sensitivity: step.sensitivity.or(taken.sensitivity),
            classes: step.classes.or_else(|| taken.classes.clone()),
            thresholds: step.thresholds.or_else(|| taken.thresholds.clone()),
        };
        if next == taken {
            continue;
        }
        match put(&next) {
            Ok(()) => taken = next,
            Err(why) => faults.push(format!("{key}: {}", one_sentence(&why))),
        }
    }
    taken
}

/// Puts these settings in force; else nothing changes.
fn put(
    overrides: &Overrides,
    config: &Config,
    analysis: &mut Analysis,
    workshop: &dyn Workshop,
) -> Result<(), String> {
    let merged = overrides.over(config);
    if rewords(analysis.model(), config, &merged) {
        let words = workshop.words(&merged)?;
        return analysis.reword(words, &merged).map(drop).map_err(|error| error.to_string());
    }
    analysis.configure(&merged).map_err(|error| error.to_string())
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
        Self {
            settings,
            names,
            known: known.unwrap_or_default(),
            flash: Flash::default(),
            enable: None,
            switched: Flash::default(),
            said: String::new(),
        }
    }

    /// The names that it holds, the newest last.
    pub fn names(&self) -> Vec<Name> {
        self.known.clone()
    }

    /// Writes notes down, and answers wishes after that, until nobody makes any more. Of settings that follow one another
    /// only the newest are written, at most every [`APART`] where they are many; answers wait for that.
    pub fn write(mut self, noted: &Noted, teller: &Teller, clock: &dyn Clock, pulse: &Pulse) {
        while noted.wait() {
            noted.gather(|settings| self.due(settings), clock);
            pulse.beat(clock.now());
            self.settle(noted.take(), teller, clock.now());
            pulse.rest();
        }
    }

    /// When these settings are to be written.
    fn due(&self, settings: &Overrides) -> Instant {
        if settings.enable == self.enable { self.flash.free() } else { self.switched.free() }
    }

    fn settle(&mut self, Waiting { settings, answers, names }: Waiting, teller: &Teller, now: Instant) {
        if let Some(names) = names {
            self.remember(names);
        }
        let kept = settings.map_or(Ok(()), |settings| self.keep(&settings, now));
        for (key, result) in answers {
            match result {
                Ok(()) => teller.answer(key, true, kept.clone().err().unwrap_or_default()),
                Err(why) => teller.answer(key, false, why),
            }
        }
    }

    /// Writes the settings down; else why they are lost at the next start, which is said when it is new.
    fn keep(&mut self, settings: &Overrides, now: Instant) -> Result<(), String> {
        let lost = "in force until the next start only";
        let file =
            self.settings.as_deref().ok_or("no file for it is known, set mqtt.settings_file".to_owned());
        let kept = file.and_then(|file| {
            config::keep(file, settings).map_err(|error| format!("{}: {error}", file.display()))
        });
        if kept != Ok(false) {
            let flash = if settings.enable == self.enable { &mut self.flash } else { &mut self.switched };
            flash.written(now);
        }
        self.enable = settings.enable;
        let why = kept.err().map(|why| format!("{lost}: {why}")).unwrap_or_default();
        if why != self.said && !why.is_empty() {
            warn!("a setting changed over MQTT is {why}");
        }
        self.said.clone_from(&why);
        if why.is_empty() { Ok(()) } else { Err(why) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::message::tests::info;
    use crate::message::{Report, Settings};
    use crate::pipeline::notes::notes;
    use crate::publish::teller::tests;

    /// A notebook on disk, and what subscribers hear.
    struct Desk {
        folder: tempfile::TempDir,
        config: Config,
        clock: SystemClock,
    }

    impl Desk {
        fn new() -> Self {
            gstreamer::init().expect("GStreamer");
            let folder = tempfile::tempdir().expect("a temporary folder");
            let mut config = Config::default();
            config.mqtt.settings_file = folder.path().join("settings.json");
            Self { folder, config, clock: SystemClock::new() }
        }

        fn teller(&self) -> Teller<'_> {
            let settings = Settings::new(&self.config, &Overrides::default());
            let teller = Teller::new(&self.config, (info(&self.config), settings), 1, &self.clock);
            teller.connected();
            teller
        }

        fn kept(&self) -> Overrides {
            config::kept(&self.folder.path().join("settings.json")).expect("a file")
        }
    }

    /// The answers that the broker takes now, whether each is accepted, and why.
    fn answers(teller: &Teller) -> Vec<(bool, String)> {
        let answer = |report| match report {
            Report::Answer(answer) => Some((answer.accepted, answer.reason)),
            _ => None,
        };
        tests::told(teller).into_iter().filter_map(answer).collect()
    }

    fn sensitivity(value: u8) -> Overrides {
        Overrides { sensitivity: Some(value.into()), ..Overrides::default() }
    }

    /// How often flash was written: each write costs it the same rest.
    fn writes(notebook: &Notebook) -> u128 {
        notebook.flash.rested.since(Instant::ZERO).as_nanos() / APART.as_nanos()
    }

    #[test]
    fn what_cannot_be_put_in_force_is_left_out_alone_and_off_stays_off() {
        let read =
            r#"{"enable": false, "sensitivity": 1.0, "classes": ["owl"], "thresholds": {"dog": {"p": 0.5}}}"#;
        let wished: Overrides = serde_json::from_str(read).expect("settings");
        let (mut faults, mut force) = (Vec::new(), None);
        let taken = enforce(
            wished.clone(),
            |next| {
                if next.classes.is_some() {
                    return Err("the words cannot be read".into());
                }
                force = Some(next.clone());
                Ok(())
            },
            &mut faults,
        );
        assert_eq!(taken, Overrides { classes: None, ..wished.clone() });
        assert_eq!((force, faults), (Some(taken), vec!["classes: the words cannot be read".to_owned()]));
        let taken = enforce(wished, |_| Err("no".into()), &mut Vec::new());
        assert_eq!(taken, Overrides { enable: Some(false), ..Overrides::default() });
    }

    #[test]
    fn wishes_that_wait_together_are_written_once_and_equal_ones_not_at_all() {
        let desk = Desk::new();
        let (teller, mut notebook) = (desk.teller(), Notebook::open(&desk.config));
        let (notes, noted) = notes();
        for value in 1..=10 {
            notes.judged("sensitivity", Ok(&sensitivity(value)));
        }
        notes.judged("enable", Err("is no JSON".into()));
        notebook.settle(noted.take(), &teller, Instant::ZERO);
        assert_eq!((desk.kept(), writes(&notebook)), (sensitivity(10), 1));
        let mut expected = vec![(true, String::new()); 10];
        expected.push((false, "is no JSON".into()));
        assert_eq!(answers(&teller), expected);
        for _ in 0..10 {
            notes.judged("sensitivity", Ok(&sensitivity(10)));
            notebook.settle(noted.take(), &teller, Instant::ZERO);
        }
        assert_eq!((answers(&teller).len(), writes(&notebook)), (10, 1), "it stands there already");
    }

    #[test]
    fn what_cannot_be_written_is_answered_with_the_reason() {
        let desk = Desk::new();
        std::fs::create_dir(desk.folder.path().join("settings.json")).expect("room for a folder");
        let (teller, mut notebook) = (desk.teller(), Notebook::open(&desk.config));
        let (notes, noted) = notes();
        notes.judged("sensitivity", Ok(&sensitivity(1)));
        notebook.settle(noted.take(), &teller, Instant::ZERO);
        let answers = answers(&teller);
        assert!(
            answers[0].0 && answers[0].1.starts_with("in force until the next start only:"),
            "{answers:?}"
        );
        assert_eq!(writes(&notebook), 1, "flash may have been written in vain");
    }

    #[test]
    fn some_writes_are_free_and_more_have_to_wait() {
        let (mut flash, mut now) = (Flash::default(), Instant::from_secs_f64(10_000.0));
        (0..AT_ONCE).for_each(|_| {
            assert!(flash.free() <= now);
            flash.written(now);
        });
        for _ in 0..100 {
            assert_eq!(flash.free().since(now), APART);
            now = flash.free();
            flash.written(now);
        }
        now = now + APART * AT_ONCE;
        assert!(flash.free() + APART * (AT_ONCE - 1) <= now, "rested");
    }
}
