//! Whether something sets the wall clock, be it systemd-timesyncd, chrony, ntpd or PTP: the kernel knows, and systemd's
//! timedated asks it for everybody on the system bus. The service's sandbox forbids to ask the kernel itself, for the call
//! that asks is also the one that sets. (dbus-daemon turns the users of `DynamicUser=` away, see systemd's issue 22737; where it is
//! the bus, timesyncd's file is all that the packaged service has.)

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{Builder, sleep};
use std::time::Duration;

use gio::prelude::*;
use gio::{BusType, Cancellable, DBusCallFlags, DBusConnection, DBusConnectionFlags, glib};
use tracing::debug;

const TIMEDATED: &str = "org.freedesktop.timedate1";
/// Longest wait for an answer, milliseconds.
const PATIENCE: i32 = 5000;
/// Time between two questions while nothing sets the clock: timedated, which ends when nobody asks, need not start anew.
const SOON: Duration = Duration::from_secs(15);
/// The same while something does. The kernel takes hours to believe that it no longer does.
const LATER: Duration = Duration::from_secs(15 * 60);

/// What was last told, asked for again and again on a thread of its own for as long as this is held.
#[derive(Debug, Clone)]
pub(super) struct Told(Arc<AtomicU8>);

impl Told {
    /// Begins to ask.
    pub fn ask() -> io::Result<Self> {
        let told = Arc::new(AtomicU8::new(word(None)));
        let answer = Arc::downgrade(&told);
        Builder::new().name("clock".into()).spawn(move || ask_on(&answer))?;
        Ok(Self(told))
    }

    /// Whether the clock is set; `None` if nobody says.
    pub fn answer(&self) -> Option<bool> {
        match self.0.load(Ordering::Relaxed) {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

const fn word(answer: Option<bool>) -> u8 {
    match answer {
        Some(set) => set as u8,
        None => 2,
    }
}

fn ask_on(told: &Weak<AtomicU8>) {
    loop {
        let answer =
            timedated().inspect_err(|error| debug!("nobody tells whether the clock is set: {error}")).ok();
        let Some(told) = told.upgrade() else { return };
        told.store(word(answer), Ordering::Relaxed);
        drop(told);
        sleep(if answer == Some(true) { LATER } else { SOON });
    }
}

/// Asks once, on a connection of its own: the bus may have been started anew.
fn timedated() -> Result<bool, glib::Error> {
    let none = Cancellable::NONE;
    let address = gio::dbus_address_get_for_bus_sync(BusType::System, none)?;
    let flags = DBusConnectionFlags::AUTHENTICATION_CLIENT | DBusConnectionFlags::MESSAGE_BUS_CONNECTION;
    let bus = DBusConnection::for_address_sync(&address, flags, None, none)?;
    let asked = (TIMEDATED, "NTPSynchronized").to_variant();
    let answer = bus.call_sync(
        Some(TIMEDATED),
        "/org/freedesktop/timedate1",
        "org.freedesktop.DBus.Properties",
        "Get",
        Some(&asked),
        Some(glib::VariantTy::new("(v)").expect("a type")),
        DBusCallFlags::NONE,
        PATIENCE,
        none,
    );
    bus.close_sync(none).ok();
    let value = answer?.child_value(0).as_variant().and_then(|value| value.get());
    value.ok_or_else(|| glib::Error::new(gio::IOErrorEnum::InvalidData, "the answer is neither yes nor no"))
}
