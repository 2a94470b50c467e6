//! `tvsl fleet-sim`: many devices at one broker, to see what it carries.

mod device;
mod sweep;
mod witness;

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;

use super::broker::{self, Own};
use super::{Common, Failure, logging, signals};
use crate::analysis::Analysis;
use crate::clock::SystemClock;
use crate::config::{self, Address, CameraSource, Config, MicrophoneSource};
use crate::evaluate::clip::Truth;
use crate::message::{Info, Message};
use crate::model::Model;
use crate::pipeline::{self, Observer, Stop};
use crate::{bounded, capture, engine};
use device::{Device, Script};
use witness::{NUMBERED, PREFIX, Tallies, Tally, Witness};

/// Try what a broker carries: many simulated devices
///
/// Each device publishes recorded detections, with their events, states and levels, at the pace of the recording and through
/// the program's own queue and MQTT client. One subscriber of everything holds what arrives against what was sent. Exits with
/// 0 if the broker carries it: nothing is lost, and 99 % of events and detections arrives within a second. Ctrl-C stops it;
/// what is retained is taken back.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// How many devices
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    devices: u32,
    /// How long they publish
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// A broker that runs already, reached with the user, password and TLS of [mqtt]; without it a mosquitto is started on
    /// a free loopback port
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    broker: Option<Address>,
    /// What they publish: a file of messages as `tvsl run --stdout` and `tvsl replay` print them; without it, what the
    /// demonstration's clip gives
    #[arg(long, value_name = "FILE")]
    recording: Option<PathBuf>,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

/// All of a run.
#[derive(Debug, Serialize)]
struct Report {
    devices: u32,
    seconds: u32,
    broker: String,
    /// The machine's load before the start.
    load: String,
    #[serde(flatten)]
    topics: Tallies,
    /// Of a mosquitto that was started for it: percent of one core, and megabytes at most.
    broker_cpu: Option<f64>,
    broker_mb: Option<f64>,
    carried: bool,
}

/// Delay within which 99 % of the messages must arrive.
const SOON: f64 = 1.0;

/// How often the fleet looks whether it is to end early.
const LOOK: Duration = Duration::from_millis(50);

pub(super) fn run(arguments: Arguments, common: &Common) -> Result<(), Failure> {
    common.log_errors_only()?; // each device has as much to say as a real one
    let (mut config, _) = common.find()?;
    broker::plain(&mut config);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let stop = Arc::new(Stop::default());
    signals::ask(Arc::clone(&stop))?;
    let own = if arguments.broker.is_none() {
        Some(Own::start(&mut config).map_err(Failure::Failed)?)
    } else {
        None
    };
    let local = || Address { host: "127.0.0.1".into(), port: own.as_ref().map_or(1883, |own| own.port) };
    let at = arguments.broker.clone().unwrap_or_else(local);
    let named = if own.is_some() { "" } else { " (--broker, in place of [mqtt] host and port)" };
    let told = |why| Failure::Failed(format!("{at}{named}: {why}"));
    let witness = Witness::start(&config, &at, &stop).map_err(told)?;
    let (script, info) = script(config.clone(), arguments.recording.as_deref(), &stop)?;
    logging::note(&format!("tvsl: {} devices at {at} for {} s\n", arguments.devices, arguments.seconds));
    let cpu = || own.as_ref().and_then(|own| own.cpu());
    let before = cpu();
    let over = || stop.asked() || witness.is_over();
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Failure::failed)?;
    let fleet = Fleet { config: &config, info: &info, script: Rc::new(script), at: &at };
    let sent = fleet.play(&runtime, (arguments.devices, arguments.seconds), over)?;
    let cpu = cpu().zip(before).map(|(after, before)| after - before);
    if own.is_none() && !witness.is_over() {
        let swept = runtime.block_on(sweep::sweep(&config, &at));
        let kept =
            |why| logging::note(&format!("tvsl: retained messages under {PREFIX}/ stay at {at}: {why}\n"));
        swept.unwrap_or_else(kept);
    }
    unless_stopped(&stop)?;
    let topics = witness.finish(&sent).map_err(told)?;
    let fine = |tally: &Tally| tally.messages > 0 && tally.lost == 0 && tally.delay_p99 <= SOON;
    let carried = NUMBERED.iter().all(|topic| topics.get(*topic).is_some_and(fine));
    let report = Report {
        devices: arguments.devices,
        seconds: arguments.seconds,
        broker: at.to_string(),
        load: load.split(' ').next().unwrap_or_default().into(),
        broker_cpu: cpu.map(|cpu| 100.0 * cpu.as_secs_f64() / f64::from(arguments.seconds)),
        broker_mb: own.as_ref().and_then(|own| own.most_memory()),
        topics,
        carried,
    };
    super::print(&if arguments.json { super::json(&report)? } else { table(&report) })?;
    if carried {
        Ok(())
    } else {
        Err(Failure::Failed("the broker does not carry so many (table above)".into()))
    }
}

fn unless_stopped(stop: &Stop) -> Result<(), Failure> {
    let told = "stopped before its end: nothing is known about the broker";
    if stop.asked() { Err(Failure::Failed(told.into())) } else { Ok(()) }
}

fn address(text: &str) -> Result<Address, String> {
    let (host, port) = text.rsplit_once(':').ok_or("expected HOST:PORT")?;
    Ok(Address { host: host.into(), port: port.parse().map_err(|_| "expected HOST:PORT")? })
}

