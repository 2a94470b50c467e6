//! The monitor as a part of the device: it listens where the configuration says, is tried again for ever while it
//! cannot, and tells how it does.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use crate::clock::Clock;
use crate::lifecycle::{Lifecycle, State};
use crate::message::{Moment, Part};
use crate::monitor::{Closed, Door, Monitor};
use crate::publish::Teller;

/// Time between two looks whether a try is due, and the rest after a connection that was not taken.
const TURN: Duration = Duration::from_millis(100);

/// Where readers can come in.
pub(super) trait Doors {
    /// A door that is open.
    type Open;

    /// Opens the door to `monitor` at `address`.
    async fn open(&self, monitor: &Arc<Monitor>, address: SocketAddr) -> Result<Self::Open, Closed>;

    /// Lets the next reader in.
    async fn admit(&self, door: &mut Self::Open) -> io::Result<()>;
}

/// The ports of this machine.
pub(super) struct Ports;

impl Doors for Ports {
    type Open = Door;

    async fn open(&self, monitor: &Arc<Monitor>, address: SocketAddr) -> Result<Door, Closed> {
        Door::open(Arc::clone(monitor), address).await
    }

    async fn admit(&self, door: &mut Door) -> io::Result<()> {
        door.admit().await
    }
}

/// What serves the figures.
pub(super) struct Web<'a, D> {
    monitor: Arc<Monitor>,
    doors: D,
    teller: Option<&'a Teller<'a>>,
    clock: &'a dyn Clock,
    life: Lifecycle,
}

impl<'a, D: Doors> Web<'a, D> {
    /// One that serves `monitor` at one of these `doors`, and tells those who listen to `teller` how it does.
    pub fn new(
        monitor: Arc<Monitor>,
        doors: D,
        teller: Option<&'a Teller<'a>>,
        clock: &'a dyn Clock,
    ) -> Self {
        Self { monitor, doors, teller, clock, life: Lifecycle::new(clock.now()) }
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
        self.tell();
        let mut door = self.open(address).await;
        loop {
            let admitted = self.doors.admit(&mut door).await;
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
    async fn open(&mut self, address: SocketAddr) -> D::Open {
        loop {
            if self.life.begin(self.clock.now()) {
                match self.doors.open(&self.monitor, address).await {
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
        let Some(health) = self.life.news(Part::Web, Moment::of(self.clock)) else { return };
        self.monitor.health(&health);
        self.teller.into_iter().for_each(|teller| teller.health(health.clone()));
    }
}

#[cfg(test)]
mod tests;
