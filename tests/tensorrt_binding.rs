//! The TensorRT binding against a fake library with the virtual tables of every family.
#![allow(unsafe_code, reason = "contexts take device addresses")]

#[path = "fake_tensorrt/mod.rs"]
mod fake_tensorrt;
#[path = "fake_tensorrt/one_node.rs"]
mod one_node;

use std::path::PathBuf;

use fake_tensorrt::{Failure, Fake, RELEASES, Release, compile};
use one_node::one_node;
use tvsl::engine::tensorrt::{
    BuildOptions, Built, CudaEngine, Direction, Element, Library, Plan, Precision, Range, TensorRtError,
};

fn options(precision: Precision) -> BuildOptions {
    let range = Range { input: "x".to_owned(), min: vec![1, 3], opt: vec![2, 3], max: vec![4, 3] };
    BuildOptions { precision, workspace_mib: 64, level: 4, capability: Some(87), ranges: vec![range] }
}

fn onnx(fake: &Fake, content: impl AsRef<[u8]>) -> PathBuf {
    let file = fake.path.with_file_name("network.onnx");
    std::fs::write(&file, content).unwrap();
    file
}

fn build(fake: &Fake, precision: Precision) -> Result<Built, TensorRtError> {
    let mut builder = fake.library.builder()?;
    let mut network = builder.network()?;
    network.parse_onnx(&onnx(fake, "an ONNX file"))?;
    builder.build(&mut network, &options(precision), &[])
}

fn engine(fake: &Fake) -> Result<CudaEngine, TensorRtError> {
    let plan: Plan = build(fake, Precision::Fp32)?.plan;
    fake.library.runtime()?.deserialize(&plan)
}

fn position(calls: &[String], call: &str) -> usize {
    calls.iter().position(|line| line == call).unwrap_or_else(|| panic!("no {call} in {calls:?}"))
}

#[test]
fn every_family_builds_loads_and_runs() {
    for release in RELEASES {
        let fake = Fake::new(release);
        let mut engine = engine(&fake).unwrap();
        let mut context = engine.context().unwrap();
        let (x, mut y) = ([1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0], [0.0_f32; 6]);
        context.set_input_shape(c"x", &[2, 3]).unwrap();
        context.infer_shapes().unwrap();
        assert_eq!(context.shape(c"y").unwrap(), [2, 3]);
        // SAFETY: the fake runs on the CPU, in `enqueue` itself; both arrays outlive that.
        unsafe {
            context.set_address(c"x", x.as_ptr() as u64).unwrap();
            context.set_address(c"y", y.as_mut_ptr() as u64).unwrap();
            context.enqueue(std::ptr::null_mut()).unwrap();
        }
        assert_eq!(y, [2.0, 4.0, 6.0, 8.0, 10.0, 12.0], "{release:?}");
    }
}

#[test]
fn the_version_has_four_parts_where_the_library_tells_them() {
    let names = ["TensorRT 8.5.2", "TensorRT 8.6.1", "TensorRT 10.3.0.26", "TensorRT 11.1.0.106"];
    for (release, name) in RELEASES.into_iter().zip(names) {
        assert_eq!(Fake::new(release).library.version().to_string(), name);
    }
    assert_eq!(Fake::new(RELEASES[4]).library.version().to_string(), "TensorRT for RTX 1.7.1.12");
}

/// A configuration that is read again opens it again; TensorRT keeps the first logger, and warns of every other.
#[test]
fn a_library_that_is_opened_again_gets_the_logger_that_it_has() {
    for release in RELEASES {
        let fake = Fake::new(release);
        let first = fake.library.builder().unwrap();
        let again = Library::open(&fake.path).unwrap();
        fake.fail("builder", Failure::Refuse);
        let refused = again.builder().map(drop).unwrap_err().to_string();
        assert!(refused.ends_with("failed (TensorRT logged no reason)"), "{release:?}: {refused}");
        drop(first);
    }
}

