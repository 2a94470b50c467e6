//! How the connection does: its life, from try to try, as it is told and logged.

use std::time::Duration;

use tracing::{debug, info, warn};

use super::Publisher;
use super::link::GOOD;
use crate::config::Address;
use crate::message::Part;

impl Publisher<'_> {
    /// A try begins.
    pub(super) fn begin(&mut self) {
        self.life.begin(self.teller.now());
        self.tell();
    }

    /// The broker took this client and answers it; `flaw`: what is wrong with the connection. Everything that holds is told
    /// anew.
    pub(super) fn opened(&mut self, broker: &Address, flaw: Option<&str>) {
        if self.rival().is_none() {
            info!(%broker, "connected to the broker");
            self.said.clear();
        }
        let now = self.teller.now();
        self.life.opened(now);
        self.life.delivered(now);
        self.life.complain(flaw, now);
        self.tell();
        self.teller.connected();
    }

    /// Whether the connection that is lost was a good one: the next wait is a short one again.
    pub(super) fn was_good(&mut self) -> bool {
        let now = self.teller.now();
        let good = self.life.lasted(now) >= GOOD;
        if good {
            self.life.delivered(now);
        }
        good
    }

    /// There is no connection to `broker`; gives the wait before the next try: none if there is `another` broker to try.
    pub(super) fn lose(&mut self, broker: &Address, why: String, another: bool) -> Duration {
        let (now, reason) = (self.teller.now(), format!("{broker}: {why}"));
        let wait = if another {
            self.life.falls_back(&reason, now);
            Duration::ZERO
        } else {
            self.life.lost(&reason, now, fastrand::f64())
        };
        self.tell();
        self.complain(broker, why, wait);
        wait
    }

    /// The connection to `broker` is given up for one that is `preferred`; gives the wait, which there is none of.
    pub(super) fn leave(&mut self, broker: &Address, preferred: &Address) -> Duration {
        info!("{preferred} is preferred to {broker}, and takes this client again: going back");
        if self.was_good() {
            self.evictions = 0;
        }
        self.life.falls_back(&format!("going back to {preferred}"), self.teller.now());
        self.tell();
        Duration::ZERO
    }

    /// Tells how the connection does, if that is new.
    pub(super) fn tell(&mut self) {
        let Some(health) = self.life.news(Part::Broker, self.teller.moment()) else { return };
        self.listener.health(&health);
        self.teller.health(health);
    }

    /// Tells why there is no connection: each reason once as a warning, its repetitions quietly.
    fn complain(&mut self, broker: &Address, why: String, wait: Duration) {
        let (name, seconds) = (broker.to_string(), wait.as_secs_f64());
        if self.said.get(&name) == Some(&why) {
            debug!(%broker, "still no connection: {why}; trying again in {seconds:.1} s");
        } else {
            warn!(%broker, "no connection to the broker: {why}; trying again for ever, first in {seconds:.1} s");
            self.said.insert(name, why);
        }
    }
}
