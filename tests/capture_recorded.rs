//! A recording arrives whole, in order and in time, however slow the consumer.

mod support;

use std::time::Duration;

use support::*;
use tvsl::capture::{Pace, decode, read_picture, read_sound};
use tvsl::config::{CameraSource, MicrophoneSource};
use tvsl::geometry::Size;
use tvsl::queue::{Sense, Shed};

#[test]
fn a_slow_consumer_loses_nothing() {
    let folder = Folder::new("slow");
    let file = folder.join("clip.mkv");
    flash_and_click(&file, 4);
    let (_capture, receiver) =
        start(&clip(&file), &microphone(MicrophoneSource::Media), Pace::Fast).expect("a clip");
    let heard = collect(&receiver, |heard| {
        // Slow work on every frame: far more than the queue holds is waiting meanwhile.
        if heard.frames.len() % 10 == 1 {
            std::thread::sleep(Duration::from_millis(2));
        }
        false
    });
    assert!(heard.faults.is_empty(), "{:?}", heard.faults);
    assert_eq!((heard.frames.len(), heard.samples()), (100, 4 * RATE as usize));
    assert_eq!(receiver.shed(), Shed::default());
    for (i, frame) in heard.frames.iter().enumerate() {
        assert!((frame.captured.as_secs_f64() - i as f64 / 25.0).abs() < 0.002);
        assert_eq!((frame.size, frame.source), (WIDE, Size::new(320, 180)));
        assert_eq!(frame.rgb.len(), 384 * 216 * 3);
    }
    assert!(heard.sound.iter().all(|block| block.lost_before.is_zero() && block.rate == RATE));
}

#[test]
fn a_recording_can_be_decoded_for_nobody() {
    let folder = Folder::new("nobody");
    let file = folder.join("clip.mkv");
    flash_and_click(&file, 2);
    decode(&file, f64::INFINITY, &wanted()).expect("it comes to its end, sound and pictures");
    let missing = decode(&folder.join("none.mkv"), f64::INFINITY, &wanted()).expect_err("there is none");
    assert!(missing.to_string().contains("none.mkv"), "{missing}");
}

/// GStreamer's reader of WAV makes empty buffers of such a file, for ever.
#[test]
fn a_sound_that_is_cut_off_behind_its_samples_comes_to_its_end() {
    let folder = Folder::new("hollow");
    let sound = folder.join("sound.wav");
    make("audiotestsrc num-buffers=4 ! audio/x-raw,rate=16000,channels=1 ! wavenc ! filesink", &sound);
    let bytes = std::fs::read(&sound).expect("a sound");
    let bytes = bytes.strip_suffix(b"INFO").expect("a list behind the samples");
    let heard = read_sound(&folder.file("cut.wav", bytes), 16_000);
    if gstreamer::version() < (1, 20, 0, 0) {
        return assert_eq!(heard.expect("what is there").mono.len(), 4 * 1024);
    }
    let error = heard.expect_err("it gives no samples");
    assert!(error.to_string().contains("cut.wav: is cut off before what is wanted of it"), "{error}");
}

#[test]
fn two_fast_runs_are_the_same_run() {
    let folder = Folder::new("twice");
    let file = folder.join("clip.mkv");
    flash_and_click(&file, 2);
    let run = || {
        let (_capture, receiver) =
            start(&clip(&file), &microphone(MicrophoneSource::Media), Pace::Fast).expect("a clip");
        let mut order = Vec::new();
        let heard = collect(&receiver, |heard| {
            order.push((heard.frames.len(), heard.sound.len()));
            false
        });
        order.dedup();
        (order, heard.frames, heard.sound)
    };
    assert_eq!(run(), run());
}

#[test]
fn a_recording_at_its_own_speed_takes_its_own_time() {
    let folder = Folder::new("realtime");
    let file = folder.join("clip.mkv");
    flash_and_click(&file, 2);
    let began = std::time::Instant::now();
    let (_capture, receiver) =
        start(&clip(&file), &microphone(MicrophoneSource::Media), Pace::Realtime).expect("a clip");
    let heard = collect(&receiver, |_| false);
    assert_eq!((heard.frames.len(), heard.samples()), (50, 2 * RATE as usize));
    let took = began.elapsed().as_secs_f64();
    assert!((1.8..10.0).contains(&took), "took {took} s");
    let first = heard.frames[0].captured;
    assert!((heard.frames[49].captured.seconds_from(first) - 1.96).abs() < 0.002);
}

