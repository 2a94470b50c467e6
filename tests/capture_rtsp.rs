//! A network camera: pictures and sound arrive in step, and a camera that goes away is noticed. The
//! server is a real one inside the test.

mod rtsp;
mod support;

use std::path::Path;

use rtsp::Server;
use support::*;
use tvsl::capture::Pace;
use tvsl::clock::{Clock, SystemClock};
use tvsl::config::{self, CameraSource, MicrophoneSource, Transport};
use tvsl::geometry::Size;
use tvsl::queue::Sense;

fn stream(server: &Server, transport: Transport) -> config::Camera {
    let mut camera = camera(CameraSource::Rtsp);
    camera.rtsp.url = server.url();
    camera.rtsp.transport = transport;
    camera
}

const PICTURE: &str = "videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=25/1 ! \
                       x264enc tune=zerolatency key-int-max=10 ! rtph264pay name=pay0 pt=96";

#[test]
fn h264_and_aac_arrive_over_either_transport() {
    let sound = "audiotestsrc is-live=true ! audio/x-raw,rate=48000 ! avenc_aac ! rtpmp4gpay name=pay1 pt=97";
    for transport in [Transport::Tcp, Transport::Udp] {
        let server = Server::of(&format!("( {PICTURE} {sound} )"));
        let before = SystemClock::new().now();
        let (_capture, receiver) =
            start_roomy(&stream(&server, transport), &microphone(MicrophoneSource::Media), Pace::Live)
                .expect("a stream");
        let heard = collect(&receiver, |heard| heard.frames.len() >= 20 && heard.samples() >= 8000);
        let now = SystemClock::new().now();
        assert!(heard.faults.is_empty() && heard.ends.is_empty(), "{:?}", heard.faults);
        assert!(heard.frames.iter().all(|frame| frame.source == Size::new(320, 180)));
        assert!(heard.frames.iter().all(|frame| before < frame.captured && frame.captured < now));
        assert!(heard.frames.is_sorted_by(|a, b| a.captured < b.captured));
        assert!(heard.sound.iter().any(|block| block.mono.iter().any(|v| v.abs() > 0.2)));
    }
}

#[test]
fn a_stream_without_sound_says_so_at_once() {
    let server = Server::of(&format!("( {PICTURE} )"));
    let (_capture, receiver) =
        start_roomy(&stream(&server, Transport::Tcp), &microphone(MicrophoneSource::Media), Pace::Live)
            .expect("a stream");
    let heard = collect(&receiver, |heard| heard.frames.len() >= 5 && !heard.ends.is_empty());
    assert_eq!(heard.ends, [Sense::Microphone]);
}

/// Serves a clip with flashes and clicks, once, as H.264 and PCMU.
fn serve(clip: &Path) -> Server {
    let picture = "d. ! queue ! jpegdec ! videoconvert ! x264enc tune=zerolatency key-int-max=5 ! \
                   video/x-h264,profile=baseline ! rtph264pay name=pay0 pt=96";
    let sound = "d. ! queue ! audioconvert ! audioresample ! audio/x-raw,rate=8000,channels=1 ! \
                 mulawenc ! rtppcmupay name=pay1 pt=0";
    Server::of(&format!("( filesrc location={} ! matroskademux name=d {picture} {sound} )", clip.display()))
}

#[test]
fn flash_and_click_stay_together_and_the_end_is_told() {
    let folder = Folder::new("rtsp");
    let file = folder.join("clip.mkv");
    flash_and_click(&file, 3);
    let server = serve(&file);
    let (_capture, receiver) =
        start_roomy(&stream(&server, Transport::Tcp), &microphone(MicrophoneSource::Media), Pace::Live)
            .expect("a stream");
    let heard = collect(&receiver, |_| false);
    assert!(heard.over());
    assert_paired(&heard, 0.040, 2);
}

#[test]
fn a_server_that_hangs_up_is_noticed() {
    for transport in [Transport::Tcp, Transport::Udp] {
        let server = Server::of(&format!("( {PICTURE} )"));
        let (_capture, receiver) =
            start_roomy(&stream(&server, transport), &microphone(MicrophoneSource::None), Pace::Live)
                .expect("a stream");
        collect(&receiver, |heard| heard.frames.len() >= 5);
        let url = server.url();
        drop(server);
        // The microphone ended before; what is still to come is the camera's last word.
        let heard = collect(&receiver, |heard| heard.ends.len() + heard.faults.len() == 1);
        match transport {
            // Its connection is the stream's, and the stream is over with it.
            Transport::Tcp => assert_eq!((heard.ends, heard.faults), (vec![Sense::Camera], vec![])),
            _ => {
                let [(Sense::Camera, why)] = &heard.faults[..] else { panic!("{:?}", heard.faults) };
                assert!(why.contains(&format!("stream {url}")), "{why}");
            }
        }
    }
}

#[test]
fn a_path_that_the_server_does_not_know() {
    let server = Server::of(&format!("( {PICTURE} )"));
    let mut camera = stream(&server, Transport::Tcp);
    camera.rtsp.url.push_str("/none");
    let error = start_roomy(&camera, &microphone(MicrophoneSource::None), Pace::Live).map(|_| ());
    let text = error.expect_err("an error").to_string();
    assert!(text.contains("/camera/none") && text.contains("[camera.rtsp] url"), "{text}");
}
