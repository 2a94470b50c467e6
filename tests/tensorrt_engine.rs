//! TensorRT behind the engine traits, on a fake GPU: plans are checked before they are loaded, and
//! graphs run with the shapes they are given.
//!
//! The driver is found by the system loader, so each test runs in a process of its own whose
//! `LD_LIBRARY_PATH` leads to the fakes.
#![allow(unsafe_code, reason = "the fake library is steered through its functions")]

#[path = "fake_tensorrt/mod.rs"]
mod fake_tensorrt;
#[path = "fake_tensorrt/one_node.rs"]
mod one_node;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fake_tensorrt::{Failure, RELEASES, Release, compile, compile_cuda, sealed};
use tvsl::engine::tensorrt::{
    BuildOptions, Built, Precision, Range, Settings, Sources, TensorRt, TensorRtError, manifest_sum, plan,
};
use tvsl::engine::{Engine, GpuTime, Graph, Input, Tensor, Value, Wanted};

const SETTINGS: Settings = Settings { precision: Precision::Fp16, workspace_mib: 64, level: 3 };

/// Runs the ignored test `name` of this file with the fakes of `release`.
fn in_a_process(name: &str, release: Release, variables: &[(&str, &str)]) {
    let library = compile(release);
    let folder = library.parent().unwrap();
    compile_cuda(folder);
    fake_tensorrt::in_a_process(name, folder, variables);
    std::fs::remove_dir_all(folder).unwrap();
}

fn options() -> BuildOptions {
    let range = Range { input: "x".to_owned(), min: vec![1, 3], opt: vec![2, 3], max: vec![4, 3] };
    BuildOptions {
        precision: Precision::Fp16,
        workspace_mib: 64,
        level: 3,
        capability: None,
        ranges: vec![range],
    }
}

/// An ONNX file with external data, and its plan.
fn built(tensorrt: &TensorRt) -> PathBuf {
    let onnx = Path::new(&std::env::var_os("FOLDER").unwrap()).join("image.onnx");
    let graph = one_node::with_weight_in(&one_node::one_node("Relu"), "weights.bin");
    std::fs::write(&onnx, one_node::with_weight_in(&graph, "below/more.bin")).unwrap();
    std::fs::write(onnx.with_file_name("weights.bin"), "weights").unwrap();
    std::fs::create_dir_all(onnx.with_file_name("below")).unwrap();
    std::fs::write(onnx.with_file_name("below/more.bin"), "more").unwrap();
    // Its name stands in the ONNX file, for something else.
    std::fs::write(onnx.with_file_name("node_of_mine"), "no source").unwrap();
    let mut builder = tensorrt.library().builder().unwrap();
    let mut network = builder.network().unwrap();
    network.parse_onnx(&onnx).unwrap();
    let built = builder.build(&mut network, &options(), &[]).unwrap();
    store(tensorrt, &Sources::of([&onnx, &onnx], None).unwrap(), &built, &onnx).unwrap();
    onnx
}

fn store(tensorrt: &TensorRt, sources: &Sources, built: &Built, onnx: &Path) -> Result<(), TensorRtError> {
    let (plan, took) = (plan::path(onnx), Duration::from_secs(2));
    plan::store(&plan, sources, built, SETTINGS, &options(), tensorrt.target(), took).map(drop)
}

fn doubled(graph: &mut dyn Graph, batch: usize) {
    let x = Tensor { shape: vec![batch, 3], data: (0..batch * 3).map(|i| i as f32).collect() };
    let y = graph.run(&[("x", (&x).into())]).unwrap();
    assert_eq!(y[0].shape, [batch, 3]);
    assert_eq!(y[0].data, x.data.iter().map(|value| 2.0 * value).collect::<Vec<_>>());
}

#[test]
fn graphs_run_on_copied_and_on_shared_memory() {
    for release in RELEASES {
        in_a_process("run_graphs", release, &[]);
    }
    in_a_process("run_graphs", RELEASES[2], &[("FAKE_CUDA_INTEGRATED", "1")]);
}

