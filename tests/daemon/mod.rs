//! The daemon as a process, fed with a clip that the tiny model hears and sees: red that hums low.
#![allow(dead_code, reason = "every test file uses its own part of it")]

use std::io::{BufRead, BufReader, PipeWriter, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Longest time that anything here may take; a test that needs it has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for what comes in the end.
pub fn until<T>(what: &str, mut comes: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(it) = comes() {
            return it;
        }
        assert!(began.elapsed() < PATIENCE, "{what} does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a signal by name, such as `TERM`, to a process that is not waited for yet.
pub fn send(process: &Child, name: &str) {
    let signal = match name {
        "ABRT" => Signal::ABORT,
        "CONT" => Signal::CONT,
        "HUP" => Signal::HUP,
        "INT" => Signal::INT,
        "KILL" => Signal::KILL,
        "STOP" => Signal::STOP,
        "TERM" => Signal::TERM,
        _ => panic!("no test sent SIG{name} yet"),
    };
    kill_process(Pid::from_child(process), signal).expect("it was not waited for");
}

/// A launch line for `seconds` of a red picture, and one for as much of a low hum.
pub fn red(seconds: u32) -> String {
    format!(
        "videotestsrc pattern=red num-buffers={} ! video/x-raw,width=320,height=180,framerate=10/1 ! videoconvert ! jpegenc",
        10 * seconds
    )
}

pub fn hum(seconds: u32) -> String {
    format!(
        "audiotestsrc freq=200 volume=0.8 samplesperbuffer=480 num-buffers={} ! audio/x-raw,rate=48000,channels=1 ! audioconvert",
        100 * seconds
    )
}

/// A folder with a configuration and what it needs.
pub struct Place(pub TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a configuration that plays `clip` for ever, with `more` below it.
    pub fn plays(&self, clip: &Path, more: &str) -> PathBuf {
        self.config(&format!(
            "[camera]\nsource = \"file\"\n[camera.file]\npath = \"{}\"\nrepeat = true\n[microphone]\nsource = \"media\"\n{more}",
            clip.display()
        ))
    }

    /// Writes a configuration with the tiny model.
    pub fn config(&self, text: &str) -> PathBuf {
        let model = std::path::absolute("tests/data/tiny").expect("a working directory");
        let file = self.path("tvsl.toml");
        let text = format!("[device]\nname = \"test\"\n[model]\npath = \"{}\"\n{text}", model.display());
        std::fs::write(&file, text).expect("room for a file");
        file
    }
}

/// Lines of a process, as they come.
pub struct Lines(Receiver<String>);

impl Lines {
    pub fn of(source: impl Read + Send + 'static) -> Self {
        let (out, lines) = channel();
        std::thread::spawn(move || {
            BufReader::new(source).lines().map_while(Result::ok).try_for_each(|line| out.send(line)).ok()
        });
        Self(lines)
    }

    /// The first line that `wanted` holds for.
    pub fn find(&self, mut wanted: impl FnMut(&str) -> bool) -> String {
        let (began, mut seen) = (Instant::now(), Vec::new());
        loop {
            match self.0.recv_timeout(PATIENCE.saturating_sub(began.elapsed())) {
                Ok(line) if wanted(&line) => return line,
                Ok(line) => seen.push(line),
                Err(error) => panic!("it never came ({error}) after:\n{}", seen.join("\n")),
            }
        }
    }

    /// The next line, if it comes within a tenth of a second.
    pub fn soon(&self) -> Option<String> {
        self.0.recv_timeout(Duration::from_millis(100)).ok()
    }

    /// The next line, if it is there already.
    pub fn waiting(&self) -> Option<String> {
        self.0.try_recv().ok()
    }

    /// Everything until the process closes its end.
    pub fn rest(&self) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            match self.0.recv_timeout(PATIENCE) {
                Ok(line) => all.push(line),
                Err(RecvTimeoutError::Disconnected) => return all,
                Err(RecvTimeoutError::Timeout) => {
                    panic!("the process does not end after:\n{}", all.join("\n"))
                }
            }
        }
    }
}

/// `tvsl run --stdout`; killed when dropped.
pub struct Daemon {
    pub process: Child,
    pub messages: Lines,
    pub log: Lines,
}

impl Daemon {
    pub fn start(config: &Path) -> Self {
        Self::start_with(config, &[])
    }

    pub fn start_with(config: &Path, environment: &[(&str, &str)]) -> Self {
        Self::spawn(Command::new(env!("CARGO_BIN_EXE_tvsl")), config, environment)
    }

    /// The same from a shell, after these words of it.
    pub fn start_in(shell: &str, config: &Path) -> Self {
        let mut command = Command::new("bash");
        command.args(["-c", &format!("{shell}; exec \"$@\""), "bash", env!("CARGO_BIN_EXE_tvsl")]);
        Self::spawn(command, config, &[])
    }

    /// Into a pipe that somebody else reads.
    pub fn start_into(output: PipeWriter, config: &Path, environment: &[(&str, &str)]) -> Self {
        Self::launch(Command::new(env!("CARGO_BIN_EXE_tvsl")), config, environment, output.into())
    }

    fn spawn(command: Command, config: &Path, environment: &[(&str, &str)]) -> Self {
        Self::launch(command, config, environment, Stdio::piped())
    }

    fn launch(mut command: Command, config: &Path, environment: &[(&str, &str)], output: Stdio) -> Self {
        for variable in
            ["TVSL_CONFIG", "TVSL_LOG", "JOURNAL_STREAM", "INVOCATION_ID", "NOTIFY_SOCKET", "WATCHDOG_USEC"]
        {
            command.env_remove(variable);
        }
        // What outlasts it lies beside its configuration, not among what the developer's own keeps.
        command.env_remove("STATE_DIRECTORY").env("XDG_STATE_HOME", config.with_file_name("state"));
        command.args(["run", "--stdout", "--config"]).arg(config).envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(output).stderr(Stdio::piped());
        let mut process = command.spawn().expect("the program starts");
        let messages = process.stdout.take().map_or_else(|| Lines::of(std::io::empty()), Lines::of);
        let log = Lines::of(process.stderr.take().expect("its log"));
        Self { process, messages, log }
    }

    /// Sends a signal by name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        send(&self.process, name);
    }

    /// Waits for its end.
    pub fn end(&mut self) -> ExitStatus {
        until("its end", || self.process.try_wait().expect("a child"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
