//! A device that is lost is found again by itself, and nothing is reported without it.

mod cards;
mod daemon;
mod rtsp;
mod support;
mod wire;

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant, UNIX_EPOCH};

use cards::test_cards;
use daemon::{Daemon, Place};
use rtsp::Server;
use serde_json::{Value, json};
use support::Folder;
use wire::Wire;

const QUIET: &str = "[mqtt]\nenabled = false\n";
/// A stream that the tiny model hears and sees.
const STREAM: &str = "( videotestsrc is-live=true pattern=red ! video/x-raw,width=320,height=180,framerate=10/1 ! \
    x264enc tune=zerolatency key-int-max=5 ! rtph264pay name=pay0 pt=96 \
    audiotestsrc is-live=true freq=200 volume=0.8 ! audio/x-raw,rate=48000 ! avenc_aac ! rtpmp4gpay name=pay1 pt=97 )";

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// Says for docs/reliability.md how long something took: `cargo test --test recovery -- --nocapture`.
fn tell(what: &str, then: &str, since: Instant) {
    println!("{what}: {then} after {:.1} s", since.elapsed().as_secs_f64());
}

fn network_camera(port: u16) -> String {
    format!(
        "[camera]\nsource = \"rtsp\"\nstall = 2.0\nfrozen = 0.0\n[camera.rtsp]\n\
         url = \"rtsp://127.0.0.1:{port}/camera\"\n[microphone]\nsource = \"media\"\n{QUIET}"
    )
}

#[test]
fn a_network_camera_comes_back_and_what_it_showed_is_ended_meanwhile() {
    let (place, port) = (Place::new(), free_port());
    let server = Server::on(port, STREAM);
    let daemon = Daemon::start(&place.config(&network_camera(port)));
    daemon.messages.find(|line| line.contains("\"event\":\"start\""));
    drop(server);
    let lost = Instant::now();
    daemon.messages.find(|line| line.contains("\"ended\":[{"));
    println!("noticed after {:.1} s", lost.elapsed().as_secs_f64());
    daemon.log.find(|line| line.contains("trying again"));
    let server = Server::on(port, STREAM);
    let there = Instant::now();
    daemon.messages.find(|line| line.contains("\"event\":\"start\""));
    println!("heard and seen again after {:.1} s", there.elapsed().as_secs_f64());
    daemon.log.find(|line| line.contains("is back after"));
    drop(server);
}

#[test]
fn a_network_camera_that_stalls_is_taken_down_and_found_again() {
    let (place, server) = (Place::new(), Server::of(STREAM));
    let wire = Wire::to(server.port());
    let daemon = Daemon::start(&place.config(&network_camera(wire.port)));
    daemon.messages.find(|line| line.contains("\"event\":\"start\""));
    // The connection stays, and carries nothing any more.
    wire.forget();
    daemon.log.find(|line| line.contains("no picture for") && line.contains("trying again"));
    daemon.messages.find(|line| line.contains("\"ended\":[{"));
    daemon.log.find(|line| line.contains("is back after"));
    daemon.messages.find(|line| line.contains("\"event\":\"start\""));
}

