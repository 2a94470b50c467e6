//! What is counted while the daemon runs. Pure: time is an argument.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::Histogram;
use crate::analysis::{Analysed, Timing};
use crate::clock::Instant;
use crate::message::{Health, HealthState, Message, Part, Phase};
use crate::model::GpuTimes;
use crate::queue::{Load, Shed};

/// The analysis takes a turn at least every 100 ms; one that lasts longer than this is stuck.
const STUCK: Duration = Duration::from_secs(10);
/// The rate is that of so many frames.
const RECENT: usize = 32;
/// A part in such a state gives nothing.
const AWAY: [HealthState; 2] = [HealthState::Starting, HealthState::Failed];
/// What is missing where nothing is looked for, in the words of `systemctl status`.
const OFF: &str = "switched off";

/// Where a turn of the analysis left its queue, and what it gave up so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// What waits for the analysis.
    pub load: Load,
    /// What was shed because the analysis was too slow.
    pub shed: Shed,
    /// Pictures that were not judged, because sound was away.
    pub unjudged: u64,
    /// Pictures that waited when their camera was lost or taken down.
    pub forgotten: u64,
    /// Pictures that the model failed on.
    pub misjudged: u64,
    /// Pictures that were not judged, because judging was disabled.
    pub disabled: u64,
    /// Gaps in the sound: a card that was not read in time, lost packets, or sound that was shed.
    pub gaps: u64,
    /// How much sound the gaps lost.
    pub lost: Duration,
    /// Pictures that were left out because the machine slows itself down.
    pub throttled: u64,
    /// Pictures and blocks of sound that the model failed on.
    pub failed: u64,
}

/// How the messages to the broker do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Outgoing {
    /// Whether there is a connection.
    pub connected: bool,
    /// Connections made so far.
    pub connections: u64,
    /// Numbered messages that are not acknowledged.
    pub waiting: usize,
    /// Messages sent and not acknowledged.
    pub in_flight: usize,
    /// Messages that gave way unacknowledged, or that the broker would not take.
    pub dropped: u64,
    /// Those of them that the broker would not take.
    pub refused: u64,
}

/// A part, and how often it was lost.
#[derive(Debug, Clone, PartialEq)]
pub struct PartFigures {
    /// How it does.
    pub health: Health,
    /// How often it failed.
    pub losses: u64,
}

