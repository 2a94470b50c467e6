//! Independent clients of the broker, and a daemon's place that plays something for them to be told.
#![allow(dead_code, reason = "every test file uses its own part of it")]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::UNIX_EPOCH;

use serde_json::Value;

use crate::daemon::{self, Daemon, Lines, Place};
use crate::support;

/// An independent client, which prints `topic payload` lines; killed when dropped.
pub struct Subscriber {
    process: Child,
    pub lines: Lines,
    /// Lines of topics that nobody asked for yet.
    seen: RefCell<VecDeque<String>>,
}

impl Subscriber {
    /// Python's client, which holds every message to the published schemas.
    pub fn start(port: u16) -> Self {
        let mut command = Command::new("/usr/bin/python3"); // the system's, which has its packages
        command.args(["tests/data/listener.py", &port.to_string(), "docs/contract"]);
        let subscriber = Self::of(command);
        subscriber.lines.find(|line| line == "ready");
        subscriber
    }

    /// The same for every device, with a session that outlasts connections, which it makes again for ever.
    pub fn lasting(port: u16) -> Self {
        let mut command = Command::new("/usr/bin/python3");
        command.args(["tests/data/listener.py", &port.to_string(), "docs/contract", "tvsl/+/#", "lasting"]);
        let subscriber = Self::of(command);
        subscriber.lines.find(|line| line == "ready");
        subscriber
    }

    /// The same at the centre of a fleet, where a site's bridge brings everything.
    pub fn at_centre(port: u16) -> Self {
        let mut command = Command::new("/usr/bin/python3");
        let arguments = ["docs/contract", "tvsl/test/#", "", "bridged"];
        command.args(["tests/data/listener.py", &port.to_string()]).args(arguments);
        let subscriber = Self::of(command);
        subscriber.word("ready");
        subscriber
    }

    /// A subscriber to one topic outside of the device's.
    pub fn watching(port: u16, topic: &str) -> Self {
        Self::to(Command::new("mosquitto_sub"), port, topic)
    }

    /// The same, which the broker has taken; what it says of itself is among its lines.
    pub fn attending(port: u16, topic: &str) -> Self {
        let mut command = Command::new("stdbuf");
        command.args(["-oL", "mosquitto_sub", "-d"]);
        Self::to(command, port, topic).subscribed()
    }

    /// Home Assistant in small, which takes discovery by its published rules.
    pub fn home_assistant(port: u16) -> Self {
        let mut command = Command::new("/usr/bin/python3");
        command.args(["tests/data/home_assistant.py", &port.to_string()]);
        let home = Self::of(command);
        home.lines.find(|line| line == "ready");
        home
    }

    /// Waits for each of these lines, whatever their order.
    pub fn says(&self, lines: &[&str]) {
        let mut awaited = lines.to_vec();
        while !awaited.is_empty() {
            let line = self.lines.find(|_| true);
            assert!(!line.starts_with("invalid "), "{line}");
            awaited.retain(|awaited| *awaited != line);
        }
    }

    /// Mosquitto's own client.
    pub fn mosquitto(port: u16) -> Self {
        Self::watching(port, "tvsl/test/#")
    }

    /// One of several clients that share the events of every device, as docs/fleet.md has it.
    pub fn worker(port: u16, id: &str) -> Self {
        let mut command = Command::new("stdbuf");
        command.env("XDG_CONFIG_HOME", "docs/fleet/cluster"); // where the shipped `mosquitto_sub` lies
        command.args([
            "-oL",
            "mosquitto_sub",
            "-i",
            id,
            "-h",
            "127.0.0.1",
            "-p",
            &port.to_string(),
            "-v",
            "-d",
        ]);
        Self::of(command)
    }

    /// Waits until it says a word of its own: `ready`, or `away` when it has read all that came over a connection that
    /// broke. What it is told before that waits its turn.
    pub fn word(&self, word: &str) {
        let mut seen = self.seen.borrow_mut();
        if let Some(place) = seen.iter().position(|line| line == word) {
            seen.remove(place);
            return;
        }
        self.lines.find(|line| {
            assert!(!line.starts_with("invalid "), "{line}");
            let said = line == word;
            if !said {
                seen.push_back(line.into());
            }
            said
        });
    }

    /// Whether it has said this word, and nobody asked for it.
    pub fn has_said(&self, word: &str) -> bool {
        self.seen.borrow().iter().any(|line| line == word)
    }

    /// Reads the events after number `told` that have come already, none missing; gives the number of the last.
    pub fn so_far(&self, mut told: u64) -> u64 {
        self.seen.borrow_mut().retain(|line| {
            let Some(payload) = line.strip_prefix("tvsl/test/events ") else { return true };
            let event: Value = serde_json::from_str(payload).expect("JSON");
            let number = event["sequence"].as_u64().expect("a number");
            assert!(number <= told + 1, "{number} comes right after {told}");
            told = told.max(number);
            false
        });
        told
    }

    /// Sends a signal by name, such as `STOP`.
    pub fn signal(&self, name: &str) {
        daemon::send(&self.process, name);
    }

    /// Waits until a new session has its subscription; one that was kept may have messages before that.
    pub fn subscribed(self) -> Self {
        self.lines.find(|line| line.contains("Subscribed"));
        self
    }

