//! Does TensorRT compute what the CPU computes? Both run the model's golden inputs.

use std::path::Path;

use super::super::{Failure, print};
use crate::config::{self, EngineKind};
use crate::engine::tensorrt::TensorRt;
use crate::engine::{self, Engine, Port, Tensor};
use crate::model::{Manifest, read_tensor};

/// Least cosine between the two outputs, with FP16.
const LEAST_COSINE: f64 = 0.999;

pub(super) fn run(
    folder: &Path,
    manifest: &Manifest,
    tensorrt: &TensorRt,
    config: &config::Engine,
) -> Result<(), Failure> {
    let cpu = config::Engine { kind: EngineKind::Cpu, ..config.clone() };
    let cpu = engine::choose(&cpu).map_err(Failure::failed)?;
    print(&format!("{}\n", tensorrt.target()))?;
    let mut agree = true;
    for file in super::files(folder, manifest)? {
        let (inputs, expected) = outputs(folder, &file, manifest, cpu.as_ref(), None)?;
        let (_, found) = outputs(folder, &file, manifest, tensorrt, Some(inputs))?;
        for ((port, expected), (_, found)) in expected.iter().zip(&found) {
            let comparison = Comparison::of(expected, found);
            let same = port.name != "p" || classes(manifest, expected) == classes(manifest, found);
            let good = comparison.cosine >= LEAST_COSINE && same;
            agree &= good;
            print(&comparison.line(&file, &port.name, same, good))?;
        }
    }
    let verdict =
        "TensorRT and the CPU differ; build again with `tvsl engine build --fp32`, or use the CPU engine";
    if agree { Ok(()) } else { Err(Failure::Failed(verdict.to_owned())) }
}

type Named = Vec<(String, Tensor)>;

/// Runs a graph on its golden inputs; returns those and the outputs.
fn outputs(
    folder: &Path,
    file: &Path,
    manifest: &Manifest,
    engine: &dyn Engine,
    given: Option<Named>,
) -> Result<(Named, Vec<(Port, Tensor)>), Failure> {
    let mut graph = engine.load(file).map_err(Failure::failed)?;
    let inputs = match given {
        Some(inputs) => inputs,
        None => golden(folder, manifest, graph.inputs())?,
    };
    let named: Vec<_> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let outputs = graph.run(&named).map_err(Failure::failed)?;
    let outputs = graph.outputs().iter().cloned().zip(outputs).collect();
    Ok((inputs, outputs))
}

fn golden(folder: &Path, manifest: &Manifest, ports: &[Port]) -> Result<Named, Failure> {
    let read = |port: &Port| {
        let tensor = match (port.name.as_str(), &manifest.embedding.text) {
            ("t", Some(table)) => read_tensor(&folder.join(table), "t"),
            (name, _) => read_tensor(&folder.join("golden.safetensors"), name),
        };
        Ok((port.name.clone(), shaped(tensor.map_err(Failure::failed)?, port)))
    };
    ports.iter().map(read).collect()
}

/// The audio graph gives its rows in a batch, and the stages take them in one element of theirs.
fn shaped(mut tensor: Tensor, port: &Port) -> Tensor {
    if port.name == "A" && tensor.shape.len() == 3 {
        tensor.shape = vec![1, tensor.shape[0] * tensor.shape[1], tensor.shape[2]];
    }
    tensor
}

/// The classes that stage 1 takes to be heard and seen.
fn classes(manifest: &Manifest, p: &Tensor) -> Vec<usize> {
    let least =
        |class: usize| manifest.classes.get(class).and_then(|class| class.p).unwrap_or(manifest.thresholds.p);
    (0..p.data.len()).filter(|class| p.data[*class] >= least(*class)).collect()
}

struct Comparison {
    max_error: f32,
    cosine: f64,
}

impl Comparison {
    /// Outputs of different shape or with a NaN compare as entirely different.
    fn of(expected: &Tensor, found: &Tensor) -> Self {
        if expected.shape != found.shape || found.data.iter().any(|value| !value.is_finite()) {
            return Self { max_error: f32::INFINITY, cosine: -1.0 };
        }
        let pairs = || expected.data.iter().zip(&found.data);
        let product = |a: f32, b: f32| f64::from(a) * f64::from(b);
        let both: f64 = pairs().map(|(a, b)| product(*a, *b)).sum();
        let squares = |values: &[f32]| values.iter().map(|v| product(*v, *v)).sum::<f64>();
        let norm = (squares(&expected.data) * squares(&found.data)).sqrt();
        let max_error = pairs().map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let cosine = if norm > 0.0 { both / norm } else { f64::from(u8::from(max_error == 0.0)) };
        Self { max_error, cosine }
    }

    fn line(&self, file: &Path, output: &str, same: bool, good: bool) -> String {
        let Self { max_error, cosine } = self;
        let classes = if same { "" } else { ", other classes are detected" };
        let verdict = if good { "ok" } else { "DIFFERS" };
        let graph = file.file_stem().unwrap_or_default().to_string_lossy();
        format!("{graph:<7} {output:<4} max error {max_error:.2e}, cosine {cosine:.6}{classes}: {verdict}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[f32]) -> Tensor {
        Tensor { shape: vec![values.len()], data: values.to_vec() }
    }

    #[test]
    fn equal_outputs_have_cosine_1_and_broken_ones_never_pass() {
        let a = row(&[1.0, -2.0, 3.0]);
        assert_eq!(Comparison::of(&a, &a).max_error, 0.0);
        assert!(Comparison::of(&a, &a).cosine > 0.999_999);
        assert!(Comparison::of(&a, &row(&[-1.0, 2.0, -3.0])).cosine < LEAST_COSINE);
        assert!(Comparison::of(&a, &row(&[1.0, f32::NAN, 3.0])).cosine < LEAST_COSINE);
        assert!(Comparison::of(&a, &row(&[1.0, -2.0])).cosine < LEAST_COSINE);
        assert!(Comparison::of(&row(&[0.0]), &row(&[0.0])).cosine >= LEAST_COSINE);
        assert!(Comparison::of(&row(&[0.0]), &row(&[1e-3])).cosine < LEAST_COSINE);
    }
}
