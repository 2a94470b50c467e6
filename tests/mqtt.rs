//! Subscribers are told through a real broker, and every fault of the broker is survived.

mod daemon;
mod support;

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use daemon::{Daemon, Lines, PATIENCE, Place};
use serde_json::Value;

/// A mosquitto; killed when dropped.
struct Broker(Child);

impl Broker {
    fn start(place: &Place, port: u16, settings: &str) -> Self {
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

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An independent client, which prints `topic payload` lines; killed when dropped.
struct Subscriber {
    process: Child,
    lines: Lines,
}

impl Subscriber {
    fn start(port: u16) -> Self {
        let mut command = Command::new("mosquitto_sub");
        command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q", "1", "-v", "-t", "tvsl/test/#"]);
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto-clients is installed");
        let lines = Lines::of(process.stdout.take().expect("its output"));
        Self { process, lines }
    }

    fn status(&self, word: &str) {
        self.lines.find(|line| line == format!("tvsl/test/status {word}"));
    }

    fn detections(&self) -> Value {
        let topic = "tvsl/test/detections ";
        let line = self.lines.find(|line| line.starts_with(topic));
        serde_json::from_str(&line[topic.len()..]).expect("JSON")
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const OPEN: &str = "allow_anonymous true";

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|s| s.local_addr()).expect("a free port").port()
}

/// A place whose configuration plays red that hums, for ever, to the broker on `port`.
fn place(port: u16) -> (Place, std::path::PathBuf) {
    let place = Place::new();
    let clip = place.path("red.mkv");
    let (red, hum) = (daemon::red(4), daemon::hum(4));
    support::make(&format!("{red} ! queue ! m. {hum} ! queue ! m. matroskamux name=m ! filesink"), &clip);
    let config = place.plays(&clip, &format!("[mqtt]\nport = {port}\n"));
    (place, config)
}

fn start(config: &Path) -> Daemon {
    Daemon::start(config)
}

#[test]
fn a_subscriber_is_told_what_is_heard_and_seen() {
    let port = free_port();
    let (place, config) = place(port);
    let _broker = Broker::start(&place, port, OPEN);
    let subscriber = Subscriber::start(port);
    let mut daemon = start(&config);
    subscriber.status("online");
    let first = subscriber.detections();
    assert_eq!((first["schema"].as_u64(), first["sequence"].as_u64()), (Some(1), Some(1)));
    assert_eq!(first["device"], "test");
    let red = &first["detections"][0];
    assert_eq!((red["class"].as_str(), red["event"].as_str()), (Some("red"), Some("start")));
    let stamp = |part: &str, name: &str| first[part][name].as_f64().expect("a stamp");
    assert!(stamp("sound", "start") < stamp("sound", "end"));
    assert!(stamp("sound", "end") <= stamp("frame", "captured") + 1e-6);
    assert!(stamp("frame", "captured") < first["published"].as_f64().expect("a stamp"));
    let second = subscriber.detections();
    assert_eq!(second["sequence"], 2);
    assert_eq!(second["detections"][0]["id"], red["id"], "one id for as long as it lasts");
    daemon.signal("TERM");
    let last = subscriber.lines.find(|line| line.contains("\"ended\":[{"));
    assert!(last.contains(red["id"].as_str().expect("an id")), "a clean stop ends what was reported");
    subscriber.status("stopped");
    assert!(daemon.end().success());
}

#[test]
fn the_broker_says_that_a_killed_device_is_gone() {
    let port = free_port();
    let (place, config) = place(port);
    let _broker = Broker::start(&place, port, OPEN);
    let subscriber = Subscriber::start(port);
    let daemon = start(&config);
    subscriber.status("online");
    daemon.signal("KILL");
    subscriber.status("offline");
    Subscriber::start(port).status("offline"); // retained: told to whoever comes later
}

#[test]
fn a_broker_that_comes_late_or_comes_back_is_found() {
    let port = free_port();
    let (place, config) = place(port);
    let daemon = start(&config);
    daemon.log.find(|line| line.contains("no connection to the broker"));
    daemon.messages.find(|line| line.contains("\"red\"")); // analysis does not wait for it
    let broker = Broker::start(&place, port, OPEN);
    let subscriber = Subscriber::start(port);
    subscriber.status("online");
    subscriber.detections();
    drop((subscriber, broker));
    daemon.log.find(|line| line.contains("no connection to the broker"));
    let _broker = Broker::start(&place, port, OPEN);
    let subscriber = Subscriber::start(port);
    subscriber.status("online");
    subscriber.detections();
}

#[test]
fn a_refusal_is_told_with_its_reason_and_is_no_connection() {
    let port = free_port();
    let (place, config) = place(port);
    let _broker = Broker::start(&place, port, "allow_anonymous false");
    let daemon = start(&config);
    let told = daemon.log.find(|line| line.contains("no connection to the broker"));
    assert!(told.contains("not authorised"), "{told}");
    daemon.messages.find(|line| line.contains("\"red\""));
}

#[test]
fn a_broker_that_accepts_and_never_answers_holds_up_nothing() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let (_place, config) = place(silent.local_addr().expect("an address").port());
    let mut daemon = start(&config);
    daemon.messages.find(|line| line.contains("\"red\""));
    daemon.log.find(|line| line.contains("it does not answer in time"));
    daemon.signal("TERM");
    assert!(daemon.end().success());
}
