//! What the system tells the daemon: to stop, to read its configuration again, and that the file has changed.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant as Moment};

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};
use tracing::info;

use super::edited::{Edit, Edited, LOOK, Mark, Watched};
use super::reload::{Inbox, Reloaded};
use super::stop::Stop;

/// What is told of a configuration file that is away.
fn gone(file: &Path) -> String {
    format!("{}: there is no such file any more; put it back before the next start", file.display())
}

/// A second signal to stop so soon after the first is the same wish: a terminal and a supervisor may both tell it.
const IMPATIENT: Duration = Duration::from_secs(1);

/// SIGHUP, or a change of the file, reads the configuration again. The first SIGTERM or SIGINT asks to stop, a later one stops at once.
pub(super) fn watch_signals(
    stop: Arc<Stop>,
    inbox: Arc<Inbox>,
    watched: Option<Watched>,
    read_again: impl Fn() -> Reloaded + Send + 'static,
) -> io::Result<()> {
    let mut hang_up = signal(SignalKind::hangup())?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (file, before) = watched.map(|Watched { file, mark }| (file, mark)).unzip();
    let there = file.clone();
    let mark = move || there.as_deref().and_then(Mark::of);
    // Without it the next place would be looked at, and the defaults at last: nobody asked for those.
    let read_again = move || match &file {
        Some(file) if Mark::of(file).is_none() => Err(gone(file)),
        _ => read_again(),
    };
    let mut edited = Edited::default();
    edited.read(before.flatten());
    tokio::spawn(async move {
        let (mut asked, mut looks) = (None::<Moment>, interval(LOOK));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hang_up.recv() => {
                    edited.read(mark());
                    inbox.put(read_again());
                    continue;
                }
                _ = looks.tick() => {
                    if let Some(edit) = edited.look(mark()) {
                        info!("the configuration file {}", if edit == Edit::Changed { "has changed" } else { "is gone" });
                        inbox.put(read_again());
                    }
                    continue;
                }
            }
            match asked {
                Some(first) if first.elapsed() > IMPATIENT => std::process::exit(130),
                Some(_) => {}
                None => {
                    info!("told to stop");
                    stop.ask();
                    asked = Some(Moment::now());
                }
            }
        }
    });
    Ok(())
}
