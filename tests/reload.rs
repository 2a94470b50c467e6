//! A configuration file that changes while the daemon runs: no picture is dropped, whatever key it is, and only the part
//! that it concerns begins anew.

mod broker;
mod daemon;
mod subscriber;
mod support;

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;

use broker::{Broker, OPEN, free_port};
use daemon::{Daemon, Place};
use serde_json::Value;
use subscriber::{Subscriber, place};

/// When the picture of a message was captured.
fn captured(message: &Value) -> f64 {
    message["frame"]["captured"].as_f64().expect("a stamp")
}

/// Whether a message tells of another picture than the one before; none may be missing between them.
fn assert_next(apart: f64, message: &Value) -> bool {
    let ended = apart.abs() < 0.001; // what ended with the picture before
    assert!(ended || (apart - 0.1).abs() < 0.02, "{apart} s from picture to picture: {message}");
    !ended
}

/// Whether something is found in a picture.
fn found(message: &Value) -> bool {
    !message["detections"].as_array().expect("a list").is_empty()
}

/// A daemon that plays red which hums and tells of every picture, its broker, and who listens.
struct Stage {
    subscriber: Subscriber,
    daemon: Daemon,
    config: PathBuf,
    /// The file as it was at the start.
    base: String,
    port: u16,
    /// When the last picture that was told of was captured.
    last: Cell<Option<f64>>,
    _broker: Broker,
    _place: Place,
}

/// Pictures of the stage.
const A_MINUTE: usize = 600;

impl Stage {
    fn new() -> Self {
        let port = free_port();
        let (place, config) = place(port);
        let base = std::fs::read_to_string(&config).expect("a file") + "send_empty = true\n";
        std::fs::write(&config, &base).expect("room for a file");
        let broker = Broker::start(&place, port, OPEN);
        let subscriber = Subscriber::start(port);
        let daemon = Daemon::start(&config);
        subscriber.event("start");
        Self { subscriber, daemon, config, base, port, last: Cell::new(None), _broker: broker, _place: place }
    }

    /// The file of the start with `line` in its section; nothing more if that is empty.
    fn write(&self, line: &str) {
        let (section, key) = line.split_once('.').unwrap_or_default();
        let (head, name) = (format!("[{section}]\n"), key.split(" =").next().unwrap_or_default());
        let text = if self.base.contains(&head) {
            let base: String = self.base.replace(&format!("{head}{name} ="), &format!("{head}# {name} ="));
            base.replace(&head, &format!("{head}{key}\n"))
        } else {
            format!("{line}\n{}", self.base)
        };
        std::fs::write(&self.config, text).expect("room for a file");
    }

    /// The same, and it is read; gives what the log says of it.
    fn change(&self, line: &str) -> String {
        self.write(line);
        self.daemon.signal("HUP");
        self.daemon.log.find(|line| line.contains("the configuration was read again"))
    }

    /// The next message on `detections`, and the time since the picture before.
    fn next(&self) -> (Value, f64) {
        let message = self.subscriber.detections();
        let apart = self.apart(&message);
        (message, apart)
    }

    /// The time from the picture before to that of `message`.
    fn apart(&self, message: &Value) -> f64 {
        let captured = captured(message);
        self.last.replace(Some(captured)).map_or(0.1, |last| captured - last)
    }

    /// Reads on until `enough`; no picture may be missing before, and it has to come within a minute of them.
    fn whole(&self, enough: impl Fn(&Value) -> bool) {
        let came = (0..A_MINUTE).any(|_| {
            let (message, apart) = self.next();
            assert_next(apart, &message) && enough(&message)
        });
        assert!(came, "{A_MINUTE} pictures later it is as before");
    }

    /// Reads on until what was captured from now on is told.
    fn works_on(&self) {
        let now = std::time::UNIX_EPOCH.elapsed().expect("a clock that was set").as_secs_f64();
        self.whole(|message| captured(message) > now);
    }
}

