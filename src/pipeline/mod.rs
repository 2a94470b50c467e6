//! Threads, queues and supervision: the only shell.
//!
//! Capture fills a queue from threads of its own; [`run`] empties it on the analysis thread and brings
//! lost devices back, each by the one state machine of [`lifecycle`](crate::lifecycle); [`serve`] puts signals and
//! the broker beside it.

mod device;
mod disk;
mod edited;
mod hardware;
mod layers;
mod live;
mod named;
mod newest;
mod notes;
mod outlet;
mod pictures;
mod preserve;
mod pulse;
mod reload;
mod remember;
mod serve;
mod signals;
mod soundtrack;
mod stop;
mod supervise;
mod throttle;
mod vigil;
mod web;
mod workshop;

pub use edited::Watched;
pub use reload::{Change, Reloaded};
pub use serve::{ServeError, rush, serve};
pub use stop::Stop;
pub use supervise::{Observer, PipelineError, replay, run};
pub use workshop::Workshop;
