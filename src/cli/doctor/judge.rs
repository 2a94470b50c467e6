//! The model and what runs it: opened as the daemon does, and tried on one dark, silent moment.

use std::path::Path;

use super::super::Failure;
use super::Check;
use crate::analysis::Analysis;
use crate::clock::Instant;
use crate::config::Config;
use crate::engine::{self, Engine, EngineError};
use crate::frame::{Frame, Samples};
use crate::geometry::Size;
use crate::model::{Manifest, Model, ModelError};

/// Frames that are judged; the first ones warm the engine up.
const FRAMES: u32 = 8;

/// Tells how model and engine do; gives the analysis if both work.
pub(super) fn checks(
    config: &Config,
    tell: &mut dyn FnMut(Check) -> Result<(), Failure>,
) -> Result<Option<Analysis>, Failure> {
    let folder = match config.model_dir() {
        Ok(folder) => folder,
        Err(error) => {
            let cure = "set [model] path to a model folder, or install the package again";
            tell(Check::failed("model", error.to_string(), cure))?;
            return Ok(None);
        }
    };
    let engine = match engine::choose(&config.engine) {
        Ok(engine) => engine,
        Err(error) => {
            tell(Check::failed("engine", error.to_string(), "see the lines above"))?;
            return Ok(None);
        }
    };
    let opened =
        Model::configured(&folder, engine.as_ref(), config).and_then(|model| Analysis::new(model, config));
    match opened {
        Ok(mut analysis) => {
            let manifest = analysis.model().manifest();
            let (name, version, classes) = (&manifest.name, &manifest.version, manifest.classes.len());
            let about = format!("{name} {version}, {classes} classes, every file as its checksum says");
            tell(Check::ok("model", about))?;
            tell(match open_reader(&folder, analysis.model().manifest(), engine.as_ref()) {
                Ok(()) => speed(&mut analysis, config, engine.as_ref()),
                Err(error) if let Some(state) = config.closed_state() => {
                    Check::closed("engine", &error.to_string(), state)
                }
                Err(error) => {
                    Check::failed("engine", error.to_string(), "`tvsl engine build`, which takes minutes")
                }
            })?;
            Ok(Some(analysis))
        }
        Err(error) => {
            let cure = "install the package again, or name another folder as [model] path";
            tell(Check::failed("model", super::super::with_causes(&error), cure))?;
            Ok(None)
        }
    }
}

/// Opens what reads words, which a model whose words were read before does without: new ones will need its plan.
fn open_reader(folder: &Path, manifest: &Manifest, engine: &dyn Engine) -> Result<(), EngineError> {
    let text = manifest.precision("fp32").and_then(|graphs| graphs.text.as_ref());
    match text.filter(|_| engine.name() == "tensorrt") {
        Some(file) => engine.load(&folder.join(file)).map(drop),
        None => Ok(()),
    }
}

/// Whether the engine that was asked for does all of the work, and keeps up with the configured rate.
fn speed(analysis: &mut Analysis, config: &Config, engine: &dyn Engine) -> Check {
    let wanted = config.camera.rate;
    let fastest = fastest(analysis);
    let trouble = engine.trouble().is_some() || analysis.model().trouble().is_some();
    let cure = match engine.name() {
        "tensorrt" => {
            "`tvsl engine build`, which takes minutes; `tvsl engine verify` then says whether all is well"
        }
        _ => "that of the GPU above",
    };
    let engine = engine.describe();
    match fastest {
        // The plans that are missed here may be among what is the service's.
        Ok(_) if trouble && let Some(state) = config.closed_state() => {
            Check::closed("engine", &engine, state)
        }
        // Whoever asks for TensorRT and has no good plans is not told how fast the CPU is.
        Ok(seconds) if trouble => Check::warning(
            "engine",
            format!("{engine}; so the CPU helps out: {:.0} ms a picture", seconds * 1e3),
            cure,
        ),
        Ok(seconds) if seconds * wanted > 1.0 => Check::warning(
            "engine",
            format!("{engine}: {:.0} ms a picture are too slow for {wanted} a second", seconds * 1e3),
            format!("set [camera] rate to {:.0} or less", (1.0 / seconds).floor().max(1.0)),
        ),
        Ok(seconds) => Check::ok("engine", format!("{engine}: {:.0} ms a picture", seconds * 1e3)),
        Err(error) => Check::failed("engine", format!("{engine}: {error}"), "try [engine] kind = \"cpu\""),
    }
}

/// Seconds that the fastest of some frames took, with its share of the sound.
fn fastest(analysis: &mut Analysis) -> Result<f64, ModelError> {
    let (size, rate) = (Size::new(640, 360), analysis.model().sample_rate());
    let picture = analysis.model().manifest().image.fit(size).picture;
    let rgb = vec![64; (picture.width * picture.height * 3) as usize];
    let mut least = f64::INFINITY;
    for index in 0..FRAMES {
        let captured = Instant::from_secs_f64(f64::from(index) * 0.1);
        analysis.push_sound(&Samples::new(captured, rate, vec![0.0; rate as usize / 10]))?;
        let mut frame = Frame { captured, size: picture, source: size, rgb: rgb.clone() };
        least = least.min(analysis.push_frame(&mut frame)?.timing.total.as_secs_f64());
    }
    analysis.finish();
    Ok(least)
}
