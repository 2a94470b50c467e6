//! `tvsl record`: what the device sees and hears, in a file.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::{Common, Failure, logging, signals};
use crate::capture::{self, Pace, Recorder, Wanted};
use crate::clock::{Clock, SystemClock};
use crate::config::MicrophoneSource;
use crate::geometry::{Fit, Size};
use crate::mask::Masks;
use crate::model::Manifest;
use crate::pipeline::Stop;
use crate::queue::{self, Empty, Limits, Receiver, Sense, Sensed};

/// Record what the device sees and hears
///
/// For `tvsl replay`. Opens the configured camera and microphone itself: stop the service first. Pictures and sound are kept as the
/// model is given them, without loss, in a Matroska file that only its owner can read. It stops at --seconds or
/// --megabytes, whichever comes first, or at Ctrl-C. The service never records.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// File for the recording, which must not be there yet
    #[arg(long, value_name = "FILE", default_value = "recording.mkv")]
    out: PathBuf,
    /// Longest time to record
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Largest size of the file
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    megabytes: u32,
    /// Keep pictures at the camera's size, to try another model with them: a larger file
    #[arg(long)]
    full_size: bool,
}

pub(super) fn run(arguments: Arguments, common: &Common) -> Result<(), Failure> {
    let (config, _) = common.settings()?;
    let manifest = Manifest::read(&config.model_dir()?).map_err(Failure::configuration)?;
    let hidden = (&config.detection.masks, manifest.image.neutral());
    let wanted = wanted(manifest, arguments.full_size);
    let pace = Pace::of(&config.camera);
    let (sender, receiver) = queue::bounded(Limits::default(), pace.policy());
    let heard = config.microphone.source != MicrophoneSource::None;
    capture::init().map_err(Failure::failed)?;
    let stop = Arc::new(Stop::default());
    signals::ask(Arc::clone(&stop))?;
    let most = u64::from(arguments.megabytes) * 1_000_000;
    let mut recorder =
        Recorder::create(&arguments.out, heard.then_some(wanted.rate), most).map_err(Failure::failed)?;
    let capture = capture::start(&config.camera, &config.microphone, &wanted, pace, sender);
    let taken = capture.map_err(|error| Failure::capture(&config, error)).and_then(|capture| {
        logging::note("tvsl: recording picture and sound; Ctrl-C stops\n");
        let taken = take(&mut recorder, &receiver, hidden, &stop, &arguments);
        drop((receiver, capture)); // in this order: senders that wait for room are let go first
        taken
    });
    let Some(Size { width, height }) = recorder.size() else {
        std::fs::remove_file(&arguments.out).ok();
        return taken.and(Err(Failure::Failed("the camera delivered no picture; try `tvsl doctor`".into())));
    };
    let seconds = recorder.length().as_secs_f64();
    recorder.finish().map_err(Failure::failed)?;
    let (out, size) =
        (arguments.out.display(), std::fs::metadata(&arguments.out).map_or(0, |file| file.len()));
    let megabytes = size as f64 / 1e6;
    super::print(&format!("{out}: {seconds:.1} s, pictures of {width} x {height}, {megabytes:.1} MB\n"))?;
    taken
}

/// What the model wants, or pictures as they are.
fn wanted(manifest: Manifest, full_size: bool) -> Wanted {
    let (rate, image) = (manifest.audio.sample_rate, manifest.image);
    let whole = |size: Size| Fit { rows: 1, columns: 1, input: size, picture: size, left: 0, top: 0 };
    let fitting = move |size| if full_size { whole(size) } else { image.fit(size) };
    Wanted { fitting: Arc::new(fitting), rate, most: None }
}

/// Takes what comes, up to one of the bounds.
fn take(
    recorder: &mut Recorder,
    receiver: &Receiver,
    (masks, neutral): (&Masks, [u8; 3]),
    stop: &Stop,
    arguments: &Arguments,
) -> Result<(), Failure> {
    let clock = SystemClock::new();
    let until = clock.now() + Duration::from_secs(arguments.seconds.into());
    while !stop.asked() && clock.now() < until && !recorder.is_full() {
        match receiver.recv(Duration::from_millis(100)) {
            Ok(Sensed::Frame(mut frame)) => {
                masks.hide(&mut frame, neutral);
                recorder.see(&frame).map_err(Failure::failed)?;
            }
            Ok(Sensed::Sound(block)) => recorder.hear(&block).map_err(Failure::failed)?,
            Ok(Sensed::Fault(sense, error)) => {
                return Err(Failure::Failed(format!("the {sense} broke off: {error}")));
            }
            Ok(Sensed::End(Sense::Camera)) | Err(Empty::Closed) => break,
            Ok(Sensed::End(Sense::Microphone)) | Err(Empty::TimedOut) => {}
        }
    }
    Ok(())
}
