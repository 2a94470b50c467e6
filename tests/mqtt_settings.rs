//! Subscribers change settings: judged, answered, in force at once, and kept over a restart.

mod broker;
mod daemon;
mod subscriber;
mod support;

use broker::{Broker, OPEN, free_port, more};
use daemon::{Daemon, Place};
use serde_json::Value;
use subscriber::{Subscriber, place, publish};

/// A place whose daemon keeps what subscribers change, its configuration, and its broker.
fn stage(port: u16, lines: &str) -> (Place, std::path::PathBuf, Broker) {
    let (place, config) = place(port);
    more(&config, &format!("settings_file = \"{}\"\n{lines}", place.path("settings.json").display()));
    let broker = Broker::start(&place, port, OPEN);
    (place, config, broker)
}

/// Wishes for a setting and gives the answer.
fn wish(subscriber: &Subscriber, port: u16, key: &str, payload: &str) -> Value {
    publish(port, &format!("set/{key}"), payload, &[]);
    subscriber.next(&format!("set/{key}/result"), |_| true)
}

fn accepted(answer: &Value) {
    assert_eq!((answer["accepted"].as_bool(), answer["reason"].as_str()), (Some(true), Some("")), "{answer}");
}

fn refused(answer: &Value, why: &str) {
    let reason = answer["reason"].as_str().expect("a reason");
    assert!(answer["accepted"] == false && reason.contains(why), "{answer}");
    assert!(!reason.contains(['\n', '\\']), "one readable line: {answer}");
}

#[test]
fn a_changed_setting_is_in_force_at_once_and_after_a_restart() {
    let port = free_port();
    let (_place, config, _broker) = stage(port, "");
    let subscriber = Subscriber::start(port);
    let mut daemon = Daemon::start(&config);
    let start = subscriber.event("start");
    accepted(&wish(&subscriber, port, "enable", "false"));
    assert_eq!(subscriber.event("end")["source"]["id"], start["source"]["id"]);
    subscriber.next("settings", |settings| settings["enable"] == false);
    accepted(&wish(&subscriber, port, "classes", "[\"green\"]"));
    subscriber.payload("state/red", str::is_empty);
    subscriber.next("info", |info| info["classes"].as_array().is_some_and(|classes| classes.len() == 1));
    daemon.signal("TERM");
    assert!(daemon.end().success());
    subscriber.status("stopped");
    let again = Daemon::start(&config);
    again.log.find(|line| line.contains("settings that were changed over MQTT are in force"));
    let kept = Subscriber::start(port).next("settings", |_| true); // retained
    assert_eq!((kept["enable"].as_bool(), kept["classes"][0].as_str()), (Some(false), Some("green")));
    assert_eq!(kept["changed"], serde_json::json!(["enable", "classes"]));
    subscriber.status("online");
    accepted(&wish(&subscriber, port, "classes", ""));
    accepted(&wish(&subscriber, port, "enable", "true"));
    assert_ne!(subscriber.event("start")["run"], start["run"]);
    subscriber.next("state/red", |state| state["state"] == "ON");
}

#[test]
fn a_setting_that_a_full_disk_does_not_take_is_in_force_until_the_next_start_and_its_answer_says_so() {
    let port = free_port();
    let (place, config, _broker) = stage(port, "");
    let subscriber = Subscriber::start(port);
    // No file may hold a byte: what a full disk says in other words.
    let mut daemon = Daemon::start_in("trap '' XFSZ; ulimit -f 0", &config);
    let start = subscriber.event("start");
    let answer = wish(&subscriber, port, "enable", "false");
    let reason = answer["reason"].as_str().expect("a reason");
    assert!(answer["accepted"] == true && reason.contains("in force until the next start only"), "{answer}");
    assert!(reason.contains("settings.json") && reason.contains("File too large"), "{answer}");
    daemon.log.find(|line| line.contains("over MQTT is in force until the next start only"));
    assert_eq!(subscriber.event("end")["source"]["id"], start["source"]["id"]);
    daemon.signal("TERM");
    assert!(daemon.end().success());
    for left in ["settings.json", "settings.part"] {
        assert!(!place.path(left).exists(), "{left} is there, and holds nothing");
    }
    let _again = Daemon::start(&config);
    assert_ne!(subscriber.event("start")["run"], start["run"], "it was lost, as was said");
    accepted(&wish(&subscriber, port, "enable", "false"));
    assert!(place.path("settings.json").exists());
}

