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
use subscriber::{Subscriber, finds, place, published, works_on};
use wire::Wire;

/// A daemon that plays red which hums and tells an event for each picture, its broker, and who listens there.
struct Stage {
    subscriber: Subscriber,
    daemon: Daemon,
    broker: Option<Broker>,
    port: u16,
    place: Place,
}

impl Stage {
    /// With `lines` in the section `[mqtt]`.
    fn new(lines: &str) -> Self {
        let port = free_port();
        Self::set(port, port, lines, open, Subscriber::start)
    }

    /// The same with a wire between daemon and broker.
    fn wired(lines: &str) -> (Self, Wire) {
        let port = free_port();
        let wire = Wire::to(port);
        (Self::set(port, wire.port, lines, open, Subscriber::start), wire)
    }

    /// A broker on `port`, which the daemon finds `there`.
    fn set(
        port: u16,
        there: u16,
        lines: &str,
        broker: fn(&Place, u16) -> Broker,
        subscriber: fn(u16) -> Subscriber,
    ) -> Self {
        let (place, config) = place(there);
        more(&config, &format!("update_every = 0\n{lines}"));
        let broker = Some(broker(&place, port));
        let subscriber = subscriber(port);
        Self { subscriber, daemon: Daemon::start(&config), broker, port, place }
    }

    /// Waits until the daemon's log says so.
    fn logs(&self, words: &str) {
        self.daemon.log.find(|line| line.contains(words));
    }

    fn works_on(&self) {
        works_on(&self.daemon);
    }

    fn signal_broker(&self, name: &str) {
        self.broker.as_ref().expect("a broker").signal(name);
    }

    /// Kills the broker after event number `told`, and gives the number of the last event that it told.
    fn kill_broker(&mut self, told: u64) -> u64 {
        self.subscriber.events(0, told);
        drop(self.broker.take());
        self.subscriber.word("away");
        self.logs("no connection to the broker");
        self.subscriber.so_far(told)
    }

    /// A broker without a memory in the place of the one before, which the daemon finds once the subscriber listens.
    fn replace_broker(&mut self) {
        self.daemon.signal("STOP");
        self.broker = Some(open(&self.place, self.port));
        self.subscriber.word("ready");
        self.daemon.signal("CONT");
    }
}

/// A broker that lets everybody in, and forgets.
fn open(place: &Place, port: u16) -> Broker {
    Broker::start(place, port, OPEN)
}

/// A broker that keeps sessions, subscriptions and messages on its disk.
fn lasting(place: &Place, port: u16) -> Broker {
    let folder = place.0.path().display();
    let keeps = format!("{OPEN}\nuser root\npersistence true\npersistence_location {folder}/");
    Broker::start(place, port, &keeps)
}

