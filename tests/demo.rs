//! `tvsl demo` finds what truly happens in its clip, through a real broker, and leaves pictures.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use tvsl::evaluate::clip::Truth;
use tvsl::message::Message;

#[test]
fn the_demonstration_tells_the_truth() {
    let out = tempfile::tempdir().expect("a temporary folder");
    let output = Command::new(env!("CARGO_BIN_EXE_tvsl"))
        .args(["demo", "--out"])
        .arg(out.path())
        .env_remove("TVSL_CONFIG")
        .output()
        .expect("the program starts");
    let (told, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}\n{log}");
    assert!(told.contains("0 false reports"), "{told}");
    let messages = std::fs::read_to_string(out.path().join("messages.jsonl")).expect("the messages are kept");
    let sequences: Vec<u64> = messages
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).expect("JSON")["sequence"]
                .as_u64()
                .expect("a number")
        })
        .collect();
    let count = sequences.len() as u64;
    assert!(
        sequences.iter().copied().eq(1..=count) && count > 20,
        "nothing is lost on the way: {sequences:?}"
    );
    let pictures = std::fs::read_dir(out.path()).expect("a folder").flatten();
    assert!(pictures.filter(|file| file.path().extension().is_some_and(|e| e == "png")).count() >= 4);
}

#[test]
fn a_demonstration_that_is_told_to_stop_takes_its_broker_with_it() {
    let out = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tvsl"));
    command.args(["demo", "--out"]).arg(out.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut demo = command.env_remove("TVSL_CONFIG").spawn().expect("the program starts");
    let lines = BufReader::new(demo.stdout.take().expect("its output")).lines().map_while(Result::ok);
    let told: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    let at = told.iter().find_map(|line| line.rsplit_once(" on ")).expect("an address").1;
    TcpStream::connect(at).expect("its broker");
    let kill = Command::new("kill").arg(demo.id().to_string()).status();
    assert!(kill.expect("kill is there").success());
    let output = demo.wait_with_output().expect("its end");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && words.contains("stopped before the end"), "{words}");
    TcpStream::connect(at).expect_err("its broker is gone");
}

#[test]
fn every_sound_of_the_demonstration_is_one_event() {
    let replay = Command::new(env!("CARGO_BIN_EXE_tvsl"))
        .args(["replay", "demo/clip.webm"])
        .env_remove("TVSL_CONFIG")
        .output()
        .expect("the program starts");
    assert!(replay.status.success(), "{}", String::from_utf8_lossy(&replay.stderr));
    let lines = String::from_utf8(replay.stdout).expect("text");
    let messages: Vec<Message> =
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let verdict = Truth::read(Path::new("demo/truth.json")).expect("the clip's truth").judge(&messages, 0.0);
    assert!(verdict.is_right() && verdict.outcomes.len() == 4, "{verdict:?}");
    for outcome in &verdict.outcomes {
        assert_eq!(outcome.identities, 1, "one sound, one identity: {outcome:?}");
    }
}

#[test]
fn a_missing_clip_is_named() {
    let output = Command::new(env!("CARGO_BIN_EXE_tvsl"))
        .args(["demo", "--truth", "no/such/truth.json"])
        .output()
        .expect("the program starts");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("no/such/truth.json"));
}
