//! A flash and a click of the same instant carry the same stamp: within 20 ms recorded, 40 ms live.

mod support;

use std::path::Path;

use support::*;
use tvsl::capture::Pace;
use tvsl::config::{CameraSource, MicrophoneSource};
use tvsl::queue::Shed;

const RECORDED: f64 = 0.020;
const LIVE: f64 = 0.040;
/// Samples in a frame of AAC.
const AAC_FRAME: u32 = 1024;

#[test]
fn recorded_and_fast() {
    let folder = Folder::new("sync-fast");
    let file = folder.join("clip.mkv");
    flash_and_click(&file, 4);
    let (_capture, receiver) =
        start(&clip(&file), &microphone(MicrophoneSource::Media), Pace::Fast).expect("a clip");
    assert_paired(&collect(&receiver, |_| false), RECORDED, 3);
}

/// H.264 with B frames and AAC in MP4, by GStreamer's muxer: its edit list shifts the pictures as it must, but says
/// nothing of the frame of AAC, 1024 samples, by which the encoder delays the sound.
fn mp4(file: &Path) {
    let (flashes, clicks) = (flashes(4), clicks(4));
    make(
        &format!(
            "{flashes} ! x264enc key-int-max=25 ! h264parse ! queue ! m. \
             {clicks} ! avenc_aac ! aacparse ! queue ! m. mp4mux name=m ! filesink"
        ),
        file,
    );
}

/// Writes into the edit list that the sound begins behind its first `samples`, as phones and ffmpeg do.
fn name_the_delay(file: &Path, samples: u32) {
    let mut bytes = std::fs::read(file).expect("the clip");
    let last = |before: usize, word: &[u8]| bytes[..before].windows(4).rposition(|four| four == word);
    let sound = last(bytes.len(), b"soun").expect("a sound track");
    let list = last(sound, b"elst").expect("an edit list");
    // After version, flags, the number of edits (one) and how long it lasts.
    let begins = list + 16..list + 20;
    assert_eq!(bytes[begins.clone()], [0; 4], "GStreamer's muxer names the delay itself by now");
    bytes[begins].copy_from_slice(&samples.to_be_bytes());
    std::fs::write(file, bytes).expect("room for the clip");
}

fn played(file: &Path) -> Heard {
    let (_capture, receiver) =
        start(&clip(file), &microphone(MicrophoneSource::Media), Pace::Fast).expect("a clip");
    let heard = collect(&receiver, |_| false);
    assert_eq!(heard.frames.len(), 100);
    heard
}

#[test]
fn recorded_with_the_usual_codecs() {
    let folder = Folder::new("sync-mp4");
    let file = folder.join("clip.mp4");
    mp4(&file);
    name_the_delay(&file, AAC_FRAME);
    assert_paired(&played(&file), RECORDED, 3);
}

/// What no player can know: the sound comes late by what the file conceals.
#[test]
fn a_file_that_conceals_its_encoders_delay_is_off_by_it() {
    let folder = Folder::new("sync-concealed");
    let file = folder.join("clip.mp4");
    mp4(&file);
    let apart = assert_paired(&played(&file), RECORDED + f64::from(AAC_FRAME) / 48_000.0, 3);
    assert!(apart > RECORDED, "only {apart} s apart: what docs say of such files is out of date");
}

#[test]
fn recorded_at_its_own_speed() {
    let folder = Folder::new("sync-realtime");
    let file = folder.join("clip.mkv");
    flash_and_click(&file, 2);
    let (_capture, receiver) =
        start(&clip(&file), &microphone(MicrophoneSource::Media), Pace::Realtime).expect("a clip");
    assert_paired(&collect(&receiver, |_| false), RECORDED, 1);
}

#[test]
fn live_test_sources() {
    let (_capture, receiver) =
        start(&camera(CameraSource::Test), &microphone(MicrophoneSource::Media), Pace::Live)
            .expect("test sources");
    let heard = collect(&receiver, |heard| {
        heard.frames.last().is_some_and(|f| f.captured.seconds_from(heard.frames[0].captured) > 2.2)
    });
    assert_eq!(receiver.shed(), Shed::default());
    assert_paired(&heard, LIVE, 2);
}

#[test]
fn live_stamps_are_on_the_machines_monotonic_clock() {
    use tvsl::clock::{Clock, SystemClock};
    tvsl::capture::init().expect("GStreamer");
    let before = SystemClock::new().now();
    let (_capture, receiver) =
        start(&camera(CameraSource::Test), &microphone(MicrophoneSource::None), Pace::Live)
            .expect("a test source");
    let heard = collect(&receiver, |heard| heard.frames.len() >= 5);
    let now = SystemClock::new().now();
    assert!(heard.frames.iter().all(|frame| before < frame.captured && frame.captured < now));
}

#[test]
fn live_input_sheds_the_oldest_and_shows_the_gap() {
    let (capture, receiver) =
        start(&camera(CameraSource::Test), &microphone(MicrophoneSource::Media), Pace::Live)
            .expect("test sources");
    // Nobody receives until frames have been shed: a consumer that hangs.
    let began = std::time::Instant::now();
    while receiver.shed().samples == 0 {
        assert!(began.elapsed().as_secs() < 20, "nothing was shed");
        std::thread::yield_now();
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    drop(capture);
    let shed = receiver.shed();
    assert!(shed.frames > 60, "{shed:?}");
    let mut heard = Heard::default();
    while let Ok(item) = receiver.recv(std::time::Duration::ZERO) {
        heard.take(item);
    }
    let lost = heard.sound[0].lost_before.as_secs_f64();
    assert!((lost - shed.samples as f64 / f64::from(RATE)).abs() < 0.001, "{lost} s, {shed:?}");
    assert!(heard.sound[1..].iter().all(|block| block.lost_before.is_zero()));
}
