//! The analysis thread: sound and frames in, messages out.
//!
//! [`Supervisor::play`] takes a recording to its end; [`Supervisor::watch`] lasts for months.

mod adapt;
mod configuration;
mod engine;
mod play;
mod status;
mod verdicts;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use crate::analysis::{Analysed, Analysis};
use crate::capture::{CaptureError, Pace, Rate, Wanted};
use crate::clock::{Clock, Instant};
use crate::config::{Config, Overrides};
use crate::frame::{Frame, Samples};
use crate::geometry::Size;
use crate::message::{Composer, Health, Message, Moment, Wish};
use crate::model::{Model, ModelError};
use crate::monitor::Progress;
use crate::notify::Notifier;
use crate::queue::{Receiver, Sense};
use crate::track::Track;
use crate::window::Pairing;

use self::adapt::Standing;
use self::configuration::Configuration;
use self::engine::EngineWatch;
use self::status::Status;
use self::verdicts::Verdicts;
use super::Stop;
use super::hardware::{Hardware, Real};
use super::layers::Layers;
use super::named::Named;
use super::reload::Change;
use super::throttle::Throttle;
use super::workshop::{Making, Workshop};

/// Longest turn of the loop: how late a wish to stop is noticed when nothing is captured.
const TURN: Duration = Duration::from_millis(100);
/// So many frames in a row that the model cannot judge are no passing trouble.
const MOST_FAILURES: u32 = 50;

/// Who is told what the pipeline finds.
pub trait Observer {
    /// Something was found, goes on, or is over.
    fn message(&mut self, message: Message);

    /// A part of the device works better or worse than before.
    fn health(&mut self, _health: Health) {}

    /// A wish to switch it on or off, once each.
    fn switch(&mut self) -> Option<Wish> {
        None
    }

    /// Something else to change, once each.
    fn change(&mut self) -> Option<Change> {
        None
    }

    /// Who makes what a change needs.
    fn workshop(&self) -> Option<Arc<dyn Workshop>> {
        None
    }

    /// Other settings are in force.
    fn configured(&mut self, _config: &Config, _model: &Model, _overrides: &Overrides) {}

    /// A wish for the setting `key` was judged: what is in force now, or why it is refused.
    fn judged(&mut self, _key: &str, _result: Result<&Overrides, String>) {}

    /// A turn of the analysis is over; at least ten times in a second.
    fn progress(&mut self, _progress: Progress) {}

    /// That something beside the analysis is stuck, and the service manager had better start everything anew.
    fn stuck(&self, _now: Instant) -> Option<String> {
        None
    }

    /// What else does not do as it should, for the end of the line in `systemctl status`.
    fn ailing(&self) -> String {
        String::new()
    }

    /// A frame was analysed.
    fn analysed(&mut self, _analysed: &Analysed) {}

    /// The same, with the picture itself.
    fn pictured(&mut self, _frame: &Frame, _analysed: &Analysed, _moment: Moment) {}
}

/// Why the pipeline ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// A recording, or a configuration that no waiting can mend.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// A recording broke off.
    #[error("the {0} broke off: {1}")]
    Broken(Sense, Box<dyn std::error::Error + Send + Sync>),
    /// A recording has sound at most.
    #[error("{}: there is no picture in it; tvsl reports what is both heard and seen, so give it a clip with both", .0.display())]
    NoPicture(PathBuf),
    /// The camera is out of reach of this process, but perhaps not of another.
    #[error(
        "no nvargus-daemon answers from here, and one that has started since never will; ending, so that the service manager \
         starts a process that sees it: `systemctl status nvargus-daemon`"
    )]
    ShutOut,
    /// The model fails on every frame.
    #[error("the model failed on {MOST_FAILURES} frames in a row, or for good; last: {0}")]
    Model(#[from] ModelError),
}

/// Captures and analyses until the recording is over or stopping is asked for, and tells `observer`
/// what it finds. Live devices that are missing or lost are tried again for ever.
///
/// # Errors
/// A recording that cannot be read to its end, or a model that fails on every frame.
pub fn run(
    config: &Config,
    analysis: Analysis,
    clock: &dyn Clock,
    stop: &Stop,
    observer: &mut dyn Observer,
) -> Result<(), PipelineError> {
    let layers = Layers::new(config.clone());
    run_at(Pace::of(&config.camera), fastrand::u32(..), layers, analysis, clock, stop, observer)
}

/// Analyses the recording that the configuration names as fast as it can. All stamps are seconds of the
/// recording, in messages too, and the same recording is told in the same words each time.
///
/// # Errors
/// As [`run`].
pub fn replay(
    config: &Config,
    analysis: Analysis,
    clock: &dyn Clock,
    stop: &Stop,
    observer: &mut dyn Observer,
) -> Result<(), PipelineError> {
    let layers = Layers::new(config.clone());
    run_at(Pace::Fast, 0, layers, analysis, clock, stop, observer)
}

