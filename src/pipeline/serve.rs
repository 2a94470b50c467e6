//! The daemon: signals and the broker on this thread, analysis on one of its own.

use std::io::{self, Write};
use std::sync::Arc;
use std::thread;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tracing::{info, warn};

use crate::analysis::Analysis;
use crate::clock::Clock;
use crate::config::Config;
use crate::message::Message;
use crate::publish::{Outbox, mqtt};

use super::{Observer, PipelineError, Stop, run};

/// Messages that wait for the broker at most: at ten a second, half a minute.
const OUTBOX: usize = 300;

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
    /// The analysis thread died of a bug.
    #[error("the analysis thread died; please report this with the log above")]
    Died,
}

/// Runs the daemon until its recording is over or it is told to stop (SIGTERM, SIGINT; a second signal
/// stops at once). Messages go to the broker and, with `stdout`, to standard output as JSON lines.
///
/// # Errors
/// The pipeline gave up, or the system refuses a thread or a signal handler.
pub fn serve(config: &Config, analysis: Analysis, clock: &dyn Clock, stdout: bool) -> Result<(), ServeError> {
    let system = |what| move |error| ServeError::System { what, error };
    let runtime = Builder::new_current_thread().enable_all().build().map_err(system("an event loop"))?;
    let stop = Arc::new(Stop::default());
    runtime.block_on(async { watch_signals(Arc::clone(&stop)) }).map_err(system("signal handlers"))?;
    let outbox = Arc::new(Outbox::new(OUTBOX));
    let finished = Arc::new(Notify::new());
    thread::scope(|scope| {
        let mut outlet = Outlet { outbox: config.mqtt.enabled.then(|| Arc::clone(&outbox)), stdout };
        let done = Done(Arc::clone(&finished));
        let body = move || {
            let _done = done;
            run(config, analysis, clock, &stop, &mut outlet)
        };
        let analysis = thread::Builder::new()
            .name("analysis".into())
            .spawn_scoped(scope, body)
            .map_err(system("a thread"))?;
        runtime.block_on(async {
            if config.mqtt.enabled {
                mqtt::run(config, Arc::clone(&outbox), finished).await;
            } else {
                finished.notified().await;
            }
        });
        if outbox.dropped() + outbox.waiting() as u64 > 0 {
            let lost = outbox.dropped() + outbox.waiting() as u64;
            warn!(messages = lost, "messages that the broker never took");
        }
        analysis.join().map_err(|_| ServeError::Died)?.map_err(ServeError::from)
    })
}

/// Tells that the analysis is over, even if it panicked.
struct Done(Arc<Notify>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// Where messages go.
struct Outlet {
    outbox: Option<Arc<Outbox>>,
    stdout: bool,
}

impl Observer for Outlet {
    fn message(&mut self, message: Message) {
        let json = match serde_json::to_vec(&message) {
            Ok(json) => json,
            Err(error) => return warn!("a message could not be written as JSON: {error}"),
        };
        if self.stdout {
            let mut out = io::stdout().lock();
            self.stdout =
                out.write_all(&json).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()).is_ok();
        }
        if let Some(outbox) = &self.outbox {
            outbox.put(json);
        }
    }
}

/// The first signal asks to stop, the second stops at once.
fn watch_signals(stop: Arc<Stop>) -> io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        let mut signals = 0;
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            signals += 1;
            if signals > 1 {
                std::process::exit(130);
            }
            info!("told to stop");
            stop.ask();
        }
    });
    Ok(())
}
