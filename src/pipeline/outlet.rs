//! What the analysis finds, handed on: to standard output, to the publisher, to the monitor.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::Sender;

use super::pictures::Photographer;
use super::pulse::Pulse;
use super::reload::{Change, Inbox};
use super::remember::Outcome;
use super::{Observer, Stop};
use crate::analysis::Analysed;
use crate::clock::{Clock, Instant};
use crate::config::{Config, Overrides};
use crate::frame::Frame;
use crate::message::{Health, Info, Message, Moment, Settings};
use crate::model::Model;
use crate::monitor::{Monitor, Outgoing, Progress};
use crate::publish::Teller;

/// Where messages go.
pub(super) struct Outlet<'a> {
    pub clock: &'a dyn Clock,
    pub teller: Option<&'a Teller<'a>>,
    pub monitor: Option<Arc<Monitor>>,
    pub stdout: bool,
    /// Why standard output takes nothing any more.
    pub unwritten: Option<io::Error>,
    pub stop: Arc<Stop>,
    pub inbox: Arc<Inbox>,
    pub outcomes: Sender<Outcome>,
    pub photographer: Option<Photographer>,
    /// Of the event loop.
    pub pulse: &'a Pulse,
    /// When the last picture was captured.
    pub captured: Instant,
}

impl Observer for Outlet<'_> {
    fn change(&mut self) -> Option<Change> {
        self.inbox.take()
    }

    fn configured(&mut self, config: &Config, model: &Model, overrides: &Overrides) {
        if let Some(teller) = self.teller {
            teller.configured(Info::new(config, model), Settings::new(config, overrides));
        }
    }

    fn judged(&mut self, key: &str, result: Result<&Overrides, String>) {
        let outcome = Outcome { key: key.into(), result: result.cloned() };
        // The thread that answers ends after this one.
        self.outcomes.send(outcome).ok();
    }

    fn message(&mut self, message: Message) {
        if self.stdout
            && let Err(error) = print(&message)
        {
            (self.stdout, self.unwritten) = (false, Some(error));
            self.stop.ask();
        }
        if let Some(teller) = self.teller {
            teller.message(&message);
        }
        if let Some(monitor) = &self.monitor {
            let after = self.clock.now().since(self.captured);
            monitor.note(|figures, _| figures.published(&message, after));
        }
    }

    fn health(&mut self, health: Health) {
        if let Some(monitor) = &self.monitor {
            monitor.note(|figures, _| figures.health(health.clone()));
        }
        if let Some(teller) = self.teller {
            teller.health(health);
        }
    }

    fn progress(&mut self, progress: Progress) {
        let Some(monitor) = &self.monitor else { return };
        let outgoing = self.teller.map(|teller| {
            let store = teller.outbox().store();
            Outgoing {
                connected: store.is_connected(),
                connections: store.connections(),
                waiting: store.waiting(),
                in_flight: store.in_flight(),
                dropped: store.dropped(),
            }
        });
        monitor.note(|figures, now| figures.turned(progress, outgoing, now));
    }

    fn stuck(&self, now: Instant) -> Option<String> {
        self.pulse.stuck(now)
    }

    fn analysed(&mut self, analysed: &Analysed) {
        self.captured = analysed.captured;
        if let Some(teller) = self.teller {
            teller.analysed(analysed);
        }
        if let Some(monitor) = &self.monitor {
            monitor.note(|figures, now| figures.analysed(analysed, now));
        }
    }

    fn pictured(&mut self, frame: &Frame, analysed: &Analysed, moment: Moment) {
        if let Some(photographer) = &mut self.photographer {
            photographer.see(frame, analysed, moment);
        }
    }
}

/// One line of JSON, at once.
fn print(message: &Message) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, message)?;
    out.write_all(b"\n")?;
    out.flush()
}
