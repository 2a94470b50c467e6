//! Picture and sound to classes to maps, the whole way on the model's golden inputs: what the encoders' rounding does to
//! the detections shows only here.

use std::path::Path;

use super::super::Failure;
use super::Kit;
use super::trial::{self, Comparison};
use crate::config::Config;
use crate::engine::{Graph, Tensor};
use crate::model::{Decision, Manifest, Score};

/// What came out at the end of the way.
pub(super) struct Outcome {
    /// The outputs of the stages, by name.
    outputs: Vec<(String, Tensor)>,
    /// The names of the classes that are heard and seen.
    classes: Vec<String>,
}

/// Opens the graph in a file.
type Load<'a> = &'a mut dyn FnMut(&Path) -> Result<Box<dyn Graph>, Failure>;

/// Runs every graph of the model, in the order of the way, each on what those before it gave.
pub(super) fn run(kit: &Kit, load: Load<'_>) -> Result<Outcome, Failure> {
    let mut files = kit.files()?;
    files.rotate_right(usize::from(kit.graphs()?.text.is_some())); // what reads the texts comes first
    let mut known: Vec<(String, Tensor)> = Vec::new();
    for file in files {
        let mut graph = load(&file)?;
        let mut inputs = Vec::new();
        for port in graph.inputs() {
            let given = known.iter().find(|(name, _)| *name == port.name).map(|(_, tensor)| tensor.clone());
            let tensor = match given {
                Some(tensor) => trial::shaped(tensor, port),
                None => trial::input(kit, port)?,
            };
            inputs.push((port.name.clone(), tensor));
        }
        let outputs = trial::outputs(graph.as_mut(), &inputs)?;
        known.extend(outputs.into_iter().map(|(port, tensor)| (port.name, tensor)));
    }
    let classes = detected(&kit.manifest, &known)?;
    let outputs = known.into_iter().filter(|(name, _)| ["p", "p_v", "p_a", "H"].contains(&name.as_str()));
    Ok(Outcome { outputs: outputs.collect(), classes })
}

/// The classes that reach all of their thresholds, in the order of the manifest.
fn detected(manifest: &Manifest, outputs: &[(String, Tensor)]) -> Result<Vec<String>, Failure> {
    let rule = Decision::new(manifest, &Config::default().detection, None).map_err(Failure::failed)?;
    let at = |name: &str, class: usize| {
        let tensor = outputs.iter().find(|(own, _)| own == name).map(|(_, tensor)| tensor);
        tensor.and_then(|tensor| tensor.data.get(class)).copied().unwrap_or(f32::NAN)
    };
    let score =
        |class| Score { class, p: at("p", class), p_visual: at("p_v", class), p_audio: at("p_a", class) };
    let scores: Vec<_> = (0..manifest.classes.len()).map(score).collect();
    let mut classes: Vec<_> = rule.select(&scores, 0.0, &[]).iter().map(|score| score.class).collect();
    classes.sort_unstable();
    Ok(classes.into_iter().map(|class| manifest.classes[class].name.clone()).collect())
}

/// A line on how `found` compares with the CPU's `expected`, and whether it may take its place.
pub(super) fn compare(expected: &Outcome, found: &Outcome) -> (String, bool) {
    let mut worst: Option<(&str, Comparison)> = None;
    for (name, tensor) in &expected.outputs {
        let own = found.outputs.iter().find(|(own, _)| own == name).map(|(_, tensor)| tensor);
        let comparison = Comparison::of(tensor, own.unwrap_or(&Tensor::default()));
        if worst.as_ref().is_none_or(|(_, least)| comparison.cosine < least.cosine) {
            worst = Some((name, comparison));
        }
    }
    let same = expected.classes == found.classes;
    let close = worst.as_ref().is_some_and(|(_, comparison)| comparison.is_close());
    let (name, cosine) = worst.map_or(("", -1.0), |(name, comparison)| (name, comparison.cosine));
    let classes = match same {
        true => format!("both detect {}", listed(&expected.classes)),
        false => {
            format!("the CPU detects {}, TensorRT {}", listed(&expected.classes), listed(&found.classes))
        }
    };
    let verdict = if same && close { "ok" } else { "DIFFERS" };
    let text = format!("whole      {name:<8} is the least alike, cosine {cosine:.6}; {classes}: {verdict}\n");
    (text, same && close)
}

fn listed(classes: &[String]) -> String {
    if classes.is_empty() { "nothing".to_owned() } else { classes.join(", ") }
}

/// The whole way on the CPU but for one graph, which is `candidate`.
pub(super) fn with(kit: &Kit, file: &Path, candidate: Box<dyn Graph>) -> Result<Outcome, Failure> {
    let mut candidate = Some(candidate);
    run(kit, &mut |wanted| match candidate.take_if(|_| wanted == file) {
        Some(graph) => Ok(graph),
        None => kit.cpu.load(wanted).map_err(Failure::failed),
    })
}
