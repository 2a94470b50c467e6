//! Faults that no connection reports: a paused broker, a half-open connection, a rival with the same client id.

mod broker;
mod daemon;
mod subscriber;
mod support;
mod wire;

use std::process::{Child, Command, Stdio};

use broker::{Broker, OPEN, free_port, more};
use daemon::Daemon;
use subscriber::{Subscriber, place, works_on};
use wire::Wire;

#[test]
fn a_paused_broker_is_told_everything_when_it_goes_on() {
    let port = free_port();
    let (place, config) = place(port);
    more(&config, "update_every = 0\nkeep_alive = 5");
    let broker = Broker::start(&place, port, OPEN);
    let subscriber = Subscriber::start(port);
    let daemon = Daemon::start(&config);
    subscriber.events(0, 5);
    broker.signal("STOP");
    daemon.log.find(|line| line.contains("no connection to the broker"));
    works_on(&daemon);
    broker.signal("CONT");
    subscriber.events(5, 60);
}

#[test]
fn a_connection_that_a_router_forgot_is_made_anew() {
    let port = free_port();
    let wire = Wire::to(port);
    let (place, config) = place(wire.port);
    more(&config, "update_every = 0\nkeep_alive = 5");
    let _broker = Broker::start(&place, port, OPEN);
    let subscriber = Subscriber::start(port);
    let daemon = Daemon::start(&config);
    subscriber.events(0, 5);
    wire.forget();
    daemon.log.find(|line| line.contains("no connection to the broker"));
    subscriber.events(5, 60);
}

/// A client that takes the daemon's place at the broker; killed when dropped.
struct Rival(Child);

impl Rival {
    fn start(port: u16) -> Self {
        let mut command = Command::new("mosquitto_sub");
        command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-i", "tvsl-test", "-t", "nothing"]);
        Self(
            command
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("mosquitto-clients is installed"),
        )
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_rival_with_the_same_client_id_costs_no_event_and_is_named() {
    let port = free_port();
    let (place, config) = place(port);
    more(&config, "update_every = 0");
    let _broker = Broker::start(&place, port, OPEN);
    let subscriber = Subscriber::start(port);
    let daemon = Daemon::start(&config);
    subscriber.events(0, 5);
    let rival = Rival::start(port);
    daemon.log.find(|line| line.contains("Another client with the client id \"tvsl-test\" would do that"));
    subscriber.next("health/broker", |health| health["state"] == "degraded");
    drop(rival);
    subscriber.events(5, 30);
    subscriber.next("health/broker", |health| health["state"] == "ok");
}
