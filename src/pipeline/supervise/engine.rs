//! How the engine does, told when it changes. Pure.

use crate::message::{Health, HealthState, Moment, Part};
use crate::model::ModelError;

/// What was last told of the engine.
#[derive(Debug, Default)]
pub(super) struct EngineWatch(Option<Health>);

impl EngineWatch {
    /// Takes how a run of the model went, and what the engine says is wrong with itself; gives what is to
    /// be told, if that is something new.
    pub fn news(
        &mut self,
        failure: Option<&ModelError>,
        trouble: Option<&str>,
        moment: Moment,
    ) -> Option<Health> {
        let (state, reason) = match (failure, trouble) {
            (Some(error), _) => (HealthState::Failed, error.to_string()),
            (None, Some(trouble)) => (HealthState::Degraded, trouble.to_owned()),
            (None, None) => (HealthState::Ok, String::new()),
        };
        let told = self.0.as_ref().filter(|told| told.state == state);
        if told.is_some_and(|told| told.reason == reason) {
            return None;
        }
        let since = told.map_or_else(|| moment.unix(moment.now), |told| told.since);
        self.0 = Some(Health { part: Part::Engine, state, reason, since });
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Instant;

    #[test]
    fn a_change_is_told_once() {
        let mut watch = EngineWatch::default();
        let mut state = |failure: Option<&ModelError>, trouble| {
            watch.news(failure, trouble, Moment::of_recording(Instant::ZERO)).map(|health| health.state)
        };
        assert_eq!(state(None, None), Some(HealthState::Ok));
        assert_eq!(state(None, None), None);
        let failure = ModelError::Index(7);
        assert_eq!(state(Some(&failure), Some("no plan")), Some(HealthState::Failed));
        assert_eq!(state(None, Some("no plan")), Some(HealthState::Degraded));
        assert_eq!(state(None, Some("no plan")), None);
        assert_eq!(state(None, Some("the GPU failed")), Some(HealthState::Degraded));
        assert_eq!(state(None, None), Some(HealthState::Ok));
    }
}
