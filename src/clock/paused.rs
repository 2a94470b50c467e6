//! Simulated time for what waits on the event loop: tokio's clock, which stands still while anything is done and jumps to
//! the next thing that is waited for.

use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time;

use super::{Clock, Instant};

/// What the wall clock shows at the start, Unix seconds.
const TODAY: Duration = Duration::from_secs(1_800_000_000);

/// Both clocks, from when it was made.
pub(crate) struct Paused(time::Instant);

impl Paused {
    pub(crate) fn new() -> Self {
        Self(time::Instant::now())
    }
}

impl Clock for Paused {
    fn now(&self) -> Instant {
        Instant::ZERO + self.0.elapsed()
    }

    fn wall(&self) -> Duration {
        TODAY + self.0.elapsed()
    }
}

/// Does `what` in simulated time.
pub(crate) fn play<F: Future>(what: F) -> F::Output {
    let event_loop = Builder::new_current_thread().enable_time().start_paused(true).build();
    event_loop.expect("an event loop").block_on(what)
}
