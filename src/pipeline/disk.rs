//! How the disk does to which events and settings are written: what it says, and whether it answers at all. A card that
//! dies may keep a write for ever, and the thread that waits for it tells nobody.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::{error, info};

use super::pulse::Pulse;
use crate::clock::{Clock, Instant};
use crate::message::{Health, HealthState, Part};
use crate::monitor::Monitor;
use crate::publish::Teller;

/// A slow card may clean up for seconds; a write that takes so long may never end.
const DEADLINE: Duration = Duration::from_secs(30);

/// The disk, as it is told.
pub(super) struct Disk<'a> {
    teller: &'a Teller<'a>,
    monitor: Arc<Monitor>,
    clock: &'a dyn Clock,
    /// Of who writes events; at rest between two writes.
    pub events: Pulse,
    /// The same of settings.
    pub settings: Pulse,
    told: Mutex<Told>,
}

impl<'a> Disk<'a> {
    /// A disk that nothing is written to yet.
    pub fn new(teller: &'a Teller<'a>, monitor: Arc<Monitor>, clock: &'a dyn Clock) -> Self {
        let (events, settings) = (Pulse::resting("events", DEADLINE), Pulse::resting("settings", DEADLINE));
        Self { teller, monitor, clock, events, settings, told: Mutex::default() }
    }

    /// Why it takes no events; empty: it does.
    pub fn says(&self, why: String) {
        self.tell(|told| told.why = Some(why));
    }

    /// Looks whether it answers.
    pub fn look(&self, now: Instant) {
        let stuck = [("events", &self.events), ("settings", &self.settings)];
        let stuck = stuck.into_iter().filter(|(_, pulse)| pulse.stuck(now).is_some());
        let waiting = stuck.map(|(what, _)| what).collect::<Vec<_>>().join(" and ");
        self.tell(|told| told.waiting = waiting);
    }

    fn tell(&self, change: impl FnOnce(&mut Told)) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = !told.waiting.is_empty();
        change(&mut told);
        let Some(reason) = told.news() else { return };
        match (waited, told.waiting.is_empty()) {
            (_, false) => error!("{reason}"),
            (true, true) => info!("the disk answers again"),
            (false, true) => {} // who writes says it
        }
        let state = if reason.is_empty() { HealthState::Ok } else { HealthState::Degraded };
        let (since, clock_synced) = (self.clock.wall().as_secs_f64(), self.clock.synced());
        let health = Health { part: Part::Store, state, reason, since, clock_synced };
        self.monitor.health(&health);
        self.teller.health(health);
    }
}

/// What is known, and what was told of it. Pure.
#[derive(Debug, Default)]
struct Told {
    /// Why it takes no events; empty: it does; `None`: nobody has asked it to.
    why: Option<String>,
    /// What waits for it in vain; empty: nothing.
    waiting: String,
    said: Option<String>,
}

impl Told {
    /// What is to be told, if it is new.
    fn news(&mut self) -> Option<String> {
        let reason = if self.waiting.is_empty() {
            self.why.clone().or_else(|| self.said.as_ref().map(|_| String::new()))?
        } else {
            format!(
                "the disk has not answered for more than {} s: {} wait to be written, and may be lost; see to the disk or \
                 the card, which may be failing",
                DEADLINE.as_secs(),
                self.waiting
            )
        };
        (self.said.as_ref() != Some(&reason)).then(|| self.said.insert(reason).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::config::{Config, Overrides};
    use crate::message::tests::info;
    use crate::message::{Report, Settings};
    use crate::publish::teller::tests;

    /// What is told of the store.
    fn told(teller: &Teller) -> Vec<(HealthState, String)> {
        let store = |report| match report {
            Report::Health(message) => Some((message.health.state, message.health.reason)),
            _ => None,
        };
        tests::told(teller).into_iter().filter_map(store).collect()
    }

    #[test]
    fn a_write_that_does_not_end_is_told_once_and_what_was_told_before_holds_again_after_it() {
        gstreamer::init().expect("GStreamer");
        let (config, clock) = (Config::default(), SystemClock::new());
        let settings = Settings::new(&config, &Overrides::default());
        let teller = Teller::new(&config, (info(&config), settings), 1, &clock);
        teller.connected();
        let disk = Disk::new(&teller, Arc::new(Monitor::new(info(&config))), &clock);
        let at = |seconds| disk.look(Instant::from_secs_f64(seconds));
        at(1000.0);
        assert_eq!(told(&teller), [], "nothing is written, and nothing was told");
        disk.settings.beat(Instant::from_secs_f64(1000.0));
        at(1030.0);
        assert_eq!(told(&teller), []);
        (31..90).for_each(|second| at(1000.0 + f64::from(second)));
        let news = told(&teller);
        assert!(news.len() == 1 && news[0].0 == HealthState::Degraded, "{news:?}");
        assert!(news[0].1.contains("more than 30 s: settings wait to be written"), "{news:?}");
        disk.settings.rest();
        at(1090.0);
        assert_eq!(told(&teller), [(HealthState::Ok, String::new())]);
        disk.says("events are kept in memory only: full".into());
        let full = (HealthState::Degraded, "events are kept in memory only: full".to_owned());
        assert_eq!(told(&teller), std::slice::from_ref(&full));
        disk.events.beat(Instant::from_secs_f64(1100.0));
        at(1200.0);
        assert!(told(&teller)[0].1.contains("events wait to be written"));
        disk.events.rest();
        at(1201.0);
        assert_eq!(told(&teller), [full]);
    }
}
