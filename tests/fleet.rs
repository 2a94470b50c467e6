//! Beyond one device: a site's broker passes on to a central one and keeps what it cannot, and several workers share the
//! events of all devices. The configuration is the one that docs/fleet.md shows.

mod broker;
mod certificates;
mod daemon;
mod subscriber;
mod support;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use broker::{Broker, OPEN, free_port, more};
use certificates::{certificates, closed, shows, users};
use daemon::{Daemon, Lines, PATIENCE, Place};
use serde_json::Value;
use subscriber::{Subscriber, clustered, place, publish, works_on};

/// The shipped site, its devices and its persistence here, its centre on port `centre`.
fn site(place: &Place, port: u16, centre: u16) -> Broker {
    site_that_keeps("100000", place, port, centre)
}

/// The same with room for so many messages that wait.
fn site_that_keeps(most: &str, place: &Place, port: u16, centre: u16) -> Broker {
    let shipped = std::fs::read_to_string("docs/fleet/site.conf").expect("the shipped file");
    let changed = [
        ("listener 1883 127.0.0.1\n".into(), String::new()),
        ("/var/lib/mosquitto/".into(), format!("{}/", place.0.path().display())),
        ("central.example:8883".into(), format!("127.0.0.1:{centre}")),
        ("keepalive_interval 10".into(), "keepalive_interval 5".to_owned()),
        ("max_queued_messages 100000".into(), format!("max_queued_messages {most}")),
    ];
    let settings = changed.iter().fold(shipped, |text, (old, new): &(String, String)| {
        assert!(text.contains(old), "{old}");
        text.replace(old, new)
    });
    Broker::start(place, port, &format!("{settings}user root\n"))
}

#[test]
fn what_a_site_tells_reaches_the_centre_and_wishes_come_down() {
    let (port, centre) = (free_port(), free_port());
    let (folder, config) = place(port);
    more(
        &config,
        &format!("update_every = 0\nsettings_file = \"{}\"", folder.path("settings.json").display()),
    );
    let at_centre = Place::new();
    let central = Broker::start(&at_centre, centre, OPEN);
    let bridge = Subscriber::watching(centre, "sites/site-1/connected");
    let at_site = site(&folder, port, centre);
    bridge.lines.find(|line| line == "sites/site-1/connected 1");
    let subscriber = Subscriber::at_centre(centre); // holds every message to the schemas
    let daemon = Daemon::start(&config);
    subscriber.status("online");
    subscriber.events(0, 5);
    publish(centre, "set/sensitivity", "0.5", &[]);
    assert_eq!(subscriber.next("set/sensitivity/result", |_| true)["accepted"], true);
    subscriber.next("settings", |settings| settings["sensitivity"] == 0.5);

    central.signal("STOP");
    works_on(&daemon);
    works_on(&daemon);
    central.signal("CONT");
    subscriber.events(5, 40);

    central.signal("STOP");
    works_on(&daemon);
    at_site.stop(); // what waits for the centre is on its disk
    works_on(&daemon);
    let at_site = site(&folder, port, centre);
    works_on(&daemon);
    central.signal("CONT");
    subscriber.events(40, 80);

    let late = Subscriber::at_centre(centre); // is told what the centre has kept
    for topic in ["info", "settings", "state/red", "health/engine", "health/broker"] {
        late.next(topic, |_| true);
    }
    late.status("online");
    daemon.signal("KILL");
    subscriber.status("offline"); // the Last Will crosses the bridge
    drop(at_site);
    bridge.lines.find(|line| line == "sites/site-1/connected 0");
}

/// Publishes numbers from 1 on to a topic, in order; `more` are arguments of mosquitto's client.
fn count(port: u16, topic: &str, to: u32, more: &[&str]) {
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q", "1", "-l", "-t", topic]).args(more);
    let mut client = command.stdin(Stdio::piped()).spawn().expect("clients are installed: `make setup-test`");
    let numbers: String = (1..=to).map(|number| format!("{number}\n")).collect();
    client.stdin.take().expect("its input").write_all(numbers.as_bytes()).expect("it reads");
    assert!(client.wait().expect("a child").success());
}

