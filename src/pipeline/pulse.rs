//! Whether a loop beside the analysis still turns. Pure: time is an argument.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Instant;

/// When a loop last completed a turn. It beats, others feel.
#[derive(Debug)]
pub(super) struct Pulse {
    name: &'static str,
    deadline: Duration,
    last: AtomicU64,
}

impl Pulse {
    /// Of the loop `name`, which begins at `now` and whose turns take no longer than `deadline`.
    pub fn new(name: &'static str, deadline: Duration, now: Instant) -> Self {
        Self { name, deadline, last: AtomicU64::new(now.as_nanos()) }
    }

    /// Of a loop that begins its first turn when it first beats: until then it waits for nothing.
    pub fn resting(name: &'static str, deadline: Duration) -> Self {
        Self::new(name, deadline, Instant::from_nanos(u64::MAX))
    }

    /// Nothing is due until the next beat.
    pub fn rest(&self) {
        self.beat(Instant::from_nanos(u64::MAX));
    }

    /// A turn is complete.
    pub fn beat(&self, now: Instant) {
        self.last.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// That the loop is stuck, if it is.
    pub fn stuck(&self, now: Instant) -> Option<String> {
        let still = now.since(Instant::from_nanos(self.last.load(Ordering::Relaxed)));
        (still > self.deadline).then(|| format!("{} is stuck for {:.0} s", self.name, still.as_secs_f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_rests_is_not_stuck() {
        let at = |seconds| Instant::from_secs_f64(seconds);
        let pulse = Pulse::resting("the disk", Duration::from_secs(30));
        assert_eq!(pulse.stuck(at(1000.0)), None);
        pulse.beat(at(1000.0));
        assert_eq!(pulse.stuck(at(1031.0)), Some("the disk is stuck for 31 s".into()));
        pulse.rest();
        assert_eq!(pulse.stuck(at(5000.0)), None);
    }

    #[test]
    fn a_loop_that_misses_its_deadline_is_stuck_until_it_turns_again() {
        let at = |seconds| Instant::from_secs_f64(seconds);
        let pulse = Pulse::new("the event loop", Duration::from_secs(10), at(100.0));
        assert_eq!(pulse.stuck(at(110.0)), None);
        assert_eq!(pulse.stuck(at(111.0)), Some("the event loop is stuck for 11 s".into()));
        pulse.beat(at(112.0));
        assert_eq!(pulse.stuck(at(122.0)), None);
        assert_eq!(pulse.stuck(at(123.0)), Some("the event loop is stuck for 11 s".into()));
        assert_eq!(pulse.stuck(at(0.0)), None, "a clock that was asked earlier");
    }
}
