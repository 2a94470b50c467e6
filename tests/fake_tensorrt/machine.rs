//! A machine with TensorRT and a GPU, both fake, and a model whose plans are good.
#![allow(dead_code, reason = "each test file uses a part")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tvsl::clock::Instant;
use tvsl::config::{Config, Engine as Settings, EngineKind, Precision};
use tvsl::engine::{self, Engine};
use tvsl::frame::{Frame, Samples};
use tvsl::geometry::Size;
use tvsl::model::Model;

use crate::fake_tensorrt::{RELEASES, compile, compile_cuda, in_a_process, onnxruntime};
use crate::tiny;

/// What tells the fake driver which GPU it is: one with memory of its own, one that shares the host's, one that takes no kernel, and
/// one that records nothing.
pub const GPUS: [&[(&str, &str)]; 4] = [
    &[],
    &[("FAKE_CUDA_INTEGRATED", "1")],
    &[("FAKE_CUDA_NO_KERNELS", "1")],
    &[("FAKE_CUDA_NO_GRAPHS", "1000")],
];

/// A model with plans in single precision, so that the GPU's numbers are the CPU's.
pub struct Machine(pub PathBuf);

impl Machine {
    /// With a copy of the model in `folder`, whose plans are good.
    pub fn of(folder: &Path) -> Self {
        let libraries = compile(RELEASES[2]).parent().expect("it lies in a folder").to_owned();
        compile_cuda(&libraries);
        std::fs::write(libraries.join("tvsl.toml"), "[engine.tensorrt]\nprecision = \"fp32\"\n").unwrap();
        let model = libraries.join("model");
        std::fs::create_dir(&model).unwrap();
        tiny::copy(folder, &model);
        let machine = Self(libraries);
        ["build", "verify"].iter().for_each(|action| machine.engine(action));
        machine
    }

    fn engine(&self, action: &str) {
        let mut tvsl = Command::new(env!("CARGO_BIN_EXE_tvsl"));
        tvsl.args(["engine", action, "--model"]).arg(self.0.join("model"));
        tvsl.arg("--config").arg(self.0.join("tvsl.toml"));
        tvsl.env("LD_LIBRARY_PATH", &self.0).env("FAKE_TENSORRT_ONNXRUNTIME", onnxruntime());
        let done = tvsl.env_remove("TVSL_TENSORRT").output().expect("the program starts");
        let [out, err] = [&done.stdout, &done.stderr].map(|text| String::from_utf8_lossy(text));
        assert!(done.status.success(), "{action}: {out}{err}");
    }

    /// Runs the ignored test `test` with the fakes and the model; what it said.
    pub fn run(&self, test: &str, variables: &[(&str, &str)]) -> String {
        let runtime = onnxruntime().display().to_string();
        let all = [&[("FAKE_TENSORRT_ONNXRUNTIME", runtime.as_str())], variables].concat();
        in_a_process(test, &self.0, &all)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn chosen(kind: EngineKind) -> Arc<dyn Engine> {
    // One thread, as the fake: the sums are then made in the same order.
    let mut settings = Settings { kind, threads: 1, ..Config::default().engine };
    settings.tensorrt.precision = Precision::Fp32;
    engine::choose(&settings).expect("an engine")
}

pub fn folder() -> PathBuf {
    Path::new(&std::env::var_os("FOLDER").expect("a machine")).join("model")
}

pub fn model(kind: EngineKind) -> Model {
    Model::open(&folder(), chosen(kind).as_ref()).expect("a model")
}

/// A picture whose every pixel is its own.
pub fn frame(size: Size, seed: u32) -> Frame {
    let mut pixels = fastrand::Rng::with_seed(seed.into());
    let rgb = (0..size.width * size.height * 3).map(|_| pixels.u8(..)).collect();
    Frame { captured: Instant::from_secs_f64(1.0), size, source: size, rgb }
}

/// Two seconds of a tone: more than the default model hears at a time.
pub fn tone(model: &Model) -> Samples {
    let rate = model.sample_rate();
    let wave = (0..2 * rate).map(|n| (n as f32 * 440.0 * std::f32::consts::TAU / rate as f32).sin());
    Samples::new(Instant::ZERO, rate, wave.collect())
}