/// A hundredth of the room that is shipped, and a hundredth of what ten devices tell meanwhile.
#[test]
fn what_a_site_says_it_keeps_for_the_centre_it_keeps() {
    let (port, centre) = (free_port(), free_port());
    let (at_site, at_centre) = (Place::new(), Place::new());
    let folder = at_centre.0.path().display();
    let keeps =
        format!("{OPEN}\nuser root\nmax_queued_messages 0\npersistence true\npersistence_location {folder}/");
    let reader = |topic: &str, more: &[&str]| {
        let mut command = Command::new("mosquitto_sub");
        command.args(["-p", &centre.to_string(), "-c", "-i", "reader", "-q", "1", "-t", topic]).args(more);
        let output = command.output().expect("clients are installed: `make setup-test`");
        String::from_utf8(output.stdout).expect("text")
    };
    let central = Broker::start(&at_centre, centre, &keeps);
    reader("tvsl/+/events", &["-E"]); // from now on the centre keeps events for it
    let bridge = Subscriber::watching(centre, "sites/site-1/connected");
    let _site = site_that_keeps("1000", &at_site, port, centre);
    bridge.lines.find(|line| line == "sites/site-1/connected 1");
    central.stop();
    count(port, "tvsl/hall/state/dog", 2000, &["--retain"]);
    count(port, "tvsl/hall/events", 1000, &[]);
    let _central = Broker::start(&at_centre, centre, &keeps);
    let patience = PATIENCE.as_secs().to_string();
    let told = reader("tvsl/+/events", &["-C", "1000", "-W", &patience]);
    let numbers = told.lines().map(|line| line.parse::<u32>().expect("a number"));
    assert!(numbers.eq(1..=1000), "each once and in order: {told}");
    let state = Subscriber::watching(centre, "tvsl/hall/state/dog");
    state.lines.find(|line| line == "tvsl/hall/state/dog 2000");
}

/// `tvsl fleet-sim` with messages of its own; killed when dropped.
struct Fleet {
    process: Child,
    figures: Lines,
    words: Lines,
}

impl Fleet {
    fn start(place: &Place, config: &Path, arguments: &str) -> Self {
        let recording = place.path("seen.jsonl");
        std::fs::write(&recording, messages()).expect("room");
        std::fs::create_dir_all(place.path("temporary")).expect("room");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tvsl"));
        command
            .env("TMPDIR", place.path("temporary"))
            .env_remove("ORT_DISABLE_TELEMETRY")
            .arg("fleet-sim")
            .arg("--config")
            .arg(config);
        command.arg("--recording").arg(&recording).args(arguments.split(' '));
        let mut process =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let figures = Lines::of(process.stdout.take().expect("its output"));
        let words = Lines::of(process.stderr.take().expect("its words"));
        Self { process, figures, words }
    }

    fn report(self) -> Value {
        let text = self.figures.rest().join("\n");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {:?}", self.words.rest()))
    }

    /// Its exit code and last words, once it has ended.
    fn end(mut self) -> (Option<i32>, String) {
        let words = self.words.rest().join("\n");
        (self.process.wait().expect("a child").code(), words)
    }

