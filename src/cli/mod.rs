//! The command line: one file for each subcommand, and what they share.
//!
//! Results go to standard output, messages and logs to standard error. Exit codes: 0 done, 1 failed,
//! 2 the command line is wrong, 75 something is lacking now, 78 the configuration is wrong (no use in starting again unchanged).

mod annotate;
mod bench;
mod broker;
mod check;
mod demo;
mod devices;
mod doctor;
mod engine;
mod environment;
mod eval;
mod fleet_sim;
mod listen;
pub mod logging;
mod nodes;
mod pages;
mod record;
mod replay;
mod report;
mod run;
mod signals;

use crate::capture::{self, CaptureError};
use crate::config::{self, Config, ConfigError, Draft, LogFormat, LogLevel, Origin};
use crate::engine::EngineError;
use crate::model::ModelError;
use crate::publish::mqtt::AccessError;
use clap::{Args, CommandFactory, Parser, Subcommand};
use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const ABOUT: &str =
    "Hears and sees: names what is sounding in the camera's picture, says where, and publishes it over MQTT";

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (model schema 1, message schema 1)");

/// Heading in the help of what every subcommand takes.
const COMMON: &str = "Common options";

/// Not wrapped by the parser: at most 80 columns.
const EXAMPLES: &str = "\
Examples:
  tvsl demo                          see it work, through a real broker
  tvsl run                           watch, listen and publish until told to stop
  tvsl run --stdout --config x.toml  the same, and show every message
  tvsl check                         is the configuration right, what would run
  tvsl check --classes               what the model can name
  tvsl check --model                 also load the model, which takes a second
  tvsl devices                       which cameras, microphones and GPUs there are
  tvsl doctor                        what does not work here, and the cure
  tvsl record --seconds 30           keep what it sees and hears, in recording.mkv
  tvsl replay recording.mkv          judge that again, the same way each time
  tvsl report                        a bundle for support, without secrets
  tvsl annotate clip.mp4 --out DIR   what sounds where in a recording
  tvsl eval scenes.json              how right the model is on labelled scenes
  tvsl bench                         how fast it is on this machine
  tvsl fleet-sim --devices 100       how many devices a broker carries
  tvsl engine build                  compile the model for this machine's GPU

Configuration: the first there is of --config FILE, $TVSL_CONFIG, ./tvsl.toml,
/etc/tvsl/tvsl.toml and the built-in defaults. A file holds only what differs;
config/tvsl.toml shows every key.

Exit codes: 0 done, 1 failed, 2 wrong command line, 75 something is lacking now
(memory, or for `run` a file that is not there), 78 wrong configuration.";

#[derive(Parser)]
#[command(name = "tvsl", version = VERSION, about = ABOUT, after_help = EXAMPLES, max_term_width = 100)]
struct CommandLine {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Arguments),
    Run(run::Arguments),
    Check(check::Arguments),
    Devices(devices::Arguments),
    Doctor(doctor::Arguments),
    Report(report::Arguments),
    Record(record::Arguments),
    Replay(replay::Arguments),
    Annotate(annotate::Arguments),
    Eval(eval::Arguments),
    Bench(bench::Arguments),
    Engine(engine::Arguments),
    FleetSim(fleet_sim::Arguments),
    Completions(pages::Completions),
    Man(pages::Man),
}

/// What every subcommand takes.
#[derive(Args, Debug, Clone)]
pub struct Common {
    /// Configuration file, in place of $TVSL_CONFIG, ./tvsl.toml or /etc/tvsl/tvsl.toml
    #[arg(long, global = true, value_name = "FILE", help_heading = COMMON)]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    logging: logging::Arguments,
}

impl Common {
    /// Reads the configuration and starts the log as it says.
    fn settings(&self) -> Result<(Config, Origin), Failure> {
        let (draft, origin) = self.begin()?;
        Ok((draft.judged()?, origin))
    }