#[test]
fn runs_of_one_shape_become_one_launch_where_the_driver_can() {
    in_a_process("launch_graphs", RELEASES[2], &[]);
    in_a_process("launch_graphs", RELEASES[2], &[("FAKE_CUDA_INTEGRATED", "1")]);
    in_a_process("launch_graphs", RELEASES[2], &[("FAKE_CUDA_NO_GRAPHS", "1000")]);
}

#[test]
#[ignore = "runs in a process of its own"]
fn launch_graphs() {
    let tensorrt = TensorRt::open(SETTINGS).unwrap();
    let mut graph = tensorrt.load(&built(&tensorrt)).unwrap();
    let launches = || fake_tensorrt::counted(c"fake_cuda_launches");
    let able = std::env::var_os("FAKE_CUDA_NO_GRAPHS").is_none();
    // The first run at a shape is enqueued piece by piece, the second is recorded.
    for (batch, expected) in [(2, 0), (2, 1), (2, 2), (3, 2), (3, 3), (2, 3), (2, 4)] {
        doubled(graph.as_mut(), batch);
        assert_eq!(launches(), if able { expected } else { 0 }, "batch {batch}");
    }
    // Whether the outputs go to the host is recorded as well.
    let mut graph = tensorrt.load(&built(&tensorrt)).unwrap();
    let [zeros, ones] = [0.0, 1.0].map(|x| Tensor { shape: vec![2, 3], data: vec![x; 6] });
    for _ in 0..3 {
        graph.start(&[("x", (&zeros).into())], Wanted::OnGpu, &mut Vec::new()).unwrap();
    }
    assert_eq!(graph.run(&[("x", (&ones).into())]).unwrap()[0].data, [2.0; 6]);
}

#[test]
#[ignore = "runs in a process of its own"]
fn run_graphs() {
    let tensorrt = TensorRt::open(SETTINGS).unwrap();
    let onnx = built(&tensorrt);
    let mut graph = tensorrt.load(&onnx).unwrap();
    assert_eq!((&graph.inputs()[0].name[..], &graph.inputs()[0].shape[..]), ("x", &[None, Some(3)][..]));
    assert_eq!(graph.take_gpu_time(), Some(GpuTime::default()), "warming up does not count");
    for batch in [2, 2, 1, 4] {
        doubled(graph.as_mut(), batch);
        assert!(graph.take_gpu_time().unwrap().whole > Duration::ZERO);
    }
    let wrong = |inputs: &[(&str, Input)], graph: &mut dyn Graph| graph.run(inputs).unwrap_err().to_string();
    let large = wrong(&[("x", (&Tensor::zeros([5, 3])).into())], graph.as_mut());
    assert!(large.contains("outside the profile") && large.contains("x [5, 3]"), "{large}");
    let short = Tensor { shape: vec![2, 3], data: vec![0.0; 5] };
    assert!(wrong(&[("x", (&short).into())], graph.as_mut()).contains("has 5 numbers for the shape [2, 3]"));
    assert!(wrong(&[("z", (&short).into())], graph.as_mut()).contains("tensor \"x\": was not given"));
    doubled(graph.as_mut(), 3);

    for (how, element) in [(Failure::Refuse, "Float16"), (Failure::Garbage, "Other(9999)")] {
        fake_tensorrt::fail(tensorrt.library().path(), "data type", how);
        let half = tensorrt.load(&onnx).map(drop).unwrap_err().to_string();
        let expected = format!("tensor \"x\": holds {element}; expected a plan with float32 at its ends");
        assert!(half.contains(&expected), "{half}");
    }
}

/// What the daemon does on threads of its own: each must take up the device for itself, to use it and to let it go.
#[test]
fn graphs_and_what_they_give_go_from_thread_to_thread() {
    for variables in [&[][..], &[("FAKE_CUDA_INTEGRATED", "1")], &[("FAKE_CUDA_NO_GRAPHS", "1000")]] {
        in_a_process("change_threads", RELEASES[2], variables);
    }
}

