//! The TensorRT binding against the real TensorRT for RTX: its builder and its ONNX parser need no GPU.
//!
//! Opt-in, because the library is NVIDIA's and is not ours to pass on: `make test-rtx` fetches it and names its
//! file in `TVSL_TENSORRT_RTX`.

#[path = "fake_tensorrt/one_node.rs"]
mod one_node;

use std::path::{Path, PathBuf};

use one_node::one_node;
use tvsl::engine::tensorrt::{BuildOptions, Builder, Library, Network, Precision, Range, Version, onnx};

/// All that the default model has; RTX compiles the picture's in half precision.
const GRAPHS: [&str; 6] = ["image", "image-head", "audio", "stage1", "stage2", "image-fp16"];

fn library() -> Option<Library> {
    let Some(path) = std::env::var_os("TVSL_TENSORRT_RTX") else {
        println!("skipped: TVSL_TENSORRT_RTX names no library");
        return None;
    };
    Some(Library::open(&PathBuf::from(path)).expect("a library that loads"))
}

/// The inputs of the default model's graphs as `tvsl engine build` has them, from the smallest to the largest.
fn ranges(graph: &str) -> Vec<Range> {
    let range = |input: &str, shapes: [&[i64]; 3]| {
        let [min, opt, max] = shapes.map(<[i64]>::to_vec);
        Range { input: input.to_owned(), min, opt, max }
    };
    let vision = [&[1, 1, 384], &[1, 84, 384], &[1, 84, 384]];
    let sound = [&[1, 1, 384], &[1, 14, 384], &[1, 64, 384]];
    match graph.trim_end_matches("-fp16") {
        "image-head" => vec![range("features", [&[1, 1280, 1, 1], &[1, 1280, 7, 12], &[1, 1280, 23, 23]])],
        "image" => vec![range("image", [&[1, 3, 32, 32], &[1, 3, 224, 384], &[1, 3, 736, 736]])],
        "audio" => vec![range("sound", [&[1, 176, 64], &[1, 176, 64], &[14, 176, 64]])],
        _ => vec![
            range("V", vision.map(|shape| &shape[..])),
            range("A", sound.map(|shape| &shape[..])),
            range("t", [&[1, 384], &[51, 384], &[500, 384]]),
        ],
    }
}

fn parsed(builder: &mut Builder, graph: &str) -> Network {
    let mut network = builder.network().unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("engines/default").join(graph);
    network.parse_onnx(&file.with_extension("onnx")).unwrap();
    network
}

#[test]
fn the_default_models_graphs_are_parsed() {
    let Some(library) = library() else { return };
    let mut builder = library.builder().unwrap();
    for graph in GRAPHS {
        let network = parsed(&mut builder, graph);
        for tensor in network.tensors().unwrap() {
            println!("{graph}: {tensor:?}");
        }
        assert!(network.layers() > 0);
    }
}

#[test]
fn so_is_the_form_that_the_oldest_version_is_given() {
    let Some(library) = library() else { return };
    let oldest = Version { major: 8, minor: 5, patch: 2, build: None };
    let (model, folder) = (Path::new("engines/default"), tempfile::tempdir().unwrap());
    for weights in ["encoders.bin", "heads.bin"] {
        std::fs::copy(model.join(weights), folder.path().join(weights)).unwrap();
    }
    for graph in ["image.onnx", "image-head.onnx", "audio.onnx", "stage1.onnx", "stage2.onnx"] {
        let (stored, file) = (std::fs::read(model.join(graph)).unwrap(), folder.path().join(graph));
        std::fs::write(&file, onnx::plain(&stored, &model.join(graph), oldest)).unwrap();
        let mut network = library.builder().unwrap().network().unwrap();
        network.parse_onnx(&file).unwrap();
        println!("{graph}: {} layers", network.layers());
    }
}

/// Softmax, unary operations (exponential, logarithm, root), reductions and normalisations, as `LayerType` has them.
const NORMS: [i32; 4] = [6, 11, 14, 45];

