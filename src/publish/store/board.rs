//! Topics of which only the latest value holds: one entry for each, told again on every connection.

use std::collections::BTreeMap;

use crate::message::{Delivery, Report};

/// The latest value of every such topic.
#[derive(Debug, Default)]
pub(super) struct Board {
    values: BTreeMap<String, Value>,
    /// The topics whose latest value was not sent, in the order in which it changed.
    untold: Vec<String>,
}

#[derive(Debug)]
struct Value {
    report: Report,
    version: u64,
    /// The version in flight.
    flying: Option<u64>,
}

impl Board {
    pub(super) fn set(&mut self, report: Report) {
        let topic = report.topic();
        if !self.untold.contains(&topic) {
            self.untold.push(topic.clone());
        }
        match self.values.get_mut(&topic) {
            Some(value) => (value.report, value.version) = (report, value.version + 1),
            None => drop(self.values.insert(topic, Value { report, version: 0, flying: None })),
        }
    }

    /// The next value to send. A topic has one value in flight at a time, so that none overtakes.
    pub(super) fn next(&mut self) -> Option<(String, u64, Report)> {
        let idle = |topic: &String| self.values.get(topic).is_some_and(|value| value.flying.is_none());
        let topic = self.untold.remove(self.untold.iter().position(idle)?);
        let value = self.values.get_mut(&topic)?;
        value.flying = Some(value.version);
        Some((topic, value.version, value.report.clone()))
    }

    pub(super) fn acknowledge(&mut self, topic: &str, version: u64) {
        if let Some(value) = self.values.get_mut(topic).filter(|value| value.flying == Some(version)) {
            value.flying = None;
        }
    }

    pub(super) fn tell_all(&mut self) {
        self.untold = self.values.keys().cloned().collect();
    }

    /// Nothing is in flight any more, and fleeting values are forgotten.
    pub(super) fn recall(&mut self) {
        self.values.retain(|_, value| value.report.delivery() == Delivery::Retained);
        self.values.values_mut().for_each(|value| value.flying = None);
        self.tell_all();
    }

    pub(super) fn in_flight(&self) -> usize {
        self.values.values().filter(|value| value.flying.is_some()).count()
    }

    pub(super) fn is_told(&self) -> bool {
        self.untold.is_empty() && self.in_flight() == 0
    }
}