/// Everything that is counted.
#[derive(Debug, Clone)]
pub struct Figures {
    began: Instant,
    turned: Instant,
    recent: VecDeque<Instant>,
    /// The last turn of the analysis.
    pub progress: Progress,
    /// Pictures that were judged.
    pub analysed: u64,
    /// The times of the stages, by name.
    pub stages: [(&'static str, Histogram); 5],
    /// What the GPU spent on a picture, by graph; `picture` is the part of `image` that lays the picture out. A graph
    /// that did not run is not counted.
    pub gpu: [(&'static str, Histogram); 6],
    /// From the capture of a picture to its message being handed to the publisher.
    pub published: Histogram,
    /// Level of the last sound, dBFS; `None` while nothing is heard, or nothing made of it.
    pub level: Option<f32>,
    /// Whether sources are looked for at all (`detection.enable`).
    enabled: bool,
    /// Every part that reports.
    pub parts: BTreeMap<Part, PartFigures>,
    /// Events that started, by class.
    pub events: BTreeMap<String, u64>,
    /// The broker; `None` without one.
    pub outgoing: Option<Outgoing>,
}

impl Figures {
    /// Nothing yet, at `now`.
    pub fn new(now: Instant) -> Self {
        let stages = ["image", "audio", "stage1", "stage2", "total"];
        Self {
            began: now,
            turned: now,
            recent: VecDeque::with_capacity(RECENT),
            progress: Progress::default(),
            analysed: 0,
            stages: stages.map(|name| (name, Histogram::default())),
            gpu: ["picture", "image", "audio", "stage1", "stage2", "total"]
                .map(|name| (name, Histogram::default())),
            published: Histogram::default(),
            level: None,
            enabled: true,
            parts: BTreeMap::new(),
            events: BTreeMap::new(),
            outgoing: None,
        }
    }

    /// Sources are looked for, or are not.
    pub fn switched(&mut self, on: bool) {
        self.enabled = on;
        if !on {
            self.level = None;
        }
    }

    /// The analysis completed a turn.
    pub fn turned(&mut self, progress: Progress, outgoing: Option<Outgoing>, now: Instant) {
        (self.progress, self.outgoing, self.turned) = (progress, outgoing, now);
    }

    /// A picture was judged.
    pub fn analysed(&mut self, analysed: &Analysed, now: Instant) {
        self.analysed += 1;
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        let Timing { image, audio, stage1, stage2, total, gpu } = analysed.timing;
        for ((_, histogram), time) in self.stages.iter_mut().zip([image, audio, stage1, stage2, total]) {
            histogram.take(time);
        }
        self.gpu_worked(&gpu);
        self.level = Some(analysed.sound.level_dbfs);
    }

    fn gpu_worked(&mut self, times: &GpuTimes) {
        let GpuTimes { picture, image, audio, stage1, stage2 } = *times;
        let all = [picture, image, audio, stage1, stage2, times.total()];
        for ((_, histogram), time) in self.gpu.iter_mut().zip(all) {
            time.filter(|time| !time.is_zero()).into_iter().for_each(|time| histogram.take(time));
        }
    }

    /// A message was handed to the publisher, so long after its picture was captured.
    pub fn published(&mut self, message: &Message, after: Duration) {
        if !message.detections.is_empty() {
            self.published.take(after);
        }
        for started in message.detections.iter().filter(|detection| detection.event == Phase::Start) {
            *self.events.entry(started.class.clone()).or_default() += 1;
        }
    }

    /// A part does better or worse.
    pub fn health(&mut self, health: Health) {
        let known = self.parts.get(&health.part);
        let was_lost = known.is_some_and(|part| part.health.state == HealthState::Failed);
        let lost = health.state == HealthState::Failed && !was_lost;
        let losses = known.map_or(0, |part| part.losses) + u64::from(lost);
        if [Part::Camera, Part::Microphone].contains(&health.part) && AWAY.contains(&health.state) {
            self.level = None; // nothing is judged without it
        }
        self.parts.insert(health.part, PartFigures { health, losses });
    }

    /// A part that is there no more.
    pub fn forget(&mut self, part: Part) {
        self.parts.remove(&part);
    }

    /// The parts that work less well than they should, and why; not those that are told apart from this: a sense that is
    /// waited for, a machine that slows itself down, a file that is refused.
    pub fn ailing(&self) -> String {
        let apart = |health: &Health| match health.part {
            Part::Camera | Part::Microphone => health.state == HealthState::Failed,
            Part::Machine | Part::Configuration => true,
            _ => false,
        };
        let ill = [HealthState::Degraded, HealthState::Failed];
        let parts = self.parts.values().map(|part| &part.health);
        let parts = parts.filter(|health| ill.contains(&health.state) && !apart(health));
        parts.map(|health| format!("; {}: {}", health.part.name(), health.reason)).collect()
    }

    /// Time since the start.
    pub fn uptime(&self, now: Instant) -> Duration {
        now.since(self.began)
    }

    /// Pictures judged in a second, over the last few; falls when none comes.
    pub fn rate(&self, now: Instant) -> f64 {
        let time = self.recent.front().map_or(0.0, |first| now.since(*first).as_secs_f64());
        if time > 0.0 { self.recent.len() as f64 / time } else { 0.0 }
    }

    /// Whether the analysis progresses; why not, if it does not.
    pub fn alive(&self, now: Instant) -> Vec<String> {
        let silence = now.since(self.turned);
        let stuck = silence > STUCK;
        stuck
            .then(|| format!("the analysis is stuck for {:.0} s", silence.as_secs_f64()))
            .into_iter()
            .collect()
    }

    /// Whether sources are found when they sound: what is missing for it.
    pub fn ready(&self, now: Instant) -> Vec<String> {
        let mut missing = self.alive(now);
        missing.extend((!self.enabled).then(|| OFF.to_owned()));
        let parts = self.parts.values().map(|part| &part.health);
        let away = parts.filter(|health| AWAY.contains(&health.state) && self.needs(health));
        missing.extend(away.map(|health| format!("{}: {}", health.part.name(), health.reason)));
        if self.analysed == 0 && missing.is_empty() {
            missing.push("no picture was analysed yet".into());
        }
        missing
    }

    /// Whether sources are not found without that part.
    fn needs(&self, health: &Health) -> bool {
        match health.part {
            // Sources are found whether somebody hears or reads of them or not.
            Part::Broker | Part::Web => false,
            // One that was given nothing yet, because it is off, lacks nothing.
            Part::Engine => self.enabled || health.state != HealthState::Starting,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Instant {
        Instant::from_secs_f64(seconds)
    }

    fn camera(state: HealthState, reason: &str) -> Health {
        Health { part: Part::Camera, state, reason: reason.into(), since: 0.0, clock_synced: None }
    }

    #[test]
    fn a_part_that_stays_away_is_lost_once() {
        let mut figures = Figures::new(at(0.0));
        let seen = [
            camera(HealthState::Failed, "unplugged"),
            camera(HealthState::Failed, "not found"),
            camera(HealthState::Ok, ""),
            camera(HealthState::Failed, "unplugged"),
        ];
        seen.into_iter().for_each(|health| figures.health(health));
        assert_eq!(figures.parts[&Part::Camera].losses, 2);
        assert_eq!(figures.ready(at(1.0)), ["camera: unplugged"]);
    }

    #[test]
    fn what_is_ill_is_told_beside_what_is_told_anyway() {
        let mut figures = Figures::new(at(0.0));
        assert_eq!(figures.ailing(), "");
        let ill = |part, state, reason: &str| Health {
            part,
            state,
            reason: reason.into(),
            since: 0.0,
            clock_synced: None,
        };
        for health in [
            ill(Part::Camera, HealthState::Failed, "unplugged"),
            ill(Part::Microphone, HealthState::Degraded, "it clips"),
            ill(Part::Engine, HealthState::Ok, ""),
            ill(Part::Machine, HealthState::Degraded, "hot"),
            ill(Part::Broker, HealthState::Failed, "it refuses"),
            ill(Part::Web, HealthState::Failed, "taken"),
        ] {
            figures.health(health);
        }
        assert_eq!(figures.ailing(), "; microphone: it clips; broker: it refuses; web: taken");
        assert_eq!(figures.ready(at(1.0)), ["camera: unplugged"], "sources are found whoever hears of them");
    }

    #[test]
    fn the_gpus_time_is_kept_by_graph_and_a_picture_is_part_of_its_image() {
        let mut figures = Figures::new(at(0.0));
        let ms = |time| Some(Duration::from_millis(time));
        figures.gpu_worked(&GpuTimes::default());
        figures.gpu_worked(&GpuTimes {
            picture: ms(1),
            image: ms(9),
            audio: ms(0),
            stage1: ms(2),
            stage2: ms(0),
        });
        let counted = figures.gpu.map(|(name, histogram)| (name, histogram.count(), histogram.sum()));
        let expected = [("picture", 1, 0.001), ("image", 1, 0.009), ("audio", 0, 0.0), ("stage1", 1, 0.002)];
        assert_eq!(counted[..4], expected);
        assert_eq!(counted[4..], [("stage2", 0, 0.0), ("total", 1, 0.011)]);
    }

    #[test]
    fn it_is_alive_while_the_analysis_turns_and_ready_after_a_picture() {
        let mut figures = Figures::new(at(0.0));
        assert_eq!(figures.alive(at(9.0)), Vec::<String>::new());
        assert_eq!(figures.alive(at(11.0)), ["the analysis is stuck for 11 s"]);
        figures.turned(Progress::default(), None, at(11.0));
        assert_eq!(figures.alive(at(12.0)), Vec::<String>::new());
        assert_eq!(figures.ready(at(12.0)), ["no picture was analysed yet"]);
        figures.analysed = 1;
        assert_eq!(figures.ready(at(12.0)), Vec::<String>::new());
    }

    #[test]
    fn what_is_switched_off_says_so_from_the_start_and_in_mid_run() {
        let mut figures = Figures::new(at(0.0));
        let engine = |state| Health {
            part: Part::Engine,
            state,
            reason: "nothing yet".into(),
            since: 0.0,
            clock_synced: None,
        };
        figures.switched(false);
        figures.health(engine(HealthState::Starting));
        assert_eq!(figures.ready(at(1.0)), ["switched off"]);
        figures.switched(true);
        assert_eq!(figures.ready(at(1.0)), ["engine: nothing yet"]);
        figures.health(engine(HealthState::Ok));
        figures.analysed = 1;
        assert_eq!(figures.ready(at(1.0)), Vec::<String>::new());
        figures.switched(false);
        assert_eq!(figures.ready(at(1.0)), ["switched off"]);
        figures.health(camera(HealthState::Failed, "unplugged"));
        assert_eq!(figures.ready(at(1.0)), ["switched off", "camera: unplugged"], "and what else is missing");
    }

    #[test]
    fn there_is_no_level_while_nothing_is_heard() {
        let mut figures = Figures::new(at(0.0));
        let mut left = |change: &dyn Fn(&mut Figures)| {
            figures.level = Some(-30.0);
            change(&mut figures);
            figures.level
        };
        let part =
            |part, state| move |figures: &mut Figures| figures.health(Health { part, ..camera(state, "") });
        assert_eq!(left(&|figures| figures.switched(true)), Some(-30.0));
        assert_eq!(left(&|figures| figures.switched(false)), None);
        assert_eq!(left(&part(Part::Microphone, HealthState::Failed)), None);
        assert_eq!(left(&part(Part::Microphone, HealthState::Starting)), None, "another one is opened");
        assert_eq!(left(&part(Part::Camera, HealthState::Failed)), None);
        assert_eq!(left(&part(Part::Microphone, HealthState::Degraded)), Some(-30.0));
        assert_eq!(left(&part(Part::Broker, HealthState::Failed)), Some(-30.0));
    }

    #[test]
    fn the_rate_is_that_of_the_last_frames_and_falls_without_any() {
        let mut figures = Figures::new(at(0.0));
        assert_eq!(figures.rate(at(1.0)), 0.0);
        figures.recent = (0..20).map(|frame| at(f64::from(frame) * 0.1)).collect();
        assert_eq!(figures.rate(at(2.0)), 10.0);
        assert_eq!(figures.rate(at(20.0)), 1.0);
    }
}