    /// Mosquitto's own client, as `command` starts it.
    fn to(mut command: Command, port: u16, topic: &str) -> Self {
        command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q", "1", "-v", "-t", topic]);
        Self::of(command)
    }

    fn of(mut command: Command) -> Self {
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("clients are installed: `make setup-test`");
        let lines = Lines::of(process.stdout.take().expect("its output"));
        Self { process, lines, seen: RefCell::default() }
    }

    pub fn status(&self, word: &str) {
        self.payload("status", |payload| payload == word);
    }

    pub fn detections(&self) -> Value {
        self.next("detections", |_| true)
    }

    /// The next message of a topic that `wanted` holds for.
    pub fn next(&self, topic: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let read = |payload: &str| serde_json::from_str::<Value>(payload).expect("JSON");
        read(&self.payload(topic, |payload| wanted(&read(payload))))
    }

    /// The next payload of a topic that `wanted` holds for; those of other topics wait their turn.
    pub fn payload(&self, topic: &str, wanted: impl Fn(&str) -> bool) -> String {
        let topic = format!("tvsl/test/{topic} ");
        let mut seen = self.seen.borrow_mut();
        while let Some(place) = seen.iter().position(|line| line.starts_with(&topic)) {
            let line = seen.remove(place).expect("a line");
            if wanted(&line[topic.len()..]) {
                return line[topic.len()..].into();
            }
        }
        self.lines.find(|line| {
            assert!(!line.starts_with("invalid "), "{line}");
            match line.strip_prefix(&topic) {
                Some(payload) => wanted(payload),
                None => {
                    seen.push_back(line.into());
                    false
                }
            }
        })[topic.len()..]
            .into()
    }

    /// Reads events after number `told` up to number `enough`: none may be missing, and known ones may come again.
    /// Gives how many did.
    pub fn events(&self, mut told: u64, enough: u64) -> u64 {
        let mut again = 0;
        while told < enough {
            let event = self.next("events", |_| true);
            let number = event["sequence"].as_u64().expect("a number");
            assert_eq!(event["missed"], 0);
            assert!(number <= told + 1, "{number} comes right after {told}");
            again += u64::from(number <= told);
            told = told.max(number);
        }
        again
    }

    /// Tells it to end, and gives what it had been told until then.
    pub fn stop(self) -> Vec<String> {
        self.signal("TERM");
        self.lines.rest()
    }

    pub fn event(&self, name: &str) -> Value {
        self.next("events", |event| event["event"] == name)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Publishes one message with mosquitto's own client; `more` are arguments of it.
pub fn publish(port: u16, topic: &str, payload: &str, more: &[&str]) {
    publish_to(port, &format!("tvsl/test/{topic}"), payload, more);
}

/// The same outside of the device's topics.
pub fn publish_to(port: u16, topic: &str, payload: &str, more: &[&str]) {
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q", "1", "-t"]);
    command.arg(topic).args(["-m", payload]).args(more);
    assert!(command.status().expect("clients are installed: `make setup-test`").success());
}

/// Waits until the daemon has found something half a second from now.
pub fn works_on(daemon: &Daemon) {
    let now = UNIX_EPOCH.elapsed().expect("a clock that was set").as_secs_f64();
    daemon.messages.find(|line| published(line) > now + 0.5);
}

/// When the message in a line was made, Unix seconds.
pub fn published(line: &str) -> f64 {
    let message: Value = serde_json::from_str(line).expect("JSON");
    message["published"].as_f64().expect("a number")
}

/// Waits until the daemon has found something in so many pictures from now on.
pub fn finds(daemon: &Daemon, pictures: u32) {
    works_on(daemon);
    (0..pictures).for_each(|_| drop(daemon.messages.find(|_| true)));
}

/// The same as docs/fleet.md has a device of a cluster, whose nodes are on these two ports; it tells an event for each picture.
pub fn clustered(node: u16, other: u16) -> (Place, PathBuf) {
    let (place, config) = place(node);
    let shipped = std::fs::read_to_string("docs/fleet/cluster/device.toml").expect("the shipped file");
    let changed = [
        ("name = \"site1-hall\"", "name = \"test\"".to_owned()),
        ("host = \"node-1.example\"", "host = \"127.0.0.1\"\nupdate_every = 0".into()),
        ("port = 1883", format!("port = {node}")),
        ("node-2.example:1883", format!("127.0.0.1:{other}")),
    ];
    let shipped = changed.iter().fold(shipped, |text, (old, new)| {
        assert!(text.contains(old), "{old}");
        text.replace(old, new)
    });
    let plays = std::fs::read_to_string(&config).expect("a file");
    let plays =
        plays.replace("[device]\nname = \"test\"\n", "").replace(&format!("[mqtt]\nport = {node}\n"), "");
    std::fs::write(&config, plays + &shipped).expect("room for a file");
    (place, config)
}

/// A place whose configuration plays red that hums, for ever, to the broker on `port`.
pub fn place(port: u16) -> (Place, PathBuf) {
    let place = Place::new();
    let clip = place.path("red.mkv");
    let (red, hum) = (daemon::red(4), daemon::hum(4));
    support::make(&format!("{red} ! queue ! m. {hum} ! queue ! m. matroskamux name=m ! filesink"), &clip);
    let config = place.plays(&clip, &format!("[mqtt]\nport = {port}\n"));
    (place, config)
}
