//! `tvsl bench` prints every figure that the README names, each from what was really run.

mod daemon;
mod support;

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use daemon::Place;
use serde_json::{Value, json};

/// The figures of a clip in which red hums for all of its three seconds, by the model for tests.
fn figures() -> Value {
    figures_in(&Place::new())
}

/// The same, with the programs of the folder `bin` before those of the system.
fn figures_in(place: &Place) -> Value {
    let (clip, truth) = (place.path("clip.mkv"), place.path("truth.json"));
    let (red, hum) = (daemon::red(3), daemon::hum(3));
    support::make(&format!("{red} ! queue ! m. {hum} ! queue ! m. matroskamux name=m ! filesink"), &clip);
    let source = json!({"class": "red", "box": [0.0, 0.0, 1.0, 1.0], "sounding": [[0.0, 2.9]]});
    let told = json!({"clip": clip, "seconds": 3.0, "sources": [source]});
    std::fs::write(&truth, told.to_string()).expect("room for a file");
    let mut tvsl = Command::new(env!("CARGO_BIN_EXE_tvsl"));
    tvsl.args(["bench", "--json", "--rounds", "1", "--model", "tests/data/tiny", "--truth"]).arg(&truth);
    let system = std::env::var("PATH").unwrap_or_default();
    tvsl.env("PATH", format!("{}:{system}:/usr/sbin", place.path("bin").display()));
    let output = tvsl.output().expect("the program starts");
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"))
}

#[test]
fn every_figure_is_there_and_they_agree() {
    let figures = figures();
    let value =
        |name: &str| figures[name]["value"].as_f64().unwrap_or_else(|| panic!("no {name}: {figures}"));
    let order = |names: &[&str]| {
        let values: Vec<f64> = names.iter().map(|name| value(name)).collect();
        assert!(values.is_sorted() && values[0] > 0.0, "{names:?}: {values:?}");
    };
    order(&["capture_to_publish_p50", "capture_to_publish_p90", "capture_to_publish_p99"]);
    order(&["onset_to_start_p50", "onset_to_start_p90"]);
    let engine = value("engine_cpu_ms");
    let overhead = (value("pipeline_cpu_ms") - value("decoding_cpu_ms")) / engine;
    assert!(engine > 0.0 && (value("overhead_ratio") - overhead).abs() < 1e-9, "{figures}");
    assert!((value("frames_per_second") * value("pipeline_ms") - 1e3).abs() < 1e-6, "{figures}");
    assert!(value("engine_ms") > 0.0 && value("offset_to_end_p90") > 0.0, "{figures}");
    assert!(
        (0.5..=1.0).contains(&value("audio_runs_per_hop")),
        "once for each hop, and for no picture: {figures}"
    );
    assert!(
        value("cpu_ms_per_frame") > 0.0 && value("live_rate") > 1.0 && value("peak_rss") > 1.0,
        "{figures}"
    );
    // The model for tests sees red at both ends of a picture that is red all over.
    assert_eq!((value("sounds_found"), value("identities_per_sound")), (1.0, 2.0), "{figures}");
    assert_eq!(figures["setting"]["sounds"], 1, "how many sounds onsets and ends are measured on");
}

#[test]
fn every_goal_is_that_of_two_cores() {
    let figures = figures();
    for (name, goal) in [
        ("frames_per_second", ">= 40"),
        ("overhead_ratio", "<= 1.15"),
        ("cpu_ms_per_frame", "<= 35"),
        ("capture_to_publish_p99", "<= 120"),
        ("onset_to_start_p50", "<= 0.7"),
        ("onset_to_start_p90", "<= 1.2"),
        ("offset_to_end_p90", "<= 2"),
        ("peak_rss", "<= 250"),
        ("audio_runs_per_hop", "<= 1"),
    ] {
        assert_eq!(figures[name]["target"], goal, "{name}");
        assert!(figures[name]["pass"].is_boolean(), "{name}");
    }
}

/// A `mosquitto` that says of itself in a file `N.log` what it hears.
const TALKATIVE: &str = "#!/bin/sh
printf 'user root\\nlog_type all\\nlog_dest file FOLDER/%s.log\\n' $$ >>\"$2\"
PATH=${PATH#*:} exec mosquitto \"$@\"
";

#[test]
fn overhead_is_that_of_a_daemon_whose_messages_a_broker_has() {
    let place = Place::new();
    let folder = place.path("bin");
    std::fs::create_dir(&folder).expect("room for a folder");
    let talkative = TALKATIVE.replace("FOLDER", &folder.display().to_string());
    std::fs::write(folder.join("mosquitto"), talkative).expect("room for a file");
    let program = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.join("mosquitto"), program).expect("our own file");
    figures_in(&place);
    let files = std::fs::read_dir(&folder).expect("our own folder").map(|file| file.expect("a file").path());
    let logs = files.filter(|file| file.extension().is_some_and(|extension| extension == "log"));
    let logs: Vec<_> = logs.map(|log| std::fs::read_to_string(log).expect("text")).collect();
    // In real time somebody listens, and flat out nobody, who would be part of what is measured.
    let (heard, alone): (Vec<_>, Vec<_>) =
        logs.iter().partition(|log| log.contains("Received SUBSCRIBE from tvsl-subscriber"));
    let told = |log: &String, topic: &str| {
        let told = |line: &&str| line.contains("Received PUBLISH") && line.contains(topic);
        log.lines().filter(told).count()
    };
    let [heard, alone] = [heard, alone].map(|logs| {
        assert_eq!(logs.len(), 1, "one broker each");
        ["bench/detections'", "bench/events'"].map(|topic| told(logs[0], topic))
    });
    println!("{heard:?} detections and events in real time, {alone:?} flat out");
    // In real time a slow machine leaves pictures out.
    assert!(alone[0] > 20 && heard[0] > 0 && heard[0] <= alone[0] + 3, "{alone:?}, {heard:?}");
    assert!(alone[1] > 0);
}