#[test]
fn a_network_camera_changes_its_resolution_and_its_codec() {
    let (place, sized) =
        (Place::new(), STREAM.replace("video/x-raw", "capsfilter name=size caps=video/x-raw"));
    let server = Server::of(&sized.replace("rtph264pay", "rtph264pay config-interval=-1"));
    let daemon = Daemon::start(&place.config(&network_camera(server.port())));
    let sees = |size: &str| {
        daemon.messages.find(|line| line.contains(size) && line.contains("\"class\":\"red\""));
    };
    sees("\"width\":320,\"height\":180");
    // In mid-stream, and as another stream after hanging up; then with another codec.
    let changed = Instant::now();
    server.change("size", "video/x-raw,width=640,height=480,framerate=10/1");
    sees("\"width\":640,\"height\":480");
    tell("another resolution, in mid-stream", "heard and seen", changed);
    let changed = Instant::now();
    server.serve(&STREAM.replace("width=320,height=180", "width=480,height=270"));
    sees("\"width\":480,\"height\":270");
    tell("another resolution, after hanging up", "heard and seen", changed);
    let (coder, payloader) = ("x264enc tune=zerolatency key-int-max=5", "rtph264pay name=pay0 pt=96");
    let jpeg = STREAM.replace(coder, "jpegenc").replace(payloader, "rtpjpegpay name=pay0 pt=26");
    let jpeg = jpeg.replace("video/x-raw,width", "video/x-raw,format=I420,width");
    assert!(jpeg.contains("jpegenc ! rtpjpegpay") && jpeg.contains("I420"), "{jpeg}");
    let changed = Instant::now();
    server.serve(&jpeg.replace("width=320,height=180", "width=640,height=360"));
    sees("\"width\":640,\"height\":360");
    tell("another codec, after hanging up", "heard and seen", changed);
}

/// A daemon that hears the tests' card `s16`, with `more` said of it. While one of the files is there, the card does what its
/// variable means.
fn listening(place: &Place, folder: &Folder, more: &str, files: &[(&str, &Path)]) -> Daemon {
    let microphone = format!("[microphone]\nsource = \"alsa\"\nalsa = {{ device = \"s16\"{more} }}\n");
    let config = place.config(&format!("[camera]\nsource = \"test\"\n{microphone}{QUIET}"));
    let cards = test_cards(folder);
    let files = files.iter().copied().chain([("ALSA_CONFIG_PATH", &*cards)]);
    let environment: Vec<_> =
        files.map(|(variable, file)| (variable, file.to_str().expect("text"))).collect();
    Daemon::start_with(&config, &environment)
}

#[test]
fn an_element_of_a_launch_line_that_is_not_installed_is_waited_for() {
    let place = Place::new();
    let camera =
        "[camera]\nsource = \"pipeline\"\n[camera.pipeline]\nlaunch = \"nosuchsrc ! videoconvert\"\n";
    let config = place.config(&format!("{camera}[microphone]\nsource = \"none\"\n{QUIET}"));
    let mut daemon = Daemon::start(&config);
    let told = daemon.log.find(|line| line.contains("no element \"nosuchsrc\""));
    assert!(
        told.contains("WARN") && told.contains("apt-cache search") && told.contains("trying again"),
        "{told}"
    );
    daemon.signal("TERM");
    assert!(daemon.end().success());
}

#[test]
fn a_plug_in_that_once_failed_to_load_is_looked_into_again() {
    let (place, folder) = (Place::new(), Folder::new("recovery-plugins"));
    gstreamer::init().expect("GStreamer");
    let plug_in = gstreamer::Registry::get().find_plugin("videotestsrc").expect("the plug-in");
    let real = std::fs::canonicalize(plug_in.filename().expect("a file")).expect("a file");
    let plug_ins = folder.join("plugins");
    std::fs::create_dir_all(&plug_ins).expect("room for a folder");
    for file in
        real.parent().expect("a folder").read_dir().expect("a folder").map(|entry| entry.expect("one").path())
    {
        let link = plug_ins.join(file.file_name().expect("a name"));
        if file.extension().is_some_and(|extension| extension == "so") && file != real {
            std::os::unix::fs::symlink(file, link).expect("room for a link");
        }
    }
    // What GStreamer goes by is the same before and after, as where only a library below the plug-in comes late.
    let (place_of_it, about) =
        (plug_ins.join(real.file_name().expect("a name")), real.metadata().expect("a file"));
    let put = |bytes: &[u8]| {
        let new = folder.file("new", bytes);
        let file = std::fs::File::options().write(true).open(&new).expect("our own file");
        file.set_modified(about.modified().expect("a time")).expect("our own file");
        std::fs::rename(new, &place_of_it).expect("the same folder");
    };
    put(&vec![0; about.len() as usize]);
    let config =
        place.config(&format!("[camera]\nsource = \"test\"\n[microphone]\nsource = \"none\"\n{QUIET}"));
    let registry = folder.join("registry");
    let environment = [("GST_PLUGIN_SYSTEM_PATH_1_0", &*plug_ins), ("GST_REGISTRY", &registry)];
    let environment = environment.map(|(variable, file)| (variable, file.to_str().expect("text")));
    let mut daemon = Daemon::start_with(&config, &environment);
    daemon.log.find(|line| line.contains("no element `videotestsrc`") && line.contains("trying again"));
    put(&std::fs::read(&real).expect("the plug-in"));
    let there = Instant::now();
    daemon.log.find(|line| line.contains("the first frame is analysed"));
    tell("plug-in that once failed to load", "works", there);
    daemon.signal("TERM");
    assert!(daemon.end().success());
}

