//! What TensorRT's parser is given of a model's ONNX files: only what the parser of the oldest version reads, and the
//! same mathematics.
#![allow(unsafe_code, reason = "the fake library is steered through its functions")]

#[path = "fake_tensorrt/mod.rs"]
mod fake_tensorrt;
mod tiny;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fake_tensorrt::{Fake, RELEASES, Release, compile, compile_cuda, onnxruntime};
use tiny::Copy;
use tvsl::engine::tensorrt::onnx::{self, Model};
use tvsl::engine::tensorrt::{Precision, plan};

/// What the parser of TensorRT 8.5 imports, of what models are made of (its docs/operators.md).
const OF_8_5: &str = "Abs Add AveragePool BatchNormalization Cast Ceil Clip Concat Constant ConstantOfShape Conv Cos Div \
     Einsum Elu Equal Erf Exp Expand Flatten Floor Gather GatherElements GatherND Gemm GlobalAveragePool \
     GlobalMaxPool Greater Identity InstanceNormalization LeakyRelu Less Log LogSoftmax MatMul Max MaxPool Mean Min \
     Mul Neg Not Pad Pow PRelu Range Reciprocal ReduceL1 ReduceL2 ReduceLogSumExp ReduceMax ReduceMean ReduceMin \
     ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize Round Shape Sigmoid Sign Sin Slice Softmax Softplus \
     Split Sqrt Squeeze Sub Sum Tanh Tile TopK Transpose Unsqueeze Where";

const GRAPHS: [&str; 5] = ["image", "image-head", "audio", "stage1", "stage2"];

fn folder() -> &'static Path {
    Path::new("engines/default")
}

/// The operators of a file after it was made plain for a release.
fn operators(file: &Path, release: Release) -> BTreeSet<String> {
    let stored = fs::read(file).expect("a graph");
    let plain = onnx::plain(&stored, file, Fake::new(release).library.version());
    let model = Model::read(&plain).expect("an ONNX file");
    model.operators().into_iter().map(str::to_owned).collect()
}

#[test]
fn every_graph_that_is_shipped_is_read_by_the_oldest_parser() {
    let known: BTreeSet<&str> = OF_8_5.split_whitespace().collect();
    for folder in [folder(), Path::new("tests/data/tiny")] {
        for entry in fs::read_dir(folder).expect("a model folder").flatten() {
            if entry.path().extension().is_some_and(|ending| ending == "onnx") {
                let used = operators(&entry.path(), RELEASES[0]);
                let unknown: Vec<_> = used.iter().filter(|name| !known.contains(name.as_str())).collect();
                assert!(!used.is_empty() && unknown.is_empty(), "{}: {unknown:?}", entry.path().display());
            }
        }
    }
}

#[test]
fn weights_are_real_for_every_version_and_norms_written_out_for_8_5_only() {
    for release in RELEASES {
        let audio = operators(&folder().join("audio.onnx"), release);
        let has_norms = release.version[..2] != [8, 5];
        assert_eq!(audio.contains("LayerNormalization"), has_norms, "{release:?}: {audio:?}");
        // A convolution whose bias comes out of a Cast is refused by 8.5 to 10.x.
        for graph in GRAPHS {
            let used = operators(&folder().join(graph).with_extension("onnx"), release);
            assert!(!used.contains("Cast"), "{release:?}, {graph}: {used:?}");
        }
    }
}

#[test]
fn what_is_no_onnx_file_is_left_for_the_parser_to_refuse() {
    let version = Fake::new(RELEASES[0]).library.version();
    for bytes in [&b"this is no ONNX file"[..], b"", b"\x08\x08", b"\x3a\x7f"] {
        assert_eq!(onnx::plain(bytes, Path::new("image.onnx"), version), bytes);
    }
}

/// Runs `tvsl engine` in this precision on the fakes in `libraries`; what it printed.
fn engine(action: &str, precision: &str, model: &Path, libraries: &Path) -> String {
    let mut tvsl = Command::new(env!("CARGO_BIN_EXE_tvsl"));
    let config = model.join("precision.toml");
    fs::write(&config, format!("[engine.tensorrt]\nprecision = \"{precision}\"\n")).expect("room for a file");
    tvsl.args(["engine", action, "--model"]).arg(model).arg("--config").arg(config);
    tvsl.env("LD_LIBRARY_PATH", libraries).env("FAKE_TENSORRT_ONNXRUNTIME", onnxruntime());
    let output =
        tvsl.env_remove("TVSL_TENSORRT").env_remove("TVSL_CONFIG").output().expect("the program starts");
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(output.status.success(), "{action}: {out}{err}");
    out
}

