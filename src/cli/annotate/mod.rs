//! `tvsl annotate`: what a recording, or a picture with a sound, holds; as messages and as pictures.

mod journal;
mod shots;
mod timeline;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant as Stopwatch;

use clap::Args;

use super::{Common, Failure, signals};
use crate::analysis::Analysis;
use crate::capture;
use crate::clock::{Instant, SystemClock};
use crate::config::{CameraSource, Config, MicrophoneSource};
use crate::engine;
use crate::frame::Samples;
use crate::message::{Composer, Moment};
use crate::model::Model;
use crate::pipeline::{self, Observer, Stop};
use journal::Journal;

/// Show what sounds where in a recording
///
/// Analyses a clip, or a picture together with a sound, as fast as it can with the settings of `run`.
/// Writes the messages that `run` would publish to DIR/detections.jsonl (times are seconds of the
/// recording), and pictures with heat, boxes and labels: one a second while something sounds, and one
/// for every change. Ctrl-C stops it: the messages up to there are kept.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// A clip with sound; or, with a sound beside it, a picture (JPEG, PNG, WebP, BMP or TIFF; at most
    /// 64 Mi pixels, turned upright as its EXIF says)
    #[arg(value_name = "INPUT")]
    input: PathBuf,
    /// A sound for the picture INPUT, or a clip that has one
    #[arg(value_name = "SOUND", conflicts_with = "sound_file")]
    sound: Option<PathBuf>,
    /// The same as SOUND
    #[arg(long = "sound", value_name = "FILE")]
    sound_file: Option<PathBuf>,
    /// Folder for the messages and the pictures; made if it is not there. What an earlier annotate left in it is replaced,
    /// other files stay
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Seconds between pictures while something sounds; 0 draws every analysed frame
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    every: f64,
    /// Model folder, in place of the configured one
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
}

/// Seconds between the frames of a picture that stands still while its sound plays.
const STILL: f64 = 0.25;

fn seconds(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|s| s.is_finite() && *s >= 0.0);
    value.ok_or_else(|| "expected seconds, 0 or more".into())
}

pub(super) fn run(arguments: Arguments, common: &Common) -> Result<(), Failure> {
    let Arguments { input, sound, sound_file, out, every, model } = arguments;
    let (mut config, _) = common.settings()?;
    config.camera.source = CameraSource::File;
    config.camera.file.path = input.clone();
    config.camera.file.repeat = false;
    config.microphone.source = MicrophoneSource::Media;
    let sound = sound.or(sound_file);
    super::readable(&input, "name a clip or a picture")?; // before the model is loaded
    sound.iter().try_for_each(|sound| super::readable(sound, "name a sound"))?;
    capture::init().map_err(Failure::failed)?;
    let analysis = open(&config, model)?;
    let stop = Arc::new(Stop::default());
    signals::ask(Arc::clone(&stop))?; // before anything is written
    std::fs::create_dir_all(&out).map_err(|error| unwritable(&out, &error))?;
    shots::clear(&out).map_err(|error| unwritable(&out, &error))?;
    let mut journal = Journal::new(&out, every, &analysis).map_err(|error| unwritable(&out, &error))?;
    let began = Stopwatch::now();
    let analysed = match sound {
        Some(sound) => still(&config, analysis, (&input, &sound), &stop, &mut journal),
        None => {
            let clock = SystemClock::new();
            pipeline::replay(&config, analysis, &clock, &stop, &mut journal).map_err(Failure::failed)
        }
    };
    let took = began.elapsed();
    let found = journal.finish().map_err(|error| unwritable(&out, &error))?;
    if found.frames == 0 {
        std::fs::remove_file(out.join(journal::MESSAGES)).ok();
    }
    analysed?;
    if !stop.asked() {
        complain(&input, &found)?;
    }
    let pictures = shots::draw(&input, &found.shots, &out, &stop)?;
    if stop.asked() {
        return Err(stopped(&input, &found, pictures, &out));
    }
    super::print(&timeline::summary(&found, took, pictures, &out))
}

/// It was asked to stop before it was through.
fn stopped(input: &Path, found: &journal::Found, pictures: usize, out: &Path) -> Failure {
    let (input, file) = (input.display(), out.join(journal::MESSAGES));
    let kept = match found.frames {
        0 => "nothing was analysed".into(),
        _ => format!("{} messages up to there are in {}", found.messages, file.display()),
    };
    let seconds = found.seconds;
    Failure::Failed(format!(
        "{input}: stopped as asked, {seconds:.1} s into it; {kept}, {pictures} pictures are drawn"
    ))
}

/// The folder cannot be written.
fn unwritable(out: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::Failed(format!("{}: cannot be written: {error}; name another folder with --out", out.display()))
}

fn open(config: &Config, model: Option<PathBuf>) -> Result<Analysis, Failure> {
    let folder = model.map_or_else(|| config.model_dir(), Ok)?;
    let engine = engine::choose(&config.engine).map_err(Failure::failed)?;
    let model = Model::configured(&folder, engine.as_ref(), config).map_err(Failure::failed)?;
    Analysis::new(model, config).map_err(|error| Failure::model(config, error))
}

/// Shows the picture for as long as the sound lasts, and in silence until the last of it was heard and could be reported.
fn still(
    config: &Config,
    mut analysis: Analysis,
    (picture, sound): (&Path, &Path),
    stop: &Stop,
    observer: &mut dyn Observer,
) -> Result<(), Failure> {
    let mut frame = capture::read_picture(picture, None).map_err(Failure::failed)?;
    let rate = analysis.model().sample_rate();
    let mut sound = capture::read_sound(sound, rate).map_err(Failure::failed)?;
    let hop = analysis.model().manifest().audio.hop;
    let after = hop + config.tracking.start_after.as_secs_f64() + STILL;
    sound.mono.resize(sound.mono.len() + (after * f64::from(rate)) as usize, 0.0);
    let mut composer = Composer::new(config, analysis.model().manifest(), fastrand::u32(..));
    let step = ((STILL * f64::from(rate)) as usize).max(1);
    let mut heard = Instant::ZERO;
    for block in sound.mono.chunks(step).take_while(|_| !stop.asked()) {
        let block = Samples::new(heard, rate, block.to_vec());
        heard = block.end();
        frame.captured = heard;
        analysis.push_sound(&block).map_err(Failure::failed)?;
        let analysed = analysis.push_frame(&mut frame).map_err(Failure::failed)?;
        let message = composer.compose(&analysed, Moment::of_recording(heard));
        observer.analysed(&analysed);
        message.into_iter().for_each(|message| observer.message(message));
    }
    let last = composer.close(&analysis.finish(), Moment::of_recording(heard));
    last.into_iter().for_each(|message| observer.message(message));
    Ok(())
}

/// A recording that lacks a sense is no result.
fn complain(input: &Path, found: &journal::Found) -> Result<(), Failure> {
    let input = input.display();
    if found.frames == 0 {
        return Err(Failure::Failed(format!("{input}: holds no picture, so nothing can be seen in it")));
    }
    if !found.heard {
        return Err(Failure::Failed(format!(
            "{input}: has no sound, so nothing can be heard in it; give a sound with --sound FILE"
        )));
    }
    Ok(())
}
