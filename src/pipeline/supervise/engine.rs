//! The life of the engine: it starts with the first picture, and every picture is its next try. Pure.

use std::time::Duration;

use crate::clock::Instant;
use crate::lifecycle::Lifecycle;
use crate::message::{Health, Moment, Part};
use crate::model::ModelError;

/// A model that failed is sound again when it has not for so long: one that fails now and then is not told with every picture.
const STEADY: Duration = Duration::from_secs(5);

/// How the engine does.
#[derive(Debug)]
pub(super) struct EngineWatch {
    life: Lifecycle,
    /// When it last failed.
    failed: Option<Instant>,
}

impl EngineWatch {
    /// Before the first picture.
    pub fn new(now: Instant) -> Self {
        Self { life: Lifecycle::new(now), failed: None }
    }

    /// Takes how a run of the model went, and what the engine says is wrong with itself.
    pub fn judged(&mut self, failure: Option<&ModelError>, trouble: Option<&str>, now: Instant) {
        let lately = self.failed.is_some_and(|at| now.since(at) < STEADY);
        if failure.is_some() {
            self.failed = Some(now);
        }
        match failure {
            _ if lately => {}
            Some(error) => drop(self.life.lost(&error.to_string(), now, 0.0)),
            None => {
                self.life.opened(now);
                self.life.delivered(now);
                self.life.complain(trouble, now);
            }
        }
    }

    /// What is to be told, if that is something new.
    pub fn news(&mut self, moment: Moment) -> Option<Health> {
        self.life.news(Part::Engine, moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::HealthState;

    #[test]
    fn a_change_is_told_once_and_a_failure_until_there_was_none_for_a_while() {
        let at = Instant::from_secs_f64;
        let mut watch = EngineWatch::new(at(0.0));
        let news = |watch: &mut EngineWatch, seconds| {
            watch.news(Moment::of_recording(at(seconds))).map(|health| health.state)
        };
        assert_eq!(news(&mut watch, 0.0), Some(HealthState::Starting));
        let mut state = |seconds, failure: Option<&ModelError>, trouble| {
            watch.judged(failure, trouble, at(seconds));
            news(&mut watch, seconds)
        };
        assert_eq!(state(0.0, None, None), Some(HealthState::Ok));
        assert_eq!(state(0.1, None, None), None);
        let failure = ModelError::Index(7);
        assert_eq!(state(0.2, Some(&failure), Some("no plan")), Some(HealthState::Failed));
        for tenth in 3..100 {
            let failure = (tenth % 2 == 0).then_some(&failure); // the last at 9.8 s
            assert_eq!(state(f64::from(tenth) / 10.0, failure, Some("no plan")), None);
        }
        assert_eq!(state(14.7, None, Some("no plan")), None);
        assert_eq!(state(14.9, None, Some("no plan")), Some(HealthState::Degraded));
        assert_eq!(state(15.0, None, Some("no plan")), None);
        assert_eq!(state(15.1, None, Some("the GPU failed")), Some(HealthState::Degraded));
        assert_eq!(state(15.2, None, None), Some(HealthState::Ok));
    }
}
