//! The daemon on a fake GPU: plans that are missing or no longer good are built while it works, and a GPU
//! that fails ends nothing, or everything, as configured.
#![allow(unsafe_code, reason = "the fake library is steered through its functions")]

mod broker;
mod daemon;
#[path = "fake_tensorrt/mod.rs"]
mod fake_tensorrt;
mod subscriber;
mod support;
mod tiny;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use broker::{Broker, OPEN, free_port};
use daemon::{Daemon, PATIENCE, Place, hum, red, until};
use fake_tensorrt::{RELEASES, Release, compile, compile_cuda, onnxruntime};
use subscriber::Subscriber;
use tvsl::engine::tensorrt::plan;

/// A machine with a fake GPU and a fake TensorRT 10.3, a clip to play, and a model folder of its own.
struct Machine {
    libraries: PathBuf,
    model: tiny::Copy,
    place: Place,
    clip: PathBuf,
}

impl Machine {
    fn new() -> Self {
        Self::of(RELEASES[2])
    }

    /// The same with another TensorRT.
    fn of(release: Release) -> Self {
        let libraries = compile(release).parent().expect("it lies in a folder").to_owned();
        compile_cuda(&libraries);
        let place = Place::new();
        let (clip, red, hum) = (place.path("clip.mkv"), red(3), hum(3));
        support::make(&format!("{red} ! queue ! m. {hum} ! queue ! m. matroskamux name=m ! filesink"), &clip);
        Self { libraries, model: tiny::Copy::new(), place, clip }
    }

    /// A configuration that plays the clip for ever, with `engine` below `[engine]`.
    fn config(&self, engine: &str) -> PathBuf {
        let file = self.place.plays(&self.clip, &format!("[mqtt]\nenabled = false\n[engine]\n{engine}"));
        let shared = std::path::absolute(tiny::folder()).expect("a working directory");
        let text = std::fs::read_to_string(&file).expect("it was just written");
        let own = text.replace(&shared.display().to_string(), &self.model.0.path().display().to_string());
        std::fs::write(&file, own).expect("room for a file");
        file
    }

    fn daemon(&self, engine: &str, variables: &[(&str, &str)]) -> Daemon {
        self.start(&self.config(engine), variables)
    }

    /// The same, which tells the broker at `port`.
    fn telling(&self, port: u16, engine: &str, variables: &[(&str, &str)]) -> Daemon {
        let config = self.config(engine);
        let text = std::fs::read_to_string(&config).expect("it was just written");
        let own = format!("host = \"127.0.0.1\"\nport = {port}");
        std::fs::write(&config, text.replace("enabled = false", &own)).expect("room for a file");
        self.start(&config, variables)
    }

    fn start(&self, config: &Path, variables: &[(&str, &str)]) -> Daemon {
        let (libraries, runtime) =
            (self.libraries.display().to_string(), onnxruntime().display().to_string());
        let mut all = vec![("LD_LIBRARY_PATH", libraries.as_str()), ("FAKE_TENSORRT_ONNXRUNTIME", &runtime)];
        all.extend(variables);
        Daemon::start_with(config, &all)
    }