/// Does `work` on a thread that has not seen the device.
fn elsewhere<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(work).join().unwrap())
}

#[test]
#[ignore = "runs in a process of its own"]
fn change_threads() {
    let idle = elsewhere(|| TensorRt::open(SETTINGS).unwrap());
    elsewhere(move || drop(idle));
    let mut tensorrt = elsewhere(|| TensorRt::open(SETTINGS).unwrap());
    elsewhere(|| tensorrt.keep_warm(Duration::from_secs(60)));
    let onnx = elsewhere(|| built(&tensorrt));
    let mut graph = elsewhere(|| tensorrt.load(&onnx).unwrap());
    for batch in [2, 2, 2, 3, 1] {
        elsewhere(|| doubled(graph.as_mut(), batch));
    }
    elsewhere(|| assert!(graph.take_gpu_time().unwrap().whole > Duration::ZERO));
    elsewhere(|| graph.repeat(2).unwrap());

    let x = Tensor { shape: vec![1, 3], data: vec![1.0, 2.0, 3.0] };
    let mut start = |wanted| {
        let mut given = Vec::new();
        elsewhere(|| graph.start(&[("x", (&x).into())], wanted, &mut given).unwrap());
        given.remove(0)
    };
    let read = |value: &Value| elsewhere(|| value.tensor().unwrap().into_owned().data);
    let (kept, sent) = (start(Wanted::OnGpu), start(Wanted::OnHost));
    assert!(elsewhere(|| sent.is_coming()));
    assert_eq!([read(&kept), read(&sent)], [[2.0, 4.0, 6.0], [2.0, 4.0, 6.0]]);
    assert!(!elsewhere(|| sent.is_coming()), "it has come");
    let last = start(Wanted::OnGpu);
    // Everything goes, and what was lent last.
    elsewhere(move || drop(graph));
    elsewhere(move || drop(tensorrt));
    assert_eq!(read(&last), [2.0, 4.0, 6.0]);
    elsewhere(move || drop((kept, sent)));
    elsewhere(move || drop(last));
}

/// Whoever holds an output finds what it was, whatever was lent in place of what others let go.
#[test]
fn what_is_held_stays_while_the_rest_is_lent_again() {
    for variables in [&[][..], &[("FAKE_CUDA_INTEGRATED", "1")], &[("FAKE_CUDA_SCHEDULE", "1")]] {
        in_a_process("hold_outputs", RELEASES[2], variables);
    }
}

#[test]
#[ignore = "runs in a process of its own"]
fn hold_outputs() {
    let tensorrt = TensorRt::open(SETTINGS).unwrap();
    let mut graph = tensorrt.load(&built(&tensorrt)).unwrap();
    let mut chance = fastrand::Rng::with_seed(5);
    let (mut held, mut given) = (Vec::new(), Vec::new());
    let same = |(value, expected): (Value, Tensor)| assert_eq!(*value.tensor().unwrap(), expected);
    for run in 0..300 {
        let tensor = |x: f32, batch| Tensor { shape: vec![batch, 3], data: vec![x; 3 * batch] };
        let (x, batch) = (run as f32, chance.usize(1..=4));
        let wanted = if chance.bool() { Wanted::OnGpu } else { Wanted::OnHost };
        graph.start(&[("x", (&tensor(x, batch)).into())], wanted, &mut given).unwrap();
        held.push((given.remove(0), tensor(2.0 * x, batch)));
        // More than there is room for, now and then.
        for _ in 0..chance.usize(..if held.len() < 20 { 3 } else { 40 }).min(held.len()) {
            let one = held.swap_remove(chance.usize(..held.len()));
            if chance.bool() {
                same(one);
            }
        }
    }
    assert!(held.len() > 1);
    drop(graph);
    held.into_iter().for_each(same);
}

#[test]
fn a_gpu_is_kept_awake_until_it_is_let_go() {
    for integrated in [&[][..], &[("FAKE_CUDA_INTEGRATED", "1")]] {
        in_a_process("keep_awake", RELEASES[2], integrated);
    }
    // There is memory for the graph.
    in_a_process("keep_awake_without_memory", RELEASES[2], &[("FAKE_CUDA_FULL", "2")]);
}

