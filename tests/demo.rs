//! `tvsl demo` finds what truly happens in its clip, through a real broker, and leaves pictures.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
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
    kill_process(Pid::from_child(&demo), Signal::TERM).expect("it runs");
    let output = demo.wait_with_output().expect("its end");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && words.contains("stopped before the end"), "{words}");
    TcpStream::connect(at).expect_err("its broker is gone");
}

/// A terminal: its screen, and what a program writes to.
fn terminal() -> (File, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let screen = openpt(flags).expect("a pseudo-terminal");
    grantpt(&screen).and_then(|()| unlockpt(&screen)).expect("its other end is free");
    let written = ioctl_tiocgptpeer(&screen, flags).expect("its other end");
    (screen.into(), written)
}

/// Begins the line anew, in place of what stood there.
const AFRESH: &str = "\r\x1b[2K";

/// How many of a bar's 30 cells are full; it is as long as the clip, 32 s.
fn full_cells(bar: &str) -> usize {
    let full = bar.matches('█').count();
    assert_eq!(full + bar.matches('░').count(), 30, "{bar}");
    let (_, time) = bar.split_once("] ").expect("a time");
    let time: f64 = time.split_once(" s ").expect("a unit").0.trim().parse().expect("a number");
    assert!((time / 32.0 * 30.0 - full as f64).abs() < 1.1, "{bar}");
    full
}

#[test]
fn on_a_terminal_a_bar_shows_how_far_the_demonstration_is_and_what_sounds_now() {
    let out = tempfile::tempdir().expect("a temporary folder");
    let (mut screen, written) = terminal();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tvsl"));
    command.args(["demo", "--out"]).arg(out.path()).stdout(written).stderr(Stdio::piped());
    let demo = command.env_remove("TVSL_CONFIG").spawn().expect("the program starts");
    drop(command); // it holds the terminal open
    let (mut seen, mut piece) = (Vec::new(), [0; 4096]);
    let mut told = String::new();
    while !told.contains("now: cat") {
        let length = screen.read(&mut piece).unwrap_or_else(|error| panic!("no bar ({error}) in:\n{told}"));
        seen.extend(&piece[..length]);
        told = String::from_utf8_lossy(&seen).into_owned();
    }
    kill_process(Pid::from_child(&demo), Signal::TERM).expect("it runs");
    assert_eq!(demo.wait_with_output().expect("its end").status.code(), Some(1));
    screen.read_to_end(&mut seen).expect_err("the end of a terminal is an error");
    let told = String::from_utf8(seen).expect("text");
    let bars: Vec<_> = told.split(AFRESH).filter(|line| line.starts_with("  [")).collect();
    let full: Vec<_> = bars.iter().map(|bar| full_cells(bar)).collect();
    // The cat begins after 4 s of the clip, and nobody hears it before.
    assert!(full.is_sorted() && full.last() >= Some(&3), "{bars:#?}");
    assert!(bars.iter().all(|bar| bar.contains(" messages  now: ")), "{bars:#?}");
    assert!(told.ends_with(AFRESH), "the bar goes with the table: {told:?}");
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
