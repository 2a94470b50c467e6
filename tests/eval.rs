//! `tvsl eval`: exact figures on scenes made here for the tiny model, and what it says of bad input.

mod support;
mod tiny;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;
use tiny::{BLUE, GREEN, RED};
use tvsl::geometry::Size;
use tvsl::picture::{Canvas, write_png};

/// A folder with pictures of colours and sounds of their bands.
struct Studio(TempDir);

impl Studio {
    fn new() -> Self {
        let studio = Self(tempfile::tempdir().expect("a temporary folder"));
        studio.picture("red-green.png", &[RED, GREEN]);
        studio.picture("blue.png", &[BLUE]);
        studio.sound("red.wav", &[RED], 1.0);
        studio.sound("blue.wav", &[BLUE], 0.6);
        studio.sound("green-red.wav", &[GREEN, RED], 2.5);
        studio
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn picture(&self, name: &str, colours: &[usize]) {
        let frame = tiny::stripes(colours, Size::new(64, 64), 0.0);
        write_png(&Canvas::new(frame.size, frame.rgb), &self.path(name)).expect("a picture");
    }

    fn sound(&self, name: &str, bands: &[usize], seconds: f64) {
        self.samples(name, &tiny::hum(bands, 0.0, seconds).mono);
    }

    fn samples(&self, name: &str, mono: &[f32]) {
        let data: Vec<u8> = mono.iter().flat_map(|s| ((s * 32767.0) as i16).to_le_bytes()).collect();
        fs::write(self.path(name), wav(&data)).expect("a sound");
    }

    /// Runs `tvsl eval` on these scenes.
    fn eval(&self, scenes: &str, more: &[&str]) -> Output {
        let file = self.path("scenes.json");
        fs::write(&file, scenes).expect("a scenes file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tvsl"));
        command.arg("eval").arg(file).args(["--model", "tests/data/tiny"]).args(more);
        command.output().expect("the program runs")
    }

    fn report(&self, scenes: &str) -> Value {
        let output = self.eval(scenes, &["--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    fn failure(&self, scenes: &str) -> String {
        let output = self.eval(scenes, &[]);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).expect("text")
    }
}

fn wav(data: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let size = data.len() as u32;
    file.extend(b"RIFF");
    file.extend((36 + size).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16u32.to_le_bytes());
    file.extend([1, 0, 1, 0]); // PCM, mono
    file.extend(tiny::RATE.to_le_bytes());
    file.extend((2 * tiny::RATE).to_le_bytes());
    file.extend([2, 0, 16, 0]);
    file.extend(b"data");
    file.extend(size.to_le_bytes());
    file.extend(data);
    file
}

/// One scene of each kind, and one of a class that the model lacks.
const SCENES: &str = r#"{"scenes": [
    {"image": "blue.png", "audio": "blue.wav", "kind": "single",
     "sources": [{"class": "blue", "boxes": [[0, 0, 1, 1]]}]},
    {"image": "red-green.png", "audio": "green-red.wav", "kind": "duet", "sources": [
        {"class": "red", "boxes": [[0, 0, 0.5, 1]]}, {"class": "green", "boxes": [[0.5, 0, 1, 1]]}]},
    {"image": "red-green.png", "audio": "red.wav", "kind": "silent_object", "silent": ["green"],
     "sources": [{"class": "red", "boxes": [[0, 0, 0.5, 1]]}]},
    {"image": "blue.png", "audio": "red.wav", "kind": "off_screen", "sources": [{"class": "red"}]},
    {"image": "blue.png", "kind": "silence", "silent": ["blue"]},
    {"image": "blue.png", "audio": "blue.wav", "kind": "single", "sources": [{"class": "zebra"}]}
]}"#;

fn assert_figure(report: &Value, name: &str, value: f64, n: u64) {
    let figure = &report[name];
    let [found, low, high] = ["value", "low", "high"].map(|key| figure[key].as_f64().unwrap_or(f64::NAN));
    assert!((found - value).abs() < 1e-9, "{name}: {figure}, expected {value}");
    assert!(low <= found && found <= high, "{name}: {figure}");
    assert_eq!(figure["n"], n, "{name}: {figure}");
}

#[test]
fn a_sound_is_heard_to_its_end() {
    let studio = Studio::new();
    let mut mono = vec![0.0; 2 * tiny::RATE as usize];
    mono.extend(tiny::hum(&[RED], 0.0, 0.2).mono); // ends within a hop
    studio.samples("late.wav", &mono);
    let report = studio.report(
        r#"{"scenes": [{"image": "red-green.png", "audio": "late.wav", "kind": "single", "sources": [{"class": "red"}]}]}"#,
    );
    assert_eq!(report["set_recall"]["value"], 1.0, "{report}");
}

