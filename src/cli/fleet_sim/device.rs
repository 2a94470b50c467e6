//! One simulated device: recorded messages, told by the program's own publisher.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::witness::PREFIX;
use crate::analysis::{Analysed, SoundWindow, Timing};
use crate::clock::{Clock, SystemClock};
use crate::config::{Address, Config, Overrides};
use crate::geometry::Size;
use crate::message::{Info, Message, Settings};
use crate::publish::{Teller, mqtt};

/// The clock of all devices.
static CLOCK: LazyLock<SystemClock> = LazyLock::new(SystemClock::new);
/// How loud it is where simulated devices stand, dBFS.
const LEVEL: f32 = -23.1;
/// Shortest time between two looks at it.
const LOOK: Duration = Duration::from_millis(100);
/// Longest wait for the broker to take the rest.
const REST: Duration = Duration::from_secs(20);

/// Messages in the order of their time, played again and again.
pub(super) struct Script {
    /// Seconds from the start, and what is told then.
    messages: Vec<(f64, Message)>,
    /// Of the camera's pictures.
    size: Size,
    /// After so long it begins anew.
    length: f64,
}

impl Script {
    pub fn new(messages: Vec<Message>, length: f64) -> Self {
        let first = messages.first().map_or(0.0, |message| message.frame.captured);
        let size = messages
            .first()
            .map_or(Size::new(0, 0), |message| Size::new(message.frame.width, message.frame.height));
        let timed = messages.into_iter().map(|message| ((message.frame.captured - first).max(0.0), message));
        Self { messages: timed.collect(), size, length }
    }

    /// A picture of now, and how loud it is.
    fn picture(&self) -> Analysed {
        let now = CLOCK.now();
        Analysed {
            captured: now,
            source: self.size,
            sound: SoundWindow { start: now, end: now, level_dbfs: LEVEL },
            scores: vec![],
            detections: vec![],
            tracks: vec![],
            maps: vec![],
            timing: Timing::default(),
        }
    }
}

pub(super) struct Device {
    config: Config,
    teller: Teller<'static>,
    run: u32,
}

impl Device {
    pub fn new(config: &Config, info: &Info, at: &Address, number: u32) -> Self {
        let mut config = config.clone();
        let (name, run) = (format!("sim-{number:05}"), fastrand::u32(..));
        (config.mqtt.host, config.mqtt.port) = (at.host.clone(), at.port);
        config.mqtt.fallbacks.clear();
        (config.mqtt.client_id, config.mqtt.prefix) = (format!("tvsl-{name}"), format!("{PREFIX}/{name}"));
        config.device.name.clone_from(&name);
        let info = Info { device: name, ..info.clone() };
        let settings = Settings::new(&config, &Overrides::default());
        let teller = Teller::new(&config, (info, settings), run, &*CLOCK);
        Self { config, teller, run }
    }

    /// Publishes for `length`, or until it `ends`; gives its name and how many messages it told. Devices begin at different
    /// places of the script.
    pub async fn play(
        self,
        script: Rc<Script>,
        length: Duration,
        mut ends: watch::Receiver<bool>,
    ) -> (String, u64) {
        let stop = Arc::new(Notify::new());
        let told = async {
            let told = tokio::select! {
                told = self.tell_all(&script, length) => told,
                never = self.listen(&script) => match never {},
                _ = ends.wait_for(|ends| *ends) => 0,
            };
            stop.notify_one();
            told
        };
        let ((), told) = tokio::join!(mqtt::run(&self.config, &self.teller, |_| {}, Arc::clone(&stop)), told);
        (self.config.device.name, told)
    }

    /// Tells, and waits until the broker has it.
    async fn tell_all(&self, script: &Script, length: Duration) -> u64 {
        let told = self.tell(script, length).await;
        let empty = async {
            while self.teller.outbox().store().waiting() > 0 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(REST, empty).await.ok();
        told
    }

    async fn tell(&self, script: &Script, length: Duration) -> u64 {
        let (began, mut sequence, mut lap) = (Instant::now(), 0, 0);
        let phase = fastrand::f64() * script.length;
        loop {
            for (at, message) in &script.messages {
                let due = at + f64::from(lap) * script.length - phase;
                if due >= length.as_secs_f64() || script.messages.is_empty() {
                    return sequence;
                }
                if due < 0.0 {
                    continue;
                }
                sleep_until(began + Duration::from_secs_f64(due)).await;
                sequence += 1;
                self.teller.message(&self.anew(message, sequence, lap));
            }
            lap += 1;
        }
    }

    /// Tells how loud it is, as often as is configured.
    async fn listen(&self, script: &Script) -> Infallible {
        let every = self.config.mqtt.level_every.max(LOOK);
        sleep(every.mul_f64(fastrand::f64())).await;
        loop {
            self.teller.analysed(&script.picture());
            sleep(every).await;
        }
    }

    /// The message as if it were of now and of this device, whose clock is set.
    fn anew(&self, message: &Message, sequence: u64, lap: u32) -> Message {
        let now = CLOCK.wall().as_secs_f64();
        let mut message = message.clone();
        message.device.clone_from(&self.config.device.name);
        (message.run, message.sequence) = (format!("{:08x}", self.run), sequence);
        (message.frame.captured, message.published, message.clock_synced) = (now, now, Some(true));
        message.sound.start += now - message.sound.end;
        message.sound.end = now;
        let id = |id: &str| format!("{:08x}-{lap}-{id}", self.run);
        message
            .detections
            .iter_mut()
            .for_each(|sounding| (sounding.id, sounding.since) = (id(&sounding.id), now));
        message.ended.iter_mut().for_each(|ended| (ended.id, ended.last) = (id(&ended.id), now));
        message
    }
}