    /// Has every plan built, before the daemon starts.
    fn build(&self) {
        let mut tvsl = Command::new(env!("CARGO_BIN_EXE_tvsl"));
        tvsl.args(["engine", "build", "--config"]).arg(self.config(""));
        tvsl.env("LD_LIBRARY_PATH", &self.libraries).env("FAKE_TENSORRT_ONNXRUNTIME", onnxruntime());
        let output = tvsl.output().expect("the program starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Has the sidecar of a plan say something else, as if the build had written that.
    fn alter_sidecar(&self, graph: &str, alter: impl FnOnce(&str) -> String) {
        let sidecar = plan::sidecar_path(&self.plan(graph));
        let text = std::fs::read_to_string(&sidecar).expect("a sidecar");
        std::fs::write(&sidecar, fake_tensorrt::sealed(&alter(&text))).expect("room for a file");
    }

    fn plan(&self, graph: &str) -> PathBuf {
        plan::path(&self.model.path(graph))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.libraries);
    }
}

fn detects(daemon: &Daemon) {
    daemon.messages.find(|line| line.contains("\"red\""));
}

fn logs(daemon: &Daemon, words: &str) -> String {
    daemon.log.find(|line| line.contains(words))
}

#[test]
fn missing_plans_are_built_while_the_cpu_serves() {
    let machine = Machine::new();
    let daemon = machine.daemon("", &[]);
    let fault = logs(&daemon, "image.plan: there is no plan yet");
    assert!(fault.contains("Being built in the background; the CPU engine serves meanwhile"), "{fault}");
    logs(&daemon, "the new plan is in use");
    detects(&daemon);
    drop(daemon);
    let daemon = machine.daemon("", &[]);
    let chosen = logs(&daemon, "classes=3");
    let good =
        "engine=\"tensorrt, TensorRT 10.3.0.26 for Orin, SM 8.7, CUDA 12.6, because every plan is good\"";
    assert!(chosen.contains(good), "{chosen}");
    assert!(!chosen.contains("not in use"), "{chosen}");
    detects(&daemon);
}

#[test]
fn every_release_serves_with_its_plans() {
    let names = [
        "TensorRT 8.5.2",
        "TensorRT 8.6.1",
        "TensorRT 10.3.0.26",
        "TensorRT 11.1.0.106",
        "TensorRT for RTX 1.7.1.12",
    ];
    for (release, name) in RELEASES.into_iter().zip(names) {
        let machine = Machine::of(release);
        machine.build();
        let daemon = machine.daemon("", &[]);
        let chosen = logs(&daemon, "classes=3");
        let good =
            format!("engine=\"tensorrt, {name} for Orin, SM 8.7, CUDA 12.6, because every plan is good\"");
        assert!(chosen.contains(&good), "{chosen}");
        detects(&daemon);
    }
}

#[test]
fn a_sidecar_that_cannot_be_read_is_replaced() {
    let machine = Machine::new();
    machine.build();
    std::fs::write(plan::sidecar_path(&machine.plan("image.onnx")), vec![b' '; 2 << 20]).expect("room");
    let daemon = machine.daemon("", &[]);
    let fault = logs(&daemon, "image.plan.json: cannot be read");
    assert!(fault.contains("Being built in the background; the CPU engine serves meanwhile"), "{fault}");
    logs(&daemon, "image.onnx: the new plan is in use");
}

#[test]
fn plans_of_a_folder_that_cannot_be_written_to_lie_with_the_services_state() {
    let machine = Machine::new();
    // Rights would not hold back the tests' superuser: where the folder of plans should be, a file is in the way.
    std::fs::write(machine.model.path("tensorrt"), "").expect("room for a file");
    let state = machine.place.path("state");
    let variables = [("STATE_DIRECTORY", state.to_str().expect("a plain name")), ("CACHE_DIRECTORY", "")];
    let daemon = machine.daemon("", &variables);
    logs(&daemon, "image.plan: there is no plan yet");
    logs(&daemon, "image.onnx: the new plan is in use");
    detects(&daemon);
    drop(daemon);
    let folders = std::fs::read_dir(state.join("tensorrt")).expect("a folder of plans").flatten();
    let [folder] = folders.map(|entry| entry.path()).collect::<Vec<_>>().try_into().expect("one model");
    for graph in ["image", "audio", "stage1", "stage2", "text"] {
        assert!(folder.join(graph).with_extension("plan").exists(), "{graph}");
    }
    let daemon = machine.daemon("kind = \"tensorrt\"\ntensorrt.rebuild = \"never\"", &variables);
    detects(&daemon);
}

#[test]
fn auto_says_why_it_took_the_cpu() {
    let machine = Machine::new();
    let chosen = |libraries: &Path, variables: &[(&str, &str)]| {
        let libraries = libraries.display().to_string();
        let all = [&[("LD_LIBRARY_PATH", libraries.as_str())], variables].concat();
        let daemon = Daemon::start_with(&machine.config(""), &all);
        let chosen = logs(&daemon, "classes=3");
        detects(&daemon);
        chosen
    };
    if !Path::new("/dev/nvidiactl").exists() && !Path::new("/dev/nvhost-gpu").exists() {
        let without = chosen(Path::new(""), &[]);
        assert!(without.contains("cpu, because no NVIDIA GPU can be used here"), "{without}");
    }
    let broken = machine.place.path("libnvinfer.so.10");
    std::fs::write(&broken, "no library").expect("room for a file");
    let broken = chosen(&machine.libraries, &[("TVSL_TENSORRT", broken.to_str().expect("a plain name"))]);
    assert!(
        broken.contains("cpu, because ") && broken.contains("libnvinfer.so.10 does not load"),
        "{broken}"
    );
    let old = compile(Release { column: 8, version: [8, 4, 1, 9] });
    let old = chosen(&machine.libraries, &[("TVSL_TENSORRT", old.to_str().expect("a plain name"))]);
    assert!(old.contains("cpu, because TensorRT 8.4.1 is not supported; this build knows"), "{old}");
}

/// As many as a configuration may name: more than the text graph reads at once, and than the manifest knows.
#[test]
fn a_long_list_of_words_is_read_and_judged_on_the_gpu() {
    let machine = Machine::new();
    machine.model.replace("text.onnx", &machine.model.read("words.onnx"), true);
    machine.model.edit("dimension = 3", "dimension = 3\ntokenizer = \"clip\"");
    machine.build();
    let words: Vec<_> = (1..500).map(|n| format!("\"word {n}\"")).collect();
    let classes = format!("[detection]\nclasses = [\"red\", {}]\n", words.join(", "));
    let only = format!("kind = \"tensorrt\"\ntensorrt.rebuild = \"never\"\n{classes}");
    let daemon = machine.daemon(&only, &[]);
    let chosen = logs(&daemon, "classes=500");
    assert!(chosen.contains("tensorrt, TensorRT") && !chosen.contains("not in use"), "{chosen}");
    detects(&daemon);
}

#[test]
fn the_gpus_time_is_in_the_metrics_stage_by_stage() {
    let machine = Machine::new();
    machine.build();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let daemon = machine.daemon(&format!("[monitor]\nport = {port}\n"), &[]);
    logs(&daemon, "/metrics");
    detects(&daemon);
    let page = || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it listens");
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it reads");
        let mut page = String::new();
        stream.read_to_string(&mut page).expect("an answer");
        page
    };
    for stage in ["picture", "image", "audio", "stage1", "stage2"] {
        let name = format!("tvsl_gpu_seconds_count{{stage=\"{stage}\"}} ");
        let began = Instant::now();
        loop {
            let page = page();
            let count = page.lines().find_map(|line| line.strip_prefix(&name));
            if count.is_some_and(|count| count.parse::<f64>().is_ok_and(|count| count > 0.0)) {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "{name}: {page}");
            daemon.messages.find(|_| true);
        }
    }
}

