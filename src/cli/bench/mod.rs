//! `tvsl bench`: how fast is it here, and how much of that is the engine's?

mod flat;
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
use flat::{Bare, Pass};
use live::Live;
use report::{Row, Setting, Target};

/// Measure how fast it is on this machine
///
/// Plays the demonstration clip in real time (delays, processor time, memory), then flat out: decoded
/// only, decoded and analysed, and the bare engine with the same inputs. Prints each figure beside its
/// target for two cores. Takes about a minute and a half; leave the machine alone meanwhile.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
    /// Truth of another clip: a JSON file like demo/truth.json, which names the clip
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
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
    let (live, whole, decoded, bare) = bench.measure(&truth)?;
    let setting = bench.setting(&truth, whole.frames, load.split(' ').next().unwrap_or_default());
    let rows = rows(&bench.manifest, &live, whole, decoded, &bare);
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

/// One engine and one configuration for every phase.
struct Bench {
    config: Config,
    engine: Arc<dyn Engine>,
    manifest: Manifest,
}

impl Bench {
    fn new(config: Config) -> Result<Self, Failure> {
        let manifest = Manifest::read(&config.model_dir()?).map_err(Failure::failed)?;
        let engine = engine::choose(&config.engine).map_err(Failure::failed)?;
        Ok(Self { config, engine, manifest })
    }

    fn analysis(&self) -> Result<Analysis, Failure> {
        let model = Model::open(&self.config.model_dir()?, self.engine.as_ref()).map_err(Failure::failed)?;
        Analysis::new(model, &self.config).map_err(Failure::configuration)
    }

    /// Real time comes first: the memory it needs is then the most that was ever held.
    fn measure(&self, truth: &Truth) -> Result<(Live, Pass, Pass, Bare), Failure> {
        let at_rate = |rate| {
            let mut config = self.config.clone();
            config.camera.rate = rate;
            config
        };
        tracing::info!("in real time, {:.0} s", truth.seconds);
        let live = live::play(&at_rate(LIVE_RATE), self.analysis()?, truth)?;
        let all = at_rate(f64::INFINITY);
        tracing::info!("flat out");
        let before = flat::decode(&all, &self.manifest, drop)?;
        let whole = flat::whole(&all, self.analysis()?)?;
        let after = flat::decode(&all, &self.manifest, drop)?;
        tracing::info!("the bare engine");
        let bare = flat::bare(&all, &self.manifest, Arc::clone(&self.engine))?;
        let cost = meter::Cost {
            wall: (before.cost.wall + after.cost.wall) / 2,
            cpu: (before.cost.cpu + after.cost.cpu) / 2,
        };
        Ok((live, whole, Pass { frames: before.frames, cost }, bare))
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
            load: load.into(),
        }
    }
}

fn rows(manifest: &Manifest, live: &Live, whole: Pass, decoded: Pass, bare: &Bare) -> Vec<Row> {
    let engine = Pass { frames: bare.frames, cost: bare.engine };
    let overhead = (whole.cpu_ms() - decoded.cpu_ms()) / engine.cpu_ms();
    let hops = bare.sound.as_secs_f64() / manifest.audio.hop;
    let frames_per_second = 1e3 / whole.wall_ms();
    let row = |name, value, unit, target, about| Row { name, value, unit, target, about };
    let some = |name, value, unit, target, about| row(name, Some(value), unit, target, about);
    let mut rows = vec![
        some("frames_per_second", frames_per_second, "1/s", Target::AtLeast(40.0), "flat out"),
        some("pipeline_ms", whole.wall_ms(), "ms", Target::None, "wall time per frame, flat out"),
        some("engine_ms", engine.wall_ms(), "ms", Target::None, "wall time per frame, bare engine"),
        some("overhead_ratio", overhead, "", Target::AtMost(1.15), "(pipeline - decoding) / engine, CPU"),
        some("pipeline_cpu_ms", whole.cpu_ms(), "ms", Target::None, "CPU per frame, flat out"),
        some(
            "decoding_cpu_ms",
            decoded.cpu_ms(),
            "ms",
            Target::None,
            "CPU per frame, decoded and scaled only",
        ),
        some("engine_cpu_ms", engine.cpu_ms(), "ms", Target::None, "CPU per frame, bare engine"),
        some("live_rate", live.rate, "1/s", Target::None, "analysed frames in real time"),
        some("cpu_ms_per_frame", live.cpu_ms, "ms", Target::AtMost(35.0), "CPU at 10 frames/s, all included"),
    ];
    rows.extend(delays(live));
    rows.push(row("peak_rss", live.peak_rss, "MB", Target::AtMost(250.0), "most memory held, real time"));
    let runs = bare.audio_runs as f64 / hops;
    rows.push(some("audio_runs_per_hop", runs, "", Target::AtMost(1.0), "runs of the audio encoder"));
    rows
}

/// How late messages, starts and ends are.
fn delays(live: &Live) -> Vec<Row> {
    let at = |values: &[f64], q| {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        quantile(&sorted, q)
    };
    let ms = |q| at(&live.delays, q).map(|seconds| seconds * 1e3);
    let outcomes = &live.verdict.outcomes;
    let onsets: Vec<f64> = outcomes.iter().filter_map(|o| o.onset).collect();
    let offsets: Vec<f64> = outcomes.iter().filter_map(|o| o.offset).collect();
    let found = onsets.len() as f64 / outcomes.len().max(1) as f64;
    let row = |name, value, unit, target, about| Row { name, value, unit, target, about };
    vec![
        row("capture_to_publish_p50", ms(0.5), "ms", Target::None, "frame captured to message written"),
        row("capture_to_publish_p90", ms(0.9), "ms", Target::None, ""),
        row("capture_to_publish_p99", ms(0.99), "ms", Target::AtMost(120.0), ""),
        row("onset_to_start_p50", at(&onsets, 0.5), "s", Target::AtMost(0.7), "sound begins to `start`"),
        row("onset_to_start_p90", at(&onsets, 0.9), "s", Target::AtMost(1.2), ""),
        row("offset_to_end_p90", at(&offsets, 0.9), "s", Target::AtMost(2.0), "sound over to `end`"),
        row("sounds_found", Some(found), "", Target::AtLeast(1.0), "share of the clip's sounds"),
    ]
}
