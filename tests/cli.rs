//! The command line of the real program: help, version, exit codes, where results and messages go.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

/// The program in an empty folder, with nothing of the caller's environment that could steer it.
fn tvsl(folder: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tvsl"));
    for variable in ["TVSL_CONFIG", "TVSL_LOG", "JOURNAL_STREAM", "INVOCATION_ID", "NO_COLOR"] {
        command.env_remove(variable);
    }
    command.current_dir(folder.path()).args(arguments);
    command
}

fn output(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("the program starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (status.code().expect("an exit code"), text(stdout), text(stderr))
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn write(folder: &TempDir, name: &str, text: &str) -> String {
    fs::write(folder.path().join(name), text).expect("a file");
    name.into()
}

#[test]
fn help_shows_every_subcommand_with_examples() {
    let (code, out, _) = output(&mut tvsl(&folder(), &["--help"]));
    assert_eq!(code, 0);
    for part in ["Usage:", "Examples:", "check", "Exit codes:", "TVSL_CONFIG"] {
        assert!(out.contains(part), "{part} is missing:\n{out}");
    }
}

#[test]
fn every_subcommand_has_help() {
    let (_, out, _) = output(&mut tvsl(&folder(), &["--help"]));
    let commands =
        out.split("Commands:").nth(1).and_then(|rest| rest.split("Options:").next()).expect("a list");
    let names = commands.lines().filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next());
    for name in names.filter(|name| *name != "help") {
        let (code, out, _) = output(tvsl(&folder(), &[name, "--help"]).env("COLUMNS", "80"));
        assert!(code == 0 && out.contains("Usage:"), "{name}: {out}");
        assert!(out.contains("Common options:"), "its own options stand apart: {name}: {out}");
        assert!(out.lines().all(|line| line.chars().count() <= 80), "{name} on 80 columns: {out}");
    }
}

#[test]
fn each_instance_of_the_service_is_a_device_of_its_own() {
    let folder = folder();
    let name = |instance: &str| {
        let (_, out, err) = output(tvsl(&folder, &["check"]).env("TVSL_INSTANCE", instance));
        let line =
            out.lines().find(|line| line.starts_with("device")).unwrap_or_else(|| panic!("{out}{err}"));
        line.split_whitespace().nth(1).expect("a name").to_string()
    };
    let host = name("");
    assert_eq!((name("hall"), name("a/b#")), (format!("{host}-hall"), format!("{host}-a-b-")));
}

#[test]
fn the_version_names_the_schemas() {
    let (code, out, _) = output(&mut tvsl(&folder(), &["--version"]));
    assert_eq!(code, 0);
    assert!(out.starts_with(&format!("tvsl {}", env!("CARGO_PKG_VERSION"))), "{out}");
    assert!(out.contains("model schema 1"), "{out}");
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    let (code, out, err) = output(&mut tvsl(&folder(), &["chekc"]));
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("'check'"), "{err}");
}

#[test]
fn check_says_what_would_run() {
    let (code, out, err) = output(&mut tvsl(&folder(), &["check"]));
    assert_eq!((code, err.as_str()), (0, ""));
    for part in ["built-in defaults", "v4l2 /dev/video0", "alsa default", "engines/default", "127.0.0.1:1883"]
    {
        assert!(out.contains(part), "{part} is missing:\n{out}");
    }
}

#[test]
fn check_lists_what_the_model_can_name() {
    let (code, out, _) = output(&mut tvsl(&folder(), &["check", "--classes"]));
    assert_eq!(code, 0);
    assert!(out.lines().count() >= 50 && out.lines().any(|line| line == "dog"), "{out}");
    let waterfowl = out.lines().find(|line| line.starts_with("waterfowl ")).expect("a class with aliases");
    assert!(waterfowl.contains("duck, goose"), "{waterfowl}");
}