    fn signal(&self, name: &str) {
        daemon::send(&self.process, name);
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A second in which red sounds.
fn messages() -> String {
    let message = |number: u32, event: &str, ended: &str| {
        let at = f64::from(number) / 10.0;
        let place = r#"{"box": [0, 0, 1, 1], "pixels": [0, 0, 64, 64], "peak": [0.5, 0.5], "score": 1}"#;
        let red = format!(
            r#"{{"id": "1", "event": "{event}", "class": "red", "label": "red", "prompt": "red", "p": 0.9, "p_audio": 0.9, "p_visual": 0.9, "region": {place}, "since": 0}}"#
        );
        let red = if ended.is_empty() { red } else { String::new() };
        format!(
            r#"{{"schema": 1, "device": "a", "run": "0", "sequence": {number}, "missed": 0, "late": false, "frame": {{"captured": {at}, "width": 64, "height": 64}}, "sound": {{"start": 0, "end": 1, "level_dbfs": -20}}, "published": {at}, "detections": [{red}], "ended": [{ended}]}}"#
        )
    };
    let mut lines: Vec<String> =
        (1..10).map(|number| message(number, if number == 1 { "start" } else { "update" }, "")).collect();
    lines.push(message(10, "", r#"{"id": "1", "class": "red", "last": 0.9}"#));
    lines.join("\n")
}

/// What the broker keeps of simulated devices, up to a message of our own; `access` are arguments of mosquitto's clients.
fn kept(port: u16, access: &[&str]) -> Vec<String> {
    let port = port.to_string();
    let client = |name: &str, arguments: &[&str]| {
        let mut command = Command::new(name);
        command.args(["-h", "127.0.0.1", "-p", &port]).args(access).args(arguments);
        let output = command.output().expect("clients are installed: `make setup-test`");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    client("mosquitto_pub", &["-r", "-q", "1", "-t", "tvsl-fleet-sim-end", "-m", "end"]);
    let all = ["-t", "tvsl-fleet-sim/#", "-t", "tvsl-fleet-sim-end"];
    let mut kept = vec![client("mosquitto_sub", &[&all[..], &["-F", "%t", "-C", "1"]].concat())];
    kept.retain(|topic| topic.trim() != "tvsl-fleet-sim-end");
    kept
}

/// Nothing lost, nothing twice.
fn whole(report: &Value, least: u64) {
    for topic in ["events", "detections"] {
        let [messages, lost, again] = ["messages", "lost", "again"].map(|key| report[topic][key].as_u64());
        assert!(messages > Some(least) && lost == Some(0) && again == Some(0), "{report:#}");
    }
}

#[test]
fn a_simulated_fleet_loses_nothing() {
    let place = Place::new();
    // What the configured broker wants to see is nothing to one of its own.
    let config =
        place.config("[mqtt]\nusername_file = \"none\"\n[mqtt.tls]\nenabled = true\nca_file = \"none\"");
    let report = Fleet::start(&place, &config, "--devices 20 --seconds 4 --json").report();
    whole(&report, 20);
    for (topic, least) in [("state", 20), ("level", 20), ("info", 20), ("health", 20), ("status", 20)] {
        assert!(report[topic]["messages"].as_u64() >= Some(least), "{topic}: {report:#}");
    }
    assert!(report["broker_mb"].as_f64() > Some(0.0), "{report:#}");
}

/// A broker that wants a certificate and a password, on `port`; and a configuration with both.
fn guarded(port: u16) -> (Place, std::path::PathBuf, Broker) {
    let place = Place::new();
    certificates(&place);
    closed(&place.path("user"), "tvsl");
    closed(&place.path("password"), "hunter2");
    let wants = shows(&place, "server", &format!("require_certificate true\n{}", users(&place)));
    let broker = Broker::start(&place, port, &wants);
    let tls =
        "enabled = true\nca_file = \"ca.crt\"\ncertificate_file = \"client.crt\"\nkey_file = \"client.key\"";
    let settings =
        format!("[mqtt]\nusername_file = \"user\"\npassword_file = \"password\"\n[mqtt.tls]\n{tls}\n");
    let config = place.config(&settings);
    (place, config, broker)
}

#[test]
fn a_fleet_has_the_configured_access_and_leaves_nothing() {
    let port = free_port();
    let (place, config, _broker) = guarded(port);
    let arguments = format!("--broker 127.0.0.1:{port} --devices 3 --seconds");
    whole(&Fleet::start(&place, &config, &format!("{arguments} 3 --json")).report(), 3);
    let [ca, certificate, key] =
        ["ca.crt", "client.crt", "client.key"].map(|name| place.path(name).display().to_string());
    let access = ["--cafile", &ca, "--cert", &certificate, "--key", &key, "-u", "tvsl", "-P", "hunter2"];
    assert_eq!(kept(port, &access), [""; 0]);

    let fleet = Fleet::start(&place, &config, &format!("{arguments} 86400"));
    fleet.words.find(|line| line.contains("3 devices at"));
    fleet.signal("TERM");
    let (code, words) = fleet.end();
    assert!(code == Some(1) && words.contains("stopped before its end"), "{code:?}: {words}");
    assert_eq!(kept(port, &access), [""; 0]);
}

#[test]
fn a_broker_that_is_away_or_refuses_is_told_at_once() {
    let port = free_port();
    let (place, config, broker) = guarded(port);
    let verdict = || {
        let arguments = format!("--broker 127.0.0.1:{port} --devices 3 --seconds 86400");
        let (code, words) = Fleet::start(&place, &config, &arguments).end();
        assert!(
            code == Some(1) && words.contains(&format!("127.0.0.1:{port} (--broker")),
            "{code:?}: {words}"
        );
        words
    };
    closed(&place.path("password"), "wrong");
    let told = verdict();
    assert!(told.contains("not authorised") && told.contains("password_file"), "{told}");
    std::fs::copy(place.path("stranger.crt"), place.path("ca.crt")).expect("our own file");
    let told = verdict();
    assert!(told.contains("TLS") && told.contains("[mqtt.tls] ca_file"), "{told}");
    drop(broker);
    let told = verdict();
    assert!(told.contains("refused") && told.contains("that the broker runs"), "{told}");
    let deaf = format!("{OPEN}\nuser root\nacl_file {}", place.path("acl").display());
    std::fs::write(place.path("acl"), "topic read #\n").expect("room");
    let _broker = Broker::start(&place, port, &deaf);
    let config = place.config("");
    let arguments = format!("--broker 127.0.0.1:{port} --devices 3 --seconds 86400");
    let (code, words) = Fleet::start(&place, &config, &arguments).end();
    assert!(code == Some(1) && words.contains("ACL"), "{code:?}: {words}");
}

#[test]
fn a_broker_that_goes_ends_the_fleet() {
    let port = free_port();
    let place = Place::new();
    let broker = Broker::start(&place, port, OPEN);
    let arguments = format!("--broker 127.0.0.1:{port} --devices 3 --seconds 86400");
    let fleet = Fleet::start(&place, &place.config(""), &arguments);
    fleet.words.find(|line| line.contains("3 devices at"));
    drop(broker);
    let (code, words) = fleet.end();
    assert!(code == Some(1) && words.contains("the subscriber that counts was cut off"), "{code:?}: {words}");
}

#[test]
fn an_interrupted_fleet_puts_its_broker_away() {
    let place = Place::new();
    let fleet = Fleet::start(&place, &place.config(""), "--devices 3 --seconds 86400");
    let told = fleet.words.find(|line| line.contains("3 devices at"));
    let at = told.split_whitespace().nth(4).expect("an address").to_owned();
    TcpStream::connect(&at).expect("its broker");
    fleet.signal("INT");
    let (code, words) = fleet.end();
    assert!(code == Some(1) && words.contains("stopped before its end"), "{code:?}: {words}");
    TcpStream::connect(&at).expect_err("its broker is gone");
    let left = std::fs::read_dir(place.path("temporary")).expect("a folder").count();
    assert_eq!(left, 0, "nothing is left, not even what ONNX Runtime keeps for its reports");
}

/// The number of the event that a line tells of.
fn number(line: &str) -> Option<u64> {
    let event: Value = serde_json::from_str(line.strip_prefix("tvsl/test/events ")?).expect("JSON");
    Some(event["sequence"].as_u64().expect("a number"))
}

/// Reads what workers are given until `numbers` holds the wanted events; gives how often one came again.
fn shared(workers: &[&Subscriber], numbers: &mut BTreeSet<u64>, wanted: RangeInclusive<u64>) -> usize {
    let (mut again, began) = (0, Instant::now());
    while !wanted.clone().all(|number| numbers.contains(&number)) {
        assert!(began.elapsed() < PATIENCE, "{numbers:?}");
        let lines = workers.iter().filter_map(|worker| worker.lines.soon());
        again += lines.filter_map(|line| number(&line)).filter(|&number| !numbers.insert(number)).count();
    }
    again
}

#[test]
fn workers_share_the_events_of_all_devices() {
    let port = free_port();
    let (folder, config) = clustered(port, free_port()); // nobody is there
    let _broker = Broker::start(&folder, port, OPEN);
    let [first, second] = ["one", "two"].map(|id| Subscriber::worker(port, id).subscribed());
    let _daemon = Daemon::start(&config);
    let mut numbers = BTreeSet::new();
    let again = shared(&[&first, &second], &mut numbers, 1..=40);
    assert_eq!(again, 0, "each event went to one worker, once");
    numbers.extend(second.stop().iter().filter_map(|line| number(line)));
    // What a worker acknowledged while it ended and never told is lost: the broker need not keep it.
    let away = numbers.last().expect("events") + 10;
    first.lines.find(|line| {
        numbers.extend(number(line));
        numbers.last() > Some(&(away + 20))
    });
    let second = Subscriber::worker(port, "two"); // its session kept what was meant for it
    shared(&[&first, &second], &mut numbers, away..=away + 40);
}
