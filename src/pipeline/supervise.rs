//! The analysis thread: sound and frames in, messages out.
//!
//! [`Supervisor::play`] takes a recording to its end; [`Supervisor::watch`] lasts for months, while
//! [`Live`] loses its devices and finds them again.

mod adapt;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use crate::analysis::{Analysed, Analysis};
use crate::capture::{self, CaptureError, Pace, Wanted};
use crate::clock::{Clock, Instant};
use crate::config::{Config, Overrides};
use crate::frame::Frame;
use crate::geometry::Size;
use crate::message::{Composer, Health, Message, Moment};
use crate::model::{Model, ModelError};
use crate::notify::Notifier;
use crate::queue::{self, Empty, Limits, Receiver, Sense, Sensed};
use crate::window::{Pairing, Patience};

use super::Stop;
use super::live::Live;
use super::reload::{Change, Layers};
use adapt::Devices;

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

    /// Something to change, once each.
    fn change(&mut self) -> Option<Change> {
        None
    }

    /// Other settings of judgement are in force.
    fn configured(&mut self, _config: &Config, _model: &Model, _overrides: &Overrides) {}

    /// A wish for the setting `key` was judged: what is in force now, or why it is refused.
    fn judged(&mut self, _key: &str, _result: Result<&Overrides, String>) {}

    /// A frame was analysed.
    fn analysed(&mut self, _analysed: &Analysed) {}
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
    let layers = Layers { file: config.clone(), overrides: Overrides::default() };
    run_as(fastrand::u32(..), layers, analysis, clock, stop, observer)
}

/// [`run`], with the number that tells this run from others, and with what subscribers changed.
pub(super) fn run_as(
    number: u32,
    layers: Layers,
    analysis: Analysis,
    clock: &dyn Clock,
    stop: &Stop,
    observer: &mut dyn Observer,
) -> Result<(), PipelineError> {
    run_at(Pace::of(&layers.file.camera), number, layers, analysis, clock, stop, observer)
}

/// Analyses the recording that the configuration names as fast as it can. All stamps are seconds of the
/// recording, in messages too.
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
    let layers = Layers { file: config.clone(), overrides: Overrides::default() };
    run_at(Pace::Fast, fastrand::u32(..), layers, analysis, clock, stop, observer)
}

fn run_at(
    pace: Pace,
    number: u32,
    layers: Layers,
    analysis: Analysis,
    clock: &dyn Clock,
    stop: &Stop,
    observer: &mut dyn Observer,
) -> Result<(), PipelineError> {
    let config = layers.merged();
    let composer = Composer::new(&config, analysis.model().manifest(), number);
    let notifier = Notifier::new();
    let (analysed, failures, latest) = (0, 0, Instant::ZERO);
    let supervisor = Supervisor {
        config,
        layers,
        refused: String::new(),
        clock,
        stop,
        observer,
        pace,
        analysis,
        composer,
        notifier,
        analysed,
        failures,
        latest,
    };
    supervisor.run()
}

struct Supervisor<'a> {
    /// What is in force.
    config: Config,
    /// Where it comes from.
    layers: Layers,
    /// Why the newest configuration file is not in force; empty if it is.
    refused: String,
    clock: &'a dyn Clock,
    stop: &'a Stop,
    observer: &'a mut dyn Observer,
    pace: Pace,
    analysis: Analysis,
    composer: Composer,
    notifier: Notifier,
    analysed: u64,
    failures: u32,
    /// When the last frame was captured.
    latest: Instant,
}

