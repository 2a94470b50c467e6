//! Flat out: the clip decoded only, taken through the whole daemon, and the bare engine on the same inputs.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::gpu::{self, Gpu};
use super::live;
use super::meter::{Cost, Mark, Metered, Tally};
use crate::analysis::Analysis;
use crate::capture::{self, Pace, Wanted};
use crate::cli::Failure;
use crate::clock::{Clock, Instant, SystemClock};
use crate::config::Config;
use crate::engine::Engine;
use crate::message::{Composer, Moment};
use crate::model::{Manifest, Model};
use crate::pipeline;
use crate::queue::{self, Empty, Limits, Sensed};
use crate::window::{Pairing, Patience};

/// What one pass over the clip cost.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pass {
    pub frames: usize,
    pub cost: Cost,
}

impl Pass {
    /// Milliseconds of processor time per frame.
    pub fn cpu_ms(&self) -> f64 {
        self.cost.cpu.as_secs_f64() * 1e3 / self.frames.max(1) as f64
    }

    /// Milliseconds by the clock on the wall per frame.
    pub fn wall_ms(&self) -> f64 {
        self.cost.wall.as_secs_f64() * 1e3 / self.frames.max(1) as f64
    }
}

/// Everything that the daemon's capture makes of the clip, for the bare engine to run on.
pub(super) fn captured(config: &Config, manifest: &Manifest) -> Result<Vec<Sensed>, Failure> {
    let (sender, receiver) = queue::bounded(Limits::default(), Pace::Fast.policy());
    let (camera, microphone) = (&config.camera, &config.microphone);
    let _capture =
        capture::start(camera, microphone, &wanted(manifest), Pace::Fast, sender).map_err(Failure::failed)?;
    let (mut items, mut ends) = (Vec::new(), 0);
    while ends < 2 {
        match receiver.recv(Duration::from_secs(10)) {
            Ok(Sensed::End(_)) => ends += 1,
            Ok(Sensed::Fault(_, error)) => return Err(Failure::Failed(error.to_string())),
            Ok(item) => items.push(item),
            Err(Empty::Closed) => break,
            Err(error @ Empty::TimedOut) => return Err(Failure::failed(error)),
        }
    }
    Ok(items)
}

/// Decodes the clip, whose `frames` are known, and scales it to the model's size in the daemon's own pipeline, which
/// ends in sinks that drop everything.
pub(super) fn decode(config: &Config, manifest: &Manifest, frames: usize) -> Result<Pass, Failure> {
    let began = Mark::now();
    capture::decode(&config.camera.file.path, config.camera.rate, &wanted(manifest))
        .map_err(Failure::failed)?;
    Ok(Pass { frames, cost: began.cost() })
}

fn wanted(manifest: &Manifest) -> Wanted {
    let image = manifest.image.clone();
    Wanted { fitting: Arc::new(move |size| image.fit(size)), rate: manifest.audio.sample_rate, most: None }
}

/// Decodes and analyses the clip, whose `frames` are known, in the whole daemon: its messages are built, queued and sent to a
/// broker, which is another process, and heard by nobody, who would be part of this one.
pub(super) fn whole(config: &Config, analysis: Analysis, frames: usize) -> Result<Pass, Failure> {
    let (_broker, config) = live::beside(config)?;
    let clock = SystemClock::new();
    let (began, start) = (Mark::now(), clock.now());
    let over = pipeline::rush(&config, analysis, &clock).map_err(Failure::failed)?;
    // What is still to be sent then takes processor time, and no picture waits for it.
    Ok(Pass { frames, cost: Cost { wall: over.since(start), ..began.cost() } })
}

/// What the engine was asked, and what that cost, when the clip came from memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bare {
    /// All calls of all graphs.
    pub pass: Pass,
    /// Processor time of the analysis and its messages beside them, one picture after the other.
    pub between: Duration,
    /// Calls of the audio graph after loading.
    pub audio_runs: u64,
    /// Length of the sound.
    pub sound: Duration,
    /// What the GPU did, if there is one.
    pub gpu: Option<Gpu>,
}

/// Analyses what was decoded before with an engine whose calls are counted, nothing else running.
pub(super) fn bare(
    config: &Config,
    manifest: &Manifest,
    engine: Arc<dyn Engine>,
    items: &[Sensed],
) -> Result<Bare, Failure> {
    let (metered, tally) = Metered::new(engine);
    let model = Model::configured(&config.model_dir()?, &metered, config).map_err(Failure::failed)?;
    let mut analysis = Analysis::new(model, config).map_err(|error| Failure::model(config, error))?;
    clear(&tally);
    let mut pairing = Pairing::new(Patience::Endless);
    let mut composer = Composer::new(config, manifest, 0);
    let (mut frames, mut sound, mut whole, mut gpu) = (0, Duration::ZERO, Duration::ZERO, Gpu::default());
    for item in items {
        match item {
            Sensed::Frame(frame) => pairing.frame(frame.clone(), Instant::ZERO),
            Sensed::Sound(block) => {
                sound += block.duration();
                let began = Mark::now();
                analysis.push_sound(block).map_err(Failure::failed)?;
                whole += began.cost().cpu;
                pairing.sound(block.end());
            }
            Sensed::End(_) | Sensed::Fault(..) => {}
        }
        while let Some(mut frame) = pairing.next(Instant::ZERO) {
            let began = Mark::now();
            let analysed = analysis.push_frame(&mut frame).map_err(Failure::failed)?;
            let message = composer.compose(&analysed, Moment::of_recording(frame.captured));
            message.map(|message| serde_json::to_vec(&message)).transpose().map_err(Failure::failed)?;
            whole += began.cost().cpu;
            gpu.add(&analysed.timing.gpu);
            frames += 1;
        }
    }
    let alone = analysis.model_mut().repeat(gpu::LOOPED).map_err(Failure::failed)?;
    let audio: Vec<&str> = manifest.graphs.values().map(|graphs| graphs.audio.as_str()).collect();
    let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    let engine = tally.iter().fold(Cost::default(), |sum, (_, calls)| sum + calls.cost);
    let counted = tally.iter().map(|(name, calls)| (name.as_str(), calls.count));
    let gpu = gpu::looped(manifest, &alone, counted.collect()).map(|looped| Gpu { looped, ..gpu });
    let audio_runs = tally.iter().filter(|(name, _)| audio.contains(&name.as_str()));
    let audio_runs = audio_runs.map(|(_, calls)| calls.count).sum();
    let between = whole.saturating_sub(engine.cpu);
    Ok(Bare { pass: Pass { frames, cost: engine }, between, audio_runs, sound, gpu })
}

/// Forgets the calls that opening the model made.
fn clear(tally: &Tally) {
    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    tally.iter_mut().for_each(|(_, calls)| *calls = Default::default());
}
