//! How each graph of a model is built: the shapes it will meet, and its precision.

use super::Build;
use crate::engine::tensorrt::{BuildOptions, Direction, Precision, Range, TensorInfo};
use crate::model::Manifest;

/// Most rows of sound that the stages are given at once.
const ROWS_MAX: i64 = 64;

/// The options for the graph that has these tensors.
pub(super) fn options(manifest: &Manifest, tensors: &[TensorInfo], asked: &Build) -> BuildOptions {
    let inputs: Vec<_> = tensors.iter().filter(|tensor| tensor.direction == Direction::Input).collect();
    let is_encoder = inputs.iter().any(|tensor| ["image", "sound"].contains(&&*tensor.label()));
    BuildOptions {
        precision: if is_encoder && !asked.fp32 { Precision::Fp16 } else { Precision::Fp32 },
        workspace_mib: asked.workspace as usize,
        level: asked.level,
        capability: None,
        ranges: inputs.into_iter().filter_map(|tensor| range(manifest, tensor)).collect(),
    }
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
    let classes = manifest.classes.len() as i64;
    match input {
        "image" => {
            let [rows, columns] = grid(manifest.image.cells_max, manifest.image.stride);
            vec![one, [3; 3], rows, columns]
        }
        "sound" if axes == 2 => vec![one, [manifest.window_samples() as i64; 3]],
        "sound" => vec![[1, 1, patches]],
        "V" => vec![one, [1, cells, cells]],
        "A" => vec![one, [1, patches, ROWS_MAX.max(patches)]],
        "t" => vec![[1, classes, classes]],
        _ => Vec::new(),
    }
    .into_iter()
    .chain(std::iter::repeat(one))
    .take(axes)
    .collect()
}

/// Height and width in pixels, for pictures up to three times as long as wide; fastest at 16:9.
fn grid(cells_max: u32, stride: u32) -> [[i64; 3]; 2] {
    let cells = f64::from(cells_max);
    let rows = (cells * 9.0 / 16.0).sqrt().round().max(1.0);
    let (columns, longest) = ((cells / rows).floor().max(1.0), (cells * 3.0).sqrt().ceil());
    let pixels = |count: f64| count as i64 * i64::from(stride);
    [rows, columns].map(|usual| [pixels(1.0), pixels(usual), pixels(longest.max(usual))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_of_the_default_model_is_fastest_at_7_by_12() {
        assert_eq!(grid(84, 32), [[32, 224, 512], [32, 384, 512]]);
    }
}
