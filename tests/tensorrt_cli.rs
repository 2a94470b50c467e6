//! `tvsl engine`, on a fake GPU with a fake TensorRT, and on a machine that has neither.
#![allow(unsafe_code, reason = "the fake library is steered through its functions")]

#[path = "fake_tensorrt/mod.rs"]
mod fake_tensorrt;
#[path = "fake_tensorrt/one_node.rs"]
mod one_node;

mod installed;
mod tiny;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use fake_tensorrt::{RELEASES, Release, compile, compile_cuda, onnxruntime, sealed};
use installed::Installed;
use safetensors::tensor::{Dtype, TensorView};
use tvsl::engine::Tensor;
use tvsl::engine::tensorrt::{Precision, Shelf, plan};

/// A machine with a fake GPU, a fake TensorRT 10.3, and a copy of the tiny model.
struct Machine {
    libraries: PathBuf,
    model: tiny::Copy,
}

impl Machine {
    fn new() -> Self {
        Self::of(RELEASES[2])
    }

    fn of(release: Release) -> Self {
        let libraries = compile(release).parent().expect("it lies in a folder").to_owned();
        compile_cuda(&libraries);
        Self { libraries, model: tiny::Copy::new() }
    }

    fn command(&self, action: &str) -> Command {
        let mut tvsl = tvsl(action, self.model.0.path());
        tvsl.env("LD_LIBRARY_PATH", &self.libraries).env("FAKE_TENSORRT_ONNXRUNTIME", onnxruntime());
        tvsl
    }

    fn engine(&self, action: &str, variables: &[(&str, &str)]) -> Output {
        self.command(action).envs(variables.iter().copied()).output().expect("the program starts")
    }

