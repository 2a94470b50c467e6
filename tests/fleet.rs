//! Beyond one device: a site's broker passes on to a central one and keeps what it cannot, and several workers share the
//! events of all devices. The configuration is the one that docs/fleet.md shows.

mod broker;
mod daemon;
mod subscriber;
mod support;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::process::Command;
use std::time::Instant;

use broker::{Broker, OPEN, free_port, more};
use daemon::{Daemon, PATIENCE, Place};
use serde_json::Value;
use subscriber::{Subscriber, place, publish, works_on};

/// The shipped site, its devices and its persistence here, its centre on port `centre`.
fn site(place: &Place, port: u16, centre: u16) -> Broker {
    let shipped = std::fs::read_to_string("docs/fleet/site.conf").expect("the shipped file");
    let changed = [
        ("listener 1883 127.0.0.1\n".into(), String::new()),
        ("/var/lib/mosquitto/".into(), format!("{}/", place.0.path().display())),
        ("central.example:8883".into(), format!("127.0.0.1:{centre}")),
        ("keepalive_interval 10".into(), "keepalive_interval 5".to_owned()),
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
    let _site = site(&folder, port, centre);
    let subscriber = Subscriber::start(centre); // holds every message to the schemas
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

    daemon.signal("KILL");
    subscriber.status("offline"); // the Last Will crosses the bridge
}

#[test]
fn a_simulated_fleet_loses_nothing() {
    let folder = Place::new();
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
    let recording = folder.path("seen.jsonl");
    std::fs::write(&recording, lines.join("\n")).expect("room");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tvsl"));
    command.arg("--config").arg(folder.config("")).args([
        "fleet-sim",
        "--devices",
        "20",
        "--seconds",
        "4",
        "--json",
    ]);
    let output = command.arg("--recording").arg(&recording).output().expect("the program runs");
    let words = String::from_utf8_lossy(&output.stderr);
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {words}"));
    for topic in ["events", "detections"] {
        let [messages, lost, again] = ["messages", "lost", "again"].map(|key| report[topic][key].as_u64());
        assert!(messages > Some(20) && lost == Some(0) && again == Some(0), "{report:#}");
    }
    assert!(report["broker_mb"].as_f64() > Some(0.0), "{report:#}");
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
    let (folder, config) = place(port);
    more(&config, "update_every = 0");
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
