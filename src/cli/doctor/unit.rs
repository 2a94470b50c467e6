//! The service as systemd knows it, and its instances (`tvsl@hall.service`).

use std::collections::BTreeSet;
use std::path::Path;

use super::Check;
use super::host::output;

const STAGE: &str = "unit";

/// What systemd is asked of each unit.
const ASKED: &str = "ActiveState,SubState,Result,NRestarts,StatusText,UnitFileState";

/// What systemd says of a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Unit {
    /// Such as `tvsl@hall.service`.
    name: String,
    /// Such as `active`, or `activating` while it starts and between two starts.
    active: String,
    /// More of that: `auto-restart` where it ended and will be started again.
    sub: String,
    /// How it ended last; `success` while it runs.
    result: String,
    /// How often it was started again by itself.
    restarts: u64,
    /// What it says of itself.
    status: String,
    /// Whether it starts with the machine: `enabled`.
    file: String,
}

impl Unit {
    /// By what `systemctl show` prints.
    fn new(name: &str, shown: &str) -> Self {
        let mut unit = Self { name: name.to_owned(), ..Self::default() };
        for (key, value) in shown.lines().filter_map(|line| line.split_once('=')) {
            match key {
                "ActiveState" => value.clone_into(&mut unit.active),
                "SubState" => value.clone_into(&mut unit.sub),
                "Result" => value.clone_into(&mut unit.result),
                "NRestarts" => unit.restarts = value.parse().unwrap_or_default(),
                "StatusText" => value.clone_into(&mut unit.status),
                "UnitFileState" => value.clone_into(&mut unit.file),
                _ => {}
            }
        }
        unit
    }

    /// Whether it is the plain service, put to rest: whoever uses instances need not use it.
    fn rests(&self) -> bool {
        self.name == "tvsl.service" && self.active == "inactive" && self.file == "disabled"
    }

    /// Whether it has failed. How one ended that was put to rest since is over. One that fails at each start never counts as
    /// `failed` to systemd, which starts it again for ever.
    fn failed(&self) -> bool {
        self.active == "failed"
            || self.sub.starts_with("auto-restart")
            || (self.active != "inactive" && !matches!(self.result.as_str(), "" | "success"))
    }

    fn check(&self) -> Check {
        let Self { name, active, file, .. } = self;
        let short = name.trim_end_matches(".service");
        let (told, log) = (self.told(), format!("`journalctl -u {short} -p warning -e` says why"));
        if self.failed() {
            return Check::failed(STAGE, format!("{name} has failed{told}"), log);
        }
        match (active.as_str(), file.as_str()) {
            ("activating", _) => Check::warning(STAGE, format!("{name} is still starting{told}"), log),
            (_, "enabled") => Check::ok(STAGE, format!("{name} is {active}{told}")),
            _ => Check::warning(
                STAGE,
                format!("{name} is {active}{told}, but does not start with the machine ({file})"),
                format!("`sudo systemctl enable --now {short}`"),
            ),
        }
    }

    /// How it ended, how often it was started again, and what it says itself.
    fn told(&self) -> String {
        let result = Some(format!("({})", self.result)).filter(|_| self.failed() && !self.result.is_empty());
        let restarts = match self.restarts {
            0 => None,
            1 => Some("was started again once".to_owned()),
            many => Some(format!("was started again {many} times")),
        };
        let waits = self.active == "activating" && !self.status.is_empty();
        let status = waits.then(|| format!("it says: {}", self.status));
        let ended = result.map(|result| format!(" {result}")).unwrap_or_default();
        ended + &[restarts, status].into_iter().flatten().map(|part| format!(", {part}")).collect::<String>()
    }
}

