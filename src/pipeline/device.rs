//! A device that is opened beside the analysis, and opened again whenever it is lost.

use std::time::Duration;

use tracing::{debug, info, warn};

use super::hardware::{Handle, Open, Try};
use crate::capture::CaptureError;
use crate::clock::Instant;
use crate::lifecycle::{Lifecycle, State};
use crate::queue::Sense;

/// A device whose opening takes longer has failed, although the try goes on: no thread can be ended from outside.
pub(super) const SLOW: Duration = Duration::from_secs(30);
/// Only a start of the whole program ends a try that takes longer.
pub(super) const HOPELESS: Duration = Duration::from_secs(300);
/// What is told of such a try.
const HANGS: &str = "opening it gives no answer for more than 30 s; a driver or a service below it hangs";

/// A try that is under way for a device that is not wanted any more: no thread can be ended from outside, and what it
/// opens is in the way of the next.
pub(super) struct Leftover {
    trying: Try,
    since: Instant,
}

impl Leftover {
    /// Whether it is over; what it opened is then closed.
    pub fn is_over(&mut self) -> bool {
        (self.trying)().is_some()
    }
}

/// A device with its life; it closes when this is dropped.
pub(super) struct Device {
    sense: Sense,
    pub life: Lifecycle,
    open: Open,
    /// The try of a device in whose place this one is: its own begins when that is over.
    before: Option<Leftover>,
    trying: Option<Try>,
    handle: Option<Handle>,
}

impl Device {
    /// A device that `open` opens.
    pub fn new(sense: Sense, now: Instant, open: Open) -> Self {
        Self { sense, life: Lifecycle::new(now), open, before: None, trying: None, handle: None }
    }

    /// The try that is under way, of a device that is not wanted any more.
    pub fn leave(self, now: Instant) -> Option<Leftover> {
        let since = now - self.life.trying(now);
        self.before.or(self.trying.map(|trying| Leftover { trying, since }))
    }

    /// Takes the place of a device whose try is under way: until it is over that one hangs, or not, as its own would.
    pub fn succeed(&mut self, before: Option<Leftover>) {
        if let Some(Leftover { since, .. }) = &before {
            self.life.tried_since(*since);
        }
        self.before = before;
    }

    /// Whether the try of the device before is over now; what it opened is closed.
    pub fn inherits(&mut self, now: Instant) -> bool {
        let over = self.before.take_if(Leftover::is_over).is_some();
        if over {
            self.life.renew(now);
        }
        over
    }

    /// Tries if a try is due, and takes the result of one that is over; tells whether a try failed.
    ///
    /// # Errors
    /// Its very first try fails, and for what no mere waiting mends: a configuration that is wrong, or that this device
    /// does not fit, or a plug-in that is not installed. It is tried again even so.
    pub fn tend(&mut self, now: Instant) -> Result<bool, CaptureError> {
        if self.trying.is_none() && self.life.begin(now) {
            debug!(device = %self.sense, "is being opened");
            match (self.open)() {
                Ok(trying) => self.trying = Some(trying),
                Err(error) => self.lose(&format!("the system refuses a thread: {error}"), now),
            }
        }
        let Some(opened) = self.trying.as_mut().and_then(|trying| trying()) else {
            self.wait(now);
            return Ok(false);
        };
        self.trying = None;
        match opened {
            Ok(handle) => {
                self.handle = Some(handle);
                self.life.opened(now);
                return Ok(false);
            }
            Err(error) if !error.may_pass() && self.life.state() == State::Starting => {
                self.life.lost(&error.to_string(), now, fastrand::f64());
                return Err(error);
            }
            Err(error) => self.lose(&error.to_string(), now),
        }
        Ok(true)
    }

    /// Tells, once, that a try takes too long.
    fn wait(&mut self, now: Instant) {
        if self.life.trying(now) > SLOW && self.life.reason() != HANGS {
            warn!(device = %self.sense, "{HANGS}");
            self.life.drag(HANGS, now);
        }
    }

    /// Whether a try hangs for so long that nothing here can end it.
    pub fn hangs(&self, now: Instant) -> bool {
        self.life.trying(now) > HOPELESS
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.handle.is_some()
    }

    /// Takes it down completely; it is tried again after a wait.
    pub fn lose(&mut self, why: &str, now: Instant) {
        self.handle = None;
        let known = self.life.state() == State::Failed && self.life.reason() == why;
        let wait = self.life.lost(why, now, fastrand::f64()).as_secs_f64();
        // A device that stays away for months must not fill the journal.
        if known {
            debug!(device = %self.sense, "{why}; trying again in {wait:.1} s");
        } else {
            warn!(device = %self.sense, "{why}; trying again for ever, first in {wait:.1} s");
        }
    }

    /// Takes it down to open it anew at once, for more than it delivers. It does as it did until that fails.
    pub fn renew(&mut self, now: Instant) {
        debug!(device = %self.sense, "is opened anew");
        self.handle = None;
        self.life.renew(now);
    }

    /// Notes that it delivered something.
    pub fn delivered(&mut self, now: Instant) {
        let (was, since) = (self.life.state(), self.life.since());
        self.life.delivered(now);
        if was == State::Failed && self.life.delivers() {
            info!(device = %self.sense, "is back after {:.1} s", now.since(since).as_secs_f64());
        }
    }
}
