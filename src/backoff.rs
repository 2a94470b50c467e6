//! How long to wait before the next try: doubling, bounded, and spread at random, so that a hundred
//! devices do not all come back in the same instant.

use std::time::Duration;

/// Waits between tries. Pure: randomness is an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    tries: u32,
}

impl Backoff {
    /// Waits from `first`, doubling up to `most`.
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, tries: 0 }
    }

    /// The wait before the next try: between half of the doubled time and all of it, as `random`
    /// (0–1) says.
    pub fn next(&mut self, random: f64) -> Duration {
        let doubled = self.first.saturating_mul(1 << self.tries.min(20)).min(self.most);
        self.tries = self.tries.saturating_add(1);
        doubled.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0))
    }

    /// Nothing failed for so long: after more than the longest wait the next is a short one again.
    pub fn calm(&mut self, time: Duration) {
        if time > self.most {
            self.reset();
        }
    }

    /// A try succeeded: the next wait is a short one again.
    pub fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_start_over() {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
        let waits: Vec<u128> = (0..9).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
        for _ in 0..100 {
            assert!(backoff.next(0.0) == Duration::from_secs(15), "never overflows");
        }
        backoff.calm(Duration::from_secs(30));
        assert_eq!(backoff.next(0.0), Duration::from_secs(15), "it may have been waited for so long");
        backoff.calm(Duration::from_secs(31));
        assert_eq!(backoff.next(0.0), Duration::from_millis(250));
        backoff.reset();
        assert_eq!(backoff.next(0.0), Duration::from_millis(250));
    }
}