#[test]
fn the_rate_limits_frames_and_leaves_the_sound_alone() {
    let folder = Folder::new("rate");
    let file = folder.join("clip.mkv");
    flash_and_click(&file, 2);
    let mut camera = clip(&file);
    camera.rate = 5.0;
    let (_capture, receiver) =
        start(&camera, &microphone(MicrophoneSource::Media), Pace::Fast).expect("a clip");
    let heard = collect(&receiver, |_| false);
    assert_eq!((heard.frames.len(), heard.samples()), (10, 2 * RATE as usize));
}

#[test]
fn a_lacking_sense_ends_at_once() {
    let folder = Folder::new("lacking");
    let (mute, blind) = (folder.join("mute.mkv"), folder.join("blind.wav"));
    make(&format!("{} ! jpegenc ! matroskamux ! filesink", flashes(1)), &mute);
    make(&format!("{} ! wavenc ! filesink", clicks(1)), &blind);
    let cases = [(mute, Sense::Microphone, (25, 0)), (blind, Sense::Camera, (0, RATE as usize))];
    for (file, lacking, counts) in cases {
        let (_capture, receiver) =
            start(&clip(&file), &microphone(MicrophoneSource::Media), Pace::Fast).expect("a clip");
        let heard = collect(&receiver, |_| false);
        assert_eq!(heard.ends.first(), Some(&lacking));
        assert_eq!((heard.frames.len(), heard.samples()), counts);
    }
}

#[test]
fn a_clip_repeats_without_a_seam_in_time() {
    let folder = Folder::new("repeat");
    let file = folder.join("clip.mkv");
    flash_and_click(&file, 1);
    let mut camera = clip(&file);
    camera.file.repeat = true;
    let (_capture, receiver) =
        start(&camera, &microphone(MicrophoneSource::Media), Pace::Fast).expect("a clip");
    let heard = collect(&receiver, |heard| heard.frames.len() >= 70);
    assert!(heard.ends.is_empty() && heard.faults.is_empty());
    assert!(heard.frames.is_sorted_by(|a, b| a.captured < b.captured));
    assert_paired(&heard, 0.02, 2);
}

#[test]
fn pictures_are_shown_with_square_pixels_and_upright() {
    let folder = Folder::new("aspect");
    let wide = folder.join("anamorphic.mkv");
    let caps = "video/x-raw,width=720,height=576,framerate=25/1,pixel-aspect-ratio=64/45";
    // Not as Motion-JPEG, in which newer parsers believe the picture rather than the container.
    make(&format!("videotestsrc num-buffers=2 ! {caps} ! vp8enc deadline=1 ! matroskamux ! filesink"), &wide);
    let picture = read_picture(&wide, None).expect("a picture");
    assert_eq!((picture.source, picture.size), (Size::new(1024, 576), Size::new(1024, 576)));
    let mut turned = camera(CameraSource::Pipeline);
    turned.pipeline.launch = "videotestsrc num-buffers=2 ! video/x-raw,width=320,height=180 ! \
                              taginject tags=image-orientation=rotate-90"
        .into();
    let (_capture, receiver) =
        start(&turned, &microphone(MicrophoneSource::None), Pace::Fast).expect("a pipeline");
    let heard = collect(&receiver, |_| false);
    let sizes = heard.frames.iter().map(|frame| frame.source).collect::<Vec<_>>();
    assert_eq!(sizes.len(), 2);
    // Before that version the first picture overtakes what this element tells.
    let told = usize::from(gstreamer::version() < (1, 22, 0, 0));
    assert!(sizes[told..].iter().all(|size| *size == Size::new(180, 320)), "{sizes:?}");
}

