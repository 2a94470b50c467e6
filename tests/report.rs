//! The support bundle tells what helps, and never a secret that was planted.

mod daemon;
mod installed;

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use daemon::Place;
use installed::Installed;
use serde_json::Value;
use tvsl::config::Config;

fn report(config: &Path, out: &Path, state: &Path) -> Output {
    let mut command = command(config, out, state);
    command.output().expect("the program runs")
}

fn command(config: &Path, out: &Path, state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tvsl"));
    command.arg("--config").arg(config).args(["report", "--out"]).arg(out);
    command.env("STATE_DIRECTORY", state).env_remove("TVSL_LOG");
    command
}

/// Names and texts of the bundle's files.
fn unpacked(bundle: &Path) -> BTreeMap<String, String> {
    let file = std::fs::File::open(bundle).expect("a bundle");
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let entries = archive.entries().expect("a tar");
    let read = |entry: std::io::Result<tar::Entry<_>>| {
        let mut entry = entry.expect("a whole entry");
        let (mut text, name) = (String::new(), entry.path().expect("a name").display().to_string());
        entry.read_to_string(&mut text).expect("text");
        (name.strip_prefix("tvsl-report/").expect("one folder").to_owned(), text)
    };
    entries.map(read).collect()
}

const PLANTED: [&str; 6] =
    ["wachtmeister", "geheim-7", "blau&gelb", "hinter-der-tuer", "schluessel.txt", "c2VzYW0"];

#[test]
fn a_bundle_tells_what_helps_and_no_planted_secret() {
    let place = Place::new();
    let [user, password] =
        [("wer.txt", "wachtmeister"), ("schluessel.txt", "blau&gelb")].map(|(name, held)| {
            let file = place.path(name);
            std::fs::write(&file, format!("{held}\n")).expect("room for a file");
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("its owner");
            file
        });
    let config = place.config(&format!(
        "[camera]\nsource = \"rtsp\"\nrate = 7.5\nrtsp.url = \"rtsp://wachtmeister:geheim-7@127.0.0.1:1/s?token=1\"\n\
         pipeline.launch = \"souphttpsrc user-id=wachtmeister user-pw=hinter-der-tuer \
         extra-headers=h,Authorization=(string)Basic%20c2VzYW0 ! identity\"\n\
         [microphone]\nsource = \"media\"\n\
         [mqtt]\nhost = \"127.0.0.1\"\nport = 1\nusername_file = \"{}\"\npassword_file = \"{}\" # geheim-7\n",
        user.display(),
        password.display()
    ));
    // The state repeats a secret, as a careless log line would.
    let settings = Config::load(&config).expect("a configuration").settings_file().expect("a folder for it");
    std::fs::write(
        place.path("").join(settings.file_name().expect("a file")),
        "{\"said\": \"hinter-der-tuer\"}",
    )
    .expect("room for a file");
    let (out, folder) = (place.path("bundle.tar.gz"), place.path(""));
    let output = report(&config, &out, &folder);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::metadata(&out).expect("a bundle").permissions().mode() & 0o777, 0o600);
    let files = unpacked(&out);
    for (name, text) in &files {
        for secret in PLANTED {
            assert!(!text.contains(secret), "{secret} stands in {name}:\n{text}");
        }
    }
    let json = |name: &str| serde_json::from_str::<Value>(&files[name]).expect("JSON");
    assert_eq!(json("configuration.json")["camera"]["rate"], 7.5);
    assert_eq!(json("configuration.json")["camera"]["rtsp"]["url"], "rtsp://***@127.0.0.1:1/s?token=***");
    assert!(
        json("doctor.json").as_array().is_some_and(|checks| checks.iter().any(|c| c["stage"] == "camera"))
    );
    assert!(json("devices.json")["engines"].is_array());
    assert_eq!(json("settings.json")["said"], "***");
    assert!(files["about.txt"].contains(env!("CARGO_PKG_VERSION")));
    assert!(files["model.toml"].contains("name = \"tiny\""));
    assert!(files["system.txt"].contains("Linux version"));
    assert_eq!(report(&config, &out, &folder).status.code(), Some(1), "nothing is overwritten");
}

#[test]
fn a_wrong_configuration_is_reported_without_the_lines_it_quotes() {
    let place = Place::new();
    let config = place.config(&format!(
        "[mqtt]\npassword = \"geheim-7\"\n{}[camera]\nrtsp.url = \"http://wachtmeister:geheim-7@x\"\n",
        "\n".repeat(1000)
    ));
    let settings =
        format!("settings-tvsl-{:08x}.json", crc32fast::hash(config.as_os_str().as_encoded_bytes()));
    std::fs::write(place.path(&settings), "{\"sensitivity\": 1.5}").expect("room for a file");
    let out = place.path("bundle.tar.gz");
    let output = report(&config, &out, &place.path(""));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let files = unpacked(&out);
    assert_eq!(files["settings.json"], "{\"sensitivity\": 1.5}", "a wrong file changes nothing of them");
    let checks: Value = serde_json::from_str(&files["doctor.json"]).expect("JSON");
    let told = checks[0]["found"].as_str().expect("a text");
    assert!(told.contains("mqtt.password") && told.contains("camera.rtsp.url"), "both faults: {told}");
    for (name, text) in &files {
        assert!(!text.contains("geheim-7"), "{name}:\n{text}");
    }
}

