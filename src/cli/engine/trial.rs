//! Does a graph compute on TensorRT what it computes on the CPU? Both are given the model's golden inputs, and the
//! loudest sound there is.

use std::path::Path;

use super::super::Failure;
use super::{Kit, recipe, stem};
use crate::engine::{Graph, Port, Tensor};
use crate::model::manifest::FrontEnd;
use crate::model::{Manifest, Spectrogram, read_tensor, tokens};

/// Least cosine between the two outputs, with FP16.
const LEAST_COSINE: f64 = 0.999;

/// The file of inputs that a model folder may bring along.
const GOLDEN: &str = "golden.safetensors";

/// One graph on inputs, and what the CPU makes of them.
pub(super) struct Trial {
    graph: String,
    cases: Vec<Case>,
}

struct Case {
    /// What is special about the inputs, for people.
    about: &'static str,
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

impl Trial {
    /// Runs the graph in `file` on the CPU: on the golden inputs, and, if it takes sound, on the loudest there is.
    pub fn new(kit: &Kit, file: &Path) -> Result<Self, Failure> {
        let mut graph = kit.cpu.load(file).map_err(Failure::failed)?;
        let (mut usual, mut loud) = (Vec::new(), Vec::new());
        for port in graph.inputs() {
            usual.push((port.name.clone(), input(kit, port)?));
            if port.name == "sound" {
                loud.push((port.name.clone(), square_wave(&kit.manifest, port)));
            }
        }
        let mut cases = vec![("", usual)];
        if !loud.is_empty() {
            cases.push(("at full scale: ", loud));
        }
        let mut case = |(about, inputs): (_, Vec<_>)| {
            let expected = outputs(graph.as_mut(), &inputs)?;
            Ok(Case { about, inputs, expected })
        };
        let cases = cases.into_iter().map(&mut case).collect::<Result<_, Failure>>()?;
        Ok(Self { graph: stem(file), cases })
    }

    /// Compares `graph` output by output.
    pub fn run(&self, graph: &mut dyn Graph) -> Result<Vec<Finding>, Failure> {
        let mut findings = Vec::new();
        for case in &self.cases {
            let found = outputs(graph, &case.inputs)?;
            for (port, expected) in &case.expected {
                let own = found.iter().find(|(own, _)| own.name == port.name).map(|(_, tensor)| tensor);
                let comparison = Comparison::of(expected, own.unwrap_or(&Tensor::default()));
                findings.push(self.finding(&port.name, case.about, &comparison));
            }
        }
        Ok(findings)
    }

    fn finding(&self, output: &str, about: &str, comparison: &Comparison) -> Finding {
        let Comparison { max_error, cosine } = comparison;
        let (graph, good) = (&self.graph, comparison.is_close());
        let verdict = if good { "ok" } else { "DIFFERS" };
        let text = format!(
            "{graph:<10} {output:<8} {about}max error {max_error:.2e}, cosine {cosine:.6}: {verdict}\n"
        );
        Finding { text, good }
    }
}

/// What `graph` makes of `inputs`.
pub(super) fn outputs(
    graph: &mut dyn Graph,
    inputs: &[(String, Tensor)],
) -> Result<Vec<(Port, Tensor)>, Failure> {
    let named: Vec<_> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor.into())).collect();
    let outputs = graph.run(&named).map_err(|error| match error.passing() {
        true => Failure::Lacking(error.to_string()), // a plan that may compute all the same, once there is memory
        false => Failure::failed(error),
    })?;
    Ok(graph.outputs().iter().cloned().zip(outputs).collect())
}

/// The folder's golden input, or the texts of its classes; where it has none, noise in the usual shape.
pub(super) fn input(kit: &Kit, port: &Port) -> Result<Tensor, Failure> {
    let Kit { folder, manifest, rows, .. } = kit;
    let golden = folder.join(GOLDEN);
    let tensor = match (port.name.as_str(), &manifest.embedding.text) {
        ("t", Some(table)) => read_tensor(&folder.join(table), "t"),
        ("tokens", _) => Ok(tokens(manifest)),
        ("features", _) => return features(kit),
        (name, _) if golden.is_file() => read_tensor(&golden, name),
        (name, _) => {
            let shape = recipe::usual(manifest, *rows, name, &port.shape);
            // The same noise for the same input, whichever graph takes it, and loud enough to be heard.
            let scale = if name == "sound" { manifest.audio.scale / 4.0 } else { 1.0 };
            let mut noise = fastrand::Rng::with_seed(name.bytes().map(u64::from).sum());
            let data = (0..shape.iter().product()).map(|_| noise.f32() * scale).collect();
            Ok(Tensor { shape, data })
        }
    };
    Ok(shaped(tensor.map_err(Failure::failed)?, port))
}

/// What the image graph gives its head, on the CPU.
fn features(kit: &Kit) -> Result<Tensor, Failure> {
    let mut graph = kit.cpu.load(&kit.folder.join(&kit.graphs()?.image)).map_err(Failure::failed)?;
    let picture = graph.inputs().iter().find(|port| port.name == "image").cloned();
    let picture =
        picture.map(|port| input(kit, &port)).transpose()?.map(|picture| ("image".to_owned(), picture));
    let outputs = outputs(graph.as_mut(), picture.as_slice())?;
    let features = outputs.into_iter().find(|(port, _)| port.name == "features");
    let none = || Failure::Failed(format!("{}: its image graph gives no `features`", kit.folder.display()));
    features.map(|(_, tensor)| tensor).ok_or_else(none)
}

/// The loudest sound there is, a square wave of 440 Hz at full scale, as the graph takes it.
fn square_wave(manifest: &Manifest, port: &Port) -> Tensor {
    let (audio, rate) = (&manifest.audio, manifest.audio.sample_rate as usize);
    let sample = |n: usize| if (n * 880 / rate).is_multiple_of(2) { audio.scale } else { -audio.scale };
    let wave = (0..manifest.window_samples()).map(sample);
    let data = match (audio.front_end, &audio.log_mel) {
        (FrontEnd::LogMel, Some(settings)) => {
            let mut frames = Vec::new();
            Spectrogram::new(settings, audio.sample_rate).push(wave, &mut frames);
            frames.truncate(settings.patch_frames * settings.bands);
            frames
        }
        _ => wave.collect(),
    };
    let mut shape = vec![1];
    let inner: Vec<_> = port.shape.iter().skip(1).map(|extent| extent.unwrap_or(data.len())).collect();
    shape.extend(inner);
    Tensor { shape, data }
}

/// The audio graph gives its rows in a batch, and the stages take them in one element of theirs.
pub(super) fn shaped(mut tensor: Tensor, port: &Port) -> Tensor {
    if port.name == "A" && tensor.shape.len() == 3 {
        tensor.shape = vec![1, tensor.shape[0] * tensor.shape[1], tensor.shape[2]];
    }
    tensor
}

/// Two outputs beside each other.
pub(super) struct Comparison {
    pub max_error: f32,
    pub cosine: f64,
}

impl Comparison {
    /// Outputs of different shape or with a NaN compare as entirely different.
    pub fn of(expected: &Tensor, found: &Tensor) -> Self {
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

    /// Whether they are alike enough.
    pub fn is_close(&self) -> bool {
        self.cosine >= LEAST_COSINE
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
