//! A real mosquitto for a test.
#![allow(dead_code, reason = "every test file uses its own part of it")]

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::daemon::{self, PATIENCE, Place};

/// A mosquitto; killed when dropped.
pub struct Broker(Child);

impl Broker {
    pub fn start(place: &Place, port: u16, settings: &str) -> Self {
        let file = place.path("mosquitto.conf");
        std::fs::write(&file, format!("listener {port} 127.0.0.1\n{settings}\n")).expect("room for a file");
        let path = format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(&file).env("PATH", path).stdout(Stdio::null()).stderr(Stdio::null());
        let broker = Self(command.spawn().expect("mosquitto is installed: `make setup-test`"));
        let began = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(began.elapsed() < PATIENCE, "mosquitto does not start");
            std::thread::yield_now();
        }
        broker
    }
}

impl Broker {
    /// Sends a signal by name, such as `STOP`.
    pub fn signal(&self, name: &str) {
        daemon::send(&self.0, name);
    }

    /// Stops it as a system does; with persistence it writes its state before.
    pub fn stop(mut self) {
        self.signal("TERM");
        let _ = self.0.wait();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Settings of a broker that lets everybody in.
pub const OPEN: &str = "allow_anonymous true";

pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|s| s.local_addr()).expect("a free port").port()
}

/// Adds lines to the section `[mqtt]`, which is the last.
pub fn more(config: &Path, lines: &str) {
    let text = std::fs::read_to_string(config).expect("a file");
    std::fs::write(config, format!("{text}{lines}\n")).expect("room for a file");
}
