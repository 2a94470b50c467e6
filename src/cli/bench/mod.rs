//! `tvsl bench`: how fast is it here, and how much of that is the engine's?

mod flat;
mod gpu;
mod live;
mod meter;
mod report;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::{Common, Failure};
use crate::analysis::Analysis;
use crate::capture;
use crate::config::{self, CameraSource, Config, MicrophoneSource};
use crate::engine::{self, Engine};
use crate::evaluate::bootstrap::quantile;
use crate::evaluate::clip::Truth;
use crate::geometry::Size;
use crate::model::{Manifest, Model};
use crate::queue::Sensed;
use flat::{Bare, Pass};
use live::Live;
use report::{Row, Setting, Target};

/// Measure how fast it is on this machine
///
/// Plays the demonstration clip in real time, told to a subscriber through a mosquitto started for it (delays, processor
/// time, memory), then flat out: decoded
/// only, through the whole daemon with its messages sent to a mosquitto that nobody listens to, and the bare engine with the same
/// inputs. Prints each figure beside its
/// target for two cores. Takes about three minutes; leave the machine alone meanwhile.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
    /// Truth of another clip: a JSON file like demo/truth.json, which names the clip
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// Times flat out; each figure is the middle one
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Model folder, in place of the configured one
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
}

/// Analysed frames in a second while it plays in real time.
const LIVE_RATE: f64 = 10.0;

pub(super) fn run(arguments: Arguments, common: &Common) -> Result<(), Failure> {
    let (mut config, _) = common.settings()?;
    let truth = Truth::read(&truth_file(arguments.truth)?).map_err(Failure::failed)?;
    config.camera.source = CameraSource::File;
    config.camera.file.path = truth.clip.clone();
    config.camera.file.repeat = false;
    config.microphone.source = MicrophoneSource::Media;
    if let Some(model) = arguments.model {
        config.model.path = std::path::absolute(model).map_err(Failure::failed)?;
    }
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    capture::init().map_err(Failure::failed)?;
    let bench = Bench::new(config)?;
    let (live, rounds) = bench.measure(&truth, arguments.rounds)?;
    let frames = rounds.first().map_or(0, |round| round.whole.frames);
    let setting = bench.setting(&truth, frames, load.split(' ').next().unwrap_or_default());
    let mut rows = flat_rows(&bench.manifest, &rounds);
    rows.extend(live_rows(&live));
    let gpu = gpu::rows(&rounds);
    if gpu.is_empty() {
        tracing::info!("not every graph ran on a GPU, so there are no figures of one");
    }
    rows.extend(gpu);
    super::print(&if arguments.json {
        format!("{:#}\n", report::json(&setting, &rows))
    } else {
        report::table(&setting, &rows)
    })
}

fn truth_file(given: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let places = given.map_or_else(|| config::places(Path::new("demo/truth.json")), |file| vec![file]);
    let looked = || places.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
    let found = places.iter().find(|file| file.is_file()).cloned();
    found.ok_or_else(|| Failure::Failed(format!("there is no clip to measure with; looked for {}", looked())))
}

/// One time flat out, three ways.
struct Round {
    decoded: Pass,
    whole: Pass,
    bare: Bare,
}

impl Round {
    /// What the program itself adds to the engine's work: 1 is nothing.
    fn overhead(&self) -> f64 {
        (self.whole.cpu_ms() - self.decoded.cpu_ms()) / self.bare.pass.cpu_ms()
    }

    /// Milliseconds of processor time per frame beside the engine's calls, of pictures one after the other: a GPU is given
    /// the next one meanwhile.
    fn between(&self) -> f64 {
        self.bare.between.as_secs_f64() * 1e3 / self.bare.pass.frames.max(1) as f64
    }
}

/// One engine and one configuration for every phase.
struct Bench {
    config: Config,
    engine: Arc<dyn Engine>,
    manifest: Manifest,
    /// Memory in megabytes before there was an engine.
    unladen: Option<f64>,
}

impl Bench {
    fn new(config: Config) -> Result<Self, Failure> {
        let manifest = Manifest::read(&config.model_dir()?).map_err(Failure::failed)?;
        let unladen = meter::rss();
        let engine = engine::choose(&config.engine).map_err(Failure::failed)?;
        Ok(Self { config, engine, manifest, unladen })
    }

    /// What a GPU's engines hold of the host's memory, in megabytes, once they are loaded and nothing ran; `None` on
    /// the CPU, whose engine is part of the program.
    fn engines_hold(&self) -> Option<f64> {
        let on_gpu = self.engine.name() == "tensorrt";
        on_gpu.then(|| meter::rss().zip(self.unladen).map(|(now, before)| now - before)).flatten()
    }

    fn analysis(&self) -> Result<Analysis, Failure> {
        let model = Model::configured(&self.config.model_dir()?, self.engine.as_ref(), &self.config)
            .map_err(Failure::failed)?;
        Analysis::new(model, &self.config).map_err(|error| Failure::model(&self.config, error))
    }

    /// Real time comes first: the memory it needs is then the most that was ever held.
    fn measure(&self, truth: &Truth, rounds: u32) -> Result<(Live, Vec<Round>), Failure> {
        let at_rate = |rate| {
            let mut config = self.config.clone();
            config.camera.rate = rate;
            config
        };
        tracing::info!("in real time, {:.0} s", truth.seconds);
        let analysis = self.analysis()?;
        let engines = self.engines_hold();
        let live = Live { engines, ..live::play(&at_rate(LIVE_RATE), analysis, truth)? };
        let config = at_rate(f64::INFINITY);
        let items = flat::captured(&config, &self.manifest)?;
        let frames = items.iter().filter(|item| matches!(item, Sensed::Frame(_))).count();
        let round = |number| {
            tracing::info!("flat out, round {number} of {rounds}");
            let decoded = flat::decode(&config, &self.manifest, frames)?;
            let whole = flat::whole(&config, self.analysis()?, frames)?;
            let bare = flat::bare(&config, &self.manifest, Arc::clone(&self.engine), &items)?;
            Ok(Round { decoded, whole, bare })
        };
        Ok((live, (1..=rounds).map(round).collect::<Result<_, Failure>>()?))
    }