#[test]
#[ignore = "runs in a process of its own"]
fn keep_awake() {
    let mut tensorrt = TensorRt::open(SETTINGS).unwrap();
    let worked = || fake_tensorrt::counted(c"fake_cuda_clearings");
    let onnx = built(&tensorrt);
    let sleeps = |from| {
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(worked(), from);
    };
    doubled(tensorrt.load(&onnx).unwrap().as_mut(), 2);
    sleeps(0);
    tensorrt.keep_warm(Duration::from_millis(1));
    sleeps(0); // there is no graph
    for _ in 0..2 {
        let graphs = [tensorrt.load(&onnx).unwrap(), tensorrt.load(&onnx).unwrap()];
        let (before, patience) = (worked(), Instant::now());
        while worked() < before + 3 {
            assert!(patience.elapsed() < Duration::from_secs(60), "it sleeps");
            std::thread::yield_now();
        }
        // Once let go it does nothing more; that nothing leaks is told by the driver at the end.
        drop(graphs);
        sleeps(worked());
    }
}

#[test]
#[ignore = "runs in a process of its own"]
fn keep_awake_without_memory() {
    let mut tensorrt = TensorRt::open(SETTINGS).unwrap();
    tensorrt.keep_warm(Duration::from_millis(1));
    doubled(tensorrt.load(&built(&tensorrt)).unwrap().as_mut(), 2);
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(fake_tensorrt::counted(c"fake_cuda_clearings"), 0);
}

#[test]
fn a_gpu_that_is_lost_is_an_error_of_the_run() {
    in_a_process("lose_the_gpu", RELEASES[2], &[("FAKE_CUDA_LOST", "2")]);
}

#[test]
#[ignore = "runs in a process of its own"]
fn lose_the_gpu() {
    let tensorrt = TensorRt::open(SETTINGS).unwrap();
    let mut graph = tensorrt.load(&built(&tensorrt)).unwrap();
    doubled(graph.as_mut(), 1);
    let message = graph.run(&[("x", (&Tensor::zeros([1, 3])).into())]).unwrap_err().to_string();
    assert!(message.contains("the GPU failed while waiting for the GPU"), "{message}");
}

#[test]
fn too_little_memory_is_an_error_of_loading() {
    in_a_process("run_out_of_memory", RELEASES[2], &[("FAKE_CUDA_FULL", "0")]);
}

#[test]
#[ignore = "runs in a process of its own"]
fn run_out_of_memory() {
    let tensorrt = TensorRt::open(SETTINGS).unwrap();
    let message = tensorrt.load(&built(&tensorrt)).map(drop).unwrap_err().to_string();
    assert!(
        message.contains(
            "the GPU's memory ran out while allocating memory; end other programs that use the GPU, or take a model \
             with smaller graphs"
        ),
        "{message}"
    );
}

#[test]
fn a_plan_is_loaded_only_if_everything_it_depends_on_still_holds() {
    in_a_process("check_plans", RELEASES[2], &[]);
}

