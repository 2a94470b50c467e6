//! Subscribers see a part of the device fail, with the reason, and work again.

mod broker;
mod daemon;
mod subscriber;
mod support;

use std::path::PathBuf;
use std::time::Instant;

use broker::{Broker, OPEN, free_port};
use daemon::{Daemon, Place};
use serde_json::Value;
use subscriber::Subscriber;
use support::{Folder, test_cards};

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
    becomes(&subscriber, "microphone", "failed");
    std::fs::remove_file(&unplugged).expect("the file");
    becomes(&subscriber, "microphone", "ok");
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
    std::fs::write(&config, format!("{text}hots = \"broker\"\n")).expect("room for a file");
    daemon.signal("HUP");
    let refused = becomes(&subscriber, "configuration", "degraded");
    let told = format!("tvsl.toml:{}:1: mqtt.hots", text.lines().count() + 1);
    assert!(refused["reason"].as_str().is_some_and(|reason| reason.contains(&told)), "{refused}");
    std::fs::write(&config, text).expect("room for a file");
    daemon.signal("HUP");
    becomes(&subscriber, "configuration", "ok");
}

#[test]
fn a_camera_that_freezes_and_is_opened_again() {
    let launch = "videotestsrc is-live=true pattern=red ! video/x-raw,framerate=10/1 ! identity";
    let camera =
        format!("[camera]\nsource = \"pipeline\"\nfrozen = 1.0\n[camera.pipeline]\nlaunch = \"{launch}\"\n");
    let (_place, config, _broker, subscriber) = stage(&format!("{camera}[microphone]\nsource = \"none\"\n"));
    let _daemon = Daemon::start(&config);
    becomes(&subscriber, "camera", "ok");
    let failed = becomes(&subscriber, "camera", "failed");
    assert!(failed["reason"].as_str().is_some_and(|reason| reason.contains("frozen")), "{failed}");
    let seen = Instant::now();
    becomes(&subscriber, "camera", "ok");
    println!("frozen picture: the camera is opened again in {:.1} s", seen.elapsed().as_secs_f64());
}
