//! A sound card's samples arrive stamped, whatever its format, what is lost is told, and a lost card leaves nothing
//! behind. The card is a
//! plug-in of ALSA's own (`cards/card.c`), opened through the same code as a real one.

mod cards;
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant as Moment};

use cards::test_cards;
use support::*;
use tvsl::capture::{self, Pace};
use tvsl::clock::{Clock, SystemClock};
use tvsl::config::{self, CameraSource, Channel, MicrophoneSource};
use tvsl::queue::{self, Limits, Policy, Sense};

/// Names the file that unplugs the cards while it is there.
const UNPLUGGED: &str = "TVSL_TEST_UNPLUGGED";
/// Names the file that holds what is wrong with their sound.
const SOUND: &str = "TVSL_TEST_SOUND";
/// Names the file that is as long as a card has often said that there is sound while there was none.
const SAID: &str = "TVSL_TEST_SAID";

/// Runs `test` in a process of its own that sees the test cards, since ALSA reads its environment once.
fn with_cards(test: impl FnOnce()) {
    if std::env::var_os(UNPLUGGED).is_some() {
        return test();
    }
    let name = std::thread::current().name().expect("a test has a name").to_owned();
    let folder = Folder::new(&name);
    let config = test_cards(&folder);
    let mut child = Command::new(std::env::current_exe().expect("this test"));
    child.args([name.as_str(), "--exact", "--nocapture"]);
    child.env("ALSA_CONFIG_PATH", config);
    child.envs([UNPLUGGED, SOUND, SAID].map(|variable| (variable, folder.join(variable))));
    let status = child.env("MALLOC_ARENA_MAX", "2").status(); // as the program has it
    assert!(status.expect("a process").success());
}

/// The file that a variable names.
fn file_of(variable: &str) -> PathBuf {
    PathBuf::from(std::env::var_os(variable).expect("with cards"))
}

fn card(device: &str) -> config::Microphone {
    let mut microphone = microphone(MicrophoneSource::Alsa);
    microphone.alsa.device = device.into();
    microphone
}

fn listen(microphone: &config::Microphone, seconds: f64) -> Heard {
    let (_capture, receiver) =
        start(&camera(CameraSource::Test), microphone, Pace::Live).expect("a test card");
    collect(&receiver, |heard| heard.samples() as f64 >= seconds * f64::from(RATE))
}

/// Clicks lie where the clock passes a quarter of a second.
fn assert_on_the_clock(heard: &Heard, least: usize) {
    let clicks = click_times(heard);
    let off = |at: &f64| (at / 0.25 - (at / 0.25).round()).abs() * 0.25;
    let worst = clicks.iter().map(off).fold(0.0, f64::max);
    println!("{} clicks, worst {:.2} ms off the clock", clicks.len(), worst * 1e3);
    assert!(clicks.len() >= least && worst < 0.010, "{clicks:?}");
}

#[test]
fn every_format_rate_and_channel_count_is_heard_on_the_clock() {
    with_cards(|| {
        for device in ["s16", "s32", "float", "plugged"] {
            println!("{device}");
            let heard = listen(&card(device), 1.1);
            assert_on_the_clock(&heard, 4);
            assert!(heard.sound.iter().all(|block| block.lost_before.is_zero() && block.rate == RATE));
            let loudest = heard.sound.iter().flat_map(|b| &b.mono).fold(0f32, |a, b| a.max(*b));
            let expected = if device == "s16" { 0.5 } else { 0.25 };
            assert!((loudest / expected - 1.0).abs() < 0.25, "{device}: {loudest}");
        }
    });
}

#[test]
fn a_channel_can_be_chosen() {
    with_cards(|| {
        let mut microphone = card("s32");
        microphone.alsa.channel = Channel::Index(1);
        let heard = listen(&microphone, 0.6);
        assert!(heard.sound.iter().flat_map(|block| &block.mono).all(|v| *v == 0.0));
    });
}

#[test]
fn an_overrun_is_counted_and_shown_as_a_gap_on_the_true_time_line() {
    with_cards(|| {
        capture::init().expect("GStreamer");
        let limits = Limits { frames: 1000, sound: Duration::from_millis(100) };
        let (sender, receiver) = queue::bounded(limits, Policy::Wait);
        let (camera, card) = (camera(CameraSource::Test), card("s32"));
        let capture = capture::start(&camera, &card, &wanted(), Pace::Live, sender).expect("a test card");
        let first = collect(&receiver, |heard| heard.samples() > 0);
        // A consumer that hangs for longer than the card's half second of patience.
        let clock = SystemClock::new();
        let until = clock.now() + Duration::from_millis(1200);
        while clock.now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut heard = collect(&receiver, |heard| {
            heard.sound.last().is_some_and(|block| block.captured.seconds_from(until) > 1.0)
        });
        heard.sound.splice(0..0, first.sound);
        let gaps: Vec<_> = heard.sound.iter().map(|b| b.lost_before).filter(|gap| !gap.is_zero()).collect();
        assert_eq!((capture.overruns(), gaps.len()), (1, 1), "{gaps:?}");
        assert!((0.3..1.5).contains(&gaps[0].as_secs_f64()), "{gaps:?}");
        for pair in heard.sound.windows(2) {
            let step = pair[1].captured.seconds_from(pair[0].end()) - pair[1].lost_before.as_secs_f64();
            assert!(step.abs() < 0.005, "a step of {step} s that no gap explains");
        }
        assert_on_the_clock(&heard, 4);
    });
}

#[test]
fn stopping_takes_less_than_200_ms() {
    with_cards(|| {
        let (camera, card) = (camera(CameraSource::Test), card("s16"));
        let (capture, receiver) = start(&camera, &card, Pace::Live).expect("a test card");
        collect(&receiver, |heard| heard.samples() > 0);
        let began = Moment::now();
        drop(capture);
        assert!(began.elapsed() < Duration::from_millis(200), "took {:?}", began.elapsed());
    });
}

