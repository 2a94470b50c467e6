//! Stamps say whether the clock is synchronised, whoever sets it: as systemd's timedated tells on the system bus, which asks
//! the kernel. The bus is a real one of the test's own, its timedated is not.

mod daemon;
mod support;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;

use daemon::{Daemon, Place, hum, red};
use gio::prelude::*;
use gio::{BusNameOwnerFlags, Cancellable, DBusConnection, DBusConnectionFlags, DBusNodeInfo, glib};

const TIMEDATED: &str = "<node><interface name='org.freedesktop.timedate1'>\
    <property name='NTPSynchronized' type='b' access='read'/></interface></node>";

/// A bus with a timedated that says so; both end when this is dropped.
struct Bus {
    process: Child,
    address: String,
    timedated: Option<(glib::MainLoop, JoinHandle<()>)>,
}

impl Bus {
    fn start(place: &Place, synchronised: Option<bool>) -> Self {
        let listen = format!("--address=unix:path={}", place.path("bus").display());
        let mut bus = Command::new("dbus-daemon");
        bus.args(["--session", "--nofork", "--print-address"]).arg(listen);
        let mut process = bus.stdout(Stdio::piped()).spawn().expect("dbus is installed: `make setup-test`");
        let mut address = String::new();
        let told = process.stdout.take().expect("its output");
        BufReader::new(told).read_line(&mut address).expect("its address");
        let address = address.trim().to_owned();
        let timedated = synchronised.map(|synchronised| timedated(&address, synchronised));
        Self { process, address, timedated }
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        // It is gone before its bus is, whose end it could not bear.
        if let Some((running, thread)) = self.timedated.take() {
            running.quit();
            thread.join().ok();
        }
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Answers on the bus, on a thread of its own, from when this returns on.
fn timedated(address: &str, synchronised: bool) -> (glib::MainLoop, JoinHandle<()>) {
    let (address, (there, ready)) = (address.to_owned(), channel());
    let thread = std::thread::spawn(move || {
        let context = glib::MainContext::new();
        let answer = || {
            let running = glib::MainLoop::new(Some(&context), false);
            let flags =
                DBusConnectionFlags::AUTHENTICATION_CLIENT | DBusConnectionFlags::MESSAGE_BUS_CONNECTION;
            let bus = DBusConnection::for_address_sync(&address, flags, None, Cancellable::NONE);
            let bus = bus.expect("a bus");
            let node = DBusNodeInfo::for_xml(TIMEDATED).expect("an interface");
            let interface = node.lookup_interface("org.freedesktop.timedate1").expect("it is there");
            let object = bus.register_object("/org/freedesktop/timedate1", &interface);
            let object = object.property(move |_, _, _, _, _| synchronised.to_variant());
            object.build().expect("an object");
            let (there, run) = (there.clone(), running.clone());
            gio::bus_own_name_on_connection(
                &bus,
                "org.freedesktop.timedate1",
                BusNameOwnerFlags::NONE,
                move |_, _| there.send(run.clone()).expect("somebody waits"),
                |_, _| {},
            );
            running.run();
        };
        context.with_thread_default(answer).expect("a context of its own");
    });
    (ready.recv().expect("it answers"), thread)
}

/// Three seconds of red that hum.
fn clip(place: &Place) -> PathBuf {
    let clip = place.path("clip.mkv");
    let streams = format!("{} ! queue ! m. {} ! queue ! m.", red(3), hum(3));
    support::make(&format!("{streams} matroskamux name=m ! filesink"), &clip);
    clip
}

#[test]
fn a_clock_is_synchronised_by_whatever_sets_it() {
    let place = Place::new();
    let clip = clip(&place);
    for (synchronised, told) in
        [(Some(true), "\"clock_synced\":true"), (Some(false), "\"clock_synced\":false")]
    {
        let bus = Bus::start(&place, synchronised);
        let config = place.plays(&clip, "[mqtt]\nenabled = false\n");
        let daemon = Daemon::start_with(&config, &[("DBUS_SYSTEM_BUS_ADDRESS", &bus.address)]);
        daemon.messages.find(|line| line.contains(told));
        // A bus that goes away ends nothing.
        drop(bus);
        daemon.messages.find(|line| line.contains(told));
    }
}

#[test]
fn nobody_tells_where_no_timedated_is() {
    let place = Place::new();
    let clip = clip(&place);
    let bus = Bus::start(&place, None);
    let config = place.plays(&clip, "[mqtt]\nenabled = false\n");
    let environment = [("DBUS_SYSTEM_BUS_ADDRESS", bus.address.as_str()), ("TVSL_LOG", "debug")];
    let daemon = Daemon::start_with(&config, &environment);
    daemon.log.find(|line| line.contains("nobody tells whether the clock is set"));
    daemon.messages.find(|line| line.contains("\"red\""));
}
