//! Durations, counted in fixed steps.

use std::time::Duration;

/// Upper ends of the steps, seconds; what is longer is counted above them.
pub const STEPS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// How often something took how long.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histogram {
    counts: [u64; STEPS.len()],
    count: u64,
    sum: Duration,
}

impl Histogram {
    /// Counts one that took `time`.
    pub fn take(&mut self, time: Duration) {
        self.count += 1;
        self.sum += time;
        let step = STEPS.iter().position(|end| time.as_secs_f64() <= *end);
        if let Some(count) = step.and_then(|step| self.counts.get_mut(step)) {
            *count += 1;
        }
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All of them together, seconds.
    pub fn sum(&self) -> f64 {
        self.sum.as_secs_f64()
    }

    /// For each step its end, and how many took no longer.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let up_to = self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        STEPS.into_iter().zip(up_to)
    }

    /// The time that the share `q` (0–1) of them kept within, seconds: interpolated within its step, at most the
    /// end of the last; `None` of none.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let rank = q * self.count as f64;
        let (mut low, mut below) = (0.0, 0);
        for (end, up_to) in self.cumulative() {
            if up_to > below && up_to as f64 >= rank {
                let share = (rank - below as f64) / (up_to - below) as f64;
                return Some(low + (end - low) * share.max(0.0));
            }
            (low, below) = (end, up_to);
        }
        (self.count > 0).then_some(low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(millis: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        millis.iter().for_each(|time| histogram.take(Duration::from_millis(*time)));
        histogram
    }

    #[test]
    fn each_is_counted_in_its_step_and_above() {
        let histogram = of(&[1, 3, 30, 60_000]);
        let counts: Vec<u64> = histogram.cumulative().map(|(_, count)| count).collect();
        assert_eq!(counts, [1, 1, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3]);
        assert_eq!((histogram.count(), histogram.sum()), (4, 60.034));
    }

    #[test]
    fn quantiles_lie_in_the_right_step() {
        assert_eq!(Histogram::default().quantile(0.5), None);
        let histogram = of(&[30; 100]);
        assert!((histogram.quantile(0.5).expect("some") - 0.0375).abs() < 1e-9);
        assert_eq!(histogram.quantile(1.0), Some(0.05));
        assert_eq!(of(&[60_000]).quantile(0.99), Some(10.0));
    }
}
