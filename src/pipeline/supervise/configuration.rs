//! How the configuration does: whether the file is in force as it stands, and the settings as subscribers left them. Pure.

use crate::config::ConfigError;
use crate::message::one_sentence;

/// What is told of a change that takes long to make.
pub(super) const STILL: &str = "a change is still being made after more than 30 s, and others wait for it; the disk or the engine below it is \
                                slow, or hangs";

/// What is not as it was written, or wished.
#[derive(Debug, Default)]
pub(super) struct Configuration {
    /// The faults of the newest file, which is refused for them.
    faults: Vec<String>,
    /// What is amiss with what subscribers changed; empty: nothing.
    amiss: String,
    /// Whether a change takes long to make.
    slow: bool,
    /// What was told last.
    told: Option<String>,
}

impl Configuration {
    /// The newest file is refused, for what is told there in lines.
    pub fn refuse(&mut self, why: &str) {
        self.faults = faults(why).into_iter().map(str::to_owned).collect();
        self.told = None;
    }

    /// The newest file is in force.
    pub fn accept(&mut self) {
        self.faults.clear();
    }

    /// This is amiss with what subscribers changed; whether that is new.
    pub fn settle(&mut self, amiss: String) -> bool {
        let new = !amiss.is_empty() && amiss != self.amiss;
        self.amiss = amiss;
        new
    }

    /// A change takes long to make, or does not any more; whether that is new.
    pub fn drag(&mut self, slow: bool) -> bool {
        std::mem::replace(&mut self.slow, slow) != slow
    }

    /// Why it is degraded, if that changed; empty: it is not.
    pub fn news(&mut self) -> Option<String> {
        let amiss = (!self.amiss.is_empty()).then(|| one_sentence(&self.amiss));
        let slow = self.slow.then(|| STILL.to_owned());
        let reason = self.faults.iter().cloned().chain(amiss).chain(slow).collect::<Vec<_>>().join("; ");
        (self.told.as_ref() != Some(&reason)).then(|| self.told.insert(reason).clone())
    }

    /// The end of the line for `systemctl status`.
    pub fn line(&self) -> String {
        let mut amiss = if self.amiss.is_empty() { String::new() } else { format!("; {}", self.amiss) };
        if self.slow {
            amiss += "; ";
            amiss += STILL;
        }
        let Some(first) = self.faults.first() else { return amiss };
        let more = match self.faults.len() {
            1 => String::new(),
            all if all > ConfigError::MOST_TOLD => " (and many more: `tvsl check` lists the first)".into(),
            all => format!(" (and {} more: `tvsl check` lists them)", all - 1),
        };
        format!("; refused: {first}{more}{amiss}")
    }
}

/// The first lines of the faults in what is told of a file: not the lines that show the places, nor lists below them.
fn faults(told: &str) -> Vec<&str> {
    let shown = |line: &&str| line.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with(' ');
    told.lines().filter(|line| !line.is_empty() && !shown(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::path::Path;

    #[test]
    fn every_fault_of_a_file_is_told_in_a_line() {
        let text = format!("{}mqtt.port = 0\nmqtt.hots = \"a\"\n", "\n".repeat(998));
        let told = Config::parse(&text, Path::new("a.toml")).expect_err("two faults").to_string();
        let faults = faults(&told);
        assert_eq!(faults.len(), 2, "{told}");
        assert!(faults[0].starts_with("a.toml:999:") && faults[1].starts_with("a.toml:1000:"), "{faults:?}");
        assert_eq!(super::faults("one\n  two, three"), ["one"]);
    }

    #[test]
    fn of_a_wrong_file_it_is_said_that_there_is_more() {
        let mut configuration = Configuration::default();
        let told = |wrong: usize| {
            let text = (0..wrong).map(|n| format!("x{n} = 1\n")).collect::<String>();
            Config::parse(&text, Path::new("a.toml")).expect_err("unknown keys").to_string()
        };
        configuration.refuse(&told(20));
        assert!(configuration.line().ends_with("`x0` (and 19 more: `tvsl check` lists them)"));
        configuration.refuse(&told(25));
        assert!(configuration.line().ends_with("`x0` (and many more: `tvsl check` lists the first)"));
        let news = configuration.news().expect("it is refused");
        assert!(
            news.ends_with("x19: unknown key `x19`; a.toml: has 5 more faults; is it the right file?"),
            "{news}"
        );
    }

    #[test]
    fn it_is_told_until_the_file_is_right_and_nothing_is_amiss() {
        let mut configuration = Configuration::default();
        assert_eq!(configuration.news(), Some(String::new()), "well, at the start");
        configuration.refuse("a\nb");
        assert_eq!(configuration.news(), Some("a; b".into()));
        assert!(configuration.settle("off".into()) && !configuration.settle("off".into()));
        assert_eq!(configuration.line(), "; refused: a (and 1 more: `tvsl check` lists them); off");
        assert_eq!((configuration.news(), configuration.news()), (Some("a; b; off".into()), None));
        configuration.accept();
        assert_eq!((configuration.news(), configuration.line()), (Some("off".into()), "; off".into()));
        assert!(configuration.drag(true) && !configuration.drag(true));
        assert_eq!(configuration.news(), Some(format!("off; {STILL}")));
        assert_eq!(configuration.line(), format!("; off; {STILL}"));
        assert!(configuration.drag(false));
        assert!(!configuration.settle(String::new()));
        assert_eq!((configuration.news(), configuration.line()), (Some(String::new()), String::new()));
    }
}
