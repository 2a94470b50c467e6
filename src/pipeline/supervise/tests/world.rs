//! A world under simulated time: devices with weather, the supervision in it, and a witness of what subscribers hear.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::super::super::hardware::{Handle, Hardware, Open};
use super::super::super::live::HUNG;
use super::super::*;
use crate::config::{Log, MicrophoneSource};
use crate::engine;
use crate::heat::Heat;
use crate::message::{HealthState, Part, Wish};
use crate::model::Vocabulary;
use crate::queue::{Sender, Sensed};

/// Time between two turns.
pub(super) const TURN: Duration = Duration::from_millis(50);
/// Every so many turns a picture comes, and a block of sound as long as the time between.
pub(super) const EVERY: u64 = 4;
/// A camera that is silent for so long is lost.
pub(super) const STALL: Duration = Duration::from_secs(2);
/// A camera that shows the same picture for longer is frozen.
pub(super) const FROZEN: Duration = Duration::from_secs(4);
/// A card that is silent for so long reports it, as `capture` does.
pub(super) const CARD_STALL: Duration = Duration::from_secs(5);
/// Longest time that opening takes.
pub(super) const OPENING: Duration = Duration::from_secs(4);
/// Samples of sound in a second, for the tiny model.
pub(super) const RATE: u32 = 8_000;
/// A year.
pub(super) const YEAR: i64 = 365 * 86_400;

/// What a device does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weather {
    /// It opens and delivers.
    Fine,
    /// It is not there: what is open reports a fault, a try fails.
    Gone,
    /// What opens it is not installed: a try fails, and what is open says nothing.
    Lacking,
    /// What the configuration says of it is wrong, whatever is plugged in: a try fails, and what is open says nothing.
    Wrong,
    /// Another device has its name, which is not as the configuration says: a try fails, and what is open says nothing.
    Other,
    /// It opens and delivers nothing, and says nothing.
    Mute,
    /// It opens and ends at once.
    Ended,
    /// The camera opens and shows one picture for ever; a microphone works.
    Frozen,
    /// Opening it takes as long as this lasts; what is open delivers nothing.
    Hung,
    /// It opens, and whoever reads it hangs: nothing comes, and nobody says so.
    Stuck,
}

/// One device.
#[derive(Debug)]
pub(super) struct Site {
    weather: Weather,
    /// Tries under way.
    tries: u32,
    /// How often it is open.
    pub open: u32,
    /// Whether it said its last word since it was opened.
    over: bool,
    /// When it was opened, or delivered.
    last: Instant,
    /// The picture that it shows, and since when.
    shown: (u8, Instant),
    /// Which of the configured devices was opened last: another one shows another picture.
    which: u64,
    /// Tries so far.
    pub tried: u32,
}

/// The machine and its world.
pub(super) struct Machine {
    now: AtomicU64,
    /// Seconds since 1970 at the start, by the wall clock.
    pub wall: AtomicI64,
    sites: [Mutex<Site>; 2],
    random: Mutex<fastrand::Rng>,
    /// Devices configured so far.
    configured: AtomicU64,
    pub hot: Mutex<bool>,
    /// Whether the camera is out of reach of this process.
    pub shut_out: AtomicBool,
}

impl Machine {
    fn new(seed: u64) -> Arc<Self> {
        let site = || {
            let (weather, last, shown) = (Weather::Fine, Instant::ZERO, (0, Instant::ZERO));
            Mutex::new(Site { weather, tries: 0, open: 0, over: false, last, shown, which: 0, tried: 0 })
        };
        Arc::new(Self {
            now: AtomicU64::new(Instant::from_secs_f64(1000.0).as_nanos()),
            wall: AtomicI64::new(56 * YEAR),
            sites: [site(), site()],
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            configured: AtomicU64::new(0),
            hot: Mutex::default(),
            shut_out: AtomicBool::new(false),
        })
    }

    pub fn site(&self, sense: Sense) -> MutexGuard<'_, Site> {
        self.sites[sense as usize].lock().expect("no panic")
    }

    /// A try to open the device is under way until `due` at least; there is no other, and nothing is open.
    fn begin(&self, sense: Sense) -> Instant {
        let mut site = self.site(sense);
        (site.tries, site.tried) = (site.tries + 1, site.tried + 1);
        assert!(site.tries == 1 && site.open == 0, "a try beside another, or beside an open {sense}");
        self.now() + OPENING.mul_f64(self.random.lock().expect("no panic").f64())
    }

    fn outcome(
        self: &Arc<Self>,
        sense: Sense,
        which: u64,
        due: Instant,
    ) -> Option<Result<Handle, CaptureError>> {
        let mut site = self.site(sense);
        if self.now() < due || site.weather == Weather::Hung {
            return None;
        }
        site.tries -= 1;
        if let Some(error) = refusal(sense, site.weather) {
            return Some(Err(error));
        }
        (site.open, site.over, site.last) = (site.open + 1, false, self.now());
        if site.which != which {
            (site.which, site.shown.1) = (which, Instant::ZERO);
        }
        Some(Ok(Box::new(Hold(Arc::clone(self), sense))))
    }
}