    fn sidecar(&self, graph: &str) -> plan::Sidecar {
        plan::describe(&plan::path(&self.model.path(graph))).expect("a plan with a sidecar")
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
    assert!(
        text(&inspected).contains("  1 layers\n    fp16                     double\n"),
        "{}",
        text(&inspected)
    );
    assert!(text(&inspected).contains("  built on   20"), "{}", text(&inspected));
    assert!(text(&inspected).contains("  compiled   image.onnx\n"), "{}", text(&inspected));
    assert!(
        text(&inspected).contains("  takes      image from [1, 3, 64, 64] to [1, 3, 64, 64]"),
        "{}",
        text(&inspected)
    );
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
    assert_eq!(failed.status.code(), Some(75));
    let told = text(&failed);
    for words in
        ["even with 64 MiB of workspace ", "buildSerializedNetwork failed; TensorRT said: OutOfMemory"]
    {
        assert!(told.contains(words), "{told}");
    }
}

#[test]
fn a_plan_that_finds_no_memory_when_it_runs_is_built_with_less_workspace() {
    let machine = Machine::new();
    let left = machine.model.path("left");
    std::fs::write(&left, "200").expect("room for a file");
    let variables = [("FAKE_TENSORRT_LEFT", left.to_str().expect("a plain name"))];
    let built = machine.engine("build", &variables);
    let told = text(&built);
    assert!(built.status.success(), "{told}");
    assert!(
        told.contains("enqueueV3 failed; TensorRT said: OutOfMemory (requested more than is left)"),
        "{told}"
    );
    assert!(told.contains("trying again with 128 MiB of workspace"), "{told}");
    assert_eq!(machine.sidecar("image.onnx").options.workspace_mib, 128);
    std::fs::write(&left, "10").expect("room for a file");
    let failed = machine.engine("build", &variables);
    let told = text(&failed);
    assert_eq!(failed.status.code(), Some(75), "{told}");
    assert!(told.contains("even with 64 MiB of workspace ") && told.contains("lacking: end other"), "{told}");
    assert_eq!(machine.sidecar("image.onnx").options.workspace_mib, 128, "the plan before it stays");
}

/// As a service has it done with a plan that found no memory again and again.
#[test]
fn a_good_plan_is_built_to_ask_for_less_until_there_is_no_less() {
    let machine = Machine::new();
    assert!(machine.engine("build", &[]).status.success());
    let asks = |graph| machine.sidecar(graph).options.workspace_mib;
    assert_eq!([asks("image.onnx"), asks("audio.onnx")], [512; 2]);
    let less = format!("build --less {}", machine.model.path("image.onnx").display());
    for expected in [256, 128, 64] {
        let built = machine.engine(&less, &[]);
        assert!(built.status.success(), "{}", text(&built));
        assert_eq!([asks("image.onnx"), asks("audio.onnx")], [expected, 512]);
        let told = format!("image.onnx: its plan asks for {expected} MiB of workspace from now on");
        assert!(text(&built).contains(&told), "{}", text(&built));
        assert!(!text(&built).contains("2 of 5"), "the others are none of its business: {}", text(&built));
    }
    let stranger = text(&machine.engine("build --less nowhere/image.onnx", &[]));
    assert!(stranger.contains("nowhere/image.onnx: is no graph of the model in "), "{stranger}");
    let failed = machine.engine(&less, &[]);
    let told = text(&failed);
    assert_eq!(failed.status.code(), Some(75), "{told}");
    assert!(
        told.contains(
            "image.onnx: its plan finds no memory, although it asks for 64 MiB of workspace only\nCure where memory is "
        ),
        "{told}"
    );
    assert!(text(&machine.engine("build --missing", &[])).contains("1 of 5, image: good already"));
    assert!(machine.engine("build", &[]).status.success());
    assert_eq!(asks("image.onnx"), 512, "whoever asks for a build gives it all there may be");
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
    for line in ["image V", "audio A", "stage1 p ", "stage1 p_v", "stage1 p_a", "stage2 H", "text t"] {
        let (graph, output) = line.split_once(' ').expect("two words");
        assert!(lines.contains(&format!("\n{graph:<10} {output}")), "{line}: {lines}");
    }
    assert!(
        lines.contains("\naudio      A        at full scale: max error 0.00e0, cosine 1.000000: ok"),
        "{lines}"
    );
    assert!(lines.contains("; both detect nothing: ok") && lines.contains("this device is ready"), "{lines}");

    let differs = machine.engine("verify", &[("FAKE_TENSORRT_WRONG", "stage1")]);
    assert_eq!(differs.status.code(), Some(1));
    assert!(
        text(&differs).contains("cosine -1.000000: DIFFERS") && text(&differs).contains("stage1     p "),
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
    assert!(lines.contains("image      NOT USABLE: ") && lines.contains("\nstage2     H"), "{lines}");
    assert!(lines.contains("this device is not ready: 1 of its plans cannot be used"), "{lines}");
}

#[test]
fn a_plan_takes_its_place_only_if_it_computes_what_the_cpu_computes() {
    let machine = Machine::new();
    let refused = machine.engine("build", &[("FAKE_TENSORRT_WRONG", "audio")]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused).contains("audio.plan: there is no new plan, because it does not"),
        "{}",
        text(&refused)
    );
    // One graph that fails takes nothing from the others.
    assert!(text(&refused).contains("1 of 5 graphs have no new plan, and the CPU"), "{}", text(&refused));
    for graph in ["image", "stage1", "stage2", "text"] {
        assert!(plan::path(&machine.model.path(&format!("{graph}.onnx"))).exists(), "{graph}");
    }
    assert!(!plan::path(&machine.model.path("audio.onnx")).exists());

    let finished = machine.engine("build --missing", &[]);
    assert!(finished.status.success(), "{}", text(&finished));
    assert!(text(&finished).contains("1 of 5, image: good already"), "{}", text(&finished));
    assert!(text(&finished).contains("5 of 5, text: good already"), "{}", text(&finished));
    assert!(text(&finished).contains("2 of 5, audio: building"), "{}", text(&finished));
}

/// By a flag, and from another file where the types in it decide.
#[test]
fn a_graph_that_half_precision_spoils_is_built_in_single() {
    let computes = "it does not compute what the CPU computes: ";
    let none = "TensorRT finds no way to compute it: IBuilder::buildSerializedNetwork failed; ";
    for (release, spoilt, why) in [
        (2, ("FAKE_TENSORRT_HALF_WRONG", "image"), computes),
        (3, ("FAKE_TENSORRT_WRONG", "image.half"), computes),
        (0, ("FAKE_TENSORRT_NO_KERNEL", "half"), none),
        (3, ("FAKE_TENSORRT_NO_KERNEL", "half"), none),
    ] {
        let machine = Machine::of(RELEASES[release]);
        std::fs::copy(machine.model.path("image.onnx"), machine.model.path("image.half.onnx")).expect("room");
        let graphs = "[graphs.fp16]\nimage = \"image.half.onnx\"\naudio = \"audio.onnx\"\nstage1 = \"stage1.onnx\"\n\
                      stage2 = \"stage2.onnx\"\n\n[embedding]";
        machine.model.edit("[embedding]", graphs);
        let built = machine.engine("build", &[spoilt]);
        let told = text(&built);
        assert!(built.status.success(), "{told}");
        assert!(told.contains(&format!("image.onnx: in half precision {why}")), "{told}");
        assert!(told.contains("image.plan, fp32 because fp16 does harm, "), "{told}");
        let image = machine.sidecar("image.onnx");
        assert_eq!((image.settings.precision, image.options.precision), (Precision::Fp16, Precision::Fp32));
        assert_eq!(
            (image.compiled.as_str(), image.sources.contains_key("image.half.onnx")),
            ("image.onnx", false)
        );
        // It is good from then on.
        let again = machine.engine("build --missing", &[spoilt]);
        assert!(text(&again).contains("1 of 5, image: good already"), "{}", text(&again));
        assert!(machine.engine("verify", &[spoilt]).status.success());
    }
}

/// Whoever builds a model of their own learns which node of which file TensorRT lacks.
#[test]
fn an_operator_that_tensorrt_lacks_is_named_with_its_node() {
    let machine = Machine::new();
    let image = one_node::with_first_node_called(&machine.model.read("image.onnx"), "pool_of_mine");
    machine.model.replace("image.onnx", &image, true);
    let refused = machine.engine("build", &[("FAKE_TENSORRT_REFUSES", "pool_of_mine")]);
    assert_eq!(refused.status.code(), Some(1));
    let told = text(&refused);
    let named = "node 0, \"pool_of_mine\" (AveragePool): creator && \"Plugin not found\"";
    assert!(told.contains("image.onnx") && told.contains(named), "{told}");
    assert!(told.contains("1 of 5 graphs have no new plan, and the CPU"), "{told}");
    assert!(plan::path(&machine.model.path("audio.onnx")).exists());
    assert!(!plan::path(&machine.model.path("image.onnx")).exists());
}

/// Golden inputs for a model that has none: a picture that is red and hums red, neither far beyond the thresholds.
fn write_golden(model: &tiny::Copy) {
    let image = (0..3 * 64 * 64).map(|place| if place < 64 * 64 { 0.62 } else { 0.1 }).collect();
    let image = Tensor::new([1, 3, 64, 64], image).expect("a picture");
    let sound = Tensor::new([1, 8000], vec![0.45 * 32_768.0; 8000]).expect("a second of sound");
    let tokens = Tensor::new([3, 1], vec![1.0, 2.0, 3.0]).expect("a token for every class");
    let given = |graph: &str, input: &str, tensor: &Tensor| {
        let mut graph = tiny::cpu().load(&model.path(graph)).expect("a graph");
        graph.run(&[(input, tensor.into())]).expect("it runs").remove(0)
    };
    let (cells, rows) = (given("image.onnx", "image", &image), given("audio.onnx", "sound", &sound));
    let words = given("text.onnx", "tokens", &tokens);
    let all = [("image", &image), ("sound", &sound), ("V", &cells), ("A", &rows), ("t", &words)];
    let bytes: Vec<Vec<u8>> = all
        .iter()
        .map(|(_, tensor)| tensor.data.iter().flat_map(|value| value.to_le_bytes()).collect())
        .collect();
    let views = all.iter().zip(&bytes).map(|((name, tensor), bytes)| {
        (*name, TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).expect("as many bytes as numbers"))
    });
    let file = safetensors::serialize(views, None).expect("tensors");
    std::fs::write(model.path("golden.safetensors"), file).expect("room for a file");
}

