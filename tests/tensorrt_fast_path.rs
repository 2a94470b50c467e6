//! The way of a frame on a GPU: laid out by the kernel, left there between the graphs, and waited for only where its
//! result is read. The fake driver does nothing until somebody waits, so what is not ordered has not happened.
#![allow(unsafe_code, reason = "the fake library is steered through its functions")]

#[path = "fake_tensorrt/mod.rs"]
mod fake_tensorrt;
#[path = "fake_tensorrt/machine.rs"]
mod machine;
mod tiny;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fake_tensorrt::{counted, onnxruntime};
use machine::{GPUS, Machine, chosen, folder, frame, model, tone};
use tvsl::analysis::{Analysed, Analysis};
use tvsl::clock::Instant;
use tvsl::config::{Config, EngineKind};
use tvsl::engine::{Input, Tensor, Value, Wanted};
use tvsl::frame::{Frame, Samples};
use tvsl::geometry::Size;
use tvsl::model::manifest::FrontEnd;
use tvsl::model::{Manifest, Vision};

impl Machine {
    /// The messages of the demo's clip, and what was logged.
    fn annotate(&self, kind: &str, variables: &[(&str, &str)]) -> (String, String) {
        let config = self.0.join("annotate.toml");
        let settings = format!(
            "camera.rate = 5.0\n[engine]\nkind = \"{kind}\"\nthreads = 1\ntensorrt.precision = \"fp32\"\n"
        );
        std::fs::write(&config, settings).unwrap();
        let out = self.0.join(kind);
        let mut tvsl = Command::new(env!("CARGO_BIN_EXE_tvsl"));
        tvsl.args(["annotate", "demo/clip.webm", "--config"]).arg(config);
        tvsl.arg("--model").arg(self.0.join("model")).arg("--out").arg(&out);
        tvsl.env("LD_LIBRARY_PATH", &self.0).env("FAKE_TENSORRT_ONNXRUNTIME", onnxruntime());
        tvsl.envs(variables.iter().copied());
        let done = tvsl.env_remove("TVSL_TENSORRT").output().expect("the program starts");
        let err = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{err}");
        (std::fs::read_to_string(out.join("detections.jsonl")).expect("messages"), err)
    }
}

#[test]
fn frames_are_judged_on_the_gpu_as_on_the_cpu() {
    let machine = Machine::of(Path::new("engines/default"));
    for variables in GPUS {
        machine.run("judge_frames", variables);
    }
    machine.run("ask_for_all", &[]);
    // What cannot be recorded once, the picture's, its head's and a stage's, is recorded the next time.
    machine.run("judge_what_the_host_holds", &[("FAKE_CUDA_NO_GRAPHS", "3")]);
    for variables in [&[][..], &[("FAKE_CUDA_INTEGRATED", "1")]] {
        machine.run("count_waits", variables);
        machine.run("hold_pictures", variables);
        machine.run("hold_and_read", variables);
        machine.run("judge_what_the_host_holds", variables);
    }
    let (integrated, bare) = (("FAKE_CUDA_INTEGRATED", "1"), ("FAKE_CUDA_NO_KERNELS", "1"));
    for variables in [&[][..], &[integrated], &[bare], &[integrated, bare]] {
        for circumstances in [
            &[][..],
            &[("INTERVAL", "0.9"), ("FULL", "1")],
            &[("FAKE_CUDA_SCHEDULE", "1")],
            &[("FAKE_CUDA_SCHEDULE", "2"), ("INTERVAL", "0.9")],
        ] {
            machine.run("look_ahead", &[variables, circumstances].concat());
        }
    }
    let [(gpu, _), (cpu, _)] = ["tensorrt", "cpu"].map(|kind| machine.annotate(kind, &[]));
    assert!(gpu.lines().count() > 20 && gpu == cpu, "by the GPU:\n{gpu}\nby the CPU:\n{cpu}");
    let (plain, told) = machine.annotate("tensorrt", &[("FAKE_CUDA_NO_GRAPHS", "1000")]);
    assert!(plain == cpu && told.matches("runs without a CUDA graph").count() == 5, "{told}");
}