    /// The same of a configuration of which everything is told that is wrong with it, and refused what `check` refuses.
    fn judged_settings(&self) -> Result<(Config, Origin), Failure> {
        let (draft, origin) = self.begin()?;
        Ok((check::judged(draft)?, origin))
    }

    /// Reads the configuration as far as it is right, and starts the log as it says.
    fn begin(&self) -> Result<(Draft, Origin), Failure> {
        let found = self.draft();
        let log =
            found.as_ref().map_or_else(|_| Config::default().log, |(draft, _)| draft.config().log.clone());
        logging::start(&self.logging, &log)?;
        let (draft, origin) = found?;
        tracing::debug!(%origin, "configuration");
        if let Some((what, cure)) = check::exposed(draft.config(), &origin) {
            tracing::warn!("{what}; {cure}");
        }
        Ok((draft, origin))
    }

    /// Reads the configuration as far as it is right, without a word to the log.
    fn draft(&self) -> Result<(Draft, Origin), ConfigError> {
        Draft::find(self.config.as_deref(), environment().as_deref())
    }

    /// Reads the configuration, without a word to the log.
    fn find(&self) -> Result<(Config, Origin), ConfigError> {
        Config::find(self.config.as_deref(), environment().as_deref())
    }

    /// Where the configuration is.
    fn origin(&self) -> Origin {
        Config::origin(self.config.as_deref(), environment().as_deref())
    }

    /// Starts the log for a command whose report says everything: only errors, unless more is asked for.
    fn log_errors_only(&self) -> Result<(), Failure> {
        let (level, format) = (LogLevel::Error, LogFormat::Auto);
        logging::start(&self.logging, &config::Log { level, format })
    }
}

/// The file that the environment names.
fn environment() -> Option<PathBuf> {
    std::env::var_os("TVSL_CONFIG").map(PathBuf::from)
}

/// Why a subcommand ended without doing its work; decides the exit code.
#[derive(Debug)]
pub enum Failure {
    /// The configuration is wrong: exit code 78 (`EX_CONFIG`).
    Configuration(String),
    /// Something is not there now, or too little of it, and may be later: exit code 75 (`EX_TEMPFAIL`).
    Lacking(String),
    /// Anything else: exit code 1.
    Failed(String),
}

impl Failure {
    /// A failure for `error` and what caused it.
    pub fn failed(error: impl Error) -> Self {
        Self::Failed(with_causes(&error))
    }

    /// A wrong configuration, as `error` and what caused it say.
    pub fn configuration(error: impl Error) -> Self {
        Self::Configuration(with_causes(&error))
    }

    /// A source that cannot be captured: the configuration's fault, told with its place, if only another one can mend it.
    pub fn capture(config: &Config, error: CaptureError) -> Self {
        match error.key() {
            Some(key) => config.fault(key, &with_causes(&error)).into(),
            None => Self::failed(error),
        }
    }

    /// What the broker is to be shown cannot be, told with the place of the setting at fault if one is.
    fn access(config: &Config, error: AccessError) -> Self {
        match error.key() {
            Some(key) => config.fault(key, &error.to_string()).into(),
            None => Self::configuration(error),
        }
    }

    /// An engine that cannot be opened, told with the place of the setting at fault if one is.
    pub fn engine(config: &Config, error: EngineError) -> Self {
        match error.key() {
            None if error.passing() => Self::Lacking(with_causes(&error)),
            None if error.lost() => Self::failed(error),
            Some(key) => {
                let cure = error.cure().map(|cure| format!("; {cure}")).unwrap_or_default();
                config.fault(key, &(with_causes(&error) + &cure)).into()
            }
            None => Self::configuration(error),
        }
    }

    /// A model that cannot be used as configured, told with the place of the setting at fault if one is.
    pub fn model(config: &Config, error: ModelError) -> Self {
        match error.key() {
            None if error.passing() => Self::Lacking(with_causes(&error)),
            None if error.lost() => Self::failed(error),
            Some(key) => config.fault(&key, &with_causes(&error)).into(),
            None => Self::configuration(error),
        }
    }