#[test]
#[ignore = "runs in a process of its own"]
fn check_plans() {
    let tensorrt = TensorRt::open(SETTINGS).unwrap();
    let onnx = built(&tensorrt);
    let (file, sidecar) = (plan::path(&onnx), plan::sidecar_path(&plan::path(&onnx)));
    let path = tensorrt.library().path().to_owned();
    let deserialised =
        || fake_tensorrt::calls(&path).iter().filter(|call| call.starts_with("deserialize")).count();
    let refused = || {
        let before = deserialised();
        let message = tensorrt.load(&onnx).map(drop).unwrap_err().to_string();
        assert_eq!(deserialised(), before, "a plan is code, and this one was handed on: {message}");
        message
    };

    let described = plan::describe(&file).unwrap();
    assert_eq!(described.target.to_string(), "TensorRT 10.3.0.26 for Orin, SM 8.7, CUDA 12.6");
    assert_eq!(described.options, options());
    assert_eq!(described.sources.keys().collect::<Vec<_>>(), ["below/more.bin", "image.onnx", "weights.bin"]);
    assert_eq!(std::fs::read(plan::timing_cache_path(&file)).unwrap(), b"TIMES 1");

    let text = std::fs::read_to_string(&sidecar).unwrap();
    let with = |from: &str, to: &str| std::fs::write(&sidecar, sealed(&text.replace(from, to))).unwrap();
    with("10.3.0.26", "10.7.0.23");
    assert!(
        refused().contains(
            "built by TensorRT 10.7.0.23 for Orin, SM 8.7, CUDA 12.6; this device has TensorRT 10.3.0.26"
        ),
        "{}",
        refused()
    );
    with("\"8.7\"", "\"7.2\"");
    assert!(refused().contains("SM 7.2"));
    with("\"12.6\"", "\"11.4\"");
    assert!(refused().contains("CUDA 11.4"));
    with("\"release\": \"", "\"release\": \"535.1");
    assert!(refused().contains("CUDA 12.6, driver 535.1"), "{}", refused());
    // Also what plans are built for: one of an older recipe would fail frame by frame.
    let now = plan::SCHEMA;
    with(&format!("\"schema\": {now}"), "\"schema\": 3");
    assert!(refused().contains(&format!("has schema 3, expected {now}")));
    std::fs::write(&sidecar, "{\"schema\": 6, \"seconds\": 2.5}").unwrap();
    assert!(refused().contains(&format!("has schema 6, expected {now}")));
    with("{", "");
    assert!(refused().contains("is no sidecar of a plan"));
    // Every option is compared, and the one that differs is named; such a plan may serve meanwhile.
    for (from, to, told) in [
        ("\"level\": 3", "\"level\": 5", "built with level 5; [engine.tensorrt] asks for level 3."),
        ("_mib\": 64", "_mib\": 32", "built with workspace 32; [engine.tensorrt] asks for workspace 64."),
        ("\"fp16\"", "\"fp32\"", "built with precision fp32; [engine.tensorrt] asks for precision fp16."),
    ] {
        with(from, to);
        assert!(refused().contains(told), "{}", refused());
        tensorrt.last_good(&onnx).map(drop).unwrap();
    }
    // How it was built must follow from that.
    let (start, options) = text.split_at(text.find("\"options\"").unwrap());
    for (from, to) in [
        ("\"level\": 3", "\"level\": 5"),
        ("_mib\": 64", "_mib\": 65"),
        ("\"capability\": null", "\"capability\": 87"),
    ] {
        let altered = options.replace(from, to);
        assert_ne!(altered, options);
        std::fs::write(&sidecar, sealed(&(start.to_owned() + &altered))).unwrap();
        assert!(refused().contains("contradict its settings, which are fp16, 64 MiB"), "{}", refused());
    }
    std::fs::write(&sidecar, &text).unwrap();

    std::fs::write(onnx.with_file_name("weights.bin"), "other weights").unwrap();
    assert!(refused().contains("built from another weights.bin"));
    std::fs::write(onnx.with_file_name("weights.bin"), "weights").unwrap();
    std::fs::write(onnx.with_file_name("below/more.bin"), "less").unwrap();
    assert!(refused().contains("built from another below/more.bin"));
    std::fs::write(onnx.with_file_name("below/more.bin"), "more").unwrap();
    std::fs::write(onnx.with_file_name("manifest.toml"), "cells_max = 4").unwrap();
    assert!(refused().contains("built from another manifest.toml"));
    std::fs::remove_file(onnx.with_file_name("manifest.toml")).unwrap();
    let before = deserialised();
    tensorrt.load(&onnx).map(drop).unwrap();
    assert_eq!(deserialised(), before + 1);

    for damaged in [&b"FAKEPLAN y=3x"[..], b"FAKEPLAN", b""] {
        std::fs::write(&file, damaged).unwrap();
        assert!(refused().contains("was not loaded"), "{}", refused());
    }
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert!(refused().contains("the plan cannot be read"), "{}", refused());
    std::fs::remove_dir(&file).unwrap();
    assert!(refused().contains("there is no plan yet; build it with `tvsl engine build`"));
}

