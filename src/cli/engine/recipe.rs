//! How each graph of a model is built: the shapes it will meet, and its precision.

use crate::engine::tensorrt::{BuildOptions, Direction, Precision, Range, Settings, TensorInfo};
use crate::geometry::Size;
use crate::model::Manifest;
use crate::model::manifest::{Aspect, FrontEnd};

/// Most rows of sound that the stages are given at once.
const ROWS_MAX: i64 = 64;

/// Classes that sound at once, usually.
const CLASSES_USUAL: i64 = 4;

/// Most classes that a model which reads text is given, and most tokens of one: a user may name others than
/// the manifest does.
const OPEN_VOCABULARY: [i64; 2] = [256, 77];

/// The options for the graph that has these tensors.
pub(super) fn options(manifest: &Manifest, tensors: &[TensorInfo], settings: Settings) -> BuildOptions {
    let inputs: Vec<_> = tensors.iter().filter(|tensor| tensor.direction == Direction::Input).collect();
    let halved = inputs.iter().any(|tensor| may_be_half(manifest, &tensor.label()));
    let maps = tensors.iter().any(|tensor| tensor.label() == "H");
    let mut ranges: Vec<_> = inputs.into_iter().filter_map(|tensor| range(manifest, tensor)).collect();
    if maps && let Some(classes) = ranges.iter_mut().find(|range| range.input == "t") {
        classes.opt[0] = classes.opt[0].min(CLASSES_USUAL);
    }
    BuildOptions {
        precision: if halved { settings.precision } else { Precision::Fp32 },
        workspace_mib: settings.workspace_mib,
        level: settings.level,
        capability: None,
        ranges,
    }
}

/// Only encoders may: the text runs once, and the stages, with their norms and softmax, take no time. A sound
/// encoder that takes the waveform holds the front end, whose power spectra exceed what half precision can hold.
fn may_be_half(manifest: &Manifest, input: &str) -> bool {
    match input {
        "image" => true,
        "sound" => manifest.audio.front_end == FrontEnd::LogMel,
        _ => false,
    }
}

/// The usual shape of an input; `shape` has `None` for its open extents.
pub(super) fn usual(manifest: &Manifest, input: &str, shape: &[Option<usize>]) -> Vec<usize> {
    let extents = extents(manifest, input, shape.len());
    shape.iter().zip(extents).map(|(fixed, [_, usual, _])| fixed.unwrap_or(usual as usize)).collect()
}

/// The shapes of an input with open extents; `None` if it has none.
fn range(manifest: &Manifest, tensor: &TensorInfo) -> Option<Range> {
    if !tensor.shape.contains(&-1) {
        return None;
    }
    let name = tensor.label();
    let extents = extents(manifest, &name, tensor.shape.len());
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
fn extents(manifest: &Manifest, input: &str, axes: usize) -> Vec<[i64; 3]> {
    let one = [1; 3];
    let cells = i64::from(manifest.image.cells_max);
    let patches = (manifest.audio.window / manifest.audio.hop).ceil() as i64 + 1;
    let longest = manifest.classes.iter().map(|class| class.tokens.len()).max().unwrap_or(1).max(1) as i64;
    let classes = manifest.classes.len() as i64;
    let [most_classes, most_tokens] = match manifest.embedding.text {
        Some(_) => [classes, longest],
        None => [OPEN_VOCABULARY[0].max(classes), OPEN_VOCABULARY[1].max(longest)],
    };
    match input {
        "image" => {
            let [rows, columns] = grid(manifest);
            vec![one, [3; 3], rows, columns]
        }
        "sound" if axes == 2 => vec![one, [manifest.window_samples() as i64; 3]],
        "sound" => vec![[1, 1, patches]],
        "tokens" => vec![[1, classes, most_classes], [1, longest, most_tokens]],
        "V" => vec![one, [1, cells, cells]],
        "A" => vec![one, [1, patches, ROWS_MAX.max(patches)]],
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

    fn manifest(folder: &str) -> Manifest {
        Manifest::read(std::path::Path::new(folder)).expect("a model folder")
    }

    #[test]
    fn grids_are_fastest_at_16_to_9_or_always_the_same() {
        assert_eq!(grid(&manifest("engines/default")), [[32, 224, 736], [32, 384, 736]]);
        assert_eq!(grid(&manifest("tests/data/tiny")), [[64; 3]; 2]);
    }

    #[test]
    fn encoders_are_halved_unless_the_front_end_is_inside() {
        let halved = |folder: &str| {
            let manifest = manifest(folder);
            ["image", "sound", "V", "A", "t", "tokens"].map(|input| may_be_half(&manifest, input))
        };
        assert_eq!(halved("engines/default"), [true, true, false, false, false, false]);
        assert_eq!(halved("tests/data/tiny"), [true, false, false, false, false, false]);
    }

    #[test]
    fn maps_are_fastest_for_few_classes_and_probabilities_for_all() {
        use crate::engine::tensorrt::Element;
        let tensor = |name: &std::ffi::CStr, direction, shape: &[i64]| TensorInfo {
            name: name.into(),
            direction,
            element: Element::Float32,
            shape: shape.to_vec(),
        };
        let usual = |output: &std::ffi::CStr| {
            let tensors =
                [tensor(c"t", Direction::Input, &[-1, 384]), tensor(output, Direction::Output, &[1, -1])];
            let settings = Settings { precision: Precision::Fp16, workspace_mib: 64, level: 3 };
            options(&manifest("engines/default"), &tensors, settings).ranges[0].opt.clone()
        };
        let all = manifest("engines/default").classes.len() as i64;
        assert_eq!((usual(c"H"), usual(c"p")), (vec![4, 384], vec![all, 384]));
    }
}
