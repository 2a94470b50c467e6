//! What the daemon tells about itself over HTTP: figures for Prometheus, a status in JSON, and whether it is
//! alive and ready.
//!
//! The analysis notes into [`Figures`], which are plain values; a [`Door`] answers from them, on one small
//! thread's event loop, with a bound on everything that a stranger may send.

mod figures;
mod histogram;
mod host;
mod http;
mod prometheus;
mod status;

use std::sync::{Mutex, PoisonError};

use crate::clock::Instant;
use crate::message::{Health, Info};

pub use figures::{Figures, Outgoing, Progress};
pub use histogram::Histogram;
pub use http::{Closed, Door};

use http::Answer;

/// The figures, shared between the analysis and whoever asks.
#[derive(Debug)]
pub struct Monitor {
    about: Mutex<Info>,
    began: std::time::Instant,
    figures: Mutex<Figures>,
}

impl Monitor {
    /// A monitor of the device that `about` tells of.
    pub fn new(about: Info) -> Self {
        Self {
            about: Mutex::new(about),
            began: std::time::Instant::now(),
            figures: Mutex::new(Figures::new(Instant::ZERO)),
        }
    }

    /// The device is now what `about` tells of.
    pub fn introduce(&self, about: Info) {
        *self.about.lock().unwrap_or_else(PoisonError::into_inner) = about;
    }

    /// Lets `take` take note, with the time since the start.
    pub fn note(&self, take: impl FnOnce(&mut Figures, Instant)) {
        let now = self.now();
        take(&mut self.figures.lock().unwrap_or_else(PoisonError::into_inner), now);
    }

    /// Takes note of how a part does.
    pub fn health(&self, health: &Health) {
        self.note(|figures, _| figures.health(health.clone()));
    }

    /// What does not do as it should, in one line of a few words each; empty if nothing does.
    pub fn ailing(&self) -> String {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).ailing()
    }

    /// What there is to read under `path`.
    fn answer(&self, path: &str) -> Answer {
        let (now, figures) =
            (self.now(), self.figures.lock().unwrap_or_else(PoisonError::into_inner).clone());
        let about = self.about.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match path {
            "/metrics" => Answer::metrics(prometheus::page(&about, &figures, &host::Host::read(), now)),
            "/status" => Answer::json(200, &status::Status::new(&about, &figures, host::Host::read(), now)),
            "/health" => Answer::verdict(figures.alive(now)),
            "/ready" => Answer::verdict(figures.ready(now)),
            _ => Answer::not_found(),
        }
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.began.elapsed()
    }
}