/// [`run`] or [`replay`], with the number that tells this run from others, and with what subscribers changed.
pub(super) fn run_at(
    pace: Pace,
    number: u32,
    layers: Layers,
    analysis: Analysis,
    clock: &dyn Clock,
    stop: &Stop,
    observer: &mut dyn Observer,
) -> Result<(), PipelineError> {
    Supervisor::new(number, layers, analysis, (&Real, clock, stop), observer, pace).run()
}

struct Supervisor<'a> {
    /// What is in force.
    config: Config,
    /// Where it comes from.
    layers: Layers,
    /// What of it is not as it was written, or wished.
    configuration: Configuration,
    /// Whether the devices of what is in force ever delivered.
    standing: Standing,
    /// When it was last looked whether the camera is out of reach.
    looked: Option<Instant>,
    /// What the configuration only names, as it is in force.
    named: Named,
    hardware: &'a dyn Hardware,
    /// The change whose needs are being made.
    making: Option<Making>,
    /// What came of wishes and was not said yet.
    verdicts: Verdicts,
    /// Most pictures in a second, for cameras that are open.
    most: Rate,
    clock: &'a dyn Clock,
    stop: &'a Stop,
    observer: &'a mut dyn Observer,
    pace: Pace,
    analysis: Analysis,
    composer: Composer,
    notifier: Notifier,
    analysed: u64,
    failures: u32,
    engine: EngineWatch,
    /// What runs the model, as it was told.
    runs: &'static str,
    progress: Progress,
    throttle: Throttle,
    /// When the last frame was captured.
    latest: Instant,
    /// When it was last switched on: what was captured before is nobody's business.
    enabled: Instant,
    status: Status,
    /// Whether something is stuck, and that was said.
    stuck: bool,
}

impl<'a> Supervisor<'a> {
    fn new(
        number: u32,
        layers: Layers,
        analysis: Analysis,
        (hardware, clock, stop): (&'a dyn Hardware, &'a dyn Clock, &'a Stop),
        observer: &'a mut dyn Observer,
        pace: Pace,
    ) -> Self {
        let config = layers.merged();
        let composer = Composer::new(&config, analysis.model().manifest(), number);
        Self {
            most: Rate::new(config.camera.rate),
            runs: analysis.model().engine(),
            layers,
            configuration: Configuration::default(),
            standing: Standing::Untried,
            looked: None,
            named: Named::by(&config),
            config,
            hardware,
            making: None,
            verdicts: Verdicts::default(),
            clock,
            stop,
            observer,
            pace,
            analysis,
            composer,
            notifier: Notifier::new(),
            analysed: 0,
            failures: 0,
            engine: EngineWatch::new(if pace == Pace::Fast { Instant::ZERO } else { clock.now() }),
            progress: Progress::default(),
            throttle: Throttle::default(),
            latest: Instant::ZERO,
            enabled: Instant::ZERO,
            status: Status::default(),
            stuck: false,
        }
    }

    fn run(mut self) -> Result<(), PipelineError> {
        self.tell_configuration();
        self.tell_engine();
        let result = self.pace_engine().and_then(|()| match self.pace {
            Pace::Live => self.watch(),
            Pace::Realtime | Pace::Fast => self.play(),
        });
        self.notifier.stopping();
        self.finish_tracks();
        info!(frames = self.analysed, "stopped");
        result
    }

    /// Has pictures that come at their own pace encoded on no more threads than that needs.
    fn pace_engine(&mut self) -> Result<(), PipelineError> {
        if self.pace == Pace::Fast {
            return Ok(());
        }
        let interval = Duration::from_secs_f64(1.0 / self.config.camera.rate);
        Ok(self.analysis.model_mut().take_time(interval, self.clock)?)
    }

    /// Tells how far the analysis is: a turn of it is over. The service manager hears of it unless a device, or
    /// something beside the analysis, is `stuck`.
    fn turned(&mut self, receiver: &Receiver, stuck: Option<String>) {
        (self.progress.load, self.progress.shed) = (receiver.load(), receiver.shed());
        self.progress.forgotten = receiver.forgotten();
        self.observer.progress(self.progress);
        let now = self.clock.now();
        let stuck = stuck.or_else(|| self.making_hangs(now)).or_else(|| self.observer.stuck(now));
        match &stuck {
            Some(why) if !self.stuck => error!("{why}; the watchdog is not fed until it goes on"),
            Some(_) => {}
            None => self.notifier.progress(now),
        }
        self.stuck = stuck.is_some();
    }

    fn wanted(&self) -> Wanted {
        let image = self.analysis.model().manifest().image.clone();
        let rate = self.analysis.model().sample_rate();
        Wanted { fitting: Arc::new(move |size| image.fit(size)), rate, most: Some(self.most.clone()) }
    }

    /// How long to wait for the next item: a frame that waits for sound ends the turn in time.
    fn turn(&self, pairing: &Pairing) -> Duration {
        pairing.deadline().map_or(TURN, |deadline| deadline.since(self.clock.now()).min(TURN))
    }

    fn listen(&mut self, sound: &Samples, pairing: &mut Pairing) -> Result<(), PipelineError> {
        self.progress.gaps += u64::from(!sound.lost_before.is_zero());
        self.progress.lost += sound.lost_before;
        if self.may_analyse(sound.captured) {
            let heard = self.analysis.push_sound(sound);
            self.judged(heard)?;
        }
        pairing.sound(sound.end());
        Ok(())
    }

    /// Whether what was captured then may be heard or seen.
    fn may_analyse(&self, captured: Instant) -> bool {
        self.config.detection.enable && captured >= self.enabled
    }

    /// Judges a frame. While a GPU is at it, the one that is `coming` is encoded.
    fn judge<'f>(
        &mut self,
        mut frame: Frame,
        coming: impl FnOnce() -> Option<&'f mut Frame>,
    ) -> Result<(), PipelineError> {
        if !self.may_analyse(frame.captured) {
            self.progress.disabled += 1;
            self.notifier.ready();
            self.notifier.status(self.clock.now(), || {
                format!("switched off{}{}", self.observer.ailing(), self.configuration.line())
            });
            return Ok(());
        }
        let analysed = self.analyse(&mut frame, coming);
        let Some(analysed) = self.judged(analysed)? else {
            self.progress.misjudged += 1;
            return Ok(());
        };
        self.failures = 0; // here, not where sound is heard well: frames that fail between it are in a row
        self.check_engine(None);
        self.analysed += 1;
        self.latest = frame.captured;
        let moment = self.moment();
        if self.analysed == 1 {
            let Size { width, height } = frame.source;
            info!(width, height, captured = moment.unix(frame.captured), "the first frame is analysed");
        }
        self.notifier.ready();
        let message = self.composer.compose(&analysed, moment);
        self.observer.analysed(&analysed);
        self.observer.pictured(&frame, &analysed, moment);
        let now = self.clock.now();
        self.status.judged(message.as_ref(), now);
        let slowed = match self.throttle.why() {
            "" => String::new(),
            why => format!("; slowed down: {why}"),
        };
        self.notifier.status(now, || {
            self.status.line(now) + &slowed + &self.observer.ailing() + &self.configuration.line()
        });
        message.into_iter().for_each(|message| self.observer.message(message));
        Ok(())
    }

