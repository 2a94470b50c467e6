//! Subscribers see a part of the device fail, with the reason, and work again. How long each takes is printed, for
//! docs/reliability.md: `cargo test --test mqtt_health -- --nocapture`.

mod broker;
mod cards;
mod daemon;
mod rtsp;
mod subscriber;
mod support;

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::time::{Instant, UNIX_EPOCH};

use broker::{Broker, OPEN, free_port};
use cards::test_cards;
use daemon::{Daemon, Place};
use rtsp::Server;
use serde_json::Value;
use subscriber::Subscriber;
use support::Folder;

/// A broker with a subscriber, and a daemon's configuration for it.
fn stage(devices: &str) -> (Place, PathBuf, Broker, Subscriber) {
    let (place, port) = (Place::new(), free_port());
    let config = place.config(&format!("{devices}[mqtt]\nport = {port}\n"));
    let broker = Broker::start(&place, port, OPEN);
    (place, config, broker, Subscriber::start(port))
}

/// The next health of a part in this state.
fn becomes(subscriber: &Subscriber, part: &str, state: &str) -> Value {
    subscriber.next(&format!("health/{part}"), |health| health["state"] == state)
}

#[test]
fn a_sound_card_that_is_pulled_out_and_put_back() {
    let folder = Folder::new("health-card");
    let unplugged = folder.join("unplugged");
    std::fs::write(&unplugged, "").expect("room for a file");
    let microphone = "[microphone]\nsource = \"alsa\"\n[microphone.alsa]\ndevice = \"s16\"\n";
    let (_place, config, _broker, subscriber) = stage(&format!("[camera]\nsource = \"test\"\n{microphone}"));
    let (cards, file) = (test_cards(&folder), unplugged.to_string_lossy().into_owned());
    let environment = [("ALSA_CONFIG_PATH", cards.to_str().expect("text")), ("TVSL_TEST_UNPLUGGED", &file)];
    let _daemon = Daemon::start_with(&config, &environment);
    let failed = becomes(&subscriber, "microphone", "failed");
    assert!(failed["reason"].as_str().is_some_and(|reason| reason.contains("s16")), "{failed}");
    std::fs::remove_file(&unplugged).expect("the file");
    let there = Instant::now();
    let well = becomes(&subscriber, "microphone", "ok");
    println!("sound card that was missing: works {:.1} s after it is there", there.elapsed().as_secs_f64());
    assert_eq!(well["reason"], "");
    assert!(well["since"].as_f64() > failed["since"].as_f64(), "{failed} {well}");
    std::fs::write(&unplugged, "").expect("room for a file");
    let stalled = Instant::now();
    let failed = becomes(&subscriber, "microphone", "failed");
    tell("sound card stalls", stalled, &failed);
    std::fs::remove_file(&unplugged).expect("the file");
    let there = Instant::now();
    tell("sound card goes on", there, &becomes(&subscriber, "microphone", "ok"));
}

#[test]
fn a_stream_without_sound_is_told_once_and_its_pictures_go_on() {
    let (pictures, _) = rtsp::SENSOR.split_once(" audiotestsrc").expect("its sound comes last");
    let server = Server::of(&format!("{pictures} )"));
    let camera = format!("[camera]\nsource = \"rtsp\"\nrtsp.url = \"{}\"\n", server.url());
    let (_place, config, _broker, subscriber) = stage(&format!("{camera}[microphone]\nsource = \"media\"\n"));
    let mut daemon = Daemon::start(&config);
    assert_eq!(becomes(&subscriber, "microphone", "failed")["reason"], "the stream has no sound");
    becomes(&subscriber, "camera", "ok");
    server.serve(rtsp::SENSOR);
    becomes(&subscriber, "microphone", "ok");
    daemon.signal("TERM");
    assert!(daemon.end().success());
    let log = daemon.log.rest();
    let told: Vec<_> = log.iter().filter(|line| line.contains("no sound")).collect();
    assert!(told.len() == 1 && told[0].contains("ever more seldom"), "{told:?}");
}

