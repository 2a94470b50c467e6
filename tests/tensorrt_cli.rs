//! `tvsl engine`, on a fake GPU with a fake TensorRT, and on a machine that has neither.
#![allow(unsafe_code, reason = "the fake library is steered through its functions")]

#[path = "fake_tensorrt/mod.rs"]
mod fake_tensorrt;

mod tiny;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fake_tensorrt::{RELEASES, compile, compile_cuda, onnxruntime};
use tvsl::engine::tensorrt::{Precision, plan};

/// A machine with a fake GPU, a fake TensorRT 10.3, and a copy of the tiny model.
struct Machine {
    libraries: PathBuf,
    model: tiny::Copy,
}

impl Machine {
    fn new() -> Self {
        let libraries = compile(RELEASES[2]).parent().expect("it lies in a folder").to_owned();
        compile_cuda(&libraries);
        Self { libraries, model: tiny::Copy::new() }
    }

    fn engine(&self, action: &str, variables: &[(&str, &str)]) -> Output {
        let mut tvsl = tvsl(action, self.model.0.path());
        tvsl.env("LD_LIBRARY_PATH", &self.libraries).env("FAKE_TENSORRT_ONNXRUNTIME", onnxruntime());
        tvsl.envs(variables.iter().copied());
        tvsl.output().expect("the program starts")
    }

    fn sidecar(&self, graph: &str) -> plan::Sidecar {
        plan::describe(&self.model.path(graph)).expect("a plan with a sidecar")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.libraries);
    }
}

fn tvsl(action: &str, model: &Path) -> Command {
    let mut tvsl = Command::new(env!("CARGO_BIN_EXE_tvsl"));
    tvsl.arg("engine")
        .args(action.split(' '))
        .arg("--model")
        .arg(model)
        .env_remove("TVSL_TENSORRT")
        .env_remove("TVSL_CONFIG");
    tvsl
}

fn text(output: &Output) -> String {
    let [out, err] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    out + &err
}

#[test]
fn build_makes_a_plan_of_every_graph_and_inspect_shows_it() {
    let machine = Machine::new();
    let built = machine.engine("build", &[]);
    assert!(built.status.success(), "{}", text(&built));
    assert!(
        text(&built).contains("building for TensorRT 10.3.0.26 for Orin, SM 8.7, CUDA 12.6"),
        "{}",
        text(&built)
    );
    for graph in ["image.onnx", "audio.onnx", "stage1.onnx", "stage2.onnx", "text.onnx"] {
        assert!(text(&built).contains(&plan::path(&machine.model.path(graph)).display().to_string()));
        assert!(machine.sidecar(graph).sources.contains_key(graph));
    }
    let inspected = machine.engine("inspect", &[]);
    assert!(inspected.status.success(), "{}", text(&inspected));
    assert!(text(&inspected).contains("\"Precision\": \"FP16\""), "{}", text(&inspected));
    assert!(text(&inspected).contains("built for  TensorRT 10.3.0.26 for Orin"), "{}", text(&inspected));
}

