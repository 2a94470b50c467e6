//! How each graph of a model is built: the shapes it will meet, and its precision.

use std::path::{Path, PathBuf};

use super::super::Failure;
use crate::config::MOST_CLASSES;
use crate::engine::tensorrt::{BuildOptions, Direction, Family, Precision, Range, Settings, TensorInfo};
use crate::engine::{Engine, Tensor};
use crate::geometry::Size;
use crate::model::manifest::{Aspect, FrontEnd, Graphs};
use crate::model::{MOST_UNASKED, Manifest, TEXTS_AT_ONCE};

/// Most rows of sound that the stages are given at once, unless a window of the model gives more.
const ROWS_MAX: i64 = 64;

/// Classes that sound at once, usually: of a model with more than [`MOST_UNASKED`] their maps alone are drawn.
const CLASSES_USUAL: i64 = 4;

/// Most tokens of a class that a user names.
const TOKENS_MOST: i64 = 77;

/// The ONNX file that the plan of the graph `file` is compiled from. Where the types in it say how a plan computes, that
/// is the encoder's form in half precision, if that is asked for and the model has one.
pub(super) fn compiled(manifest: &Manifest, file: &Path, family: Family, settings: Settings) -> PathBuf {
    let asked = settings.precision == Precision::Fp16 && family.computes_in_types_of_the_file();
    let form = halved(manifest).into_iter().find(|(whole, _)| asked && file.ends_with(whole));
    form.map_or(file.to_owned(), |(_, halved)| file.with_file_name(halved))
}

/// Whether any encoder of the model may be computed in half precision: by a flag, or in a form of its own.
pub(super) fn halves(manifest: &Manifest, family: Family) -> bool {
    match family.computes_in_types_of_the_file() {
        true => !halved(manifest).is_empty(),
        false => ["image", "sound"].iter().any(|input| may_be_half(manifest, input)),
    }
}

/// The encoders that the model has in half precision, too, and may be: each file of single with that of half.
fn halved(manifest: &Manifest) -> Vec<(&str, &str)> {
    let (Some(whole), Some(halved)) = (manifest.precision("fp32"), manifest.precision("fp16")) else {
        return Vec::new();
    };
    let image = ("image", &*whole.image, &*halved.image);
    let audio = ("sound", &*whole.audio, &*halved.audio);
    let both = [image, audio].into_iter().filter(|(input, ..)| may_be_half(manifest, input));
    both.map(|(_, whole, halved)| (whole, halved)).collect()
}

/// What the types in the compiled file say of its precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Nothing: a flag lets half precision in.
    Plain,
    /// Single precision throughout.
    Whole,
    /// Half precision where it does no harm.
    Halved,
}

impl Form {
    /// That of `compiled`, from which the plan of `file` is built.
    pub fn of(family: Family, file: &Path, compiled: &Path) -> Self {
        match family.computes_in_types_of_the_file() {
            false => Self::Plain,
            true if file == compiled => Self::Whole,
            true => Self::Halved,
        }
    }
}

/// Rows of sound that a window gives: one for every patch, or what the audio graph, the file `audio`, makes of a waveform.
pub(super) fn rows(manifest: &Manifest, audio: &Path, cpu: &dyn Engine) -> Result<i64, Failure> {
    if manifest.audio.front_end == FrontEnd::LogMel {
        return Ok(patches(manifest));
    }
    let mut graph = cpu.load(audio).map_err(Failure::failed)?;
    let silence = Tensor::zeros([1, manifest.window_samples()]);
    let outputs = graph.run(&[("sound", (&silence).into())]).map_err(Failure::failed)?;
    let place = graph.outputs().iter().position(|port| port.name == "A");
    let heard = place.and_then(|place| outputs.get(place)?.shape.get(1));
    let none = || Failure::Failed(format!("{}: gives no rows `A` [B, T, D] of sound", audio.display()));
    heard.map(|rows| *rows as i64).ok_or_else(none)
}

/// Patches of sound in a window, with one that ends late.
fn patches(manifest: &Manifest) -> i64 {
    (manifest.audio.window / manifest.audio.hop).ceil() as i64 + 1
}

