//! `tvsl demo`: the whole way, from a clip to the messages a subscriber reads, held against the truth.
//!
//! Nothing is staged: a real mosquitto on a free port, the program's own `run` in a process of its own
//! that plays the clip at its own speed, and a subscriber that sees only the topics.

mod pictures;
mod table;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use clap::Args;

use super::broker::Broker;
use super::listen::{self, Heard};
use super::{Common, Failure, signals};
use crate::config;
use crate::evaluate::clip::Truth;
use crate::message::{Message, Presence};
use crate::pipeline::Stop;
use table::Table;

/// See it work on a bundled clip, through a real broker
///
/// Plays the clip in real time through `tvsl run` and a mosquitto started for it on a free loopback
/// port, shows the messages that a subscriber receives, holds them against what truly happens in the
/// clip, and leaves annotated pictures. Exits with 0 if everything was found and nothing made up.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Folder for the pictures, the messages and the logs
    #[arg(long, value_name = "DIR", default_value = "demo-out")]
    out: PathBuf,
    /// Truth of another clip: a JSON file like demo/truth.json, which names the clip
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// Leave no pictures
    #[arg(long)]
    no_pictures: bool,
}

/// Longest time that the program may take beyond the clip itself.
const SPARE: Duration = Duration::from_secs(30);
/// How often the progress is drawn.
const TICK: Duration = Duration::from_millis(200);

pub(super) fn run(arguments: Arguments, common: &Common) -> Result<(), Failure> {
    common.settings()?;
    let truth = Truth::read(&truth_file(arguments.truth)?).map_err(Failure::failed)?;
    let out = &arguments.out;
    std::fs::create_dir_all(out).map_err(|error| unwritable(out, error))?;
    let stop = Arc::new(Stop::default());
    signals::ask(Arc::clone(&stop))?;
    let broker = Broker::start(out).map_err(Failure::Failed)?;
    let heard = listen::subscribe(broker.port, "tvsl/demo").map_err(Failure::Failed)?;
    let mut player = Player::start(&truth, broker.port, out)?;
    super::print(&table::opening(&truth, broker.port))?;
    let seen = watch(&truth, &heard, &mut player, &stop)?;
    let start = seen.start.ok_or_else(|| player.failure(out, "no frame was analysed"))?;
    write_messages(out, &seen.messages).map_err(|error| unwritable(out, error))?;
    let verdict = truth.judge(&seen.messages, start);
    super::print(&table::closing(&verdict, seen.messages.len()))?;
    if !arguments.no_pictures {
        let count = pictures::leave(&truth, &seen.messages, start, out).map_err(Failure::Failed)?;
        super::print(&format!("{count} pictures, the messages and the logs are in {}\n", out.display()))?;
    }
    if verdict.is_right() {
        Ok(())
    } else {
        Err(Failure::Failed(
            "the demonstration did not find everything, or made something up (table above)".into(),
        ))
    }
}

fn truth_file(given: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let places = given.map_or_else(|| config::places(Path::new("demo/truth.json")), |file| vec![file]);
    places.iter().find(|file| file.is_file()).cloned().ok_or_else(|| {
        let looked: Vec<String> = places.iter().map(|file| file.display().to_string()).collect();
        Failure::Failed(format!("there is no clip to show; looked for {}", looked.join(", ")))
    })
}

fn unwritable(out: &Path, error: std::io::Error) -> Failure {
    Failure::Failed(format!("{}: cannot be written: {error}; name another folder with --out", out.display()))
}

/// What a subscriber saw.
#[derive(Default)]
struct Seen {
    messages: Vec<Message>,
    /// Unix time of the clip's first frame.
    start: Option<f64>,
}

/// Shows what arrives until the player is done and has said goodbye.
fn watch(truth: &Truth, heard: &Receiver<Heard>, player: &mut Player, stop: &Stop) -> Result<Seen, Failure> {
    let (mut seen, mut table) = (Seen::default(), Table::new(truth));
    let deadline = Instant::now() + Duration::from_secs_f64(truth.seconds) + SPARE;
    while !stop.asked() {
        seen.start = seen.start.or_else(|| player.started.try_recv().ok());
        match heard.recv_timeout(TICK) {
            Ok(Heard::Message(message, _)) => {
                seen.start = seen.start.or_else(|| player.started.recv_timeout(TICK).ok());
                table.message(&message, seen.start.unwrap_or(message.frame.captured));
                seen.messages.push(*message);
            }
            Ok(Heard::Status(word)) if word == Presence::Stopped.word() => break,
            Ok(Heard::Status(word)) => table.status(&word),
            Ok(Heard::Unreadable(why)) => {
                return Err(Failure::Failed(format!("a message is not of schema 1: {why}")));
            }
            Err(RecvTimeoutError::Timeout) if player.is_running() && Instant::now() < deadline => {}
            Err(_) => break,
        }
        table.progress(seen.start);
    }
    table.done();
    if stop.asked() {
        return Err(Failure::Failed("stopped before the end of the clip".into()));
    }
    Ok(seen)
}

fn write_messages(out: &Path, messages: &[Message]) -> std::io::Result<()> {
    let mut file = std::io::BufWriter::new(File::create(out.join("messages.jsonl"))?);
    for message in messages {
        serde_json::to_writer(&mut file, message)?;
        file.write_all(b"\n")?;
    }
    file.flush()
}

/// `tvsl run` in a process of its own, playing the clip.
struct Player {
    process: Child,
    /// The Unix time of the first frame, once it is analysed.
    started: Receiver<f64>,
}

impl Player {
    fn start(truth: &Truth, port: u16, out: &Path) -> Result<Player, Failure> {
        let file = out.join("tvsl.toml");
        let clip = std::path::absolute(&truth.clip).map_err(|error| unwritable(out, error))?;
        std::fs::write(&file, settings(&clip, port)).map_err(|error| unwritable(out, error))?;
        let log = File::create(out.join("run.log")).map_err(|error| unwritable(out, error))?;
        let program = std::env::current_exe().map_err(Failure::failed)?;
        let mut command = Command::new(program);
        command.arg("run").arg("--config").arg(&file).args(["--log-format", "json"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().map_err(Failure::failed)?;
        let (told, started) = channel();
        if let Some(errors) = process.stderr.take() {
            std::thread::spawn(move || keep_log(BufReader::new(errors), log, &told));
        }
        Ok(Player { process, started })
    }

    fn is_running(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    fn failure(&self, out: &Path, what: &str) -> Failure {
        let log = std::fs::read_to_string(out.join("run.log")).unwrap_or_default();
        let last = log.lines().last().unwrap_or("the log is empty");
        Failure::Failed(format!("{what}; the last words of `tvsl run`: {last}"))
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The configuration of the player: only what differs from the defaults.
fn settings(clip: &Path, port: u16) -> String {
    let clip = serde_json::Value::from(clip.display().to_string()); // a JSON string is a TOML string
    format!(
        "[device]\nname = \"demo\"\n[camera]\nsource = \"file\"\n[camera.file]\npath = {clip}\n\
         [microphone]\nsource = \"media\"\n[mqtt]\nport = {port}\n"
    )
}

/// Copies the player's log to a file, and passes on when the first frame was captured.
fn keep_log(errors: impl BufRead, mut log: File, told: &Sender<f64>) {
    for line in errors.lines().map_while(Result::ok) {
        let _ = writeln!(log, "{line}");
        let event: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        if let Some(captured) = event["captured"].as_f64() {
            let _ = told.send(captured);
        }
    }
}
