//! `tvsl doctor` names what does not work, with its cure, and never shows a secret; `tvsl devices` lists
//! what there is.

mod cards;
mod certificates;
mod daemon;
mod support;

use std::fs::Permissions;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use cards::test_cards;
use certificates::{certificates, closed, shows};
use daemon::{PATIENCE, Place};
use serde_json::Value;
use support::Folder;

const TEST_CAMERA: &str = "[camera]\nsource = \"test\"\n";
const NO_BROKER: &str = "[mqtt]\nenabled = false\n";

/// What `tvsl doctor --json` found, by stage, with its exit code.
struct Findings(i32, Vec<Value>, String);

impl Findings {
    /// Asserts the verdict on a stage; gives what was found and the cure.
    fn stage(&self, stage: &str, verdict: &str) -> String {
        let check = self.1.iter().find(|check| check["stage"] == stage);
        let check = check.unwrap_or_else(|| panic!("no stage {stage}: {:?}", self.1));
        assert_eq!(check["verdict"], verdict, "{check}");
        assert!(verdict != "failed" || check["cure"].is_string(), "a failure without a cure: {check}");
        check.to_string()
    }
}

fn doctor(config: &Path, environment: &[(&str, &Path)]) -> Findings {
    doctor_with(&[], config, environment)
}

