//! What a changed configuration needs and takes a while to make: words that are read, a model that is opened. It is made
//! on a thread of its own while pictures are judged as before; the changes behind it wait their turn.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::layers::Layers;
use super::named::Named;
use super::reload::Change;
use crate::clock::Instant;
use crate::config::{Config, Log};
use crate::model::{Model, Vocabulary};

/// Makes what a configuration needs.
pub trait Workshop: Send + Sync {
    /// Reads the words of a model that reads free text.
    ///
    /// # Errors
    /// They cannot be read; the sentence says why.
    fn words(&self, config: &Config) -> Result<Vocabulary, String>;

    /// Opens the configured model on the configured engine.
    ///
    /// # Errors
    /// It cannot be opened; the sentence says why.
    fn model(&self, config: &Config) -> Result<Model, String>;

    /// Has the log follow other settings.
    fn log(&self, config: &Log);
}

/// Of a run in which nothing changes.
pub(super) struct Idle;

/// Why it makes nothing.
const IDLE: &str = "nothing changes in this run";

impl Workshop for Idle {
    fn words(&self, _: &Config) -> Result<Vocabulary, String> {
        Err(IDLE.into())
    }

    fn model(&self, _: &Config) -> Result<Model, String> {
        Err(IDLE.into())
    }

    fn log(&self, _: &Log) {}
}

/// What is needed, or was made.
pub(super) enum Made {
    /// Settings alone.
    Nothing,
    /// The words of the same model.
    Words(Box<Vocabulary>),
    /// Another model, or the same on another engine.
    Model(Box<Model>),
}

/// Whether a model has to read for `new` what it did not read for `old`.
pub(super) fn rewords(model: &Model, old: &Config, new: &Config) -> bool {
    let words = |config: &Config| (config.detection.classes.clone(), config.detection.prompts.clone());
    model.manifest().reads_text() && words(old) != words(new)
}

/// A change on its way into force.
pub(super) struct Making {
    change: Change,
    /// The settings with it.
    layers: Result<Layers, String>,
    work: Option<JoinHandle<Result<Made, String>>>,
    since: Instant,
    /// What the settings name, as it was before it was read.
    named: Named,
}

impl Making {
    /// Begins to make what `change` needs, which leads from `old` to `layers`, at `since`. `named`: what the old settings
    /// name, which another file is compared with.
    pub fn begin(
        change: Change,
        layers: Result<Layers, String>,
        (old, model, named): (&Config, &Model, &Named),
        workshop: Option<Arc<dyn Workshop>>,
        since: Instant,
    ) -> Self {
        let now = match (&change, &layers) {
            (Change::File(_), Ok(layers)) => Named::by(&layers.merged()),
            _ => named.clone(),
        };
        let work = layers.as_ref().ok().and_then(|layers| {
            let (new, workshop) = (layers.merged(), workshop?);
            let another = now.manifest != named.manifest;
            if another || (&new.model, &new.engine) != (&old.model, &old.engine) {
                Some(aside(move || workshop.model(&new).map(|model| Made::Model(model.into()))))
            } else if rewords(model, old, &new) {
                Some(aside(move || workshop.words(&new).map(|words| Made::Words(words.into()))))
            } else {
                None
            }
        });
        match work.transpose() {
            Ok(work) => Self { change, layers, work, since, named: now },
            Err(why) => Self { change, layers: Err(why), work: None, since, named: now },
        }
    }

    /// Whether everything is made, or cannot be.
    pub fn is_over(&self) -> bool {
        self.work.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// For how long it has been made.
    pub fn age(&self, now: Instant) -> Duration {
        now.since(self.since)
    }

    /// The change, what it names, and the settings that it brings with what was made for them; waits for that.
    pub fn finish(self) -> (Change, Named, Result<(Layers, Made), String>) {
        let bug = |_| Err("making it failed by a bug; please report this with the log above".to_owned());
        let made = self.work.map_or(Ok(Made::Nothing), |work| work.join().unwrap_or_else(bug));
        (self.change, self.named, self.layers.and_then(|layers| Ok((layers, made?))))
    }
}

type Work = JoinHandle<Result<Made, String>>;

fn aside(work: impl FnOnce() -> Result<Made, String> + Send + 'static) -> Result<Work, String> {
    let thread = Builder::new().name("workshop".into()).spawn(work);
    thread.map_err(|error| format!("the system refuses a thread: {error}"))
}
