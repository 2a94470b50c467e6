//! Events outlast a killed daemon on disk, and a full disk stops nothing; a real broker and the real program.

mod broker;
mod daemon;
mod subscriber;
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use broker::{Broker, OPEN, free_port, more};
use daemon::{Daemon, Place};
use serde_json::Value;
use subscriber::{Subscriber, finds, place, works_on};

/// A place whose daemon keeps its events on disk.
fn stage(port: u16) -> (Place, PathBuf, PathBuf) {
    let (place, config) = place(port);
    let file = place.path("state/events.log");
    let store = format!("[mqtt.store]\nenabled = true\nevery = 0.2\nfile = \"{}\"", file.display());
    more(&config, &format!("update_every = 0\n{store}"));
    (place, config, file)
}

/// Waits until the store on disk has grown by `bytes`.
fn written(daemon: &Daemon, file: &Path, bytes: u64) {
    let length = || std::fs::metadata(file).map_or(0, |about| about.len());
    let enough = length() + bytes;
    for _ in 0..100 {
        if length() >= enough {
            return;
        }
        works_on(daemon);
    }
    panic!("{} stays at {} bytes", file.display(), length());
}

/// Events up to the first that `last` holds for.
fn until(subscriber: &Subscriber, last: impl Fn(&Value) -> bool) -> Vec<Value> {
    let mut told = Vec::new();
    while !told.last().is_some_and(&last) {
        told.push(subscriber.next("events", |_| true));
    }
    told
}

/// How often each source of a run was started and ended.
fn lives(told: &[Value], run: &Value) -> BTreeMap<String, (u32, u32)> {
    let mut lives = BTreeMap::new();
    for event in told.iter().filter(|event| text(&event["source"]["id"]).starts_with(text(run))) {
        let life: &mut (u32, u32) = lives.entry(text(&event["source"]["id"]).into()).or_default();
        life.0 += u32::from(event["event"] == "start");
        life.1 += u32::from(event["event"] == "end");
    }
    lives
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

#[test]
fn events_outlast_a_killed_daemon_that_had_no_broker() {
    let port = free_port();
    let (place, config, file) = stage(port);
    let daemon = Daemon::start(&config);
    daemon.log.find(|line| line.contains("no connection to the broker"));
    written(&daemon, &file, 10_000);
    daemon.signal("KILL");
    drop(daemon);
    let again = Daemon::start(&config);
    let told = again.log.find(|line| line.contains("events of an earlier run are told again"));
    let kept = told.split("events=").nth(1).and_then(|rest| rest.split_whitespace().next());
    let kept: u64 = kept.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{told}"));
    assert!(kept >= 10, "{told}");
    written(&again, &file, 5000); // more than the ends of what was interrupted; another crash changes nothing
    again.signal("KILL");
    drop(again);
    let _broker = Broker::start(&place, port, OPEN);
    let subscriber = Subscriber::start(port);
    let _third = Daemon::start(&config);
    let told = until(&subscriber, |event| event["late"] == false);
    let runs: Vec<&Value> = told.iter().map(|event| &event["run"]).collect();
    assert_eq!(runs.chunk_by(|a, b| a == b).count(), 3, "one run after the other");
    for run in told.chunk_by(|a, b| a["run"] == b["run"]) {
        let numbers = run.iter().map(|event| event["sequence"].as_u64().expect("a number"));
        assert!(numbers.eq(1..=run.len() as u64), "each once and in order");
        assert!(run.iter().all(|event| event["missed"] == 0));
    }
    assert_eq!(runs.iter().filter(|run| **run == runs[0]).count() as u64, kept);
    for lives in [lives(&told, runs[0]), lives(&told, runs[kept as usize])] {
        assert!(!lives.is_empty() && lives.values().all(|life| *life == (1, 1)), "{lives:?}");
    }
    assert_eq!(subscriber.next("health/store", |_| true)["state"], "ok");
}

#[test]
fn what_the_broker_knows_and_the_disk_knows_is_ended_once() {
    let port = free_port();
    let (place, config, file) = stage(port);
    let broker = Broker::start(
        &place,
        port,
        &format!("{OPEN}\npersistence true\npersistence_location {}/", place.0.path().display()),
    );
    let subscriber = Subscriber::start(port);
    let daemon = Daemon::start(&config);
    let start = subscriber.event("start");
    subscriber.next("state/red", |state| state["state"] == "ON");
    broker.signal("STOP");
    written(&daemon, &file, 3000);
    daemon.signal("KILL");
    drop(daemon);
    broker.signal("CONT");
    let _again = Daemon::start(&config);
    let mut told = until(&subscriber, |event| event["run"] != start["run"] && event["event"] == "update");
    told.push(start);
    let lives = lives(&told, &told[told.len() - 1]["run"]);
    assert!(!lives.is_empty() && lives.values().all(|life| *life == (1, 1)), "{lives:?}");
}

#[test]
fn what_waits_at_the_end_is_told_apart_from_what_gave_way_before() {
    let (_place, config) = place(free_port()); // nobody is there
    more(&config, "update_every = 0\nkeep_events = 64\nkeep_detections = 64");
    let mut daemon = Daemon::start(&config);
    finds(&daemon, 80);
    daemon.signal("TERM");
    daemon.end();
    let said = |words: &str| {
        let line = daemon.log.find(|line| line.contains(words));
        let number = line.split("messages=").nth(1).and_then(|rest| rest.split_whitespace().next());
        number.and_then(|number| number.parse::<u64>().ok()).unwrap_or_else(|| panic!("{line}"))
    };
    assert_eq!(said("still waited for the broker"), 64 + 64);
    assert!(said("had given way") >= 2 * (80 - 64));
}

#[test]
fn a_full_disk_stops_neither_analysis_nor_messages_and_is_told() {
    let port = free_port();
    let (place, config, file) = stage(port);
    // No file may be longer than 4 kB: what a full disk says in other words.
    let daemon = Daemon::start_in("trap '' XFSZ; ulimit -f 4", &config);
    let told = daemon.log.find(|line| line.contains("events are kept in memory only"));
    assert!(told.contains("File too large"), "{told}");
    works_on(&daemon);
    let length = std::fs::metadata(&file).expect("the part that fits").len();
    assert!(length <= 4096, "{length} bytes");
    daemon.signal("STOP"); // or it would tell the broker before anybody listens
    let _broker = Broker::start(&place, port, OPEN);
    let subscriber = Subscriber::start(port);
    daemon.signal("CONT");
    subscriber.events(0, 40);
    let health = subscriber.next("health/store", |_| true);
    assert_eq!(text(&health["state"]), "degraded");
    daemon.log.find(|line| line.contains("events are kept there again"));
    subscriber.next("health/store", |health| health["state"] == "ok");
}