#[test]
fn check_exits_with_78_and_the_reason() {
    let folder = folder();
    let file = write(&folder, "wrong.toml", "[mqtt]\nport = 0\nhots = \"broker\"\n");
    let (code, out, err) = output(&mut tvsl(&folder, &["check", "--config", &file]));
    assert_eq!((code, out.as_str()), (78, ""));
    assert!(err.contains("wrong.toml:2:8: mqtt.port: 0 is out of range"), "{err}");
    assert!(err.contains("did you mean `host`?"), "{err}");
}

#[test]
fn run_exits_with_78_for_a_wrong_configuration_too() {
    let folder = folder();
    let file = write(&folder, "wrong.toml", "camera.rate = 0\n");
    let (code, out, err) = output(&mut tvsl(&folder, &["run", "--config", &file]));
    assert_eq!((code, out.as_str()), (78, ""));
    assert!(err.contains("wrong.toml:1:15: camera.rate: 0 is out of range"), "{err}");
}

#[test]
fn a_launch_line_that_is_none_is_a_wrong_configuration() {
    let folder = folder();
    for (line, commands, told) in [
        ("videotestsrc nosuch=1", &["check", "run"][..], "no property \"nosuch\""),
        // What is not installed is waited for by `run`: tests/recovery.rs.
        ("nosuch ! videoconvert", &["check"], "no element \"nosuch\""),
    ] {
        let text = format!(
            "camera.source = \"pipeline\"\ncamera.pipeline.launch = \"{line}\"\nmicrophone.source = \"none\"\nmqtt.enabled = false\n"
        );
        let file = write(&folder, "line.toml", &text);
        for command in commands {
            let (code, out, err) = output(&mut tvsl(&folder, &[command, "--config", &file]));
            assert_eq!((code, out.as_str()), (78, ""), "{command}: {err}");
            let place = format!("line.toml:2:26: camera.pipeline.launch: {told}");
            assert!(err.contains(&place), "{command}: {err}");
        }
    }
}

#[test]
fn a_file_that_is_not_there_may_come_with_its_mount_and_ends_only_a_check_for_good() {
    let folder = folder();
    let open = write(&folder, "open", "hunter2");
    fs::set_permissions(folder.path().join(open), fs::Permissions::from_mode(0o644)).expect("our own file");
    fs::create_dir_all(folder.path().join("model")).expect("room for a folder");
    let broken = write(&folder, "model/manifest.toml", "name = 1\n");
    let user = write(&folder, "user", "tvsl");
    fs::set_permissions(folder.path().join(user), fs::Permissions::from_mode(0o600)).expect("our own file");
    let password = "mqtt.username_file = \"user\"\nmqtt.password_file = ";
    for (text, code) in [
        ("model.path = \"/mnt/none/model\"\n".to_owned(), 75),
        ("engine.library = \"/mnt/none/x.so\"\n".into(), 75),
        ("detection.background = \"/mnt/none/noise.toml\"\n".into(), 75),
        ("[mqtt.tls]\nenabled = true\nca_file = \"/mnt/none/ca\"\n".into(), 75),
        (format!("{password}\"/mnt/none/password\"\n"), 75),
        // A second fault is no better for the first, and what is there and wrong stays so.
        ("model.path = \"/mnt/none/model\"\nmqtt.port = 0\n".into(), 78),
        (format!("model.path = \"{}\"\n", broken.trim_end_matches("/manifest.toml")), 78),
        ("engine.library = \"/mnt\"\n".into(), 78),
        (format!("{password}\"open\"\n"), 78),
        ("camera.source = \"file\"\ncamera.file.path = \"/mnt/none/clip.mp4\"\n".into(), 78),
    ] {
        let file = write(&folder, "x.toml", &text);
        let run = output(&mut tvsl(&folder, &["run", "--config", &file]));
        assert_eq!((run.0, run.1.as_str()), (code, ""), "{text}: {}", run.2);
        let check = output(&mut tvsl(&folder, &["check", "--config", &file]));
        let told = |err: &str| err.split_once(' ').map(|(_time, told)| told.to_owned());
        assert_eq!((check.0, told(&check.2)), (78, told(&run.2)), "{text}");
    }
}

