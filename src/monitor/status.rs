//! The figures as JSON, for people and scripts.

use std::collections::BTreeMap;

use serde::Serialize;

use super::figures::{Figures, Outgoing};
use super::histogram::Histogram;
use super::host::Host;
use crate::clock::Instant;
use crate::message::{Health, Info};

/// The page `/status`.
#[derive(Debug, Serialize)]
pub(super) struct Status<'a> {
    device: &'a str,
    version: &'a str,
    model: &'a str,
    engine: &'a str,
    uptime_seconds: f64,
    ready: bool,
    missing: Vec<String>,
    parts: Vec<Part<'a>>,
    frames: Frames,
    sound: Sound,
    events_started: &'a BTreeMap<String, u64>,
    /// Seconds.
    latency: BTreeMap<&'static str, Latency>,
    /// Seconds of the GPU, by graph.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    gpu: BTreeMap<&'static str, Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    broker: Option<Outgoing>,
    process: Host,
}

#[derive(Debug, Serialize)]
struct Part<'a> {
    #[serde(flatten)]
    health: &'a Health,
    losses: u64,
}

#[derive(Debug, Serialize)]
struct Frames {
    analysed: u64,
    per_second: f64,
    waiting: usize,
    dropped_too_slow: u64,
    not_judged: u64,
    closed: u64,
    misjudged: u64,
    disabled: u64,
    throttled: u64,
    failed: u64,
}

#[derive(Debug, Serialize)]
struct Sound {
    #[serde(skip_serializing_if = "Option::is_none")]
    level_dbfs: Option<f32>,
    waiting_seconds: f64,
    dropped_samples: u64,
    gaps: u64,
    lost_seconds: f64,
}

#[derive(Debug, Serialize)]
struct Latency {
    count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    p50: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p99: Option<f64>,
}

impl<'a> Status<'a> {
    pub fn new(about: &'a Info, figures: &'a Figures, process: Host, now: Instant) -> Self {
        let (progress, missing) = (figures.progress, figures.ready(now));
        let stages = figures.stages.iter().map(|(name, histogram)| (*name, histogram));
        let whole = [("capture_to_publish", &figures.published)];
        let gpu = figures.gpu.iter().filter(|(_, histogram)| histogram.count() > 0);
        Self {
            device: &about.device,
            version: &about.version,
            model: &about.model.name,
            engine: &about.engine,
            uptime_seconds: figures.uptime(now).as_secs_f64(),
            ready: missing.is_empty(),
            missing,
            parts: figures
                .parts
                .values()
                .map(|part| Part { health: &part.health, losses: part.losses })
                .collect(),
            frames: Frames {
                analysed: figures.analysed,
                per_second: figures.rate(now),
                waiting: progress.load.frames,
                dropped_too_slow: progress.shed.frames,
                not_judged: progress.unjudged,
                closed: progress.forgotten,
                misjudged: progress.misjudged,
                disabled: progress.disabled,
                throttled: progress.throttled,
                failed: progress.failed,
            },
            sound: Sound {
                level_dbfs: figures.level,
                waiting_seconds: progress.load.sound.as_secs_f64(),
                dropped_samples: progress.shed.samples,
                gaps: progress.gaps,
                lost_seconds: progress.lost.as_secs_f64(),
            },
            events_started: &figures.events,
            latency: stages.chain(whole).map(|(name, histogram)| (name, Latency::of(histogram))).collect(),
            gpu: gpu.map(|(name, histogram)| (*name, Latency::of(histogram))).collect(),
            broker: figures.outgoing,
            process,
        }
    }
}

impl Latency {
    fn of(histogram: &Histogram) -> Self {
        Self { count: histogram.count(), p50: histogram.quantile(0.5), p99: histogram.quantile(0.99) }
    }
}