#[test]
fn a_plan_for_another_device_is_named_and_replaced() {
    let machine = Machine::new();
    machine.build();
    machine.alter_sidecar("image.onnx", |text| text.replace("10.3.0.26", "10.7.0.23"));
    let daemon = machine.daemon("kind = \"tensorrt\"", &[]);
    let fault = logs(&daemon, "image.plan: the plan was built by TensorRT 10.7.0.23 for Orin");
    assert!(fault.contains("this device has TensorRT 10.3.0.26 for Orin"), "{fault}");
    let chosen = logs(&daemon, "classes=3");
    assert!(chosen.contains("1 of its plans not in use"), "{chosen}");
    logs(&daemon, "image.onnx: the new plan is in use");
    detects(&daemon);
}

#[test]
fn the_last_good_plan_serves_until_one_with_other_settings_is_built() {
    let machine = Machine::new();
    machine.build();
    let daemon = machine.daemon("tensorrt.level = 5", &[]);
    let fault =
        logs(&daemon, "image.plan: the plan was built with level 3; [engine.tensorrt] asks for level 5");
    assert!(fault.contains("the last good plan serves meanwhile"), "{fault}");
    logs(&daemon, "the new plan is in use");
    detects(&daemon);
}

#[test]
fn a_new_plan_that_computes_something_else_is_not_used() {
    let machine = Machine::new();
    let daemon = machine.daemon("", &[("FAKE_TENSORRT_WRONG", "image")]);
    logs(&daemon, "image.plan: there is no new plan");
    logs(&daemon, "the plans were not built, so what serves now goes on");
    detects(&daemon);
    assert!(!machine.plan("image.onnx").exists());
}