fn doctor_with(arguments: &[&str], config: &Path, environment: &[(&str, &Path)]) -> Findings {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tvsl"));
    command.args(["doctor", "--json"]).args(arguments).arg("--config").arg(config);
    for variable in ["TVSL_LOG", "JOURNAL_STREAM", "INVOCATION_ID"] {
        command.env_remove(variable);
    }
    let output = command.envs(environment.iter().copied()).output().expect("the program runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let checks = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
    Findings(output.status.code().expect("an exit code"), checks, format!("{out}{err}"))
}

/// A mosquitto on a free port; killed when dropped.
struct Broker(Child, u16);

impl Broker {
    fn start(place: &Place, settings: &str) -> Self {
        let port = free_port();
        let file = place.path("mosquitto.conf");
        std::fs::write(&file, format!("listener {port} 127.0.0.1\n{settings}\n")).expect("room for a file");
        let path = format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(&file).env("PATH", path).stdout(Stdio::null()).stderr(Stdio::null());
        let broker = Self(command.spawn().expect("mosquitto is installed: `make setup-test`"), port);
        let began = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(began.elapsed() < PATIENCE, "mosquitto does not start");
            std::thread::yield_now();
        }
        broker
    }

    fn section(&self) -> String {
        format!("[mqtt]\nport = {}\n", self.1)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}

fn microphone(device: &str, more: &str) -> String {
    format!("[microphone]\nsource = \"alsa\"\n[microphone.alsa]\ndevice = \"{device}\"\n{more}")
}

#[test]
fn a_healthy_device_has_nothing_to_be_cured() {
    let (place, folder) = (Place::new(), Folder::new("doctor-healthy"));
    let broker = Broker::start(&place, "allow_anonymous true");
    let config = place.config(&format!("{TEST_CAMERA}{}{}", microphone("s16", ""), broker.section()));
    let found = doctor(&config, &[("ALSA_CONFIG_PATH", &test_cards(&folder))]);
    for stage in [
        "configuration",
        "secrets",
        "model",
        "engine",
        "camera",
        "microphone",
        "arrival",
        "dns",
        "tcp",
        "mqtt",
        "publish",
    ] {
        found.stage(stage, "ok");
    }
    assert_eq!(found.0, 0, "{}", found.2);
    found.stage("tls", "skipped");
    assert!(found.stage("publish", "ok").contains("tvsl/test/doctor"));
    assert!(found.stage("camera", "ok").contains("pictures/s"));
}

#[test]
fn what_is_missing_is_named_with_its_cure() {
    let place = Place::new();
    let camera = "[camera]\nsource = \"v4l2\"\n[camera.v4l2]\ndevice = \"/dev/v4l/by-id/none\"\n";
    let store = "store.enabled = true\nstore.file = \"/dev/null/events.log\"\n";
    let broker = format!("[mqtt]\nport = {}\n{store}", free_port());
    let config = place.config(&format!("{camera}{}{broker}", microphone("hw:CARD=Absent", "")));
    let found = doctor(&config, &[]);
    assert_eq!(found.0, 1);
    assert!(found.stage("camera", "failed").contains("/dev/v4l/by-id/none"));
    assert!(found.stage("microphone", "failed").contains("hw:CARD=Absent"));
    assert!(found.stage("tcp", "failed").contains("refused"));
    assert!(found.stage("store", "failed").contains("/dev/null is no folder"));
    found.stage("arrival", "skipped");
}

#[test]
fn a_silent_microphone_and_a_frozen_black_picture_are_noticed() {
    let (place, folder) = (Place::new(), Folder::new("doctor-silent"));
    let camera = "[camera]\nsource = \"pipeline\"\n[camera.pipeline]\nlaunch = \"videotestsrc is-live=true pattern=PATTERN ! video/x-raw,framerate=RATE/1 ! identity\"\n";
    let cards = test_cards(&folder);
    let look = |pattern, rate, card: &str| {
        let camera = camera.replace("PATTERN", pattern).replace("RATE", rate);
        doctor(&place.config(&format!("{camera}{card}{NO_BROKER}")), &[("ALSA_CONFIG_PATH", &cards)])
    };
    // The second channel of this card holds nothing.
    let found = look("black", "20", &microphone("s32", "channel = 1\n"));
    assert!(found.stage("microphone", "failed").contains("digital silence: every sample of 15 s is 0"));
    assert!(found.stage("camera", "warning").contains("black"));
    found.stage("broker", "skipped");
    let found = look("smpte100", "20", &microphone("s16", ""));
    assert!(found.stage("camera", "warning").contains("every picture is the same"));
    let found = look("ball", "4", &microphone("s16", ""));
    assert!(found.stage("camera", "warning").contains("10 are asked for"));
    assert_eq!(found.0, 0, "a warning is no failure");
}

#[test]
fn a_broker_that_forbids_the_topic_is_told_from_one_that_is_away() {
    let place = Place::new();
    let rights = place.path("acl");
    std::fs::write(&rights, "topic read other/#\n").expect("room for a file");
    let broker = Broker::start(&place, &format!("allow_anonymous true\nacl_file {}", rights.display()));
    let quiet = format!("{TEST_CAMERA}[microphone]\nsource = \"media\"\n");
    let found = doctor(&place.config(&format!("{quiet}{}", broker.section())), &[]);
    found.stage("mqtt", "ok");
    assert!(found.stage("publish", "failed").contains("ACL"));
    drop(broker);
    let broker = Broker::start(&place, "allow_anonymous false");
    let found = doctor(&place.config(&format!("{quiet}{}", broker.section())), &[]);
    assert!(found.stage("mqtt", "failed").contains("not authorised"));
    closed(&place.path("user"), "tvsl");
    let files = "username_file = \"user\"\npassword_file = \"mqtt-password\"\n";
    let password = format!("{quiet}{}{files}", broker.section());
    let told = doctor(&place.config(&password), &[]).stage("mqtt", "warning");
    assert!(told.contains("mqtt-password") && told.contains("LoadCredential"), "{told}");
    let nowhere = format!("{quiet}[mqtt]\nhost = \"no-such-host.invalid\"\n");
    doctor(&place.config(&nowhere), &[]).stage("dns", "failed");
}

#[test]
fn a_certificate_that_is_not_trusted_is_told_from_a_broker_that_refuses() {
    let place = Place::new();
    certificates(&place);
    let wants = "require_certificate true\nallow_anonymous true";
    let client = "certificate_file = \"client.crt\"\nkey_file = \"client.key\"\n";
    for (broker, trusted, own, verdict, told) in [
        (shows(&place, "server", "allow_anonymous true"), "ca", "", "ok", "trusted"),
        (shows(&place, "server", "allow_anonymous true"), "stranger", "", "failed", "ca_file"),
        (shows(&place, "stale", "allow_anonymous true"), "ca", "", "failed", "clock"),
        ("allow_anonymous true".into(), "ca", "", "failed", "TLS port"),
        (shows(&place, "server", wants), "ca", "", "failed", "certificate_file"),
        (shows(&place, "server", wants), "ca", client, "ok", "trusted"),
    ] {
        let broker = Broker::start(&place, &broker);
        let tls = format!("[mqtt.tls]\nenabled = true\nca_file = \"{trusted}.crt\"\n{own}");
        let quiet = format!("{TEST_CAMERA}[microphone]\nsource = \"none\"\n{}", broker.section());
        let found = doctor(&place.config(&format!("{quiet}{tls}")), &[]);
        assert!(found.stage("tls", verdict).contains(told), "{}", found.2);
        let last = found.1.iter().any(|check| check["stage"] == "publish" && check["verdict"] == "ok");
        assert_eq!(last, verdict == "ok", "{}", found.2);
    }
}

#[test]
fn every_broker_is_tried_and_one_that_works_will_do() {
    let place = Place::new();
    let (away, broker) = (free_port(), Broker::start(&place, "allow_anonymous true"));
    let fallbacks = format!("fallbacks = [\"127.0.0.1:{}\"]\n", broker.1);
    let quiet = format!("{TEST_CAMERA}[microphone]\nsource = \"media\"\n[mqtt]\nport = {away}\n");
    let config = place.config(&format!("{quiet}{fallbacks}"));
    let found = doctor(&config, &[]);
    assert!(found.stage("tcp", "warning").contains(&away.to_string()));
    found.stage("publish", "ok");
    assert_eq!(found.0, 0, "{}", found.2);
    drop(broker);
    assert_eq!(doctor(&config, &[]).0, 1, "none is left");
}

#[test]
fn claps_tell_how_far_apart_picture_and_sound_are() {
    let place = Place::new();
    let camera = "[camera]\nsource = \"test\"\n[camera.test]\npattern = \"PATTERN\"\n[microphone]\nsource = \"media\"\n";
    let clap = |pattern| {
        let camera = camera.replace("PATTERN", pattern);
        doctor_with(&["--clap"], &place.config(&format!("{camera}{NO_BROKER}")), &[])
    };
    // It flashes and beeps as every second begins.
    let told = clap("flash").stage("offset", "ok");
    let after = told.split("are heard ").nth(1).and_then(|rest| rest.split(" ms").next());
    let ms: f64 = after.and_then(|ms| ms.parse().ok()).unwrap_or_else(|| panic!("{told}"));
    assert!(ms <= 150.0, "{told}");
    assert!(clap("black").stage("offset", "warning").contains("nothing moved"));
}

#[test]
fn a_secret_is_never_shown() {
    let place = Place::new();
    let (word, port) = ("OpenSesame", free_port());
    let camera = format!(
        "[camera]\nsource = \"rtsp\"\n[camera.rtsp]\nurl = \"rtsp://user:{word}@127.0.0.1:{port}/stream\"\n"
    );
    let config = place.config(&format!("{camera}[microphone]\nsource = \"media\"\n{NO_BROKER}"));
    let found = doctor(&config, &[]);
    found.stage("camera", "failed");
    found.stage("microphone", "skipped");
    assert!(found.stage("secrets", "warning").contains("sudo chgrp video"));
    assert!(!found.2.contains(word), "{}", found.2);
}

/// As root alone, who can become another user.
#[test]
fn a_secret_that_is_kept_from_others_as_advised_can_still_be_read_by_the_service() {
    if std::fs::metadata("/proc/self").expect("a process").uid() != 0 {
        return println!("skipped: not root");
    }
    let (place, program) = (Place::new(), env!("CARGO_BIN_EXE_tvsl"));
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("our own file");
    };
    mode(place.0.path(), 0o755);
    let (own, model) = (place.path("tvsl"), place.path("model"));
    std::fs::hard_link(program, &own).or_else(|_| std::fs::copy(program, &own).map(drop)).expect("a program");
    copy_of_tiny(&model);
    let camera =
        "[camera]\nsource = \"rtsp\"\n[camera.rtsp]\nurl = \"rtsp://user:OpenSesame@127.0.0.1:1/stream\"\n";
    let config = place.path("tvsl.toml");
    let text = format!("[model]\npath = \"model\"\n{camera}[microphone]\nsource = \"media\"\n{NO_BROKER}");
    std::fs::write(&config, text).expect("room for a file");
    let checked_by_service = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=61184", "--regid=61184", "--groups=audio,video"]).arg(&own).arg("check");
        let output =
            command.arg("--config").arg(&config).current_dir(place.0.path()).output().expect("setpriv");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    mode(&config, 0o600);
    let (code, told) = checked_by_service();
    let words = ["Permission denied", "as user 61184", "sudo chgrp video"];
    assert!(code == Some(78) && words.iter().all(|words| told.contains(words)), "{code:?}: {told}");
    mode(&config, 0o644);
    let told = doctor(&config, &[]).stage("secrets", "warning");
    let advised = told.split('`').nth(1).unwrap_or_else(|| panic!("{told}"));
    let done = Command::new("sh").args(["-c", &format!("sudo() {{ \"$@\"; }}; {advised}")]).status();
    assert!(done.expect("a shell").success(), "{advised}");
    let left = std::fs::metadata(&config).expect("our own file").mode();
    assert_eq!((left & 0o007, checked_by_service().0), (0, Some(0)), "{left:o}");
    doctor(&config, &[]).stage("secrets", "ok");
}