#[test]
fn an_encoder_that_changes_what_is_detected_is_refused_however_alike_its_numbers_are() {
    let machine = Machine::new();
    write_golden(&machine.model);
    let faint = [("FAKE_TENSORRT_FAINT", "image.onnx")];
    let refused = machine.engine("build", &faint);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("image.plan: there is no new plan"), "{}", text(&refused));
    assert!(text(&refused).contains("the CPU detects red, TensorRT nothing: DIFFERS"), "{}", text(&refused));
    assert!(!plan::path(&machine.model.path("image.onnx")).exists());

    assert!(machine.engine("build", &[]).status.success());
    let verified = text(&machine.engine("verify", &[]));
    assert!(verified.contains("; both detect red: ok\n"), "{verified}");
    let differs = machine.engine("verify", &faint);
    assert_eq!(differs.status.code(), Some(1));
    let lines = text(&differs);
    assert!(lines.contains("cosine 1.000000: ok\nimage   "), "V by itself is alike: {lines}");
    assert!(lines.contains("\nwhole ") && lines.contains("the CPU detects red, TensorRT nothing"), "{lines}");
}

/// What `tvsl doctor` says of one stage: its verdict, and everything about it.
fn stage(machine: &Machine, stage: &str) -> (String, String) {
    stage_with(machine, stage, "auto", &[])
}

