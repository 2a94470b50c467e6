//! Tells systemd: ready, alive, stopping. Without systemd every word is silently unsaid.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

use crate::clock::Instant;

/// The word with the service manager. Time is an argument.
#[derive(Debug)]
pub struct Notifier {
    ready: bool,
    /// Time between two signs of life, if a watchdog listens.
    interval: Option<Duration>,
    alive: Option<Instant>,
    told: Option<Instant>,
}

/// Least time between two status lines.
const STATUS_INTERVAL: Duration = Duration::from_secs(2);
/// Most bytes of a status line: the service manager ignores what is longer than 4096 as a whole, and nobody reads so much.
const LONGEST_STATUS: usize = 1000;

impl Notifier {
    /// A notifier for the service manager that started this process, if one did. Signs of life are
    /// sent three times in the watchdog's period.
    pub fn new() -> Self {
        let interval = sd_notify::watchdog_enabled().map(|period| period / 3);
        Self { ready: false, interval, alive: None, told: None }
    }

    /// The service is at work: told once.
    pub fn ready(&mut self) {
        if !std::mem::replace(&mut self.ready, true) {
            say(&[NotifyState::Ready]);
        }
    }

    /// The pipeline made progress at `now`; feeds the watchdog when it is due.
    pub fn progress(&mut self, now: Instant) {
        if self.interval.is_some_and(|interval| due(self.alive, now, interval)) {
            self.alive = Some(now);
            say(&[NotifyState::Watchdog]);
        }
    }

    /// One line for `systemctl status`, when the last one is old enough.
    pub fn status(&mut self, now: Instant, line: impl FnOnce() -> String) {
        if due(self.told, now, STATUS_INTERVAL) {
            self.told = Some(now);
            say(&[NotifyState::Status(&in_one_line(&line()))]);
        }
    }

    /// The service is stopping.
    pub fn stopping(&self) {
        say(&[NotifyState::Stopping]);
    }
}

impl Default for Notifier {
    fn default() -> Self {
        Self::new()
    }
}

/// The text in one line, which is cut off where it is too long: what stands behind a line's end is an assignment to the service
/// manager, and no status.
fn in_one_line(text: &str) -> String {
    let line = text.replace(char::is_control, " ");
    if line.len() <= LONGEST_STATUS {
        return line;
    }
    let end = line.floor_char_boundary(LONGEST_STATUS - '…'.len_utf8());
    format!("{}…", &line[..end])
}

fn due(last: Option<Instant>, now: Instant, interval: Duration) -> bool {
    last.is_none_or(|last| now.since(last) >= interval)
}

fn say(words: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(words) {
        debug!("the service manager could not be told: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_of_many_lines_is_one_line_and_says_nothing_else() {
        let told = in_one_line("engine: it failed:\r\nWATCHDOG=trigger\n\tMAINPID=1\u{85}\0");
        assert_eq!(told, "engine: it failed:  WATCHDOG=trigger  MAINPID=1  ");
    }

    #[test]
    fn a_status_that_is_too_long_is_cut_between_two_characters() {
        let fits = "x".repeat(LONGEST_STATUS);
        assert_eq!(in_one_line(&fits), fits);
        for shift in 0..4 {
            let told = in_one_line(&("x".repeat(shift) + &"🔊".repeat(2000)));
            let rest = told.trim_start_matches('x').trim_end_matches('…').trim_matches('🔊');
            assert!(told.ends_with("🔊…") && rest.is_empty(), "{told}");
            assert!((LONGEST_STATUS - 3..=LONGEST_STATUS).contains(&told.len()), "{} bytes", told.len());
        }
    }

    #[test]
    fn words_are_due_at_first_and_then_in_intervals() {
        let (start, interval) = (Instant::from_secs_f64(10.0), Duration::from_secs(2));
        assert!(due(None, start, interval));
        assert!(!due(Some(start), start + Duration::from_secs(1), interval));
        assert!(due(Some(start), start + interval, interval));
    }
}