#[test]
fn a_sound_card_that_is_pulled_out_is_found_again() {
    let (place, folder) = (Place::new(), Folder::new("recovery-card"));
    let unplugged = folder.join("unplugged");
    std::fs::write(&unplugged, "").expect("room for a file");
    let daemon = listening(&place, &folder, "", &[("TVSL_TEST_UNPLUGGED", &unplugged)]);
    // Not there at the start: waited for.
    daemon.log.find(|line| line.contains("microphone \"s16\"") && line.contains("trying again"));
    std::fs::remove_file(&unplugged).expect("the file");
    daemon.log.find(|line| line.contains("is back after"));
    daemon.log.find(|line| line.contains("the first frame is analysed"));
    std::fs::write(&unplugged, "").expect("room for a file");
    daemon.log.find(|line| line.contains("microphone") && line.contains("trying again"));
    std::fs::remove_file(&unplugged).expect("the file");
    daemon.log.find(|line| line.contains("is back after"));
}

#[test]
fn a_sound_card_whose_reading_hangs_is_told_found_again_and_lets_the_program_end() {
    let (place, folder) = (Place::new(), Folder::new("recovery-hanging-card"));
    let hangs = folder.join("hangs");
    let mut daemon = listening(&place, &folder, "", &[("TVSL_TEST_READ_HANGS", &hangs)]);
    daemon.log.find(|line| line.contains("the first frame is analysed"));
    std::fs::write(&hangs, "").expect("room for a file");
    let hung = Instant::now();
    daemon.log.find(|line| line.contains("reading it gives no answer") && line.contains("trying again"));
    tell("reading of the sound card hangs", "told", hung);
    std::fs::remove_file(&hangs).expect("the file");
    let there = Instant::now();
    daemon.log.find(|line| line.contains("is back after"));
    tell("reading of the sound card goes on", "heard", there);
    std::fs::write(&hangs, "").expect("room for a file");
    daemon.log.find(|line| line.contains("reading it gives no answer"));
    daemon.signal("TERM");
    assert!(daemon.end().success(), "it ends although a thread does not");
}

#[test]
fn a_camera_that_freezes_is_opened_again_and_believed_when_its_picture_changes() {
    let (place, server) = (Place::new(), Server::of(rtsp::SENSOR));
    let text =
        network_camera(server.port()).replace("stall = 2.0\nfrozen = 0.0", "stall = 2.0\nfrozen = 2.0");
    let daemon = Daemon::start(&place.config(&text));
    daemon.messages.find(|line| line.contains("\"event\":\"start\""));
    server.freeze();
    daemon.log.find(|line| line.contains("the picture is frozen") && line.contains("trying again"));
    let lost = UNIX_EPOCH.elapsed().expect("a clock that was set").as_secs_f64();
    server.asked(2);
    let told: Vec<Value> =
        std::iter::from_fn(|| daemon.messages.waiting()).map(|line| line.parse().expect("JSON")).collect();
    let dead = |message: &&Value| message["published"].as_f64().is_none_or(|at| at > lost);
    let found = told.iter().filter(dead).find(|message| message["detections"] != json!([]));
    assert_eq!(found, None, "found in a dead picture after {lost}");
    assert!(
        told.last().is_some_and(|last| last["ended"] != json!([])),
        "what was reported is ended: {told:?}"
    );
    server.thaw();
    daemon.log.find(|line| line.contains("is back after"));
    daemon.messages.find(|line| line.contains("\"event\":\"start\""));
}

