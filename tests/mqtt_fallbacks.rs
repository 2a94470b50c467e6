//! Several brokers in order of preference: the next is taken while one is away, the first is gone back to, and none goes on
//! saying that the device is there, or that something sounds, once it is elsewhere.

mod broker;
mod daemon;
mod subscriber;
mod support;

use std::path::PathBuf;

use broker::{Broker, OPEN, free_port, more};
use daemon::{Daemon, Place};
use subscriber::{Subscriber, place};

/// Two brokers with a memory, of which the first is preferred, and the configuration of a device at both.
struct Stage {
    ports: [u16; 2],
    memories: [Place; 2],
    config: PathBuf,
    _place: Place,
}

impl Stage {
    fn new() -> Self {
        let ports = [free_port(), free_port()];
        let (place, config) = place(ports[0]);
        more(&config, &format!("fallbacks = [\"127.0.0.1:{}\"]\nreturn_every = 1", ports[1]));
        Self { ports, memories: [Place::new(), Place::new()], config, _place: place }
    }

    /// Starts a broker, with what it remembers.
    fn broker(&self, number: usize) -> Broker {
        let memory = &self.memories[number];
        let persistent = format!(
            "{OPEN}\nuser root\npersistence true\npersistence_location {}/\nautosave_interval 1\nautosave_on_changes true",
            memory.path("").display()
        );
        Broker::start(memory, self.ports[number], &persistent)
    }
}

/// Who listens at a broker that says the device is there and red sounds.
fn told_of_the_device(port: u16) -> Subscriber {
    let subscriber = Subscriber::start(port);
    subscriber.status("online");
    subscriber.next("state/red", |state| state["state"] == "ON");
    subscriber
}

/// Waits until the broker says that the device is gone and nothing sounds.
fn told_of_its_leave(subscriber: &Subscriber) {
    subscriber.status("offline");
    let off = subscriber.next("state/red", |state| state["state"] == "OFF");
    assert_eq!(off["sources"].as_array().map(Vec::len), Some(0), "{off}");
}

#[test]
fn the_preferred_broker_is_gone_back_to_and_the_other_is_told() {
    let stage = Stage::new();
    let second = stage.broker(1);
    let mut daemon = Daemon::start(&stage.config);
    let there = told_of_the_device(stage.ports[1]);
    let _first = stage.broker(0);
    let here = told_of_the_device(stage.ports[0]);
    daemon.log.find(|line| line.contains("going back"));
    told_of_its_leave(&there);
    daemon.signal("TERM");
    assert!(daemon.end().success());
    here.status("stopped");
    drop(second);
}

#[test]
fn a_broker_that_died_and_comes_back_with_its_memory_says_nothing_of_before() {
    let stage = Stage::new();
    let (first, second) = (stage.broker(0), stage.broker(1));
    let subscriber = Subscriber::start(stage.ports[0]);
    let mut daemon = Daemon::start(&stage.config);
    subscriber.next("state/red", |state| state["state"] == "ON");
    // It goes on at the second one when the first has died, and at the first one when the second has.
    first.stop();
    drop(told_of_the_device(stage.ports[1]));
    second.stop();
    let _first = stage.broker(0);
    let here = Subscriber::start(stage.ports[0]);
    here.status("online");
    let _second = stage.broker(1);
    told_of_its_leave(&Subscriber::start(stage.ports[1]));
    daemon.signal("TERM");
    assert!(daemon.end().success());
}

#[test]
fn what_a_crash_left_open_at_one_broker_is_ended_there_when_the_device_comes_back_to_it() {
    let stage = Stage::new();
    let first = stage.broker(0);
    let subscriber = Subscriber::start(stage.ports[0]);
    let mut daemon = Daemon::start(&stage.config);
    let open = subscriber.event("start")["source"]["id"].clone();
    subscriber.next("state/red", |state| state["sources"].as_array().is_some_and(|all| !all.is_empty()));
    daemon.signal("KILL");
    daemon.end();
    subscriber.status("offline");
    first.stop();
    let _second = stage.broker(1);
    let daemon = Daemon::start(&stage.config);
    daemon.log.find(|line| line.contains("connected to the broker"));
    let _first = stage.broker(0);
    let here = Subscriber::start(stage.ports[0]);
    loop {
        let end = here.event("end");
        if end["source"]["id"] == open {
            break assert_eq!(end["interrupted"], true, "{end}");
        }
    }
}
