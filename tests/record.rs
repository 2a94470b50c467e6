//! What a device saw and heard is kept without loss, within its bounds, and judged again the same way each time.

mod daemon;
mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use daemon::Place;
use support::{clip, collect, make, microphone, start};
use tvsl::capture::{Pace, Recorder};
use tvsl::clock::Instant;
use tvsl::config::MicrophoneSource;
use tvsl::frame::{Frame, Samples};
use tvsl::geometry::Size;

/// A live camera that shows red and hums.
const RED: &str = "
[camera]
source = \"pipeline\"
[camera.pipeline]
launch = \"videotestsrc is-live=true pattern=red ! video/x-raw,width=320,height=180,framerate=10/1 ! identity audiotestsrc is-live=true freq=200 volume=0.8 samplesperbuffer=480 ! audio/x-raw,rate=48000,channels=1 ! identity\"
[microphone]
source = \"media\"
[mqtt]
enabled = false
";

fn tvsl(config: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tvsl"));
    command
        .arg("--config")
        .arg(config)
        .args(arguments)
        .env_remove("TVSL_LOG")
        .output()
        .expect("the program runs")
}

fn told(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[test]
fn what_was_recorded_is_judged_the_same_way_each_time() {
    let place = Place::new();
    let (config, file) = (place.config(RED), place.path("seen.mkv"));
    let name = file.to_str().expect("text");
    let said = told(&tvsl(&config, &["record", "--seconds", "4", "--out", name]));
    assert!(said.contains(" s, pictures of "), "{said}");
    let about = std::fs::metadata(&file).expect("a recording");
    assert_eq!(about.permissions().mode() & 0o777, 0o600, "nobody else may see or hear it");
    let (first, second) = (told(&tvsl(&config, &["replay", name])), told(&tvsl(&config, &["replay", name])));
    assert!(first.lines().any(|line| line.contains("\"event\":\"start\",\"class\":\"red\"")), "{first}");
    assert!(first.lines().last().is_some_and(|line| line.contains("\"ended\":[{")), "{first}");
    assert_eq!(first, second);
    let again = tvsl(&config, &["record", "--seconds", "1", "--out", name]);
    assert_eq!(again.status.code(), Some(1), "it is not overwritten");
    let told = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told(&again).contains("is there already; name another file with --out"), "{}", told(&again));
    assert_eq!(std::fs::metadata(&file).expect("a recording").len(), about.len());
}

#[test]
fn what_cannot_be_recorded_or_replayed_is_told_with_its_cure() {
    let place = Place::new();
    let config = place.config(RED);
    let file = |name: &str| place.path(name).display().to_string();
    let mute = file("mute.mkv");
    support::make(&format!("{} ! matroskamux ! filesink", daemon::red(1)), &place.path("mute.mkv"));
    support::make(&format!("{} ! matroskamux ! filesink", daemon::hum(1)), &place.path("blind.mkv"));
    let pipe = Command::new("mkfifo").arg(place.path("pipe")).status().expect("mkfifo is there");
    assert!(pipe.success());
    for (arguments, expected) in [
        (["record", "--out", &file("")], "is a folder; name a file in it"),
        (["record", "--out", &file("none/seen.mkv")], "its folder is not there; make it"),
        (["replay", "--", &mute], "has no sound; tvsl reports what is both heard and seen"),
        (["replay", "--", &file("blind.mkv")], "there is no picture in it"),
        (["replay", "--", &file("pipe")], "is a pipe or a device, no file; name a recording"),
        (["eval", "--", "/dev/zero"], "is a pipe or a device, no file; give the path of a JSON file"),
        (["annotate", "--out=out", &file("pipe")], "is a pipe or a device, no file; name a clip"),
    ] {
        let output = tvsl(&config, &arguments);
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && words.contains(expected), "{arguments:?}: {words}");
    }
}

#[test]
fn a_recording_ends_at_its_size_and_without_a_camera_leaves_no_file() {
    let place = Place::new();
    let (snow, file) = (RED.replace("pattern=red", "pattern=snow"), place.path("snow.mkv"));
    let name = file.to_str().expect("text");
    let arguments = ["record", "--seconds", "600", "--megabytes", "1", "--full-size", "--out", name];
    let output = tvsl(&place.config(&snow), &arguments);
    let (said, log) = (told(&output), String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("pictures of 320 x 180") && !log.contains("CRITICAL"), "{said} {log}");
    let size = std::fs::metadata(&file).expect("a recording").len();
    assert!((800_000..=1_000_000).contains(&size), "{size}");
    let again = tvsl(&place.config(&snow), &["replay", name]);
    let log = String::from_utf8_lossy(&again.stderr);
    assert!(again.status.success() && !log.contains("cut off"), "it is whole: {log}");

    let away = "[camera]\nsource = \"v4l2\"\nv4l2.device = \"/dev/v4l/by-id/none\"\n[microphone]\nsource = \"none\"\n";
    let (config, file) = (place.config(away), place.path("none.mkv"));
    let output = tvsl(&config, &["record", "--out", file.to_str().expect("text")]);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && words.contains("/dev/v4l/by-id/none"), "{words}");
    assert!(!file.exists());
}

