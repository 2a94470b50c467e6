//! A configuration as people type it on a ladder: every slip is told in their words, with the line as it was meant.

use std::path::Path;
use tvsl::config::{Config, Draft};

fn complaint(text: &str) -> String {
    Config::parse(text, Path::new("tvsl.toml")).expect_err(text).to_string()
}

/// A text, and what a user must read about it.
const SLIPS: &[(&str, &[&str])] = &[
    // Quotes.
    ("[mqtt]\nhost = \"a", &["2:10: mqtt.host: has no closing quote", "write host = \"a\""]),
    ("[mqtt]\nhost = 'a", &["has no closing quote", "write host = 'a'"]),
    ("[mqtt]\nhost = a\"", &["has no opening quote", "write host = \"a\""]),
    ("[mqtt]\nhost = ’broker’", &["plain quotes", "host = \"broker\""]),
    ("[mqtt]\nhost = 10.0.0.1", &["mqtt.host: is no value", "text takes quotes: host = \"10.0.0.1\""]),
    ("[model]\npath = \"C:\\models\"", &["path = 'C:\\models'"]),
    ("[model]\npath = C:\\models", &["path = 'C:\\models'"]),
    ("[microphone]\nsource = none", &["text takes quotes: source = \"none\""]),
    // Signs.
    ("[mqtt]\nport: 1883", &["mqtt.port: has a `:` where `=` belongs", "write port = 1883"]),
    ("[mqtt]\nhost: broker", &["write host = \"broker\""]),
    ("[mqtt]\nport := 1883", &["write port = 1883"]),
    ("[mqtt]\nhost \"a\"", &["has no `=`", "write host = \"a\""]),
    ("[camera]\nrate == 10", &["has more than one `=`", "write rate = 10"]),
    ("[mqtt]\nport =", &["tvsl.toml:2:7: mqtt.port: has no value", "expected port = VALUE"]),
    ("[mqtt]\nport = # todo", &["mqtt.port: has no value"]),
    ("[mqtt]\nhost", &["mqtt.host: has no value"]),
    ("[camera]\nrate = null", &["camera.rate: is no value", "without the line the default holds"]),
    ("// note\n[mqtt]", &["is no comment", "# note"]),
    ("; note\n[mqtt]", &["# note"]),
    ("[camera]\nrate = 10 // ten", &["rate = 10 # ten"]),
    // Numbers and answers.
    ("[camera]\nrate = 7,5 # fast", &["decimals take a point: rate = 7.5"]),
    ("[camera]\nrate = .5", &["camera.rate: is no number", "write rate = 0.5"]),
    ("[camera]\nrate = 5.", &["is no number", "write rate = 5.0"]),
    ("[camera]\nrate = 010", &["is no number", "write rate = 10"]),
    ("[camera]\nrate = 10,", &["is no number", "write rate = 10"]),
    ("[camera]\nstall = 5s", &["camera.stall: has a unit", "stall = 5"]),
    ("[camera]\nstall = 5 sec", &["has a unit", "stall = 5"]),
    ("[camera]\nstall = \"5s\"", &["without quotes and unit: stall = 5"]),
    ("[mqtt]\nenabled = no # off", &["is neither true nor false", "expected enabled = false"]),
    ("[mqtt]\nenabled = \"yes\"", &["write it without quotes: true"]),
    ("[engine]\nthreads = two", &["engine.threads: is no value, expected a number"]),
    // Lists and names.
    ("[detection]\nclasses = [dog, cat]", &["classes = [\"dog\", \"cat\"]"]),
    ("[detection]\nclasses = dog, cat", &["a list takes brackets", "classes = [\"dog\", \"cat\"]"]),
    ("[detection]\nclasses = [\"dog\", \"cat\"", &["classes = [\"dog\", \"cat\"]"]),
    (
        "[detection]\nclasses = [\"dog\"\nsensitivity = 1\n[mqtt]\nport = 1883",
        &["2:1: detection.classes: has no closing `]`", "write classes = [\"dog\"]\n"],
    ),
    (
        "[detection.thresholds]\ndog = { p = 0.8\ncat = { p = 0.5 }\n[mqtt]\nport = 0",
        &["2:1: detection.thresholds.dog: has no closing `}`", "write dog = { p = 0.8 }\n"],
    ),
    ("[detection.audio_floor]\nsteam whistle = 0.7", &["\"steam whistle\" = 0.7"]),
    ("[detection.thresholds]\ndog = 0.7", &["write dog = { p = 0.7 }"]),
    // Sections.
    ("[camera rtsp]\nurl = \"\"", &["is no header of a section", "write [camera.rtsp]"]),
    ("mqtt]\nport = 1", &["write [mqtt]"]),
    ("[mqtt]]\nport = 1", &["write [mqtt]"]),
    ("mqtt:\n  port: 1", &["write [mqtt]", "tvsl.toml:2:", "write port = 1"]),
    // What is there twice.
    ("[mqtt]\nport = 1\nport = 2", &["tvsl.toml:3:1: mqtt.port: duplicate key", "first in line 2"]),
    ("[mqtt]\nport = 1\n[log]\n[mqtt]\n", &["tvsl.toml:4:2: mqtt: duplicate key", "first in line 1"]),
    ("camera.rate = 1\n[camera]\n", &["camera: duplicate key", "first in line 1"]),
    // Values of another kind.
    ("[camera]\nsource = 3", &["camera.source: is the number 3, expected \"v4l2\", \"csi\""]),
    ("[camera]\nsource = {a=1}", &["camera.source: is a section, expected \"v4l2\""]),
    ("[camera]\nsource = [\"rtsp\"]", &["camera.source: is a list, expected \"v4l2\""]),
    ("[mqtt]\nport = 1979-05-27", &["mqtt.port: is the date 1979-05-27, expected a whole number"]),
    ("[microphone.alsa]\nchannel = 1979-05-27", &["is the date 1979-05-27, expected \"mix\""]),
    // Values that cannot be.
    (
        "[microphone.alsa]\nchannels = 2\nchannel = 7",
        &["tvsl.toml:3:11: microphone.alsa.channel: is 7, but", "0 to 1"],
    ),
    ("[device]\nname = \" \"", &["device.name: is blank"]),
    ("[device]\nname = \"hall \"", &["a space at its start or its end"]),
    ("[camera.rtsp]\nurl = \"rtsp://h:99999/x\"", &["camera.rtsp.url: has a port that is no number"]),
];