#[test]
fn the_resolution_may_change_in_mid_stream() {
    let line = "concat name=c videotestsrc num-buffers=5 ! video/x-raw,width=320,height=180 ! c. \
                videotestsrc num-buffers=5 ! video/x-raw,width=180,height=320 ! c. c. ! identity";
    let mut camera = camera(CameraSource::Pipeline);
    camera.pipeline.launch = line.into();
    let (_capture, receiver) =
        start(&camera, &microphone(MicrophoneSource::None), Pace::Fast).expect("a pipeline");
    let heard = collect(&receiver, |_| false);
    let sizes: Vec<_> = heard.frames.iter().map(|frame| (frame.source, frame.size)).collect();
    assert_eq!(sizes.len(), 10, "{:?}", heard.faults);
    assert!(sizes[..5].iter().all(|sizes| *sizes == (Size::new(320, 180), WIDE)));
    assert!(sizes[5..].iter().all(|sizes| *sizes == (Size::new(180, 320), Size::new(216, 384))));
}

/// 64 by 48 pixels of red: more than one block of a file.
const RED: [u8; 3] = [255, 0, 0];
const PIXELS: usize = 64 * 48;

fn bmp() -> Vec<u8> {
    let mut file = b"BM".to_vec();
    file.extend([54 + 3 * PIXELS as u32, 0, 54, 40, 64, 48].map(u32::to_le_bytes).concat());
    file.extend([1u16, 24].map(u16::to_le_bytes).concat());
    file.extend([0, 3 * PIXELS as u32, 2835, 2835, 0, 0].map(u32::to_le_bytes).concat());
    file.extend([RED[2], RED[1], RED[0]].repeat(PIXELS));
    file
}

fn tiff() -> Vec<u8> {
    // Tag, type (3: 16 bits, 4: 32 bits), count, value; the three depths and the pixels follow the list.
    let (depths, pixels) = (8 + 2 + 9 * 12 + 4, 8 + 2 + 9 * 12 + 4 + 6);
    let tags: [[u32; 4]; 9] = [
        [256, 3, 1, 64],
        [257, 3, 1, 48],
        [258, 3, 3, depths],
        [259, 3, 1, 1],
        [262, 3, 1, 2],
        [273, 4, 1, pixels],
        [277, 3, 1, 3],
        [278, 3, 1, 48],
        [279, 4, 1, 3 * PIXELS as u32],
    ];
    let mut file = b"II*\0\x08\0\0\0\x09\0".to_vec();
    for [tag, kind, count, value] in tags {
        file.extend([tag as u16, kind as u16].map(u16::to_le_bytes).concat());
        file.extend([count, value].map(u32::to_le_bytes).concat());
    }
    file.extend([0; 4]);
    file.extend([8u16; 3].map(u16::to_le_bytes).concat());
    file.extend(RED.repeat(PIXELS));
    file
}

#[test]
fn pictures_of_other_formats_are_read() {
    let folder = Folder::new("formats");
    for (name, bytes) in [("red.bmp", bmp()), ("red.tif", tiff())] {
        let frame = read_picture(&folder.file(name, &bytes), None).unwrap_or_else(|error| panic!("{error}"));
        let red = |pixel: &[u8]| pixel[0] > 240 && pixel[1] < 20 && pixel[2] < 20;
        assert!(frame.rgb.chunks(3).all(red), "{name}: {:?}", &frame.rgb[..3]);
    }
}

#[test]
fn the_sound_of_a_film_is_read() {
    let folder = Folder::new("film");
    let film = folder.join("film.mkv");
    flash_and_click(&film, 2);
    let samples = read_sound(&film, RATE).expect("the sound");
    assert_eq!(samples.mono.len(), 2 * RATE as usize);
}

#[test]
fn a_whole_picture_and_a_whole_sound_are_read() {
    let folder = Folder::new("whole");
    let (picture, sound) = (folder.join("red.png"), folder.join("click.flac"));
    make(
        "videotestsrc pattern=red num-buffers=1 ! video/x-raw,width=100,height=50 ! pngenc ! filesink",
        &picture,
    );
    make(&format!("{} ! flacenc ! filesink", clicks(2)), &sound);
    let frame = read_picture(&picture, Some(Size::new(40, 40))).expect("a picture");
    assert_eq!((frame.size, frame.source), (Size::new(40, 20), Size::new(100, 50)));
    assert!(frame.rgb.chunks(3).all(|p| p[0] > 240 && p[1] < 20 && p[2] < 20));
    let samples = read_sound(&sound, RATE).expect("a sound");
    assert_eq!((samples.rate, samples.mono.len()), (RATE, 2 * RATE as usize));
    assert!(samples.mono.iter().any(|v| v.abs() > 0.3));
}