/// A copy of the tiny model.
fn copy_of_tiny(folder: &Path) {
    std::fs::create_dir(folder).expect("room for a folder");
    for entry in std::fs::read_dir("tests/data/tiny").expect("the tiny model").flatten() {
        std::fs::copy(entry.path(), folder.join(entry.file_name())).expect("room for a file");
    }
}

#[test]
fn what_check_refuses_is_refused_here_too_in_the_same_words() {
    let place = Place::new();
    let quiet = format!("{TEST_CAMERA}[microphone]\nsource = \"none\"\n");
    let pipeline = "[camera]\nsource = \"pipeline\"\n[camera.pipeline]\nlaunch = \"nosuchelement\"\n";
    let clip = "[camera]\nsource = \"file\"\n[camera.file]\npath = \"/no/clip.mp4\"\n";
    for (key, text) in [
        ("detection.classes", format!("{quiet}[detection]\nclasses = [\"unicorn\"]\n{NO_BROKER}")),
        ("camera.pipeline.launch", format!("{pipeline}{NO_BROKER}")),
        ("camera.file.path", format!("{clip}{NO_BROKER}")),
        ("engine.library", format!("{quiet}[engine]\nlibrary = \"/no/library.so\"\n{NO_BROKER}")),
        ("mqtt.settings_file", format!("{quiet}[mqtt]\nsettings_file = \"/tmp\"\n")),
        ("mqtt.password_file", format!("{quiet}[mqtt]\npassword_file = \"/no/password\"\n")),
    ] {
        let config = place.config(&text);
        let found = doctor(&config, &[]);
        assert_eq!(found.0, 78, "{key}: {}", found.2);
        found.stage("configuration", "failed");
        let told = found.1[0]["found"].as_str().expect("text");
        assert!(told.contains("tvsl.toml:") && told.contains(key), "{told}");
        assert!(!found.1.iter().any(|check| check["stage"] == "model"), "{}", found.2);
        let mut check = Command::new(env!("CARGO_BIN_EXE_tvsl"));
        let output = check.arg("check").arg("--config").arg(&config).output().expect("the program runs");
        let refused = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(78) && refused.contains(told.trim_end()), "{refused}\n{told}");
    }
}

