//! The systemd unit is understood by systemd to the last key.

use std::fs;
use std::path::Path;
use std::process::Command;

fn unit() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/tvsl.service");
    fs::read_to_string(file).expect("systemd/tvsl.service")
}

/// What `systemd-analyze verify` has to say about `text`; `None` without that program. A misspelled key
/// leaves its exit code at 0, so every line about the unit counts.
fn verify(text: &str) -> Option<Vec<String>> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tvsl.service");
    // The program need not be installed for the unit to be judged.
    fs::write(&file, text.replace("/usr/bin/tvsl", env!("CARGO_BIN_EXE_tvsl"))).expect("a file");
    let output = match Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&file).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => panic!("systemd-analyze: {error}"),
    };
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    let about_it = said.lines().filter(|line| line.contains("tvsl")).map(String::from).collect::<Vec<_>>();
    assert!(output.status.success() || !about_it.is_empty(), "systemd-analyze failed: {said}");
    Some(about_it)
}

#[test]
fn systemd_has_nothing_to_say_about_it() {
    match verify(&unit()) {
        Some(said) => assert_eq!(said, Vec::<String>::new()),
        None => println!("skipped: systemd-analyze absent"),
    }
}

#[test]
fn a_misspelled_key_would_be_seen() {
    if let Some(said) = verify(&unit().replace("WatchdogSec", "WatchdogSecs")) {
        assert!(said.iter().any(|line| line.contains("WatchdogSecs")), "{said:?}");
    } else {
        println!("skipped: systemd-analyze absent");
    }
}

#[test]
fn it_keeps_its_promises() {
    let unit = unit();
    for line in [
        "Type=notify",
        "Restart=on-failure",
        "RestartPreventExitStatus=78",
        "ExecStart=/usr/bin/tvsl run",
        "WantedBy=multi-user.target",
    ] {
        assert!(unit.lines().any(|found| found == line), "{line} is missing");
    }
}