#[test]
fn a_changed_configuration_is_put_in_force_and_a_wrong_one_refused() {
    let (place, port) = (Place::new(), free_port());
    let server = Server::on(port, STREAM);
    let text = network_camera(port);
    let mut daemon = Daemon::start(&place.config(&text));
    daemon.messages.find(|line| line.contains("\"event\":\"start\""));
    place.config(&format!("{text}port = 0\n"));
    daemon.signal("HUP");
    daemon.log.find(|line| line.contains("is refused"));
    let reason = daemon.log.find(|line| line.contains("mqtt.port"));
    assert!(reason.contains("tvsl.toml:") && reason.contains("out of range"), "{reason}");
    daemon.messages.find(|line| line.contains("\"event\":\"update\""));
    place.config(&format!("{text}[detection]\nclasses = [\"no such class\"]\n"));
    daemon.signal("HUP");
    daemon.log.find(|line| line.contains("is refused"));
    daemon.log.find(|line| line.contains("no such class"));
    daemon.messages.find(|line| line.contains("\"event\":\"update\""));
    // Another class is wanted: what was reported ends, without the camera being opened again.
    place.config(&format!("{text}[detection]\nclasses = [\"green\"]\n"));
    daemon.signal("HUP");
    daemon.messages.find(|line| line.contains("\"ended\":[{"));
    // A changed file is read without being told, written in place or put there as editors do.
    place.config(&text);
    daemon.messages.find(|line| line.contains("\"event\":\"start\""));
    let other = place.path("tvsl.toml~");
    std::fs::write(&other, "camera.rate = \"many\"").expect("room for a file");
    std::fs::rename(&other, place.path("tvsl.toml")).expect("renamed");
    daemon.log.find(|line| line.contains("is refused"));
    daemon.log.find(|line| line.contains("camera.rate"));
    daemon.messages.find(|line| line.contains("\"event\":\"update\""));
    daemon.signal("TERM");
    assert!(daemon.end().success());
    let log = daemon.log.rest();
    assert!(!log.iter().any(|line| line.contains("trying again")), "the camera was opened again: {log:?}");
    drop(server);
}

#[test]
fn a_camera_that_never_answers_does_not_hold_up_the_stop() {
    let place = Place::new();
    // Connections are accepted by the kernel, and nobody ever speaks.
    let mute = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = mute.local_addr().expect("an address").port();
    let mut daemon = Daemon::start_with(&place.config(&network_camera(port)), &[("TVSL_LOG", "debug")]);
    daemon.log.find(|line| line.contains("is being opened"));
    mute.accept().expect("the daemon connects");
    let asked = Instant::now();
    daemon.signal("TERM");
    assert!(daemon.end().success());
    assert!(asked.elapsed() < Duration::from_secs(2), "stopped after {:?}", asked.elapsed());
}

#[test]
fn a_plug_in_that_is_missing_does_not_end_the_daemon_and_is_told() {
    let place = Place::new();
    let text = format!("[camera]\nsource = \"csi\"\n[microphone]\nsource = \"none\"\n{QUIET}");
    let mut daemon = Daemon::start(&place.config(&text));
    let told = daemon.log.find(|line| line.contains("trying again"));
    assert!(told.contains("nvarguscamerasrc") && told.contains("nvidia-l4t-gstreamer"), "{told}");
    place.config(&format!("{}[microphone]\nsource = \"media\"\n{QUIET}", made_up(HUM)));
    daemon.signal("HUP");
    daemon.messages.find(|line| line.contains("\"event\":\"start\""));
    daemon.signal("TERM");
    assert!(daemon.end().success());
}