/// Whoever alters a sidecar by hand has a plan built again, not one loaded that computes, or takes, something else.
#[test]
fn no_fact_of_a_sidecar_can_be_altered_and_the_plan_be_loaded() {
    in_a_process("alter_sidecars", RELEASES[2], &[]);
}

#[test]
#[ignore = "runs in a process of its own"]
fn alter_sidecars() {
    let tensorrt = TensorRt::open(SETTINGS).unwrap();
    let onnx = built(&tensorrt);
    let sidecar = plan::sidecar_path(&plan::path(&onnx));
    let before = fake_tensorrt::calls(tensorrt.library().path()).len();
    let text = std::fs::read_to_string(&sidecar).unwrap();
    let refused = |facts: &serde_json::Value, told: &str| {
        std::fs::write(&sidecar, facts.to_string()).unwrap();
        let fresh = tensorrt.load(&onnx).map(drop).expect_err(told).to_string();
        let meanwhile = tensorrt.last_good(&onnx).map(drop).expect_err(told).to_string();
        assert!(fresh.contains(told) && meanwhile.contains(told), "{fresh}, {meanwhile}");
    };
    let facts: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (place, other) in [
        ("/options/precision", "\"fp32\""),
        ("/options/workspace_mib", "1"),
        ("/options/ranges", "[]"),
        ("/options/ranges/0/opt/0", "1"),
        ("/options/ranges/0/max/0", "8"),
        ("/compiled", "\"weights.bin\""),
        ("/sources/weights.bin", "\"\""),
        ("/settings/precision", "\"fp32\""),
        ("/target/gpu/release", "\"1\""),
        ("/built", "1"),
        ("/milliseconds", "1"),
        ("/seal", "\"\""),
    ] {
        let mut altered = facts.clone();
        let fact = altered.pointer_mut(place).unwrap_or_else(|| panic!("no {place} in {text}"));
        *fact = serde_json::from_str(other).unwrap();
        assert_ne!(altered, facts);
        refused(&altered, "was altered after the build that wrote it");
    }
    let calls = fake_tensorrt::calls(tensorrt.library().path());
    assert!(!calls[before..].iter().any(|call| call.starts_with("deserialize")), "{calls:?}");
}

#[test]
fn a_plan_takes_the_shapes_that_its_sidecar_says_and_no_others() {
    in_a_process("compare_shapes", RELEASES[2], &[]);
}

#[test]
#[ignore = "runs in a process of its own"]
fn compare_shapes() {
    let tensorrt = TensorRt::open(SETTINGS).unwrap();
    let onnx = built(&tensorrt);
    let sidecar = plan::sidecar_path(&plan::path(&onnx));
    let good = plan::describe(&plan::path(&onnx)).unwrap();
    let range = &good.options.ranges[0];
    let large = Range { max: vec![8, 3], ..range.clone() };
    let other = Range { input: "z".to_owned(), ..range.clone() };
    for (ranges, told) in [
        (vec![large], "says that `x` may be [1, 3] to [8, 3], but the plan takes [1, 3] to [4, 3]"),
        (vec![], "does not say what shapes `x` may have, which the plan leaves open"),
        (vec![range.clone(), other], "says what shapes `z` may have, but the plan has no such input"),
    ] {
        let options = BuildOptions { ranges, ..options() };
        let wrong = plan::Sidecar { options, ..good.clone() }.sealed();
        std::fs::write(&sidecar, serde_json::to_vec(&wrong).unwrap()).unwrap();
        let message = tensorrt.load(&onnx).map(drop).unwrap_err().to_string();
        assert!(message.contains(told), "{message}");
        let message = tensorrt.last_good(&onnx).map(drop).unwrap_err().to_string();
        assert!(message.contains(told), "{message}");
    }
    std::fs::write(&sidecar, serde_json::to_vec(&good).unwrap()).unwrap();
    tensorrt.load(&onnx).map(drop).unwrap();
}

