//! In real time: delays, processor time at ten frames a second, memory.

use std::time::Duration;

use super::meter::{self, Mark};
use crate::analysis::{Analysed, Analysis};
use crate::cli::Failure;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::evaluate::clip::{Truth, Verdict};
use crate::message::Message;
use crate::pipeline::{self, Observer, Stop};

/// What a run of the clip at its own speed showed.
pub(super) struct Live {
    /// Seconds from a frame's capture until its message was written, one for each message.
    pub delays: Vec<f64>,
    /// Milliseconds of processor time per analysed frame, decoding included.
    pub cpu_ms: f64,
    /// Analysed frames in a second.
    pub rate: f64,
    /// The most memory held so far, in megabytes.
    pub peak_rss: Option<f64>,
    /// Of it, what the engines of a GPU hold; `None` on the CPU.
    pub engines: Option<f64>,
    /// The messages held against the truth of the clip.
    pub verdict: Verdict,
}

/// Plays the clip through the daemon's pipeline at its own speed.
pub(super) fn play(config: &Config, analysis: Analysis, truth: &Truth) -> Result<Live, Failure> {
    let (clock, stop) = (SystemClock::new(), Stop::default());
    let mut watcher = Watcher { clock: &clock, first: None, last: None, delays: vec![], messages: vec![] };
    pipeline::run(config, analysis, &clock, &stop, &mut watcher).map_err(Failure::failed)?;
    let peak_rss = meter::peak_rss();
    let nothing = || Failure::Failed(format!("{}: no two frames were analysed", truth.clip.display()));
    let (first, last) = watcher.first.zip(watcher.last).ok_or_else(nothing)?;
    let frames = last.frames.max(1) as f64;
    Ok(Live {
        delays: watcher.delays,
        cpu_ms: last.cpu.as_secs_f64() * 1e3 / frames,
        rate: frames / last.wall.as_secs_f64(),
        peak_rss,
        engines: None,
        verdict: truth.judge(&watcher.messages, first.start),
    })
}

/// The first frame: when the clip began, and what had been spent by then.
struct First {
    start: f64,
    mark: Mark,
    frames: u64,
}

/// The last frame, counted from the first.
#[derive(Clone, Copy)]
struct Last {
    frames: u64,
    wall: Duration,
    cpu: Duration,
}

struct Watcher<'a> {
    clock: &'a SystemClock,
    first: Option<First>,
    last: Option<Last>,
    delays: Vec<f64>,
    messages: Vec<Message>,
}

impl Observer for Watcher<'_> {
    fn message(&mut self, message: Message) {
        let written = serde_json::to_vec(&message);
        if written.is_ok() && !message.detections.is_empty() {
            self.delays.push(self.clock.wall().as_secs_f64() - message.frame.captured);
        }
        self.messages.push(message);
    }

    fn analysed(&mut self, analysed: &Analysed) {
        match &mut self.first {
            None => {
                let age = self.clock.now().seconds_from(analysed.captured);
                let start = self.clock.wall().as_secs_f64() - age;
                self.first = Some(First { start, mark: Mark::now(), frames: 0 });
            }
            Some(first) => {
                first.frames += 1;
                let cost = first.mark.cost();
                self.last = Some(Last { frames: first.frames, wall: cost.wall, cpu: cost.cpu });
            }
        }
    }
}
