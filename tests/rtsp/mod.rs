//! A network camera for tests: a real RTSP server inside the test.
#![allow(dead_code, reason = "every test file uses its own part of it")]

use std::thread::JoinHandle;

use gstreamer::glib;
use gstreamer_rtsp_server as rtsp;
use gstreamer_rtsp_server::prelude::*;
use tvsl::capture;

/// A server of one stream on a free port of this machine.
pub struct Server {
    server: rtsp::RTSPServer,
    main_loop: glib::MainLoop,
    thread: Option<JoinHandle<()>>,
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
        let factory = rtsp::RTSPMediaFactory::new();
        factory.set_launch(launch);
        let server = rtsp::RTSPServer::new();
        server.set_address("127.0.0.1");
        server.set_service(&port.to_string());
        server.mount_points().expect("mount points").add_factory("/camera", factory);
        server.attach(Some(&context)).expect("a free port");
        let main_loop = glib::MainLoop::new(Some(&context), false);
        let running = main_loop.clone();
        let thread = Some(std::thread::spawn(move || running.run()));
        Self { server, main_loop, thread }
    }

    /// Where the stream is.
    pub fn url(&self) -> String {
        format!("rtsp://127.0.0.1:{}/camera", self.server.bound_port())
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
