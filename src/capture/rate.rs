//! At most so many pictures in a second, evenly, decided by their capture times alone.

use std::time::Duration;

use crate::clock::Instant;

/// Keeps pictures no denser than a rate; a camera's jitter of a tenth of the period is forgiven.
#[derive(Debug, Clone)]
pub(super) struct Decimator {
    period: Duration,
    due: Option<Instant>,
}

impl Decimator {
    /// A limit of `rate` pictures in a second; none if `rate` is infinite, zero or no number.
    pub fn new(rate: f64) -> Option<Self> {
        let period = Duration::try_from_secs_f64(1.0 / rate).ok().filter(|period| !period.is_zero())?;
        Some(Self { period, due: None })
    }

    /// Whether the picture taken at `at` is kept. Time that goes backwards starts over.
    pub fn keeps(&mut self, at: Instant) -> bool {
        let restarted = self.due.is_none_or(|due| at + self.period * 2 < due);
        let due = self.due.filter(|_| !restarted).unwrap_or(at);
        let kept = at + self.period / 10 >= due;
        if kept {
            let behind = at.since(due) > self.period / 2;
            self.due = Some(if behind { at } else { due } + self.period);
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kept(rate: f64, stamps: impl Iterator<Item = f64>) -> Vec<f64> {
        let mut decimator = Decimator::new(rate).expect("a limit");
        stamps.filter(|at| decimator.keeps(Instant::from_secs_f64(*at))).collect()
    }

    #[test]
    fn thirty_a_second_become_ten_and_twenty_five_become_ten_on_average() {
        assert_eq!(kept(10.0, (0..300).map(|i| f64::from(i) / 30.0)).len(), 100);
        assert_eq!(kept(10.0, (0..250).map(|i| f64::from(i) / 25.0)).len(), 100);
        assert_eq!(kept(10.0, (0..50).map(|i| f64::from(i) / 5.0)).len(), 50, "a slow camera loses nothing");
    }

    #[test]
    fn no_limit_no_decimator() {
        for rate in [f64::INFINITY, 0.0, -1.0, f64::NAN] {
            assert!(Decimator::new(rate).is_none());
        }
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
