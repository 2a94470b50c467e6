//! ONNX files as the parsers of every TensorRT read them.
//!
//! Weights that a file stores small, in half precision or as 8-bit steps, and makes real with a node are made real
//! here: TensorRT 8.x refuses a convolution whose bias is no initialiser, and takes 8-bit steps for a request to
//! compute in them. 8.5 has no LayerNormalization, so there it is written out. All else stays as it is.

mod external;
mod tensor;
mod wire;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::version::Version;
use tensor::Tensor;
use wire::{Message, Value};

pub(super) use external::files as external_files;

/// Fields of `ModelProto`, `GraphProto`, `NodeProto` and `AttributeProto`.
const GRAPH: u64 = 7;
const NODE: u64 = 1;
const INITIALIZER: u64 = 5;
const GRAPH_OUTPUT: u64 = 12;
const INPUT: u64 = 1;
const OUTPUT: u64 = 2;
const NAME: u64 = 3;
const OPERATOR: u64 = 4;
const ATTRIBUTE: u64 = 5;
const VALUE_NAME: u64 = 1;
const FLOAT_VALUE: u64 = 2;
const INTEGER_VALUE: u64 = 3;
const INTEGERS_VALUE: u64 = 8;
const VALUE_KIND: u64 = 20;

/// The ONNX file of these bytes as the parser of `version` reads it; what is no ONNX file stays what it is.
pub fn plain<'a>(bytes: &'a [u8], file: &Path, version: Version) -> Cow<'a, [u8]> {
    let Some(model) = Model::read(bytes) else { return Cow::Borrowed(bytes) };
    let folder = file.parent().unwrap_or(Path::new("."));
    let real = model.with_real_weights(folder);
    let plain = if version.before_8_6() { real.with_norms_written_out() } else { real };
    Cow::Owned(plain.write())
}

/// Operators that make stored weights real.
const MAKERS: [&str; 2] = ["Cast", "DequantizeLinear"];

/// A graph with its nodes and weights apart.
pub struct Model<'a> {
    /// Everything but the graph.
    shell: Message<'a>,
    /// The graph but its nodes and initialisers.
    graph: Message<'a>,
    nodes: Vec<Message<'a>>,
    initializers: Vec<Cow<'a, [u8]>>,
}

impl<'a> Model<'a> {
    /// `None` if `bytes` are no ONNX file.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let shell = Message::read(bytes)?;
        let graph = Message::read(shell.borrowed(GRAPH).next()?)?;
        let nodes = graph.borrowed(NODE).map(Message::read).collect::<Option<_>>()?;
        let initializers = graph.borrowed(INITIALIZER).map(Cow::Borrowed).collect();
        Some(Self {
            shell: shell.without(GRAPH),
            graph: graph.without(NODE).without(INITIALIZER),
            nodes,
            initializers,
        })
    }

    /// The file again.
    pub fn write(&self) -> Vec<u8> {
        let mut graph = self.graph.clone();
        for node in &self.nodes {
            graph = graph.with_bytes(NODE, node.write());
        }
        for tensor in &self.initializers {
            graph = graph.with(INITIALIZER, Value::Bytes(Cow::Borrowed(tensor)));
        }
        self.shell.clone().with_bytes(GRAPH, graph.write()).write()
    }

    /// The operators of its nodes.
    pub fn operators(&self) -> Vec<&str> {
        self.nodes.iter().map(|node| node.text(OPERATOR)).collect()
    }

    /// Name and operator of a node.
    pub fn node(&self, index: usize) -> Option<(&str, &str)> {
        self.nodes.get(index).map(|node| (node.text(NAME), node.text(OPERATOR)))
    }

    /// Makes weights real that are stored in another type; those in external files are looked for in `folder`.
    pub fn with_real_weights(mut self, folder: &Path) -> Self {
        let makers = self.nodes.iter().filter(|node| MAKERS.contains(&node.text(OPERATOR)));
        let asked: HashSet<&[u8]> = makers.flat_map(|node| node.all(INPUT)).collect();
        let read =
            |bytes: &Cow<'_, [u8]>| Tensor::read(bytes, folder, |name| asked.contains(name.as_bytes()));
        let mut weights: HashMap<String, Tensor> =
            self.initializers.iter().filter_map(read).map(|tensor| (tensor.name.clone(), tensor)).collect();
        let given: HashSet<String> = self
            .graph
            .all(GRAPH_OUTPUT)
            .filter_map(|bytes| Some(Message::read(bytes)?.text(VALUE_NAME).to_owned()))
            .collect();
        let mut kept = Vec::new();
        for node in std::mem::take(&mut self.nodes) {
            match real(&node, &weights).filter(|tensor| !given.contains(&tensor.name)) {
                Some(tensor) => {
                    self.initializers.push(Cow::Owned(tensor.write()));
                    weights.insert(tensor.name.clone(), tensor);
                }
                None => kept.push(node),
            }
        }
        self.nodes = kept;
        self
    }

    /// Writes normalisations over the last axes out in operators that every parser knows.
    pub fn with_norms_written_out(mut self) -> Self {
        let mut nodes = Vec::new();
        for node in std::mem::take(&mut self.nodes) {
            match written_out(&node) {
                Some((steps, epsilon)) => {
                    nodes.extend(steps);
                    self.initializers.push(Cow::Owned(epsilon.write()));
                }
                None => nodes.push(node),
            }
        }
        self.nodes = nodes;
        self
    }
}

