//! What docs/fleet.md says of the messages of one device, held to what the program tells of the demonstration's clip. Prints
//! the figures.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tvsl::analysis::{Analysed, Analysis};
use tvsl::clock::{Clock, Instant, SystemClock};
use tvsl::config::{CameraSource, Config, MicrophoneSource, Overrides};
use tvsl::evaluate::clip::Truth;
use tvsl::message::{Info, Message, Settings};
use tvsl::model::Model;
use tvsl::pipeline::{self, Observer, Stop};
use tvsl::publish::Teller;
use tvsl::{capture, engine};

/// When the clip begins, Unix time: stamps are as long as a device's.
const BEGIN: Duration = Duration::from_micros(1_769_085_300_123_457);

/// The clip's time.
#[derive(Default)]
struct Played(AtomicU64);

impl Played {
    fn at(&self, now: Instant) {
        self.0.store(now.as_nanos(), Ordering::Relaxed);
    }
}

impl Clock for Played {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.load(Ordering::Relaxed))
    }

    fn wall(&self) -> Duration {
        BEGIN + Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    fn synced(&self) -> Option<bool> {
        Some(true)
    }
}

/// A device at a broker that takes everything at once, and what it has told since it was connected: messages and bytes.
struct Device<'a> {
    config: Config,
    teller: Teller<'a>,
    told: BTreeMap<String, (u64, u64)>,
}

impl<'a> Device<'a> {
    fn new(config: &Config, info: Info, clock: &'a Played) -> Self {
        let teller = Teller::new(config, (info, Settings::new(config, &Overrides::default())), 1, clock);
        let mut device = Self { config: config.clone(), teller, told: BTreeMap::new() };
        device.teller.connected();
        device.read();
        device.told.clear();
        device
    }

    fn read(&mut self) {
        let outbox = self.teller.outbox();
        while let Some((ticket, report)) = outbox.take() {
            outbox.store().acknowledge(&ticket);
            let bytes = report.payload(&self.config.mqtt).expect("JSON").len() as u64;
            let topic = report.topic().split('/').next().map(str::to_owned).unwrap_or_default();
            let told = self.told.entry(topic).or_default();
            *told = (told.0 + 1, told.1 + bytes);
        }
    }

    /// Messages and bytes of all topics.
    fn all(&self) -> (u64, u64) {
        self.told.values().fold((0, 0), |(messages, bytes), told| (messages + told.0, bytes + told.1))
    }
}

/// Two devices that see the clip: as shipped, and with `detections_rate = 1`.
struct Pair<'a> {
    clock: &'a Played,
    devices: [Device<'a>; 2],
}

impl Observer for Pair<'_> {
    fn message(&mut self, message: Message) {
        self.clock.at(Instant::from_secs_f64(message.published));
        let message = as_of_now(message);
        self.devices.iter_mut().for_each(|device| {
            device.teller.message(&message);
            device.read();
        });
    }

    fn analysed(&mut self, analysed: &Analysed) {
        self.clock.at(analysed.captured);
        self.devices.iter_mut().for_each(|device| {
            device.teller.analysed(analysed);
            device.read();
        });
    }
}

/// A message of a recording with the stamps of a device.
fn as_of_now(mut message: Message) -> Message {
    let begin = BEGIN.as_secs_f64();
    let Message { frame, sound, published, .. } = &mut message;
    for stamp in [&mut frame.captured, &mut sound.start, &mut sound.end, published] {
        *stamp += begin;
    }
    message.detections.iter_mut().for_each(|sounding| sounding.since += begin);
    message.ended.iter_mut().for_each(|ended| ended.last += begin);
    message.clock_synced = Some(true);
    message
}

/// The number in a text that follows these words.
fn stated(text: &str, words: &str) -> f64 {
    let rest = text.split_once(words).unwrap_or_else(|| panic!("docs/fleet.md does not say {words:?}")).1;
    let number = rest.trim_start().split([' ', ';', '|', ',']).next().unwrap_or_default();
    number.parse().unwrap_or_else(|_| panic!("{number:?} after {words:?} is no number"))
}

#[test]
fn the_page_says_what_a_device_tells() {
    capture::init().expect("GStreamer is installed: `make setup`");
    let truth = Truth::read(Path::new("demo/truth.json")).expect("the demonstration's clip");
    let (mut config, seconds) = (Config::default(), truth.seconds);
    (config.device.name, config.camera.source) = ("site1-hall".into(), CameraSource::File);
    (config.camera.file.path, config.microphone.source) = (truth.clip, MicrophoneSource::Media);
    let mut sparing = config.clone();
    sparing.mqtt.detections_rate = 1.0;
    let engine = engine::choose(&config.engine).expect("ONNX Runtime is installed: `make setup`");
    let model = Model::configured(&config.model_dir().expect("the default model"), engine.as_ref(), &config);
    let model = model.expect("the default model");
    let (info, clock) = (Info::new(&config, &model), Played::default());
    let devices = [&config, &sparing].map(|config| Device::new(config, info.clone(), &clock));
    let mut pair = Pair { clock: &clock, devices };
    let analysis = Analysis::new(model, &config).expect("a model that can judge");
    let (clock, stop) = (SystemClock::new(), Stop::default());
    pipeline::replay(&config, analysis, &clock, &stop, &mut pair).expect("a clip that plays");

    let page = std::fs::read_to_string("docs/fleet.md").expect("the page");
    let [device, sparing] = &pair.devices;
    let mut wrong = Vec::new();
    let mut near = |what: &str, told: f64, stated: f64| {
        let words = format!("{what}: {told:.2}, docs/fleet.md says {stated}");
        println!("{words}");
        wrong.extend(((told - stated).abs() > 0.05 * told + 0.05).then_some(words));
    };
    for topic in ["detections", "events", "state", "level"] {
        let (messages, bytes) = device.told[topic];
        let row = page.lines().find(|line| line.starts_with(&format!("| `{topic}")));
        let row = row.unwrap_or_else(|| panic!("docs/fleet.md has no row of {topic}"));
        let [rate, each] = [2, 3].map(|cell| stated(row.split('|').nth(cell).unwrap_or_default(), ""));
        near(&format!("{topic} a second"), messages as f64 / seconds, rate);
        near(&format!("bytes of {topic}"), bytes as f64 / messages as f64, each);
    }
    let (messages, bytes) = device.all();
    near("messages a second", messages as f64 / seconds, stated(&page, "All together that is "));
    near("kB a second", bytes as f64 / seconds / 1e3, stated(&page, "messages and "));
    let bytes = sparing.all().1;
    near(
        "with detections_rate = 1",
        bytes as f64 / seconds / 1e3,
        stated(&page, "`[mqtt] detections_rate = 1` makes it "),
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(sparing.told["events"], device.told["events"], "every start and end is told");
}