#[test]
fn a_configuration_that_is_not_there_is_told_from_a_wrong_one() {
    let found = doctor(Path::new("/no/tvsl.toml"), &[]);
    assert_eq!(found.0, 78);
    assert!(found.stage("configuration", "failed").contains("/no/tvsl.toml: cannot be read"));
}

#[test]
fn a_wrong_configuration_and_an_altered_model_are_told_apart() {
    let place = Place::new();
    let found = doctor(&place.config("[mqtt]\nport = 0\n"), &[]);
    assert_eq!(found.0, 78);
    assert!(found.stage("configuration", "failed").contains("mqtt.port"));
    let model = place.path("model");
    copy_of_tiny(&model);
    std::fs::write(model.join("image.onnx"), "altered").expect("room for a file");
    let text =
        format!("[model]\npath = \"model\"\n{TEST_CAMERA}[microphone]\nsource = \"media\"\n{NO_BROKER}");
    let config = place.path("other.toml");
    std::fs::write(&config, text).expect("room for a file");
    let found = doctor(&config, &[]);
    assert_eq!(found.0, 1);
    assert!(found.stage("model", "failed").contains("image.onnx"));
    found.stage("camera", "ok");
}

#[test]
fn devices_lists_microphones_and_engines() {
    let folder = Folder::new("devices");
    let list = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tvsl"));
        command.arg("devices").args(arguments).env("ALSA_CONFIG_PATH", test_cards(&folder));
        let output = command.output().expect("the program runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let found: Value = serde_json::from_str(&list(&["--json"])).expect("JSON");
    let microphones = found["microphones"].as_array().expect("a list");
    let card = microphones.iter().find(|found| found["device"] == "s16").expect("the test card");
    assert_eq!((&card["description"], &card["stable"]), (&"test card".into(), &false.into()));
    assert_eq!((&found["engines"][0]["kind"], &found["engines"][0]["usable"]), (&"cpu".into(), &true.into()));
    assert!(found["cameras"].is_array() && found["gpus"].is_array());
    let table = list(&[]);
    assert!(table.contains("Cameras (for [camera.v4l2] device)\n") && table.contains("\n  s16 "), "{table}");
}

#[test]
fn a_clip_that_begins_silent_is_listened_to_until_it_sounds() {
    let place = Place::new();
    let sound = "audiotestsrc is-live=true wave=silence num-buffers=50 samplesperbuffer=4800 ! audio/x-raw,rate=48000,channels=1 ! c. \
        audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=1 ! c. concat name=c ! identity";
    let camera = format!(
        "[camera]\nsource = \"pipeline\"\n[camera.pipeline]\nlaunch = \"videotestsrc is-live=true ! \
         video/x-raw,framerate=20/1 ! identity {sound}\"\n[microphone]\nsource = \"media\"\n"
    );
    let found = doctor(&place.config(&format!("{camera}{NO_BROKER}")), &[]);
    found.stage("microphone", "ok");
}

#[test]
fn a_port_of_the_monitor_that_is_taken_is_named() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    let text = format!("{TEST_CAMERA}[microphone]\nsource = \"none\"\n{NO_BROKER}[monitor]\nport = {port}\n");
    let place = Place::new();
    let config = place.config(&text);
    let told = doctor(&config, &[]).stage("web", "failed");
    assert!(told.contains(&format!("127.0.0.1:{port}")) && told.contains("ss -ltnp"), "{told}");
    drop(taken);
    doctor(&config, &[]).stage("web", "ok");
}