#[test]
fn no_norm_would_be_computed_in_half_precision() {
    let Some(library) = library() else { return };
    let mut builder = library.builder().unwrap();
    // What they have: a softmax written out, with two logarithms around sums; softmax and norms; and the picture's none.
    for (graph, least) in [("image-head", 5), ("audio", 1), ("image", 0)] {
        let layers = parsed(&mut builder, graph).precisions().unwrap();
        let norms: Vec<_> = layers.iter().filter(|(kind, _)| NORMS.contains(kind)).collect();
        let single = layers.iter().filter(|(_, single)| *single).count();
        println!(
            "{graph}: {} layers of floats, {} norms, {single} in single precision",
            layers.len(),
            norms.len()
        );
        assert!(norms.len() >= least && norms.iter().all(|(_, single)| *single), "{graph}: {layers:?}");
        assert!(
            least > 0 || (norms.is_empty() && single == 0),
            "{graph}: {single} of {} layers are not half",
            layers.len()
        );
    }
}

/// Convolutions and products of matrices, as `LayerType` has them.
const PRODUCTS: [i32; 2] = [0, 17];

#[test]
fn the_picture_in_half_precision_has_no_product_in_single_and_no_norm() {
    let Some(library) = library() else { return };
    let mut builder = library.builder().unwrap();
    let mut in_single = |graph: &str, kinds: &[i32]| {
        let layers = parsed(&mut builder, graph).precisions().unwrap();
        layers.iter().filter(|(kind, _)| kinds.contains(kind)).count()
    };
    let [norms, products] = [&NORMS[..], &PRODUCTS].map(|kinds| in_single("image", kinds));
    println!("image: {norms} norms, {products} products");
    assert!(norms == 0 && products > 40, "{norms} norms, {products} products");
    assert_eq!([&NORMS[..], &PRODUCTS].map(|kinds| in_single("image-fp16", kinds)), [0, 0]);
    assert!(in_single("image-head", &NORMS) > 0, "that is where they are");
}

fn options(graph: &str) -> BuildOptions {
    let (precision, ranges) = (Precision::Fp32, ranges(graph));
    BuildOptions { precision, workspace_mib: 256, level: 1, capability: Some(86), ranges }
}

#[test]
fn plans_of_every_graph_are_built_and_the_cache_serves_again() {
    let Some(library) = library() else { return };
    let mut builder = library.builder().unwrap();
    let mut cache = Vec::new();
    for graph in GRAPHS {
        let mut network = parsed(&mut builder, graph);
        let built = builder.build(&mut network, &options(graph), &cache).unwrap();
        println!(
            "{graph}: plan of {} bytes, cache of {}",
            built.plan.bytes().len(),
            built.timing_cache.len()
        );
        assert!(built.plan.bytes().len() > 1000);
        cache = built.timing_cache;
    }
}

#[test]
fn a_broken_file_is_refused_with_the_parsers_reason() {
    let Some(library) = library() else { return };
    let mut network = library.builder().unwrap().network().unwrap();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("broken.onnx");
    std::fs::write(&file, "this is no ONNX file").unwrap();
    let message = network.parse_onnx(&file).unwrap_err().to_string();
    println!("{message}");
    assert!(message.contains("broken.onnx: TensorRT's parser refused it"), "{message}");
}

#[test]
fn an_operator_that_is_not_supported_is_named_with_its_node() {
    let Some(library) = library() else { return };
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("one_node.onnx");
    let mut builder = library.builder().unwrap();
    std::fs::write(&file, one_node("Relu")).unwrap();
    builder.network().unwrap().parse_onnx(&file).unwrap();
    std::fs::write(&file, one_node("Blur")).unwrap();
    let message = builder.network().unwrap().parse_onnx(&file).unwrap_err().to_string();
    println!("{message}");
    assert!(message.contains("one_node.onnx: TensorRT's parser refused it"), "{message}");
    assert!(message.contains("Blur") && message.contains("node_of_mine"), "{message}");
}

#[test]
fn a_machine_without_a_gpu_gets_a_clear_error() {
    let Some(library) = library() else { return };
    if Path::new("/dev/nvidia0").exists() {
        println!("skipped: this machine has a GPU");
        return;
    }
    let mut builder = library.builder().unwrap();
    let mut network = parsed(&mut builder, "stage2");
    let plan = builder.build(&mut network, &options("stage2"), &[]).unwrap().plan;
    let message = library
        .runtime()
        .and_then(|mut runtime| runtime.deserialize(&plan))
        .map(drop)
        .unwrap_err()
        .to_string();
    println!("{message}");
    assert!(message.starts_with("IRuntime::deserializeCudaEngine failed"), "{message}");
}