/// What a node gives that only makes a weight real; `None` for every other node.
fn real(node: &Message<'_>, weights: &HashMap<String, Tensor>) -> Option<Tensor> {
    const FLOAT: u64 = 1;
    let mut inputs = node.all(INPUT).map(|name| weights.get(std::str::from_utf8(name).ok()?));
    let stored = inputs.next()??;
    let name = node.text(OUTPUT).to_owned();
    match node.text(OPERATOR) {
        "Cast" if attribute(node, "to")?.numbers(INTEGER_VALUE) == [FLOAT] => {
            Some(Tensor { name, shape: stored.shape.clone(), data: stored.data.clone() })
        }
        "DequantizeLinear" => {
            let scale = inputs.next()??;
            let zero = match inputs.next() {
                Some(zero) => Some(zero?),
                None => None,
            };
            let axis = attribute(node, "axis").and_then(|axis| axis.numbers(INTEGER_VALUE).pop());
            stored.scaled(name, scale, zero, axis.map_or(1, |axis| axis as i64))
        }
        _ => None,
    }
}

fn attribute<'a>(node: &'a Message<'_>, name: &str) -> Option<Message<'a>> {
    node.all(ATTRIBUTE).filter_map(Message::read).find(|attribute| attribute.text(VALUE_NAME) == name)
}

/// The steps of a LayerNormalization, and what keeps its divisor from 0. `None` for other nodes, and where its axes
/// are counted from the front, which says nothing without the rank.
fn written_out<'a>(node: &Message<'a>) -> Option<(Vec<Message<'a>>, Tensor)> {
    if node.text(OPERATOR) != "LayerNormalization" || node.all(OUTPUT).count() != 1 {
        return None;
    }
    let first = attribute(node, "axis").and_then(|axis| axis.numbers(INTEGER_VALUE).pop());
    let axes: Vec<u64> = (first.map_or(-1, |axis| axis as i64)..0).map(|axis| axis as u64).collect();
    if axes.is_empty() {
        return None;
    }
    let inputs: Vec<&str> = node.all(INPUT).filter_map(|name| std::str::from_utf8(name).ok()).collect();
    let (&[input, gain], bias) = inputs.split_first_chunk()?;
    let output = node.text(OUTPUT);
    let between = |step: &str| format!("{output}.{step}");
    let epsilon = attribute(node, "epsilon").and_then(|epsilon| epsilon.floats(FLOAT_VALUE).pop());
    let epsilon = Tensor { name: between("epsilon"), shape: vec![], data: vec![epsilon.unwrap_or(1e-5)] };
    let mut steps = Vec::new();
    let mut step = |operator: &str, inputs: &[&str], output: String| {
        let mut step = node_of(operator, inputs, &output);
        if operator == "ReduceMean" {
            step = step.with_bytes(ATTRIBUTE, integers("axes", &axes).write());
        }
        steps.push(step);
        output
    };
    let mean = step("ReduceMean", &[input], between("mean"));
    let centred = step("Sub", &[input, &mean], between("centred"));
    let squared = step("Mul", &[&centred, &centred], between("squared"));
    let variance = step("ReduceMean", &[&squared], between("variance"));
    let kept = step("Add", &[&variance, &epsilon.name], between("kept"));
    let deviation = step("Sqrt", &[&kept], between("deviation"));
    let normal = step("Div", &[&centred, &deviation], between("normal"));
    match bias.first().filter(|bias| !bias.is_empty()) {
        Some(bias) => {
            let scaled = step("Mul", &[&normal, gain], between("scaled"));
            step("Add", &[&scaled, bias], output.to_owned());
        }
        None => {
            step("Mul", &[&normal, gain], output.to_owned());
        }
    }
    Some((steps, epsilon))
}

/// A node called as its output is, so that no two have one name.
fn node_of<'a>(operator: &str, inputs: &[&str], output: &str) -> Message<'a> {
    let inputs = inputs.iter().fold(Message::default(), |node, input| node.with_bytes(INPUT, *input));
    inputs.with_bytes(OUTPUT, output).with_bytes(NAME, output).with_bytes(OPERATOR, operator)
}

fn integers<'a>(name: &str, values: &[u64]) -> Message<'a> {
    const INTEGERS: u64 = 7;
    let attribute = Message::default().with_bytes(VALUE_NAME, name);
    let filled = values.iter().fold(attribute, |all, value| all.with(INTEGERS_VALUE, Value::Number(*value)));
    filled.with(VALUE_KIND, Value::Number(INTEGERS))
}
