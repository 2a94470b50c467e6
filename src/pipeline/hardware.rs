//! The machine below: how its devices are opened, and how it does. A test has one of its own.

use std::io;
use std::sync::Arc;
use std::thread::Builder;

use crate::capture::{self, CaptureError, Pace, Wanted};
use crate::config::{Config, MicrophoneSource};
use crate::heat::Heat;
use crate::queue::{Sender, Sense};

/// An open device; it closes when this is dropped.
pub(super) type Handle = Box<dyn Send>;
/// A try to open a device, under way beside the analysis: gives what came of it, once.
pub(super) type Try = Box<dyn FnMut() -> Option<Result<Handle, CaptureError>>>;
/// Begins a try.
pub(super) type Open = Box<dyn Fn() -> io::Result<Try>>;

/// Opens the configured devices, which send into `out`, and feels the machine.
pub(super) trait Hardware {
    /// The camera, with its sound if that is what is heard.
    fn camera(&self, config: &Config, wanted: &Wanted, out: &Sender) -> Open;
    /// The sound card.
    fn microphone(&self, config: &Config, wanted: &Wanted, out: &Sender) -> Open;
    /// Whether the camera is out of reach of this process for good, and perhaps not of the next one that the service
    /// manager starts. Asked on the analysis thread: it waits for nobody.
    fn is_shut_out(&self, config: &Config) -> bool;
    /// How hot the machine is, and what it does about that.
    fn heat(&self) -> Heat;
}

/// This machine, by GStreamer, ALSA and Linux.
pub(super) struct Real;

impl Hardware for Real {
    fn camera(&self, config: &Config, wanted: &Wanted, out: &Sender) -> Open {
        let sound = config.microphone.source == MicrophoneSource::Media;
        let (settings, wanted, out) = (Arc::new(config.camera.clone()), wanted.clone(), out.clone());
        aside(Sense::Camera, move || {
            let opened = capture::open_camera(&settings, sound, &wanted, Pace::Live, &out);
            // What is installed by the next try is found by it; what was there and could not be loaded, by one of the next 64.
            opened.inspect_err(|error| {
                if error.is_lacking() {
                    capture::look_for_plugins()
                }
            })
        })
    }

    fn microphone(&self, config: &Config, wanted: &Wanted, out: &Sender) -> Open {
        let (alsa, rate, out) = (Arc::new(config.microphone.alsa.clone()), wanted.rate, out.clone());
        aside(Sense::Microphone, move || capture::open_microphone(&alsa, rate, &out))
    }

    fn is_shut_out(&self, config: &Config) -> bool {
        std::env::var_os("NOTIFY_SOCKET").is_some() && capture::is_out_of_reach(&config.camera)
    }

    fn heat(&self) -> Heat {
        Heat::latest()
    }
}

/// Opens on a thread of its own, each time: a camera may take seconds.
fn aside<T: Send + 'static>(
    sense: Sense,
    open: impl Fn() -> Result<T, CaptureError> + Clone + Send + 'static,
) -> Open {
    Box::new(move || {
        let open = open.clone();
        let opened = move || open().map(|handle| Box::new(handle) as Handle);
        let mut trying = Some(Builder::new().name(format!("{sense}-open")).spawn(opened)?);
        Ok(Box::new(move || {
            let over = trying.take_if(|trying| trying.is_finished())?;
            Some(over.join().unwrap_or(Err(CaptureError::Bug(sense))))
        }))
    })
}
