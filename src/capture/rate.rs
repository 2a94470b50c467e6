//! At most so many pictures in a second, evenly, decided by their capture times alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Instant;

/// Most pictures in a second. Copies are one and the same, and it may change while pictures come.
#[derive(Debug, Clone)]
pub struct Rate(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    rate: AtomicU64,
    /// Up to which rate the camera needs no other mode.
    reach: AtomicU64,
}

impl Rate {
    /// At most `rate` pictures in a second; all of them if it is infinite, zero or no number.
    pub fn new(rate: f64) -> Self {
        let [rate, reach] = [rate, f64::INFINITY].map(|number| AtomicU64::new(number.to_bits()));
        Self(Arc::new(Shared { rate, reach }))
    }

    /// From the next picture on at most `rate`.
    pub fn set(&self, rate: f64) {
        self.0.rate.store(rate.to_bits(), Ordering::Relaxed);
    }

    /// Up to `rate` pictures in a second the mode that the camera was opened in suits as well as any other of its.
    pub fn reach(&self, rate: f64) {
        self.0.reach.store(rate.to_bits(), Ordering::Relaxed);
    }

    /// Whether that rate wants no other mode of the camera.
    pub fn reaches(&self, rate: f64) -> bool {
        rate <= f64::from_bits(self.0.reach.load(Ordering::Relaxed))
    }

    /// The most pictures in a second, as it was last set; `None`: no limit.
    pub(super) fn get(&self) -> Option<f64> {
        Some(f64::from_bits(self.0.rate.load(Ordering::Relaxed)))
            .filter(|rate| rate.is_finite() && *rate > 0.0)
    }

    /// The time from picture to picture; `None` without a limit.
    fn period(&self) -> Option<Duration> {
        Duration::try_from_secs_f64(1.0 / self.get()?).ok().filter(|period| !period.is_zero())
    }
}

/// Keeps pictures no denser than a rate; a camera's jitter of a tenth of the period is forgiven.
#[derive(Debug, Clone)]
pub(super) struct Decimator {
    rate: Rate,
    /// The period that `due` was reckoned with.
    period: Duration,
    due: Option<Instant>,
}

impl Decimator {
    /// Keeps to `rate`, whatever it becomes.
    pub fn new(rate: Rate) -> Self {
        Self { rate, period: Duration::ZERO, due: None }
    }

    /// Whether the picture taken at `at` is kept. Time that goes backwards starts over, and so does another rate.
    pub fn keeps(&mut self, at: Instant) -> bool {
        let Some(period) = self.rate.period() else { return true };
        if std::mem::replace(&mut self.period, period) != period {
            self.due = None;
        }
        let restarted = self.due.is_none_or(|due| at + period * 2 < due);
        let due = self.due.filter(|_| !restarted).unwrap_or(at);
        let kept = at + period / 10 >= due;
        if kept {
            let behind = at.since(due) > period / 2;
            self.due = Some(if behind { at } else { due } + period);
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kept(rate: f64, stamps: impl Iterator<Item = f64>) -> Vec<f64> {
        let mut decimator = Decimator::new(Rate::new(rate));
        stamps.filter(|at| decimator.keeps(Instant::from_secs_f64(*at))).collect()
    }

    #[test]
    fn thirty_a_second_become_ten_and_twenty_five_become_ten_on_average() {
        assert_eq!(kept(10.0, (0..300).map(|i| f64::from(i) / 30.0)).len(), 100);
        assert_eq!(kept(10.0, (0..250).map(|i| f64::from(i) / 25.0)).len(), 100);
        assert_eq!(kept(10.0, (0..50).map(|i| f64::from(i) / 5.0)).len(), 50, "a slow camera loses nothing");
    }

    #[test]
    fn no_limit_keeps_all() {
        for rate in [f64::INFINITY, 0.0, -1.0, f64::NAN] {
            assert_eq!(kept(rate, (0..50).map(|i| f64::from(i) / 100.0)).len(), 50);
        }
    }

    #[test]
    fn another_rate_holds_from_the_next_picture_on() {
        let rate = Rate::new(10.0);
        let mut decimator = Decimator::new(rate.clone());
        let mut count = |from: u32| {
            let stamps = (from..from + 30).map(|i| Instant::from_secs_f64(f64::from(i) / 30.0));
            stamps.filter(|at| decimator.keeps(*at)).count()
        };
        let mut counts = vec![count(0)];
        for (from, most) in [(30, 5.0), (60, f64::INFINITY), (90, 10.0)] {
            rate.set(most);
            counts.push(count(from));
        }
        assert_eq!(counts, [10, 5, 30, 10]);
    }

    #[test]
    fn a_camera_that_starts_over_is_seen_at_once() {
        assert_eq!(kept(10.0, [100.0, 100.1, 0.0, 0.1].into_iter()).len(), 4);
    }

    proptest! {
        #[test]
        fn never_denser_than_the_rate(steps in proptest::collection::vec(0.001f64..0.3, 1..200)) {
            let stamps = steps.iter().scan(0.0, |at, step| { *at += step; Some(*at) });
            let kept = kept(10.0, stamps);
            prop_assert!(kept.windows(2).all(|pair| pair[1] - pair[0] > 0.0399));
            let span = kept.last().copied().unwrap_or(0.0) - kept[0];
            prop_assert!(kept.len() as f64 <= span * 10.0 + 2.0);
        }
    }
}