/// The same with an engine of that kind, and with these variables.
fn stage_with(machine: &Machine, stage: &str, kind: &str, variables: &[(&str, &str)]) -> (String, String) {
    let config = machine.libraries.join("doctor.toml");
    let model = machine.model.0.path().display();
    let text = format!(
        "[model]\npath = \"{model}\"\n[camera]\nsource = \"test\"\n[mqtt]\nenabled = false\n[engine]\nkind = \"{kind}\"\n"
    );
    std::fs::write(&config, text).expect("room for a file");
    let mut doctor = Command::new(env!("CARGO_BIN_EXE_tvsl"));
    doctor.args(["doctor", "--json", "--config"]).arg(config).env_remove("TVSL_TENSORRT");
    doctor.env("LD_LIBRARY_PATH", &machine.libraries).env("FAKE_TENSORRT_ONNXRUNTIME", onnxruntime());
    let output = doctor.envs(variables.iter().copied()).output().expect("the program starts");
    let checks: Vec<serde_json::Value> =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", self::text(&output)));
    let check = checks.iter().find(|check| check["stage"] == stage).expect("the stage");
    (check["verdict"].as_str().expect("a verdict").to_owned(), check.to_string())
}

#[test]
fn the_doctor_warns_of_plans_that_the_gpu_lacks() {
    let machine = Machine::new();
    let (verdict, about) = stage(&machine, "gpu");
    assert!(verdict == "ok" && about.contains("TensorRT 10.3.0.26 for Orin, SM 8.7, CUDA 12.6"), "{about}");
    let (verdict, about) = stage(&machine, "engine");
    assert!(verdict == "warning" && about.contains("of its plans not in use"), "{about}");
    assert!(about.contains(".plan: there is no plan yet") && about.contains("tvsl engine build"), "{about}");

    assert!(machine.engine("build", &[]).status.success());
    let (verdict, about) = stage(&machine, "engine");
    assert!(verdict == "ok" && about.contains("tensorrt, TensorRT 10.3.0.26 for Orin"), "{about}");

    let sidecar = plan::sidecar_path(&plan::path(&machine.model.path("audio.onnx")));
    let facts = std::fs::read_to_string(&sidecar).expect("a sidecar");
    std::fs::write(&sidecar, sealed(&facts.replace("\"8.7\"", "\"7.2\""))).expect("room for a file");
    let (verdict, about) = stage(&machine, "engine");
    assert!(verdict == "warning" && about.contains("audio.plan: the plan was built by"), "{about}");
    assert!(about.contains("SM 7.2") && about.contains("1 of its plans not in use"), "{about}");
    std::fs::write(&sidecar, facts).expect("room for a file");

    // What reads words is not opened for words that were read before, and is looked at even so.
    let text = plan::path(&machine.model.path("text.onnx"));
    std::fs::write(&text, "altered").expect("room for a file");
    let (verdict, about) = stage(&machine, "engine");
    assert!(verdict == "warning" && about.contains("text.plan: the plan is not the one"), "{about}");
    assert!(about.contains("1 of its plans not in use") && about.contains("tvsl engine build"), "{about}");
}

/// Building plans would help nobody whose GPU does not answer.
#[test]
fn the_doctor_says_what_helps_where_the_gpu_does_not_answer() {
    let machine = Machine::new();
    for (kind, verdicts) in [("auto", ["warning", "warning"]), ("tensorrt", ["failed", "failed"])] {
        let about = |stage: &str| stage_with(&machine, stage, kind, &[("FAKE_CUDA_AWAY", "1")]);
        let [(gpu, cure), (engine, rest)] = ["gpu", "engine"].map(about);
        assert_eq!([gpu.as_str(), &engine], verdicts, "{cure} {rest}");
        assert!(
            cure.contains("no NVIDIA GPU can be used here") && cure.contains("groups video and render"),
            "{cure}"
        );
        assert!(rest.contains(" above\"") && !rest.contains("tvsl engine build"), "{rest}");
    }
}

