//! Topics of which only the latest value holds: one entry for each, told again on every connection.

use std::collections::{BTreeMap, BTreeSet};

use crate::message::{Delivery, EventPhase, OnOff, Report, Source};

/// A state that names so many sources that are over takes in another only when it was sent.
pub(super) const ANNOUNCED: usize = 8;

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
    /// Sources that are over, and whose start may be there before their end is.
    ending: Vec<Source>,
    /// The sources that the broker may hold it to name: of the value that it acknowledged last, and of those sent since.
    named: Vec<Source>,
    /// Those that were sent over this connection.
    sent: BTreeSet<String>,
}

impl Value {
    /// The sources that it names, those that are over last. What takes a state back names none.
    fn names(&self) -> impl Iterator<Item = &Source> {
        let ending = if is_state(&self.report) { &self.ending[..] } else { &[] };
        sources(&self.report).iter().chain(ending)
    }

    /// The sources that it names no more and named before.
    fn dropped(&self) -> impl Iterator<Item = &Source> {
        self.named.iter().filter(|source| !names(self.names(), &source.id))
    }

    /// Whether there is a source to name that was not named yet over this connection.
    fn adds_a_source(&self) -> bool {
        let named = self.names().chain(self.dropped());
        is_state(&self.report) && named.into_iter().any(|source| !self.sent.contains(&source.id))
    }

    /// The report as it is sent: `whole`, or with the sources too that it named before.
    fn told(&self, whole: bool) -> Report {
        let mut report = self.report.clone();
        if let Report::State(state) = &mut report {
            state.ending.clone_from(&self.ending);
            if !whole {
                state.sources.extend(self.dropped().cloned());
                state.state = OnOff::On;
            }
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

fn names<'a>(sources: impl IntoIterator<Item = &'a Source>, id: &str) -> bool {
    sources.into_iter().any(|source| source.id == id)
}

/// All sources that a report names, those too that are over.
fn all_sources(report: &Report) -> impl Iterator<Item = &Source> {
    let ending = if let Report::State(state) = report { &state.ending[..] } else { &[] };
    sources(report).iter().chain(ending)
}

/// The source of which it tells that it began or ended, if it does.
fn of(report: &Report, phase: EventPhase) -> Option<&Source> {
    match report {
        Report::Event(event) if event.event == phase => Some(&event.source),
        _ => None,
    }
}

fn is_state(report: &Report) -> bool {
    matches!(report, Report::State(_))
}

/// Whether it takes a retained value back: once the broker has that, there is nothing to tell any more.
fn takes_back(report: &Report) -> bool {
    matches!(report, Report::Gone(_))
        || matches!(report, Report::Foreign { payload, .. } if payload.is_empty())
}

impl Board {
    pub(super) fn set(&mut self, report: Report) {
        let topic = report.topic();
        self.tell(topic.clone());
        match self.values.get_mut(&topic) {
            Some(value) => (value.report, value.version) = (report, value.version + 1),
            None => {
                let (version, flying, refused, sent) = (0, None, None, BTreeSet::new());
                let (ending, named) = (vec![], vec![]);
                self.values.insert(topic, Value { report, version, flying, refused, ending, named, sent });
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
        let report = value.told(whole);
        value.flying = Some((value.version, whole));
        let new = all_sources(&report).filter(|source| !names(&value.named, &source.id)).cloned();
        let new = new.collect::<Vec<_>>();
        value.named.extend(new);
        value.sent = all_sources(&report).map(|source| source.id.clone()).collect();
        if !whole {
            self.untold.push(topic.clone());
        }
        Some((topic, value.version, report))
    }

    /// Whether an event tells of a start, and no state was sent over this connection that names its source: it waits for
    /// that.
    pub(super) fn awaits(&self, event: &Report) -> bool {
        let Some(source) = of(event, EventPhase::Start) else { return false };
        let value = self.values.get(&Report::state_topic(&source.class));
        value.is_some_and(|value| is_state(&value.report) && !value.sent.contains(&source.id))
    }

    /// Has the state name the source of a start that is to be sent, if it is over already. It names few at a time where it
    /// can: some brokers take only small messages.
    pub(super) fn announce(&mut self, event: &Report) {
        let Some(source) = of(event, EventPhase::Start) else { return };
        let topic = Report::state_topic(&source.class);
        let Some(value) = self.values.get_mut(&topic).filter(|value| is_state(&value.report)) else { return };
        let room = value.ending.len() < ANNOUNCED
            || value.ending.iter().all(|source| value.sent.contains(&source.id));
        if room && !names(value.names().chain(&value.named), &source.id) {
            value.ending.push(source.clone());
            self.tell(topic);
        }
    }

    /// The broker holds on this topic that a source sounds whose end is yet to be sent: until then the state there names it,
    /// or is not taken back.
    pub(super) fn owes(&mut self, topic: String, source: &Source) {
        if let Some(value) = self.values.get_mut(&topic) {
            value.ending.push(source.clone());
            value.named.push(source.clone());
            self.tell(topic);
        }
    }

    /// The broker has these events, or never will: no state has to name a source any more whose end is among them.
    pub(super) fn ended<'a>(&mut self, events: impl IntoIterator<Item = &'a Report>) {
        for source in events.into_iter().filter_map(|event| of(event, EventPhase::End)) {
            if let Some(value) = self.values.get_mut(&Report::state_topic(&source.class)) {
                value.ending.retain(|ending| ending.id != source.id);
                value.named.retain(|named| named.id != source.id);
            }
        }
    }

    /// The broker has all events: states name no source any more that is over.
    pub(super) fn settle(&mut self) {
        let mut changed = Vec::new();
        for (topic, value) in &mut self.values {
            let over = std::mem::take(&mut value.ending);
            value.named.retain(|named| !names(&over, &named.id));
            let sounds = |id: &String| names(sources(&value.report), id) || names(&value.named, id);
            if !value.sent.iter().all(sounds) {
                changed.push(topic.clone());
            }
        }
        changed.into_iter().for_each(|topic| self.tell(topic));
    }

    fn tell(&mut self, topic: String) {
        if !self.untold.contains(&topic) {
            self.untold.push(topic);
        }
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
            value.named = value.names().cloned().collect();
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
