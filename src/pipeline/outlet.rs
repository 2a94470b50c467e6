//! What the analysis finds, handed on: to standard output, to the publisher, to the monitor.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;
use tracing::warn;

use super::notes::Notes;
use super::pictures::Photographer;
use super::pulse::Pulse;
use super::reload::{Change, Changes, Inbox};
use super::{Observer, Stop, Workshop};
use crate::analysis::Analysed;
use crate::clock::{Clock, Instant};
use crate::config::{Config, Overrides};
use crate::frame::Frame;
use crate::message::{Health, Info, Message, Moment, Settings, Wish};
use crate::model::Model;
use crate::monitor::{Monitor, Outgoing, Progress};
use crate::publish::Teller;
use crate::publish::mqtt::Course;
use crate::tally::Tally;

/// Where messages go.
pub(super) struct Outlet<'a> {
    pub clock: &'a dyn Clock,
    /// What is in force.
    pub config: Config,
    pub teller: Option<&'a Teller<'a>>,
    /// How the publisher is to tell it.
    pub course: watch::Sender<Course>,
    pub monitor: Arc<Monitor>,
    /// Where the monitor is to listen.
    pub listens: watch::Sender<Option<SocketAddr>>,
    pub stdout: bool,
    /// Why standard output takes nothing any more.
    pub unwritten: Option<io::Error>,
    pub stop: Arc<Stop>,
    pub inbox: Arc<Inbox>,
    /// Wishes that gave way to newer ones.
    pub gone: Tally,
    /// Makes what changes need.
    pub workshop: Arc<dyn Workshop>,
    /// What is to be written down.
    pub notes: Notes,
    pub photographer: Option<Photographer>,
    /// Of the event loop.
    pub pulse: &'a Pulse,
    /// When the last picture was captured.
    pub captured: Instant,
}

impl Observer for Outlet<'_> {
    fn switch(&mut self) -> Option<Wish> {
        self.inbox.switch()
    }

    fn change(&mut self) -> Option<Change> {
        self.gone.count(self.inbox.gone());
        if let Some(wishes) = self.gone.due(self.clock.now()) {
            warn!(
                wishes,
                "too many wishes over MQTT at once: the oldest of a setting give way, and are not answered"
            );
        }
        self.inbox.take()
    }

    fn workshop(&self) -> Option<Arc<dyn Workshop>> {
        Some(Arc::clone(&self.workshop))
    }

    fn configured(&mut self, config: &Config, model: &Model, overrides: &Overrides) {
        let changes = Changes::between(&self.config, config);
        self.config = config.clone();
        let (info, settings) = (Info::new(config, model), Settings::new(config, overrides));
        self.monitor.introduce(info.clone());
        self.monitor.note(|figures, _| figures.switched(config.detection.enable));
        if changes.monitor {
            self.listens.send_replace(config.monitor.listens());
        }
        if changes.log {
            self.workshop.log(&config.log);
        }
        self.photographer.iter_mut().for_each(|photographer| photographer.configure(&config.mqtt));
        let Some(teller) = self.teller else { return };
        teller.paced(&config.mqtt);
        let course = Course { config: config.clone(), info: info.clone(), settings: settings.clone() };
        // Before the goodbye under the old name nothing is told of the new one. Without one, the next takes this along.
        if changes.publisher {
            teller.moves();
        } else {
            teller.configured(info, settings);
        }
        self.course.send_if_modified(|now| {
            *now = course;
            changes.publisher
        });
    }

    fn judged(&mut self, key: &str, result: Result<&Overrides, String>) {
        self.notes.judged(key, result);
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
        let after = self.clock.now().since(self.captured);
        self.monitor.note(|figures, _| figures.published(&message, after));
    }

    fn health(&mut self, health: Health) {
        self.monitor.health(&health);
        if let Some(teller) = self.teller {
            teller.health(health);
        }
    }

    fn progress(&mut self, progress: Progress) {
        let outgoing = self.teller.map(|teller| {
            let store = teller.outbox().store();
            Outgoing {
                connected: store.is_connected(),
                connections: store.connections(),
                waiting: store.waiting(),
                in_flight: store.in_flight(),
                dropped: store.dropped(),
                refused: store.refused(),
            }
        });
        self.monitor.note(|figures, now| figures.turned(progress, outgoing, now));
    }

    fn stuck(&self, now: Instant) -> Option<String> {
        self.pulse.stuck(now)
    }

    fn ailing(&self) -> String {
        self.monitor.ailing()
    }

    fn analysed(&mut self, analysed: &Analysed) {
        self.captured = analysed.captured;
        if let Some(teller) = self.teller {
            teller.analysed(analysed);
        }
        self.monitor.note(|figures, now| figures.analysed(analysed, now));
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