    fn setting(&self, truth: &Truth, frames: usize, load: &str) -> Setting {
        let source = capture::read_picture(&truth.clip, None).map(|frame| frame.source);
        let Size { width, height } = self.manifest.image.fit(source.unwrap_or(Size::new(640, 360))).input;
        Setting {
            model: format!("{} {}", self.manifest.name, self.manifest.version),
            engine: self.engine.name().into(),
            threads: self.config.engine.threads,
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            clip: truth.clip.display().to_string(),
            input: format!("{width}x{height} with {} s of sound", self.manifest.audio.window),
            frames,
            sounds: truth.visible().count(),
            load: load.into(),
        }
    }
}

fn flat_rows(manifest: &Manifest, rounds: &[Round]) -> Vec<Row> {
    let middle = |of: &dyn Fn(&Round) -> f64| middle(rounds.iter().map(of).collect(), 0.5);
    let hops = |round: &Round| round.bare.sound.as_secs_f64() / manifest.audio.hop;
    let row = |name, of: &dyn Fn(&Round) -> f64, unit, target, about| Row {
        name,
        value: middle(of),
        unit,
        target,
        about,
    };
    let ms = |name, of, about| row(name, of, "ms", Target::None, about);
    vec![
        row("frames_per_second", &|r| 1e3 / r.whole.wall_ms(), "1/s", Target::AtLeast(40.0), "flat out"),
        row(
            "overhead_ratio",
            &Round::overhead,
            "",
            Target::AtMost(1.15),
            "(pipeline - decoding) / engine, CPU; its messages are built, queued and sent",
        ),
        ms("pipeline_ms", &|r| r.whole.wall_ms(), "wall time per frame, flat out"),
        ms("engine_ms", &|r| r.bare.pass.wall_ms(), "wall time per frame, bare engine"),
        ms("between_ms", &Round::between, "CPU per frame between the engine's calls"),
        ms("pipeline_cpu_ms", &|r| r.whole.cpu_ms(), "CPU per frame, flat out, sent to a broker"),
        ms("decoding_cpu_ms", &|r| r.decoded.cpu_ms(), "CPU per frame, decoded and scaled into a fakesink"),
        ms("engine_cpu_ms", &|r| r.bare.pass.cpu_ms(), "CPU per frame, bare engine"),
        row(
            "audio_runs_per_hop",
            &|r| r.bare.audio_runs as f64 / hops(r),
            "",
            Target::AtMost(1.0),
            "runs of the audio encoder",
        ),
    ]
}

fn live_rows(live: &Live) -> Vec<Row> {
    let row = |name, value, unit, target, about| Row { name, value, unit, target, about };
    let mut rows = vec![
        row("live_rate", Some(live.rate), "1/s", Target::None, "analysed frames in real time"),
        row(
            "cpu_ms_per_frame",
            Some(live.cpu_ms),
            "ms",
            Target::AtMost(35.0),
            "CPU in real time, decoding too",
        ),
    ];
    rows.extend(delays(live));
    rows.push(match live.engines {
        None => row("peak_rss", live.peak_rss, "MB", Target::AtMost(250.0), "most memory held in real time"),
        Some(engines) => {
            let beside = live.peak_rss.map(|peak| peak - engines);
            row(
                "rss_beside_engines",
                beside,
                "MB",
                Target::AtMost(400.0),
                "the same without what engines hold",
            )
        }
    });
    rows
}

/// The `q` quantile of unsorted values.
fn middle(mut values: Vec<f64>, q: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    quantile(&values, q)
}

/// How late messages, starts and ends are.
fn delays(live: &Live) -> Vec<Row> {
    let at = |values: &[f64], q| middle(values.to_vec(), q);
    let ms = |q| at(&live.delays, q).map(|seconds| seconds * 1e3);
    let outcomes = &live.verdict.outcomes;
    let onsets: Vec<f64> = outcomes.iter().filter_map(|o| o.onset).collect();
    let offsets: Vec<f64> = outcomes.iter().filter_map(|o| o.offset).collect();
    let found = onsets.len() as f64 / outcomes.len().max(1) as f64;
    let told = outcomes.iter().map(|o| o.identities).sum::<usize>();
    let identities = (!onsets.is_empty()).then(|| told as f64 / onsets.len() as f64);
    let row = |name, value, unit, target, about| Row { name, value, unit, target, about };
    vec![
        row(
            "capture_to_publish_p50",
            ms(0.5),
            "ms",
            Target::None,
            "frame captured to message at a subscriber",
        ),
        row("capture_to_publish_p90", ms(0.9), "ms", Target::None, ""),
        row("capture_to_publish_p99", ms(0.99), "ms", Target::AtMost(120.0), ""),
        row("onset_to_start_p50", at(&onsets, 0.5), "s", Target::AtMost(0.7), "sound begins to `start`"),
        row("onset_to_start_p90", at(&onsets, 0.9), "s", Target::AtMost(1.2), ""),
        row("offset_to_end_p90", at(&offsets, 0.9), "s", Target::AtMost(2.0), "sound over to `end`"),
        row("sounds_found", Some(found), "", Target::AtLeast(1.0), "share of the clip's sounds"),
        row("identities_per_sound", identities, "", Target::AtMost(1.0), "1: every sound is one event"),
    ]
}
