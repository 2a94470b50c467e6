//! The daemon: the broker, the monitor and signals on this thread, analysis on one of its own.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, watch};
use tokio::time::interval;
use tracing::{info, warn};

use crate::analysis::Analysis;
use crate::capture::Pace;
use crate::clock::{Clock, Instant};
use crate::config::Config;
use crate::message::{Health, Info, Settings, Wish};
use crate::monitor::Monitor;
use crate::publish::mqtt::{Course, Listener};
use crate::publish::{Former, Name, Teller, mqtt};
use crate::tally::Tally;

use super::disk::Disk;
use super::edited::{LOOK, Watched};
use super::notes::{Notes, notes};
use super::outlet::Outlet;
use super::pictures::{Photographer, develop};
use super::preserve::Preserver;
use super::pulse::Pulse;
use super::reload::Inbox;
use super::remember::{Notebook, restore};
use super::signals::watch_signals;
use super::supervise::run_at;
use super::web::{Ports, Web};
use super::workshop::Idle;
use super::{PipelineError, Reloaded, Stop, Workshop};

/// Why the daemon ended with a failure.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The pipeline gave up.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The operating system refuses a thread or a signal.
    #[error("the system refuses {what}: {error}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// Its words.
        error: io::Error,
    },
    /// Messages were asked for on standard output, and it does not take them.
    #[error("standard output cannot be written: {0}; give it room, or run without --stdout")]
    Output(io::Error),
    /// The analysis thread died of a bug.
    #[error("the analysis thread died; please report this with the log above")]
    Died,
}

/// Runs the daemon until its recording is over or it is told to stop (SIGTERM, SIGINT; a second signal
/// stops at once). On SIGHUP, and when the file `watched` has changed, `read_again` reads the configuration anew. Messages go to
/// the broker and, with `stdout`, to standard output as JSON lines; it ends when nobody reads those any more.
///
/// # Errors
/// The pipeline gave up, standard output is full, or the system refuses a thread or a signal handler.
pub fn serve(
    config: &Config,
    analysis: Analysis,
    clock: &dyn Clock,
    stdout: bool,
    watched: Option<Watched>,
    workshop: Arc<dyn Workshop>,
    read_again: impl Fn() -> Reloaded + Send + 'static,
) -> Result<(), ServeError> {
    let daemon = Daemon::new(config, clock, workshop, stdout)?;
    let (stop, inbox) = (Arc::clone(&daemon.stop), Arc::clone(&daemon.inbox));
    let signals = async { watch_signals(stop, inbox, watched, read_again) };
    daemon.runtime.block_on(signals).map_err(system("signal handlers"))?;
    daemon.run(Pace::of(&config.camera), analysis).map(drop)
}

/// Takes the recording that the configuration names through the whole daemon, publisher and monitor included, as fast as it
/// can: what that costs is to be measured. It follows no signals, and nothing changes meanwhile. Gives when the analysis
/// was over; what it told has reached the broker when this returns.
///
/// # Errors
/// The recording cannot be read to its end, or the system refuses a thread.
pub fn rush(config: &Config, analysis: Analysis, clock: &dyn Clock) -> Result<Instant, ServeError> {
    Daemon::new(config, clock, Arc::new(Idle), false)?.run(Pace::Fast, analysis)
}

fn system(what: &'static str) -> impl Fn(io::Error) -> ServeError {
    move |error| ServeError::System { what, error }
}

/// What runs beside the analysis, and what reaches it from outside.
struct Daemon<'a> {
    config: &'a Config,
    clock: &'a dyn Clock,
    workshop: Arc<dyn Workshop>,
    stdout: bool,
    runtime: Runtime,
    stop: Arc<Stop>,
    inbox: Arc<Inbox>,
}

