//! `tvsl replay`: a recording judged again, the same way each time.

use std::io::{self, BufWriter, Stdout, Write};
use std::path::PathBuf;

use clap::Args;

use super::{Common, Failure};
use crate::analysis::{Analysed, Analysis};
use crate::clock::SystemClock;
use crate::config::{CameraSource, MicrophoneSource};
use crate::message::Message;
use crate::model::Model;
use crate::pipeline::{self, Observer, Stop};
use crate::{capture, engine};

/// Judge a recording again, the same way each time
///
/// Judges what `tvsl record` kept with the settings and the model of now, and prints what `run --stdout` would, one JSON object a line, as fast as it can. Times are seconds of the recording.
/// The same recording, configuration and model give the same bytes each time; every picture of the recording is
/// judged, whatever [camera] rate says. Opens no device and no connection.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The recording; or any clip with sound
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn run(arguments: Arguments, common: &Common) -> Result<(), Failure> {
    let (mut config, _) = common.settings()?;
    super::readable(&arguments.file, "name a recording, or another clip with sound")?;
    config.camera.source = CameraSource::File;
    config.camera.file.path.clone_from(&arguments.file);
    config.camera.file.repeat = false;
    config.camera.rate = f64::INFINITY;
    config.microphone.source = MicrophoneSource::Media;
    capture::init().map_err(Failure::failed)?;
    let engine = engine::choose(&config.engine).map_err(|error| Failure::engine(&config, error))?;
    let model = Model::configured(&config.model_dir()?, engine.as_ref(), &config);
    let wrong = |error| Failure::model(&config, error);
    let analysis = Analysis::new(model.map_err(wrong)?, &config).map_err(wrong)?;
    let (clock, stop) = (SystemClock::new(), Stop::default());
    let mut lines = Lines {
        out: BufWriter::new(io::stdout()),
        stop: &stop,
        failed: None,
        heard: !config.detection.enable,
    };
    pipeline::replay(&config, analysis, &clock, &stop, &mut lines).map_err(Failure::failed)?;
    super::written(lines.failed.map_or_else(|| lines.out.flush(), Err))?;
    if lines.heard || stop.asked() {
        return Ok(());
    }
    let file = arguments.file.display();
    Err(Failure::Failed(format!(
        "{file}: has no sound; tvsl reports what is both heard and seen, so give it a clip with both"
    )))
}

/// Writes every message, up to the first failure; then there is nothing more to do.
struct Lines<'a> {
    out: BufWriter<Stdout>,
    stop: &'a Stop,
    failed: Option<io::Error>,
    /// Whether there was any sound, silent or not.
    heard: bool,
}

impl Observer for Lines<'_> {
    fn analysed(&mut self, analysed: &Analysed) {
        self.heard |= analysed.sound.end > analysed.sound.start;
    }

    fn message(&mut self, message: Message) {
        if self.failed.is_none() {
            let written = serde_json::to_writer(&mut self.out, &message).map_err(io::Error::from);
            self.failed = written.and_then(|()| self.out.write_all(b"\n")).err();
            if self.failed.is_some() {
                self.stop.ask();
            }
        }
    }
}