impl Supervisor<'_> {
    fn run(mut self) -> Result<(), PipelineError> {
        let result = match self.pace {
            Pace::Live => self.watch(),
            Pace::Realtime | Pace::Fast => self.play(),
        };
        self.notifier.stopping();
        self.finish_tracks();
        info!(frames = self.analysed, "stopped");
        result
    }

    /// Watches live devices until stopping is asked for. A lost one is opened again, for ever; frames are
    /// judged only while every configured sense delivers.
    fn watch(&mut self) -> Result<(), PipelineError> {
        let (sender, receiver) = queue::bounded(Limits::default(), self.pace.policy());
        let began = self.clock.now();
        let mut live = Live::new(&self.config, &self.wanted(), &sender, began);
        let mut pairing = Pairing::new(Patience::AtMost(self.config.window.wait));
        if live.deaf() {
            pairing.no_more_sound();
        }
        while !self.stop.asked() {
            let lost = live.tend(self.clock.now(), &receiver)?;
            let lost = self.receive(&receiver, &mut live, &mut pairing)? || lost;
            while let Some(frame) = pairing.next(self.clock.now()) {
                if live.whole() {
                    self.judge(&frame)?;
                }
            }
            if lost {
                self.finish_tracks();
            }
            self.tell(&mut live, began);
            self.adapt(Some(Devices { live: &mut live, sender: &sender, receiver: &receiver }));
        }
        let shed = receiver.shed();
        if shed.frames + shed.samples > 0 {
            info!(frames = shed.frames, samples = shed.samples, "shed to stay in the present");
        }
        Ok(())
    }

    /// Takes what comes within a turn; tells whether a sense was lost.
    fn receive(
        &mut self,
        receiver: &Receiver,
        live: &mut Live,
        pairing: &mut Pairing,
    ) -> Result<bool, PipelineError> {
        let item = receiver.recv(self.turn(pairing));
        let now = self.clock.now();
        let lost = match item {
            Ok(Sensed::Frame(frame)) => {
                let frozen = live.see(&frame, now).map(|why| (Sense::Camera, why));
                pairing.frame(frame, now);
                frozen
            }
            Ok(Sensed::Sound(sound)) => {
                live.hear(&sound, now);
                let heard = self.analysis.push_sound(&sound);
                self.judged(heard)?;
                pairing.sound(sound.end());
                None
            }
            Ok(Sensed::End(sense)) => Some((sense, "the stream ended".to_owned())),
            Ok(Sensed::Fault(sense, error)) => Some((sense, error.to_string())),
            Err(Empty::TimedOut | Empty::Closed) => None,
        };
        if let Some((sense, why)) = &lost {
            live.lose(*sense, why, now, receiver);
        }
        Ok(lost.is_some())
    }

    /// Tells observer and service manager how the devices do. Waiting for one is progress.
    fn tell(&mut self, live: &mut Live, began: Instant) {
        let (now, moment) = (self.clock.now(), self.moment());
        live.news(moment).into_iter().for_each(|health| self.observer.health(health));
        self.notifier.progress(now);
        if !live.whole() {
            self.notifier.status(now, || format!("waiting: {}{}", live.missing(), self.refused));
            if now.since(began) > self.config.service.start_within {
                self.notifier.ready();
            }
        }
    }

    fn wanted(&self) -> Wanted {
        let image = self.analysis.model().manifest().image.clone();
        Wanted { fitting: Arc::new(move |size| image.fit(size)), rate: self.analysis.model().sample_rate() }
    }

    /// Plays the recording to its end, or until stopping is asked for.
    fn play(&mut self) -> Result<(), PipelineError> {
        let (sender, receiver) = queue::bounded(Limits::default(), self.pace.policy());
        let (camera, microphone) = (&self.config.camera, &self.config.microphone);
        let capture = capture::start(camera, microphone, &self.wanted(), self.pace, sender)?;
        let played = self.take(&receiver);
        drop((receiver, capture)); // in this order: senders that wait for room are let go first
        played?;
        if self.analysed == 0 && self.config.detection.enable && !self.stop.asked() {
            return Err(PipelineError::NoPicture(self.config.camera.file.path.clone()));
        }
        Ok(())
    }

    /// Empties the queue until there is nothing more to come.
    fn take(&mut self, receiver: &Receiver) -> Result<(), PipelineError> {
        let mut pairing = Pairing::new(Patience::Endless);
        let mut pictures_over = false;
        while !self.stop.asked() {
            match receiver.recv(self.turn(&pairing)) {
                Ok(Sensed::Frame(frame)) => pairing.frame(frame, self.clock.now()),
                Ok(Sensed::Sound(sound)) => {
                    let heard = self.analysis.push_sound(&sound);
                    self.judged(heard)?;
                    pairing.sound(sound.end());
                }
                Ok(Sensed::End(Sense::Microphone)) => pairing.no_more_sound(),
                Ok(Sensed::End(Sense::Camera)) => pictures_over = true,
                Ok(Sensed::Fault(sense, error)) => return Err(PipelineError::Broken(sense, error)),
                Err(Empty::TimedOut) => {}
                Err(Empty::Closed) => (pairing.no_more_sound(), pictures_over = true).0,
            }
            while let Some(frame) = pairing.next(self.clock.now()) {
                self.judge(&frame)?;
            }
            self.notifier.progress(self.clock.now());
            self.adapt(None);
            if pictures_over && pairing.held() == 0 {
                break;
            }
        }
        Ok(())
    }

    /// How long to wait for the next item: a frame that waits for sound ends the turn in time.
    fn turn(&self, pairing: &Pairing) -> Duration {
        pairing.deadline().map_or(TURN, |deadline| deadline.since(self.clock.now()).min(TURN))
    }

    fn judge(&mut self, frame: &Frame) -> Result<(), PipelineError> {
        if !self.config.detection.enable {
            self.notifier.ready();
            self.notifier.status(self.clock.now(), || format!("disabled{}", self.refused));
            return Ok(());
        }
        let analysed = self.analysis.push_frame(frame);
        let Some(analysed) = self.judged(analysed)? else { return Ok(()) };
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
        let frames = self.analysed;
        let line = || status_line(frames, message.as_ref()) + &self.refused;
        self.notifier.status(self.clock.now(), line);
        message.into_iter().for_each(|message| self.observer.message(message));
        Ok(())
    }

    /// Passes a result on; a failure is told and forgiven, but not too many in a row.
    fn judged<T>(&mut self, result: Result<T, ModelError>) -> Result<Option<T>, PipelineError> {
        match result {
            Ok(value) => {
                self.failures = 0;
                Ok(Some(value))
            }
            Err(error) if error.lasting() || self.failures + 1 >= MOST_FAILURES => Err(error.into()),
            Err(error) => {
                self.failures += 1;
                warn!("the model failed: {error}");
                Ok(None)
            }
        }
    }

    /// Ends what is still reported: nothing is known of it any more.
    fn finish_tracks(&mut self) {
        let tracks = self.analysis.finish();
        let message = self.composer.close(&tracks, self.moment());
        message.into_iter().for_each(|message| self.observer.message(message));
    }

    fn moment(&self) -> Moment {
        match self.pace {
            Pace::Fast => Moment::of_recording(self.latest),
            Pace::Live | Pace::Realtime => {
                Moment { now: self.clock.now(), wall: self.clock.wall(), synced: self.clock.synced() }
            }
        }
    }
}

fn status_line(frames: u64, message: Option<&Message>) -> String {
    let names: Vec<&str> =
        message.iter().flat_map(|m| m.detections.iter().map(|d| d.label.as_str())).collect();
    match names.as_slice() {
        [] => format!("{frames} frames analysed; nothing is both heard and seen"),
        names => format!("{frames} frames analysed; now: {}", names.join(", ")),
    }
}