#[test]
fn check_knows_the_classes_of_the_model() {
    let folder = folder();
    let file = write(&folder, "c.toml", "detection.classes = [\"dgo\"]\n");
    let (code, _, err) = output(&mut tvsl(&folder, &["check", "--config", &file]));
    assert_eq!(code, 78);
    assert!(err.contains("no class \"dgo\"") && err.contains("\"dog\""), "{err}");
}

#[test]
fn what_only_the_model_the_engine_or_the_broker_can_judge_is_told_with_its_line() {
    let folder = folder();
    let user = write(&folder, "user", "tvsl");
    fs::set_permissions(folder.path().join(user), fs::Permissions::from_mode(0o600)).expect("our own file");
    for (text, told) in [
        ("[model]\npath = \"nowhere\"\n", "x.toml:2:8: model.path: no model \"nowhere\""),
        ("[detection]\nclasses = [\"dgo\"]\n", "x.toml:2:11: detection.classes: the model"),
        ("[detection.thresholds]\ndgo.p = 0.5\n", "x.toml:2:1: detection.thresholds.dgo: the model"),
        ("[detection]\nprompts.dog = \"a {}\"\n", "x.toml:2:15: detection.prompts.dog: the model"),
        ("[detection]\nbackground = \"none\"\n", "x.toml:2:14: detection.background: none: not a background"),
        (
            "[engine]\nlibrary = \"/none/x.so\"\n",
            "x.toml:2:11: engine.library: /none/x.so: there is no such file",
        ),
        (
            "[mqtt.tls]\nenabled = true\nca_file = \"none\"\n",
            "x.toml:3:11: mqtt.tls.ca_file: none: No such file",
        ),
        (
            "mqtt.username_file = \"user\"\nmqtt.password_file = \"/none/p\"\n",
            "x.toml:2:22: mqtt.password_file: /none/p",
        ),
    ] {
        let file = write(&folder, "x.toml", text);
        let (code, out, err) = output(&mut tvsl(&folder, &["check", "--config", &file]));
        assert_eq!((code, out.as_str()), (78, ""), "{text}: {err}");
        assert!(err.contains(told), "{text}: {err}");
    }
    let credential =
        write(&folder, "x.toml", "mqtt.username_file = \"u\"\nmqtt.password_file = \"broker\"\n");
    let (code, _, err) = output(&mut tvsl(&folder, &["check", "--config", &credential]));
    assert_eq!(code, 0, "a credential is the service's alone: {err}");
}

/// The default model in `folder`, with `file` as `spoil` leaves it.
fn spoilt(folder: &Path, file: &str, spoil: fn(&Path)) {
    fs::create_dir(folder).expect("room for a folder");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("engines/default");
    for entry in fs::read_dir(model).expect("the default model") {
        let entry = entry.expect("its files are readable");
        let copy = folder.join(entry.file_name());
        if entry.file_name() == file {
            fs::copy(entry.path(), &copy).expect("room for a copy");
            spoil(&copy);
        } else {
            symlink(entry.path(), copy).expect("room for a link");
        }
    }
}

