//! Beyond one device: a site's broker passes on to a central one and keeps what it cannot, and several workers share the
//! events of all devices. The configuration is the one that docs/fleet.md shows.

mod broker;
mod daemon;
mod subscriber;
mod support;

use std::collections::BTreeSet;
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

/// Reads what workers are given until `numbers` holds events 1 to `enough`; gives how often one came again.
fn shared(workers: &[&Subscriber], numbers: &mut BTreeSet<u64>, enough: u64) -> usize {
    let (mut again, began) = (0, Instant::now());
    while !(1..=enough).all(|number| numbers.contains(&number)) {
        assert!(began.elapsed() < PATIENCE, "{numbers:?}");
        let lines = workers.iter().filter_map(|worker| worker.lines.soon());
        for line in lines.filter(|line| line.starts_with("tvsl/test/events ")) {
            let (_, payload) = line.split_once(' ').expect("a topic and a payload");
            let event: Value = serde_json::from_str(payload).expect("JSON");
            again += usize::from(!numbers.insert(event["sequence"].as_u64().expect("a number")));
        }
    }
    again
}

#[test]
fn workers_share_the_events_of_all_devices() {
    let port = free_port();
    let (folder, config) = place(port);
    more(&config, "update_every = 0");
    let _broker = Broker::start(&folder, port, OPEN);
    let (first, second) = (Subscriber::worker(port, "one"), Subscriber::worker(port, "two"));
    let _daemon = Daemon::start(&config);
    let mut numbers = BTreeSet::new();
    let again = shared(&[&first, &second], &mut numbers, 40);
    assert_eq!(again, 0, "each event went to one worker, once");
    drop(second);
    let second = Subscriber::worker(port, "two"); // its session kept what was meant for it
    shared(&[&first, &second], &mut numbers, 80);
}