#[test]
fn sound_that_tells_nothing_is_told_and_so_is_its_end() {
    let folder = Folder::new("health-sound");
    let sound = folder.join("sound");
    let microphone = "[microphone]\nsource = \"alsa\"\n[microphone.alsa]\ndevice = \"s16\"\n";
    let (_place, config, _broker, subscriber) = stage(&format!("[camera]\nsource = \"test\"\n{microphone}"));
    let (cards, file) = (test_cards(&folder), sound.to_string_lossy().into_owned());
    let environment = [("ALSA_CONFIG_PATH", cards.to_str().expect("text")), ("TVSL_TEST_SOUND", &file)];
    let _daemon = Daemon::start_with(&config, &environment);
    becomes(&subscriber, "microphone", "ok");
    for (fault, state, why) in [
        ("silent", "degraded", "digital silence"),
        ("loud", "degraded", "it clips"),
        ("late", "degraded", "were lost"),
        ("busy", "failed", "delivered nothing"),
    ] {
        std::fs::write(&sound, fault).expect("room for a file");
        let began = Instant::now();
        let wanted = |health: &Value| health["reason"].as_str().is_some_and(|reason| reason.contains(why));
        let told = subscriber.next("health/microphone", wanted);
        assert_eq!(told["state"], state, "{told}");
        tell(fault, began, &told);
        std::fs::remove_file(&sound).expect("the file");
        let over = Instant::now();
        tell(fault, over, &becomes(&subscriber, "microphone", "ok"));
    }
}

#[test]
fn a_monitor_whose_port_is_taken_is_told_and_listens_when_it_is_free() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    let devices = "[camera]\nsource = \"test\"\n[microphone]\nsource = \"none\"\n";
    let (_place, config, _broker, subscriber) = stage(&format!("{devices}[monitor]\nport = {port}\n"));
    let daemon = Daemon::start(&config);
    let failed = becomes(&subscriber, "web", "failed");
    let reason = failed["reason"].as_str().expect("a reason");
    assert!(reason.contains(&format!("127.0.0.1:{port}")) && reason.contains("[monitor] port"), "{reason}");
    drop(taken);
    let free = Instant::now();
    let well = becomes(&subscriber, "web", "ok");
    tell("port of the monitor is free", free, &well);
    assert_eq!(well["reason"], "");
    daemon.log.find(|line| line.contains("the monitor listens after"));
    // Another that is taken; and none is asked for any more.
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let other = taken.local_addr().expect("an address").port();
    let text = std::fs::read_to_string(&config).expect("a file");
    let (old, new) = (format!("[monitor]\nport = {port}"), format!("[monitor]\nport = {other}"));
    let read = |text: String| {
        std::fs::write(&config, text).expect("room for a file");
        daemon.signal("HUP");
    };
    read(text.replace(&old, &new));
    becomes(&subscriber, "web", "failed");
    read(text.replace(&old, ""));
    subscriber.payload("health/web", str::is_empty);
}

/// Says for the page how long a state took to be told.
fn tell(what: &str, since: Instant, health: &Value) {
    println!(
        "{what}: {} after {:.1} s: {}",
        health["state"],
        since.elapsed().as_secs_f64(),
        health["reason"]
    );
}