/// The options for the graph that has these tensors; `rows` is what [`rows`] gives.
pub(super) fn options(
    manifest: &Manifest,
    rows: i64,
    tensors: &[TensorInfo],
    settings: Settings,
    form: Form,
) -> BuildOptions {
    let inputs: Vec<_> = tensors.iter().filter(|tensor| tensor.direction == Direction::Input).collect();
    let halved = match form {
        Form::Plain => inputs.iter().any(|tensor| may_be_half(manifest, &tensor.label())),
        Form::Whole => false,
        Form::Halved => true,
    };
    let maps = tensors.iter().any(|tensor| tensor.label() == "H");
    let mut ranges: Vec<_> = inputs.into_iter().filter_map(|tensor| range(manifest, rows, tensor)).collect();
    if maps
        && let Some(classes) = ranges.iter_mut().find(|range| range.input == "t")
        && classes.opt[0] > MOST_UNASKED as i64
    {
        classes.opt[0] = CLASSES_USUAL;
    }
    BuildOptions {
        precision: if halved { settings.precision } else { Precision::Fp32 },
        workspace_mib: settings.workspace_mib,
        level: settings.level,
        capability: None,
        ranges,
    }
}

/// Only encoders may: the text runs once, and the stages and what makes `V` of `features`, with their norms and softmax, take no
/// time. A sound encoder that takes the waveform holds the front end, whose power spectra exceed what half precision can
/// hold. A model that names the same file in both precisions has it computed in single.
fn may_be_half(manifest: &Manifest, input: &str) -> bool {
    let same = |file: fn(&Graphs) -> &String| {
        let files = ["fp32", "fp16"].map(|precision| manifest.precision(precision).map(file));
        files[0].is_some() && files[0] == files[1]
    };
    match input {
        "image" => !same(|graphs| &graphs.image),
        "sound" => manifest.audio.front_end == FrontEnd::LogMel && !same(|graphs| &graphs.audio),
        _ => false,
    }
}

/// The usual shape of an input; `shape` has `None` for its open extents.
pub(super) fn usual(manifest: &Manifest, rows: i64, input: &str, shape: &[Option<usize>]) -> Vec<usize> {
    let extents = extents(manifest, rows, input, shape.len());
    shape.iter().zip(extents).map(|(fixed, [_, usual, _])| fixed.unwrap_or(usual as usize)).collect()
}

/// The shapes of an input with open extents; `None` if it has none.
fn range(manifest: &Manifest, rows: i64, tensor: &TensorInfo) -> Option<Range> {
    if !tensor.shape.contains(&-1) {
        return None;
    }
    let name = tensor.label();
    let extents = extents(manifest, rows, &name, tensor.shape.len());
    let shape = |which: usize| {
        tensor
            .shape
            .iter()
            .zip(&extents)
            .map(|(fixed, open)| if *fixed == -1 { open[which] } else { *fixed })
            .collect()
    };
    Some(Range { input: name, min: shape(0), opt: shape(1), max: shape(2) })
}

/// Smallest, usual and largest extent of every axis, as the model folder's manifest limits them.
fn extents(manifest: &Manifest, rows: i64, input: &str, axes: usize) -> Vec<[i64; 3]> {
    let one = [1; 3];
    // Usually one camera's, at most those of every camera at once.
    let batch = [1, 1, i64::from(manifest.image.cameras)];
    let cells = i64::from(manifest.image.cells_max);
    let longest = manifest.classes.iter().map(|class| class.tokens.len()).max().unwrap_or(1).max(1) as i64;
    let classes = manifest.classes.len() as i64;
    let most_classes = match manifest.embedding.text {
        Some(_) => classes,
        None => classes.max(MOST_CLASSES as i64), // a user may name others than the manifest does
    };
    match input {
        "image" => {
            let [rows, columns] = grid(manifest);
            vec![batch, [3; 3], rows, columns]
        }
        "features" => {
            let stride = i64::from(manifest.image.stride);
            let [rows, columns] = grid(manifest).map(|pixels| pixels.map(|pixels| pixels / stride));
            vec![batch, one, rows, columns] // its channels are the graph's own
        }
        "sound" if axes == 2 => vec![batch, [manifest.window_samples() as i64; 3]],
        "sound" => vec![[1, 1, rows.max(batch[2])]],
        "tokens" => {
            vec![[1, classes, (TEXTS_AT_ONCE as i64).max(classes)], [1, longest, TOKENS_MOST.max(longest)]]
        }
        "V" => vec![batch, [1, cells, cells]],
        "A" => vec![batch, [1, rows, ROWS_MAX.max(rows)]],
        "t" => vec![[1, classes, most_classes]],
        _ => Vec::new(),
    }
    .into_iter()
    .chain(std::iter::repeat(one))
    .take(axes)
    .collect()
}