#[test]
fn a_configuration_whose_launch_line_waits_for_a_plug_in_can_be_changed() {
    let place = Place::new();
    let good = format!("{}[microphone]\nsource = \"media\"\n{QUIET}", made_up(HUM));
    let waiting = good.replace("videotestsrc", "nosuchsrc");
    let mut daemon = Daemon::start(&place.config(&waiting));
    daemon.log.find(|line| line.contains("trying again") && line.contains("nosuchsrc"));
    place.config(&waiting.replace("frozen = 0.0", "frozen = 0.0\nrate = 3.0"));
    daemon.signal("HUP");
    daemon.log.find(|line| line.contains("the configuration was read again"));
    place.config(&good);
    daemon.signal("HUP");
    daemon.messages.find(|line| line.contains("\"event\":\"start\""));
    daemon.signal("TERM");
    assert!(daemon.end().success());
}

/// A camera whose picture and sound the tiny model sees and hears, made by GStreamer.
fn made_up(sound: &str) -> String {
    let launch = format!(
        "videotestsrc is-live=true pattern=red ! video/x-raw,width=320,height=180,framerate=10/1 ! identity {sound}"
    );
    format!("[camera]\nsource = \"pipeline\"\nfrozen = 0.0\n[camera.pipeline]\nlaunch = \"{launch}\"\n")
}

const HUM: &str =
    "audiotestsrc is-live=true freq=200 volume=0.8 ! audio/x-raw,rate=48000,channels=1 ! identity";

#[test]
fn a_configuration_that_cannot_work_never_ends_the_daemon() {
    let (place, folder) = (Place::new(), Folder::new("recovery-reload"));
    let good = format!("{}[microphone]\nsource = \"media\"\n{QUIET}", made_up(HUM));
    let config = place.config(&good);
    let cards = test_cards(&folder);
    let environment =
        [("ALSA_CONFIG_PATH", cards.to_str().expect("text")), ("TVSL_TENSORRT", "/no/libnvinfer.so.10")];
    let mut daemon = Daemon::start_with(&config, &environment);
    daemon.messages.find(|line| line.contains("\"event\":\"start\""));
    let microphone =
        |alsa: &str| good.replace("\"media\"", &format!("\"alsa\"\nalsa = {{ device = \"s16\", {alsa} }}"));
    let camera = |camera: &str| format!("[camera]\n{camera}\n[microphone]\nsource = \"none\"\n{QUIET}");
    let v4l2 = "[camera]\nsource = \"v4l2\"\n[camera.v4l2]\ndevice = \"/dev/video0\"\n";
    // What the reading of it shows changes nothing; what only the device shows is taken back.
    for (fault, text, told) in [
        ("a launch line", good.replace("videotestsrc", "nosuchsrc"), "camera.pipeline.launch"),
        ("a pattern", camera("source = \"test\"\ntest.pattern = \"none such\""), "none such"),
        ("sound of a camera without", format!("{v4l2}[microphone]\nsource = \"media\"\n{QUIET}"), "has none"),
        ("a rate", microphone("rate = 44100"), "44100 samples in a second"),
        ("channels", microphone("channels = 7"), "no 7 channels"),
        ("no Jetson", camera("source = \"csi\""), "nvarguscamerasrc"),
        ("no GPU", format!("{good}[engine]\nkind = \"tensorrt\"\n"), "engine.kind: "),
    ] {
        place.config(&text);
        daemon.signal("HUP");
        daemon.log.find(|line| line.contains("is refused"));
        daemon.log.find(|line| line.contains(told));
        let works =
            |line: &str| line.contains("\"event\":\"update\"") || line.contains("\"event\":\"start\"");
        while daemon.messages.waiting().is_some() {}
        daemon.messages.find(works);
        println!("{fault}: refused, and it works on");
    }
    place.config(&good);
    let text = std::fs::read_to_string(&config).expect("a file");
    std::fs::write(&config, text.replace("tests/data/tiny", "tests/data/no-such-model"))
        .expect("room for a file");
    daemon.signal("HUP");
    daemon.log.find(|line| line.contains("is refused"));
    daemon.log.find(|line| line.contains("no-such-model"));
    place.config(&good);
    daemon.signal("HUP");
    daemon.log.find(|line| line.contains("was read again"));
    while daemon.messages.waiting().is_some() {}
    daemon.messages.find(|line| line.contains("\"event\":\"update\""));
    daemon.signal("TERM");
    assert!(daemon.end().success());
}