#[test]
fn a_killed_broker_that_comes_back_is_told_everything_that_waited() {
    let mut stage = Stage::new("");
    let mut last = stage.kill_broker(8);
    stage.works_on();
    stage.replace_broker();
    let mut late = 0;
    loop {
        let event = stage.subscriber.next("events", |_| true);
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
    let mut stage = Stage::new("keep_events = 64");
    let told = stage.kill_broker(8);
    finds(&stage.daemon, 80); // an event each
    stage.replace_broker();
    let (mut last, mut counted) = (told, 0);
    while last < told + 150 {
        let event = stage.subscriber.next("events", |_| true);
        let [number, missed] = ["sequence", "missed"].map(|key| event[key].as_u64().expect("a number"));
        // One whose acknowledgement was lost may have come and be counted too: never too few.
        assert!(number <= last || missed >= number - last - 1, "{event} comes after {last}");
        (last, counted) = (last.max(number), counted + missed);
    }
    assert!(counted > 0, "80 are more than fit");
}

#[test]
fn a_broker_that_is_restarted_with_its_state_owes_its_subscribers_nothing() {
    let port = free_port();
    let mut stage = Stage::set(port, port, "", lasting, Subscriber::lasting);
    stage.logs("connected to the broker");
    stage.subscriber.events(0, 5);
    stage.broker.take().expect("a broker").stop();
    stage.subscriber.word("away");
    let told = stage.subscriber.so_far(5);
    stage.subscriber.signal("STOP"); // until the broker has kept something for it
    stage.works_on();
    stage.broker = Some(lasting(&stage.place, port));
    stage.logs("connected to the broker");
    stage.works_on();
    stage.subscriber.signal("CONT");
    stage.subscriber.events(told, told + 40);
    assert!(!stage.subscriber.has_said("ready"), "the broker knew its session");
}

#[test]
fn what_a_broker_took_and_lost_shows_as_a_jump_that_nothing_explains() {
    let port = free_port();
    let Stage { subscriber: sleeper, daemon, broker, place, .. } =
        Stage::set(port, port, "", open, Subscriber::lasting);
    let witness = Subscriber::start(port);
    sleeper.events(0, 5);
    let told = sleeper.stop().iter().filter_map(|line| number(line)).max().unwrap_or(5);
    // At most 32 are under way: whatever came right after the last that was told, the broker had acknowledged.
    witness.next("events", |event| event["sequence"].as_u64() >= Some(told + 40));
    drop(broker);
    daemon.log.find(|line| line.contains("no connection to the broker"));
    daemon.signal("STOP");
    let _broker = open(&place, port);
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

/// A link that stalls after event number 5, and a device that has found more since than may be under way.
fn stalled() -> (Stage, Wire) {
    let (stage, wire) = Stage::wired("keep_alive = 600");
    stage.subscriber.events(0, 5);
    wire.stall();
    finds(&stage.daemon, 40);
    (stage, wire)
}

#[test]
fn a_link_that_stalls_for_a_while_is_kept_and_nothing_comes_twice() {
    let (stage, wire) = stalled();
    wire.resume();
    assert_eq!(stage.subscriber.events(5, 80), 0);
    assert_eq!(wire.connections(), 1);
}

#[test]
fn what_waits_in_the_device_while_a_link_stalls_is_late() {
    let (stage, wire) = stalled();
    let [waits, put_by] = [(); 2].map(|()| published(&stage.daemon.messages.find(|_| true)));
    stage.daemon.messages.find(|line| published(line) > put_by + 2.5);
    wire.resume();
    let event = stage.subscriber.next("events", |event| event["published"] == waits);
    assert_eq!(event["late"], true, "{event}");
    stage.subscriber.next("events", |event| event["late"] == false);
    assert_eq!(wire.connections(), 1);
}

#[test]
fn a_link_that_stalls_for_long_is_given_up_and_costs_no_event() {
    let (stage, wire) = Stage::wired("keep_alive = 5");
    stage.subscriber.events(0, 5);
    wire.stall();
    stage.logs("no connection to the broker");
    stage.works_on();
    wire.resume(); // what the connection before had under way arrives after all
    stage.subscriber.events(5, 60);
    assert!(wire.connections() > 1);
}

#[test]
fn a_paused_broker_is_told_everything_when_it_goes_on() {
    let stage = Stage::new("keep_alive = 5");
    stage.subscriber.events(0, 5);
    stage.signal_broker("STOP");
    stage.logs("no connection to the broker");
    stage.works_on();
    stage.signal_broker("CONT");
    stage.subscriber.events(5, 60);
}

#[test]
fn a_connection_that_a_router_forgot_is_made_anew() {
    let (stage, wire) = Stage::wired("keep_alive = 5");
    stage.subscriber.events(0, 5);
    wire.forget();
    stage.logs("no connection to the broker");
    stage.subscriber.events(5, 60);
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
    let stage = Stage::new("");
    stage.subscriber.events(0, 5);
    let rival = Rival::start(stage.port);
    stage.logs("Another client with the client id \"tvsl-test\" would do that");
    stage.subscriber.next("health/broker", |health| health["state"] == "degraded");
    drop(rival);
    stage.subscriber.events(5, 30);
    stage.subscriber.next("health/broker", |health| health["state"] == "ok");
}