#[test]
fn a_wrong_file_and_a_right_one() {
    let devices = "[camera]\nsource = \"test\"\n[microphone]\nsource = \"none\"\n";
    let (_place, config, _broker, subscriber) = stage(devices);
    let daemon = Daemon::start(&config);
    becomes(&subscriber, "configuration", "ok");
    becomes(&subscriber, "camera", "starting");
    becomes(&subscriber, "camera", "ok");
    let text = std::fs::read_to_string(&config).expect("a file");
    std::fs::write(&config, format!("{text}hots = \"broker\"\nkeep_alive = \"long\"\n"))
        .expect("room for a file");
    daemon.signal("HUP");
    let refused = becomes(&subscriber, "configuration", "degraded");
    let line = text.lines().count() + 1;
    for told in
        [format!("tvsl.toml:{line}:1: mqtt.hots"), format!("tvsl.toml:{}:14: mqtt.keep_alive", line + 1)]
    {
        assert!(refused["reason"].as_str().is_some_and(|reason| reason.contains(&told)), "{told}: {refused}");
    }
    std::fs::write(&config, &text).expect("room for a file");
    daemon.signal("HUP");
    becomes(&subscriber, "configuration", "ok");
    // A file that is gone is no file of defaults, whether one looks or is told to read it.
    std::fs::remove_file(&config).expect("the file");
    let gone = becomes(&subscriber, "configuration", "degraded");
    assert!(gone["reason"].as_str().is_some_and(|reason| reason.contains("no such file any more")), "{gone}");
    daemon.signal("HUP");
    daemon.log.find(|line| line.contains("no such file any more"));
    std::fs::write(&config, text).expect("room for a file");
    becomes(&subscriber, "configuration", "ok");
}

#[test]
fn a_camera_that_freezes_is_failed_until_its_picture_changes() {
    let server = Server::of(rtsp::SENSOR);
    let camera =
        format!("[camera]\nsource = \"rtsp\"\nstall = 2.0\nfrozen = 2.0\nrtsp.url = \"{}\"\n", server.url());
    let (_place, config, _broker, subscriber) = stage(&format!("{camera}[microphone]\nsource = \"media\"\n"));
    let _daemon = Daemon::start(&config);
    becomes(&subscriber, "camera", "ok");
    subscriber.event("start");
    server.freeze();
    let frozen = Instant::now();
    let failed = becomes(&subscriber, "camera", "failed");
    assert!(
        failed["reason"].as_str().is_some_and(|reason| reason.contains("frozen, the same for")),
        "{failed}"
    );
    tell("frozen picture (camera.frozen = 2)", frozen, &failed);
    subscriber.event("end");
    // It is opened again and again, and shows what it showed.
    server.asked(3);
    server.thaw();
    let (thawed, wall) = (Instant::now(), UNIX_EPOCH.elapsed().expect("a clock that was set").as_secs_f64());
    let well = becomes(&subscriber, "camera", "ok");
    tell("picture that changes again", thawed, &well);
    let time = |told: &Value, key: &str| told[key].as_f64().expect("a time");
    assert!(time(&well, "since") >= wall, "it was well before its picture changed: {well}, {wall}");
    let lost = time(&failed, "since")..wall;
    subscriber.next("events", |event| {
        let (at, seen) = (time(event, "published"), event["event"] != "end");
        assert!(!(seen && lost.contains(&at)), "found in a dead picture: {failed} {event}");
        seen && at >= wall
    });
}

#[test]
fn a_camera_whose_stream_cannot_be_decoded() {
    let stream = "( videotestsrc is-live=true pattern=red ! video/x-raw,width=320,height=180,framerate=10/1 ! \
        x264enc tune=zerolatency key-int-max=5 ! identity name=coded ! rtph264pay name=pay0 pt=96 )";
    let server = Server::of(stream);
    let camera = format!("[camera]\nsource = \"rtsp\"\nstall = 2.0\nrtsp.url = \"{}\"\n", server.url());
    let (_place, config, _broker, subscriber) = stage(&format!("{camera}[microphone]\nsource = \"none\"\n"));
    let _daemon = Daemon::start(&config);
    becomes(&subscriber, "camera", "ok");
    server.spoil("coded");
    let spoiled = Instant::now();
    tell("stream that cannot be decoded", spoiled, &becomes(&subscriber, "camera", "failed"));
    server.serve(stream);
    let good = Instant::now();
    tell("stream that can be decoded again", good, &becomes(&subscriber, "camera", "ok"));
}
