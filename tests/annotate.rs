//! `tvsl annotate`: messages and pictures from clips and from a picture with a sound; bad media are told.

mod support;
mod tiny;

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use gstreamer::prelude::PluginFeatureExtManual;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::{Folder, flash_and_click, flashes, make};
use tiny::{BLUE, RED};
use tvsl::geometry::Size;
use tvsl::picture::{Canvas, write_png};

fn command(folder: &Folder, arguments: &[&Path]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tvsl"));
    command.arg("annotate").args(arguments).args(["--model", "tests/data/tiny", "--out"]);
    command.arg(folder.join("out"));
    command
}

fn annotate(folder: &Folder, arguments: &[&Path]) -> Output {
    command(folder, arguments).output().expect("the program runs")
}

fn failure(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    text
}

/// Half a red picture and half a blue one.
fn picture(folder: &Folder) -> std::path::PathBuf {
    let frame = tiny::stripes(&[RED, BLUE], Size::new(320, 180), 0.0);
    let path = folder.join("red-blue.png");
    write_png(&Canvas::new(frame.size, frame.rgb), &path).expect("a picture");
    path
}

/// A second of silence, then two of the red band.
fn sound(folder: &Folder) -> std::path::PathBuf {
    sound_of(folder, 2.0)
}

/// A second of silence, then so many of the red band, as 16-bit WAV.
fn sound_of(folder: &Folder, seconds: f64) -> std::path::PathBuf {
    let mut mono = vec![0.0; tiny::RATE as usize];
    mono.extend(tiny::hum(&[RED], 0.0, seconds).mono);
    wav(folder, &mono)
}

