//! Topics of which only the latest value holds: one entry for each, told again on every connection.

use std::collections::{BTreeMap, BTreeSet};

use crate::message::{Delivery, OnOff, Report, Source};

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
    /// The version in flight, and whether it names no more sources than that.
    flying: Option<(u64, bool)>,
    /// The version that no broker would take.
    refused: Option<u64>,
    /// The sources that the broker may hold it to name: of the value that it acknowledged last, and of those sent since.
    named: Vec<Source>,
    /// Those that were sent over this connection.
    sent: BTreeSet<String>,
}

impl Value {
    /// The sources that it names no more and named before.
    fn dropped(&self) -> impl Iterator<Item = &Source> {
        self.named.iter().filter(|source| !names(sources(&self.report), &source.id))
    }

    /// Whether it names a source for the first time over this connection.
    fn adds_a_source(&self) -> bool {
        sources(&self.report).iter().any(|source| !self.sent.contains(&source.id))
    }

    /// The report, with the sources too that it named before.
    fn with_dropped(&self) -> Report {
        let mut report = self.report.clone();
        if let Report::State(state) = &mut report {
            state.sources.extend(self.dropped().cloned());
            state.state = OnOff::On;
        }
        report
    }
}

/// The sources that a report says are sounding.
fn sources(report: &Report) -> &[Source] {
    match report {
        Report::State(state) => &state.sources,
        _ => &[],
    }
}

fn names(sources: &[Source], id: &str) -> bool {
    sources.iter().any(|source| source.id == id)
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
                let (version, flying, refused, named, sent) = (0, None, None, vec![], BTreeSet::new());
                self.values.insert(topic, Value { report, version, flying, refused, named, sent });
            }
        }
    }

    /// The next value to send. A topic has one value in flight at a time, so that none overtakes. A source is named from
    /// before its start is sent ([`Board::awaits`]) until its end was: until all events have `ended`, one that drops a source
    /// waits, or still names it if there is another to name. A crash between the two then leaves what the next run has to end.
    pub(super) fn next(&mut self, ended: bool) -> Option<(String, u64, Report)> {
        let whole = |value: &Value| ended || value.dropped().next().is_none();
        let due = |value: &Value| value.flying.is_none() && (whole(value) || value.adds_a_source());
        let ready = |topic: &String| self.values.get(topic).is_some_and(due);
        let topic = self.untold.remove(self.untold.iter().position(ready)?);
        let value = self.values.get_mut(&topic)?;
        let whole = whole(value);
        let report = if whole { value.report.clone() } else { value.with_dropped() };
        value.flying = Some((value.version, whole));
        let new = sources(&report).iter().filter(|source| !names(&value.named, &source.id)).cloned();
        let new = new.collect::<Vec<_>>();
        value.named.extend(new);
        value.sent = sources(&report).iter().map(|source| source.id.clone()).collect();
        if !whole {
            self.untold.push(topic.clone());
        }
        Some((topic, value.version, report))
    }

    /// Whether a source sounds that no value was sent to name, over this connection: its start waits for that.
    pub(super) fn awaits(&self, id: &str) -> bool {
        self.values.values().any(|value| names(sources(&value.report), id) && !value.sent.contains(id))
    }

    /// Whether something is to be taken back that the broker still has.
    pub(super) fn takes_back(&self) -> bool {
        self.values.values().any(|value| takes_back(&value.report))
    }

    pub(super) fn acknowledge(&mut self, topic: &str, version: u64) {
        let Some(value) = self.values.get_mut(topic) else { return };
        let Some((_, whole)) = value.flying.take_if(|(flying, _)| *flying == version) else { return };
        if whole && value.version == version && takes_back(&value.report) {
            self.values.remove(topic);
        } else if whole && value.version == version {
            value.named = sources(&value.report).to_vec();
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
        for value in self.values.values_mut() {
            (value.flying, value.sent) = (None, BTreeSet::new());
        }
        self.tell_all();
    }

    pub(super) fn in_flight(&self) -> usize {
        self.values.values().filter(|value| value.flying.is_some()).count()
    }

    pub(super) fn is_told(&self) -> bool {
        self.untold.is_empty() && self.in_flight() == 0
    }
}