#[test]
fn no_picture_is_dropped_whatever_key_changes() {
    let stage = Stage::new();
    for (lines, told) in [
        ("tracking.hold = 0.5", "detection and tracking follow it"),
        ("window.memory = 0.3", "detection and tracking follow it"),
        ("detection.audio_floor = { red = 0.1 }", "detection and tracking follow it"),
        ("window.wait = 0.2", "rates and waits follow it"),
        ("service.start_within = 30.0", "rates and waits follow it"),
        ("engine.threads = 3", "the model has been opened anew"),
        ("mqtt.keep_alive = 20", "the broker is connected to anew"),
        ("log.level = \"debug\"", "the log follows it"),
        ("log.format = \"human\"", "the log follows it"),
    ] {
        let line = stage.change(lines);
        assert!(line.contains(told), "{lines}: {line}");
        stage.works_on();
    }
    stage.daemon.log.find(|line| line.contains("at the next start only") && line.contains("log.format"));
}

#[test]
fn thresholds_and_classes_hold_from_the_next_picture_on() {
    let stage = Stage::new();
    for lines in ["detection.thresholds = { red = { p = 1.0 } }", "detection.classes = [\"green\"]"] {
        stage.whole(found);
        let line = stage.change(lines);
        assert!(
            line.contains("detection and tracking follow it") && !line.contains("anew"),
            "{lines}: {line}"
        );
        stage.whole(|message| !found(message));
        stage.subscriber.event("end");
        stage.change("");
        stage.whole(found);
        stage.subscriber.event("start");
    }
}

#[test]
fn topics_move_between_one_picture_and_the_next() {
    let stage = Stage::new();
    let there = Subscriber::attending(stage.port, "moved/test/detections");
    let next = || {
        let line = there.lines.find(|line| line.starts_with("moved/"));
        serde_json::from_str::<Value>(line.split_once(' ').expect("a payload").1).expect("JSON")
    };
    stage.whole(found);
    let line = stage.change("mqtt.prefix = \"moved/{device}\"");
    assert!(line.contains("the broker is connected to anew") && !line.contains("camera"), "{line}");
    // The old topic tells of every picture before the first of the new one.
    let first = next();
    while stage.last.get() < Some(captured(&first) - 0.15) {
        let (message, apart) = stage.next();
        assert_next(apart, &message);
    }
    let until = captured(&first) + 1.0;
    assert!(assert_next(stage.apart(&first), &first));
    while stage.last.get() < Some(until) {
        let message = next();
        assert_next(stage.apart(&message), &message);
    }
    stage.subscriber.status("stopped");
}

#[test]
fn masks_hold_from_the_next_picture_on() {
    let stage = Stage::new();
    // All that is found lies where `side`, the left or the right end of a box, is as wanted.
    let lie = |message: &Value, side: usize, wanted: fn(f64) -> bool| {
        let found = message["detections"].as_array().expect("a list");
        let mut sides = found.iter().map(|found| found["region"]["box"][side].as_f64().expect("a number"));
        !found.is_empty() && sides.all(wanted)
    };
    stage.change("detection.masks = [[0.5, 0.0, 1.0, 1.0]]");
    stage.whole(|message| lie(message, 2, |right| right <= 0.5));
    stage.change("detection.masks = [[0.0, 0.0, 0.5, 1.0]]");
    stage.whole(|message| lie(message, 0, |left| left >= 0.5));
    stage.subscriber.next("info", |info| info["masked"] == 0.5);
    stage.change("detection.masks = [[0.0, 0.0, 1.0, 1.0]]");
    stage.whole(|message| !found(message));
    stage.subscriber.event("end");
}

#[test]
fn the_rate_of_pictures_changes_while_the_camera_is_open() {
    let stage = Stage::new();
    stage.whole(|_| true);
    let line = stage.change("camera.rate = 5.0");
    assert!(line.contains("rates and waits follow it") && !line.contains("camera"), "{line}");
    let apart = |wanted: f64| {
        loop {
            let (_, apart) = stage.next();
            assert!(apart < 0.22, "{apart} s without a picture");
            if (apart - wanted).abs() < 0.02 {
                return;
            }
        }
    };
    apart(0.2);
    apart(0.2);
    stage.change("");
    apart(0.1);
    stage.works_on();
}