#[test]
fn every_slip_is_told_with_the_line_that_was_meant() {
    let mut lacking = Vec::new();
    for (text, words) in SLIPS {
        let told = complaint(text);
        let absent = words.iter().filter(|word| !told.contains(**word));
        lacking.extend(absent.map(|word| format!("{text}\n→ lacks: {word}\n{told}")));
    }
    assert!(lacking.is_empty(), "{}", lacking.join("\n"));
}

#[test]
fn a_line_is_told_once_and_the_next_one_too() {
    let told = complaint("[mqtt]\nport: 1\nhost: \"a\"\n");
    assert_eq!(told.matches("where `=` belongs").count(), 2, "{told}");
}

#[test]
fn no_slip_shows_a_password() {
    for line in [
        "url = rtsp://u:geheim@h/x",
        "url = \"rtsp://u:geheim@h/x",
        "url: rtsp://u:geheim@h/x",
        "url = ’rtsp://u:geheim@h/x’",
        "url = \"rtsp://u:ge heim@h:99999/x\"",
        "url = \"rtsp://u:ge/heim@h/x\"",
        "url = \"rtsp://u:geheim@:1/x\"",
        "password = geheim",
    ] {
        let told = complaint(&format!("[camera.rtsp]\n{line}\n"));
        assert!(!told.contains("heim") && told.contains("***"), "{line}: {told}");
    }
}

#[test]
fn what_hangs_on_a_fault_is_not_judged_and_the_rest_is() {
    let told =
        complaint("[camera]\nsource = \"tset\"\n[microphone]\nsource = \"media\"\n[device]\nname = \" \"\n");
    assert!(told.contains("camera.source") && told.contains("device.name"), "{told}");
    assert!(!told.contains("microphone.source"), "a camera that is not known may have sound: {told}");
    let told = complaint("[mqtt]\nport = 0\n[camera]\nsource = \"file\"\n");
    assert!(told.contains("mqtt.port") && told.contains("camera.file.path: is empty"), "{told}");
}

#[test]
fn a_faulty_value_stands_at_its_default_in_a_draft() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tvsl.toml");
    std::fs::write(&file, "[mqtt]\nport = 0\nhost = \"b\"\n").expect("a file");
    let (draft, _) = Draft::find(Some(&file), None).expect("it is TOML");
    assert_eq!((draft.config().mqtt.port, draft.config().mqtt.host.as_str()), (1883, "b"));
    assert!(!draft.is_sound(&["mqtt"]) && draft.is_sound(&["mqtt.host", "camera"]));
    assert!(draft.judged().expect_err("port 0").to_string().contains("mqtt.port"));
}

#[test]
fn what_stands_behind_an_open_bracket_is_not_blamed() {
    let told = complaint("[detection]\nclasses = [\"dog\"\nsensitivity = 1\n[mqtt]\nport = 1883");
    assert_eq!(told.matches("tvsl.toml:").count(), 1, "{told}");
}
