//! Events that the broker has not taken outlast the daemon: written to disk every few seconds, on a
//! thread of their own, and told again by the next start.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tracing::{info, warn};

use super::disk::Disk;
use crate::clock::Clock;
use crate::config::Config;
use crate::publish::{self, Found, Ledger, Teller};

/// The store on disk, and what was said of it.
pub(super) struct Preserver<'a> {
    ledger: Ledger<publish::Disk>,
    teller: &'a Teller<'a>,
    disk: &'a Disk<'a>,
    clock: &'a dyn Clock,
    every: Duration,
    age: Duration,
    /// Why the disk does not take what it should; `None`: nothing was said yet.
    said: Option<String>,
}

impl<'a> Preserver<'a> {
    /// Opens the configured file; what an earlier run left there waits in `teller` again, and what it left open
    /// is ended. `None` if nothing is to be kept, or nobody says where.
    pub fn open(
        config: &Config,
        teller: &'a Teller<'a>,
        disk: &'a Disk<'a>,
        clock: &'a dyn Clock,
    ) -> Option<Self> {
        let Some(path) = config.store_file() else {
            if config.mqtt.store.enabled {
                warn!("no event outlasts a crash: no file for it is known, set mqtt.store.file");
            }
            return None;
        };
        let store = &config.mqtt.store;
        let (ledger, found) = Ledger::open(publish::Disk::new(path.clone()), store);
        tell(&path, &found);
        teller.resume(found.events);
        let mut preserver =
            Self { ledger, teller, disk, clock, every: store.every, age: store.age, said: None };
        // The ends are written down before they can be told: a crash from now on tells the same ones again.
        preserver.flush();
        Some(preserver)
    }

    /// Writes every so often until `over` is hung up, and then once more; gives how many events are kept for the
    /// next start.
    pub fn run(mut self, over: &Receiver<()>) -> usize {
        while over.recv_timeout(self.every) == Err(RecvTimeoutError::Timeout) {
            self.flush();
        }
        self.flush();
        if !self.ledger.is_empty() {
            info!(
                events = self.ledger.len(),
                "events that the broker never took are kept for the next start"
            );
        }
        self.ledger.len()
    }

    fn flush(&mut self) {
        let oldest = self.clock.wall().checked_sub(self.age).map(|oldest| oldest.as_secs_f64());
        // A clock that was never set knows no age.
        let oldest = oldest.filter(|_| self.clock.synced() != Some(false));
        self.disk.events.beat(self.clock.now());
        let written = self.ledger.flush(self.teller.outbox(), oldest);
        self.disk.events.rest();
        self.say(written.err().map_or_else(String::new, |error| match error.kind() {
            ErrorKind::ResourceBusy => error.to_string(),
            _ => format!("{error}; free some space, or see to the disk"),
        }));
    }

    /// Tells how it went, if that changed.
    fn say(&mut self, why: String) {
        if self.said.as_ref() == Some(&why) {
            return;
        }
        let mut reason = String::new();
        if !why.is_empty() {
            reason = format!("events are kept in memory only: {why}");
            warn!("the store on disk: {reason}");
        } else if self.said.is_some() {
            info!("the store on disk: events are kept there again");
        }
        self.disk.says(reason);
        self.said = Some(why);
    }
}

/// One line of what an earlier run left.
fn tell(path: &Path, found: &Found) {
    let (file, events) = (path.display(), found.events.len());
    if let Some(error) = &found.error {
        warn!("{file}: what an earlier run left cannot be read: {error}");
    } else if found.damaged > 0 {
        let (damaged, torn) = (found.damaged, found.torn);
        warn!(
            events,
            damaged, torn, "{file}: it is damaged; what can be read is told again, bytes are left out"
        );
    } else if found.torn > 0 {
        warn!(events, torn = found.torn, "{file}: a crash left its end half written; the rest is told again");
    } else if events > 0 {
        info!(events, "{file}: events of an earlier run are told again");
    }
}