    fn analyse<'f>(
        &mut self,
        frame: &mut Frame,
        coming: impl FnOnce() -> Option<&'f mut Frame>,
    ) -> Result<Analysed, ModelError> {
        let pending = self.analysis.begin(frame)?;
        if pending.leaves_time()
            && let Some(next) = coming()
            && self.may_analyse(next.captured)
            && self.throttle.would_admit(next.captured, self.config.camera.throttled_rate)
        {
            self.analysis.look_ahead(next);
        }
        self.analysis.complete(pending)
    }

    /// Passes a result on; a failure is told and forgiven, but not too many in a row.
    fn judged<T>(&mut self, result: Result<T, ModelError>) -> Result<Option<T>, PipelineError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) => {
                let new = self.check_engine(Some(&error));
                if error.ends_the_process() || self.failures + 1 >= MOST_FAILURES {
                    return Err(error.into());
                }
                self.failures += 1;
                self.progress.failed += 1;
                if new {
                    warn!("the model failed: {error}");
                } else {
                    debug!("the model failed again: {error}");
                }
                Ok(None)
            }
        }
    }

    /// Tells how the engine does and what runs the model, if that changed; whether the former did.
    fn check_engine(&mut self, failure: Option<&ModelError>) -> bool {
        let (trouble, now) = (self.analysis.model().trouble(), self.moment().now);
        self.engine.judged(failure, trouble, now);
        if self.analysis.model().engine() != self.runs {
            self.configured();
        }
        self.tell_engine()
    }

    fn tell_engine(&mut self) -> bool {
        let news = self.engine.news(self.moment());
        news.map(|health| self.observer.health(health)).is_some()
    }

    /// Ends what is still reported: nothing is known of it any more.
    fn finish_tracks(&mut self) {
        let tracks = self.analysis.finish();
        self.close(&tracks);
    }

    /// Tells that these are over.
    fn close(&mut self, tracks: &[Track]) {
        let message = self.composer.close(tracks, self.moment());
        message.into_iter().for_each(|message| self.observer.message(message));
    }

    fn moment(&self) -> Moment {
        match self.pace {
            Pace::Fast => Moment::of_recording(self.latest),
            Pace::Live | Pace::Realtime => Moment::of(self.clock),
        }
    }
}

#[cfg(test)]
mod tests;
