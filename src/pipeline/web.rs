//! The monitor as a part of the device: it listens where the configuration says, is tried again for ever while it
//! cannot, and tells how it does.

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::lifecycle::{Lifecycle, State};
use crate::clock::Clock;
use crate::message::{Moment, Part};
use crate::monitor::{Door, Monitor};
use crate::publish::Teller;

/// Time between two looks whether a try is due, and the rest after a connection that was not taken.
const TURN: Duration = Duration::from_millis(100);

/// What serves the figures.
pub(super) struct Web<'a> {
    monitor: Arc<Monitor>,
    teller: Option<&'a Teller<'a>>,
    clock: &'a dyn Clock,
    life: Lifecycle,
}

impl<'a> Web<'a> {
    /// One that serves `monitor`, and tells those who listen to `teller` how it does.
    pub fn new(monitor: Arc<Monitor>, teller: Option<&'a Teller<'a>>, clock: &'a dyn Clock) -> Self {
        Self { monitor, teller, clock, life: Lifecycle::new(clock.now()) }
    }

    /// Listens at the newest `address`, for ever; with `None`, and when nobody will name another, nothing listens.
    pub async fn follow(mut self, mut address: watch::Receiver<Option<SocketAddr>>) -> Infallible {
        loop {
            let now = *address.borrow_and_update();
            let last = tokio::select! {
                never = self.listen(now) => match never {},
                changed = address.changed() => changed.is_err(),
            };
            if last {
                return pending().await;
            }
        }
    }

    async fn listen(&mut self, address: Option<SocketAddr>) -> Infallible {
        let Some(address) = address else {
            self.rest();
            return pending().await;
        };
        self.life = Lifecycle::new(self.clock.now());
        let mut door = self.open(address).await;
        loop {
            let admitted = door.admit().await;
            let complaint = admitted.err().map(|error| format!("a reader was not let in: {error}"));
            self.life.complain(complaint.as_deref(), self.clock.now());
            self.tell();
            if let Some(complaint) = complaint {
                debug!("{complaint}");
                sleep(TURN).await;
            }
        }
    }

    /// Tries until it can be.
    async fn open(&mut self, address: SocketAddr) -> Door {
        loop {
            if self.life.begin(self.clock.now()) {
                match Door::open(Arc::clone(&self.monitor), address).await {
                    Ok(door) => {
                        self.opened();
                        return door;
                    }
                    Err(closed) => self.lose(&closed.to_string()),
                }
            }
            sleep(TURN).await;
        }
    }

    fn opened(&mut self) {
        let (now, failed) = (self.clock.now(), self.life.state() == State::Failed);
        if failed {
            info!("the monitor listens after {:.1} s", now.since(self.life.since()).as_secs_f64());
        }
        self.life.opened(now);
        self.life.delivered(now);
        self.tell();
    }

    fn lose(&mut self, why: &str) {
        let known = self.life.reason() == why;
        let wait = self.life.lost(why, self.clock.now(), fastrand::f64()).as_secs_f64();
        if known {
            debug!("[monitor] {why}; trying again in {wait:.1} s");
        } else {
            warn!("[monitor] {why}; trying again for ever, first in {wait:.1} s");
        }
        self.tell();
    }

    /// Nothing is asked of it any more: what was told of it is taken back.
    fn rest(&mut self) {
        self.monitor.note(|figures, _| figures.forget(Part::Web));
        self.teller.into_iter().for_each(|teller| teller.forget(Part::Web));
    }

    fn tell(&mut self) {
        let clock = self.clock;
        let moment = Moment { now: clock.now(), wall: clock.wall(), synced: clock.synced() };
        let Some(health) = self.life.news(Part::Web, moment) else { return };
        self.monitor.note(|figures, _| figures.health(health.clone()));
        self.teller.into_iter().for_each(|teller| teller.health(health.clone()));
    }
}
