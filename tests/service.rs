//! A good systemd service: ready when it works, alive while it progresses, gone when told, and honest
//! about input that it cannot use.

mod broker;
mod cards;
mod daemon;
mod support;

use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use broker::{Broker, OPEN, free_port};
use daemon::{Daemon, Lines, PATIENCE, Place, hum, red};

const QUIET: &str = "[mqtt]\nenabled = false\n";

/// The manager's end of `NOTIFY_SOCKET`.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(place: &Place) -> Self {
        let path = place.path("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self { socket, path }
    }

    fn environment(&self) -> [(&str, &str); 2] {
        [("NOTIFY_SOCKET", self.path.to_str().expect("text")), ("WATCHDOG_USEC", "600000")]
    }

    fn daemon(&self, config: &Path) -> Daemon {
        Daemon::start_with(config, &self.environment())
    }

    /// The next word.
    fn word(&self) -> std::io::Result<String> {
        let mut word = [0; 4096];
        let length = self.socket.recv(&mut word)?;
        Ok(String::from_utf8_lossy(&word[..length]).trim().to_string())
    }

    /// Words until one starts with `wanted`; the words before it.
    fn until(&self, wanted: &str) -> Vec<String> {
        let mut words = self.find(|word| word.starts_with(wanted));
        words.pop();
        words
    }

    /// Words up to the one that `wanted` holds for, at most those of [`PATIENCE`].
    fn find(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        self.find_within(PATIENCE, wanted)
    }

    fn find_within(&self, patience: Duration, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let (mut words, began) = (Vec::new(), Instant::now());
        loop {
            let word = self.word().unwrap_or_else(|error| panic!("never ({error}) after {words:?}"));
            words.push(word.clone());
            if wanted(&word) {
                return words;
            }
            assert!(began.elapsed() < patience, "never among {words:?}");
        }
    }

    /// Waits until nothing is said for so long that the watchdog would be hungry.
    fn falls_silent(&self) {
        self.falls_silent_within(PATIENCE);
    }

    fn falls_silent_within(&self, patience: Duration) {
        self.socket.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout");
        let began = Instant::now();
        while let Ok(word) = self.word() {
            assert!(began.elapsed() < patience, "it still says {word}");
        }
        self.socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    }
}

fn clip(place: &Place, seconds: u32) -> PathBuf {
    let clip = place.path("clip.mkv");
    let (red, hum) = (red(seconds), hum(seconds));
    support::make(&format!("{red} ! queue ! m. {hum} ! queue ! m. matroskamux name=m ! filesink"), &clip);
    clip
}

/// Plays a clip once; gives exit code, messages and log.
fn play(clip: &Path) -> (Option<i32>, Vec<String>, Vec<String>) {
    let place = Place::new();
    let config = place.plays(clip, QUIET);
    let text = std::fs::read_to_string(&config).expect("a file").replace("repeat = true", "repeat = false");
    std::fs::write(&config, text).expect("room for a file");
    let mut daemon = Daemon::start(&config);
    let (messages, log) = (daemon.messages.rest(), daemon.log.rest());
    (daemon.end().code(), messages, log)
}

#[test]
fn ready_after_a_frame_alive_while_it_works_gone_within_two_seconds() {
    let place = Place::new();
    let config = place.plays(&clip(&place, 3), QUIET);
    let manager = Manager::new(&place);
    let mut daemon = manager.daemon(&config);
    manager.until("READY=1");
    manager.until("WATCHDOG=1");
    manager.until("WATCHDOG=1");
    daemon.messages.find(|line| line.contains("\"red\""));
    manager.find(|word| word.starts_with("STATUS=") && word.contains(" pictures/s; now: red"));
    let asked = Instant::now();
    daemon.signal("TERM");
    daemon.signal("INT"); // a terminal may tell it too
    manager.until("STOPPING=1");
    assert!(daemon.end().success());
    let took = asked.elapsed();
    println!("SIGTERM: stopped after {:.2} s", took.as_secs_f64());
    assert!(took < Duration::from_secs(2), "stopped after {took:?}");
    let last = daemon.messages.rest().pop().expect("a last message");
    assert!(last.contains("\"ended\":[{"), "what was reported is ended: {last}");
}

