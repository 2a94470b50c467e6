//! `tvsl doctor`: stage by stage, what does not work here, and the cure.

mod broker;
mod host;
mod judge;
mod offset;
mod senses;
mod unit;

use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::{Common, Failure, check};
use crate::capture;
use crate::config::{Config, ConfigError, Origin};

/// Try every part for some seconds, and say what does not work and the cure
///
/// Looks at the configuration, model, engine, camera, microphone, broker, monitor and this machine, in the order
/// in which they build on each other. It opens the devices itself: stop the service first. Passwords are
/// never shown. For a configuration in /etc/tvsl it looks into the state of the service, which takes `sudo`.
/// Exits with 0 if nothing failed, with 78 for a wrong configuration, with 1 otherwise.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Look and listen for 10 s while you clap, and tell how far apart picture and sound are
    #[arg(long)]
    clap: bool,
}

/// How a stage went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    /// Works, but not as it should.
    Warning,
    Failed,
    /// Not looked at: switched off, or it builds on something that failed.
    Skipped,
}

/// What was found in one stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    stage: &'static str,
    verdict: Verdict,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cure: Option<String>,
}

impl Check {
    fn new(stage: &'static str, verdict: Verdict, found: impl Into<String>) -> Self {
        Self { stage, verdict, found: found.into(), cure: None }
    }

    fn ok(stage: &'static str, found: impl Into<String>) -> Self {
        Self::new(stage, Verdict::Ok, found)
    }

    fn skipped(stage: &'static str, why: impl Into<String>) -> Self {
        Self::new(stage, Verdict::Skipped, why)
    }

    fn warning(stage: &'static str, found: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { cure: Some(cure.into()), ..Self::new(stage, Verdict::Warning, found) }
    }

    /// What hangs on the state of a service that this user may not look into.
    fn closed(stage: &'static str, found: &str, state: &Path) -> Self {
        Self::skipped(stage, format!("{found}: {}", super::for_root(state)))
    }

    fn failed(stage: &'static str, found: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { cure: Some(cure.into()), ..Self::new(stage, Verdict::Failed, found) }
    }

    /// A failure told by an error of ours, which ends in its cure.
    fn error(stage: &'static str, error: impl std::error::Error) -> Self {
        let told = super::with_causes(&error);
        match told.rsplit_once("; ") {
            Some((found, cure)) => Self::failed(stage, found, cure),
            None => Self::new(stage, Verdict::Failed, told),
        }
    }

    /// The line for people, with its cure below.
    fn line(&self) -> String {
        let word = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "WARNING",
            Verdict::Failed => "FAILED",
            Verdict::Skipped => "skipped",
        };
        let cure = self.cure.iter().map(|cure| format!("{:24}cure: {cure}\n", ""));
        let found = self.found.trim_end().replace('\n', &format!("\n{:24}", ""));
        format!("{word:<9}{:<15}{found}\n", self.stage) + &cure.collect::<String>()
    }
}

pub(super) fn run(arguments: Arguments, common: &Common) -> Result<(), Failure> {
    common.log_errors_only()?;
    let mut report = Report { json: arguments.json, clap: arguments.clap, checks: Vec::new() };
    let wrong = look(common, &mut report)?;
    report.finish(wrong)
}

/// Every check; tells nothing itself.
pub(super) fn checks(common: &Common) -> Result<Vec<Check>, Failure> {
    let mut report = Report { json: true, clap: false, checks: Vec::new() };
    look(common, &mut report)?;
    Ok(report.checks)
}

/// Looks at everything; tells whether the configuration is wrong.
fn look(common: &Common, report: &mut Report) -> Result<bool, Failure> {
    let found = configuration(common);
    let wrong = found.is_err();
    let config = match found {
        Ok((config, origin)) => {
            examine(&config, &origin, report)?;
            Some(config)
        }
        Err(refused) => {
            report.add(refused)?;
            None
        }
    };
    let checks = host::checks(config.as_ref()).into_iter().chain(unit::checks());
    checks.into_iter().try_for_each(|check| report.add(check))?;
    Ok(wrong)
}