/// A check for each unit that is there and used.
pub(super) fn checks() -> Vec<Check> {
    if !Path::new("/run/systemd/system").exists() {
        return vec![Check::skipped(STAGE, "systemd does not run here")];
    }
    // Those that run or have failed, and those that start with the machine.
    let loaded = output(
        "systemctl",
        &["list-units", "--all", "--plain", "--no-legend", "tvsl.service", "tvsl@*.service"],
    );
    let files = output("systemctl", &["list-unit-files", "--no-legend", "tvsl.service", "tvsl@*.service"]);
    let names = names([loaded, files].map(Option::unwrap_or_default).join("\n").as_str());
    if names.is_empty() {
        return vec![Check::skipped(STAGE, "there is no tvsl.service here")];
    }
    let shown = |name: &String| output("systemctl", &["show", name, "--property", ASKED]).unwrap_or_default();
    judged(&names.iter().map(|name| Unit::new(name, &shown(name))).collect::<Vec<_>>())
}

/// A check for each unit that is used.
fn judged(units: &[Unit]) -> Vec<Check> {
    let used = units.iter().filter(|unit| units.len() == 1 || !unit.rests());
    used.map(Unit::check).collect()
}

/// The units in what `systemctl` lists, one each; a template is none.
fn names(listed: &str) -> BTreeSet<String> {
    let first = listed.lines().filter_map(|line| line.split_whitespace().next());
    first.filter(|name| name.starts_with("tvsl") && !name.contains("@.")).map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A unit in this state, of which systemd says nothing else than `more`.
    fn unit(name: &str, active: &str, file: &str, more: &str) -> Unit {
        let shown =
            format!("ActiveState={active}\nResult=success\nNRestarts=0\nUnitFileState={file}\n{more}");
        Unit::new(name, &shown)
    }

    fn line(active: &str, more: &str) -> String {
        unit("tvsl@hall.service", active, "enabled", more).check().line()
    }

    #[test]
    fn every_instance_of_the_service_is_looked_at() {
        let listed = "tvsl.service loaded inactive dead tvsl: names what is heard\ntvsl@hall.service loaded active running tvsl\n\
                      tvsl.service disabled enabled\ntvsl@.service indirect enabled\ntvsl@yard.service enabled enabled\n";
        let found = names(listed);
        assert_eq!(
            found.iter().map(String::as_str).collect::<Vec<_>>(),
            ["tvsl.service", "tvsl@hall.service", "tvsl@yard.service"]
        );
        assert!(line("active", "").starts_with("ok"));
        let asleep = unit("tvsl.service", "inactive", "disabled", "");
        let told = asleep.check().line();
        assert!(told.starts_with("WARNING") && told.contains("enable --now tvsl`"), "{told}");
        let both = [asleep, unit("tvsl@hall.service", "active", "enabled", "")];
        assert_eq!((judged(&both).len(), judged(&both[..1]).len()), (1, 1));
        assert!(judged(&both)[0].line().contains("tvsl@hall.service is active"));
    }

    #[test]
    fn a_service_that_fails_at_each_start_has_failed() {
        for (active, more) in [
            ("failed", "SubState=failed\nResult=exit-code"),
            // Between two starts.
            ("activating", "SubState=auto-restart\nResult=exit-code\nNRestarts=34"),
            ("activating", "SubState=auto-restart-queued"),
            ("activating", "SubState=auto-restart"),
            ("deactivating", "SubState=final-sigterm\nResult=watchdog"),
        ] {
            let told = line(active, more);
            assert!(told.starts_with("FAILED") && told.contains("journalctl -u tvsl@hall -p"), "{told}");
            for (said, word) in [("NRestarts=34", "again 34 times"), ("Result=watchdog", "(watchdog)")] {
                assert_eq!(more.contains(said), told.contains(word), "{told}");
            }
        }
    }

    #[test]
    fn one_that_is_still_starting_is_warned_of_with_what_it_waits_for() {
        let told = line("activating", "SubState=start\nNRestarts=2\nStatusText=the camera is away: a=b");
        assert!(told.starts_with("WARNING") && told.contains("journalctl -u tvsl@hall -p"), "{told}");
        for words in ["still starting", "again 2 times", "it says: the camera is away: a=b"] {
            assert!(told.contains(words), "{told}");
        }
    }

    #[test]
    fn that_it_was_started_again_is_told_and_no_failure() {
        let told = line("active", "SubState=running\nNRestarts=1\nStatusText=5.0 pictures/s");
        assert!(told.starts_with("ok") && told.contains("active, was started again once"), "{told}");
    }
}