#[test]
fn without_leave_to_rebuild_the_cpu_serves_or_the_configuration_is_wrong() {
    let machine = Machine::new();
    let daemon = machine.daemon("tensorrt.rebuild = \"never\"", &[]);
    let fault = logs(&daemon, "image.plan: there is no plan yet");
    assert!(fault.contains("the CPU engine serves"), "{fault}");
    let chosen = logs(&daemon, "classes=3");
    assert!(chosen.contains("engine=\"cpu, although there is TensorRT 10.3.0.26 for Orin"), "{chosen}");
    assert!(chosen.contains(" of its plans not in use: "), "{chosen}");
    detects(&daemon);
    drop(daemon);
    let mut daemon = machine.daemon("kind = \"tensorrt\"\ntensorrt.rebuild = \"never\"", &[]);
    logs(&daemon, "there is no plan yet; build it with `tvsl engine build`");
    assert_eq!(daemon.end().code(), Some(78));
}

/// What is good and was only built with other settings is no worse for that.
#[test]
fn without_leave_to_rebuild_the_last_good_plan_serves() {
    let machine = Machine::new();
    machine.build();
    for kind in ["auto", "tensorrt"] {
        let engine = format!("kind = \"{kind}\"\ntensorrt.rebuild = \"never\"\ntensorrt.level = 5");
        let daemon = machine.daemon(&engine, &[]);
        let fault =
            logs(&daemon, "image.plan: the plan was built with level 3; [engine.tensorrt] asks for level 5");
        assert!(fault.contains("; the last good plan serves"), "{fault}");
        let chosen = logs(&daemon, "classes=3");
        assert!(chosen.contains("engine=\"tensorrt, TensorRT 10.3.0.26 for Orin"), "{chosen}");
        assert!(chosen.contains(" of its plans built with other settings: "), "{chosen}");
        detects(&daemon);
    }
    // Memory that others hold at the start is no mistake of the configuration.
    let settings = "tensorrt.rebuild = \"never\"\ntensorrt.level = 5";
    let full = [("FAKE_CUDA_FULL", "5")];
    let mut daemon = machine.daemon(&format!("kind = \"tensorrt\"\n{settings}"), &full);
    logs(&daemon, "memory ran out");
    assert_eq!(daemon.end().code(), Some(75));
    let daemon = machine.daemon(settings, &[("FAKE_CUDA_FULL", "5"), ("FAKE_CUDA_ROOM", "6")]);
    let told = logs(&daemon, "memory ran out");
    assert!(told.contains("Tried again in the background; the CPU engine serves meanwhile"), "{told}");
    logs(&daemon, "the new plan is in use");
    detects(&daemon);
}

/// Of 8.5 the sidecar does not know the whole version, so that only TensorRT itself can tell.
#[test]
fn plans_that_only_tensorrt_knows_to_be_another_s_are_named_counted_and_replaced() {
    for release in [RELEASES[0], RELEASES[2]] {
        let machine = Machine::of(release);
        machine.build();
        for graph in ["image.onnx", "audio.onnx"] {
            let plan = machine.plan(graph);
            let sum = || tvsl::bounded::sha256(&plan).expect("a file");
            let before = sum();
            std::fs::write(&plan, "plan of another").expect("room for a file");
            machine.alter_sidecar(graph, |text| text.replace(&before, &sum()));
        }
        let daemon = machine.daemon("", &[]);
        let fault =
            logs(&daemon, "image.onnx: IRuntime::deserializeCudaEngine failed; TensorRT said: magic tag");
        assert!(fault.contains("Being built in the background; the CPU engine serves meanwhile"), "{fault}");
        let chosen = logs(&daemon, "classes=3");
        assert!(chosen.contains("2 of its plans not in use: the plan of "), "{chosen}");
        logs(&daemon, "image.onnx: the new plan is in use");
        detects(&daemon);
    }
}

