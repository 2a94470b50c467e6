//! Bad input is told clearly, within bounded time, and never with a crash.

mod support;

use std::path::Path;
use std::time::{Duration, Instant as Moment};

use support::*;
use tvsl::capture::{CaptureError, Pace, cut_off, read_picture, read_sound};
use tvsl::config::{CameraSource, MicrophoneSource};
use tvsl::geometry::Size;
use tvsl::queue::Sense;

/// The error that starting the camera gives, and that it came soon.
fn refused(camera: &tvsl::config::Camera, microphone_source: MicrophoneSource) -> CaptureError {
    let began = Moment::now();
    let result = start(camera, &microphone(microphone_source), Pace::Live);
    assert!(began.elapsed() < Duration::from_secs(12));
    result.map(|_| ()).expect_err("an error")
}

fn assert_says(error: &CaptureError, words: &[&str]) {
    let text = error.to_string();
    println!("{text}");
    for word in words {
        assert!(text.contains(word), "\"{text}\" does not say \"{word}\"");
    }
}

#[test]
fn files_that_are_no_recordings() {
    let folder = Folder::new("faults");
    let text = folder.file("notes.mp4", b"these are notes, not a film, and they go on for a while\n");
    let noise: Vec<u8> = (0..5000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let pipe = folder.join("pipe.mp4");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let cases = [
        (folder.join("absent.mp4"), &["absent.mp4", "No such file"]),
        (folder.join("."), &["is a folder", "media file"]),
        (folder.file("empty.mp4", b""), &["empty.mp4", "is empty"]),
        (text, &["notes.mp4", "expected"]),
        (folder.file("noise.mp4", &noise), &["noise.mp4", "expected"]),
        (pipe, &["pipe.mp4", "is a pipe or a device"]),
    ];
    for (path, words) in &cases {
        assert_says(&refused(&clip(path), MicrophoneSource::Media), *words);
        assert_says(&read_picture(path, None).expect_err("no picture"), *words);
        assert_says(&read_sound(path, RATE).expect_err("no sound"), *words);
    }
}

/// Two colours, 4 by 2 pixels.
const GIF: &[u8] =
    b"GIF89a\x04\0\x02\0\x80\0\0\xff\0\0\0\0\xff,\0\0\0\0\x04\0\x02\0\0\x02\x03\x44\x34\x05\0;";

/// One block of 8 by 8, its four inks stored inverted as Adobe does: no cyan, all magenta and yellow, no black.
fn cmyk_jpeg() -> Vec<u8> {
    let mut file = b"\xff\xd8\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0".to_vec(); // inks as they are, not as YCCK
    file.extend(b"\xff\xdb\0\x43\0");
    file.extend([8; 64]);
    file.extend(b"\xff\xc0\0\x14\x08\0\x08\0\x08\x04\x01\x11\0\x02\x11\0\x03\x11\0\x04\x11\0");
    file.extend(b"\xff\xc4\0\x15\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x07\x08"); // 00: 7 bits follow, 01: 8
    file.extend(b"\xff\xc4\0\x14\x10\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"); // 0: the block is flat
    file.extend(b"\xff\xda\0\x0e\x04\x01\0\x02\0\x03\0\x04\0\0\x3f\0");
    // 127 above the middle, 128 below it, the same, 127 above: 00 1111111 0, 01 01111111 0, 01 01111111 0, 00 1111111 0.
    file.extend(b"\x3f\x97\xf2\xfe\x3f\xbf\xff\xd9");
    file
}

#[test]
fn a_picture_in_a_format_that_is_not_read_is_told_with_the_command_that_converts_it() {
    let folder = Folder::new("picture-formats");
    let cure =
        ["decodes its GIF; expected", "PNG, WebP, BMP or TIFF", "a.gif[0]' picture.png`", "imagemagick"];
    let gif = folder.file("a.gif", GIF);
    assert_says(&read_picture(&gif, None).expect_err("no picture"), &cure);
    assert_says(&refused(&clip(&gif), MicrophoneSource::None), &cure);
    let inks = folder.file("inks.jpg", &cmyk_jpeg());
    assert_says(
        &read_picture(&inks, None).expect_err("no picture"),
        &["JPEG (not CMYK)", "inks.jpg[0]' picture.png`"],
    );
    let broken =
        folder.file("broken.png", b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x04\0\0\0\x04\x08\x02\0\0\0");
    assert_says(
        &read_picture(&broken, None).expect_err("no picture"),
        &["broken.png", "whole picture", "PNG"],
    );
}

#[test]
fn a_recording_without_what_is_wanted() {
    let folder = Folder::new("wanted");
    let (mute, blind) = (folder.join("mute.mkv"), folder.join("blind.wav"));
    make(&format!("{} ! jpegenc ! matroskamux ! filesink", flashes(1)), &mute);
    make(&format!("{} ! wavenc ! filesink", clicks(1)), &blind);
    assert_says(&refused(&clip(&blind), MicrophoneSource::None), &["blind.wav", "no picture"]);
    assert_says(&read_picture(&blind, None).expect_err("no picture"), &["blind.wav", "no picture"]);
    assert_says(&read_sound(&mute, RATE).expect_err("no sound"), &["mute.mkv", "no sound"]);
}

/// How many pictures come of what is broken; where none does, it is told with the name of the file.
fn played(path: &Path) -> usize {
    let why = match start(&clip(path), &microphone(MicrophoneSource::Media), Pace::Fast) {
        Err(error) => error.to_string(),
        Ok((_capture, receiver)) => {
            let heard = collect(&receiver, |_| false);
            if !heard.frames.is_empty() {
                return heard.frames.len();
            }
            // Of one that just ends, this is what every command tells.
            let cut_off = || cut_off(path).expect("it ends as if it were whole").to_string();
            heard.faults.into_iter().next().map_or_else(cut_off, |(_, why)| why)
        }
    };
    println!("{why}");
    assert!(why.contains(&path.display().to_string()), "{why}");
    0
}

#[test]
fn truncated_recordings_end_wherever_they_were_cut() {
    let folder = Folder::new("truncated");
    let whole = folder.join("whole.mp4");
    let (flashes, clicks) = (flashes(2), clicks(2));
    let mux = "mp4mux faststart=true name=m ! filesink";
    make(&format!("{flashes} ! x264enc ! queue ! m. {clicks} ! avenc_aac ! queue ! m. {mux}"), &whole);
    let bytes = std::fs::read(&whole).expect("the clip");
    let cut = |percent: usize| folder.file("cut.mp4", &bytes[..bytes.len() * percent / 100]);
    let pictures = [1, 5, 20, 50, 80, 99].map(|percent| played(&cut(percent)));
    println!("{pictures:?} of 50 pictures");
    assert!(pictures.is_sorted() && pictures[4] > 0 && pictures[5] > 40, "{pictures:?}");
}

#[test]
fn damaged_recordings_end_too() {
    let folder = Folder::new("damaged");
    let whole = folder.join("whole.mkv");
    flash_and_click(&whole, 1);
    let mut bytes = std::fs::read(&whole).expect("the clip");
    for i in (200..bytes.len()).step_by(997) {
        bytes[i] ^= 0x5a;
    }
    played(&folder.file("damaged.mkv", &bytes));
}

#[test]
fn cameras_that_are_not_there() {
    let v4l2 = camera(CameraSource::V4l2);
    assert_says(&refused(&v4l2, MicrophoneSource::None), &["/dev/video-none", "/dev/v4l/by-id"]);
    let mut rtsp = camera(CameraSource::Rtsp);
    rtsp.rtsp.url = "rtsp://user:secret@127.0.0.1:1/none".into();
    let error = refused(&rtsp, MicrophoneSource::Media);
    assert_says(&error, &["127.0.0.1:1/none", "[camera.rtsp] url"]);
    assert!(!error.to_string().contains("secret"));
}

#[test]
fn pictures_that_would_fill_the_memory_are_refused_with_a_cure() {
    // A little more than 64 Mi pixels: as they are, and in a format that is not even decoded for that.
    let large = "videotestsrc num-buffers=1 ! video/x-raw,format=GRAY8,width=8192,height=8200,framerate=1/1";
    let words = ["8192 x 8200 pixels", "at most 67108864 (64 Mi)"];
    let mut pipeline = camera(CameraSource::Pipeline);
    for coder in ["identity", "jpegenc ! identity"] {
        pipeline.pipeline.launch = format!("{large} ! {coder}");
        let error = refused(&pipeline, MicrophoneSource::None);
        assert_says(&error, &words);
        assert_says(&error, &["[camera.pipeline]: ", "smaller picture in the camera's own settings"]);
        assert!(error.may_pass(), "a camera may be set to less");
    }
    let folder = Folder::new("oversize");
    let film = folder.join("film.mkv");
    make(&format!("{large} ! jpegenc ! matroskamux ! filesink"), &film);
    let error = refused(&clip(&film), MicrophoneSource::None);
    assert_says(&error, &words);
    assert_says(&error, &["film.mkv' -vf scale=1920:-2"]);
}

#[test]
fn a_camera_whose_pictures_become_too_large_is_a_fault() {
    let mut pipeline = camera(CameraSource::Pipeline);
    let source = |height: u32| {
        format!(
            "videotestsrc is-live=true num-buffers=3 ! video/x-raw,format=GRAY8,width=8192,height={height},framerate=5/1"
        )
    };
    pipeline.pipeline.launch =
        format!("concat name=both ! identity {} ! both. {} ! both.", source(64), source(8200));
    let (_capture, receiver) =
        start(&pipeline, &microphone(MicrophoneSource::None), Pace::Live).expect("a pipeline");
    let heard = collect(&receiver, |heard| !heard.faults.is_empty());
    assert!(heard.faults[0].1.contains("8192 x 8200 pixels, expected at most"), "{:?}", heard.faults);
    assert!(heard.frames.iter().all(|frame| frame.source == Size::new(8192, 64)), "a refused one was seen");
}

#[test]
fn the_jetson_camera_off_a_jetson_names_its_package() {
    let csi = camera(CameraSource::Csi);
    assert_says(&refused(&csi, MicrophoneSource::None), &["nvarguscamerasrc", "nvidia-l4t-gstreamer"]);
}

#[test]
fn settings_that_only_the_source_can_judge() {
    let v4l2 = camera(CameraSource::V4l2);
    assert_says(&refused(&v4l2, MicrophoneSource::Media), &["\"media\"", "\"v4l2\"", "alsa"]);
    let mut test = camera(CameraSource::Test);
    test.test.pattern = "stripes".into();
    assert_says(&refused(&test, MicrophoneSource::None), &["stripes", "ball", "flash"]);
    let mut pipeline = camera(CameraSource::Pipeline);
    for (launch, word) in [
        ("videotestsrc ! ! x", "syntax"),
        ("nosuchsrc ! identity", "nosuchsrc"),
        ("videotestsrc ! fakesink", "no pad is left open"),
        ("", "empty"),
    ] {
        pipeline.pipeline.launch = launch.into();
        assert_says(&refused(&pipeline, MicrophoneSource::None), &["camera.pipeline.launch", word]);
    }
}

#[test]
fn a_source_that_breaks_in_mid_stream_is_a_fault_of_both_senses() {
    let mut pipeline = camera(CameraSource::Pipeline);
    pipeline.pipeline.launch = "videotestsrc is-live=true ! video/x-raw,width=64,height=64 ! \
                                identity error-after=5 audiotestsrc is-live=true"
        .into();
    let (_capture, receiver) =
        start(&pipeline, &microphone(MicrophoneSource::Media), Pace::Live).expect("a pipeline");
    let heard = collect(&receiver, |_| false);
    let senses: Vec<_> = heard.faults.iter().map(|(sense, _)| *sense).collect();
    assert_eq!(senses, [Sense::Camera, Sense::Microphone], "{:?}", heard.ends);
    assert!(!heard.frames.is_empty());
}

#[test]
fn stopping_is_prompt_even_when_nobody_receives() {
    for pace in [Pace::Live, Pace::Fast] {
        let (capture, _receiver) =
            start(&camera(CameraSource::Test), &microphone(MicrophoneSource::Media), pace)
                .expect("test sources");
        let began = Moment::now();
        drop(capture);
        assert!(began.elapsed() < Duration::from_millis(500), "took {:?}", began.elapsed());
    }
}