/// A machine's own service and its administrator may want plans at the same time.
#[test]
fn a_build_waits_for_one_that_is_under_way_and_both_end_well() {
    let machine = Machine::new();
    let place = plan::path(&machine.model.path("image.onnx"));
    let turn = plan::Turn::take(machine.model.0.path(), || panic!("nobody has it")).expect("a turn");
    let start = |action| {
        let mut tvsl = machine.command(action);
        tvsl.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts")
    };
    let mut builds = [start("build"), start("build --missing")];
    let mut logs = builds.each_mut().map(|build| BufReader::new(build.stderr.take().expect("a log")).lines());
    for log in &mut logs {
        let told =
            log.find(|line| line.as_ref().expect("UTF-8").contains("plans of it are being built already"));
        assert!(told.is_some() && !place.exists());
    }
    drop(turn);
    for (mut build, log) in builds.into_iter().zip(logs) {
        let rest: Vec<_> = log.map(|line| line.expect("UTF-8")).collect();
        assert!(build.wait().expect("a status").success(), "{rest:?}");
    }
    assert!(machine.engine("verify", &[]).status.success());
}

/// A service that may not write to its model folder has plans of its own; an administrator's lie beside the model.
#[test]
fn of_two_plans_the_good_one_is_taken_wherever_it_lies() {
    let machine = Machine::new();
    assert!(machine.engine("build", &[]).status.success());
    let state = machine.libraries.join("state");
    let shelf = Shelf::new(Some(state.clone()));
    let onnx = machine.model.path("image.onnx");
    let beside = plan::path(&onnx);
    // The place of the service's own, which is taken where nothing can be written beside the model.
    let (folder, aside) = (beside.parent().expect("a folder"), machine.model.path("aside"));
    std::fs::rename(folder, &aside).expect("one file system");
    std::fs::write(folder, "in the way").expect("room for a file");
    let own = shelf.place(&onnx);
    assert!(own.starts_with(&state), "{}", own.display());
    std::fs::remove_file(folder).expect("a file");
    std::fs::rename(&aside, folder).expect("one file system");
    std::fs::create_dir_all(own.parent().expect("a folder")).expect("room for a folder");
    for (from, to) in [(&beside, &own), (&plan::sidecar_path(&beside), &plan::sidecar_path(&own))] {
        std::fs::copy(from, to).expect("room for a file");
    }
    let verified = |stale: &[&PathBuf]| {
        let good = std::fs::read(plan::sidecar_path(&beside)).expect("a sidecar");
        for plan in stale {
            let facts = String::from_utf8_lossy(&good).replace("\"8.7\"", "\"7.2\"");
            std::fs::write(plan::sidecar_path(plan), sealed(&facts)).expect("room for a file");
        }
        let [verify, inspect] = ["verify", "inspect"]
            .map(|action| machine.engine(action, &[("CACHE_DIRECTORY", state.to_str().expect("UTF-8"))]));
        stale
            .iter()
            .for_each(|plan| std::fs::write(plan::sidecar_path(plan), &good).expect("room for a file"));
        assert_eq!(verify.status.success(), inspect.status.success(), "{}", text(&inspect));
        (verify.status.success(), text(&verify), text(&inspect))
    };
    let (ready, _, inspected) = verified(&[]);
    assert!(ready && inspected.contains(&own.display().to_string()), "{inspected}");
    for stale in [&beside, &own] {
        let (ready, told, inspected) = verified(&[stale]);
        assert!(ready, "{}: {told}", stale.display());
        assert!(inspected.contains(&format!("{}: the plan was built by", stale.display())), "{inspected}");
        assert!(inspected.contains("the other one serves"), "{inspected}");
    }
    let (ready, told, inspected) = verified(&[&beside, &own]);
    assert!(!ready && told.contains("image      NOT USABLE: ") && told.contains("SM 7.2"), "{told}");
    assert!(inspected.matches("image.plan: the plan was built by").count() == 2, "{inspected}");
}