/// A daemon whose analysis is soon stuck in the midst of a turn: nobody reads what it tells, and there is room for a few
/// messages; with what would let it go on.
fn getting_stuck(config: &Path, manager: &Manager) -> (std::io::PipeReader, Daemon) {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(&[b'\n'; 60 * 1024]).expect("room for 60 KiB");
    (reader, Daemon::start_into(writer, config, &manager.environment()))
}

#[test]
fn a_stuck_analysis_starves_the_watchdog() {
    let place = Place::new();
    let config = place.plays(&clip(&place, 3), QUIET);
    let manager = Manager::new(&place);
    let (reader, _daemon) = getting_stuck(&config, &manager);
    manager.until("WATCHDOG=1");
    manager.falls_silent();
    let messages = Lines::of(reader);
    manager.until("WATCHDOG=1");
    messages.find(|line| line.contains("\"red\""));
}

/// Ends a daemon as the service manager does whose watchdog got nothing, and starts it again; says how long that took
/// until it was ready, for docs/reliability.md.
fn start_again(manager: &Manager, mut daemon: Daemon, environment: &[(&str, &str)], config: &Path) {
    let barked = Instant::now();
    daemon.signal("ABRT");
    daemon.end();
    let again = Daemon::start_with(config, environment);
    manager.until("READY=1");
    let ready = barked.elapsed().as_secs_f64();
    println!("ended by the watchdog, which takes {WATCHDOG} s, and ready again after {ready:.1} s");
    drop(again);
}

/// `WatchdogSec` of systemd/tvsl.service.
const WATCHDOG: u32 = 20;

#[test]
fn a_stuck_analysis_ends_in_a_new_start() {
    let place = Place::new();
    let config = place.plays(&clip(&place, 3), QUIET);
    let manager = Manager::new(&place);
    let (_reader, daemon) = getting_stuck(&config, &manager);
    manager.until("READY=1");
    manager.falls_silent();
    start_again(&manager, daemon, &manager.environment(), &config);
}

#[test]
#[ignore = "make soak: it takes six minutes"]
fn an_opening_that_hangs_is_told_and_ends_in_a_new_start() {
    let (place, folder) = (Place::new(), support::Folder::new("service-hangs"));
    let hangs = folder.file("hangs", b"");
    let microphone = "[microphone]\nsource = \"alsa\"\nalsa.device = \"s16\"\n";
    let config = place.config(&format!("[camera]\nsource = \"test\"\n{microphone}{QUIET}"));
    let manager = Manager::new(&place);
    let [cards, file] = [&cards::test_cards(&folder), &hangs].map(|file| file.display().to_string());
    let [socket, watchdog] = manager.environment();
    let environment = [socket, watchdog, ("ALSA_CONFIG_PATH", &cards), ("TVSL_TEST_HANGS", &file)];
    let daemon = Daemon::start_with(&config, &environment);
    let began = Instant::now();
    let waits = |seconds, wanted: &str| {
        manager.find_within(Duration::from_secs(seconds), |word| word.starts_with(wanted));
        println!("{wanted} after {:.0} s", began.elapsed().as_secs_f64());
    };
    waits(60, "STATUS=waiting: the microphone is away: opening it gives no answer for more than 30 s");
    manager.falls_silent_within(Duration::from_secs(330));
    println!("the watchdog is not fed any more after {:.0} s", began.elapsed().as_secs_f64());
    std::fs::remove_file(&hangs).expect("the file");
    start_again(&manager, daemon, &environment, &config);
}

#[test]
fn a_reload_while_it_starts_ends_nothing() {
    let place = Place::new();
    let daemon = Daemon::start(&place.plays(&clip(&place, 3), QUIET));
    daemon.log.find(|line| line.contains("tvsl ") && line.contains("configuration="));
    daemon.signal("HUP"); // before the model is opened
    daemon.log.find(|line| line.contains("the first frame is analysed"));
}