#[test]
fn run_and_check_refuse_the_same_with_the_same_words() {
    let folder = folder();
    spoilt(&folder.path().join("altered"), "heads.bin", |file| {
        let mut bytes = fs::read(file).expect("a copy");
        bytes[20] ^= 1;
        fs::write(file, bytes).expect("our own file");
    });
    spoilt(&folder.path().join("missing"), "stage2.onnx", |file| fs::remove_file(file).expect("a copy"));
    for (text, told) in [
        ("model.path = \"altered\"\n", "altered/heads.bin: altered: its SHA-256 is "),
        ("model.path = \"altered\"\n", ". Cure: restore the file"),
        (
            "model.path = \"missing\"\n",
            "missing/stage2.onnx: No such file or directory (os error 2). Expected a complete model folder; cure: restore the file",
        ),
        (
            "[window]\nmemory = 100\n",
            "x.toml:2:10: window.memory: 100 is out of range, expected seconds from 0 to 3",
        ),
        ("[engine]\nlibrary = \"nope.so\"\n", "x.toml:2:11: engine.library: "),
        (
            "camera.source = \"file\"\ncamera.file.path = \"nope.mp4\"\n",
            "x.toml:2:20: camera.file.path: nope.mp4: No such file",
        ),
        (
            "[mqtt]\nsettings_file = \"/tmp\"\n",
            "x.toml:2:17: mqtt.settings_file: /tmp is a folder, expected a file in it",
        ),
        (
            "camera.source = \"rtsp\"\ncamera.rtsp.url = \"rtsp://:554/x\"\n",
            "x.toml:2:19: camera.rtsp.url: names no host",
        ),
    ] {
        let file = write(&folder, "x.toml", text);
        for command in ["check", "run"] {
            let (code, out, err) = output(&mut tvsl(&folder, &[command, "--config", &file]));
            assert_eq!((code, out.as_str()), (78, ""), "{command} {text}: {err}");
            assert!(err.contains(told), "{command} {text}: {err}");
        }
    }
}

#[test]
fn all_faults_are_told_in_the_order_of_the_file_whoever_finds_them() {
    let folder = folder();
    let text = "[camera]\nsource = \"test\"\ntest.pattern = \"nix\"\n\
                [detection]\nclasses = [\"dgo\", \"ctt\"]\nbackground = \"nope\"\n\
                [window]\nmemory = 100\n[mqtt]\nport = 0\n";
    let file = write(&folder, "x.toml", text);
    let (code, _, err) = output(&mut tvsl(&folder, &["check", "--config", &file]));
    assert_eq!(code, 78);
    let faults = [
        "camera.test.pattern: ",
        "no class \"dgo\"",
        "no class \"ctt\"",
        "detection.background: ",
        "window.memory: ",
        "mqtt.port: ",
    ];
    let places = faults.map(|told| err.find(told).unwrap_or_else(|| panic!("{told} is missing:\n{err}")));
    assert!(places.is_sorted(), "{err}");
    assert_eq!(err.matches("It knows these").count(), 1, "the classes are listed once: {err}");
    let file = write(&folder, "x.toml", "[model]\npath = \"nowhere\"\n[detection]\nclasses = [\"dgo\"]\n");
    let (_, _, err) = output(&mut tvsl(&folder, &["check", "--config", &file]));
    assert!(err.contains("model.path: ") && !err.contains("dgo\" "), "no model judges its classes: {err}");
}

#[test]
fn a_fatal_error_is_one_line_of_json_in_that_format() {
    let folder = folder();
    for text in ["[mqtt]\nport = 0\n", "[mqtt\n", "[detection]\nclasses = [\"dgo\"]\n"] {
        let file = write(&folder, "x.toml", text);
        for command in ["check", "run"] {
            let json = ["--log-format", "json", "--log-level"];
            for level in ["info", "off"] {
                let mut command = tvsl(&folder, &[command, "--config", &file]);
                let (code, _, err) = output(command.args(json).arg(level));
                let [line] = err.lines().collect::<Vec<_>>()[..] else { panic!("{text}: {err}") };
                let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
                assert_eq!((code, &event["level"]), (78, &"ERROR".into()), "{line}");
                assert!(event["message"].as_str().is_some_and(|told| told.starts_with("x.toml:")), "{line}");
            }
        }
    }
    let file = write(&folder, "x.toml", "log.format = \"json\"\nmqtt.port = 0\n");
    let (_, _, err) = output(&mut tvsl(&folder, &["check", "--config", &file]));
    assert!(serde_json::from_str::<serde_json::Value>(&err).is_ok(), "the file may ask for it too: {err}");
    let (_, _, err) =
        output(&mut tvsl(&folder, &["check", "--config", "absent.toml", "--log-format", "json"]));
    assert!(serde_json::from_str::<serde_json::Value>(&err).is_ok(), "{err}");
}