#[test]
fn other_versions_are_refused_by_name_before_any_call() {
    for (column, version) in
        [(8, [8, 4, 1, 5]), (8, [7, 1, 3, 0]), (10, [10, 17, 0, 1]), (11, [12, 0, 0, 1]), (11, [1, 4, 0, 1])]
    {
        let path = compile(Release { column, version });
        let message = Library::open(&path).unwrap_err().to_string();
        let [major, minor, ..] = version;
        assert!(message.contains(&format!("{major}.{minor}.")), "{message}");
        assert!(message.contains("is not supported; this build knows TensorRT 8.5–8.6"), "{message}");
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}

#[test]
fn a_library_that_is_missing_or_something_else_is_named() {
    let missing = Library::open("/nowhere/libnvinfer.so.10".as_ref()).unwrap_err();
    assert!(missing.to_string().starts_with("/nowhere/libnvinfer.so.10 does not load"), "{missing}");
    let other = Library::open("libc.so.6".as_ref()).unwrap_err();
    assert!(other.to_string().contains("libc.so.6 has no function getInferLibVersion"), "{other}");
}

#[test]
fn precision_sets_the_flags_of_the_family() {
    // (FP16 flag, TF32 flag to clear, network flags, sets a builder level, sets a compute capability)
    let expected = [
        (Some(0), 7, 1, false, false),
        (Some(0), 7, 1, true, false),
        (Some(0), 6, 1, true, false),
        (None, 6, 0, true, false),
        (None, 6, 0, true, true),
    ];
    for (release, (half, tf32, network, level, capability)) in RELEASES.into_iter().zip(expected) {
        let fake = Fake::new(release);
        build(&fake, Precision::Fp16).unwrap();
        let calls = fake.calls();
        let has = |call: &str| calls.iter().any(|line| line == call);
        assert_eq!(has("set flag 0"), half.is_some(), "{release:?} {calls:?}");
        assert!(!calls.iter().any(|line| line.starts_with("clear flag")), "{release:?} {calls:?}");
        assert!(has(&format!("network flags {network}")), "{release:?} {calls:?}");
        assert_eq!(has("level 4"), level, "{release:?}");
        assert_eq!(has("capability 87"), capability, "{release:?}");
        assert!(has("pool 0: 67108864") && has("verbosity 2"), "{release:?} {calls:?}");

        build(&fake, Precision::Fp32).unwrap();
        assert!(fake.calls().contains(&format!("clear flag {tf32}")), "{release:?}");
    }
}

#[test]
fn sums_and_what_they_sum_stay_in_single_precision() {
    for release in RELEASES {
        let fake = Fake::new(release);
        build(&fake, Precision::Fp32).unwrap();
        assert!(!fake.calls().iter().any(|line| line.starts_with("layer")), "{release:?}");
        build(&fake, Precision::Fp16).unwrap();
        let calls = fake.calls();
        let pinned: Vec<_> =
            calls.iter().filter(|line| line.starts_with("layer")).map(String::as_str).collect();
        let obey = match release.column {
            8 => "set flag 10",
            10 => "set flag 9",
            _ => {
                assert!(pinned.is_empty(), "{release:?}: the ONNX types decide");
                continue;
            }
        };
        assert!(calls.iter().any(|line| line == obey), "{release:?} {calls:?}");
        // What is summed, the sum, the norm but neither of the kinds beside it, the softmax and the root.
        let norm = (release.version[..2] != [8, 5]).then_some(5);
        let expected = [1, 2].into_iter().chain(norm).chain([7, 9]);
        let expected =
            expected.flat_map(|n| [format!("layer {n} computes in 0"), format!("layer {n} gives 0")]);
        assert_eq!(pinned, expected.collect::<Vec<_>>(), "{release:?}");
    }
}

#[test]
fn every_failure_of_describing_a_network_is_an_error_with_the_reason_and_leaks_nothing() {
    let half = |fake: &Fake| build(fake, Precision::Fp16).map(drop);
    for release in RELEASES {
        let fake = Fake::new(release);
        const END: &str = "INetworkDefinition::getInput or getOutput";
        let ends = [("input", END), ("output", END), ("name", "ITensor::getName")];
        for (method, call) in ends.into_iter().chain([("dimensions", "ITensor::getDimensions")]) {
            refused(&fake, method, call, |fake| {
                let mut network = fake.library.builder()?.network()?;
                network.parse_onnx(&onnx(fake, "an ONNX file"))?;
                network.tensors().map(drop)
            });
        }
        if release.column < 11 {
            refused(&fake, "layer", "INetworkDefinition::getLayer", half);
            refused(&fake, "layer output", "ILayer::getOutput", half);
            // One that is optional may be absent, but not made up.
            fake.fail("layer input", Failure::Refuse);
            half(&fake).unwrap();
            fake.fail("layer input", Failure::Garbage);
            let message = half(&fake).unwrap_err().to_string();
            assert!(message.starts_with("ILayer::getInput") && message.contains("0x228"), "{message}");
            assert_eq!(fake.alive(), 0, "{:?}", fake.calls());
        }
    }
}

#[test]
fn ends_of_another_type_are_told_as_such() {
    for release in RELEASES {
        let fake = Fake::new(release);
        for (how, element) in [(Failure::Refuse, Element::Float16), (Failure::Garbage, Element::Other(9999))]
        {
            fake.fail("data type", how);
            let tensors = engine(&fake).unwrap().tensors().unwrap();
            assert!(tensors.iter().all(|tensor| tensor.element == element), "{release:?}: {tensors:?}");
        }
    }
}

/// What a subscriber writes of one message of this severity.
fn told(fake: &Fake, severity: i32) -> String {
    let log = fake.path.with_file_name("log");
    let format = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).without_time();
    let subscriber = format.with_ansi(false).with_writer(std::fs::File::create(&log).unwrap()).finish();
    tracing::subscriber::with_default(subscriber, || fake.say(severity, "a message"));
    std::fs::read_to_string(log).unwrap().trim().to_owned()
}