#[test]
fn a_file_that_is_changed_while_it_starts_is_read_again() {
    let place = Place::new();
    let config = place.plays(&clip(&place, 3), QUIET);
    let daemon = Daemon::start(&config);
    daemon.log.find(|line| line.contains("tvsl ") && line.contains("configuration="));
    let text = std::fs::read_to_string(&config).expect("a file");
    std::fs::write(&config, format!("{text}port = 1\n")).expect("room for a file"); // before the model is opened
    daemon.log.find(|line| line.contains("the configuration file has changed"));
    daemon.log.find(|line| line.contains("the configuration was read again"));
}

#[test]
fn a_refused_file_is_told_with_line_and_key() {
    let place = Place::new();
    let config = place.plays(&clip(&place, 3), QUIET);
    let manager = Manager::new(&place);
    let daemon = manager.daemon(&config);
    manager.until("READY=1");
    let text = std::fs::read_to_string(&config).expect("a file");
    std::fs::write(&config, format!("{text}port = 0\n")).expect("room for a file");
    daemon.signal("HUP");
    let line = text.lines().count() + 1;
    let told = format!("tvsl.toml:{line}:8: mqtt.port: 0 is out of range");
    manager.find(|word| word.contains("; refused: ") && word.contains(&told));
    std::fs::write(&config, text).expect("room for a file");
    daemon.signal("HUP");
    manager.find(|word| word.starts_with("STATUS=") && !word.contains("refused"));
}

#[test]
fn waiting_for_a_camera_is_alive_but_not_ready() {
    let place = Place::new();
    let camera = "[camera]\nsource = \"v4l2\"\n[camera.v4l2]\ndevice = \"/dev/v4l/by-id/none\"\n[microphone]\nsource = \"none\"\n";
    let config = place.config(&format!("{camera}{QUIET}"));
    let manager = Manager::new(&place);
    let mut daemon = manager.daemon(&config);
    let told = daemon.log.find(|line| line.contains("trying again"));
    assert!(told.contains("/dev/v4l/by-id/none"), "{told}");
    manager.until("WATCHDOG=1");
    manager.until("STATUS=waiting: the camera is away: ");
    daemon.signal("TERM");
    assert!(!manager.until("STOPPING=1").contains(&"READY=1".to_string()));
    assert!(daemon.end().success());
}

#[test]
fn a_start_without_the_camera_counts_after_a_while() {
    let place = Place::new();
    let camera = "[camera]\nsource = \"v4l2\"\n[camera.v4l2]\ndevice = \"/dev/v4l/by-id/none\"\n[microphone]\nsource = \"none\"\n";
    let config = place.config(&format!("{camera}{QUIET}[service]\nstart_within = 0.2\n"));
    let manager = Manager::new(&place);
    let mut daemon = manager.daemon(&config);
    manager.until("READY=1");
    daemon.signal("TERM");
    assert!(daemon.end().success());
}

#[test]
fn it_ends_when_nobody_can_read_it_any_more() {
    let place = Place::new();
    let config = place.plays(&clip(&place, 3), QUIET);
    for (output, code, expected) in [
        ("exec > >(head -n 1)", Some(0), "nobody reads standard output any more: stopping"),
        ("exec > /dev/full", Some(1), "standard output cannot be written: No space left"),
    ] {
        let mut daemon = Daemon::start_in(output, &config);
        let log = daemon.log.rest().join("\n");
        assert!(daemon.end().code() == code && log.contains(expected), "{output}: {log}");
    }
}

#[test]
fn it_works_on_although_its_log_cannot_be_written() {
    let place = Place::new();
    let mut daemon = Daemon::start_in("exec 2> /dev/full", &place.plays(&clip(&place, 3), QUIET));
    daemon.messages.find(|line| line.contains("\"red\""));
    daemon.signal("TERM");
    assert!(daemon.end().success());
}

