//! Messages out to subscribers; never in the way of analysis.
//!
//! Analysis puts what it has to tell into an [`Outbox`], which never waits; [`mqtt`] takes it from
//! there as fast as the broker accepts it.

mod backoff;
pub mod mqtt;
mod outbox;

pub use backoff::Backoff;
pub use outbox::Outbox;