#[test]
fn a_stream_whose_sound_stops_is_opened_again_as_a_whole() {
    // After a second the sound ends; or the next piece of it never comes, and nothing says so.
    let ends = HUM.replace("freq", "num-buffers=40 freq");
    let stalls = format!(
        "{} ! concat name=sound ! identity appsrc is-live=true ! sound.",
        ends.trim_end_matches(" ! identity")
    );
    for (sound, why) in [(ends, "the stream ended"), (stalls, "no sound in the stream for")] {
        let place = Place::new();
        let camera = made_up(&sound).replace("frozen", "stall = 1.0\nfrozen");
        let daemon =
            Daemon::start(&place.config(&format!("{camera}[microphone]\nsource = \"media\"\n{QUIET}")));
        daemon.messages.find(|line| line.contains("\"event\":\"start\""));
        daemon.messages.find(|line| line.contains("\"ended\":[{"));
        daemon.log.find(|line| line.contains(why) && line.contains("trying again"));
        daemon.log.find(|line| line.contains("is back after"));
        daemon.messages.find(|line| line.contains("\"event\":\"start\""));
    }
}

#[test]
fn a_service_that_boots_with_another_sound_card_waits_for_the_right_one() {
    let (place, folder) = (Place::new(), Folder::new("recovery-boot"));
    let rate = folder.join("rate");
    std::fs::write(&rate, "48000").expect("room for a file");
    let mut daemon = listening(&place, &folder, ", rate = 16000", &[("TVSL_TEST_RATE", &rate)]);
    let told = daemon.log.find(|line| line.contains("does not record 16000 samples"));
    assert!(
        told.contains("WARN") && told.contains("a rate from 48000") && told.contains("trying again"),
        "{told}"
    );
    std::fs::remove_file(&rate).expect("the file");
    let there = Instant::now();
    daemon.log.find(|line| line.contains("the first frame is analysed"));
    tell("another sound card at boot, then the right one", "works", there);
    daemon.signal("TERM");
    assert!(daemon.end().success());
}

#[test]
fn a_sound_card_that_comes_back_as_another_is_waited_for() {
    let (place, folder) = (Place::new(), Folder::new("recovery-other"));
    let (unplugged, rate) = (folder.join("unplugged"), folder.join("rate"));
    let files = [("TVSL_TEST_UNPLUGGED", &*unplugged), ("TVSL_TEST_RATE", &rate)];
    let mut daemon = listening(&place, &folder, ", rate = 16000", &files);
    daemon.log.find(|line| line.contains("the first frame is analysed"));
    std::fs::write(&rate, "48000").expect("room for a file");
    std::fs::write(&unplugged, "").expect("room for a file");
    daemon.log.find(|line| line.contains("microphone") && line.contains("trying again"));
    std::fs::remove_file(&unplugged).expect("the file");
    let there = Instant::now();
    daemon.log.find(|line| line.contains("does not record 16000 samples") && line.contains("trying again"));
    tell("sound card that came back as another", "told", there);
    std::fs::remove_file(&rate).expect("the file");
    let there = Instant::now();
    daemon.log.find(|line| line.contains("is back after"));
    tell("sound card that is the right one again", "back", there);
    daemon.signal("TERM");
    assert!(daemon.end().success());
}