/// Pixels and samples that no lossy coding would survive, at uneven times.
#[test]
fn pixels_samples_and_times_come_back_as_they_were() {
    let place = Place::new();
    let file = place.path("exact.mkv");
    let (size, mut random) = (Size::new(37, 23), fastrand::Rng::with_seed(5));
    let at = |milliseconds: u64| Instant::from_nanos((70_000 + milliseconds) * 1_000_000);
    let frames: Vec<Frame> = [0u64, 90, 210, 300, 1_400]
        .map(|milliseconds| {
            let rgb = std::iter::repeat_with(|| random.u8(..)).take(37 * 23 * 3).collect();
            Frame { captured: at(milliseconds), size, source: size, rgb }
        })
        .into();
    let blocks: Vec<Samples> = (0..15)
        .map(|block| {
            let mono = std::iter::repeat_with(|| random.f32() * 2.0 - 1.0).take(1600).collect();
            // Half a second is lost after the fifth.
            Samples::new(at(block * 100 + if block > 5 { 500 } else { 0 }), support::RATE, mono)
        })
        .collect();
    let mut recorder = Recorder::create(&file, Some(support::RATE), u64::MAX).expect("a new file");
    frames.iter().for_each(|frame| recorder.see(frame).expect("room"));
    blocks.iter().for_each(|block| recorder.hear(block).expect("room"));
    assert_eq!(recorder.length(), Duration::from_millis(1400));
    recorder.finish().expect("a whole file");

    let bytes = std::fs::read(&file).expect("a file");
    let duration = [0x23, 0xE3, 0x83]; // Matroska's DefaultDuration
    assert!(!bytes[..2000].windows(3).any(|word| word == duration), "pictures come when they come");

    let (_capture, receiver) =
        start(&clip(&file), &microphone(MicrophoneSource::Media), Pace::Fast).expect("a recording");
    let heard = collect(&receiver, |_| false);
    assert!(heard.faults.is_empty(), "{:?}", heard.faults);
    let times: Vec<u64> = heard.frames.iter().map(|frame| frame.captured.as_nanos() / 1_000_000).collect();
    assert_eq!(times, [0, 90, 210, 300, 1400]);
    let mono = |blocks: &[Samples]| blocks.iter().flat_map(|block| block.mono.clone()).collect::<Vec<f32>>();
    assert_eq!(mono(&heard.sound), mono(&blocks));
    let lost: f64 = heard.sound.iter().map(|block| block.lost_before.as_secs_f64()).sum();
    assert!((lost - 0.5).abs() < 0.002, "{lost}");
    // The pictures are laid into the model's grid on their way here; read whole, they are the same to the last bit.
    let read: Vec<_> = tvsl::capture::read_pictures(&file, None).expect("pictures").collect();
    let same =
        |(read, frame): (&Result<Frame, _>, &Frame)| read.as_ref().is_ok_and(|read| read.rgb == frame.rgb);
    assert!(read.len() == 5 && read.iter().zip(&frames).all(same));
}

#[test]
fn a_recording_whose_sound_comes_late_is_replayed_to_its_end() {
    let place = Place::new();
    let file = place.path("late.mkv");
    let pictures = "videotestsrc pattern=snow num-buffers=100 ! video/x-raw,width=640,height=360,framerate=10/1 ! \
                    videoconvert ! avenc_huffyuv ! mux.";
    let sound = "audiotestsrc num-buffers=40 samplesperbuffer=800 timestamp-offset=8000000000 ! \
                 audio/x-raw,rate=16000,channels=1 ! mux.";
    make(&format!("{pictures} {sound} matroskamux name=mux ! filesink"), &file);
    let config = place.config(RED);
    let mut replay = Command::new("timeout");
    replay.args(["100", env!("CARGO_BIN_EXE_tvsl"), "--config"]).arg(config).arg("replay").arg(&file);
    let output = replay.env_remove("TVSL_LOG").output().expect("the program runs");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && log.contains("frames=100"), "ten pictures a second: {log}");
}