impl<'a> Daemon<'a> {
    fn new(
        config: &'a Config,
        clock: &'a dyn Clock,
        workshop: Arc<dyn Workshop>,
        stdout: bool,
    ) -> Result<Self, ServeError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(system("an event loop"))?;
        let (stop, inbox) = (Arc::default(), Arc::default());
        Ok(Self { config, clock, workshop, stdout, runtime, stop, inbox })
    }

    /// Runs everything until the analysis is over, and tells when that was.
    fn run(self, pace: Pace, mut analysis: Analysis) -> Result<Instant, ServeError> {
        let Self { config, clock, workshop, stdout, runtime, stop, inbox } = self;
        let number = fastrand::u32(..);
        let layers = restore(config, &mut analysis, workshop.as_ref());
        let merged = layers.merged();
        let about = (Info::new(&merged, analysis.model()), Settings::new(&merged, &layers.wished()));
        let monitor = Arc::new(Monitor::new(about.0.clone()));
        monitor.note(|figures, _| figures.switched(merged.detection.enable));
        let (listens, listened) = watch::channel(config.monitor.listens());
        let (info, settings) = about.clone();
        let (course, set) = watch::channel(Course { config: merged.clone(), info, settings });
        let teller = config.mqtt.enabled.then(|| Teller::new(config, about, number, clock));
        let (teller, notebook) = (teller.as_ref(), Notebook::open(config));
        let former = Former::new(config, notebook.names());
        let disk = teller.map(|teller| Disk::new(teller, Arc::clone(&monitor), clock));
        let disk = disk.as_ref();
        let preserver =
            teller.zip(disk).and_then(|(teller, disk)| Preserver::open(config, teller, disk, clock));
        let (notes, noted) = notes();
        let mailbox =
            Mailbox { inbox: Arc::clone(&inbox), notes: notes.clone(), monitor: Arc::clone(&monitor) };
        let (going, over) = channel();
        let (photographer, shots) = teller.map(|_| Photographer::new(&config.mqtt)).unzip();
        let finished = Arc::new(Notify::new());
        let pulse = Pulse::new("the event loop of broker, monitor and signals", DEADLINE, clock.now());
        thread::scope(|scope| {
            let (inbox_there, watched, captured) = (Arc::clone(&inbox), Arc::clone(&monitor), Instant::ZERO);
            let mut outlet = Outlet {
                clock,
                config: merged,
                teller,
                course,
                monitor: watched,
                listens,
                stdout,
                unwritten: None,
                stop: Arc::clone(&stop),
                inbox: inbox_there,
                gone: Tally::default(),
                workshop: Arc::clone(&workshop),
                notes,
                photographer,
                pulse: &pulse,
                captured,
            };
            let done = Done(Arc::clone(&finished));
            let body = move || {
                let _done = done;
                run_at(pace, number, layers, analysis, clock, &stop, &mut outlet)?;
                let over = clock.now();
                outlet.unwritten.map_or(Ok(over), |error| unread(error).map(|()| over))
            };
            let analysis = spawn(scope, "analysis", body)?;
            if let Some((teller, disk)) = teller.zip(disk) {
                spawn(scope, "settings", move || notebook.write(&noted, teller, clock, &disk.settings))?;
            }
            if let Some((teller, shots)) = teller.zip(shots) {
                spawn(scope, "pictures", move || develop(&shots, teller))?;
            }
            let preserve = preserver.map(|preserver| spawn(scope, "store", move || preserver.run(&over)));
            let preserve = preserve.transpose()?;
            runtime.block_on(async {
                let work = async {
                    match teller {
                        Some(teller) => mqtt::follow(set, teller, former, mailbox, finished).await,
                        None => finished.notified().await,
                    }
                };
                tokio::select! {
                    () = work => {}
                    () = beat(&pulse, disk, clock) => {}
                    never = Web::new(monitor, Ports, teller, clock).follow(listened) => match never {},
                }
            });
            drop(going);
            let kept = preserve.map_or(0, |thread| thread.join().unwrap_or(0));
            teller.iter().for_each(|teller| tell_lost(teller, kept));
            analysis.join().map_err(|_| ServeError::Died)?
        })
    }
}

/// A thread of that name, which ends with the scope.
fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    name: &str,
    body: impl FnOnce() -> T + Send + 'scope,
) -> Result<thread::ScopedJoinHandle<'scope, T>, ServeError> {
    thread::Builder::new().name(name.into()).spawn_scoped(scope, body).map_err(system("a thread"))
}

/// Says at the end what the broker never took, of which `kept` events wait for the next start.
fn tell_lost(teller: &Teller<'_>, kept: usize) {
    let store = teller.outbox().store();
    let (waiting, gave_way) = (store.waiting().saturating_sub(kept), store.dropped());
    if waiting > 0 {
        warn!(messages = waiting, "messages still waited for the broker, and are lost");
    }
    if gave_way > 0 {
        warn!(
            messages = gave_way,
            "messages had given way since the start, or were left out: `missed` told of them"
        );
    }
}

/// What the broker brings, and how the connection does, on its way to those who take it.
struct Mailbox {
    inbox: Arc<Inbox>,
    notes: Notes,
    monitor: Arc<Monitor>,
}

impl Listener for Mailbox {
    fn wish(&self, wish: Wish) {
        self.inbox.wish(wish);
    }

    fn health(&self, health: &Health) {
        self.monitor.health(health);
    }

    fn names(&self, names: Vec<Name>) {
        // The thread that writes it down ends after the publisher.
        self.notes.names(names);
    }
}

/// A turn of the event loop takes milliseconds; one that takes so long never ends.
const DEADLINE: Duration = Duration::from_secs(10);

/// Tells once in a second, for ever, that the event loop turns, and whether the disk answers.
async fn beat(pulse: &Pulse, disk: Option<&Disk<'_>>, clock: &dyn Clock) {
    let mut turns = interval(LOOK);
    loop {
        turns.tick().await;
        pulse.beat(clock.now());
        disk.inspect(|disk| disk.look(clock.now()));
    }
}

/// A reader of standard output that has seen enough is no failure.
fn unread(error: io::Error) -> Result<(), ServeError> {
    if error.kind() != io::ErrorKind::BrokenPipe {
        return Err(ServeError::Output(error));
    }
    info!("nobody reads standard output any more: stopping");
    Ok(())
}

/// Tells that the analysis is over, even if it panicked.
struct Done(Arc<Notify>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}
