//! A daemon that may be killed and started again, its log, and what it said itself.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::daemon::Daemon;

/// Lines of the log that are kept for whoever looks into a failure.
const KEPT: usize = 60;

/// Without what cargo sets for tests, so that the program settles its environment itself, as it does for users.
const SETTLES: (&str, &str) = ("ORT_DISABLE_TELEMETRY", "");

pub struct Device {
    pub name: &'static str,
    config: PathBuf,
    environment: Vec<(&'static str, String)>,
    pub daemon: Daemon,
    log: VecDeque<String>,
    /// How often the log told that the configuration was read again.
    pub read_again: u32,
    /// The sources that it printed the start of, and when, Unix seconds.
    pub started: HashMap<String, f64>,
}

impl Device {
    /// With the configuration `text`, and `environment` beside what every process has.
    pub fn start(
        name: &'static str,
        folder: PathBuf,
        text: &str,
        environment: &[(&'static str, PathBuf)],
    ) -> Self {
        std::fs::create_dir_all(&folder).expect("room for a folder");
        let config = folder.join("tvsl.toml");
        std::fs::write(&config, text).expect("room for a file");
        let own = environment.iter().map(|(name, file)| (*name, file.display().to_string()));
        let own: Vec<_> = own.collect();
        let daemon = launch(&config, &own);
        Self {
            name,
            config,
            environment: own,
            daemon,
            log: VecDeque::new(),
            read_again: 0,
            started: HashMap::new(),
        }
    }

    /// Puts another configuration in its file and tells it.
    pub fn configure(&self, text: &str) {
        std::fs::write(&self.config, text).expect("room for a file");
        self.daemon.signal("HUP");
    }

    /// Kills it as a power cut does.
    pub fn kill(&mut self) {
        self.daemon.signal("KILL");
        self.daemon.end();
        self.listen();
    }

    pub fn start_again(&mut self) {
        self.daemon = launch(&self.config, &self.environment);
    }

    /// Reads what it printed.
    pub fn listen(&mut self) {
        while let Some(line) = self.daemon.log.waiting() {
            self.read_again += u32::from(line.contains("the configuration was read again"));
            self.log.push_back(line);
            if self.log.len() > KEPT {
                self.log.pop_front();
            }
        }
        while let Some(line) = self.daemon.messages.waiting() {
            let message: Value = serde_json::from_str(&line).unwrap_or_default();
            let published = message["published"].as_f64().unwrap_or_default();
            for source in message["detections"].as_array().into_iter().flatten() {
                if source["event"] == "start" {
                    self.started.insert(source["id"].as_str().unwrap_or_default().into(), published);
                }
            }
        }
    }

    /// Whether it has ended by itself.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.daemon.process.try_wait().expect("a child")
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        self.log.iter().fold(format!("--- the log of {}\n", self.name), |text, line| text + line + "\n")
    }
}

fn launch(config: &Path, environment: &[(&'static str, String)]) -> Daemon {
    let own = environment.iter().map(|(name, value)| (*name, value.as_str()));
    Daemon::start_with(config, &own.chain([SETTLES]).collect::<Vec<_>>())
}
