//! The support bundle tells what helps, and never a secret that was planted.

mod daemon;

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use daemon::Place;
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

const PLANTED: [&str; 5] = ["wachtmeister", "geheim-7", "blau&gelb", "hinter-der-tuer", "schluessel.txt"];

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
        "[camera]\nsource = \"rtsp\"\nrate = 7.5\nrtsp.url = \"rtsp://wachtmeister:geheim-7@127.0.0.1:1/s\"\n\
         pipeline.launch = \"souphttpsrc user-id=wachtmeister user-pw=hinter-der-tuer ! identity\"\n\
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
    assert_eq!(json("configuration.json")["camera"]["rtsp"]["url"], "rtsp://***@127.0.0.1:1/s");
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
    let config = place
        .config("[mqtt]\npassword = \"geheim-7\"\n[camera]\nrtsp.url = \"http://wachtmeister:geheim-7@x\"\n");
    let out = place.path("bundle.tar.gz");
    let output = report(&config, &out, &place.path(""));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let files = unpacked(&out);
    assert!(files["doctor.json"].contains("mqtt.password"), "{}", files["doctor.json"]);
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