#[test]
fn what_leaves_nothing_to_report_is_warned_of_in_a_line() {
    let folder = folder();
    for text in
        ["microphone.source = \"none\"\n", "detection.masks = [[0.0, 0.0, 1.0, 0.5], [0.0, 0.5, 1.0, 1.0]]\n"]
    {
        let file = write(&folder, "x.toml", text);
        let (code, _, err) = output(&mut tvsl(&folder, &["check", "--config", &file]));
        assert_eq!((code, err.lines().count()), (0, 1), "{err}");
        assert!(err.contains("WARN") && err.contains("no source is ever reported"), "{err}");
    }
}

#[test]
fn a_password_in_the_wrong_place_is_not_shown() {
    let folder = folder();
    for text in [
        "camera.source = \"rtsp\"\ncamera.rtsp.url = \"http://u:hunter2@x/\"\n",
        "camera.source = \"rtsp\"\ncamera.rtsp.url = \"rtsp//u:hunter2@x/\"\n",
        "camera.rtsp = { url = \"rtsp://u:hunter2@x/\", transport = \"foo\" }\n",
        "camera.rtps.url = \"rtsp://u:hunter2@x/\"\n",
        "camera.source = \"rtsp://u:hunter2@x/s\"\n",
        "camera.source = \"rtsp://u:hunter2@x/s?token=1\"\n",
        "camera.source = \"rtsp\"\ncamera.rtsp.url = \"http://u:hunter2pass@x/?channel=1\"\n",
        "camera.source = \"pipeline\"\ncamera.pipeline.launch = \"nosuch extra-headers=h,Authorization=(string)hunter2 ! x\"\n",
        "camera.source = \"pipeline\"\ncamera.pipeline.launch = \"nosuch user-pw=hunter2 ! x\"\n",
        "camera.source = \"file\"\ncamera.file.path = \"rtsp://u:hunter2@x/s\"\nmicrophone.source = \"media\"\n",
        "mqtt.host = \"u:hunter2@broker\"\n",
        "mqtt.host = \"mqtt://u:hunter2@broker\"\n",
        "mqtt.fallbacks = [\"u:hunter2@broker:1883\"]\n",
        "mqtt.password = \"hunter2\"\n",
    ] {
        let file = write(&folder, "x.toml", text);
        let (code, out, err) = output(&mut tvsl(&folder, &["check", "--config", &file]));
        assert_eq!(code, 78, "{text}: {err}");
        assert!(err.contains("x.toml:") && !(out + &err).contains("hunter2"), "{text}: {err}");
    }
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let folder = folder();
    let (code, _, err) = output(&mut tvsl(&folder, &["check", "--config", "absent.toml"]));
    assert_eq!(code, 78);
    assert!(err.contains("absent.toml: cannot be read: No such file"), "{err}");
    let (code, _, err) = output(tvsl(&folder, &["check"]).env("TVSL_CONFIG", "gone.toml"));
    assert_eq!(code, 78);
    assert!(err.contains("gone.toml: cannot be read"), "{err}");
}

#[test]
fn the_first_configuration_there_is_wins() {
    let folder = folder();
    let named = |name: &str| format!("[device]\nname = \"{name}\"\n");
    write(&folder, "tvsl.toml", &named("here"));
    write(&folder, "environment.toml", &named("environment"));
    write(&folder, "argument.toml", &named("argument"));
    let device = |command: &mut Command| output(command).1;
    assert!(device(&mut tvsl(&folder, &["check"])).contains("tvsl/here/"));
    let environment = ("TVSL_CONFIG", "environment.toml");
    assert!(
        device(tvsl(&folder, &["check"]).env(environment.0, environment.1)).contains("tvsl/environment/")
    );
    let mut both = tvsl(&folder, &["check", "--config", "argument.toml"]);
    assert!(device(both.env(environment.0, environment.1)).contains("tvsl/argument/"));
}