#[test]
fn what_tensorrt_logs_is_told_as_its_own_and_as_grave_as_it_is() {
    // Another test that is the first to log at a place would have it known as of no interest, if nobody listened to that test.
    let everywhere =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(std::io::sink);
    tracing::subscriber::set_global_default(everywhere.finish()).expect("nobody else sets one");
    for release in RELEASES {
        let fake = Fake::new(release);
        let _runtime = fake.library.runtime().unwrap();
        let levels = ["ERROR", "ERROR", "WARN", "DEBUG", "TRACE", "TRACE"];
        for (severity, level) in (0..).zip(levels) {
            assert_eq!(told(&fake, severity), format!("{level} tensorrt: a message"), "{release:?}");
        }
    }
}

#[test]
fn networks_and_plans_describe_their_tensors() {
    for release in RELEASES {
        let fake = Fake::new(release);
        let mut builder = fake.library.builder().unwrap();
        let mut network = builder.network().unwrap();
        network.parse_onnx(&onnx(&fake, "an ONNX file")).unwrap();
        let engine = engine(&fake).unwrap();
        let tensors = engine.tensors().unwrap();
        assert_eq!(tensors, network.tensors().unwrap());
        assert_eq!(network.layers(), 10);
        assert_eq!((tensors[0].label(), tensors[0].direction), ("x".to_owned(), Direction::Input));
        assert_eq!((tensors[1].label(), tensors[1].direction), ("y".to_owned(), Direction::Output));
        assert_eq!((tensors[0].element, &tensors[0].shape[..]), (Element::Float32, &[-1, 3][..]));
        assert_eq!(engine.profiles(), 1);
        assert_eq!(engine.range(c"x", 0).unwrap(), options(Precision::Fp32).ranges[0]);
        assert!(engine.range(c"x", 1).is_err());
        assert!(engine.information().unwrap().contains("FP16"));
    }
}