    /// What it says.
    fn text(&self) -> &str {
        let (Self::Configuration(text) | Self::Lacking(text) | Self::Failed(text)) = self;
        text.trim_end()
    }

    /// The same failure, with `more` to be said of it if there is more.
    fn and(self, more: Option<&str>) -> Self {
        let more = more.map(|more| format!("; {more}")).unwrap_or_default();
        let longer = |text: String| text.trim_end().to_owned() + &more;
        match self {
            Self::Configuration(text) => Self::Configuration(longer(text)),
            Self::Lacking(text) => Self::Lacking(longer(text)),
            Self::Failed(text) => Self::Failed(longer(text)),
        }
    }

    /// The exit code of [`Self::Lacking`].
    const LACKING: u8 = 75;

    const fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Lacking(_) => Self::LACKING,
            Self::Configuration(_) => 78,
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Configuration(error.to_string())
    }
}

/// The error's text, with those of its causes that it does not tell itself.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.contains(&told) {
            text = format!("{text}: {told}");
        }
        cause = error.source();
    }
    text
}

/// Writes a result to standard output.
fn print(text: &str) -> Result<(), Failure> {
    written(std::io::stdout().write_all(text.as_bytes()))
}

/// What came of writing to standard output; a reader that went away is no failure.
fn written(outcome: std::io::Result<()>) -> Result<(), Failure> {
    match outcome {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("standard output cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Refuses what is no file that can be read to its end. `cure` says what to name instead.
fn readable(file: &Path, cure: &str) -> Result<(), Failure> {
    let failed = |why| Failure::Failed(format!("{}: {why}; {cure}", file.display()));
    capture::unreadable(file).map_or(Ok(()), |why| Err(failed(why)))
}

/// What to do about the state of a service that only root may look into.
fn for_root(state: &Path) -> String {
    format!("only root may look into {}, the service's own; run it with `sudo`", state.display())
}

/// A result as indented JSON with a line end.
fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(Failure::failed)
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    if let Err(failure) = environment::settle() {
        return ended(Err(failure), ExitCode::SUCCESS);
    }
    let CommandLine { common, command } = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(other) => return explained(&other),
    };
    let outcome = match command {
        Command::Demo(arguments) => demo::run(arguments, &common),
        Command::Run(arguments) => run::run(arguments, &common),
        Command::Check(arguments) => check::run(arguments, &common),
        Command::Devices(arguments) => devices::run(arguments, &common),
        Command::Doctor(arguments) => doctor::run(arguments, &common),
        Command::Report(arguments) => report::run(arguments, &common),
        Command::Record(arguments) => record::run(arguments, &common),
        Command::Replay(arguments) => replay::run(arguments, &common),
        Command::Annotate(arguments) => annotate::run(arguments, &common),
        Command::Bench(arguments) => bench::run(arguments, &common),
        Command::Eval(arguments) => eval::run(arguments, &common),
        Command::FleetSim(arguments) => fleet_sim::run(arguments, &common),
        Command::Engine(arguments) => engine::run(arguments, &common),
        Command::Completions(arguments) => pages::completions(&arguments, CommandLine::command()),
        Command::Man(arguments) => pages::man(&arguments, CommandLine::command()),
    };
    ended(outcome, ExitCode::SUCCESS)
}

/// Help, the version, or what is wrong with the command line.
fn explained(error: &clap::Error) -> ExitCode {
    let code = u8::try_from(error.exit_code()).unwrap_or(1);
    let shown = error.print();
    ended(if error.use_stderr() { Ok(()) } else { written(shown) }, ExitCode::from(code))
}

/// The exit code, after the last words of a failure.
fn ended(outcome: Result<(), Failure>, good: ExitCode) -> ExitCode {
    match outcome {
        Ok(()) => good,
        Err(failure) => {
            logging::last_words(failure.text());
            ExitCode::from(failure.exit_code())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn causes_are_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] std::fmt::Error);
        assert_eq!(with_causes(&Outer(std::fmt::Error)), format!("outer: {}", std::fmt::Error));
    }
}
