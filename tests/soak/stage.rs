//! The stage: a camera and a broker behind wires that break, two devices, and a subscriber who checks all they say.

use std::f32::consts::PI;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::time::{Duration, Instant, UNIX_EPOCH};

use crate::broker::Broker;
use crate::card::{CARD, Card};
use crate::daemon::{self, Place};
use crate::device::Device;
use crate::ledger::Ledger;
use crate::rtsp::Server;
use crate::subscriber::{Subscriber, publish_to};
use crate::wire::Wire;
use crate::{scene, support};

/// Seconds after which a camera that is silent is opened anew.
pub const STALL: f64 = 3.0;
/// Seconds between the writes of the store on disk.
pub const EVERY: f64 = 1.0;
/// What was under way when a fault began may still be told, seconds.
const UNDER_WAY: f64 = 1.5;
/// Longest time until everything works after a fault.
pub const LIMIT: Duration = Duration::from_secs(60);

pub struct Stage {
    pub place: Place,
    pub broker: Option<Broker>,
    pub broker_port: u16,
    pub broker_wire: Wire,
    pub camera: Option<Server>,
    pub camera_port: u16,
    pub launch: String,
    pub camera_wire: Wire,
    pub card: Card,
    /// Where `steady` hears: `alsa`, the card, or `media`, the camera's stream.
    pub microphone: &'static str,
    /// The default model, a network camera, a sound card, its messages through a wire; never killed.
    pub steady: Device,
    /// The tiny model and a store on disk; killed at any time.
    pub mortal: Device,
    subscriber: Subscriber,
    pub ledger: Ledger,
    /// How often the broker's state was deleted.
    pub wiped: u32,
    /// When `steady` cannot have captured anything that it may tell, Unix seconds.
    away: Vec<Range<f64>>,
}

/// Unix seconds.
pub fn now() -> f64 {
    UNIX_EPOCH.elapsed().expect("a clock that was set").as_secs_f64()
}

/// A free port that no outgoing connection takes meanwhile.
fn lasting_port(random: &mut fastrand::Rng) -> u16 {
    let mut ports = std::iter::repeat_with(|| random.u16(15_000..30_000));
    ports.find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()).expect("without end")
}

impl Stage {
    pub fn set(random: &mut fastrand::Rng) -> Self {
        let place = Place::new();
        let (broker_port, camera_port) = (lasting_port(random), lasting_port(random));
        let launch = scene::launch(place.0.path());
        let broker = Some(start_broker(&place, broker_port));
        let camera = Some(Server::on(camera_port, &launch));
        let (broker_wire, camera_wire) = (Wire::to(broker_port), Wire::to(camera_port));
        let subscriber = Subscriber::lasting(broker_port);
        let (card, microphone) = (Card::new(&place.path("sound.raw")), "alsa");
        let steady = steady(&place, camera_wire.port, broker_wire.port, microphone, "");
        let steady = Device::start("steady", place.path("steady"), &steady, &card.environment());
        let mortal = Device::start("mortal", place.path("mortal"), &mortal(&place, broker_port), &[]);
        Self {
            place,
            broker,
            broker_port,
            broker_wire,
            camera,
            camera_port,
            launch,
            camera_wire,
            card,
            microphone,
            steady,
            mortal,
            subscriber,
            ledger: Ledger::default(),
            wiped: 0,
            away: Vec::new(),
        }
    }

    /// Another configuration for `steady`, with these lines at its start.
    pub fn configure(&self, lines: &str) {
        let text = steady(&self.place, self.camera_wire.port, self.broker_wire.port, self.microphone, lines);
        self.steady.configure(&text);
    }

    pub fn start_broker(&mut self) {
        self.broker = Some(start_broker(&self.place, self.broker_port));
    }

    pub fn broker(&self) -> &Broker {
        self.broker.as_ref().expect("it runs between faults")
    }

    /// Publishes a wish for a setting of `steady` and gives whether it was accepted.
    pub fn wish(&mut self, key: &str, payload: &str) -> Result<bool, String> {
        let topic = format!("tvsl/steady/set/{key}");
        let answer = format!("{topic}/result");
        let (before, _) = self.ledger.latest(&answer);
        publish_to(self.broker_port, &topic, payload, &[]);
        self.until("an answer to a wish", |stage| stage.ledger.latest(&answer).0 > before)?;
        Ok(self.ledger.latest(&answer).1["accepted"] == true)
    }

    /// What `steady` captures from now until then is never told, except what is under way.
    pub fn away(&mut self, from: f64, until: f64) {
        self.away.push(from + UNDER_WAY..until);
    }