#[test]
fn a_model_that_is_not_there_is_named_with_the_places() {
    let folder = folder();
    let file = write(&folder, "c.toml", "model.path = \"engines/absent\"\n");
    let (code, _, err) = output(&mut tvsl(&folder, &["check", "--config", &file]));
    assert_eq!(code, 78);
    assert!(
        err.contains("no model \"engines/absent\"") && err.contains("/usr/share/tvsl/engines/absent"),
        "{err}"
    );
}

#[test]
fn passwords_are_not_shown() {
    let folder = folder();
    let file = write(
        &folder,
        "c.toml",
        "camera.source = \"rtsp\"\ncamera.rtsp.url = \"rtsp://user:secret@10.0.0.2:554/a@b\"\n",
    );
    let (code, out, err) = output(&mut tvsl(&folder, &["check", "--config", &file]));
    assert_eq!(code, 0);
    assert!(out.contains("rtsp://***@10.0.0.2:554/a@b") && !(out + &err).contains("secret"), "{err}");
    assert!(
        err.contains("WARN") && err.contains("everyone may read it") && err.contains("chmod 640"),
        "{err}"
    );
    std::fs::set_permissions(folder.path().join("c.toml"), PermissionsExt::from_mode(0o640)).unwrap();
    let (_, _, err) = output(&mut tvsl(&folder, &["check", "--config", &file]));
    assert!(!err.contains("everyone"), "{err}");
    let launch = "uridecodebin uri=\\\"rtsp://admin:mypass1@10.0.0.2/s?channel=1\\\" ! videoconvert";
    let file = write(
        &folder,
        "c.toml",
        &format!("camera.source = \"pipeline\"\ncamera.pipeline.launch = \"{launch}\"\n"),
    );
    let (code, out, err) = output(&mut tvsl(&folder, &["check", "--config", &file]));
    assert!(code == 0 && out.contains("rtsp://***@10.0.0.2/s?channel=***"), "{out}{err}");
    assert!(!out.contains("mypass1") && !out.contains("admin"), "{out}");
}

#[test]
fn the_journal_gets_priorities_on_every_line() {
    let folder = folder();
    let file = write(&folder, "c.toml", "mqtt.port = 0\n");
    let mut command = tvsl(&folder, &["check", "--config", &file]);
    let (code, _, err) = output(command.env("JOURNAL_STREAM", "9:1"));
    assert_eq!(code, 78);
    assert!(err.lines().count() > 1 && err.lines().all(|line| line.starts_with("<3>")), "{err}");
}

#[test]
fn logs_can_be_json() {
    let (code, _, err) =
        output(&mut tvsl(&folder(), &["check", "--log-format", "json", "--log-level", "debug"]));
    assert_eq!(code, 0);
    let line = err.lines().next().expect("a log line");
    let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
    assert_eq!((&event["level"], &event["message"]), (&"DEBUG".into(), &"configuration".into()));
}

#[test]
fn a_wrong_log_level_is_named() {
    let (code, _, err) = output(&mut tvsl(&folder(), &["check", "--log-level", "loud"]));
    assert_eq!(code, 2);
    assert!(err.contains("\"loud\" is no level"), "{err}");
    let (code, _, err) = output(tvsl(&folder(), &["check"]).env("TVSL_LOG", "loud"));
    assert_eq!(code, 78);
    assert!(err.contains("TVSL_LOG: \"loud\" is no level"), "{err}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let status = tvsl(&folder(), &["check"]).stdout(writer).status().expect("the program starts");
    assert!(status.success(), "{status}");
}

#[test]
fn what_cannot_be_written_changes_no_exit_code_but_that_of_success() {
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").expect("a device that is always full");
    for arguments in [&["--help"][..], &["--version"], &["check"]] {
        let (code, _, err) = output(tvsl(&folder(), arguments).stdout(full()));
        assert!(code == 1 && err.contains("standard output cannot be written"), "{arguments:?}: {err}");
    }
    let folder = folder();
    let file = write(&folder, "wrong.toml", "mqtt.port = 0\n");
    let mut command = tvsl(&folder, &["check", "--config", &file]);
    assert_eq!(output(command.stderr(full())).0, 78, "a reason that cannot be written changes nothing");
}

#[test]
fn the_shipped_model_and_configuration_belong_together() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = root.join("config/tvsl.toml");
    let (code, out, err) = output(&mut tvsl(&folder(), &["check", "--config", &file.to_string_lossy()]));
    assert_eq!(code, 0, "{err}");
    assert!(out.contains(&file.display().to_string()), "{out}");
}

