//! The way of a frame on a GPU: laid out by the kernel, left there between the graphs, and waited for only where its
//! result is read. The fake driver does nothing until somebody waits, so what is not ordered has not happened.
#![allow(unsafe_code, reason = "the fake library is steered through its functions")]

#[path = "fake_tensorrt/mod.rs"]
mod fake_tensorrt;
mod tiny;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use fake_tensorrt::{RELEASES, compile, compile_cuda, counted, in_a_process, onnxruntime};
use tvsl::clock::Instant;
use tvsl::config::{Config, Engine as Settings, EngineKind, Precision};
use tvsl::engine::{self, Engine, Tensor, Value};
use tvsl::frame::{Frame, Samples};
use tvsl::geometry::Size;
use tvsl::model::Model;

/// A model with plans in single precision, so that the GPU's numbers are the CPU's.
struct Machine(PathBuf);

impl Machine {
    /// With a copy of the model in `folder`, whose plans are good.
    fn of(folder: &Path) -> Self {
        let libraries = compile(RELEASES[2]).parent().expect("it lies in a folder").to_owned();
        compile_cuda(&libraries);
        std::fs::write(libraries.join("tvsl.toml"), "[engine.tensorrt]\nprecision = \"fp32\"\n").unwrap();
        let model = libraries.join("model");
        std::fs::create_dir(&model).unwrap();
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.path().is_file() {
                std::fs::copy(entry.path(), model.join(entry.file_name())).unwrap();
            }
        }
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