/// The service's own plans are seen by whoever looks, if he may, and left alone by whoever builds.
#[test]
fn plans_in_the_state_of_the_service_are_looked_at_and_none_is_built_there() {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    let machine = Machine::new();
    let config = format!("[model]\npath = {:?}\n[mqtt]\nenabled = false\n", machine.model.0.path());
    let Some(installed) = Installed::new(&config) else { return };
    assert!(machine.engine("build", &[]).status.success());
    // All of them become the service's.
    let beside = machine.model.path("tensorrt");
    let aside = machine.model.path("aside");
    std::fs::rename(&beside, &aside).expect("one file system");
    std::fs::write(&beside, "in the way").expect("room for a file");
    let own = Shelf::new(Some(installed.state())).place(&machine.model.path("image.onnx"));
    std::fs::remove_file(&beside).expect("a file");
    std::fs::create_dir(installed.state().join("tensorrt")).expect("room for a folder");
    let moved = Command::new("cp").arg("-r").arg(&aside).arg(own.parent().expect("a folder")).status();
    assert!(moved.expect("cp is there").success());
    std::fs::remove_dir_all(&aside).expect("our own folder");

    let command = |action: &str| {
        let mut command = machine.command(action);
        command.env("TVSL_CONFIG", installed::CONFIG);
        command
    };
    let root = |action: &str| installed.root(&command(action)).output().expect("the program starts");
    for action in ["verify", "inspect"] {
        let seen = root(action);
        assert!(seen.status.success(), "{}", text(&seen));
    }
    assert!(text(&root("inspect")).contains("/var/lib/tvsl-hall/tensorrt/"), "{}", text(&root("inspect")));

    std::fs::set_permissions(machine.model.0.path(), Permissions::from_mode(0o755)).expect("our own folder");
    if let Some(mut nobody) = installed.nobody(&command("inspect")) {
        let missed = nobody.output().expect("the program starts");
        let told = text(&missed);
        assert!(
            !missed.status.success() && told.contains("only root may look into /var/lib/tvsl-hall"),
            "{told}"
        );
        let mut doctor = Command::new(env!("CARGO_BIN_EXE_tvsl"));
        doctor
            .arg("doctor")
            .envs(machine.command("").get_envs().filter_map(|(name, value)| Some((name, value?))));
        doctor.env("TVSL_CONFIG", installed::CONFIG);
        let told =
            installed.nobody(&doctor).map(|mut doctor| text(&doctor.output().expect("the program starts")));
        let told = told.unwrap_or_default();
        let engine = told.lines().find(|line| line.contains("engine")).unwrap_or_default();
        assert!(engine.starts_with("skipped") && engine.contains("only root may look into"), "{told}");
    }

    std::fs::write(&beside, "in the way").expect("room for a file");
    let before = std::fs::metadata(&own).and_then(|about| about.modified()).expect("a plan");
    let built = root("build");
    assert!(built.status.success(), "{}", text(&built));
    assert_eq!(std::fs::metadata(&own).and_then(|about| about.modified()).expect("a plan"), before);
    assert!(installed.home().join(".cache/tvsl/tensorrt").is_dir(), "{}", text(&built));
}

