//! The life of a part that can be lost and found again: its state, and when it is tried. Camera, microphone, engine,
//! publisher and monitor have one each. Pure: time and chance are arguments.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::clock::Instant;
use crate::message::{Health, HealthState, Moment, Part};

/// How a part does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing was delivered yet.
    Starting,
    /// Delivers.
    Running,
    /// Delivers, but not as it should.
    Degraded,
    /// Lost, and tried again.
    Failed,
}

/// Where the one loop of tries stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting { until: Instant },
    Trying { since: Instant },
    Open { since: Instant, last: Instant },
}

/// Waits between tries: from this, doubling,
const FIRST: Duration = Duration::from_millis(500);
/// to this.
const MOST: Duration = Duration::from_secs(10);
/// A part that delivered for so long is sound: the next wait is a short one again.
const STEADY: Duration = Duration::from_secs(5);

/// The state machine of one part.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    state: State,
    reason: String,
    since: Instant,
    phase: Phase,
    backoff: Backoff,
    news: bool,
}

impl Lifecycle {
    /// A part that is to be tried at once.
    pub fn new(now: Instant) -> Self {
        Self {
            state: State::Starting,
            reason: String::new(),
            since: now,
            phase: Phase::Waiting { until: now },
            backoff: Backoff::new(FIRST, MOST),
            news: true,
        }
    }

    /// How it does.
    pub fn state(&self) -> State {
        self.state
    }

    /// Why it is not running; empty if it is.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Since when it has been in its state.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Whether what it delivers can be relied on now.
    pub fn delivers(&self) -> bool {
        matches!(self.state, State::Running | State::Degraded)
    }

    /// How `part`, whose life this is, does: what is to be told, if that changed since this was last asked.
    pub fn news(&mut self, part: Part, moment: Moment) -> Option<Health> {
        if !std::mem::take(&mut self.news) {
            return None;
        }
        let (state, reason) = match self.state {
            State::Starting => (HealthState::Starting, "nothing was delivered yet"),
            State::Running => (HealthState::Ok, self.reason()),
            State::Degraded => (HealthState::Degraded, self.reason()),
            State::Failed => (HealthState::Failed, self.reason()),
        };
        let (since, clock_synced) = (moment.unix(self.since), moment.synced);
        Some(Health { part, state, reason: reason.to_owned(), since, clock_synced })
    }

    /// Whether to try now. The try is then under way until [`Self::opened`] or [`Self::lost`] is told;
    /// there is never a second one beside it.
    pub fn begin(&mut self, now: Instant) -> bool {
        let due = matches!(self.phase, Phase::Waiting { until } if until <= now);
        if due {
            self.phase = Phase::Trying { since: now };
        }
        due
    }

    /// A try is under way since then, which was begun for somebody else: none begins beside it.
    pub fn tried_since(&mut self, since: Instant) {
        self.phase = Phase::Trying { since };
    }

    /// For how long the try that is under way has been; zero if there is none.
    pub fn trying(&self, now: Instant) -> Duration {
        match self.phase {
            Phase::Trying { since } => now.since(since),
            _ => Duration::ZERO,
        }
    }

    /// The try that is under way takes too long; it goes on.
    pub fn drag(&mut self, why: &str, now: Instant) {
        if matches!(self.phase, Phase::Trying { .. }) {
            self.become_(State::Failed, why, now);
        }
    }

    /// The try succeeded; the first delivery is still to come.
    pub fn opened(&mut self, now: Instant) {
        self.phase = Phase::Open { since: now, last: now };
    }

    /// Something came that cannot be relied on: it is not silent, and does no better for that.
    pub fn stirred(&mut self, now: Instant) {
        if let Phase::Open { last, .. } = &mut self.phase {
            *last = now;
        }
    }

    /// For so long nobody looked whether it delivers: that was no silence of its.
    pub fn excuse(&mut self, time: Duration, now: Instant) {
        if let Phase::Open { last, .. } = &mut self.phase {
            *last = (*last + time).min(now);
        }
    }

    /// Something was delivered.
    pub fn delivered(&mut self, now: Instant) {
        self.stirred(now);
        let Phase::Open { since, .. } = &self.phase else { return };
        if now.since(*since) >= STEADY {
            self.backoff.reset();
        }
        if !self.delivers() {
            self.become_(State::Running, "", now);
        }
    }

    /// What is wrong with what it delivers; `None`: nothing.
    pub fn complain(&mut self, complaint: Option<&str>, now: Instant) {
        match complaint {
            _ if !self.delivers() => {}
            Some(complaint) => self.become_(State::Degraded, complaint, now),
            None => self.become_(State::Running, "", now),
        }
    }

    /// For how long it has been open and nothing came of it; zero if it is not open.
    pub fn silence(&self, now: Instant) -> Duration {
        match self.phase {
            Phase::Open { last, .. } => now.since(last),
            _ => Duration::ZERO,
        }
    }

    /// For how long it has been open; zero if it is not.
    pub fn lasted(&self, now: Instant) -> Duration {
        match self.phase {
            Phase::Open { since, .. } => now.since(since),
            _ => Duration::ZERO,
        }
    }

    /// What was open was closed on purpose, and is to be opened anew at once: until that fails it is not lost.
    pub fn renew(&mut self, now: Instant) {
        self.phase = Phase::Waiting { until: now };
    }

    /// A try failed, or what was open is lost, and there is something to fall back on, which is tried at once.
    pub fn falls_back(&mut self, why: &str, now: Instant) {
        self.phase = Phase::Waiting { until: now };
        self.become_(State::Failed, why, now);
    }

    /// A try failed, or what was open is lost; gives the wait before the next try, which `random` (0-1)
    /// spreads.
    pub fn lost(&mut self, why: &str, now: Instant, random: f64) -> Duration {
        let wait = self.backoff.next(random);
        self.phase = Phase::Waiting { until: now + wait };
        self.become_(State::Failed, why, now);
        wait
    }

    fn become_(&mut self, state: State, reason: &str, now: Instant) {
        if (self.state, self.reason.as_str()) == (state, reason) {
            return;
        }
        if self.state != state {
            self.since = now;
        }
        (self.state, self.reason, self.news) = (state, reason.to_owned(), true);
    }
}

#[cfg(test)]
mod tests;