/// What every device publishes, and what it is.
fn script(mut config: Config, recording: Option<&Path>, stop: &Stop) -> Result<(Script, Info), Failure> {
    capture::init().map_err(Failure::failed)?; // the clock is GStreamer's
    let engine = engine::choose(&config.engine).map_err(Failure::failed)?;
    let model = Model::configured(&config.model_dir()?, engine.as_ref(), &config).map_err(Failure::failed)?;
    let info = Info::new(&config, &model);
    if let Some(file) = recording {
        return Ok((read(file)?, info));
    }
    let truth = config::places(Path::new("demo/truth.json")).into_iter().find(|file| file.is_file());
    let truth = truth.ok_or_else(|| {
        Failure::Failed("the demonstration's clip is not here; name messages with --recording".into())
    })?;
    let truth = Truth::read(&truth).map_err(Failure::failed)?;
    config.camera.source = CameraSource::File;
    config.camera.file.path = truth.clip;
    config.microphone.source = MicrophoneSource::Media;
    let analysis = Analysis::new(model, &config).map_err(|error| Failure::model(&config, error))?;
    let mut messages = Messages::default();
    pipeline::replay(&config, analysis, &SystemClock::new(), stop, &mut messages).map_err(Failure::failed)?;
    unless_stopped(stop)?;
    if messages.0.is_empty() {
        let clip = config.camera.file.path.display();
        let told = format!("{clip}: this model finds nothing in it; name messages with --recording");
        return Err(Failure::Failed(told));
    }
    Ok((Script::new(messages.0, truth.seconds), info))
}

#[derive(Default)]
struct Messages(Vec<Message>);

impl Observer for Messages {
    fn message(&mut self, message: Message) {
        self.0.push(message);
    }
}

fn read(file: &Path) -> Result<Script, Failure> {
    let failed = |why: String| {
        Failure::Failed(format!("{}: {why}; expected messages as `tvsl replay` prints them", file.display()))
    };
    let text = bounded::read_text(file, bounded::LIST).map_err(|error| failed(error.to_string()))?;
    let read = |line: &str| serde_json::from_str::<Message>(line).map_err(|error| failed(error.to_string()));
    let messages = text.lines().map(read).collect::<Result<Vec<_>, _>>()?;
    let (Some(first), Some(last)) = (messages.first(), messages.last()) else {
        return Err(failed("is empty".into()));
    };
    if !messages.is_sorted_by(|a, b| a.frame.captured <= b.frame.captured) {
        return Err(failed("its pictures are not in the order of their time".into()));
    }
    let seconds = last.frame.captured - first.frame.captured + 1.0;
    Ok(Script::new(messages, seconds))
}

/// What the devices have in common.
struct Fleet<'a> {
    config: &'a Config,
    info: &'a Info,
    script: Rc<Script>,
    at: &'a Address,
}

impl Fleet<'_> {
    /// Runs all devices on one thread for so many seconds, or until it is `over`; gives how many detections each has told.
    fn play(
        &self,
        runtime: &tokio::runtime::Runtime,
        (devices, seconds): (u32, u32),
        over: impl Fn() -> bool,
    ) -> Result<Vec<(String, u64)>, Failure> {
        let (end, ends) = watch::channel(false);
        let length = Duration::from_secs(seconds.into());
        let device = |number| Device::new(self.config, self.info, self.at, number);
        LocalSet::new().block_on(runtime, async {
            let start =
                |number| spawn_local(device(number).play(Rc::clone(&self.script), length, ends.clone()));
            let tasks: Vec<_> = (0..devices).map(start).collect();
            let mut sent = Vec::new();
            for mut task in tasks {
                let told = loop {
                    tokio::select! {
                        told = &mut task => break told,
                        () = sleep(LOOK) => drop(over() && end.send_replace(true)),
                    }
                };
                sent.push(told.map_err(Failure::failed)?);
            }
            Ok(sent)
        })
    }
}

fn table(report: &Report) -> String {
    let Report { devices, seconds, broker, load, .. } = report;
    let mut out = format!("{devices} devices for {seconds} s at {broker}; load before the start {load}\n\n");
    out += &format!(
        "{:<12}{:>10}{:>12}{:>16}{:>14}{:>12}{:>12}{:>8}{:>8}\n",
        "", "messages", "a second", "a device and s", "bytes each", "p50", "p99", "lost", "again"
    );
    let (devices, seconds) = (f64::from(*devices), f64::from(*seconds));
    for (name, tally) in &report.topics {
        let rate = tally.messages as f64 / seconds;
        out += &format!(
            "{name:<12}{:>10}{rate:>12.1}{:>16.2}{:>14.0}{:>9.1} ms{:>9.1} ms{:>8}{:>8}\n",
            tally.messages,
            rate / devices,
            tally.bytes as f64 / tally.messages.max(1) as f64,
            1e3 * tally.delay_p50,
            1e3 * tally.delay_p99,
            tally.lost,
            tally.again
        );
    }
    if let (Some(cpu), Some(megabytes)) = (report.broker_cpu, report.broker_mb) {
        out += &format!("\nmosquitto: {cpu:.1} % of a core, {megabytes:.1} MB at most\n");
    }
    out + if report.carried { "carried: nothing lost, 99 % within a second\n" } else { "NOT carried\n" }
}