    /// Hears everybody for so many seconds.
    pub fn listen(&mut self, seconds: f64) -> Result<(), String> {
        let began = Instant::now();
        while began.elapsed().as_secs_f64() < seconds {
            self.hear()?;
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Hears everybody until `done` holds.
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) -> Result<Duration, String> {
        let began = Instant::now();
        loop {
            self.hear()?;
            if done(self) {
                return Ok(began.elapsed());
            }
            if began.elapsed() > LIMIT {
                return Err(format!("not within {} s: {what}", LIMIT.as_secs()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn hear(&mut self) -> Result<(), String> {
        while let Some(line) = self.subscriber.lines.waiting() {
            self.ledger.hear(&line);
        }
        for device in [&mut self.steady, &mut self.mortal] {
            device.listen();
            if let Some(status) = device.ended() {
                return Err(format!("{} ended by itself: {status}", device.name));
            }
        }
        if self.ledger.sessions > self.wiped {
            self.ledger.wrong.push("the broker forgot its subscriber".into());
        }
        if self.ledger.wrong.is_empty() { Ok(()) } else { Err(self.ledger.wrong.join("\n")) }
    }

    /// Nothing may have been told of a time when there was nothing to see or nobody was to look.
    pub fn judge_times(&mut self) -> Result<(), String> {
        let told = |time: &Range<f64>| {
            let captured = &self.ledger.told("steady")?.captured;
            captured.iter().find(|moment| time.contains(moment)).map(|moment| moment - time.start + UNDER_WAY)
        };
        if let Some(after) = self.away.iter().find_map(told) {
            return Err(format!(
                "steady tells of a picture {after:.2} s after its camera, its sound or its leave was gone"
            ));
        }
        self.away.clear();
        self.ledger.forget_times();
        Ok(())
    }

    /// Tells both devices to stop, and waits until they have ended well and said so.
    pub fn stop(&mut self) -> Result<(), String> {
        for device in [&mut self.steady, &mut self.mortal] {
            device.daemon.signal("TERM");
            let status = device.daemon.end();
            if !status.success() {
                return Err(format!("{} ended with {status}", device.name));
            }
        }
        let began = Instant::now();
        let said =
            |stage: &Self, device| stage.ledger.latest(&format!("tvsl/{device}/status")).1 == "stopped";
        while !["steady", "mortal"].iter().all(|device| said(self, device)) {
            if began.elapsed() > LIMIT {
                return Err("a device does not say that it stopped".into());
            }
            while let Some(line) = self.subscriber.lines.waiting() {
                self.ledger.hear(&line);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        if self.ledger.wrong.is_empty() { Ok(()) } else { Err(self.ledger.wrong.join("\n")) }
    }

    /// The ends of both logs.
    pub fn logs(&mut self) -> String {
        self.steady.listen();
        self.mortal.listen();
        self.steady.log() + &self.mortal.log()
    }
}

/// A mosquitto that keeps its state over restarts.
fn start_broker(place: &Place, port: u16) -> Broker {
    let state = format!("persistence true\npersistence_location {}/", place.0.path().display());
    Broker::start(place, port, &format!("allow_anonymous true\nmax_queued_messages 0\nuser root\n{state}"))
}

fn steady(place: &Place, camera: u16, broker: u16, microphone: &str, lines: &str) -> String {
    format!(
        "{lines}\ndevice.name = \"steady\"\ncamera.source = \"rtsp\"\ncamera.stall = {STALL:.1}\n\
         camera.rtsp.url = \"rtsp://127.0.0.1:{camera}/camera\"\nmicrophone.source = \"{microphone}\"\n\
         microphone.alsa.device = \"{CARD}\"\nmqtt.port = {broker}\nmqtt.keep_alive = 5\nmqtt.settings_file = \"{}\"\n",
        place.path("steady/settings.json").display()
    )
}

/// Red that hums for three of every five seconds.
fn mortal(place: &Place, broker: u16) -> String {
    let (clip, sound) = (place.path("red.mkv"), place.path("hum.raw"));
    let loud = |n: usize| if n < 3 * 8000 { (2.0 * PI * 200.0 * n as f32 / 8000.0).sin() } else { 0.0 };
    let samples: Vec<u8> = (0..5 * 8000).flat_map(|n| ((loud(n) * 26_000.0) as i16).to_le_bytes()).collect();
    std::fs::write(&sound, samples).expect("room for a file");
    let raw = "rawaudioparse format=pcm pcm-format=s16le sample-rate=8000 num-channels=1";
    let sound = format!("filesrc location={} ! {raw} ! audioconvert ! queue ! m.", sound.display());
    support::make(&format!("{} ! queue ! m. {sound} matroskamux name=m ! filesink", daemon::red(5)), &clip);
    let (model, folder) =
        (std::path::absolute("tests/data/tiny").expect("a working directory"), place.path("mortal"));
    format!(
        "[device]\nname = \"mortal\"\n[model]\npath = \"{}\"\n[camera]\nsource = \"file\"\nfile.path = \"{}\"\n\
         file.repeat = true\n[microphone]\nsource = \"media\"\n[mqtt]\nport = {broker}\nkeep_alive = 5\n\
         settings_file = \"{}\"\n[mqtt.store]\nenabled = true\nevery = {EVERY:.1}\nfile = \"{}\"\n",
        model.display(),
        clip.display(),
        folder.join("settings.json").display(),
        folder.join("events.log").display()
    )
}
