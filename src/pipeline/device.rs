//! A device that is opened beside the analysis, and opened again whenever it is lost.

use std::io;
use std::thread::{Builder, JoinHandle};

use tracing::{debug, info, warn};

use super::lifecycle::{Lifecycle, State};
use crate::capture::CaptureError;
use crate::clock::Instant;
use crate::queue::Sense;

type Opened<T> = Result<T, CaptureError>;
type Open<T> = dyn Fn() -> io::Result<JoinHandle<Opened<T>>>;

/// A device with its life; it closes when this is dropped.
pub(super) struct Device<T> {
    sense: Sense,
    pub life: Lifecycle,
    open: Box<Open<T>>,
    trying: Option<JoinHandle<Opened<T>>>,
    handle: Option<T>,
}

impl<T: Send + 'static> Device<T> {
    /// A device that `open` opens, each time on a thread of its own: a camera may take seconds.
    pub fn new(sense: Sense, now: Instant, open: impl Fn() -> Opened<T> + Clone + Send + 'static) -> Self {
        let name = format!("{sense}-open");
        let open = move || Builder::new().name(name.clone()).spawn(open.clone());
        Self { sense, life: Lifecycle::new(now), open: Box::new(open), trying: None, handle: None }
    }

    /// Tries if a try is due, and takes the result of one that is over; tells whether a try failed.
    ///
    /// # Errors
    /// Its very first try fails, and for what no waiting mends, such as a missing plug-in. It is tried again even so.
    pub fn tend(&mut self, now: Instant) -> Result<bool, CaptureError> {
        if self.life.begin(now) {
            debug!(device = %self.sense, "is being opened");
            match (self.open)() {
                Ok(trying) => self.trying = Some(trying),
                Err(error) => self.lose(&format!("the system refuses a thread: {error}"), now),
            }
        }
        let Some(trying) = self.trying.take_if(|trying| trying.is_finished()) else { return Ok(false) };
        match trying.join() {
            Ok(Ok(handle)) => {
                self.handle = Some(handle);
                self.life.opened(now);
                return Ok(false);
            }
            Ok(Err(error)) if !error.may_pass() && self.life.state() == State::Starting => {
                self.life.lost(&error.to_string(), now, fastrand::f64());
                return Err(error);
            }
            Ok(Err(error)) => self.lose(&error.to_string(), now),
            Err(_) => self.lose("opening it failed by a bug; please report this with the log above", now),
        }
        Ok(true)
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

    /// Notes that it delivered something.
    pub fn delivered(&mut self, now: Instant) {
        let (was, since) = (self.life.state(), self.life.since());
        self.life.delivered(now);
        if was == State::Failed && self.life.delivers() {
            info!(device = %self.sense, "is back after {:.1} s", now.since(since).as_secs_f64());
        }
    }
}