/// Why a try fails in that weather, if it does.
fn refusal(sense: Sense, weather: Weather) -> Option<CaptureError> {
    let origin = sense.to_string();
    match weather {
        Weather::Gone => Some(CaptureError::Stalled { origin, seconds: 10, cure: "plug it in".into() }),
        Weather::Lacking => {
            let (format, cure) = ("Theora".into(), "install one".into());
            Some(CaptureError::Decoder { origin, format, cure })
        }
        Weather::Wrong => Some(CaptureError::Launch("syntax error".into())),
        Weather::Other => {
            let (reason, cure) = ("the device does not record so".into(), "expected another rate".into());
            Some(CaptureError::Unfit { key: "microphone.alsa.rate", reason, cure })
        }
        _ => None,
    }
}

impl Clock for Machine {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.now.load(Ordering::Relaxed))
    }

    fn wall(&self) -> Duration {
        let origin = Duration::from_secs(self.wall.load(Ordering::Relaxed).max(0).unsigned_abs());
        origin + self.now().since(Instant::ZERO)
    }
}

/// An open device.
struct Hold(Arc<Machine>, Sense);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.site(self.1).open -= 1;
    }
}

struct Simulated(Arc<Machine>);

impl Simulated {
    fn open(&self, sense: Sense) -> Open {
        let machine = Arc::clone(&self.0);
        let which = 1 + machine.configured.fetch_add(1, Ordering::Relaxed);
        Box::new(move || -> io::Result<_> {
            let (due, machine) = (machine.begin(sense), Arc::clone(&machine));
            Ok(Box::new(move || machine.outcome(sense, which, due)))
        })
    }
}

impl Hardware for Simulated {
    fn camera(&self, _: &Config, _: &Wanted, _: &Sender) -> Open {
        self.open(Sense::Camera)
    }

    fn microphone(&self, _: &Config, _: &Wanted, _: &Sender) -> Open {
        self.open(Sense::Microphone)
    }

    fn is_shut_out(&self, _: &Config) -> bool {
        self.0.shut_out.load(Ordering::Relaxed)
    }

    fn heat(&self) -> Heat {
        let hot = *self.0.hot.lock().expect("no panic");
        Heat { throttled: hot.then(|| "cpu is at 99 °C".into()).into_iter().collect(), ..Heat::default() }
    }
}

/// What subscribers heard.
#[derive(Default)]
pub(super) struct Heard {
    health: BTreeMap<Part, Health>,
    pub told: Vec<(Part, HealthState)>,
    open: BTreeSet<String>,
    /// When something was last reported.
    last: Option<Instant>,
    /// When the pictures were captured in which something was reported, Unix seconds.
    pub captured: Vec<f64>,
    /// That subscribers switch it on or off.
    wishes: Vec<Wish>,
    /// Whether they wish for something without end.
    pub flood: bool,
    /// The file that was read again.
    file: Option<Config>,
}

/// Opens the tiny model as long as nobody holds the gate, which counts that.
struct Slow(Arc<Mutex<u32>>);

impl Workshop for Slow {
    fn words(&self, _: &Config) -> Result<Vocabulary, String> {
        Err("the tiny model reads none".into())
    }

    fn model(&self, config: &Config) -> Result<Model, String> {
        *self.0.lock().expect("no panic") += 1;
        Ok(tiny(config))
    }

    fn log(&self, _: &Log) {}
}

fn tiny(config: &Config) -> Model {
    let engine = engine::choose(&config.engine).expect("an engine");
    Model::open(Path::new("tests/data/tiny"), engine.as_ref()).expect("the tiny model opens")
}

/// Listens, and holds the supervision to its promises.
struct Witness {
    machine: Arc<Machine>,
    heard: Rc<RefCell<Heard>>,
    gate: Arc<Mutex<u32>>,
}

