//! The log: human on a terminal, with the journal's priorities under systemd, or JSON for machines.

use super::Failure;
use crate::config;
use crate::config::{LogFormat, LogLevel};
use clap::Args;
use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::OnceLock;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// What the command line says about the log.
#[derive(Args, Debug, Clone)]
pub(super) struct Arguments {
    /// Least important messages shown, in place of $TVSL_LOG and log.level: error, warn, info, debug or
    /// trace; by module: info,tvsl::capture=debug
    #[arg(long, global = true, value_name = "LEVEL", value_parser = filter, help_heading = super::COMMON)]
    log_level: Option<String>,
    /// How the log is written: human, json, or auto: human, with the journal's priorities under systemd
    #[arg(long, global = true, value_name = "FORMAT", hide_possible_values = true, help_heading = super::COMMON)]
    log_format: Option<LogFormat>,
}

fn filter(text: &str) -> Result<String, String> {
    let fault =
        |why: String| format!("{why}: expected a level such as \"debug\", or \"info,tvsl::capture=debug\"");
    let module_or_level =
        |part: &str| part.contains(['=', ':', '[']) || part.parse::<Level>().is_ok() || part == "off";
    match text.split(',').map(str::trim).find(|part| !module_or_level(part)) {
        Some(part) => Err(fault(format!("\"{part}\" is no level"))),
        None => EnvFilter::try_new(text).map(|_| text.into()).map_err(|error| fault(error.to_string())),
    }
}

/// Holds the log to another level once it has started.
static RELOAD: OnceLock<Box<dyn Fn(EnvFilter) + Send + Sync>> = OnceLock::new();

/// Whether the log is JSON, as far as that is known.
static JSON: OnceLock<bool> = OnceLock::new();

/// Starts the log. Later calls change nothing.
pub(super) fn start(arguments: &Arguments, config: &config::Log) -> Result<(), Failure> {
    let format = arguments.log_format.unwrap_or(config.format);
    JSON.set(format == LogFormat::Json).ok();
    let chosen = chosen(arguments, config)?;
    let builder = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .log_internal_errors(false) // it would tell them where nothing can be written, and panic
        .with_env_filter(EnvFilter::new(chosen));
    // An error says that a log is there already, which is then the one.
    macro_rules! begin {
        ($builder:expr) => {{
            let builder = $builder.with_filter_reloading();
            let handle = builder.reload_handle();
            if builder.try_init().is_ok() {
                RELOAD.set(Box::new(move |filter| drop(handle.reload(filter)))).ok();
            }
        }};
    }
    match format {
        LogFormat::Json => begin!(builder.json().flatten_event(true)),
        LogFormat::Auto if under_systemd() => begin!(builder.event_format(Journal)),
        LogFormat::Auto | LogFormat::Human => {
            let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            begin!(builder.with_target(false).with_ansi(colours));
        }
    }
    Ok(())
}

/// Holds the log to the level of another configuration, unless the command line or $TVSL_LOG says which.
pub(super) fn follow(arguments: &Arguments, config: &config::Log) {
    if let (Some(reload), Ok(chosen)) = (RELOAD.get(), chosen(arguments, config)) {
        reload(EnvFilter::new(chosen));
    }
}

/// What the log shows.
fn chosen(arguments: &Arguments, config: &config::Log) -> Result<String, Failure> {
    match (&arguments.log_level, std::env::var("TVSL_LOG")) {
        (Some(given), _) => Ok(given.clone()),
        (None, Ok(given)) if !given.is_empty() => {
            filter(&given).map_err(|why| Failure::Configuration(format!("TVSL_LOG: {why}")))
        }
        _ => Ok(level(config.level).into()),
    }
}

/// Libraries are held to warnings unless more is asked for.
const fn level(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "warn,tvsl=info",
        LogLevel::Debug => "warn,tvsl=debug",
        LogLevel::Trace => "trace",
    }
}

/// Whether standard error goes to systemd's journal, which reads a priority in front of each line.
fn under_systemd() -> bool {
    let journal = std::env::var_os("JOURNAL_STREAM").is_some() || std::env::var_os("INVOCATION_ID").is_some();
    journal && !std::io::stderr().is_terminal()
}

/// Writes to standard error; if that takes nothing, there is nobody to be told.
pub(super) fn note(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Says why the program ends: in the log if it has started and is no terminal's, else plainly; in a line of JSON if the log
/// is JSON.
pub(super) fn last_words(text: &str) {
    let json = JSON.get().copied().unwrap_or(false);
    if tracing::enabled!(Level::ERROR) && (json || !std::io::stderr().is_terminal()) {
        tracing::error!("{text}");
    } else if json {
        note(&format!("{}\n", serde_json::json!({ "level": "ERROR", "message": text })));
    } else if under_systemd() {
        note(&with_priority(Level::ERROR, text));
    } else {
        note(&format!("tvsl: {text}\n"));
    }
}

/// Lines for the journal: `<priority>message fields`; the journal adds the time.
struct Journal;

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut text = String::new();
        context.format_fields(Writer::new(&mut text), event)?;
        writer.write_str(&with_priority(*event.metadata().level(), &text))
    }
}

/// Each line of `text` with the journal's (syslog's) number for `level` in front.
fn with_priority(level: Level, text: &str) -> String {
    let priority = match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    };
    text.lines().map(|line| format!("<{priority}>{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_carries_its_priority() {
        assert_eq!(with_priority(Level::WARN, "a\nb"), "<4>a\n<4>b\n");
    }

    #[test]
    fn a_filter_is_levels_and_modules() {
        assert!(filter("debug").is_ok());
        assert!(filter("info,tvsl::capture=debug").is_ok());
        assert!(filter("verbose").is_err_and(|why| why.contains("\"verbose\" is no level")));
        assert!(filter("tvsl=loud").is_err());
    }
}