#[test]
fn makers_outlive_what_they_made_in_any_order_of_dropping() {
    for release in RELEASES {
        let fake = Fake::new(release);
        let plan = build(&fake, Precision::Fp32).unwrap().plan;
        let mut runtime = fake.library.runtime().unwrap();
        let mut engine = runtime.deserialize(&plan).unwrap();
        let context = engine.context().unwrap();
        drop(runtime);
        drop(engine);
        assert!(!fake.calls().contains(&"~CudaEngine".to_owned()), "the context still needs its engine");
        drop(context);
        let calls = fake.calls();
        let order = ["~ExecutionContext", "~CudaEngine", "~Runtime"].map(|call| position(&calls, call));
        assert!(order.is_sorted(), "{calls:?}");
        let order = ["build", "~BuilderConfig", "~TimingCache", "~Parser", "~NetworkDefinition", "~Builder"]
            .map(|call| position(&calls, call));
        assert!(order.is_sorted(), "{calls:?}");
        assert_eq!(fake.alive(), 0, "{release:?}: {calls:?}");
    }
}

#[test]
fn every_failure_of_a_build_is_an_error_with_the_reason_and_leaks_nothing() {
    let methods = [
        ("builder", "createInferBuilder"),
        ("network", "IBuilder::createNetworkV2"),
        ("parser", "createNvOnnxParser"),
        ("config", "IBuilder::createBuilderConfig"),
        ("new profile", "IBuilder::createOptimizationProfile"),
        ("set dimensions", "IOptimizationProfile::setDimensions"),
        ("add profile", "IBuilderConfig::addOptimizationProfile"),
        ("timing cache", "IBuilderConfig::createTimingCache"),
        ("set timing cache", "IBuilderConfig::setTimingCache"),
        ("build", "IBuilder::buildSerializedNetwork"),
        ("data", "IHostMemory::data"),
        ("size", "IHostMemory::size"),
        ("serialize cache", "ITimingCache::serialize"),
    ];
    for release in RELEASES {
        let fake = Fake::new(release);
        for (method, call) in methods {
            refused(&fake, method, call, |fake| build(fake, Precision::Fp16).map(drop));
        }
    }
    for (method, call) in [
        ("capability count", "IBuilderConfig::setNbComputeCapabilities"),
        ("capability", "IBuilderConfig::setComputeCapability"),
    ] {
        refused(&Fake::new(RELEASES[4]), method, call, |fake| build(fake, Precision::Fp16).map(drop));
    }
}

#[test]
fn every_failure_of_a_run_is_an_error_with_the_reason_and_leaks_nothing() {
    let methods = [
        ("runtime", "createInferRuntime"),
        ("deserialize", "IRuntime::deserializeCudaEngine"),
        ("tensor name", "ICudaEngine::getIOTensorName"),
        ("io mode", "ICudaEngine::getTensorIOMode"),
        ("engine shape", "ICudaEngine::getTensorShape"),
        ("profile shape", "ICudaEngine::getProfileShape"),
        ("inspector", "ICudaEngine::createEngineInspector"),
        ("information", "IEngineInspector::getEngineInformation"),
        ("context", "ICudaEngine::createExecutionContext"),
        ("input shape", "IExecutionContext::setInputShape"),
        ("infer", "IExecutionContext::inferShapes"),
        ("context shape", "IExecutionContext::getTensorShape"),
        ("address", "IExecutionContext::setTensorAddress"),
        ("enqueue", "IExecutionContext::enqueueV3"),
    ];
    for release in RELEASES {
        let fake = Fake::new(release);
        for (method, call) in methods {
            refused(&fake, method, call, run_everything);
        }
    }
}