/// Samples as 16-bit WAV.
fn wav(folder: &Folder, mono: &[f32]) -> std::path::PathBuf {
    let data: Vec<u8> = mono.iter().flat_map(|s| ((s * 32767.0) as i16).to_le_bytes()).collect();
    let mut wav = b"RIFF".to_vec();
    wav.extend((36 + data.len() as u32).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    wav.extend(tiny::RATE.to_le_bytes());
    wav.extend((2 * tiny::RATE).to_le_bytes());
    wav.extend(b"\x02\0\x10\0data");
    wav.extend((data.len() as u32).to_le_bytes());
    wav.extend(data);
    folder.file("red.wav", &wav)
}

#[test]
fn a_picture_with_a_sound_gives_messages_and_pictures() {
    let folder = Folder::new("annotate-picture");
    let output = annotate(&folder, &[&picture(&folder), &sound(&folder)]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary = String::from_utf8(output.stdout).expect("text");
    assert!(summary.contains("red") && summary.contains('█') && !summary.contains("blue"), "{summary}");
    let lines = fs::read_to_string(folder.join("out/detections.jsonl")).expect("messages");
    let messages: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let first = &messages[0]["detections"][0];
    assert_eq!((&first["class"], &first["event"]), (&"red".into(), &"start".into()));
    let began = messages[0]["frame"]["captured"].as_f64().expect("a time");
    assert!((1.0..2.5).contains(&began), "seconds of the recording: {began}");
    assert!(first["region"]["peak"][0].as_f64().is_some_and(|x| x < 0.5), "{first}");
    assert_eq!(messages.last().map(|m| m["ended"].as_array().map(Vec::len)), Some(Some(1)));
    let pictures = pictures(&folder);
    assert!(pictures.iter().any(|name| name.ends_with("s-red.png")), "{pictures:?}");
    assert!(pictures[0].ends_with("s-nothing.png"), "{pictures:?}");
}

#[test]
fn a_sound_shorter_than_a_report_takes_is_found() {
    let folder = Folder::new("annotate-short");
    for seconds in [0.3, 0.5] {
        let hum = tiny::hum(&[RED], 0.0, seconds);
        let output = annotate(&folder, &[&picture(&folder), &wav(&folder, &hum.mono)]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = fs::read_to_string(folder.join("out/detections.jsonl")).expect("messages");
        let first: Value = serde_json::from_str(lines.lines().next().expect("a message")).expect("JSON");
        assert_eq!(first["detections"][0]["class"], "red", "{seconds} s");
    }
}

fn pictures(folder: &Folder) -> Vec<String> {
    let entries = fs::read_dir(folder.join("out")).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".png")).collect();
    names.sort();
    names
}

#[test]
fn a_clip_is_read_to_its_end() {
    let folder = Folder::new("annotate-clip");
    let clip = folder.join("clip.mkv");
    flash_and_click(&clip, 2);
    let output = annotate(&folder, &[&clip]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary = String::from_utf8(output.stdout).expect("text");
    assert!(summary.contains("of 1.9 s analysed"), "{summary}");
    assert!(!pictures(&folder).is_empty());
}

#[test]
fn a_picture_that_takes_long_to_decode_is_not_taken_for_damaged() {
    let folder = Folder::new("annotate-large");
    let large = folder.join("large.png");
    let line = "videotestsrc num-buffers=1 pattern=snow ! video/x-raw,format=RGB,width=4000,height=3000";
    make(&format!("{line} ! pngenc compression-level=1 ! filesink"), &large);
    let output = annotate(&folder, &[&large, &sound(&folder)]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_clip_that_is_cut_off_before_its_first_picture_is_not_called_pictureless() {
    let folder = Folder::new("annotate-cut");
    let whole = fs::read("demo/clip.webm").expect("the demonstration's clip");
    for length in [1000, 30_000] {
        let cut = folder.file("cut.webm", &whole[..length]);
        let error = failure(&annotate(&folder, &[&cut]));
        let told = format!(
            "cut.webm: is cut off before what is wanted of it: only {length} of its {} bytes are there",
            whole.len()
        );
        assert!(error.contains(&told), "{error}");
    }
}

#[test]
fn a_sound_that_is_cut_off_is_told_and_heard_as_far_as_it_goes() {
    let folder = Folder::new("annotate-cut-sound");
    let whole = fs::read(sound(&folder)).expect("a sound");
    let cut = folder.file("cut.wav", &whole[..whole.len() / 2]);
    let output = annotate(&folder, &[&picture(&folder), &cut]);
    let log = String::from_utf8_lossy(&output.stderr);
    let told =
        format!("cut.wav: is cut off: only {} of its {} bytes are there", whole.len() / 2, whole.len());
    assert!(output.status.success() && log.contains(&told), "{log}");
}

/// The bytes of a picture, which is left as `whole.jpg`.
fn jpeg(folder: &Folder) -> Vec<u8> {
    let picture = folder.join("whole.jpg");
    make(
        "videotestsrc num-buffers=1 pattern=snow ! video/x-raw,width=320,height=180 ! jpegenc ! filesink",
        &picture,
    );
    fs::read(&picture).expect("a picture")
}

/// Whether GStreamer puts a parser before the decoder of a JPEG, as newer ones do: it hands on whole pictures alone.
fn only_whole_pictures() -> bool {
    gstreamer::init().expect("GStreamer");
    gstreamer::ElementFactory::find("jpegparse").is_some_and(|parser| parser.rank() > gstreamer::Rank::NONE)
}

#[test]
fn a_picture_that_is_cut_off_is_told_once_and_seen_as_far_as_it_goes() {
    let folder = Folder::new("annotate-cut-picture");
    let whole = jpeg(&folder);
    let told = |path: &Path, seen: bool| {
        let output = annotate(&folder, &[path, &sound(&folder)]);
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.success(), seen, "{log}");
        log.matches("is cut off: the end of the picture is missing").count()
    };
    assert_eq!(told(&folder.join("whole.jpg"), true), 0);
    let cut = folder.file("cut.jpg", &whole[..whole.len() * 2 / 3]);
    assert_eq!(told(&cut, !only_whole_pictures()), 1);
}

/// What GStreamer 1.22 decodes for ever in a JPEG: pictures that begin right after another began.
const ENDLESS: &[u8] = b"\xff\xd8\xff\xd8\xff\xd8\xff\xd8\xff\xff";

/// What annotating this tells; it has to end by itself.
fn bounded(folder: &Folder, arguments: &[&Path]) -> (Option<i32>, String) {
    let annotate = command(folder, arguments);
    let mut bounded = Command::new("timeout");
    bounded.arg("60").arg(annotate.get_program()).args(annotate.get_args());
    let output = bounded.output().expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_picture_that_is_decoded_for_ever_is_told_and_holds_nothing_up() {
    let folder = Folder::new("annotate-for-ever");
    let whole = jpeg(&folder);
    let within = folder.file("within.jpg", &[&whole[..whole.len() / 2], ENDLESS].concat());
    let (code, told) = bounded(&folder, &[&within, &sound(&folder)]);
    assert!(
        code == Some(1) && told.contains("within.jpg: is damaged: another picture begins within it"),
        "{told}"
    );
    let behind = folder.file("behind.jpg", &[&whole, ENDLESS].concat());
    let (code, told) = bounded(&folder, &[&behind, &sound(&folder)]);
    if only_whole_pictures() {
        assert_eq!(code, Some(0), "{told}");
        return;
    }
    assert!(code == Some(1) && told.contains("behind.jpg: cannot be read on"), "{code:?} {told}");
    assert!(told.contains("behind.jpg: what reads it does not stop"), "{told}");
}

#[test]
fn a_recording_that_is_decoded_for_ever_is_told_and_holds_nothing_up() {
    let folder = Folder::new("annotate-clip-for-ever");
    let whole = jpeg(&folder);
    let behind = folder.file("behind.jpg", &[&whole, ENDLESS].concat());
    let (code, told) = bounded(&folder, &[&behind]);
    let why = if only_whole_pictures() { "has no sound" } else { "behind.jpg delivered nothing for 10 s" };
    assert!(code == Some(1) && told.contains(why), "{code:?} {told}");
}

#[test]
fn a_clip_that_is_cut_off_is_told_once() {
    let folder = Folder::new("annotate-cut-clip");
    let clip = folder.join("whole.mkv");
    flash_and_click(&clip, 4);
    let whole = fs::read(&clip).expect("a clip");
    let output = annotate(&folder, &[&folder.file("cut.mkv", &whole[..whole.len() / 2])]);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && log.matches("cut.mkv: ends after").count() == 1, "{log}");
}

#[test]
fn of_several_tracks_it_is_told_once_that_the_first_is_taken() {
    let folder = Folder::new("annotate-tracks");
    let clip = folder.join("two.mkv");
    let tone = "audiotestsrc num-buffers=40 ! audioconvert ! queue ! m.";
    let second = "videotestsrc num-buffers=25 ! video/x-raw,framerate=25/1 ! jpegenc ! queue ! m.";
    let first = flashes(1);
    make(
        &format!(
            "{first} ! jpegenc ! queue ! m. {second} {tone} {tone} {tone} matroskamux name=m ! filesink"
        ),
        &clip,
    );
    let output = annotate(&folder, &[&clip]);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    for told in
        ["two.mkv: has 2 video tracks; only the first is seen", "has 3 sound tracks; only the first is heard"]
    {
        assert_eq!(log.matches(told).count(), 1, "{told}: {log}");
    }
}

#[test]
fn what_an_earlier_annotate_left_is_replaced_and_nothing_else() {
    let folder = Folder::new("annotate-again");
    assert!(annotate(&folder, &[&picture(&folder), &sound(&folder)]).status.success());
    let earlier = pictures(&folder);
    fs::write(folder.join("out/mine.png"), "a user's own").expect("a file");
    let silence = folder.join("silence.wav");
    make("audiotestsrc wave=silence num-buffers=20 ! wavenc ! filesink", &silence);
    assert!(annotate(&folder, &[&picture(&folder), &silence]).status.success());
    assert!(earlier.iter().any(|name| name.contains("red")), "{earlier:?}");
    let now = pictures(&folder);
    assert!(!now.iter().any(|name| name.contains("red")) && now.contains(&"mine.png".into()), "{now:?}");
}

/// The messages go into a pipe, which holds more than their first hundred up until they are read.
#[test]
fn ctrl_c_leaves_whole_messages_and_says_so() {
    let folder = Folder::new("annotate-stop");
    let pipe = folder.join("out/detections.jsonl");
    fs::create_dir(folder.join("out")).expect("a folder");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let (picture, sound) = (picture(&folder), sound_of(&folder, 300.0));
    let mut command = command(&folder, &[&picture, &sound]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let mut lines = BufReader::new(File::open(&pipe).expect("the pipe")).split(b'\n');
    assert!(lines.next().is_some(), "it listens to signals before it writes");
    let pid = child.id();
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    let began = Instant::now();
    while listens(pid) {
        assert!(began.elapsed() < Duration::from_secs(60), "the signal is not taken");
        std::thread::yield_now();
    }
    let rest: Vec<_> = lines.map(|line| line.expect("a line")).collect();
    let whole = rest.iter().all(|line| serde_json::from_slice::<Value>(line).is_ok());
    assert!(whole && rest.len() < 1000, "{} of 1200 messages", rest.len());
    let error = failure(&child.wait_with_output().expect("the program ends"));
    assert!(error.contains("stopped as asked") && error.contains("0 pictures"), "{error}");
}

/// Whether the thread is there that waits for a signal.
fn listens(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("a process");
    let name =
        |thread: std::io::Result<fs::DirEntry>| fs::read_to_string(thread.ok()?.path().join("comm")).ok();
    threads.filter_map(name).any(|name| name.trim() == "signals")
}

#[test]
fn a_clip_without_sound_is_told() {
    let folder = Folder::new("annotate-mute");
    let clip = folder.join("mute.mkv");
    make(&format!("{} ! jpegenc ! matroskamux ! filesink", flashes(1)), &clip);
    let error = failure(&annotate(&folder, &[&clip]));
    assert!(error.contains("has no sound") && error.contains("--sound"), "{error}");
}

#[test]
fn a_sound_without_a_picture_is_told() {
    let folder = Folder::new("annotate-blind");
    let error = failure(&annotate(&folder, &[&sound(&folder)]));
    assert!(error.contains("picture"), "{error}");
}

#[test]
fn samples_that_are_no_numbers_count_as_silence_and_are_told() {
    let folder = Folder::new("annotate-nan");
    let data = [f32::NAN.to_le_bytes(); 16_000].concat();
    let mut wav = b"RIFF".to_vec();
    wav.extend((36 + data.len() as u32).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x03\0\x01\0");
    wav.extend(16_000u32.to_le_bytes());
    wav.extend(64_000u32.to_le_bytes());
    wav.extend(b"\x04\0\x20\0data");
    wav.extend((data.len() as u32).to_le_bytes());
    wav.extend(data);
    let output = annotate(&folder, &[&picture(&folder), &folder.file("nan.wav", &wav)]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("samples that are no numbers"), "{told}");
}

#[test]
fn truncated_and_unreadable_media_end_with_a_word_and_no_hang() {
    let folder = Folder::new("annotate-broken");
    let clip = folder.join("whole.mkv");
    flash_and_click(&clip, 2);
    let whole = fs::read(&clip).expect("a clip");
    let stub = folder.file("stub.mkv", &whole[..200]);
    assert!(failure(&annotate(&folder, &[&stub])).contains("stub.mkv"));
    assert!(!folder.join("out/detections.jsonl").exists(), "no result");
    let noise = folder.file("noise.mp4", &[0x5a; 4096]);
    assert!(failure(&annotate(&folder, &[&noise])).contains("noise.mp4"));
    assert!(failure(&annotate(&folder, &[Path::new("no/clip.mkv")])).contains("no/clip.mkv"));
    let half = folder.file("half.mkv", &whole[..whole.len() / 2]);
    let output = annotate(&folder, &[&half]);
    let (told, frames) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(frames.contains("analysed") || told.contains("half.mkv"), "{told}{frames}");
}