#[test]
fn a_good_plan_stays_where_its_successor_is_refused() {
    use std::os::unix::fs::MetadataExt;
    let machine = Machine::new();
    assert!(machine.engine("build", &[]).status.success());
    let plan = |graph: &str| plan::path(&machine.model.path(graph));
    let file = |path: PathBuf| std::fs::metadata(path).expect("a file").ino();
    let both = |graph: &str| [file(plan(graph)), file(plan::sidecar_path(&plan(graph)))];
    let (audio, image) = (both("audio.onnx"), both("image.onnx"));
    let refused = machine.engine("build", &[("FAKE_TENSORRT_WRONG", "audio")]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(both("audio.onnx"), audio, "the plan before it was touched");
    assert_ne!(both("image.onnx"), image, "a good one takes its place");
    assert!(machine.engine("verify", &[]).status.success());
}

#[test]
fn a_build_is_handed_the_timings_of_the_one_before() {
    let machine = Machine::new();
    let warned = "the timing cache is of another TensorRT or GPU, or damaged";
    for (spoiled, warns) in [(false, false), (false, false), (true, true), (false, false)] {
        if spoiled {
            let cache = plan::timing_cache_path(&plan::path(&machine.model.path("image.onnx")));
            std::fs::write(cache, "of another GPU").expect("room for a file");
        }
        let built = machine.engine("build", &[]);
        assert!(built.status.success(), "{}", text(&built));
        assert_eq!(text(&built).contains(warned), warns, "{}", text(&built));
    }
}

#[test]
fn inspect_goes_on_past_a_plan_that_cannot_be_used_and_needs_no_gpu_for_the_rest() {
    let machine = Machine::new();
    assert!(machine.engine("build", &[]).status.success());
    std::fs::write(plan::path(&machine.model.path("image.onnx")), "altered").expect("room for a file");
    let partly = machine.engine("inspect", &[]);
    assert_eq!(partly.status.code(), Some(1));
    let told = text(&partly);
    assert!(told.contains("image.plan: the plan is not the one that its sidecar describes"), "{told}");
    assert!(told.matches("  built for  TensorRT 10.3.0.26").count() == 5, "{told}");
    assert!(told.matches("  1 layers\n").count() == 4, "{told}");

    let output =
        tvsl("inspect", machine.model.0.path()).env("LD_LIBRARY_PATH", "").output().expect("it starts");
    if !text(&output).contains("no NVIDIA GPU can be used here") {
        println!("skipped in part: this machine has a GPU");
        return;
    }
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).matches("  built for  TensorRT 10.3.0.26").count() == 5, "{}", text(&output));
}

/// A family that computes in the types of the file, and one that takes a flag.
#[test]
fn what_a_plan_computes_in_is_told_as_it_is() {
    for (release, by_flag) in [(0, true), (2, true), (3, false), (4, false)] {
        let machine = Machine::of(RELEASES[release]);
        let built = machine.engine("build", &[]);
        assert!(built.status.success(), "{}", text(&built));
        let precision = machine.sidecar("image.onnx").options.precision;
        assert_eq!(
            precision,
            if by_flag { Precision::Fp16 } else { Precision::Fp32 },
            "{:?}",
            RELEASES[release]
        );
        let warned = text(&built).contains("this model has no encoder in half precision: plans are fp32");
        assert_eq!(warned, !by_flag, "{}", text(&built));
        let verified = text(&machine.engine("verify", &[]));
        assert_eq!(verified.contains("fp32 in truth"), !by_flag, "{verified}");
    }

    // A model that names the same file in both precisions has it computed in single, whoever compiles it.
    let graphs = "[graphs.fp16]\nimage = \"image.onnx\"\naudio = \"audio.onnx\"\nstage1 = \"stage1.onnx\"\n\
                  stage2 = \"stage2.onnx\"\n\n[embedding]";
    let [flagged, machine] = [0, 3].map(|release| {
        let machine = Machine::of(RELEASES[release]);
        machine.model.edit("[embedding]", graphs);
        let built = machine.engine("build", &[]);
        assert!(built.status.success(), "{}", text(&built));
        assert!(text(&built).contains("plans are fp32"), "{}", text(&built));
        assert_eq!(machine.sidecar("image.onnx").options.precision, Precision::Fp32, "{release}");
        machine
    });
    drop(flagged);

    // With an encoder in half precision the model is built from that.
    std::fs::copy(machine.model.path("image.onnx"), machine.model.path("image.half.onnx")).expect("room");
    machine.model.edit("[graphs.fp16]\nimage = \"image.onnx\"", "[graphs.fp16]\nimage = \"image.half.onnx\"");
    let built = machine.engine("build", &[]);
    assert!(built.status.success() && !text(&built).contains("plans are fp32"), "{}", text(&built));
    let image = machine.sidecar("image.onnx");
    assert_eq!((image.options.precision, image.compiled.as_str()), (Precision::Fp16, "image.half.onnx"));
    assert!(image.sources.contains_key("image.half.onnx") && image.sources.contains_key("image.onnx"));
    assert!(text(&machine.engine("inspect", &[])).contains("  compiled   image.half.onnx\n"));
    assert_eq!(machine.sidecar("stage1.onnx").options.precision, Precision::Fp32);
    let verified = machine.engine("verify", &[]);
    assert!(verified.status.success(), "{}", text(&verified));
    std::fs::write(machine.model.path("image.half.onnx"), "another").expect("room");
    let stale = text(&machine.engine("verify", &[]));
    assert!(stale.contains("built from another image.half.onnx"), "{stale}");
}