#[test]
fn the_services_instances_are_in_the_bundle_too() {
    let place = Place::new();
    let config = place
        .config("[camera]\nsource = \"test\"\n[microphone]\nsource = \"none\"\n[mqtt]\nenabled = false\n");
    let (folder, out) = (place.path("bin"), place.path("bundle.tar.gz"));
    std::fs::create_dir(&folder).expect("room for a folder");
    let asked = folder.join("systemctl");
    std::fs::write(&asked, "#!/bin/sh\necho \"asked to $*\"\n").expect("room for a file");
    std::fs::set_permissions(&asked, PermissionsExt::from_mode(0o755)).expect("its owner");
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    let output =
        command(&config, &out, &place.path("")).env("PATH", path).output().expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = &unpacked(&out)["service.txt"];
    assert!(told.contains("asked to show tvsl.service tvsl@*.service --property Id,"), "{told}");
}

/// A configuration of a service that keeps events, with the tiny model and a broker that is away.
fn serving() -> String {
    let model = std::path::absolute("tests/data/tiny").expect("a working directory");
    format!(
        "[model]\npath = \"{}\"\n[camera]\nsource = \"test\"\n[microphone]\nsource = \"none\"\n\
         [mqtt]\nhost = \"127.0.0.1\"\nport = 1\n[mqtt.store]\nenabled = true\n",
        model.display()
    )
}

fn tvsl(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tvsl"));
    command.args(arguments);
    command
}

/// What `doctor` in a bundle found in a stage, with its verdict.
fn stage(files: &BTreeMap<String, String>, stage: &str) -> (String, String) {
    let checks = serde_json::from_str::<Vec<Value>>(&files["doctor.json"]).expect("JSON");
    let check = checks.iter().find(|check| check["stage"] == stage).expect("the stage");
    let said = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
    (said("verdict"), said("found"))
}

/// What is looked at is the state of the service, wherever whoever looks has his home; and nothing is written there.
#[test]
fn without_a_variable_the_state_of_the_service_is_looked_at_and_left_as_it_is() {
    let Some(installed) = Installed::new(&serving()) else { return };
    let [settings, events] = [("settings", "json"), ("events", "log")].map(|(a, b)| Installed::name(a, b));
    std::fs::write(installed.state().join(&settings), "{\"sensitivity\": 1.5}").expect("room for a file");
    let out = installed.home().join("bundle.tar.gz");
    let report = tvsl(&["report", "--out", out.to_str().expect("a plain name")]);
    let bundle = |command: &mut Command| {
        let _ = std::fs::remove_file(&out);
        let output = command.output().expect("the program runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        unpacked(&out)
    };
    let files = bundle(&mut installed.root(&report));
    assert_eq!(files["settings.json"], "{\"sensitivity\": 1.5}");
    assert_eq!(stage(&files, "store"), ("ok".into(), format!("/var/lib/tvsl-hall/{events}")));
    let checked = installed.root(&tvsl(&["check", "--model"])).output().expect("the program runs");
    let checked = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.contains(&format!("/var/lib/tvsl-hall/{events}")), "{checked}");
    assert_eq!(installed.kept(), [settings.as_str()], "it was written to");

    // What runs by hand is no service, and keeps to its own.
    let own = installed.home().join(".local/state/tvsl").join(&events);
    let mut by_hand = Command::new("sh");
    let until =
        "\"$1\" run & for turn in $(seq 300); do [ -e \"$2\" ] && break; sleep 0.1; done; kill $!; wait";
    by_hand.args(["-c", until, "sh", env!("CARGO_BIN_EXE_tvsl")]).arg(&own);
    let ran = installed.root(&by_hand).output().expect("a shell");
    let log = String::from_utf8_lossy(&ran.stderr);
    assert!(own.exists(), "{log}");
    assert_eq!(installed.kept(), [settings.as_str()], "a run by hand wrote to it: {log}");

    // Whoever may not look is told so, and not of his own home.
    let Some(mut nobody) = installed.nobody(&report) else { return };
    let files = bundle(&mut nobody);
    let told = &files["settings.json"];
    assert!(told.contains("skipped: /var/lib/tvsl-hall/settings-") && told.contains("`sudo`"), "{told}");
    let (verdict, found) = stage(&files, "store");
    assert!(
        verdict == "skipped" && found.contains("/var/lib/tvsl-hall") && found.contains("`sudo`"),
        "{found}"
    );

    // Before the first start of the service there is nothing of its to look at.
    std::fs::remove_dir_all(installed.state()).expect("our own folder");
    let (verdict, found) = stage(&bundle(&mut installed.root(&report)), "store");
    assert!(verdict == "ok" && found.contains("/home/.local/state/tvsl/events-"), "{found}");
}
