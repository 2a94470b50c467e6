//! Whatever stands in a file, a message or a request, it is taken or refused with words: nothing panics, hangs or grows
//! without bound. Good inputs, and what the guided fuzzers found worth keeping (`fuzz/corpus`), are mutated at random, without
//! guidance, for `TVSL_FUZZ_SECONDS` each (1 if unset).
//!
//! A failure prints its seed and its number; `TVSL_FUZZ_SEED` takes the seed again.

mod daemon;
mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use daemon::{Daemon, PATIENCE, Place};
use support::Folder;
use tvsl::capture::{read_picture, read_sound};
use tvsl::config::{Config, Overrides};
use tvsl::geometry::Size;
use tvsl::model::Manifest;
use tvsl::picture::{Canvas, write_png};

/// Longest that one input may take: GStreamer may go round in circles for ten seconds, and not stop for five.
const HANG: Duration = Duration::from_secs(30);
/// Inputs are not longer than this.
const LONGEST: usize = 1 << 16;

/// Pieces that break more than random bytes do.
const PIECES: [&[u8]; 14] = [
    b"\0",
    b"\xff\xff\xff\xff",
    b"-1",
    b"1e999",
    b"nan",
    b"[[",
    b"]",
    b"=",
    b"\"",
    b"\\u0000",
    b"../../",
    b"{}",
    b"\r\n\r\n",
    b"18446744073709551616",
];

/// One or several changes of a good input.
fn mutated(seeds: &[Vec<u8>], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = seeds[random.usize(..seeds.len())].clone();
    for _ in 0..1 << random.u32(0..6) {
        let at = random.usize(..=bytes.len());
        match random.u8(0..7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.u8(0..8),
            1 if at < bytes.len() => bytes[at] = random.u8(..),
            2 => bytes.truncate(at),
            3 => drop(bytes.splice(at..at, PIECES[random.usize(..PIECES.len())].iter().copied())),
            4 => drop(bytes.drain(at..(at + random.usize(1..64)).min(bytes.len()))),
            5 => bytes.extend_from_within(at..(at + random.usize(1..256)).min(bytes.len())),
            _ => {
                let other = &seeds[random.usize(..seeds.len())];
                let from = random.usize(..=other.len());
                bytes.splice(at..at, other[from..(from + 128).min(other.len())].iter().copied());
            }
        }
        bytes.truncate(LONGEST);
    }
    bytes
}

/// The inputs in `fuzz/corpus`, if the guided fuzzer of this name takes the same.
fn kept(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).expect("a file of the repository")).collect()
}

/// Feeds `seeds`, and mutations of them for the time there is, to `target`.
fn fuzz(name: &str, seeds: &[Vec<u8>], mut target: impl FnMut(&[u8])) {
    let number = |variable: &str| std::env::var(variable).ok().and_then(|text| text.parse::<u64>().ok());
    let (seconds, seed) = (number("TVSL_FUZZ_SECONDS").unwrap_or(1), number("TVSL_FUZZ_SEED"));
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    let seeds = &[seeds, &kept(name)].concat();
    let alive = watched(format!("{name}: seed {seed}"));
    for seed in seeds {
        alive.send(()).ok();
        target(seed);
    }
    let (mut random, began, mut inputs) = (fastrand::Rng::with_seed(seed), Instant::now(), 0u64);
    while began.elapsed() < Duration::from_secs(seconds) {
        let (input, start) = (mutated(seeds, &mut random), Instant::now());
        alive.send(()).ok();
        let survived = catch_unwind(AssertUnwindSafe(|| target(&input))).is_ok();
        assert!(survived, "{name}: seed {seed}, input {inputs}: {}", input.escape_ascii());
        assert!(start.elapsed() < HANG, "{name}: seed {seed}, input {inputs} takes {:?}", start.elapsed());
        inputs += 1;
    }
    println!("{name}: {inputs} inputs in {seconds} s, seed {seed}");
}

/// Ends the program with these words if one input takes much too long: a test that hangs says nothing.
fn watched(words: String) -> mpsc::Sender<()> {
    let (alive, signs) = mpsc::channel();
    std::thread::spawn(move || {
        let mut input = 0u64;
        loop {
            match signs.recv_timeout(4 * HANG) {
                Ok(()) => input += 1,
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    eprintln!("{words}, input {input}, counted with those kept: hangs");
                    std::process::abort();
                }
            }
        }
    });
    alive
}

