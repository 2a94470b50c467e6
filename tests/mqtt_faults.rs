//! Faults of brokers and links: killed and restarted with and without its state, paused, half-open, stalled, and a rival with
//! the same client id.

mod broker;
mod daemon;
mod subscriber;
mod support;
mod wire;

use std::process::{Child, Command, Stdio};

use broker::{Broker, OPEN, free_port, more};
use daemon::{Daemon, Place};
use subscriber::{Subscriber, finds, place, works_on};
use wire::Wire;

/// Kills the broker after event number `told`, and gives the number of the last event that it told.
fn killed(broker: Broker, subscriber: &Subscriber, daemon: &Daemon, told: u64) -> u64 {
    subscriber.events(0, told);
    drop(broker);
    subscriber.word("away");
    daemon.log.find(|line| line.contains("no connection to the broker"));
    subscriber.so_far(told)
}

/// A broker without a memory in the place of the one before, which the daemon finds once `subscriber` listens.
fn anew(place: &Place, port: u16, subscriber: &Subscriber, daemon: &Daemon) -> Broker {
    daemon.signal("STOP");
    let broker = Broker::start(place, port, OPEN);
    subscriber.word("ready");
    daemon.signal("CONT");
    broker
}

#[test]
fn a_killed_broker_that_comes_back_is_told_everything_that_waited() {
    let port = free_port();
    let (place, config) = place(port);
    more(&config, "update_every = 0");
    let broker = Broker::start(&place, port, OPEN);
    let subscriber = Subscriber::start(port);
    let daemon = Daemon::start(&config);
    let mut last = killed(broker, &subscriber, &daemon, 8);
    works_on(&daemon);
    let _broker = anew(&place, port, &subscriber, &daemon);
    let mut late = 0;
    loop {
        let event = subscriber.next("events", |_| true);
        let number = event["sequence"].as_u64().expect("a number");
        assert!(event["missed"] == 0 && number <= last + 1, "{event} comes right after {last}");
        last = last.max(number);
        if event["late"] == false {
            break;
        }
        late += 1;
    }
    assert!(late > 0, "what waited is late");
}

#[test]
fn what_had_to_give_way_while_the_broker_was_away_is_counted() {
    let port = free_port();
    let (place, config) = place(port);
    more(&config, "update_every = 0\nkeep_events = 64");
    let broker = Broker::start(&place, port, OPEN);
    let subscriber = Subscriber::start(port);
    let daemon = Daemon::start(&config);
    let told = killed(broker, &subscriber, &daemon, 8);
    finds(&daemon, 80); // an event each
    let _broker = anew(&place, port, &subscriber, &daemon);
    let (mut last, mut counted) = (told, 0);
    while last < told + 150 {
        let event = subscriber.next("events", |_| true);
        let [number, missed] = ["sequence", "missed"].map(|key| event[key].as_u64().expect("a number"));
        // One whose acknowledgement was lost may have come and be counted too: never too few.
        assert!(number <= last || missed >= number - last - 1, "{event} comes after {last}");
        (last, counted) = (last.max(number), counted + missed);
    }
    assert!(counted > 0, "80 are more than fit");
}

/// A broker that keeps sessions, subscriptions and messages on its disk.
fn lasting(place: &Place, port: u16) -> Broker {
    let folder = place.0.path().display();
    Broker::start(
        place,
        port,
        &format!("{OPEN}\nuser root\npersistence true\npersistence_location {folder}/"),
    )
}

#[test]
fn a_broker_that_is_restarted_with_its_state_owes_its_subscribers_nothing() {
    let port = free_port();
    let (place, config) = place(port);
    more(&config, "update_every = 0");
    let broker = lasting(&place, port);
    let subscriber = Subscriber::lasting(port);
    let daemon = Daemon::start(&config);
    daemon.log.find(|line| line.contains("connected to the broker"));
    subscriber.events(0, 5);
    broker.stop();
    subscriber.word("away");
    let told = subscriber.so_far(5);
    subscriber.signal("STOP"); // until the broker has kept something for it
    works_on(&daemon);
    let _broker = lasting(&place, port);
    daemon.log.find(|line| line.contains("connected to the broker"));
    works_on(&daemon);
    subscriber.signal("CONT");
    subscriber.events(told, told + 40);
    assert!(!subscriber.has_said("ready"), "the broker knew its session");
}

#[test]
fn what_a_broker_took_and_lost_shows_as_a_jump_that_nothing_explains() {
    let port = free_port();
    let (place, config) = place(port);
    more(&config, "update_every = 0");
    let broker = Broker::start(&place, port, OPEN);
    let sleeper = Subscriber::lasting(port);
    let witness = Subscriber::start(port);
    let daemon = Daemon::start(&config);
    sleeper.events(0, 5);
    let told = sleeper.stop().iter().filter_map(|line| number(line)).max().unwrap_or(5);
    // At most 32 are under way: whatever came right after the last that was told, the broker had acknowledged.
    witness.events(0, told + 40);
    drop(broker);
    daemon.log.find(|line| line.contains("no connection to the broker"));
    daemon.signal("STOP");
    let _broker = Broker::start(&place, port, OPEN);
    let sleeper = Subscriber::lasting(port);
    daemon.signal("CONT");
    let next = sleeper.next("events", |_| true);
    assert!(next["sequence"].as_u64() > Some(told + 1) && next["missed"] == 0, "{next} comes after {told}");
}

/// The number of the event that a line tells of.
fn number(line: &str) -> Option<u64> {
    let event: serde_json::Value =
        serde_json::from_str(line.strip_prefix("tvsl/test/events ")?).expect("JSON");
    event["sequence"].as_u64()
}

#[test]
fn a_link_that_stalls_for_a_while_is_kept_and_nothing_comes_twice() {
    let port = free_port();
    let wire = Wire::to(port);
    let (place, config) = place(wire.port);
    more(&config, "update_every = 0\nkeep_alive = 600");
    let _broker = Broker::start(&place, port, OPEN);
    let subscriber = Subscriber::start(port);
    let daemon = Daemon::start(&config);
    subscriber.events(0, 5);
    wire.stall();
    finds(&daemon, 40); // more than may be under way
    wire.resume();
    assert_eq!(subscriber.events(5, 80), 0);
    assert_eq!(wire.connections(), 1);
}

#[test]
fn a_link_that_stalls_for_long_is_given_up_and_costs_no_event() {
    let port = free_port();
    let wire = Wire::to(port);
    let (place, config) = place(wire.port);
    more(&config, "update_every = 0\nkeep_alive = 5");
    let _broker = Broker::start(&place, port, OPEN);
    let subscriber = Subscriber::start(port);
    let daemon = Daemon::start(&config);
    subscriber.events(0, 5);
    wire.stall();
    daemon.log.find(|line| line.contains("no connection to the broker"));
    works_on(&daemon);
    wire.resume(); // what the connection before had under way arrives after all
    subscriber.events(5, 60);
    assert!(wire.connections() > 1);
}

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