#[test]
fn a_builder_that_is_killed_for_memory_takes_nothing_with_it() {
    let machine = Machine::new();
    let daemon = machine.daemon("", &[("FAKE_TENSORRT_KILLED", "1")]);
    let told =
        logs(&daemon, "the plans were not built, so what serves now goes on until that is tried again");
    assert!(told.contains("`tvsl engine build` ended with signal: 9"), "{told}");
    detects(&daemon);
}

/// However a service ends, nobody wants its plans any more.
#[test]
fn a_build_ends_with_the_service_that_wants_it() {
    let machine = Machine::new();
    let begun = machine.place.path("begun");
    let daemon = machine.daemon("", &[("FAKE_TENSORRT_ENDLESS", &begun.display().to_string())]);
    let number =
        until("the build", || std::fs::read_to_string(&begun).ok().filter(|text| text.ends_with('\n')));
    let builder = PathBuf::from(format!("/proc/{}/stat", number.trim()));
    assert!(builder.exists());
    daemon.signal("KILL");
    // One that nobody waited for yet has ended, too.
    let is_over = || std::fs::read_to_string(&builder).map_or(true, |stat| stat.contains(") Z "));
    until("the build's end", || is_over().then_some(()));
}

/// Whatever was asked for: `info` tells what runs the model, and tells it anew when that is another.
#[test]
fn subscribers_are_told_what_runs_the_model() {
    let machine = Machine::new();
    let port = free_port();
    let _broker = Broker::start(&machine.place, port, OPEN);
    let told = |subscriber: &Subscriber, engine: &str| {
        let wanted = format!("\"engine\":\"{engine}\"");
        subscriber.lines.find(|line| line.contains("/info ") && line.contains(&wanted));
    };
    let never = machine.telling(port, "tensorrt.rebuild = \"never\"", &[]);
    told(&Subscriber::mosquitto(port), "cpu");
    drop(never);
    let subscriber = Subscriber::mosquitto(port);
    let builds = machine.telling(port, "", &[]);
    told(&subscriber, "cpu");
    told(&subscriber, "tensorrt");
    drop(builds);
    std::fs::remove_file(machine.plan("audio.onnx")).expect("a plan");
    let mixed = machine.telling(port, "tensorrt.rebuild = \"never\"", &[]);
    told(&subscriber, "tensorrt and cpu");
    drop(mixed);
    machine.build();
    let _lost = machine.telling(port, "", &[("FAKE_CUDA_LOST", "60")]);
    told(&subscriber, "tensorrt");
    told(&subscriber, "cpu");
}

#[test]
fn the_bench_holds_the_pipeline_against_the_bare_plans() {
    let machine = Machine::new();
    machine.build();
    let truth = machine.place.path("truth.json");
    let source = serde_json::json!({"class": "red", "box": [0.0, 0.0, 1.0, 1.0], "sounding": [[0.0, 3.0]]});
    let told = serde_json::json!({"clip": machine.clip, "seconds": 3.0, "sources": [source]});
    std::fs::write(&truth, told.to_string()).expect("room for a file");
    let mut tvsl = Command::new(env!("CARGO_BIN_EXE_tvsl"));
    tvsl.args(["bench", "--json", "--rounds", "1", "--truth"])
        .arg(&truth)
        .arg("--config")
        .arg(machine.config(""));
    tvsl.env("LD_LIBRARY_PATH", &machine.libraries).env("FAKE_TENSORRT_ONNXRUNTIME", onnxruntime());
    let output = tvsl.output().expect("the program starts");
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    let figures: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
    let value =
        |name: &str| figures[name]["value"].as_f64().unwrap_or_else(|| panic!("no {name}: {out}{err}"));
    assert!(value("gpu_loop_ms") > 0.0 && value("gpu_ms") > 0.0 && value("gpu_ratio") > 0.0, "{out}");
    assert!(value("gpu_image_ms") < value("gpu_ms") && value("between_ms") > 0.0, "{out}");
    let share = value("gpu_picture_ratio");
    assert!(share > 0.0 && share < 1.0, "{out}");
    assert_eq!(figures["gpu_ratio"]["target"], ">= 0.95");
    assert_eq!(figures["gpu_picture_ratio"]["target"], "<= 0.05");
    assert!(value("rss_beside_engines") > 0.0, "{out}");
    assert_eq!(figures["rss_beside_engines"]["target"], "<= 400");
    assert!(figures.get("peak_rss").is_none(), "its target is the CPU's: {out}");
}