#[test]
fn what_is_told_how_often_changes_at_once() {
    let stage = Stage::new();
    stage.change("mqtt.detections_rate = 1.0");
    // From then on every tenth picture has its message.
    while stage.next().1 < 0.9 {}
    assert!((stage.next().1 - 1.0).abs() < 0.15);
    stage.change("mqtt.snapshot_every = 0.1");
    let picture = stage.subscriber.payload("snapshot", |_| true);
    assert!(!picture.is_empty());
    stage.whole(|_| true);
}

#[test]
fn a_renamed_device_moves_and_leaves_nothing_behind() {
    let stage = Stage::new();
    stage.subscriber.payload("state/red", |payload| payload.contains("\"ON\""));
    let everybody = Subscriber::lasting(stage.port);
    let line = stage.change("device.name = \"hall\"");
    assert!(line.contains("the broker is connected to anew") && !line.contains("camera"), "{line}");
    stage.subscriber.event("end");
    stage.subscriber.status("stopped");
    for topic in ["state/red", "info", "settings", "health/configuration"] {
        stage.subscriber.payload(topic, str::is_empty);
    }
    let mut awaited = vec![
        ("tvsl/hall/status ", "online"),
        ("tvsl/hall/info ", "\"device\":\"hall\""),
        ("tvsl/hall/health/configuration ", "\"device\":\"hall\""),
        ("tvsl/hall/state/red ", "\"state\":\"ON\""),
        ("tvsl/hall/events ", "\"start\""),
    ];
    everybody.lines.find(|line| {
        awaited.retain(|(topic, word)| !(line.starts_with(topic) && line.contains(word)));
        awaited.is_empty()
    });
    let late = Subscriber::start(stage.port); // what the broker keeps of the old name
    assert_eq!(late.lines.find(|_| true), "tvsl/test/status stopped");
    assert_eq!(late.lines.soon(), None);
    // And back: what was taken back once is told again, and stays.
    stage.change("");
    let mut awaited = vec!["tvsl/test/status online", "tvsl/test/info {", "tvsl/test/state/red {"];
    everybody.lines.find(|line| {
        awaited.retain(|start| !line.starts_with(start));
        awaited.is_empty()
    });
    let late = Subscriber::start(stage.port);
    let mut awaited = vec!["tvsl/test/status online", "tvsl/test/info {", "tvsl/test/health/configuration {"];
    late.lines.find(|line| {
        awaited.retain(|start| !line.starts_with(start));
        awaited.is_empty()
    });
}

#[test]
fn another_model_is_given_sound_and_pictures_of_its_own_kind() {
    let (place, port) = (Place::new(), free_port());
    let _broker = Broker::start(&place, port, OPEN);
    let subscriber = Subscriber::start(port);
    let settings = place.path("settings.json");
    let text = |model: &str| {
        format!(
            "device.name = \"test\"\nmodel.path = \"{model}\"\ncamera.source = \"test\"\ncamera.test.pattern = \"flash\"\n\
             microphone.source = \"media\"\n[mqtt]\nport = {port}\nsend_empty = true\nsettings_file = \"{}\"\n",
            settings.display()
        )
    };
    let model = |name: &str| std::env::current_dir().expect("a folder").join(name).display().to_string();
    let config = place.path("tvsl.toml");
    std::fs::write(&config, text(&model("tests/data/tiny"))).expect("room for a file");
    let daemon = Daemon::start(&config);
    // Half a second of sound: its stamps are those of what was heard, and nothing is heard at a wrong rate.
    let heard = |message: &Value| {
        let at = |key: &str| message["sound"][key].as_f64().expect("a stamp");
        at("end") - at("start") > 0.5
    };
    subscriber.next("detections", heard);
    // The new model knows no such class: what was said of it is set aside, and the file is not refused for it.
    subscriber::publish(port, "set/classes", "[\"red\"]", &[]);
    subscriber.next("set/classes/result", |answer| answer["accepted"] == true);
    std::fs::write(&config, text(&model("engines/default"))).expect("room for a file");
    daemon.signal("HUP");
    let aside = daemon.log.find(|line| line.contains("set aside"));
    assert!(aside.contains("red"), "{aside}");
    let line = daemon.log.find(|line| line.contains("the configuration was read again"));
    for told in
        ["the model has been opened anew", "the camera is opened anew", "the microphone is opened anew"]
    {
        assert!(line.contains(told), "{line}");
    }
    let began = std::time::UNIX_EPOCH.elapsed().expect("a clock that was set").as_secs_f64();
    subscriber.next("detections", |message| {
        message["sound"]["start"].as_f64().is_some_and(|start| start > began) && heard(message)
    });
}

