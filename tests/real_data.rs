//! The default model on photographs and recordings that the repository does not hold (`../shared/data`):
//! COCO photographs with boxes, ESC-10 recordings. Not how good it is, but that it sees and hears.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tvsl::capture;
use tvsl::geometry::Size;
use tvsl::picture::Raster;

const DATA: &str = "../shared/data";

/// A class of the model, its number in COCO, and the folder of its recordings in ESC-10.
const CLASSES: [(&str, usize, &str); 3] =
    [("dog", 16, "dog_bark"), ("person", 0, "baby_cry"), ("clock", 74, "clock_tick")];

/// A class must cover this much of a photograph to be sought in it.
const COVERED: f32 = 0.1;

/// Photographs of each class at most.
const PHOTOS: usize = 6;

/// The data, or a word that it is not there.
fn data() -> Option<PathBuf> {
    let folder = fs::canonicalize(DATA).ok();
    if folder.is_none() {
        // Past the test's own capture, so that a run without the data says so.
        writeln!(std::io::stderr(), "skipped: data absent ({DATA})").expect("somebody reads");
    }
    folder
}

/// The boxes of a COCO class in a label file, `[x0, y0, x1, y1]`.
fn boxes(labels: &Path, class: usize) -> Vec<[f32; 4]> {
    let text = fs::read_to_string(labels).expect("labels");
    let numbers = |line: &str| line.split(' ').map(|n| n.parse().expect("a number")).collect::<Vec<f32>>();
    let lines = text.lines().map(numbers).filter(|line| line[0] as usize == class);
    lines.map(|n| [n[1] - n[3] / 2.0, n[2] - n[4] / 2.0, n[1] + n[3] / 2.0, n[2] + n[4] / 2.0]).collect()
}

/// Photographs in which a class covers enough, with its boxes.
fn photos(data: &Path, class: usize) -> Vec<(PathBuf, Vec<[f32; 4]>)> {
    let large = |[x0, y0, x1, y1]: &[f32; 4]| (x1 - x0) * (y1 - y0) >= COVERED;
    let with_boxes = |labels: PathBuf| {
        let found = boxes(&labels, class);
        let image = data.join("coco/images").join(labels.file_stem()?).with_extension("jpg");
        found.iter().any(large).then_some((image, found))
    };
    files(&data.join("coco/labels")).into_iter().filter_map(with_boxes).take(PHOTOS).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of the data");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

/// Each photograph with a sound of its class, with a sound of the next class, and in silence.
fn scenes(data: &Path) -> Vec<Value> {
    let sounds = CLASSES.map(|(_, _, folder)| files(&data.join("esc10").join(folder)));
    let mut scenes = Vec::new();
    for (c, (class, number, _)) in CLASSES.into_iter().enumerate() {
        let other = (c + 1) % CLASSES.len();
        for (n, (image, boxes)) in photos(data, number).into_iter().enumerate() {
            let there = json!([{"class": class, "boxes": boxes}]);
            scenes.push(json!({"image": image, "audio": sounds[c][n], "kind": "single", "sources": there}));
            if CLASSES[other].0 != "person" {
                let away = json!([{"class": CLASSES[other].0}]);
                let sound = &sounds[other][n];
                scenes.push(json!({"image": image, "audio": sound, "kind": "off_screen", "sources": away}));
            }
            scenes.push(json!({"image": image, "kind": "silence", "silent": [class]}));
        }
    }
    scenes
}

#[test]
fn the_default_model_hears_and_sees_what_is_not_its_own() {
    let Some(data) = data() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("scenes.json");
    fs::write(&file, json!({"scenes": scenes(&data)}).to_string()).expect("a scenes file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tvsl"));
    let output = command.arg("eval").arg(&file).arg("--json").output().expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    let figure = |name: &str| report[name]["value"].as_f64().unwrap_or(f64::NAN);
    println!(
        "{}",
        ["set_f1", "off_screen_false_rate", "pointing", "iou_at_30", "swapped_audio_f1", "text_shuffled_f1"]
            .map(|name| format!("{name} {:.2}", figure(name)))
            .join(", ")
    );
    assert!(figure("set_f1") >= 0.5, "{report}");
    assert!(figure("swapped_audio_f1") <= 0.5 * figure("set_f1"), "it listens: {report}");
    assert!(figure("text_shuffled_f1") <= 0.1 * figure("set_f1"), "it reads: {report}");
    assert!(figure("off_screen_false_rate") <= 0.3, "{report}");
    assert_eq!(figure("silence_false_rate"), 0.0, "{report}");
    assert!(figure("pointing") >= 0.6, "{report}");
}

/// Two photographs beside each other, each within a square of this side.
const SIDE: usize = 400;

fn beside(photos: [&Path; 2], out: &Path) {
    let mut pixels = vec![127; 2 * SIDE * SIDE * 3];
    for (left, photo) in [0, SIDE].into_iter().zip(photos) {
        let most = Size::new(SIDE as u32, SIDE as u32);
        let frame = capture::read_picture(photo, Some(most)).expect("a photograph");
        for (row, line) in frame.rgb.chunks_exact(frame.size.width as usize * 3).enumerate() {
            let at = (row * 2 * SIDE + left) * 3;
            pixels[at..at + line.len()].copy_from_slice(line);
        }
    }
    let raster = Raster { size: Size::new(2 * SIDE as u32, SIDE as u32), channels: 3, pixels };
    let png = raster.png_within(usize::MAX, ("Title", "two photographs")).expect("a PNG");
    fs::write(out, png.expect("no bound")).expect("room for a file");
}

/// Where dogs are found, from the left, in a picture with a recording.
fn dogs(picture: &Path, sound: &Path, masks: &str) -> Vec<f64> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (config, out) = (dir.path().join("tvsl.toml"), dir.path().join("out"));
    fs::write(&config, format!("detection.masks = {masks}\n")).expect("room for a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tvsl"));
    command.arg("annotate").args([picture, Path::new("--sound"), sound, Path::new("--out"), &out]);
    let output = command.arg("--config").arg(&config).output().expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = fs::read_to_string(out.join("detections.jsonl")).unwrap_or_default();
    let messages = told.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let found = messages.flat_map(|message| message["detections"].as_array().expect("a list").clone());
    let dogs = found.filter(|found| found["class"] == "dog");
    dogs.map(|dog| dog["region"]["peak"][0].as_f64().expect("a number")).collect()
}

/// A dog barks left of a person; in two of three such pictures at least it is found there.
#[test]
fn what_is_masked_in_a_photograph_is_not_found() {
    let Some(data) = data() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (dog, person) = (photos(&data, 16), photos(&data, 0));
    let sound = &files(&data.join("esc10/dog_bark"))[1];
    let (mut found, picture) = (0, dir.path().join("both.png"));
    for ((dog, _), (person, _)) in dog.iter().zip(&person).take(3) {
        beside([dog, person], &picture);
        let hidden = dogs(&picture, sound, "[[0.0, 0.0, 0.5, 1.0]]");
        assert!(hidden.is_empty(), "{}: the dog is hidden, and found at {hidden:?}", dog.display());
        let seen = dogs(&picture, sound, "[[0.5, 0.0, 1.0, 1.0]]");
        assert!(seen.iter().all(|&peak| peak < 0.5), "{}: found under the mask: {seen:?}", dog.display());
        found += usize::from(!seen.is_empty());
    }
    assert!(found >= 2, "the person hidden, the dog is found in {found} of 3");
}
