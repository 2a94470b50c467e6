//! How the engine does, told when it changes. Pure.

use std::time::Duration;

use crate::clock::Instant;
use crate::message::{Health, HealthState, Moment, Part};
use crate::model::ModelError;

/// A model that failed is sound again when it has not for so long: one that fails now and then is not told with every picture.
const STEADY: Duration = Duration::from_secs(5);

/// What was last told of the engine.
#[derive(Debug, Default)]
pub(super) struct EngineWatch {
    told: Option<Health>,
    /// When it last failed.
    failed: Option<Instant>,
}

impl EngineWatch {
    /// Takes how a run of the model went, and what the engine says is wrong with itself; gives what is to
    /// be told, if that is something new.
    pub fn news(
        &mut self,
        failure: Option<&ModelError>,
        trouble: Option<&str>,
        moment: Moment,
    ) -> Option<Health> {
        let lately = self.failed.is_some_and(|at| moment.now.since(at) < STEADY);
        if failure.is_some() {
            self.failed = Some(moment.now);
        }
        let (state, reason) = match (failure, trouble) {
            _ if lately => return None,
            (Some(error), _) => (HealthState::Failed, error.to_string()),
            (None, Some(trouble)) => (HealthState::Degraded, trouble.to_owned()),
            (None, None) => (HealthState::Ok, String::new()),
        };
        let told = self.told.as_ref().filter(|told| told.state == state);
        if told.is_some_and(|told| told.reason == reason) {
            return None;
        }
        let since = told.map_or_else(|| moment.unix(moment.now), |told| told.since);
        self.told = Some(Health { part: Part::Engine, state, reason, since });
        self.told.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once_and_a_failure_until_there_was_none_for_a_while() {
        let mut watch = EngineWatch::default();
        let mut state = |seconds, failure: Option<&ModelError>, trouble| {
            let moment = Moment::of_recording(Instant::from_secs_f64(seconds));
            watch.news(failure, trouble, moment).map(|health| health.state)
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