#[test]
fn bash_completes_subcommands_and_flags() {
    let folder = folder();
    let (code, script, _) = output(&mut tvsl(&folder, &["completions", "bash"]));
    assert_eq!(code, 0);
    write(&folder, "tvsl.bash", &script);
    let completed = |word: &str, before: &str| {
        let line = format!(
            "source ./tvsl.bash; COMP_WORDS=({before} {word}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _tvsl tvsl {word} {before}; echo ${{COMPREPLY[@]}}"
        );
        output(Command::new("bash").args(["-c", &line]).current_dir(folder.path())).1
    };
    assert_eq!(completed("che", "tvsl").trim(), "check");
    assert_eq!(completed("--clas", "tvsl check").trim(), "--classes");
}

#[test]
fn every_subcommand_has_a_man_page() {
    let folder = folder();
    let (code, out, err) = output(&mut tvsl(&folder, &["man", "--out", "man"]));
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", ""));
    for page in ["tvsl", "tvsl-run", "tvsl-check", "tvsl-doctor", "tvsl-engine-build"] {
        let text = fs::read_to_string(folder.path().join(format!("man/{page}.1"))).expect("a man page");
        assert!(text.contains(".TH ") && text.contains(".SH SYNOPSIS"), "{page}");
    }
}

#[test]
fn the_sound_library_does_not_write_past_the_log() {
    let folder = folder();
    let parts = "camera.source = \"test\"\nmicrophone.alsa.device = \"nosuch\"\nmqtt.enabled = false\n";
    let file = write(&folder, "away.toml", &format!("{parts}[service]\nstart_within = 0.0\n"));
    let mut run = tvsl(&folder, &["run", "--config", &file, "--log-format", "json", "--log-level", "debug"]);
    let mut run = run.stderr(std::process::Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(run.stderr.take().expect("its log")).lines().map_while(Result::ok);
    let told = lines.by_ref().take_while(|line| !line.contains("nosuch\\\"")).collect::<Vec<_>>();
    run.kill().and_then(|()| run.wait()).expect("it ends");
    assert!(told.iter().chain(&lines.collect::<Vec<_>>()).all(|line| line.starts_with('{')), "{told:?}");
    assert!(told.iter().any(|line| line.contains("ALSA: ")), "{told:?}");
}

#[test]
fn a_device_in_the_place_of_a_file_is_told_and_does_not_fill_the_memory() {
    let folder = folder();
    write(&folder, "background.toml", "detection.background = \"/dev/zero\"");
    write(&folder, "ca.toml", "[mqtt.tls]\nenabled = true\nca_file = \"/dev/zero\"");
    fs::create_dir(folder.path().join("model")).expect("a folder");
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("model/manifest.toml")).expect("a link");
    fs::File::create(folder.path().join("holes.json"))
        .and_then(|file| file.set_len(1 << 33))
        .expect("a file");
    for arguments in [
        "check --config background.toml",
        "check --config ca.toml",
        "check --config /dev/zero",
        "engine inspect --model model",
        "eval holes.json",
        "fleet-sim --recording /dev/zero",
    ] {
        let limited = format!("ulimit -v 8000000; exec {} {arguments}", env!("CARGO_BIN_EXE_tvsl"));
        let (code, _, err) = output(Command::new("sh").current_dir(folder.path()).args(["-c", &limited]));
        assert!(code != 0 && err.contains("larger than"), "{arguments}: {code} {err}");
    }
}
