//! Ctrl-C and SIGTERM as a wish to stop, for commands that have something to leave whole or to put away.

use std::sync::Arc;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use crate::pipeline::Stop;

/// From now on a hang-up, which asks for a reload, ends nothing before the daemon listens to it: the file is being read anyway.
pub(super) fn outlast_hangup() -> Result<(), Failure> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Failure::failed)?;
    // The handler stays when the listener goes.
    runtime.block_on(async { signal(SignalKind::hangup()).map(drop) }).map_err(Failure::failed)
}

/// Asks `stop` at the first SIGINT or SIGTERM; from now on neither ends the program by itself.
pub(super) fn ask(stop: Arc<Stop>) -> Result<(), Failure> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Failure::failed)?;
    let listen = async { Ok((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)) };
    let (mut interrupt, mut terminate) =
        runtime.block_on(listen).map_err(|error: std::io::Error| Failure::failed(error))?;
    let listener = std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        });
        stop.ask();
    });
    listener.map(drop).map_err(Failure::failed)
}