#[test]
fn a_wrong_wish_is_refused_with_the_reason() {
    let port = free_port();
    let (_place, config, _broker) = stage(port, "");
    publish(port, "set/enable", "false", &["-r"]);
    let subscriber = Subscriber::start(port);
    let daemon = Daemon::start(&config);
    refused(&subscriber.next("set/enable/result", |_| true), "retain");
    refused(&wish(&subscriber, port, "thresholds", r#"{"gr 2026-01-01 ERROR forged": {}}"#), "forged");
    let line = daemon.log.find(|line| line.contains("forged"));
    assert!(line.contains("a change over MQTT is refused"), "one line of the log: {line}");
    let forged = wish(&subscriber, port, "classes", r#"["gr\n2026-01-01 ERROR forged"]"#);
    assert!(forged["reason"].as_str().is_some_and(|why| why.contains("control character")), "{forged}");
    let long = |letters| format!("[\"{}\"]", "x".repeat(letters));
    refused(&wish(&subscriber, port, "classes", &long(101)), "expected at most 100");
    refused(&wish(&subscriber, port, "classes", &long(60_000)), "60004 bytes long, expected at most 16384");
    refused(&wish(&subscriber, port, "classes", r#"["red", "red"]"#), "\"red\" twice");
    let twice = r#"{"red": {"p": 0.5, "p": 0.6}}"#;
    refused(&wish(&subscriber, port, "thresholds", twice), "\"p\" twice, expected each key once");
    refused(&wish(&subscriber, port, "enable", "1"), "is the number 1, expected true or false");
    refused(
        &wish(&subscriber, port, "classes", "[\"gren\"]"),
        "the nearest is \"green\". It knows these 3: red, green, blue",
    );
    refused(&wish(&subscriber, port, "thresholds", "{\"red\": {\"p\": 7}}"), "from 0 to 1");
    refused(&wish(&subscriber, port, "port", "1"), "there is no setting `port`");
    subscriber.event("start"); // and nothing has changed
}

/// Every picture has its message while settings change: none is dropped, and the judgement follows.
#[test]
fn no_picture_is_dropped_while_settings_change() {
    let port = free_port();
    let (_place, config, _broker) = stage(port, "send_empty = true");
    let subscriber = Subscriber::start(port);
    let _daemon = Daemon::start(&config);
    subscriber.event("start");
    let mut last = subscriber.detections();
    for payload in [r#"{"red": {"p": 1.0, "p_a": 1.0}}"#, "null"] {
        let found = payload == "null";
        accepted(&wish(&subscriber, port, "thresholds", payload));
        loop {
            let next = subscriber.detections();
            let captured = |message: &Value| message["frame"]["captured"].as_f64().expect("a stamp");
            let apart = captured(&next) - captured(&last);
            assert!((apart - 0.1).abs() < 0.02, "{apart} s from picture to picture");
            last = next;
            if last["detections"].as_array().is_some_and(|list| list.is_empty() != found) {
                break;
            }
        }
    }
}

/// Publishes wish after wish for other numbers, as fast as it goes; killed when dropped.
struct Flood(std::process::Child);

impl Flood {
    fn start(port: u16, key: &str) -> Self {
        let publish = format!("exec mosquitto_pub -p {port} -q 1 -t tvsl/test/set/{key} -l");
        let mut command = std::process::Command::new("bash");
        command.args(["-c", &format!("{publish} < <(seq -f %.7f 0 0.0000001 9)")]);
        Self(command.spawn().expect("clients are installed: `make setup-test`"))
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whoever may change settings stops nothing by it: pictures are judged, another wish has its answer, and neither the
/// log nor the disk fills.
#[test]
fn a_flood_of_wishes_stops_neither_the_analysis_nor_another_wish() {
    let port = free_port();
    let (place, config, _broker) = stage(port, "send_empty = true");
    let answered = Subscriber::watching(port, "tvsl/test/set/enable/result");
    let mut daemon = Daemon::start(&config);
    let pictures = |number| (0..number).for_each(|_| drop(daemon.messages.find(|_| true)));
    pictures(1);
    let flood = Flood::start(port, "sensitivity");
    daemon.log.find(|line| line.contains("too many wishes over MQTT at once"));
    pictures(20);
    // Where so much waits the broker may lose a wish; pictures come all the time.
    for _ in 0..4 {
        publish(port, "set/enable", "true", &[]);
        pictures(5);
    }
    accepted(&answered.next("set/enable/result", |_| true));
    let kept = std::fs::read_to_string(place.path("settings.json")).expect("a file");
    assert!(kept.contains("\"enable\": true"), "it is written down before it is answered: {kept}");
    drop(flood);
    daemon.signal("TERM");
    assert!(daemon.end().success());
    let lines = daemon.log.rest();
    assert!(lines.iter().filter(|line| line.contains("over MQTT")).count() < 10, "{}", lines.join("\n"));
    assert!(!lines.iter().any(|line| line.contains("ERROR")), "{}", lines.join("\n"));
}

/// A retained message, as anybody may leave it who may write there.
fn leave(port: u16, topic: &str, payload: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("payload");
    std::fs::write(&file, payload).expect("room for a file");
    let mut command = std::process::Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q", "1", "-r", "-t", topic, "-f"]).arg(&file);
    assert!(command.status().expect("clients are installed: `make setup-test`").success());
}

#[test]
fn no_message_of_another_silences_the_device() {
    let port = free_port();
    let (_place, config, _broker) = stage(port, "");
    // States that are none of its own: what they say would be no topic.
    let state = |class: &str| {
        let text = r#"{"schema":1,"device":"test","run":"dead","class":"","label":"z","state":"ON","sources":[],"published":0}"#;
        text.replace(r#""class":"""#, &format!(r#""class":"{class}""#))
    };
    leave(port, "tvsl/test/state/nothing", &state("a\\u0000b"));
    leave(port, "tvsl/test/state/long", &state(&"k".repeat(65_520)));
    let daemon = Daemon::start(&config);
    let subscriber = Subscriber::start(port);
    subscriber.event("update");
    publish(port, &format!("set/{}", "k".repeat(60_000)), "1", &[]);
    daemon.log.find(|line| line.contains("longer than 64 bytes"));
    accepted(&wish(&subscriber, port, "sensitivity", "0.5"));
    // Larger than any message of its own, and there again with each subscription.
    leave(port, "tvsl/test/set/enable", &"x".repeat(300_000));
    daemon.log.find(|line| line.contains("larger than") && line.contains("--null-message"));
    daemon.log.find(|line| line.contains("connected to the broker"));
    let late = subscriber.next("health/broker", |health| health["state"] == "degraded");
    assert!(late["reason"].as_str().is_some_and(|reason| reason.contains("too large")), "{late}");
    subscriber.event("update");
}

#[test]
fn what_was_said_of_classes_that_another_model_lacks_is_set_aside_and_nothing_else() {
    let port = free_port();
    let (_place, config, _broker) = stage(port, "");
    let subscriber = Subscriber::start(port);
    let mut daemon = Daemon::start(&config);
    subscriber.status("online");
    accepted(&wish(&subscriber, port, "sensitivity", "-0.5"));
    accepted(&wish(&subscriber, port, "classes", "[\"green\"]"));
    let text = std::fs::read_to_string(&config).expect("a file");
    let default = std::path::absolute("engines/default").expect("a working directory");
    let tiny = std::path::absolute("tests/data/tiny").expect("a working directory");
    let other = text.replace(&tiny.display().to_string(), &default.display().to_string());
    assert_ne!(other, text);
    // A recording is played with the kind of sound that it was opened for: another model comes with a start.
    daemon.signal("TERM");
    assert!(daemon.end().success());
    subscriber.status("stopped");
    std::fs::write(&config, other).expect("room for a file");
    let again = Daemon::start(&config);
    let aside = again.log.find(|line| line.contains("set aside"));
    assert!(aside.contains("green"), "{aside}");
    subscriber.status("online");
    let kept = Subscriber::start(port).next("settings", |_| true);
    assert_eq!(
        (&kept["changed"], &kept["classes"]),
        (&serde_json::json!(["sensitivity"]), &serde_json::json!([]))
    );
}

/// A line of the log that says of a wish that it was granted.
fn granted(line: &str) -> bool {
    line.contains("INFO") && line.contains(" changed over MQTT") && line.contains("key=")
}

#[test]
fn a_device_that_was_switched_off_stays_so_whatever_became_of_the_file_until_somebody_switches_it_on() {
    for (text, why) in [
        ("", "is no JSON: EOF"),
        ("{\"enable\": fal", "is no JSON: EOF"),
        ("{\"enable\": false, \"hum\": 1}", "\"hum\" is no setting of this version"),
    ] {
        let port = free_port();
        let (place, config, _broker) = stage(port, "");
        let file = place.path("settings.json");
        std::fs::write(&file, text).expect("room for a file");
        let subscriber = Subscriber::start(port);
        let daemon = Daemon::start(&config);
        let told = subscriber.next("health/configuration", |_| true);
        let reason = told["reason"].as_str().expect("a reason");
        assert!(told["state"] == "degraded" && reason.contains(why), "{told}");
        assert!(reason.contains("settings.json"), "{told}");
        let doubtful = !text.contains("hum");
        assert_eq!(reason.contains("send true to tvsl/test/set/enable"), doubtful, "{told}");
        daemon.log.find(|line| line.contains("ERROR") && line.contains(why));
        subscriber.next("settings", |settings| settings["enable"] == false);
        accepted(&wish(&subscriber, port, "enable", "true"));
        daemon.log.find(|line| {
            assert!(!line.contains("the first frame is analysed"), "it saw and heard: {why}");
            granted(line)
        });
        subscriber.next("health/configuration", |health| health["state"] == "ok");
        subscriber.event("start");
        let kept = std::fs::read_to_string(&file).expect("a file");
        assert_eq!(kept, "{\n  \"enable\": true\n}\n");
    }
}

#[test]
fn a_device_that_was_switched_off_stays_so_where_a_folder_took_the_place_of_the_file() {
    let port = free_port();
    let (place, config) = place(port);
    let _broker = Broker::start(&place, port, OPEN);
    let subscriber = Subscriber::start(port);
    let mut daemon = Daemon::start(&config);
    subscriber.next("health/configuration", |health| health["state"] == "ok");
    accepted(&wish(&subscriber, port, "enable", "false"));
    daemon.signal("TERM");
    assert!(daemon.end().success());
    subscriber.status("stopped");
    let state = std::fs::read_dir(place.path("state/tvsl")).expect("the folder of its state");
    let mut files = state.map(|entry| entry.expect("an entry").path());
    let is_settings = |file: &std::path::PathBuf| file.display().to_string().contains("/settings-");
    let file = files.find(is_settings).expect("what it keeps");
    std::fs::remove_file(&file).expect("our own file");
    std::fs::create_dir(&file).expect("room for a folder");
    let again = Daemon::start(&config);
    subscriber.next("health/configuration", |health| {
        let reason = health["reason"].as_str().expect("a reason");
        health["state"] == "degraded" && reason.contains("it is no file") && reason.contains("send true to")
    });
    let answer = wish(&subscriber, port, "enable", "true");
    let reason = answer["reason"].as_str().expect("a reason");
    assert!(answer["accepted"] == true && reason.contains("in force until the next start only"), "{answer}");
    again.log.find(|line| {
        assert!(!line.contains("the first frame is analysed"), "it saw and heard");
        granted(line)
    });
    subscriber.next("health/configuration", |health| health["state"] == "ok");
    subscriber.event("start");
}

#[test]
fn a_device_that_was_switched_off_stays_so_where_no_wish_is_taken_any_more_and_says_how_to_switch_it_on() {
    let port = free_port();
    let (place, config, _broker) = stage(port, "commands = false");
    let file = place.path("settings.json");
    std::fs::write(&file, "{\"enable\": false, \"sensitivity\": 1.5}").expect("room for a file");
    let subscriber = Subscriber::start(port);
    let mut daemon = Daemon::start(&config);
    let told = subscriber.next("health/configuration", |_| true);
    let reason = told["reason"].as_str().expect("a reason");
    assert!(told["state"] == "degraded" && reason.contains("mqtt.commands = false"), "{told}");
    assert!(reason.contains(&format!("delete {}", file.display())), "{told}");
    let settings = subscriber.next("settings", |_| true);
    assert_eq!((&settings["enable"], &settings["changed"]), (&false.into(), &serde_json::json!(["enable"])));
    daemon.signal("TERM");
    assert!(daemon.end().success());
    let lines = daemon.log.rest();
    assert!(!lines.iter().any(|line| line.contains("the first frame is analysed")), "{}", lines.join("\n"));
    assert!(lines.iter().any(|line| line.contains("ERROR") && line.contains("lets nobody switch it on")));
    subscriber.status("stopped");
    std::fs::remove_file(&file).expect("our own file");
    let _again = Daemon::start(&config);
    subscriber.event("start");
    subscriber.next("health/configuration", |health| health["state"] == "ok");
}

#[test]
fn settings_wait_while_no_wish_is_taken_and_hold_again_afterwards() {
    let port = free_port();
    let (place, config, _broker) = stage(port, "commands = true");
    let file = place.path("settings.json");
    let subscriber = Subscriber::start(port);
    let mut daemon = Daemon::start(&config);
    subscriber.event("start");
    accepted(&wish(&subscriber, port, "sensitivity", "1.5"));
    subscriber.next("settings", |settings| settings["sensitivity"] == 1.5);
    let allow = |daemon: &Daemon, allowed: bool| {
        let text = std::fs::read_to_string(&config).expect("our own file");
        let new = text.replace(&format!("commands = {}", !allowed), &format!("commands = {allowed}"));
        assert_ne!(new, text);
        std::fs::write(&config, new).expect("room for a file");
        daemon.signal("HUP");
        let sensitivity = if allowed { 1.5 } else { 0.0 };
        subscriber.next("settings", |settings| settings["sensitivity"] == sensitivity)
    };
    let told = allow(&daemon, false);
    assert_eq!(told["changed"], serde_json::json!([]), "the file's hold");
    daemon.signal("TERM");
    assert!(daemon.end().success());
    subscriber.status("stopped");
    let daemon = Daemon::start(&config);
    let told = subscriber.next("settings", |_| true);
    assert_eq!(told["changed"], serde_json::json!([]), "and after a restart");
    let told = allow(&daemon, true);
    assert_eq!(told["changed"], serde_json::json!(["sensitivity"]));
    daemon.log.find(|line| line.contains("the configuration was read again"));
    let answer = wish(&subscriber, port, "classes", "[\"green\"]");
    accepted(&answer);
    let kept: Value = serde_json::from_slice(&std::fs::read(&file).expect("a file")).expect("JSON");
    assert_eq!(kept, serde_json::json!({"sensitivity": 1.5, "classes": ["green"]}), "none is overwritten");
}