impl Observer for Witness {
    fn message(&mut self, message: Message) {
        let mut heard = self.heard.borrow_mut();
        message.ended.iter().for_each(|ended| assert!(heard.open.remove(&ended.id), "ended without a start"));
        heard.open.extend(message.detections.iter().map(|detection| detection.id.clone()));
        if message.detections.is_empty() {
            return;
        }
        let now = self.machine.now();
        for (sense, part, patience) in
            [(Sense::Camera, Part::Camera, STALL), (Sense::Microphone, Part::Microphone, CARD_STALL)]
        {
            let state = heard.health.get(&part).map(|health| health.state);
            assert_ne!(state, Some(HealthState::Failed), "reported although the {sense} is lost");
            let site = self.machine.site(sense);
            let patience = if site.weather == Weather::Stuck { patience.max(HUNG) } else { patience };
            let quiet = now.since(site.last);
            assert!(quiet <= patience + TURN * 4, "reported {quiet:?} after the {sense} fell silent");
        }
        let frozen = now.since(self.machine.site(Sense::Camera).shown.1);
        assert!(frozen <= FROZEN + TURN * 4, "reported {frozen:?} after the last new picture");
        heard.last = Some(now);
        heard.captured.push(message.frame.captured);
    }

    fn switch(&mut self) -> Option<Wish> {
        self.heard.borrow_mut().wishes.pop()
    }

    fn change(&mut self) -> Option<Change> {
        let mut heard = self.heard.borrow_mut();
        let endless = heard.flood.then(|| Wish {
            key: "sensitivity".into(),
            payload: format!("{:.3}", fastrand::f32()).into_bytes(),
            retained: false,
        });
        let file = heard.file.take().map(|file| Change::File(Ok(file.into())));
        file.or(endless.map(Change::Wish))
    }

    fn workshop(&self) -> Option<Arc<dyn Workshop>> {
        Some(Arc::new(Slow(Arc::clone(&self.gate))))
    }

    fn health(&mut self, health: Health) {
        let mut heard = self.heard.borrow_mut();
        let device = [Part::Camera, Part::Microphone].contains(&health.part);
        if device && health.state == HealthState::Failed {
            assert!(heard.open.is_empty(), "{} is lost, and {:?} goes on", health.part.name(), heard.open);
        }
        heard.told.push((health.part, health.state));
        heard.health.insert(health.part, health);
    }
}

/// The supervision in that world.
pub(super) struct World<'a> {
    pub machine: Arc<Machine>,
    pub supervisor: Supervisor<'a>,
    pub devices: adapt::Devices,
    pub heard: Rc<RefCell<Heard>>,
    /// Models that were opened; whoever holds it keeps another from that.
    pub gate: Arc<Mutex<u32>>,
    turns: u64,
}