#[test]
fn a_gpu_is_kept_awake_if_that_is_configured() {
    let machine = Machine::new();
    let warm = "tensorrt.keep_warm = 0.05";
    let never = format!("{warm}\ntensorrt.rebuild = \"never\"");
    for (engine, kept) in [(never.as_str(), false), ("", false), (warm, true)] {
        if engine != never {
            machine.build(); // without plans there is no graph on the GPU
        }
        let daemon = machine.daemon(engine, &[]);
        detects(&daemon);
        let threads = std::fs::read_dir(format!("/proc/{}/task", daemon.process.id())).expect("a process");
        let names =
            threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("comm")).ok());
        assert_eq!(names.filter(|name| name.trim() == "warm").count(), usize::from(kept), "{engine}");
    }
}

/// What the driver has no memory for while a graph is loaded waits for it; the rest runs on the GPU. Nothing is built as long
/// as loading again may do, with leave to build or without: it would only take more of what is lacking.
#[test]
fn a_good_plan_that_finds_too_little_memory_is_tried_again() {
    let machine = Machine::new();
    machine.build();
    let files = || {
        let plans = ["image", "audio", "stage1", "stage2", "text"]
            .map(|graph| machine.plan(&format!("{graph}.onnx")));
        plans.map(|plan| std::fs::metadata(plan).expect("a plan").ino())
    };
    let before = files();
    for rebuild in ["auto", "never"] {
        let engine = format!("tensorrt.rebuild = \"{rebuild}\"");
        let daemon = machine.daemon(&engine, &[("FAKE_CUDA_FULL", "13"), ("FAKE_CUDA_ROOM", "14")]);
        let told = logs(&daemon, "the GPU's memory ran out while allocating memory");
        assert!(told.contains("Tried again in the background; the CPU engine serves meanwhile"), "{told}");
        logs(&daemon, "the new plan is in use");
        detects(&daemon);
        assert_eq!(files(), before, "a good plan was built again");
    }
}

/// systemd starts a service again that ends so, and never one whose configuration is wrong.
#[test]
fn a_gpu_that_cannot_be_had_now_is_no_mistake_of_the_configuration() {
    let machine = Machine::new();
    machine.build();
    let only = "kind = \"tensorrt\"\ntensorrt.rebuild = \"never\"";
    for (variables, code, words) in [
        (("FAKE_CUDA_FULL", "5"), 75, "memory ran out"),
        (("FAKE_CUDA_AWAY", "1"), 75, "no NVIDIA GPU can be used here"),
        (("LD_LIBRARY_PATH", "/nowhere"), 78, "engine.kind"),
    ] {
        let mut daemon = machine.daemon(only, &[variables]);
        logs(&daemon, words);
        assert_eq!(daemon.end().code(), Some(code), "{variables:?}");
    }
    let daemon = machine.daemon("", &[("FAKE_CUDA_AWAY", "1")]);
    logs(&daemon, "no NVIDIA GPU can be used here: ");
    detects(&daemon);
}

#[test]
fn memory_that_runs_out_during_a_run_is_told_and_the_cpu_goes_on_until_there_is_some_again() {
    let machine = Machine::new();
    machine.build();
    let variables =
        [("FAKE_TENSORRT_FULL", "60"), ("FAKE_TENSORRT_ROOM", "61"), ("FAKE_CUDA_NO_GRAPHS", "1000")];
    let daemon = machine.daemon("", &variables);
    let told = logs(&daemon, "the cpu engine goes on, and the plan is tried again in the background");
    assert!(told.contains("enqueueV3 failed; TensorRT said: OutOfMemory (requested"), "{told}");
    detects(&daemon);
    let tried = Instant::now(); // again within a minute
    while !daemon.log.soon().is_some_and(|line| line.contains(": the new plan is in use")) {
        assert!(tried.elapsed() < 3 * PATIENCE, "it stays on the CPU");
    }
    detects(&daemon);
}

