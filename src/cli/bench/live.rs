//! In real time, told to a subscriber through a real broker: delays, processor time at ten frames a second, memory.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::Notify;

use super::meter::{self, Mark};
use crate::analysis::{Analysed, Analysis};
use crate::cli::Failure;
use crate::cli::broker::{self, Own};
use crate::cli::listen::{self, Heard};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Overrides};
use crate::evaluate::clip::{Truth, Verdict};
use crate::message::{Health, Info, Message, Presence, Settings};
use crate::pipeline::{self, Observer, Stop};
use crate::publish::{Teller, mqtt};

/// What a run of the clip at its own speed showed.
pub(super) struct Live {
    /// Seconds from a frame's capture until a subscriber had its message, one for each message that tells something.
    pub delays: Vec<f64>,
    /// Milliseconds of processor time per analysed frame, decoding, publishing and subscribing included.
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

/// A broker of our own, and `config` with messages to it that leave nothing else on this machine: no file, no open port.
pub(super) fn beside(config: &Config) -> Result<(Own, Config), Failure> {
    let mut config = config.clone();
    let own = Own::start(&mut config).map_err(Failure::Failed)?;
    broker::plain(&mut config);
    let mqtt = &mut config.mqtt;
    mqtt.enabled = true;
    (mqtt.client_id, mqtt.prefix) = ("tvsl-bench".into(), "tvsl-bench".into());
    (mqtt.settings_file, mqtt.store.enabled) = (own.folder().join("settings.json"), false);
    config.monitor.port = 0;
    Ok((own, config))
}

/// Plays the clip through the daemon's pipeline at its own speed, and its findings through the daemon's publisher.
pub(super) fn play(config: &Config, analysis: Analysis, truth: &Truth) -> Result<Live, Failure> {
    let (own, config) = beside(config)?;
    let heard = listen::subscribe(own.port, &config.mqtt.prefix).map_err(Failure::Failed)?;
    let (clock, stop) = (SystemClock::new(), Stop::default());
    let about = (Info::new(&config, analysis.model()), Settings::new(&config, &Overrides::default()));
    let teller = Teller::new(&config, about, fastrand::u32(..), &clock);
    let mut watcher = Watcher { clock: &clock, teller: &teller, first: None, last: None };
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Failure::failed)?;
    let over = Arc::new(Notify::new());
    thread::scope(|scope| {
        let told = Arc::clone(&over);
        let (config, teller) = (&config, &teller);
        scope.spawn(move || runtime.block_on(mqtt::run(config, teller, |_| {}, told)));
        let ran = pipeline::run(config, analysis, &clock, &stop, &mut watcher);
        over.notify_one();
        ran
    })
    .map_err(Failure::failed)?;
    let peak_rss = meter::peak_rss();
    let nothing = || Failure::Failed(format!("{}: no two frames were analysed", truth.clip.display()));
    let (first, last) = watcher.first.zip(watcher.last).ok_or_else(nothing)?;
    let (messages, delays) = received(&heard)?;
    let frames = last.frames.max(1) as f64;
    Ok(Live {
        delays,
        cpu_ms: last.cpu.as_secs_f64() * 1e3 / frames,
        rate: frames / last.wall.as_secs_f64(),
        peak_rss,
        engines: None,
        verdict: truth.judge(&messages, first.start),
    })
}

/// Longest wait for what the broker still has.
const REST: Duration = Duration::from_secs(5);

/// The messages up to the daemon's goodbye, and how late those that tell something came.
fn received(heard: &Receiver<Heard>) -> Result<(Vec<Message>, Vec<f64>), Failure> {
    let (mut messages, mut delays) = (Vec::new(), Vec::new());
    loop {
        match heard.recv_timeout(REST) {
            Ok(Heard::Message(message, arrived)) => {
                if !message.detections.is_empty() {
                    delays.push(arrived - message.frame.captured);
                }
                messages.push(*message);
            }
            Ok(Heard::Status(word)) if word == Presence::Stopped.word() => return Ok((messages, delays)),
            Ok(Heard::Status(_)) => {}
            Ok(Heard::Unreadable(why)) => {
                return Err(Failure::Failed(format!("a message is not of schema 1: {why}")));
            }
            Err(_) => return Err(Failure::Failed("the broker did not pass on everything".into())),
        }
    }
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
    teller: &'a Teller<'a>,
    first: Option<First>,
    last: Option<Last>,
}

impl Observer for Watcher<'_> {
    fn message(&mut self, message: Message) {
        self.teller.message(&message);
    }

    fn health(&mut self, health: Health) {
        self.teller.health(health);
    }

    fn analysed(&mut self, analysed: &Analysed) {
        self.teller.analysed(analysed);
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