fn run_everything(fake: &Fake) -> Result<(), TensorRtError> {
    let mut engine = engine(fake)?;
    engine.tensors()?;
    engine.range(c"x", 0)?;
    engine.information()?;
    let mut context = engine.context()?;
    context.set_input_shape(c"x", &[1, 3])?;
    context.infer_shapes()?;
    context.shape(c"y")?;
    let (x, mut y) = ([1.0_f32; 3], [0.0_f32; 3]);
    // SAFETY: the fake runs on the CPU, in `enqueue` itself; both arrays outlive that.
    unsafe {
        context.set_address(c"x", x.as_ptr() as u64)?;
        context.set_address(c"y", y.as_mut_ptr() as u64)?;
        context.enqueue(std::ptr::null_mut())
    }
}

/// Methods that return a handle, behind which an implementation must stand.
const HANDLES: [&str; 14] = [
    "builder",
    "network",
    "config",
    "new profile",
    "timing cache",
    "build",
    "serialize cache",
    "runtime",
    "deserialize",
    "inspector",
    "context",
    "layer",
    "input",
    "output",
];

/// Lets `method` fail in every way and expects an error that names `call`.
fn refused(fake: &Fake, method: &str, call: &str, attempt: impl Fn(&Fake) -> Result<(), TensorRtError>) {
    use Failure::{Complain, ComplainElsewhere, Garbage, Hollow, Refuse, Rotten};
    let of_handles: &[Failure] =
        if HANDLES.contains(&method) { &[ComplainElsewhere, Hollow, Rotten] } else { &[] };
    for how in [Refuse, Garbage, Complain].iter().chain(of_handles) {
        fake.fail(method, *how);
        let error = attempt(fake).expect_err(method);
        let message = error.to_string();
        assert!(message.starts_with(call), "{method} {how:?}: {message}");
        match (&error, how) {
            (_, Complain | ComplainElsewhere) => {
                assert!(message.contains("TensorRT said: a first warning; the injected reason"), "{message}");
            }
            (TensorRtError::BadPointer { address, .. }, Garbage | Rotten) => assert_eq!(*address, 0x228),
            (_, Rotten) => panic!("{method}: {message}"),
            _ => assert!(message.ends_with("(TensorRT logged no reason)"), "{method} {how:?}: {message}"),
        }
        assert_eq!(fake.alive(), 0, "{method} {how:?}: {:?}", fake.calls());
    }
}

/// Nothing can be at the lowest addresses, whatever the type of what should be there.
#[test]
fn what_is_returned_from_an_impossible_address_is_not_read() {
    for release in RELEASES {
        let fake = Fake::new(release);
        for (method, call) in [
            ("tensor name", "ICudaEngine::getIOTensorName"),
            ("information", "IEngineInspector::getEngineInformation"),
            ("data", "IHostMemory::data"),
        ] {
            fake.fail(method, Failure::Garbage);
            let message = run_everything(&fake).unwrap_err().to_string();
            assert!(
                message.starts_with(&format!("{call} returned the impossible address 0x228")),
                "{message}"
            );
        }
        fake.fail("missing", Failure::Garbage);
        let message = engine(&fake).unwrap().context().unwrap().infer_shapes().unwrap_err().to_string();
        assert!(message.starts_with("IExecutionContext::inferShapes returned the impossible"), "{message}");
        assert_eq!(fake.alive(), 0, "{:?}", fake.calls());
    }
}

/// They may be at work for a plan that is loaded beside the run.
#[test]
fn a_run_that_fails_is_not_told_by_what_tensorrts_own_threads_say() {
    let fake = Fake::new(RELEASES[2]);
    for method in ["input shape", "infer", "context shape", "address", "enqueue"] {
        fake.fail(method, Failure::ComplainElsewhere);
        let message = run_everything(&fake).unwrap_err().to_string();
        assert!(message.ends_with("failed (TensorRT logged no reason)"), "{method}: {message}");
    }
}

#[test]
fn a_parser_that_is_missing_is_named() {
    for release in RELEASES {
        let fake = Fake::new(release);
        let parser = fake_tensorrt::parser(&fake.path);
        std::fs::remove_file(&parser).unwrap();
        let message = build(&fake, Precision::Fp32).map(drop).unwrap_err().to_string();
        assert!(message.starts_with(&format!("{} does not load: ", parser.display())), "{message}");
        assert_eq!(fake.alive(), 0, "{:?}", fake.calls());
    }
}

