//! Messages out to subscribers; never in the way of analysis.
//!
//! Analysis hands what it finds to a [`Teller`], which puts it as reports into an [`Outbox`] and never
//! waits; [`mqtt`] takes it from there as fast as the broker acknowledges it. If asked for, a [`Ledger`] keeps
//! the events among them on disk meanwhile.

mod former;
mod home_assistant;
mod ledger;
pub mod mqtt;
mod outbox;
mod store;
pub(crate) mod teller;

pub use former::{Former, Name};
pub use ledger::{Disk, Found, Ledger, Medium};
pub use outbox::Outbox;
pub use store::{Store, Ticket};
pub use teller::Teller;