#[test]
fn whatever_interrupts_the_replacing_of_a_plan_one_of_the_two_is_good() {
    in_a_process("replace_plans", RELEASES[2], &[]);
}

#[test]
#[ignore = "runs in a process of its own"]
fn replace_plans() {
    let tensorrt = TensorRt::open(SETTINGS).unwrap();
    let onnx = built(&tensorrt);
    let (file, sidecar) = (plan::path(&onnx), plan::sidecar_path(&plan::path(&onnx)));
    let (good, described) = (std::fs::read(&file).unwrap(), std::fs::read(&sidecar).unwrap());
    let fresh = file.with_extension("plan.fresh");
    assert!(!fresh.exists());
    let loads = || tensorrt.load(&onnx).map(drop);
    // It ended before the sidecar was there: the plan before is meant.
    std::fs::write(&fresh, "a new plan, or a part of one").unwrap();
    loads().unwrap();
    // After that: the new one is.
    std::fs::rename(&file, &fresh).unwrap();
    loads().unwrap();
    std::fs::write(&file, "the plan before").unwrap();
    loads().unwrap();

    let mut builder = tensorrt.library().builder().unwrap();
    let mut network = builder.network().unwrap();
    network.parse_onnx(&onnx).unwrap();
    let again = builder.build(&mut network, &options(), &[]).unwrap();
    let sources = || Sources::of([&onnx, &onnx], None).unwrap();
    store(&tensorrt, &sources(), &again, &onnx).unwrap();
    assert!(!fresh.exists() && std::fs::read(&file).unwrap() == good, "the next one tidies up");
    // The sidecar cannot be written: a folder is in the way of its first form.
    std::fs::write(&sidecar, &described).unwrap();
    std::fs::create_dir(file.with_extension("plan.new")).unwrap();
    let node = || std::fs::metadata(&file).unwrap().ino();
    let before = node();
    store(&tensorrt, &sources(), &again, &onnx).unwrap_err();
    assert_eq!(node(), before, "the plan that it describes is there still");
    loads().unwrap();

    // The same on top of one that was interrupted: the new plan is the only good one.
    std::fs::rename(&file, &fresh).unwrap();
    std::fs::write(&file, "the plan before").unwrap();
    store(&tensorrt, &sources(), &again, &onnx).unwrap_err();
    assert_eq!(std::fs::read(&file).unwrap(), good);
    loads().unwrap();

    // What a plan was built from must not have changed while it was.
    let before = sources();
    std::fs::write(onnx.with_file_name("weights.bin"), "other weights").unwrap();
    let message = store(&tensorrt, &before, &again, &onnx).unwrap_err().to_string();
    assert!(message.contains("weights.bin: was changed while a plan was built from it"), "{message}");
    assert_eq!(std::fs::read(&sidecar).unwrap(), described, "nothing is written");
    std::fs::write(onnx.with_file_name("manifest.toml"), "cells_max = 4").unwrap();
    let before = manifest_sum(onnx.parent().unwrap()).unwrap();
    Sources::of([&onnx, &onnx], Some(&before)).unwrap();
    std::fs::write(onnx.with_file_name("manifest.toml"), "cells_max = 8").unwrap();
    let message = Sources::of([&onnx, &onnx], Some(&before)).unwrap_err().to_string();
    assert!(message.contains("manifest.toml: was changed"), "{message}");
}

#[test]
fn without_a_driver_the_machine_is_said_to_have_no_gpu() {
    if Path::new("/dev/nvidiactl").exists() || Path::new("/dev/nvhost-gpu").exists() {
        println!("skipped: this machine has a GPU");
        return;
    }
    let message = TensorRt::open(SETTINGS).map(drop).unwrap_err().to_string();
    assert!(message.starts_with("no NVIDIA GPU can be used here: libcuda.so"), "{message}");
}