#[test]
fn another_broker_is_told_what_the_one_before_was_not() {
    let stage = Stage::new();
    let (place, port) = (Place::new(), free_port());
    let other = Broker::start(&place, port, OPEN);
    let there = Subscriber::start(port);
    let before = stage.subscriber.next("events", |_| true)["sequence"].as_u64().expect("a number");
    stage.write("mqtt.keep_alive = 20");
    let text = std::fs::read_to_string(&stage.config).expect("a file");
    std::fs::write(&stage.config, text.replace(&format!("port = {}", stage.port), &format!("port = {port}")))
        .expect("room for a file");
    stage.daemon.signal("HUP");
    stage.subscriber.status("stopped");
    there.status("online");
    // Events are numbered: what the one has not, the other has.
    let first = there.next("events", |_| true)["sequence"].as_u64().expect("a number");
    let mut last = before;
    while last + 1 < first {
        last = stage.subscriber.next("events", |_| true)["sequence"].as_u64().expect("a number");
    }
    assert_eq!(last + 1, first);
    drop(other);
}

#[test]
fn a_model_that_is_opened_anew_again_and_again_leaves_no_memory_behind() {
    let place = Place::new();
    let model = std::path::absolute("engines/default").expect("a working directory");
    let text = |threads: u32| {
        format!(
            "model.path = \"{}\"\ncamera.source = \"test\"\nmicrophone.source = \"none\"\nmqtt.enabled = false\n\
             engine.threads = {threads}\n",
            model.display()
        )
    };
    let config = place.path("tvsl.toml");
    std::fs::write(&config, text(1)).expect("room for a file");
    let daemon = Daemon::start(&config);
    daemon.log.find(|line| line.contains("the first frame is analysed"));
    let megabytes = |changes: u32| {
        for change in 1..=changes {
            std::fs::write(&config, text(1 + change % 2)).expect("room for a file");
            daemon.signal("HUP");
            daemon.log.find(|line| line.contains("the model has been opened anew"));
        }
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", daemon.process.id())).expect("a process");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        resident.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
    };
    let (before, after) = (megabytes(2), megabytes(6));
    println!("{before:.0} MiB after two changes of the model, {after:.0} after eight");
    assert!(after - before < 40.0, "{before} MiB grow to {after}");
}

/// Status of a page, if somebody answers.
fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1).map(Into::into)
}

/// Asks for a page until the answer is as `wanted`.
fn until(port: u16, wanted: Option<&str>) {
    let began = std::time::Instant::now();
    while get(port, "/health").as_deref() != wanted {
        assert!(began.elapsed() < daemon::PATIENCE, "{port} never is {wanted:?}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn the_monitor_begins_to_listen_moves_and_ends() {
    let stage = Stage::new();
    let (one, other) = (free_port(), free_port());
    for port in [one, other] {
        stage.change(&format!("monitor.port = {port}"));
        until(port, Some("200"));
    }
    until(one, None);
    stage.subscriber.next("health/web", |health| health["state"] == "ok");
    stage.change("");
    until(other, None);
    stage.subscriber.payload("health/web", str::is_empty); // it is no part of the device any more
    stage.change(&format!("monitor.port = {one}"));
    stage.subscriber.next("health/web", |health| health["state"] == "ok");
    stage.works_on();
}