/// What `tvsl engine build` and `verify` print of a model in this precision, on the fakes of a release with a GPU.
fn built_and_verified(release: Release, precision: &str, model: &Path) -> [String; 2] {
    let libraries: PathBuf = compile(release).parent().expect("a folder").to_owned();
    compile_cuda(&libraries);
    let told = ["build", "verify"].map(|action| engine(action, precision, model, &libraries));
    fs::remove_dir_all(&libraries).expect("it is there");
    told
}

/// What the sidecar of a graph's plan says.
fn described(model: &Path, graph: &str) -> plan::Sidecar {
    plan::describe(&plan::path(&model.join(graph).with_extension("onnx"))).expect("it was built")
}

/// The number after `name` in the line that `tvsl engine verify` printed for a graph.
fn measured(verified: &str, graph: &str, name: &str) -> f64 {
    let line = verified.lines().find(|line| line.starts_with(graph)).expect("a line for every graph");
    let value = line.split(name).nth(1).and_then(|rest| rest.trim_start().split([',', ' ', ':']).next());
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name}: {line}"))
}

#[test]
fn what_the_parser_is_given_computes_what_the_files_compute() {
    let model = Copy::of(folder());
    for release in [RELEASES[0], RELEASES[2]] {
        let [_, verified] = built_and_verified(release, "fp32", model.0.path());
        for graph in GRAPHS {
            let error = measured(&verified, &format!("{graph} "), "max error");
            assert!(error < 1e-4, "{release:?}, {graph}: {verified}");
        }
    }
}

#[test]
fn versions_that_compute_in_the_types_of_the_file_are_given_the_picture_in_half_precision() {
    let model = Copy::of(folder());
    for release in [RELEASES[3], RELEASES[4]] {
        let [built, verified] = built_and_verified(release, "fp16", model.0.path());
        assert!(!built.contains("plans are fp32"), "{release:?}: {built}");
        for graph in GRAPHS {
            let error = measured(&verified, &format!("{graph} "), "max error");
            assert_eq!(error > 1e-4, graph == "image", "{release:?}, {graph}: {verified}");
            let form = if graph == "image" { "image-fp16.onnx".to_owned() } else { format!("{graph}.onnx") };
            assert_eq!(described(model.0.path(), graph).compiled, form, "{release:?}");
        }
        assert!(verified.contains("this device is ready"), "{release:?}: {verified}");
        let (error, cosine) =
            (measured(&verified, "image ", "max error"), measured(&verified, "image ", "cosine"));
        assert!(error > 0.0 && cosine > 0.9999, "{release:?}: {verified}");
    }
}

/// Up to 10.x a flag lets half precision in, and the files are those of single.
#[test]
fn versions_that_take_a_flag_compute_the_picture_in_half_precision_and_are_ready() {
    let model = Copy::of(folder());
    for release in [RELEASES[0], RELEASES[2]] {
        let [built, verified] = built_and_verified(release, "fp16", model.0.path());
        assert!(!built.contains("fp16 does harm"), "{release:?}: {built}");
        assert!(verified.contains("this device is ready"), "{release:?}: {verified}");
        for graph in GRAPHS {
            let halved = graph == "image"; // softmax and norms are in all others
            let sidecar = described(model.0.path(), graph);
            let precision = if halved { Precision::Fp16 } else { Precision::Fp32 };
            assert_eq!(sidecar.options.precision, precision, "{release:?}, {graph}");
            assert_eq!(sidecar.compiled, format!("{graph}.onnx"), "{release:?}");
            let line = format!("{graph} ");
            let (error, cosine) =
                (measured(&verified, &line, "max error"), measured(&verified, &line, "cosine"));
            assert!((error > 1e-5) == halved && cosine > 0.9999, "{release:?}, {graph}: {verified}");
        }
    }
}