#[test]
fn a_build_that_runs_out_of_memory_takes_less_workspace_and_then_says_so() {
    let machine = Machine::new();
    let built = machine.engine("build", &[("FAKE_TENSORRT_WORKSPACE", "200")]);
    assert!(built.status.success(), "{}", text(&built));
    let options = machine.sidecar("image.onnx").options;
    assert_eq!((options.workspace_mib, options.level), (128, 3));
    let failed = machine.engine("build", &[("FAKE_TENSORRT_WORKSPACE", "10")]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(
        text(&failed).contains("buildSerializedNetwork failed; TensorRT said: OutOfMemory"),
        "{}",
        text(&failed)
    );
}

#[test]
fn precision_follows_the_part_and_verify_compares_every_output() {
    let machine = Machine::new();
    assert!(machine.engine("build", &[]).status.success());
    let precision = |graph: &str| machine.sidecar(graph).options.precision;
    assert_eq!(precision("image.onnx"), Precision::Fp16);
    // Its audio graph takes the waveform, so the front end is inside.
    assert_eq!(precision("audio.onnx"), Precision::Fp32);
    assert_eq!(precision("stage1.onnx"), Precision::Fp32);
    assert_eq!(precision("stage2.onnx"), Precision::Fp32);

    let verified = machine.engine("verify", &[]);
    assert!(verified.status.success(), "{}", text(&verified));
    let lines = text(&verified);
    assert!(
        lines.starts_with(
            "GPU     Orin, SM 8.7, CUDA 12.6, memory of its own; pictures are laid out by the GPU"
        ),
        "{lines}"
    );
    assert!(
        lines.contains("\nlibrary TensorRT 10.3.0.26 from libnvinfer.so.10\nplans   fp16, 512 MiB"),
        "{lines}"
    );
    assert_eq!(lines.matches(" ms a run\n").count(), 5, "{lines}");
    for line in
        ["image   V", "audio   A", "stage1  p ", "stage1  p_v", "stage1  p_a", "stage2  H", "text    t"]
    {
        assert!(lines.contains(&format!("\n{line}")), "{line}: {lines}");
    }
    assert!(
        lines.contains("the same classes are detected: ok") && lines.contains("this device is ready"),
        "{lines}"
    );

    let differs = machine.engine("verify", &[("FAKE_TENSORRT_WRONG", "stage1")]);
    assert_eq!(differs.status.code(), Some(1));
    assert!(
        text(&differs).contains("cosine -1.000000, other classes are detected: DIFFERS"),
        "{}",
        text(&differs)
    );
    assert!(text(&differs).contains("engine.tensorrt.precision"), "{}", text(&differs));

    // A plan that cannot be used does not hide how the others are.
    std::fs::remove_file(plan::path(&machine.model.path("image.onnx"))).expect("it is there");
    let partly = machine.engine("verify", &[("FAKE_CUDA_INTEGRATED", "1"), ("FAKE_CUDA_NO_KERNELS", "1")]);
    assert_eq!(partly.status.code(), Some(1));
    let lines = text(&partly);
    assert!(lines.contains("memory shared with the host; pictures are laid out by the CPU"), "{lines}");
    assert!(lines.contains("image   NOT USABLE: ") && lines.contains("\nstage2  H"), "{lines}");
    assert!(lines.contains("this device is not ready: 1 of its plans cannot be used"), "{lines}");
}

#[test]
fn a_plan_takes_its_place_only_if_it_computes_what_the_cpu_computes() {
    let machine = Machine::new();
    let refused = machine.engine("build", &[("FAKE_TENSORRT_WRONG", "audio")]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused).contains("audio.plan: the new plan is not used, because it does not"),
        "{}",
        text(&refused)
    );
    assert!(plan::path(&machine.model.path("image.onnx")).exists());
    assert!(!plan::path(&machine.model.path("audio.onnx")).exists());

    let finished = machine.engine("build --missing", &[]);
    assert!(finished.status.success(), "{}", text(&finished));
    assert!(text(&finished).contains("1 of 5, image: good already"), "{}", text(&finished));
    assert!(text(&finished).contains("2 of 5, audio: building"), "{}", text(&finished));
}

#[test]
fn inspect_without_a_plan_names_the_cure() {
    let output = Machine::new().engine("inspect", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("build it with `tvsl engine build`"), "{}", text(&output));
}

#[test]
fn without_a_gpu_the_command_says_so() {
    if Path::new("/dev/nvidiactl").exists() || Path::new("/dev/nvhost-gpu").exists() {
        println!("skipped: this machine has a GPU");
        return;
    }
    let output = tvsl("build", tiny::folder()).output().expect("the program starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("no NVIDIA GPU can be used here"), "{}", text(&output));
}