/// Whatever the GPU was at: the frame that was being judged is lost at most.
#[test]
fn a_gpu_that_fails_takes_one_frame_with_it() {
    let machine = Machine::of(Path::new("engines/default"));
    for calls in ["2000", "2004", "2008", "2012", "2016"] {
        let (messages, told) = machine.annotate("auto", &[("FAKE_CUDA_DEAD", calls)]);
        assert!(told.contains("the cpu engine goes on"), "after {calls} calls: {told}");
        let frames = told.split("frames=").nth(1).and_then(|rest| rest.split_whitespace().next());
        let frames: u32 = frames.and_then(|count| count.parse().ok()).expect(&told);
        assert!((159..=160).contains(&frames), "after {calls} calls {frames} frames: {told}");
        assert!(messages.lines().count() > 20, "{messages}");
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
    machine.run("judge_what_the_host_holds", &[]);
}

/// A model whose manifest says so takes the pictures of several cameras in one run.
#[test]
fn two_cameras_are_judged_in_one_run_as_on_the_cpu() {
    let several = tiny::Copy::of(Path::new("engines/default"));
    several.edit("[image]\n", "[image]\ncameras = 2\n");
    let machine = Machine::of(several.0.path());
    machine.run("judge_two_cameras", &[]);
    machine.run("judge_two_cameras", &[("FAKE_CUDA_INTEGRATED", "1")]);
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
            let hearing = model.heard(frame.captured).expect("it heard");
            let scores = model.detect(&vision, &hearing).expect("it detects");
            let maps = model.localize(&vision, &hearing, &[3, 0, 7]).expect("it localizes");
            let on_gpu = matches!(vision.cells, Value::Gpu(_));
            let cells = vision.cells.tensor().expect("V").into_owned();
            let judging = model.judge(vision, frame.captured, Duration::MAX).expect("it judges");
            assert_eq!(judging.leaves_time(), on_gpu);
            let judged = model.judged(judging).expect("it has judged");
            let drawn = model.maps(&judged, &[3, 0, 7]).expect("it has drawn");
            assert!((&judged.scores, &drawn) == (&scores, &maps), "both stages at once are as one by one");
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

#[test]
#[ignore = "runs in a process of its own"]
fn judge_two_cameras() {
    let mut numbers = fastrand::Rng::with_seed(3);
    let mut tensor = |shape: &[usize]| {
        let data = (0..shape.iter().product()).map(|_| numbers.f32() - 0.5).collect();
        Tensor::new(shape, data).expect("as many numbers as places")
    };
    let image = tensor(&[2, 3, 224, 384]);
    let [mut gpu, mut cpu] = [EngineKind::TensorRt, EngineKind::Cpu].map(|kind| {
        ["image", "image-head", "stage1", "stage2"]
            .map(|name| chosen(kind).load(&folder().join(format!("{name}.onnx"))).expect("a graph"))
    });
    let mut both = |place: usize, inputs: &[(&str, Input<'_>)]| {
        let [found, expected] =
            [&mut gpu, &mut cpu].map(|graphs| graphs[place].run(inputs).expect("it runs"));
        assert!(found == expected && found.iter().all(|output| output.shape[0] == 2), "{found:?}");
        found
    };
    let features = both(0, &[("image", (&image).into())]).remove(0);
    let cells = both(1, &[("features", (&features).into())]).remove(0);
    let (first, second) = cells.data.split_at(cells.data.len() / 2);
    assert!(first != second, "two pictures");
    let width = cells.shape[2];
    let (rows, words) = (tensor(&[2, 4, width]), tensor(&[5, width]));
    // At first piece by piece, at last recorded.
    for _ in 0..3 {
        for stage in [2, 3] {
            both(stage, &[("V", (&cells).into()), ("A", (&rows).into()), ("t", (&words).into())]);
        }
    }
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
            let hearing = model.heard(Instant::from_secs_f64(f64::from(seconds))).expect("it heard");
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
    let [waits, allocations] = [c"fake_cuda_blocking_waits", c"fake_cuda_allocations"];
    model.hear(&tone).expect("it hears");
    model.heard(tone.end()).expect("it heard");
    let mut settled = None;
    let hop = (model.manifest().audio.hop * f64::from(tone.rate)) as usize + 1;
    // A run of a waveform's graph is the whole window.
    let is_waveform = model.manifest().audio.front_end == FrontEnd::Waveform;
    let mut heard = tone.end();
    // Hops that are over before a frame: of a quick camera, and of one with fewer pictures than hops.
    for (seed, hops) in (0..).zip([1, 0, 0, 3, 0, 1, 5].repeat(3)) {
        let before = counted(waits);
        for _ in 0..hops {
            let block = Samples::new(heard, tone.rate, tone.mono[..hop].to_vec());
            heard = block.end();
            model.hear(&block).expect("it hears");
        }
        assert_eq!(counted(waits), before, "sound is not waited for: frame {seed}, {hops} hops");
        let copied = counted(c"fake_cuda_copies");
        let frame = Frame { captured: heard, ..frame(Size::new(640, 360), seed) };
        let vision = model.see(&frame).expect("it sees");
        assert_eq!(counted(waits), before, "a picture is not waited for");
        let judging = model.judge(vision, frame.captured, Duration::MAX).expect("it judges");
        assert_eq!(counted(waits), before, "neither new sound nor a stage is waited for");
        let runs = if is_waveform { hops.min(1) } else { hops };
        assert_eq!(counted(c"fake_cuda_copies") - copied, 2 * runs, "it goes to both stages");
        let judged = model.judged(judging).expect("it has judged");
        assert_eq!(counted(waits), before + 1, "the probabilities are, and the maps with them");
        let sounding = &[1, 2][..1 + seed as usize / 3 % 2];
        assert_eq!(model.maps(&judged, sounding).expect("maps").len(), sounding.len());
        model.take_gpu_times();
        assert_eq!(counted(waits), before + 1, "the time is known by then");
        // After each number of hops everything is allocated and recorded.
        if seed >= 14 {
            assert_eq!(*settled.get_or_insert(counted(allocations)), counted(allocations), "frame {seed}");
        }
    }
}

/// A frame is judged the same whether or not the next one is encoded meanwhile, in whatever order the GPU's streams run, with
/// several hops of sound between two frames as well, also where no more of the host's memory is to be had.
#[test]
#[ignore = "runs in a process of its own"]
fn look_ahead() {
    let config = Config::default();
    let analysis = |kind| Analysis::new(model(kind), &config).expect("an analysis");
    let interval = std::env::var("INTERVAL").map_or(0.1, |seconds| seconds.parse().expect("seconds"));
    let at = |n: u32| Instant::from_secs_f64(f64::from(n) * interval);
    let frames = || (0..24).map(|n| Frame { captured: at(n), ..frame(Size::new(640, 360), n) });
    let tone = tone(analysis(EngineKind::Cpu).model());
    let share = (f64::from(tone.rate) * interval) as usize;
    let hear = |analysis: &mut Analysis, n: usize| {
        let part = &tone.mono[n % (tone.mono.len() / share) * share..][..share];
        let block = Samples::new(at(n as u32), tone.rate, part.to_vec());
        analysis.push_sound(&block).expect("it hears");
    };
    let told = |analysed: Analysed| (analysed.captured, analysed.scores, analysed.tracks, analysed.maps);

    let mut cpu = analysis(EngineKind::Cpu);
    let expected: Vec<_> = frames()
        .enumerate()
        .map(|(n, mut frame)| {
            hear(&mut cpu, n);
            told(cpu.push_frame(&mut frame).expect("it judges"))
        })
        .collect();
    let mut gpu = analysis(EngineKind::TensorRt);
    let mut coming = frames().peekable();
    let mut n = 0;
    while let Some(mut frame) = coming.next() {
        hear(&mut gpu, n);
        let pending = gpu.begin(&mut frame).expect("it begins");
        assert!(pending.leaves_time());
        // Not always: a frame that nobody looked ahead to is judged as well.
        if let Some(next) = coming.peek_mut().filter(|_| n % 5 != 0) {
            gpu.look_ahead(next);
        }
        if n == 12 {
            gpu.configure(&config).expect("the same settings, given anew");
        }
        assert!(told(gpu.complete(pending).expect("it completes")) == expected[n], "frame {n}");
        if n == 0 && std::env::var_os("FULL").is_some() {
            // SAFETY: the fake driver declares it so.
            unsafe {
                let cuda = libloading::Library::new("libcuda.so").unwrap();
                cuda.get::<unsafe extern "C" fn()>(b"fake_cuda_fill_host").unwrap()();
            }
        }
        n += 1;
    }
    assert_eq!(n, expected.len());
}

/// What was recorded reads where it read then, so it does not serve a picture that lies elsewhere.
#[test]
#[ignore = "runs in a process of its own"]
fn judge_what_the_host_holds() {
    let [mut gpu, mut cpu] = [EngineKind::TensorRt, EngineKind::Cpu].map(model);
    let frames = [0, 1].map(|seed| frame(Size::new(640, 360), seed));
    let [seen, expected] = [&mut gpu, &mut cpu].map(|model| {
        let hearing = model.heard(Instant::ZERO).expect("it heard");
        let Vision { fit, cells } = model.see(&frames[0]).expect("it sees");
        let held = Vision { fit, cells: Value::Host(cells.tensor().expect("V").into_owned()) };
        let lies = model.see(&frames[1]).expect("it sees");
        let judged = [&lies, &lies, &lies, &held, &lies, &held, &held, &held, &lies];
        judged.map(|vision| {
            let scores = model.detect(vision, &hearing).expect("it detects");
            (scores, model.localize(vision, &hearing, &[1, 0]).expect("it localizes"))
        })
    });
    let refused = std::env::var("FAKE_CUDA_NO_GRAPHS").map_or(0, |times| times.parse().expect("a number"));
    // What the host reads lies elsewhere from then on, on a GPU that has a place of its own for it.
    let moved = i32::from(std::env::var_os("FAKE_CUDA_INTEGRATED").is_some());
    let manifest = Manifest::read(&folder()).expect("a manifest");
    let heads = i32::from(manifest.precision("fp32").is_some_and(|graphs| graphs.image_head.is_some()));
    assert_eq!(counted(c"fake_cuda_launches"), 9 + heads - refused - moved, "both stages are recorded");
    assert!(seen == expected && seen[2] != seen[3], "{seen:?}\n{expected:?}");
}

#[test]
#[ignore = "runs in a process of its own"]
fn hold_pictures() {
    let [mut gpu, mut cpu] = [EngineKind::TensorRt, EngineKind::Cpu].map(model);
    let frames: Vec<_> = (0..4).map(|seed| frame(Size::new(640, 360), seed)).collect();
    // Seen one after the other, judged afterwards: what is held does not change.
    let [seen, expected] = [&mut gpu, &mut cpu].map(|model| {
        let visions: Vec<_> = frames.iter().map(|frame| model.see(frame).expect("it sees")).collect();
        let hearing = model.heard(Instant::ZERO).expect("it heard");
        let judge = |vision| model.detect(vision, &hearing).expect("it detects");
        visions.iter().rev().map(judge).collect::<Vec<_>>()
    });
    assert!(seen == expected);
    assert!(seen.windows(2).all(|pair| pair[0] != pair[1]), "the pictures differ: {seen:?}");
}

/// What is held stays what it is, wherever the same graph's outputs are wanted afterwards.
#[test]
#[ignore = "runs in a process of its own"]
fn hold_and_read() {
    let mut numbers = fastrand::Rng::with_seed(5);
    let pictures: Vec<_> = (0..4)
        .map(|_| (0..3 * 224 * 384).map(|_| numbers.f32() - 0.5).collect())
        .map(|data| Tensor::new([1, 3, 224, 384], data).expect("as many numbers as places"))
        .collect();
    let [seen, expected] = [EngineKind::TensorRt, EngineKind::Cpu].map(|kind| {
        let mut image = chosen(kind).load(&folder().join("image.onnx")).expect("a graph");
        let wanted = [Wanted::OnGpu, Wanted::OnGpu, Wanted::OnHost, Wanted::OnGpu];
        let mut start = |(picture, wanted)| {
            let mut given = Vec::new();
            image.start(&[("image", Input::Tensor(picture))], wanted, &mut given).expect("it starts");
            given.remove(0)
        };
        let held: Vec<_> = pictures.iter().zip(wanted).map(&mut start).collect();
        held.iter().map(|value| value.tensor().expect("V").into_owned()).collect::<Vec<_>>()
    });
    assert!(seen == expected && seen[0] != seen[1]);
}