/// Height and width in pixels, fastest at 16:9: one grid for every picture, or any up to six times as long
/// as wide.
fn grid(manifest: &Manifest) -> [[i64; 3]; 2] {
    let image = &manifest.image;
    let usual = image.fit(Size::new(1280, 720)).input;
    let usual = [usual.height, usual.width].map(i64::from);
    if image.aspect == Aspect::Squash {
        return usual.map(|side| [side; 3]);
    }
    let (stride, cells) = (i64::from(image.stride), f64::from(image.cells_max));
    let longest = (cells * 6.0).sqrt().ceil() as i64 * stride;
    usual.map(|side| [stride, side, longest.max(side)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tensorrt::plan;

    fn manifest(folder: &str) -> Manifest {
        Manifest::read(std::path::Path::new(folder)).expect("a model folder")
    }

    #[test]
    fn grids_are_fastest_at_16_to_9_or_always_the_same() {
        assert_eq!(grid(&manifest("engines/default")), [[32, 224, 736], [32, 384, 736]]);
        assert_eq!(grid(&manifest("tests/data/tiny")), [[64; 3]; 2]);
    }

    #[test]
    fn a_run_takes_the_pictures_of_as_many_cameras_as_the_manifest_says() {
        let mut several = manifest("engines/default");
        let batch = |manifest: &Manifest, input| extents(manifest, 4, input, 4)[0];
        assert_eq!(["image", "V", "A"].map(|input| batch(&several, input)), [[1; 3]; 3]);
        several.image.cameras = 3;
        assert_eq!(["image", "V", "A"].map(|input| batch(&several, input)), [[1, 1, 3]; 3]);
        assert_eq!(extents(&several, 4, "t", 2)[0], [1, 51, 51], "classes are no cameras");
        let mut waveform = manifest("tests/data/tiny");
        waveform.image.cameras = 2;
        assert_eq!(extents(&waveform, 4, "sound", 2), [[1, 1, 2], [8000; 3]]);
    }

    #[test]
    fn the_stages_take_as_many_rows_as_a_window_gives() {
        let (patches, waveform) = (manifest("engines/default"), manifest("tests/data/tiny"));
        let taken = |manifest: &Manifest, rows| extents(manifest, rows, "A", 3)[1];
        assert_eq!(taken(&waveform, 143), [1, 143, 143], "AudioCLIP's");
        assert_eq!(taken(&waveform, 4), [1, 4, 64]);
        assert_eq!(usual(&waveform, 143, "A", &[None, None, Some(3)]), [1, 143, 3]);
        let cpu = crate::engine::choose(&crate::config::Engine {
            kind: crate::config::EngineKind::Cpu,
            ..crate::config::Config::default().engine
        });
        let cpu = cpu.expect("the CPU engine opens");
        let given = |manifest: &Manifest, file| {
            rows(manifest, Path::new(file), cpu.as_ref()).map_err(|failure| format!("{failure:?}"))
        };
        assert_eq!(given(&waveform, "tests/data/tiny/audio.onnx"), Ok(4), "left open in its file");
        assert_eq!(given(&waveform, "tests/data/tiny/fine.onnx"), Ok(160));
        assert_eq!(given(&patches, "no such file"), Ok(super::patches(&patches)), "told by the manifest");
    }

    #[test]
    fn encoders_are_halved_unless_the_front_end_is_inside() {
        let halved = |folder: &str| {
            let manifest = manifest(folder);
            ["image", "features", "sound", "V", "A", "t", "tokens"].map(|input| may_be_half(&manifest, input))
        };
        assert_eq!(
            halved("engines/default"),
            [true, false, false, false, false, false, false],
            "softmax is in the rest"
        );
        assert_eq!(halved("tests/data/tiny"), [true, false, false, false, false, false, false]);
        let mut heard = manifest("engines/default");
        heard.graphs.remove("fp16");
        assert!(may_be_half(&heard, "sound"), "nothing is said against it");
        heard.audio.front_end = FrontEnd::Waveform;
        assert!(!may_be_half(&heard, "sound"));
    }

    #[test]
    fn no_plan_is_compiled_from_a_halved_encoder_that_has_the_front_end_inside() {
        let settings = Settings { precision: Precision::Fp16, workspace_mib: 64, level: 3 };
        let mut manifest = manifest("engines/default");
        let of = |manifest: &Manifest, settings| {
            ["image", "audio"].map(|graph| {
                let file = Path::new("model").join(format!("{graph}.onnx"));
                compiled(manifest, &file, Family::Rtx, settings).display().to_string()
            })
        };
        assert_eq!(of(&manifest, settings), ["model/image-fp16.onnx", "model/audio.onnx"]);
        manifest.graphs.get_mut("fp16").expect("it has them").audio = "audio-fp16.onnx".to_owned();
        assert_eq!(of(&manifest, settings), ["model/image-fp16.onnx", "model/audio-fp16.onnx"]);
        let single = Settings { precision: Precision::Fp32, ..settings };
        assert_eq!(of(&manifest, single), ["model/image.onnx", "model/audio.onnx"]);
        manifest.audio.front_end = FrontEnd::Waveform;
        assert_eq!(of(&manifest, settings), ["model/image-fp16.onnx", "model/audio.onnx"]);
    }

    /// What plans are built for goes by [`plan::SCHEMA`]: a plan of an older recipe is built again.
    #[test]
    fn another_recipe_is_another_schema() {
        use sha2::{Digest, Sha256};
        let inputs = [
            ("image", 4),
            ("features", 4),
            ("sound", 3),
            ("sound", 2),
            ("tokens", 2),
            ("V", 3),
            ("A", 3),
            ("t", 2),
        ];
        let of = |folder: &str| {
            let mut manifest = manifest(folder);
            manifest.classes.truncate(3); // which they are is the model's matter
            let rows = patches(&manifest);
            inputs.map(|(input, axes)| {
                format!("{} {:?}", may_be_half(&manifest, input), extents(&manifest, rows, input, axes))
            })
        };
        let all = format!("{:?} {:?}", of("engines/default"), of("tests/data/tiny"));
        let digest: String =
            Sha256::digest(all.as_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            (plan::SCHEMA, digest.as_str()),
            (9, "a01b3a76"),
            "raise plan::SCHEMA with the recipe: {all}"
        );
    }

    #[test]
    fn plans_are_fastest_for_as_many_classes_as_they_are_asked_about() {
        use crate::engine::tensorrt::Element;
        let tensor = |name: &std::ffi::CStr, direction, shape: &[i64]| TensorInfo {
            name: name.into(),
            direction,
            element: Element::Float32,
            shape: shape.to_vec(),
        };
        let usual = |manifest: &Manifest, output: &std::ffi::CStr| {
            let tensors =
                [tensor(c"t", Direction::Input, &[-1, 384]), tensor(output, Direction::Output, &[1, -1])];
            let settings = Settings { precision: Precision::Fp16, workspace_mib: 64, level: 3 };
            options(manifest, 4, &tensors, settings, Form::Plain).ranges[0].opt[0]
        };
        let mut manifest = manifest("engines/default");
        let all = manifest.classes.len() as i64;
        assert_eq!((usual(&manifest, c"H"), usual(&manifest, c"p")), (all, all));
        manifest.classes = std::iter::repeat_n(manifest.classes[0].clone(), 300).collect();
        assert_eq!((usual(&manifest, c"H"), usual(&manifest, c"p")), (CLASSES_USUAL, 300));
    }
}