#[test]
fn a_build_that_never_has_enough_memory_names_the_cure() {
    let machine = Machine::new();
    let failed = machine.engine("build", &[("FAKE_TENSORRT_WORKSPACE", "10")]);
    assert_eq!(failed.status.code(), Some(75));
    let told = text(&failed);
    assert!(told.contains("5 of 5 graphs have no new plan"), "{told}");
    assert!(told.contains("Cure where memory is lacking: end other programs that use the GPU"), "{told}");
    assert_eq!(told.matches("even with 64 MiB of workspace").count(), 1, "the same of each graph: {told}");
}

/// TensorRT warns of each kernel that it passes over for want of memory, whatever a build fails for in the end.
#[test]
fn warnings_of_memory_beside_another_error_are_no_lack_of_memory() {
    let machine = Machine::new();
    let failed = machine.engine("build", &[("FAKE_TENSORRT_NO_KERNEL", "1")]);
    let told = text(&failed);
    assert_eq!(failed.status.code(), Some(1), "{told}");
    assert!(
        told.contains("insufficient memory") && told.contains("Could not find any implementation"),
        "{told}"
    );
    assert!(!told.contains("trying again with") && !told.contains("end other programs"), "{told}");
}

/// What is good is not built again, least of all while memory is short.
#[test]
fn a_good_plan_that_finds_no_memory_is_left_as_it_is() {
    use std::os::unix::fs::MetadataExt;
    let machine = Machine::new();
    assert!(machine.engine("build", &[]).status.success());
    let place = plan::path(&machine.model.path("image.onnx"));
    let file = || std::fs::metadata(&place).expect("a plan").ino();
    let before = file();
    for variable in [("FAKE_CUDA_FULL", "0"), ("FAKE_TENSORRT_FULL", "0")] {
        let left = machine.engine("build --missing", &[variable]);
        let told = text(&left);
        assert_eq!(left.status.code(), Some(75), "{told}");
        assert!(
            told.contains("image.onnx: the plan cannot be loaded now: ")
                && told.contains("lacking: end other"),
            "{told}"
        );
        assert!(!told.contains(": building") && file() == before, "{told}");
    }
    assert!(machine.engine("verify", &[]).status.success());
}

/// The self-test takes memory too; a service tries what lacked it again, and gives up what failed.
#[test]
fn memory_that_runs_out_in_the_self_test_is_lacking() {
    let machine = Machine::new();
    let outcome = |runs: usize| {
        let built = machine.engine("build", &[("FAKE_TENSORRT_FULL", &runs.to_string())]);
        (built.status.code(), text(&built))
    };
    let (mut few, mut enough) = (0, 32);
    while few + 1 < enough {
        let runs = usize::midpoint(few, enough);
        *(if outcome(runs).0 == Some(0) { &mut enough } else { &mut few }) = runs;
    }
    assert_eq!(outcome(enough).0, Some(0), "as many runs as a build needs");
    // The last plan runs when it is loaded, alone and in the whole.
    for short in 1..=3 {
        let (code, told) = outcome(enough - short);
        assert_eq!(code, Some(75), "{told}");
        assert!(
            told.contains("OutOfMemory (requested") && told.contains("lacking: end other programs"),
            "{told}"
        );
    }
}

#[test]
fn a_parser_that_is_missing_is_told_once_however_many_graphs_lack_it() {
    let machine = Machine::new();
    let parser = fake_tensorrt::parser(&machine.libraries.join("libnvinfer.so.10"));
    std::fs::remove_file(parser).expect("it is there");
    let failed = machine.engine("build", &[]);
    let told = text(&failed);
    assert_eq!(failed.status.code(), Some(1), "{told}");
    assert!(told.contains("5 of 5 graphs have no new plan"), "{told}");
    assert_eq!(told.matches("libnvonnxparser.so.10 does not load").count(), 1, "{told}");
}

#[test]
fn a_tensorrt_that_is_too_old_is_refused_by_name() {
    let machine = Machine::of(Release { column: 8, version: [7, 1, 3, 0] });
    let told = text(&machine.engine("build", &[]));
    assert!(told.contains("TensorRT 7.1.3 is not supported"), "{told}");
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
    let told = text(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains("no NVIDIA GPU can be used here") && told.contains("Cure: "), "{told}");
}
