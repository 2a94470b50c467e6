//! Does a graph compute on TensorRT what it computes on the CPU? Both are given the model's golden inputs.

use std::path::Path;

use super::super::Failure;
use super::{recipe, stem};
use crate::engine::{Engine, Graph, Port, Tensor};
use crate::model::{Manifest, read_tensor};

/// Least cosine between the two outputs, with FP16.
const LEAST_COSINE: f64 = 0.999;

/// The file of inputs that a model folder may bring along.
const GOLDEN: &str = "golden.safetensors";

/// One graph, its inputs, and what the CPU makes of them.
pub(super) struct Trial<'a> {
    manifest: &'a Manifest,
    graph: String,
    inputs: Vec<(String, Tensor)>,
    expected: Vec<(Port, Tensor)>,
}

/// How one output compares.
pub(super) struct Finding {
    /// A line for people.
    pub text: String,
    /// Whether TensorRT can take the CPU's place.
    pub good: bool,
}

impl<'a> Trial<'a> {
    /// Runs the graph in `file` on the CPU.
    pub fn new(
        folder: &Path,
        manifest: &'a Manifest,
        file: &Path,
        cpu: &dyn Engine,
    ) -> Result<Self, Failure> {
        let mut graph = cpu.load(file).map_err(Failure::failed)?;
        let inputs = inputs(folder, manifest, graph.inputs())?;
        let expected = outputs(graph.as_mut(), &inputs)?;
        Ok(Self { manifest, graph: stem(file), inputs, expected })
    }

    /// Compares `graph` output by output.
    pub fn run(&self, graph: &mut dyn Graph) -> Result<Vec<Finding>, Failure> {
        let found = outputs(graph, &self.inputs)?;
        let compare = |(port, expected): &(Port, Tensor)| {
            let found = found.iter().find(|(own, _)| own.name == port.name).map(|(_, tensor)| tensor);
            self.finding(&port.name, expected, found.unwrap_or(&Tensor::default()))
        };
        Ok(self.expected.iter().map(compare).collect())
    }

    fn finding(&self, output: &str, expected: &Tensor, found: &Tensor) -> Finding {
        let Comparison { max_error, cosine } = Comparison::of(expected, found);
        let same = output != "p" || self.detected(expected) == self.detected(found);
        let good = cosine >= LEAST_COSINE && same;
        let classes = match (output, same) {
            ("p", true) => ", the same classes are detected",
            (_, true) => "",
            (_, false) => ", other classes are detected",
        };
        let verdict = if good { "ok" } else { "DIFFERS" };
        let graph = &self.graph;
        let text = format!(
            "{graph:<7} {output:<4} max error {max_error:.2e}, cosine {cosine:.6}{classes}: {verdict}\n"
        );
        Finding { text, good }
    }

    /// The classes that stage 1 takes to be heard and seen, by their places in `p`.
    fn detected(&self, p: &Tensor) -> Vec<usize> {
        let classes = &self.manifest.classes;
        let of_model = self.manifest.thresholds.p;
        let least =
            |n: usize| classes.get(n % classes.len().max(1)).and_then(|class| class.p).unwrap_or(of_model);
        (0..p.data.len()).filter(|n| p.data[*n] >= least(*n)).collect()
    }
}

fn outputs(graph: &mut dyn Graph, inputs: &[(String, Tensor)]) -> Result<Vec<(Port, Tensor)>, Failure> {
    let named: Vec<_> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor.into())).collect();
    let outputs = graph.run(&named).map_err(Failure::failed)?;
    Ok(graph.outputs().iter().cloned().zip(outputs).collect())
}

/// The folder's golden inputs; where it has none, noise in the usual shape.
fn inputs(folder: &Path, manifest: &Manifest, ports: &[Port]) -> Result<Vec<(String, Tensor)>, Failure> {
    let golden = folder.join(GOLDEN);
    let mut noise = fastrand::Rng::with_seed(1);
    let mut input = |port: &Port| {
        let tensor = match (port.name.as_str(), &manifest.embedding.text) {
            ("t", Some(table)) => read_tensor(&folder.join(table), "t"),
            (name, _) if golden.is_file() && name != "tokens" => read_tensor(&golden, name),
            (name, _) => {
                let shape = recipe::usual(manifest, name, &port.shape);
                let data = (0..shape.iter().product()).map(|_| noise.f32()).collect();
                Ok(Tensor { shape, data })
            }
        };
        Ok((port.name.clone(), shaped(tensor.map_err(Failure::failed)?, port)))
    };
    ports.iter().map(&mut input).collect()
}

/// The audio graph gives its rows in a batch, and the stages take them in one element of theirs.
fn shaped(mut tensor: Tensor, port: &Port) -> Tensor {
    if port.name == "A" && tensor.shape.len() == 3 {
        tensor.shape = vec![1, tensor.shape[0] * tensor.shape[1], tensor.shape[2]];
    }
    tensor
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
