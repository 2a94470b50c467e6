//! `tvsl run`: the daemon.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use tracing::info;

use super::{Common, Failure, signals};
use crate::analysis::{Analysed, Analysis};
use crate::capture;
use crate::clock::{Clock, Instant, SystemClock};
use crate::config::{Config, Log};
use crate::engine::{self, Engine};
use crate::message::Message;
use crate::model::{BackgroundLearner, Model, Vocabulary};
use crate::pipeline::{self, Observer, PipelineError, ServeError, Stop, Watched, Workshop};
use crate::publish::mqtt;

/// Watch and listen, and publish what is both heard and seen
///
/// Runs until it is told to stop (SIGTERM, Ctrl-C) or until a recorded clip is over. A camera, a
/// microphone, a plug-in or a broker that is missing is tried again for ever; a configuration that `tvsl check` refuses is
/// refused, with exit code 78, or 75 if all that is wrong is that files are not there.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Write every message to standard output too, one JSON object a line; stop when nobody reads them any more
    #[arg(long)]
    stdout: bool,
    /// Learn this machine's own noise for so many seconds, then stop
    ///
    /// Let fans and motors run and nothing else sound. The profile goes to --out; name it in
    /// [detection] background, and the classes that the noise resembles must be heard above it.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600))]
    learn_background: Option<u32>,
    /// File for the learned profile
    #[arg(long, value_name = "FILE", requires = "learn_background", default_value = "background.toml")]
    out: PathBuf,
}

pub(super) fn run(arguments: Arguments, common: &Common) -> Result<(), Failure> {
    signals::outlast_hangup()?;
    let watched = common.origin().file().map(Watched::before_reading);
    let (draft, origin) = common.begin()?;
    let config = super::check::startable(draft)?;
    info!(configuration = %origin, device = config.device.name, "tvsl {}", env!("CARGO_PKG_VERSION"));
    capture::init().map_err(Failure::failed)?;
    let workshop = Opener { common: common.clone(), engine: Mutex::default() };
    let model = workshop.open(&config)?;
    let analysis = Analysis::new(model, &config).map_err(|error| Failure::model(&config, error))?;
    let clock = SystemClock::asking();
    match arguments.learn_background {
        Some(seconds) => {
            learn(&config, analysis, &clock, Duration::from_secs(seconds.into()), &arguments.out)
        }
        None => {
            let again = common.clone();
            let read_again = move || read_again(&again).map_err(|failure| failure.text().to_owned());
            let workshop = Arc::new(workshop);
            pipeline::serve(&config, analysis, &clock, arguments.stdout, watched, workshop, read_again)
                .map_err(|error| ended(&config, error))
        }
    }
}

/// Reads the configuration again; what a start refuses is refused, and so are credentials that this service has not.
fn read_again(common: &Common) -> Result<Box<Config>, Failure> {
    let (draft, _) = common.draft()?;
    let config = super::check::startable(draft)?;
    if let Some(broker) = config.mqtt.brokers().first().filter(|_| config.mqtt.enabled) {
        let shown = mqtt::access(&config, broker, &config.mqtt.client_id);
        shown.map_err(|error| Failure::access(&config, error))?;
    }
    Ok(config.into())
}

fn ended(config: &Config, error: ServeError) -> Failure {
    match error {
        ServeError::Pipeline(PipelineError::Capture(cause)) => Failure::capture(config, cause),
        other => Failure::failed(other),
    }
}

/// Opens engines and models as the command line and a configuration say.
struct Opener {
    common: Common,
    /// The engine that was opened last.
    engine: Mutex<Option<Arc<dyn Engine>>>,
}

impl Opener {
    /// The configured model on the configured engine.
    fn open(&self, config: &Config) -> Result<Model, Failure> {
        let folder = config.model_dir()?;
        let build = super::engine::in_the_background(self.common.config.clone());
        let engine = engine::serve(&config.engine, build).map_err(|error| Failure::engine(config, error))?;
        let model = Model::configured(&folder, engine.as_ref(), config)
            .map_err(|error| Failure::model(config, error))?;
        let manifest = model.manifest();
        let chosen = match model.trouble() {
            // The GPU failed since its plans were loaded.
            Some(trouble) if engine.trouble().is_none() => format!("{}; {trouble}", model.engine()),
            _ => engine.describe(),
        };
        info!(
            model = manifest.name,
            version = manifest.version,
            classes = manifest.classes.len(),
            engine = chosen,
            "model"
        );
        *self.engine.lock().unwrap_or_else(PoisonError::into_inner) = Some(engine);
        Ok(model)
    }
}

impl Workshop for Opener {
    fn words(&self, config: &Config) -> Result<Vocabulary, String> {
        let folder = config.model_dir().map_err(|error| error.to_string())?;
        let engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let engine = engine.map_or_else(|| engine::choose(&config.engine), Ok);
        let engine = engine.map_err(|error| Failure::engine(config, error).text().to_owned())?;
        Vocabulary::read(&folder, engine.as_ref(), config)
            .map_err(|error| Failure::model(config, error).text().to_owned())
    }

    fn model(&self, config: &Config) -> Result<Model, String> {
        self.open(config).map_err(|failure| failure.text().to_owned())
    }

    fn log(&self, config: &Log) {
        super::logging::follow(&self.common.logging, config);
    }
}

/// Listens to the machine's own noise and writes what it resembles.
fn learn(
    config: &Config,
    analysis: Analysis,
    clock: &dyn Clock,
    time: Duration,
    out: &PathBuf,
) -> Result<(), Failure> {
    let stop = Stop::default();
    let learner = BackgroundLearner::new(analysis.model().manifest());
    let mut listener = Listener { learner, until: None, time, stop: &stop };
    pipeline::run(config, analysis, clock, &stop, &mut listener).map_err(Failure::failed)?;
    let frames = listener.learner.observations();
    if frames == 0 {
        return Err(Failure::Failed(
            "nothing was heard: no frame was analysed; check camera and microphone".into(),
        ));
    }
    std::fs::write(out, listener.learner.profile().to_toml())
        .map_err(|error| Failure::Failed(format!("{}: cannot be written: {error}", out.display())))?;
    super::print(&format!(
        "{}: learned from {frames} frames; use it with [detection] background = {:?}\n",
        out.display(),
        out.display().to_string()
    ))
}

/// Feeds the learner, and stops when it has heard long enough.
struct Listener<'a> {
    learner: BackgroundLearner,
    until: Option<Instant>,
    time: Duration,
    stop: &'a Stop,
}

impl Observer for Listener<'_> {
    fn message(&mut self, _: Message) {}

    fn analysed(&mut self, analysed: &Analysed) {
        self.learner.observe(&analysed.scores);
        let until = *self.until.get_or_insert(analysed.captured + self.time);
        if analysed.captured >= until {
            self.stop.ask();
        }
    }
}
