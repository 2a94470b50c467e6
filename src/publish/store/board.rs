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
    /// The version that no broker would take.
    refused: Option<u64>,
    /// The sources that the broker may hold it to name: of the value that it acknowledged last, and of those sent since.
    named: Vec<String>,
}

impl Value {
    /// Whether it no longer names a source that it named before.
    fn drops_a_source(&self) -> bool {
        let now = sources(&self.report);
        self.named.iter().any(|id| !now.contains(id))
    }
}

/// The sources that a report says are sounding.
fn sources(report: &Report) -> Vec<String> {
    match report {
        Report::State(state) => state.sources.iter().map(|source| source.id.clone()).collect(),
        _ => vec![],
    }
}

/// Whether it takes a retained value back: once the broker has that, there is nothing to tell any more.
fn takes_back(report: &Report) -> bool {
    matches!(report, Report::Gone(_))
        || matches!(report, Report::Foreign { payload, .. } if payload.is_empty())
}

impl Board {
    pub(super) fn set(&mut self, report: Report) {
        let topic = report.topic();
        if !self.untold.contains(&topic) {
            self.untold.push(topic.clone());
        }
        match self.values.get_mut(&topic) {
            Some(value) => (value.report, value.version) = (report, value.version + 1),
            None => {
                let (version, flying, refused, named) = (0, None, None, vec![]);
                self.values.insert(topic, Value { report, version, flying, refused, named });
            }
        }
    }

    /// The next value to send. A topic has one value in flight at a time, so that none overtakes. One that no longer
    /// names a source waits until `ended`: the event of its end was sent. A crash between the two then leaves what the
    /// next run has to end.
    pub(super) fn next(&mut self, ended: bool) -> Option<(String, u64, Report)> {
        let due = |value: &Value| value.flying.is_none() && (ended || !value.drops_a_source());
        let ready = |topic: &String| self.values.get(topic).is_some_and(due);
        let topic = self.untold.remove(self.untold.iter().position(ready)?);
        let value = self.values.get_mut(&topic)?;
        value.flying = Some(value.version);
        value.named.extend(sources(&value.report));
        Some((topic, value.version, value.report.clone()))
    }

    /// Whether something is to be taken back that the broker still has.
    pub(super) fn takes_back(&self) -> bool {
        self.values.values().any(|value| takes_back(&value.report))
    }

    pub(super) fn acknowledge(&mut self, topic: &str, version: u64) {
        if let Some(value) = self.values.get_mut(topic).filter(|value| value.flying == Some(version)) {
            value.flying = None;
            if value.version == version && takes_back(&value.report) {
                self.values.remove(topic);
            } else if value.version == version {
                value.named = sources(&value.report);
            }
        }
    }

    /// No broker would take this version; tells whether that is new: it comes up again on every connection.
    pub(super) fn refuse(&mut self, topic: &str, version: u64) -> bool {
        let value = self.values.get_mut(topic);
        let new = value.is_some_and(|value| value.refused.replace(version) != Some(version));
        self.acknowledge(topic, version);
        new
    }

    /// Takes nothing back below `prefix` any more: these topics are in use again.
    pub(super) fn reclaim(&mut self, prefix: &str) {
        let freed =
            |topic: &String, value: &mut Value| takes_back(&value.report) && topic.starts_with(prefix);
        for (topic, _) in self.values.extract_if(.., freed) {
            self.untold.retain(|untold| *untold != topic);
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
