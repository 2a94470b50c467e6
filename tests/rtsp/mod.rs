//! A network camera for tests: a real RTSP server inside the test.
#![allow(dead_code, reason = "every test file uses its own part of it")]

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_rtsp_server as rtsp;
use gstreamer_rtsp_server::prelude::*;
use tvsl::capture;

/// A server of one stream on a free port of this machine.
pub struct Server {
    server: rtsp::RTSPServer,
    main_loop: glib::MainLoop,
    thread: Option<JoinHandle<()>>,
    media: Arc<Mutex<Option<rtsp::RTSPMedia>>>,
}

/// Makes the stream of `launch` for whoever asks, and keeps hold of it.
fn factory(launch: &str, media: &Arc<Mutex<Option<rtsp::RTSPMedia>>>) -> rtsp::RTSPMediaFactory {
    let (factory, media) = (rtsp::RTSPMediaFactory::new(), Arc::clone(media));
    factory.set_launch(launch);
    factory.connect_media_configure(move |_, made| {
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
        let media = Arc::default();
        let server = rtsp::RTSPServer::new();
        server.set_address("127.0.0.1");
        server.set_service(&port.to_string());
        server.mount_points().expect("mount points").add_factory("/camera", factory(launch, &media));
        server.attach(Some(&context)).expect("a free port");
        let main_loop = glib::MainLoop::new(Some(&context), false);
        let running = main_loop.clone();
        let thread = Some(std::thread::spawn(move || running.run()));
        Self { server, main_loop, thread, media }
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
            .add_factory("/camera", factory(launch, &self.media));
        self.close();
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
