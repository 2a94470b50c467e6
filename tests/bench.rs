//! `tvsl bench` prints every figure that the README names, each from what was really run.

mod daemon;
mod support;

use std::process::Command;

use daemon::Place;
use serde_json::{Value, json};

/// The figures of a clip in which red hums for all of its three seconds, by the model for tests.
fn figures() -> Value {
    let place = Place::new();
    let (clip, truth) = (place.path("clip.mkv"), place.path("truth.json"));
    let (red, hum) = (daemon::red(3), daemon::hum(3));
    support::make(&format!("{red} ! queue ! m. {hum} ! queue ! m. matroskamux name=m ! filesink"), &clip);
    let source = json!({"class": "red", "box": [0.0, 0.0, 1.0, 1.0], "sounding": [[0.0, 2.9]]});
    let told = json!({"clip": clip, "seconds": 3.0, "sources": [source]});
    std::fs::write(&truth, told.to_string()).expect("room for a file");
    let mut tvsl = Command::new(env!("CARGO_BIN_EXE_tvsl"));
    tvsl.args(["bench", "--json", "--rounds", "1", "--model", "tests/data/tiny", "--truth"]).arg(&truth);
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