fn text_of(file: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("a file of the repository")
}

#[test]
fn configurations() {
    let whole = text_of("config/tvsl.toml");
    let small = b"[mqtt]\nport = 1883\nhost = \"a\"\n[detection.thresholds]\ndog = { p = 0.5 }\n".to_vec();
    fuzz("configuration", &[whole, small], |input| {
        if let Err(error) = Config::parse(&String::from_utf8_lossy(input), Path::new("tvsl.toml")) {
            assert!(!error.to_string().is_empty());
        }
    });
}

#[test]
fn model_manifests() {
    let folder = Folder::new("fuzz-manifest");
    let seeds = [text_of("tests/data/tiny/manifest.toml"), text_of("engines/default/manifest.toml")];
    fuzz("manifest", &seeds, |input| {
        folder.file("manifest.toml", input);
        let _ = Manifest::read(&folder.join("")).map_err(|error| error.to_string());
    });
}

#[test]
fn scene_files() {
    let folder = Folder::new("fuzz-scenes");
    let scenes = br#"{"scenes": [{"image": "a.png", "audio": "a.wav", "kind": "single", "sources": [{"class": "red", "boxes": [[0.1, 0.1, 0.5, 0.5]], "half": "left"}], "silent": ["blue"]}]}"#;
    fuzz("scenes", &[scenes.to_vec()], |input| {
        let file = folder.file("scenes.json", input);
        let _ = tvsl::evaluate::scenes::read(&file).map_err(|error| error.to_string());
    });
}

/// Pictures and sounds as the tools read them; GStreamer's own readers are behind this.
#[test]
fn pictures_and_sounds() {
    let folder = Folder::new("fuzz-media");
    let picture = Canvas::new(Size::new(16, 16), vec![90; 16 * 16 * 3]);
    write_png(&picture, &folder.join("seed.png")).expect("room");
    support::make(
        "audiotestsrc num-buffers=4 ! audio/x-raw,rate=16000,channels=1 ! wavenc ! filesink",
        &folder.join("seed.wav"),
    );
    let seed = |name: &str| std::fs::read(folder.join(name)).expect("a seed");
    fuzz("picture", &[seed("seed.png")], |input| {
        if let Ok(frame) = read_picture(&folder.file("a.png", input), None) {
            assert_eq!(frame.rgb.len(), 3 * (frame.size.width * frame.size.height) as usize);
        }
    });
    fuzz("sound", &[seed("seed.wav")], |input| {
        let heard = read_sound(&folder.file("a.wav", input), 16_000);
        assert!(heard.map_or(true, |sound| !sound.mono.is_empty()));
    });
}

#[test]
fn wishes_of_subscribers() {
    let wishes = [&b"0.5"[..], b"true", b"null", b"", b"[\"dog\", \"cat\"]", b"{\"dog\": {\"p\": 0.5}}"];
    let seeds: Vec<Vec<u8>> = wishes.iter().map(|wish| wish.to_vec()).collect();
    let keys = Overrides::KEYS;
    let (mut overrides, mut turn) = (Overrides::default(), 0);
    fuzz("set", &seeds, |input| {
        turn += 1;
        if let Ok(changed) = overrides.with(keys[turn % keys.len()], input) {
            // What is taken holds over the file.
            let _ = changed.over(&Config::default());
            overrides = changed;
        }
    });
}

#[test]
fn web_requests() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let place = Place::new();
    let daemon = Daemon::start(&place.config(&format!(
        "[camera]\nsource = \"test\"\n[microphone]\nsource = \"none\"\n[mqtt]\nenabled = false\n[monitor]\nport = {port}\n"
    )));
    daemon.log.find(|line| line.contains("/metrics"));
    let ask = |request: &[u8]| {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        // A request that was refused half way is closed on us.
        stream.write_all(request).ok();
        stream.shutdown(std::net::Shutdown::Write).ok();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok();
        answer
    };
    let seeds = [
        "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n",
        "HEAD /status?x=y HTTP/1.0\r\n\r\n",
        "POST / HTTP/1.1\r\n\r\n",
    ];
    fuzz("request", &seeds.map(|seed| seed.as_bytes().to_vec()), |input| {
        let answer = ask(input);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 "), "{}", answer.escape_ascii());
    });
    assert!(ask(seeds[0].as_bytes()).starts_with(b"HTTP/1.1 200 "), "it still answers");
}
