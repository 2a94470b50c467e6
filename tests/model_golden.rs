//! The default model computes what its independent NumPy reference computed.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tvsl::config;
use tvsl::engine::{self, Engine, Graph, Tensor};
use tvsl::model::manifest::File;
use tvsl::model::{Manifest, Spectrogram, read_tensor};

/// Largest relative L2 error.
const LIMIT: f64 = 1e-3;
/// Of an encoder in half precision; for arm64 ONNX Runtime has kernels whose sums are halved, too.
const HALF_LIMIT: f64 = if cfg!(target_arch = "aarch64") { 2e-2 } else { 1e-2 };

fn folder() -> &'static Path {
    Path::new("engines/default")
}

fn cpu() -> Arc<dyn Engine> {
    let config = config::Engine { kind: config::EngineKind::Cpu, ..config::Config::default().engine };
    engine::choose(&config).expect("the CPU engine opens")
}

fn graph(file: &str) -> Box<dyn Graph> {
    cpu().load(&folder().join(file)).expect("the graph loads")
}

fn golden(name: &str) -> Tensor {
    read_tensor(&folder().join("golden.safetensors"), name).expect("the golden file holds it")
}

fn relative_error(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.data.len(), expected.data.len(), "{:?} against {:?}", found.shape, expected.shape);
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>();
    let apart = square(&mut found.data.iter().zip(&expected.data).map(|(a, b)| a - b));
    (apart / square(&mut expected.data.iter().copied())).sqrt()
}

fn assert_close(name: &str, found: &Tensor) {
    assert_within(LIMIT, name, found);
}

fn assert_within(limit: f64, name: &str, found: &Tensor) {
    let error = relative_error(found, &golden(name));
    println!("{name}: relative L2 error {error:.2e}");
    assert!(error <= limit, "{name}: relative L2 error {error:.2e}, expected at most {limit:.0e}");
}

/// The outputs of `file`, each with its name.
fn run(file: &str, inputs: &[(&str, &Tensor)]) -> Vec<(String, Tensor)> {
    let mut graph = graph(file);
    let inputs: Vec<_> = inputs.iter().map(|&(name, tensor)| (name, tensor.into())).collect();
    let outputs = graph.run(&inputs).expect("the graph runs");
    graph.outputs().iter().map(|port| port.name.clone()).zip(outputs).collect()
}

/// `A` as the stages take it: the patches' rows along T.
fn rows() -> Tensor {
    let mut rows = golden("A");
    rows.shape = vec![1, rows.shape[0] * rows.shape[1], rows.shape[2]];
    rows
}

fn text() -> Tensor {
    read_tensor(&folder().join("text.safetensors"), "t").expect("the text table loads")
}

/// What the image graph in `file` and its head make of the golden picture.
fn seen(file: &str) -> Vec<(String, Tensor)> {
    let features = run(file, &[("image", &golden("image"))]).remove(0).1;
    run("image-head.onnx", &[("features", &features)])
}

#[test]
fn image_graph_and_its_head() {
    seen("image.onnx").iter().for_each(|(name, tensor)| assert_close(name, tensor));
}

#[test]
fn audio_graph() {
    let outputs = run("audio.onnx", &[("sound", &golden("sound"))]);
    outputs.iter().for_each(|(name, tensor)| assert_close(name, tensor));
}

/// What TensorRT 11 and RTX compile; ONNX Runtime computes it in types that are no narrower.
#[test]
fn pictures_in_half_precision() {
    let manifest = Manifest::read(folder()).expect("the manifest reads");
    let (whole, halved) = (manifest.precision("fp32").unwrap(), manifest.precision("fp16").unwrap());
    let others = whole.all().zip(halved.all()).filter(|(whole, halved)| whole != halved);
    let others: Vec<_> = others.map(|((graph, _), (_, file))| (graph, file.as_str())).collect();
    assert_eq!(others, [("image", "image-fp16.onnx")], "softmax and norms are in all others");
    seen("image-fp16.onnx").iter().for_each(|(name, tensor)| assert_within(HALF_LIMIT, name, tensor));
}

/// Twenty million bytes: the whole of the model, with its goldens.
#[test]
fn the_model_takes_twenty_megabytes_at_most() {
    let manifest = Manifest::read(folder()).expect("the manifest reads");
    let names = manifest.files.iter().map(|file| file.path.as_str()).chain(["manifest.toml"]);
    let sizes = names.map(|name| fs::metadata(folder().join(name)).expect("it is there").len());
    let whole: u64 = sizes.sum();
    println!("{whole} bytes");
    assert!(whole <= 20_000_000, "{whole} bytes");
}

#[test]
fn stage1_graph() {
    let outputs = run("stage1.onnx", &[("V", &golden("V")), ("A", &rows()), ("t", &text())]);
    assert_eq!(outputs.len(), 3);
    outputs.iter().for_each(|(name, tensor)| assert_close(name, tensor));
}

#[test]
fn stage2_graph() {
    let (text, manifest) = (text(), Manifest::read(folder()).expect("the manifest reads"));
    let width = manifest.embedding.dimension;
    let keys: Vec<usize> = golden_keys();
    let data = keys.iter().flat_map(|&k| text.data[k * width..(k + 1) * width].to_vec()).collect();
    let asked = Tensor::new([keys.len(), width], data).expect("whole rows");
    let outputs = run("stage2.onnx", &[("V", &golden("V")), ("A", &rows()), ("t", &asked)]);
    outputs.iter().for_each(|(name, tensor)| assert_close(name, tensor));
}

/// Otherwise no plan could lose a class, and `tvsl engine verify` would compare nothing with nothing.
#[test]
fn a_person_is_detected_in_the_goldens() {
    let manifest = Manifest::read(folder()).expect("the manifest reads");
    let person = manifest.class("person").expect("the default model knows people");
    let [p, p_v, p_a] = ["p", "p_v", "p_a"].map(|name| golden(name).data[person]);
    let least = &manifest.thresholds;
    assert!(p >= least.p && p_v >= least.p_v && p_a >= least.p_a, "p {p}, p_v {p_v}, p_a {p_a}");
}

/// The class indices of the golden maps, int64.
fn golden_keys() -> Vec<usize> {
    let bytes = std::fs::read(folder().join("golden.safetensors")).expect("the golden file reads");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("the golden file is whole");
    let keys = tensors.tensor("keys").expect("the golden file holds the classes");
    keys.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().expect("8 bytes")) as usize).collect()
}

#[test]
fn log_mel_front_end() {
    let manifest = Manifest::read(folder()).expect("the manifest reads");
    let settings = manifest.audio.log_mel.expect("the default model hears log-mel patches");
    let (mut frames, wave) = (Vec::new(), golden("waveform"));
    Spectrogram::new(&settings, manifest.audio.sample_rate).push(wave.data, &mut frames);
    let count = frames.len() / settings.bands;
    assert_close("log_mel", &Tensor::new([count, settings.bands], frames).expect("whole frames"));
}

/// What the repository promises of the model that it ships.
#[test]
fn the_shipped_model_is_small_licensed_and_names_people() {
    let manifest = Manifest::read(folder()).expect("the manifest reads");
    assert!(manifest.classes.len() >= 50 && manifest.class("person").is_some());
    assert!(manifest.classes.iter().all(|class| !class.prompt.is_empty()));
    let size = |file: &File| fs::metadata(folder().join(&file.path)).expect(&file.path).len();
    assert!(manifest.files.iter().map(size).sum::<u64>() <= 20_000_000);
    for file in &manifest.files {
        assert!(!file.license.is_empty() && !file.source.is_empty(), "{}", file.path);
    }
}
