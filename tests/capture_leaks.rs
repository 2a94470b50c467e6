//! Who opens a camera again and again keeps nothing of it: no descriptor and no thread. One test, for both are counted
//! for the whole process. `capture_alsa.rs` does the same with a sound card.

mod rtsp;
mod support;

use std::time::{Duration, Instant};

use rtsp::Server;
use support::*;
use tvsl::capture::Pace;
use tvsl::config::{Camera, CameraSource, MicrophoneSource};

/// Opens the camera, takes a few pictures if there are any, and lets go.
fn visit(camera: &Camera) {
    if let Ok((_capture, receiver)) = start(camera, &microphone(MicrophoneSource::None), Pace::Live) {
        collect(&receiver, |heard| heard.frames.len() >= 2);
    }
}

const TIMES: usize = 8;

/// Holds that fewer than one of anything per visit stays, once idle threads of GStreamer had their time.
fn assert_keeps_nothing(what: &str, camera: &Camera) {
    (0..3).for_each(|_| visit(camera));
    let (before, began) = (held(), Instant::now());
    (0..TIMES).for_each(|_| visit(camera));
    loop {
        let after = held();
        if after.iter().zip(before).all(|(after, before)| *after < before + TIMES / 2) {
            return println!("{what}: {before:?} then {after:?} descriptors and threads");
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{what}: {before:?} became {after:?}");
        std::thread::yield_now();
    }
}

#[test]
fn opening_for_ever_keeps_nothing() {
    let picture = "videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=25/1";
    assert_keeps_nothing("a camera that is away", &camera(CameraSource::V4l2));
    let mut absent = camera(CameraSource::Rtsp);
    absent.rtsp.url = "rtsp://127.0.0.1:1/none".into();
    assert_keeps_nothing("a network camera that is away", &absent);
    let server = Server::of(&format!(
        "( {picture} ! x264enc tune=zerolatency key-int-max=5 ! rtph264pay name=pay0 pt=96 )"
    ));
    let mut stream = camera(CameraSource::Rtsp);
    stream.rtsp.url = server.url();
    assert_keeps_nothing("a network camera", &stream);
    stream.rtsp.url.push_str("/none");
    assert_keeps_nothing("a network camera without the stream", &stream);
    let mut pipeline = camera(CameraSource::Pipeline);
    pipeline.pipeline.launch = format!("{picture} ! identity error-after=5");
    assert_keeps_nothing("a camera that breaks", &pipeline);
    pipeline.pipeline.launch = format!("{picture} ! jpegenc");
    assert_keeps_nothing("a camera", &pipeline);
}
