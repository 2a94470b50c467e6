//! The store, shared: analysis puts in and never waits, the publisher takes out.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::store::{Store, Ticket};
use crate::clock::{Clock, Instant};
use crate::config;
use crate::message::Report;

/// A [`Store`] between the analysis thread and the publisher's task.
pub struct Outbox<'a> {
    clock: &'a dyn Clock,
    store: Mutex<Store>,
    arrival: Notify,
}

impl<'a> Outbox<'a> {
    /// An empty outbox of the configured bounds, which tells by `clock` how long something waits.
    pub fn new(config: &config::Mqtt, clock: &'a dyn Clock) -> Self {
        Self { clock, store: Mutex::new(Store::new(config)), arrival: Notify::new() }
    }

    /// Puts a report in. Never waits for the network.
    pub fn put(&self, report: Report) {
        self.put_all([report]);
    }

    /// Puts these in at once: none of them is sent before the last is in.
    pub fn put_all(&self, reports: impl IntoIterator<Item = Report>) {
        self.fill(|store, now| reports.into_iter().for_each(|report| store.put(report, now)));
    }

    /// Has this put in what it will; nothing of it is sent before it has returned.
    pub fn fill(&self, put: impl FnOnce(&mut Store, Instant)) {
        put(&mut self.store(), self.clock.now());
        self.arrival.notify_one();
    }

    /// The next report to send; see [`Store::take`].
    pub fn take(&self) -> Option<(Ticket, Report)> {
        let now = self.clock.now();
        self.store().take(now)
    }

    /// Waits until something was put in since the last wait.
    pub async fn arrival(&self) {
        self.arrival.notified().await;
    }

    /// The store, for as long as the guard lives; hold it briefly.
    pub fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