#[test]
fn a_model_that_is_always_right_scores_all_points() {
    let report = Studio::new().report(SCENES);
    assert_eq!((&report["scenes"], &report["scenes_left_out"]), (&5.into(), &1.into()));
    assert_eq!(report["classes_left_out"]["zebra"], 1);
    for (name, n) in [("set_precision", 4), ("set_recall", 4), ("set_f1", 5), ("exact_set", 5)] {
        assert_figure(&report, name, 1.0, n);
    }
    assert_figure(&report, "class_map", 1.0, 3);
    for (name, n) in [("silent_false_rate", 2), ("off_screen_false_rate", 1), ("silence_false_rate", 1)] {
        assert_figure(&report, name, 0.0, n);
    }
    for (name, n) in [("pointing", 4), ("iou_at_30", 4), ("ciou_at_30", 2), ("duet_half", 2)] {
        assert_figure(&report, name, 1.0, n);
    }
    for (name, n) in [("duet_ciou_at_30", 2), ("duet_ciou_at_30_by_frame", 1)] {
        assert_figure(&report, name, 1.0, n);
    }
    // Blue fills its picture, so that every position is a hit; red and green each have a single beside the duet.
    for (name, n) in
        [("single_ap", 2), ("single_iou_at_50", 2), ("single_auc", 2), ("duet_cap", 2), ("duet_auc", 2)]
    {
        assert_eq!(report[name]["n"], n, "{name}: {}", report[name]);
    }
    for (name, n) in [("duet_piap", 1), ("duet_auc_by_frame", 1)] {
        assert_eq!(report[name]["n"], n, "{name}: {}", report[name]);
    }
    assert_eq!(report["duet_piap"]["value"], report["duet_cap"]["value"], "each map lies on its own source");
    for name in ["mean_iou", "iou_at_50", "auc", "cap", "swapped_audio_f1", "text_shuffled_f1"] {
        assert!(report[name]["value"].is_number() && report[name]["n"].is_number(), "{name}");
    }
    let protocol = report["protocol"].as_str().expect("a protocol");
    for words in
        ["union of the published regions", "source-wise unless a name says by frame", "window.memory"]
    {
        assert!(protocol.contains(words), "{words}: {protocol}");
    }
    assert_eq!(report["classes"].as_array().map(Vec::len), Some(3));
}

#[test]
fn a_model_that_listens_and_reads_loses_its_score_to_the_controls() {
    let studio = Studio::new();
    let scene = |(colour, name): (usize, &str)| {
        studio.picture(&format!("{name}.png"), &[colour]);
        studio.sound(&format!("{name}.wav"), &[colour], 1.0);
        format!(
            r#"{{"image": "{name}.png", "audio": "{name}.wav", "kind": "single", "sources": [{{"class": "{name}"}}]}}"#
        )
    };
    let scenes = [(RED, "red"), (GREEN, "green"), (BLUE, "blue")].map(scene).join(",");
    let report = studio.report(&format!("{{\"scenes\": [{scenes}]}}"));
    assert_figure(&report, "set_f1", 1.0, 3);
    assert_figure(&report, "swapped_audio_f1", 0.0, 3);
    assert_figure(&report, "text_shuffled_f1", 0.0, 3);
}

#[test]
fn a_scene_that_keeps_its_own_sound_is_not_counted_as_exchanged() {
    let scene = |name: &str| {
        format!(
            r#"{{"image": "blue.png", "audio": "{name}", "kind": "single", "sources": [{{"class": "blue"}}]}}"#
        )
    };
    let (studio, one) = (Studio::new(), scene("blue.wav"));
    studio.sound("other.wav", &[BLUE], 2.0);
    for scenes in [one.clone(), format!("{one}, {}", scene("other.wav"))] {
        let report = studio.report(&format!("{{\"scenes\": [{scenes}]}}"));
        let exchanged = &report["swapped_audio_f1"];
        assert!(exchanged["n"] == 0 && exchanged["value"].is_null(), "{exchanged}");
    }
}

