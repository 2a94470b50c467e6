//! What others can make happen as often as they like, and is told once a minute with a number: a log is read by people, and
//! lies on flash.

use std::time::Duration;

use crate::clock::Instant;

/// Time between two tellings.
const EVERY: Duration = Duration::from_secs(60);

/// Counts something until it is told. Pure: time is an argument.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    untold: u64,
    told: Option<Instant>,
}

impl Tally {
    /// It happened so often.
    pub fn count(&mut self, times: u64) {
        self.untold = self.untold.saturating_add(times);
    }

    /// How often it happened since it was told, if it is to be told now: it did, and the last telling is a minute ago.
    pub fn due(&mut self, now: Instant) -> Option<u64> {
        if self.untold == 0 || self.told.is_some_and(|told| now.since(told) < EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_rest_with_a_number_once_a_minute() {
        let mut tally = Tally::default();
        let at = Instant::from_secs_f64;
        assert_eq!(tally.due(at(0.0)), None, "nothing happened");
        let told: Vec<_> = (0..1000)
            .map(|number| {
                tally.count(1);
                tally.due(at(5.0 + f64::from(number) / 10.0))
            })
            .collect();
        let told: Vec<_> = told.into_iter().flatten().collect();
        assert_eq!(told, [1, 600]);
        assert_eq!(tally.due(at(125.0)), Some(399), "the last are not forgotten");
        assert_eq!(tally.due(at(500.0)), None);
    }
}