#[test]
fn it_runs_with_the_environment_that_its_libraries_want_whoever_starts_it() {
    let place = Place::new();
    let config = place.plays(&clip(&place, 20), QUIET);
    let daemon = Daemon::start_with(&config, &[("ORT_DISABLE_TELEMETRY", ""), ("MALLOC_ARENA_MAX", "4")]);
    daemon.log.find(|line| line.contains("first frame"));
    let environment =
        std::fs::read(format!("/proc/{}/environ", daemon.process.id())).expect("its environment");
    let environment = String::from_utf8(environment).expect("text");
    for set in ["ORT_DISABLE_TELEMETRY=1", "GST_V4L2_FORCE_DRAIN=1", "MALLOC_ARENA_MAX=4"] {
        assert!(environment.split('\0').any(|entry| entry == set), "{set}: {environment:?}");
    }
}

#[test]
fn a_clip_is_told_to_its_end() {
    let place = Place::new();
    let (code, messages, log) = play(&clip(&place, 3));
    assert_eq!(code, Some(0), "{log:?}");
    assert!(messages.iter().any(|line| line.contains("\"start\"")));
    assert!(messages.last().is_some_and(|line| line.contains("\"ended\":[{")));
}

#[test]
fn without_sound_nothing_is_reported_and_that_is_told() {
    let place = Place::new();
    let silent = place.path("silent.mkv");
    support::make(&format!("{} ! matroskamux ! filesink", red(2)), &silent);
    let (code, messages, log) = play(&silent);
    assert_eq!((code, messages.len()), (Some(0), 0), "{log:?}");
    assert!(log.iter().any(|line| line.contains("silent.mkv: has no sound")), "{log:?}");
}

#[test]
fn a_clip_without_a_picture_is_named() {
    let place = Place::new();
    let blind = place.path("blind.mkv");
    support::make(&format!("{} ! matroskamux ! filesink", hum(2)), &blind);
    let (code, messages, log) = play(&blind);
    let all = log.join("\n");
    assert!(code == Some(1) && messages.is_empty() && all.contains("blind.mkv"), "{code:?} {all}");
}

#[test]
fn media_that_cannot_be_read_is_an_error_and_no_hang() {
    let place = Place::new();
    let noise = place.path("noise.mp4");
    std::fs::write(&noise, vec![0x55; 10_000]).expect("room for a file");
    for (file, expected) in [(noise, 1), (place.path("missing.mp4"), 78)] {
        let (code, messages, log) = play(&file);
        let all = log.join("\n");
        let name = file.file_name().and_then(|name| name.to_str()).expect("text");
        assert!(code == Some(expected) && messages.is_empty() && all.contains(name), "{code:?} {all}");
    }
}

#[test]
fn a_truncated_clip_is_told_as_far_as_it_goes() {
    let place = Place::new();
    let whole = std::fs::read(clip(&place, 4)).expect("a clip");
    let cut = place.path("cut.mkv");
    std::fs::write(&cut, &whole[..whole.len() / 2]).expect("room for a file");
    let (code, messages, log) = play(&cut);
    assert!(code.is_some(), "it ends by itself: {log:?}");
    assert!(messages.iter().any(|line| line.contains("\"red\"")), "{log:?}");
    assert!(messages.last().is_some_and(|line| line.contains("\"ended\":[{")), "nothing stays reported");
    assert!(log.iter().any(|line| line.contains("cut.mkv") && line.contains("it is cut off")), "{log:?}");
}

#[test]
fn a_model_that_is_not_there_may_come_with_its_mount() {
    let place = Place::new();
    let config = place.path("tvsl.toml");
    std::fs::write(&config, "[model]\npath = \"no/such/model\"\n").expect("room for a file");
    let mut daemon = Daemon::start(&config);
    let log = daemon.log.rest().join("\n");
    assert_eq!(daemon.end().code(), Some(75), "{log}");
    assert!(log.contains("no/such/model"), "{log}");
}