/// The configuration, or why `check` and `run` refuse it.
fn configuration(common: &Common) -> Result<(Config, Origin), Check> {
    const STAGE: &str = "configuration";
    let refused = |told: &str| Check::failed(STAGE, told, "put the lines right that are named above");
    let (draft, origin) = common.draft().map_err(|error| match error {
        ConfigError::Unreadable { .. } => unreadable(STAGE, &error.to_string()),
        error => refused(&error.to_string()),
    })?;
    let as_read = draft.config().clone().of_service();
    match check::judged(draft) {
        Ok(config) => Ok((config.of_service(), origin)),
        // It is no fault of the configuration, and a later stage tells of it.
        Err(Failure::Failed(_)) => Ok((as_read, origin)),
        Err(failure) if failure.text().contains("Permission denied") => {
            Err(unreadable(STAGE, failure.text()))
        }
        Err(failure) => Err(refused(failure.text())),
    }
}

/// A file that cannot be read at all; where rights are missing, the words about it end in the cure.
fn unreadable(stage: &'static str, told: &str) -> Check {
    let (found, cure) = told.split_once("; ").unwrap_or((told, "name a file that is there"));
    Check::failed(stage, found, cure)
}

/// Everything that a right configuration names.
fn examine(config: &Config, origin: &Origin, report: &mut Report) -> Result<(), Failure> {
    report.add(Check::ok("configuration", origin.to_string()))?;
    report.add(host::secrecy(config, origin))?;
    report.add(host::gpu(config))?;
    let analysis = judge::checks(config, &mut |check| report.add(check))?;
    match capture::init() {
        Ok(()) => {
            report.ask_for_claps()?;
            let found = senses::checks(config, analysis.as_ref(), report.clap);
            found.into_iter().try_for_each(|check| report.add(check))?;
        }
        Err(error) => report.add(Check::error("camera", error))?,
    }
    broker::checks(config).into_iter().try_for_each(|check| report.add(check))?;
    report.add(host::store(config))?;
    report.add(host::web(config))
}

/// Collects the checks; tells each as it comes, unless the whole shall be JSON.
struct Report {
    json: bool,
    clap: bool,
    checks: Vec<Check>,
}

impl Report {
    /// Tells a person when to clap; a program that wants JSON knows.
    fn ask_for_claps(&self) -> Result<(), Failure> {
        let seconds = senses::CLAPPING.as_secs();
        match (self.clap, self.json) {
            (true, false) => super::print(&format!(
                "clap now, three or four times with pauses, in view of the camera and near the microphone ({seconds} s)\n"
            )),
            _ => Ok(()),
        }
    }

    fn add(&mut self, check: Check) -> Result<(), Failure> {
        if !self.json {
            super::print(&check.line())?;
        }
        self.checks.push(check);
        Ok(())
    }

    fn finish(self, wrong_configuration: bool) -> Result<(), Failure> {
        if self.json {
            super::print(&super::json(&self.checks)?)?;
        }
        let count = |verdict| self.checks.iter().filter(|check| check.verdict == verdict).count();
        match count(Verdict::Failed) {
            0 => Ok(()),
            _ if wrong_configuration => Err(Failure::Configuration("the configuration is wrong".into())),
            failed => Err(Failure::Failed(format!("{failed} of {} checks failed", self.checks.len()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::CaptureError;

    #[test]
    fn an_error_is_parted_from_its_cure() {
        let check = Check::error("camera", CaptureError::GStreamer("no plug-ins".into()));
        assert_eq!(check.found, "GStreamer does not start: no plug-ins");
        assert!(check.cure.is_some_and(|cure| cure.starts_with("install it with `apt-get install")));
    }

    #[test]
    fn lines_stand_below_each_other() {
        let line = Check::failed("camera", "one\ntwo", "three").line();
        let at = " ".repeat(24);
        assert_eq!(line, format!("FAILED   camera         one\n{at}two\n{at}cure: three\n"));
    }
}