#[test]
fn a_parser_that_gives_no_error_or_none_that_can_be_read_gave_no_reason() {
    for release in RELEASES {
        let fake = Fake::new(release);
        for (method, how) in ["error", "description"]
            .into_iter()
            .flat_map(|method| [Failure::Refuse, Failure::Garbage].map(|how| (method, how)))
        {
            fake.fail(method, how);
            let mut network = fake.library.builder().unwrap().network().unwrap();
            let message = network.parse_onnx(&onnx(&fake, "! broken")).unwrap_err().to_string();
            assert!(message.contains("parser refused it: it gave no reason"), "{method} {how:?}: {message}");
        }
    }
}

#[test]
fn without_a_gpu_the_runtime_is_not_touched() {
    let fake = Fake::new(RELEASES[2]);
    fake.fail("no gpu", Failure::Refuse);
    let message = fake.library.runtime().map(drop).unwrap_err().to_string();
    assert!(message.contains("CUDA initialization failure with error: 35"), "{message}");
}

#[test]
fn an_onnx_file_that_is_refused_names_operator_and_node() {
    for release in RELEASES {
        let fake = Fake::new(release);
        let mut network = fake.library.builder().unwrap().network().unwrap();
        let message = network.parse_onnx(&onnx(&fake, "! broken")).unwrap_err().to_string();
        assert!(message.contains("network.onnx") && message.contains("Plugin not found"), "{message}");
        fake.fail("parse", Failure::Refuse);
        let blur = onnx(&fake, one_node("Blur"));
        let message = network.parse_onnx(&blur).unwrap_err().to_string();
        assert!(message.contains("node 0, \"node_of_mine\" (Blur): creator"), "{message}");
        fake.fail("parse", Failure::Garbage);
        let message = network.parse_onnx(&onnx(&fake, "an ONNX file")).unwrap_err().to_string();
        assert!(message.contains("it gave no reason"), "{message}");
        let missing = network.parse_onnx("/nowhere/a.onnx".as_ref()).unwrap_err().to_string();
        assert!(missing.starts_with("/nowhere/a.onnx: No such file"), "{missing}");
    }
}

#[test]
fn a_timing_cache_of_another_device_is_replaced() {
    for release in RELEASES {
        let fake = Fake::new(release);
        let mut builder = fake.library.builder().unwrap();
        let mut network = builder.network().unwrap();
        let kept = builder.build(&mut network, &options(Precision::Fp16), b"TIMES 0").unwrap();
        assert_eq!(kept.timing_cache, b"TIMES 1");
        let calls = fake.calls();
        builder.build(&mut network, &options(Precision::Fp16), b"someone else's").unwrap();
        let fresh = &fake.calls()[calls.len()..];
        let asked: Vec<_> = fresh.iter().filter(|line| line.starts_with("timing cache")).collect();
        assert_eq!(asked, ["timing cache 14", "timing cache 0"], "{release:?}");
    }
}

#[test]
fn shapes_outside_the_profile_and_inputs_without_a_shape_are_errors() {
    for release in RELEASES {
        let fake = Fake::new(release);
        let mut context = engine(&fake).unwrap().context().unwrap();
        let missing = context.infer_shapes().unwrap_err().to_string();
        assert!(missing.starts_with("tensor \"x\": has no shape yet"), "{missing}");
        assert!(context.shape(c"y").is_err(), "its batch is still open");
        let outside = context.set_input_shape(c"x", &[5, 3]).unwrap_err().to_string();
        assert!(outside.ends_with("TensorRT said: outside the profile"), "{outside}");
        let nine = context.set_input_shape(c"x", &[1; 9]).unwrap_err().to_string();
        assert!(nine.contains("expected at most 8 extents"), "{nine}");
        assert!(context.shape(c"unknown").is_err());
    }
}