#[test]
fn the_machines_own_noise_is_learned_into_a_file() {
    let place = Place::new();
    let config = place.plays(&clip(&place, 4), QUIET);
    let out = place.path("noise.toml");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_tvsl"))
        .args(["run", "--learn-background", "1", "--config"])
        .args([&config, Path::new("--out"), &out])
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let with = format!(
        "{}[detection]\nbackground = \"noise.toml\"\n",
        std::fs::read_to_string(&config).expect("a file")
    );
    std::fs::write(&config, with.replace("repeat = true", "repeat = false")).expect("room for a file");
    let mut daemon = Daemon::start(&config);
    assert_eq!(daemon.messages.rest(), Vec::<String>::new(), "the learned noise is no event");
    assert!(daemon.end().success());
}

/// Every file below `folders`, with when it was changed.
fn files(folders: &[&Path]) -> Vec<(PathBuf, std::time::SystemTime)> {
    let mut open: Vec<PathBuf> = folders.iter().map(PathBuf::from).collect();
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        let about = path.symlink_metadata().expect("what was listed");
        if about.is_dir() {
            open.extend(
                path.read_dir().expect("a folder of ours").map(|entry| entry.expect("an entry").path()),
            );
        } else {
            found.push((path, about.modified().expect("a time")));
        }
    }
    found
}

#[test]
fn a_running_daemon_writes_its_name_once_and_no_other_file() {
    let (place, port) = (Place::new(), free_port());
    let config = place.plays(&clip(&place, 2), &format!("[mqtt]\nport = {port}\n"));
    let named =
        [("HOME", "home"), ("TMPDIR", "tmp"), ("STATE_DIRECTORY", "state"), ("XDG_CACHE_HOME", "cache")];
    let own = named.map(|(variable, name)| (variable, place.path(name)));
    own.iter().for_each(|(_, folder)| std::fs::create_dir(folder).expect("room for a folder"));
    let environment = own.each_ref().map(|(variable, folder)| (*variable, folder.to_str().expect("text")));
    let written = |told: &str| {
        let folders = [place.0.path(), Path::new("tests/data/tiny")];
        let before = files(&folders);
        let mut daemon = Daemon::start_with(&config, &environment);
        daemon.log.find(|line| line.contains(told));
        for _ in 0..5 {
            daemon.messages.find(|line| line.contains("\"red\""));
        }
        daemon.signal("TERM");
        daemon.end();
        let written = files(&folders).into_iter().filter(|file| !before.contains(file));
        written.map(|(file, _)| file).collect::<Vec<PathBuf>>()
    };
    // No broker listens there, which must not make it keep anything.
    let (away, there) = ("no connection to the broker", "connected to the broker");
    // What is computed once: GStreamer's list of its plug-ins, and what the names of the classes mean to the model.
    for file in written(away) {
        let known = file.starts_with(place.path("cache/gstreamer-1.0"))
            || (file.starts_with(place.path("state"))
                && file.extension().is_some_and(|end| end == "safetensors"));
        assert!(known, "{}", file.display());
    }
    assert_eq!(written(away), Vec::<PathBuf>::new());
    // What is written once for each name: that something is left under it at a broker.
    let _broker = Broker::start(&place, port, OPEN);
    let names = written(there);
    let [file] = &names[..] else { panic!("{names:?}") };
    let name = file.strip_prefix(place.path("state")).expect("in the state's folder").to_string_lossy();
    assert!(name.starts_with("names-") && name.ends_with(".json"), "{name}");
    assert_eq!(written(there), Vec::<PathBuf>::new());
}

#[test]
fn the_status_says_what_else_does_not_do_as_it_should() {
    let place = Place::new();
    let manager = Manager::new(&place);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    let devices = "[camera]\nsource = \"test\"\n[microphone]\nsource = \"none\"\n";
    let _daemon = manager.daemon(&place.config(&format!("{devices}{QUIET}[monitor]\nport = {port}\n")));
    let status = |wanted: fn(&str) -> bool| {
        manager.find(move |word| word.starts_with("STATUS=") && word.contains("pictures/s") && wanted(word))
    };
    status(|word| word.contains("; web: cannot listen at 127.0.0.1:"));
    drop(taken);
    status(|word| !word.contains("web"));
}
