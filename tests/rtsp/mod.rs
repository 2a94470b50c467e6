//! A network camera for tests: a real RTSP server inside the test.
#![allow(dead_code, reason = "every test file uses its own part of it")]

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_rtsp_server as rtsp;
use gstreamer_rtsp_server::prelude::*;
use tvsl::capture;

/// Longest time that a camera takes to be opened again.
const PATIENCE: Duration = Duration::from_secs(30);

/// A stream of pictures of a sensor, which the tiny model sees as red, and of a hum that goes with it.
pub const SENSOR: &str = "( videotestsrc is-live=true pattern=red ! \
    video/x-raw,format=I420,width=320,height=180,framerate=10/1 ! identity name=sensor ! jpegenc ! rtpjpegpay name=pay0 pt=26 \
    audiotestsrc is-live=true freq=200 volume=0.8 ! audio/x-raw,rate=48000 ! avenc_aac ! rtpmp4gpay name=pay1 pt=97 )";

/// A server of one stream on a free port of this machine.
pub struct Server {
    server: rtsp::RTSPServer,
    main_loop: glib::MainLoop,
    thread: Option<JoinHandle<()>>,
    media: Arc<Mutex<Option<rtsp::RTSPMedia>>>,
    sensor: Arc<Sensor>,
}

/// What the streams have in common: as for a real camera, no picture is like the one before, unless it is frozen.
#[derive(Default)]
struct Sensor {
    frozen: AtomicBool,
    pictures: AtomicU8,
    /// How often a stream was asked for.
    asked: Mutex<u32>,
    again: Condvar,
}

impl Sensor {
    /// Changes the uppermost rows of the raw pictures that pass the element "sensor" of a stream, if it has one.
    fn look_through(self: &Arc<Self>, media: &rtsp::RTSPMedia) {
        let stream = media.element().downcast::<gst::Bin>().expect("a launch line");
        let pad = stream.by_name("sensor").and_then(|element| element.static_pad("src"));
        if let Some(pad) = pad {
            let sensor = Arc::clone(self);
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
                if let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data {
                    let new = u8::from(!sensor.frozen.load(Ordering::SeqCst));
                    let shade = 40 + sensor.pictures.fetch_add(new, Ordering::SeqCst) % 16 * 8;
                    buffer.make_mut().map_writable().expect("memory")[..16 * 320].fill(shade);
                }
                gst::PadProbeReturn::Ok
            });
        }
        *self.asked.lock().expect("no panic") += 1;
        self.again.notify_all();
    }
}

/// Makes the stream of `launch` for whoever asks, and keeps hold of it.
fn factory(
    launch: &str,
    media: &Arc<Mutex<Option<rtsp::RTSPMedia>>>,
    sensor: &Arc<Sensor>,
) -> rtsp::RTSPMediaFactory {
    let (factory, media, sensor) = (rtsp::RTSPMediaFactory::new(), Arc::clone(media), Arc::clone(sensor));
    factory.set_launch(launch);
    factory.connect_media_configure(move |_, made| {
        sensor.look_through(made);
        *media.lock().expect("no panic") = Some(made.clone());
    });
    factory
}

impl Server {
    /// On a free port.
    pub fn of(launch: &str) -> Self {
        Self::on(0, launch)
    }

    /// On `port`; 0: a free one.
    pub fn on(port: u16, launch: &str) -> Self {
        capture::init().expect("GStreamer");
        let context = glib::MainContext::new();
        let (media, sensor) = (Arc::default(), Arc::default());
        let server = rtsp::RTSPServer::new();
        server.set_address("127.0.0.1");
        server.set_service(&port.to_string());
        server.mount_points().expect("mount points").add_factory("/camera", factory(launch, &media, &sensor));
        server.attach(Some(&context)).expect("a free port");
        let main_loop = glib::MainLoop::new(Some(&context), false);
        let running = main_loop.clone();
        let thread = Some(std::thread::spawn(move || running.run()));
        Self { server, main_loop, thread, media, sensor }
    }

    /// Where the stream is.
    pub fn url(&self) -> String {
        format!("rtsp://127.0.0.1:{}/camera", self.server.bound_port())
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        u16::try_from(self.server.bound_port()).expect("a port")
    }

    /// Serves another stream from now on, and hangs up on everyone, as a camera does whose settings are changed.
    pub fn serve(&self, launch: &str) {
        self.server
            .mount_points()
            .expect("mount points")
            .add_factory("/camera", factory(launch, &self.media, &self.sensor));
        self.close();
    }

    /// From now on the element "sensor" of the stream shows the same picture again and again, to everyone who opens it.
    pub fn freeze(&self) {
        self.sensor.frozen.store(true, Ordering::SeqCst);
    }

    /// From now on no picture is like the one before again.
    pub fn thaw(&self) {
        self.sensor.frozen.store(false, Ordering::SeqCst);
    }

    /// Waits until the stream was asked for so many times more.
    pub fn asked(&self, times: u32) {
        let asked = self.sensor.asked.lock().expect("no panic");
        let enough = *asked + times;
        let wait = self.sensor.again.wait_timeout_while(asked, PATIENCE, |asked| *asked < enough);
        assert!(!wait.expect("no panic").1.timed_out(), "nobody asks for the stream");
    }

    /// Changes the caps of the filter `name` in mid-stream.
    pub fn change(&self, name: &str, caps: &str) {
        let media = self.media.lock().expect("no panic").clone().expect("a stream that is played");
        let filter = media.element().downcast::<gst::Bin>().expect("a launch line").by_name(name);
        filter.expect("a filter").set_property("caps", caps.parse::<gst::Caps>().expect("caps"));
    }

    /// From now on damages all that passes the element `name`, but the bytes that say that a picture begins.
    pub fn spoil(&self, name: &str) {
        let media = self.media.lock().expect("no panic").clone().expect("a stream that is played");
        let element = media.element().downcast::<gst::Bin>().expect("a launch line").by_name(name);
        let pad = element.and_then(|element| element.static_pad("src")).expect("an element");
        pad.add_probe(gst::PadProbeType::BUFFER, |_, info| {
            if let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data {
                let mut bytes = buffer.make_mut().map_writable().expect("memory");
                bytes.iter_mut().skip(5).for_each(|byte| *byte = 0xaa);
            }
            gst::PadProbeReturn::Ok
        });
    }

    /// Hangs up on everyone.
    pub fn close(&self) {
        self.server.client_filter(Some(&mut |_, _| rtsp::RTSPFilterResult::Remove));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.close();
        self.main_loop.quit();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("a server without panic");
        }
    }
}