impl World<'_> {
    /// Plays `act` in a world whose sound comes from a card, or from the camera's stream.
    pub fn play(seed: u64, source: MicrophoneSource, act: impl FnOnce(&mut World)) {
        fastrand::seed(seed);
        let machine = Machine::new(seed);
        let mut config = Config::default();
        (config.camera.stall, config.camera.frozen) = (STALL, FROZEN);
        (config.microphone.source, config.camera.throttled_rate) = (source, 2.0);
        config.engine.threads = 1;
        config.tracking.start_after = Duration::ZERO; // what may be reported is, at once
        let analysis = Analysis::new(tiny(&config), &config).expect("the defaults fit");
        let (hardware, stop) = (Simulated(Arc::clone(&machine)), Stop::default());
        let heard = Rc::<RefCell<Heard>>::default();
        let gate = Arc::<Mutex<u32>>::default();
        let mut witness =
            Witness { machine: Arc::clone(&machine), heard: Rc::clone(&heard), gate: Arc::clone(&gate) };
        let layers = Layers::new(config);
        let below = (&hardware as &dyn Hardware, &*machine as &dyn Clock, &stop);
        let supervisor = Supervisor::new(7, layers, analysis, below, &mut witness, Pace::Live);
        let devices = supervisor.devices();
        let machine = Arc::clone(&machine);
        act(&mut World { machine, supervisor, devices, heard, gate, turns: 0 });
    }

    pub fn weather(&self, camera: Weather, microphone: Weather) {
        self.machine.site(Sense::Camera).weather = camera;
        self.machine.site(Sense::Microphone).weather = microphone;
    }

    /// A subscriber wishes it switched on or off.
    pub fn wish_switched(&mut self, on: bool) {
        let wish = Wish { key: "enable".into(), payload: on.to_string().into_bytes(), retained: false };
        self.heard.borrow_mut().wishes.push(wish);
    }

    /// A subscriber switches it on or off.
    pub fn switch(&mut self, on: bool) {
        self.wish_switched(on);
        while self.supervisor.config.detection.enable != on {
            self.turn();
        }
    }

    /// The file is read again, as `change` leaves it.
    pub fn reload(&mut self, change: impl FnOnce(&mut Config)) {
        let mut file = self.supervisor.layers.file.clone();
        change(&mut file);
        self.heard.borrow_mut().file = Some(file);
        self.turn();
    }

    /// It is read again, and names another camera, another card, or both.
    pub fn rename(&mut self, camera: bool, card: bool) {
        self.reload(|file| {
            if camera {
                file.camera.v4l2.device.as_mut_os_string().push("1");
            }
            if card {
                file.microphone.alsa.device.push('1');
            }
        });
    }

    /// Time passes, and the devices go on, while the analysis is busy with something else.
    pub fn busy(&mut self, time: Duration) {
        for _ in 0..time.as_millis() / TURN.as_millis() {
            self.turns += 1;
            self.machine.now.fetch_add(TURN.as_nanos() as u64, Ordering::Relaxed);
            self.deliver(Sense::Camera);
            self.deliver(Sense::Microphone);
        }
    }

    /// The whole program is stopped for so long, its threads that read the devices too: that is no silence of theirs.
    pub fn stopped(&mut self, time: Duration) {
        self.machine.now.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
        for sense in [Sense::Camera, Sense::Microphone] {
            let mut site = self.machine.site(sense);
            (site.last, site.shown.1) = (site.last + time, site.shown.1 + time);
        }
    }

    /// A picture is judged, which takes so long.
    pub fn slow_picture(&mut self, time: Duration) {
        let judged = self.supervisor.analysed;
        while self.supervisor.analysed == judged {
            self.turn();
        }
        self.busy(time);
    }

    pub fn turn(&mut self) {
        self.try_turn().expect("no fault ends it");
    }

    /// A turn that may end the program.
    pub fn try_turn(&mut self) -> Result<(), PipelineError> {
        self.busy(TURN);
        self.supervisor.watch_on(&mut self.devices, Duration::ZERO)
    }

    pub fn turns(&mut self, time: Duration) {
        (0..time.as_millis() / TURN.as_millis()).for_each(|_| self.turn());
    }

    /// What the device of a sense sends in this turn.
    fn deliver(&mut self, sense: Sense) {
        let track = self.supervisor.config.microphone.source == MicrophoneSource::Media;
        if track && sense == Sense::Microphone {
            // The sound of a stream is there while its camera is.
            let camera = self.machine.site(Sense::Camera);
            let (open, over, last) = (camera.open, camera.over, camera.last);
            drop(camera);
            let mut site = self.machine.site(sense);
            if site.open == 0 && open > 0 {
                (site.over, site.last) = (false, last);
            }
            (site.open, site.over) = (open, site.over || over);
        }
        let (now, turns) = (self.machine.now(), self.turns);
        let mut site = self.machine.site(sense);
        if site.open == 0 || site.over {
            return;
        }
        let word = match site.weather {
            Weather::Fine | Weather::Frozen if turns % EVERY == sense as u64 => {
                site.last = now;
                if site.weather == Weather::Fine || site.shown.1 == Instant::ZERO {
                    site.shown = (site.shown.0.wrapping_add(1), now);
                }
                Some(self::item(sense, now, site.shown.0))
            }
            Weather::Ended => Some(Sensed::End(sense)),
            Weather::Gone if !track || sense == Sense::Camera => {
                Some(Sensed::Fault(sense, "unplugged".into()))
            }
            Weather::Stuck => None,
            _ if !track && sense == Sense::Microphone && now.since(site.last) > CARD_STALL => {
                Some(Sensed::Fault(sense, "no sound".into()))
            }
            _ => None,
        };
        site.over = matches!(word, Some(Sensed::End(_) | Sensed::Fault(..)));
        drop(site);
        word.into_iter().for_each(|word| self.devices.sender.send(word).expect("somebody listens"));
    }

    pub fn state(&self, part: Part) -> (HealthState, String) {
        let heard = self.heard.borrow();
        let health = &heard.health[&part];
        (health.state, health.reason.clone())
    }

    /// How long ago something was last reported.
    pub fn quiet(&self) -> Duration {
        self.heard.borrow().last.map_or(Duration::MAX, |last| self.machine.now().since(last))
    }
}

/// A red picture with a pixel of a sensor's `noise`, or the hum that goes with it.
fn item(sense: Sense, now: Instant, noise: u8) -> Sensed {
    let (size, time) = (Size::new(128, 72), TURN * EVERY as u32);
    match sense {
        Sense::Camera => {
            let mut rgb = [255, 0, 0].repeat(size.width as usize * size.height as usize);
            rgb[2] = noise;
            Sensed::Frame(Frame { captured: now, size, source: size, rgb })
        }
        Sense::Microphone => {
            let samples = vec![0.45; (time.as_secs_f64() * f64::from(RATE)) as usize];
            Sensed::Sound(Samples::new(now - time, RATE, samples))
        }
    }
}