    fn run(&self, test: &str, variables: &[(&str, &str)]) {
        let runtime = onnxruntime().display().to_string();
        let all = [&[("FAKE_TENSORRT_ONNXRUNTIME", runtime.as_str())], variables].concat();
        in_a_process(test, &self.0, &all);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn frames_are_judged_on_the_gpu_as_on_the_cpu() {
    let machine = Machine::of(Path::new("engines/default"));
    for variables in [
        &[][..],
        &[("FAKE_CUDA_INTEGRATED", "1")],
        &[("FAKE_CUDA_NO_KERNELS", "1")],
        &[("FAKE_CUDA_NO_GRAPHS", "1")],
    ] {
        machine.run("judge_frames", variables);
    }
    machine.run("ask_for_all", &[]);
    for variables in [&[][..], &[("FAKE_CUDA_INTEGRATED", "1")]] {
        machine.run("count_waits", variables);
        machine.run("hold_pictures", variables);
    }
}

/// A waveform becomes as many rows as its graph likes, AudioCLIP's 143.
#[test]
fn a_model_whose_audio_graph_gives_many_rows_is_built_and_runs() {
    let fine = tiny::Copy::new();
    fine.replace("audio.onnx", &fine.read("fine.onnx"), true);
    let machine = Machine::of(fine.0.path());
    machine.run("ask_for_all", &[]);
    machine.run("ask_for_more", &[]);
    machine.run("count_waits", &[]);
    machine.run("hold_pictures", &[("FAKE_CUDA_INTEGRATED", "1")]);
}

fn chosen(kind: EngineKind) -> Arc<dyn Engine> {
    // One thread, as the fake: the sums are then made in the same order.
    let mut settings = Settings { kind, threads: 1, ..Config::default().engine };
    settings.tensorrt.precision = Precision::Fp32;
    engine::choose(&settings).expect("an engine")
}

fn folder() -> PathBuf {
    Path::new(&std::env::var_os("FOLDER").expect("a machine")).join("model")
}

fn model(kind: EngineKind) -> Model {
    Model::open(&folder(), chosen(kind).as_ref()).expect("a model")
}

/// A picture whose every pixel is its own.
fn frame(size: Size, seed: u32) -> Frame {
    let mut pixels = fastrand::Rng::with_seed(seed.into());
    let rgb = (0..size.width * size.height * 3).map(|_| pixels.u8(..)).collect();
    Frame { captured: Instant::from_secs_f64(1.0), size, source: size, rgb }
}

/// Two seconds of a tone: more than the default model hears at a time.
fn tone(model: &Model) -> Samples {
    let rate = model.sample_rate();
    let wave = (0..2 * rate).map(|n| (n as f32 * 440.0 * std::f32::consts::TAU / rate as f32).sin());
    Samples::new(Instant::ZERO, rate, wave.collect())
}

#[test]
#[ignore = "runs in a process of its own"]
fn judge_frames() {
    let [mut gpu, mut cpu] = [EngineKind::TensorRt, EngineKind::Cpu].map(model);
    let mut laid_out = false;
    for model in [&mut gpu, &mut cpu] {
        let tone = tone(model);
        model.hear(&tone).expect("it hears");
    }
    // Wider, higher, exactly the grid, back to the first, and twice the same, which is recorded.
    for (seed, (width, height)) in
        (0..).zip([(640, 360), (90, 250), (384, 224), (1000, 300), (640, 360), (640, 360), (640, 360)])
    {
        let frame = frame(Size::new(width, height), seed);
        let judged = [&mut gpu, &mut cpu].map(|model| {
            let vision = model.see(&frame).expect("it sees");
            let hearing = model.heard(frame.captured);
            let scores = model.detect(&vision, &hearing).expect("it detects");
            let maps = model.localize(&vision, &hearing, &[3, 0, 7]).expect("it localizes");
            let on_gpu = matches!(vision.cells, Value::Gpu(_));
            let cells = vision.cells.tensor().expect("V").into_owned();
            (on_gpu, model.take_gpu_times(), (cells, scores, maps))
        });
        let [(on_gpu, times, by_gpu), (elsewhere, none, by_cpu)] = judged;
        assert!(on_gpu && !elsewhere);
        assert!(by_gpu == by_cpu, "{width}x{height}");
        assert!(
            times.image >= times.picture && times.stage1.is_some() && none.total().is_none(),
            "{times:?}"
        );
        laid_out |= times.picture.is_some_and(|time| !time.is_zero());
    }
    assert_eq!(laid_out, std::env::var_os("FAKE_CUDA_NO_KERNELS").is_none());
}

/// The plans' profiles, which the fake holds to, take whatever the daemon may ask of them.
#[test]
#[ignore = "runs in a process of its own"]
fn ask_for_all() {
    let mut model = model(EngineKind::TensorRt);
    let classes = model.manifest().classes.len();
    // The longest pictures have the longest grids.
    for (width, height) in [(640, 360), (120, 700), (700, 120), (3840, 1080), (1080, 3840)] {
        let vision = model.see(&frame(Size::new(width, height), 1)).expect("it sees");
        for seconds in [0, 2, 6] {
            model.forget_sound();
            (0..seconds).step_by(2).for_each(|second| {
                let later = Samples { captured: Instant::from_secs_f64(f64::from(second)), ..tone(&model) };
                model.hear(&later).expect("it hears");
            });
            let hearing = model.heard(Instant::from_secs_f64(f64::from(seconds)));
            assert_eq!(model.detect(&vision, &hearing).expect("it detects").len(), classes);
            for sounding in [1, 2, classes] {
                let asked: Vec<_> = (0..sounding).collect();
                assert_eq!(model.localize(&vision, &hearing, &asked).expect("it localizes").len(), sounding);
            }
        }
    }
}

/// A shape that no plan is built for: the CPU runs that graph, unless nothing but the GPU will do.
#[test]
#[ignore = "runs in a process of its own"]
fn ask_for_more() {
    let more = |kind| {
        let mut stage = chosen(kind).load(&folder().join("stage1.onnx")).expect("a graph");
        let [v, a, t] = [[1, 16, 3].to_vec(), [1, 4, 3].to_vec(), [2000, 3].to_vec()].map(Tensor::zeros);
        let outputs = stage.run(&[("V", (&v).into()), ("A", (&a).into()), ("t", (&t).into())]);
        (outputs, stage.trouble().map(str::to_owned))
    };
    let (outputs, trouble) = more(EngineKind::Auto);
    assert_eq!(outputs.expect("the CPU's")[0].shape, [1, 2000]);
    let (told, refused) =
        (trouble.expect("told"), more(EngineKind::TensorRt).0.expect_err("no plan takes it"));
    let shapes =
        "stage1.onnx: the plan takes no inputs of these shapes (V [1, 16, 3], A [1, 4, 3], t [2000, 3]): ";
    assert!(told.contains(shapes) && told.ends_with("the cpu engine goes on"), "{told}");
    assert!(refused.to_string().contains(shapes) && refused.key() == Some("engine.kind"), "{refused}");
}

#[test]
#[ignore = "runs in a process of its own"]
fn count_waits() {
    let mut model = model(EngineKind::TensorRt);
    let tone = tone(&model);
    model.hear(&tone).expect("it hears");
    let [waits, allocations] = [c"fake_cuda_blocking_waits", c"fake_cuda_allocations"];
    let mut settled = None;
    // One class sounds, then two, and again: shapes have settled when the most that were asked about at once were.
    for seed in 0..12 {
        let frame = frame(Size::new(640, 360), seed);
        let before = counted(waits);
        let vision = model.see(&frame).expect("it sees");
        assert_eq!(counted(waits), before, "a picture is not waited for");
        let hearing = model.heard(frame.captured);
        model.detect(&vision, &hearing).expect("it detects");
        assert_eq!(counted(waits), before + 1, "the probabilities are");
        let sounding = &[1, 2][..1 + seed as usize / 3 % 2];
        assert_eq!(model.localize(&vision, &hearing, sounding).expect("it localizes").len(), sounding.len());
        assert_eq!(counted(waits), before + 2, "and the maps, of a frame that has something to show");
        model.take_gpu_times();
        assert_eq!(counted(waits), before + 2, "the time is known by then");
        // By the third frame of each kind everything is allocated and recorded.
        if seed >= 6 {
            assert_eq!(*settled.get_or_insert(counted(allocations)), counted(allocations), "frame {seed}");
        }
    }
}

#[test]
#[ignore = "runs in a process of its own"]
fn hold_pictures() {
    let [mut gpu, mut cpu] = [EngineKind::TensorRt, EngineKind::Cpu].map(model);
    let frames: Vec<_> = (0..4).map(|seed| frame(Size::new(640, 360), seed)).collect();
    // Seen one after the other, judged afterwards: what is held does not change.
    let [seen, expected] = [&mut gpu, &mut cpu].map(|model| {
        let visions: Vec<_> = frames.iter().map(|frame| model.see(frame).expect("it sees")).collect();
        let hearing = model.heard(Instant::ZERO);
        let judge = |vision| model.detect(vision, &hearing).expect("it detects");
        visions.iter().rev().map(judge).collect::<Vec<_>>()
    });
    assert!(seen == expected);
    assert!(seen.windows(2).all(|pair| pair[0] != pair[1]), "the pictures differ: {seen:?}");
}