#[test]
fn a_wrong_device_or_setting_names_what_there_is() {
    with_cards(|| {
        let refuse = |change: &dyn Fn(&mut config::Alsa), words: &[&str]| {
            let mut microphone = card("s32");
            change(&mut microphone.alsa);
            let error = start(&camera(CameraSource::Test), &microphone, Pace::Live).map(|_| ());
            let text = error.expect_err("an error").to_string();
            println!("{text}");
            assert!(words.iter().all(|word| text.contains(word)), "{text} lacks one of {words:?}");
        };
        refuse(&|alsa| alsa.device = "hw:CARD=Absent".into(), &["hw:CARD=Absent", "s16", "float"]);
        refuse(&|alsa| alsa.device = "no\0name".into(), &["microphone.alsa.device", "NUL"]);
        refuse(&|alsa| alsa.rate = 12_345, &["12345", "from 48000 to 48000"]);
        refuse(&|alsa| alsa.channels = 7, &["no 7 channels", "from 2 to 2"]);
        refuse(&|alsa| alsa.channel = Channel::Index(4), &["no 5 channels"]);
    });
}

/// Seconds that a card may deliver nothing.
const STALL: f64 = 5.0;
/// Most times that it is asked in a second meanwhile: hundreds of thousands without a pause.
const ASKED: f64 = 250.0;

/// ALSA answers such a read with EAGAIN, and is ready for the next at once.
#[test]
fn a_card_that_promises_sound_and_gives_none_is_a_fault_that_costs_nothing_and_passes() {
    with_cards(|| {
        capture::init().expect("GStreamer");
        let (sender, receiver) = queue::bounded(Limits::default(), Policy::ShedOldest);
        let open = || capture::open_microphone(&card("s32").alsa, RATE, &sender).expect("a test card");
        let microphone = open();
        let first = collect(&receiver, |heard| !heard.sound.is_empty());
        std::fs::write(file_of(SOUND), "hollow").expect("room for a file");
        let heard = collect(&receiver, |heard| !heard.faults.is_empty());
        let told = SystemClock::new().now();
        assert_eq!(heard.faults[0].0, Sense::Microphone);
        assert!(heard.faults[0].1.contains("delivered nothing for 5 s"), "{:?}", heard.faults);
        let last = heard.sound.last().or(first.sound.last()).expect("what came before");
        let silence = told.seconds_from(last.end());
        let asked = std::fs::metadata(file_of(SAID)).expect("it was asked").len();
        println!("told after {silence:.2} s, in which the card was asked {asked} times");
        assert!(silence > STALL - 0.1, "told after {silence} s");
        assert!(asked as f64 <= silence * ASKED, "asked {asked} times in {silence} s");
        drop(microphone);
        std::fs::remove_file(file_of(SOUND)).expect("the file");
        let _microphone = open();
        let heard = collect(&receiver, |heard| heard.samples() >= RATE as usize / 2);
        assert!(heard.faults.is_empty(), "{:?}", heard.faults);
    });
}

/// Opens a card, hears it, has it pulled out, finds it away, and puts it back.
fn lose(card: &config::Alsa, unplugged: &Path) {
    let (sender, receiver) = queue::bounded(Limits::default(), Policy::ShedOldest);
    let microphone = capture::open_microphone(card, RATE, &sender).expect("a test card");
    let heard = collect(&receiver, |heard| !heard.sound.is_empty());
    assert!(heard.faults.is_empty(), "{:?}", heard.faults);
    std::fs::write(unplugged, "pulled").expect("room for a file");
    let lost = collect(&receiver, |heard| !heard.faults.is_empty());
    assert_eq!(lost.faults[0].0, Sense::Microphone);
    drop(microphone);
    assert!(capture::open_microphone(card, RATE, &sender).is_err(), "it is away");
    std::fs::remove_file(unplugged).expect("the file");
}

/// Descriptors, threads and bytes of memory of this process.
fn held_with_memory() -> [usize; 3] {
    let [descriptors, threads] = held();
    // Page by page: the counters in `status` are not summed up at once by every kernel.
    let mapped = std::fs::read_to_string("/proc/self/smaps_rollup").expect("a Linux");
    let own = mapped.lines().find_map(|line| line.strip_prefix("Anonymous:")).expect("a Linux");
    let own: usize = own.trim().trim_end_matches(" kB").parse().expect("a number");
    [descriptors, threads, own * 1024]
}

/// Times that a card is lost while what is held is compared, after half as many in which the heap finds its size.
const LOSSES: usize = 200;
/// Most memory that each may keep, in bytes: less than anything that belongs to a card.
const KEPT: usize = 256;

#[test]
fn a_card_that_is_lost_for_ever_leaves_no_memory_behind() {
    with_cards(|| {
        capture::init().expect("GStreamer");
        let unplugged = file_of(UNPLUGGED);
        let card = card("s32").alsa;
        (0..LOSSES / 2).for_each(|_| lose(&card, &unplugged));
        let before = held_with_memory();
        (0..LOSSES).for_each(|_| lose(&card, &unplugged));
        // A thread that was joined may be counted for a moment longer.
        let began = Moment::now();
        loop {
            let after = held_with_memory();
            if after[0] <= before[0] && after[1] <= before[1] && after[2] < before[2] + LOSSES * KEPT {
                return println!("{before:?}, then {after:?} descriptors, threads and bytes");
            }
            assert!(began.elapsed() < Duration::from_secs(10), "{before:?} became {after:?}");
            std::thread::yield_now();
        }
    });
}