#[test]
fn labels_that_are_one_to_the_model_are_told() {
    let scenes = SCENES.replace(r#""silent": ["green"]"#, r#""silent": ["light red"]"#);
    let log = String::from_utf8(Studio::new().eval(&scenes, &[]).stderr).expect("text");
    let told = "scenes[2].silent: `light red`, which is `red` to the model, is a source of the scene as well";
    assert!(log.contains(told), "{log}");
}

#[test]
fn a_picture_that_is_cut_off_is_told() {
    let studio = Studio::new();
    let line =
        "videotestsrc num-buffers=1 pattern=snow ! video/x-raw,width=320,height=180 ! jpegenc ! filesink";
    let picture = studio.path("cut.jpg");
    support::make(line, &picture);
    let whole = fs::read(&picture).expect("a picture");
    fs::write(&picture, &whole[..whole.len() / 2]).expect("a file");
    let log = studio.eval(&SCENES.replace("blue.png", "cut.jpg"), &[]).stderr;
    let log = String::from_utf8(log).expect("text");
    assert_eq!(log.matches("cut.jpg: is cut off: the end of the picture is missing").count(), 1, "{log}");
}

#[test]
fn a_wrong_label_costs_what_it_should() {
    let scenes = SCENES.replace("\"silent\": [\"blue\"]", "\"silent\": []").replacen(
        "\"class\": \"blue\"",
        "\"class\": \"green\"",
        1,
    );
    let report = Studio::new().report(&scenes);
    assert_figure(&report, "set_precision", 0.75, 4);
    assert_figure(&report, "set_recall", 0.75, 4);
    assert_figure(&report, "exact_set", 0.8, 5);
}

#[test]
fn a_class_is_known_by_its_other_names() {
    let scenes = SCENES.replace(r#""class": "red""#, r#""class": "dark red""#);
    let scenes = scenes.replace(r#""silent": ["green"]"#, r#""silent": ["light green", "light red"]"#);
    let report = Studio::new().report(&scenes);
    assert_figure(&report, "set_f1", 1.0, 5);
    assert_figure(&report, "silent_false_rate", 0.0, 2);
    assert_eq!(report["classes_left_out"], serde_json::json!({"zebra": 1}));
}

#[test]
fn the_same_scenes_give_the_same_report() {
    let studio = Studio::new();
    assert_eq!(studio.report(SCENES), studio.report(SCENES));
}

#[test]
fn the_table_fits_a_terminal() {
    let output = Studio::new().eval(SCENES, &[]);
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.contains("set_f1") && text.contains("swapped_audio_f1") && text.contains("zebra"), "{text}");
    assert!(text.contains("as published tables do") && text.contains("duet_piap"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn bad_input_is_named_with_its_scene_and_key() {
    let studio = Studio::new();
    fs::write(studio.path("noise.png"), b"no picture").expect("a file");
    fs::write(studio.path("empty.wav"), wav(&[])).expect("a file");
    assert!(Command::new("mkfifo").arg(studio.path("pipe.png")).status().expect("mkfifo").success());
    let one = |scene: &str| format!("{{\"scenes\": [{scene}]}}");
    let cases = [
        ("{\"scenes\": 7}".into(), "scenes.json:1:12: scenes: invalid type"),
        ("[]".into(), "invalid type: sequence, expected an object with the key `scenes`"),
        (one(r#"{"image": "blue.png", "kind": "trio"}"#), "scenes[0].kind: unknown variant `trio`"),
        (
            one(
                r#"{"image": "blue.png", "audio": "blue.wav", "kind": "single", "sources": [{"class": "zebra", "boxes": []}]}"#,
            ),
            "no scene is left to score, since the model lacks their classes (zebra)",
        ),
        (one(r#"{"image": "none.png", "kind": "silence"}"#), "none.png: no such file; paths are relative"),
        (one(r#"{"image": "pipe.png", "kind": "silence"}"#), "pipe.png: is a pipe or a device"),
        (one(r#"{"image": "blue.png", "audio": "pipe.png", "kind": "silence"}"#), "scenes[0].audio: "),
        (one(r#"{"image": "noise.png", "kind": "silence"}"#), "scenes[0].image: "),
        (one(r#"{"image": "blue.png", "audio": "empty.wav", "kind": "silence"}"#), "scenes[0].audio: "),
        (
            one(
                r#"{"image": "blue.png", "kind": "single", "sources": [{"class": "red", "boxes": [[0, 0, 2, 1]]}]}"#,
            ),
            "scenes[0].sources[0].boxes[0]",
        ),
    ];
    for (scenes, expected) in cases {
        let error = studio.failure(&scenes);
        assert!(error.contains(expected), "{error}\ndoes not contain {expected}");
    }
}

#[test]
fn a_scenes_file_that_is_not_there_is_named() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tvsl"));
    let output = command.args(["eval", "no/scenes.json"]).output().expect("the program runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no/scenes.json"));
    assert!(!Path::new("no").exists());
}