/// Nothing but the workspace of its plans can be had for less.
#[test]
fn plans_for_which_there_is_too_little_memory_for_good_are_built_to_ask_for_less() {
    let machine = Machine::new();
    machine.build();
    let asks = || plan::describe(&machine.plan("image.onnx")).expect("a plan").options.workspace_mib;
    assert_eq!(asks(), 512);
    let left = machine.place.path("left");
    let left_in = left.to_str().expect("a plain name");
    let variables = [("FAKE_TENSORRT_LEFT", left_in), ("FAKE_CUDA_NO_GRAPHS", "1000")];
    let daemon = machine.daemon("", &variables);
    logs(&daemon, "because every plan is good");
    detects(&daemon);
    std::fs::write(&left, "200").expect("room for a file");
    logs(&daemon, "the cpu engine goes on, and the plan is tried again in the background");
    detects(&daemon);
    let tried = Instant::now(); // again within a minute
    while !daemon.log.soon().is_some_and(|line| line.contains("image.onnx: the new plan is in use")) {
        assert!(tried.elapsed() < 4 * PATIENCE, "it stays on the CPU");
    }
    detects(&daemon);
    assert_eq!(asks(), 128);
}

/// The GPU may fail at any wait while plans are loaded, and with the first sound. systemd never starts a service again that
/// ends with 78.
#[test]
fn a_gpu_that_fails_at_the_start_is_no_mistake_of_the_configuration() {
    let machine = Machine::new();
    machine.build();
    let ends = |engine: &str, variable: (&str, &str)| {
        let mut daemon = machine.daemon(engine, &[variable]);
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if daemon.messages.soon().is_some_and(|line| line.contains("\"red\"")) {
                return None;
            }
            if let Some(status) = daemon.process.try_wait().expect("a child") {
                return Some((status.code(), daemon.log.rest().join("\n")));
            }
        }
        panic!("it neither detects nor ends: {engine:?}, {variable:?}");
    };
    let exit = "tensorrt.lost = \"exit\"";
    let mut ended = [0; 2];
    for waits in 0..12 {
        let lost = ("FAKE_CUDA_LOST", &*waits.to_string());
        assert_eq!(ends("", lost), None, "{lost:?}");
        match ends(exit, lost) {
            Some((code, log)) => {
                assert_eq!(code, Some(1), "{lost:?}: {log}");
                ended[0] += 1;
            }
            None if ended[0] > 0 => break, // from here on it is lost while it runs
            None => {}
        }
    }
    for runs in 3..9 {
        let full = ("FAKE_TENSORRT_FULL", &*runs.to_string());
        if let Some((code, log)) = ends(exit, full) {
            assert!([Some(1), Some(75)].contains(&code), "{full:?}: {log}");
            ended[1] += usize::from(code == Some(75));
        }
    }
    assert!(ended.iter().all(|times| *times > 0), "the first sound was never reached: {ended:?}");
}

#[test]
fn when_the_gpu_fails_the_cpu_goes_on_or_the_service_ends() {
    let machine = Machine::new();
    machine.build();
    let lost = [("FAKE_CUDA_LOST", "60")];
    let daemon = machine.daemon("", &lost);
    let told = logs(&daemon, "the cpu engine goes on");
    assert!(told.contains("the GPU failed while waiting for the GPU: "), "{told}");
    while daemon.messages.waiting().is_some() {}
    let since = Instant::now();
    detects(&daemon);
    println!("GPU lost: the CPU judges {:.2} s after it was told", since.elapsed().as_secs_f64());
    drop(daemon);
    let mut daemon = machine.daemon("tensorrt.lost = \"exit\"", &lost);
    logs(&daemon, "the GPU failed while waiting for the GPU");
    assert_eq!(daemon.end().code(), Some(1));
}
