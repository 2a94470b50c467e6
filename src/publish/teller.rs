//! Findings to reports: what is told under which topic, and how often.

#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Outbox;
use super::former::Left;
use super::home_assistant::Discovery;
use crate::analysis::Analysed;
use crate::clock::{Clock, Instant};
use crate::config::{self, Config};
use crate::message::{
    Answer, Chronicle, ClassState, EventMessage, EventPhase, Health, HealthMessage, Info, Level, Message,
    Moment, OnOff, Part, Phase, Picture, Presence, Report, SCHEMA, Settings, Source,
};

/// Tells subscribers what the pipeline finds. The analysis thread and the publisher's task share it;
/// neither holds it for longer than it takes to make a message.
pub struct Teller<'a> {
    clock: &'a dyn Clock,
    outbox: Outbox<'a>,
    told: Mutex<Told>,
}

/// What was told so far.
struct Told {
    device: String,
    run: String,
    chronicle: Chronicle,
    states: BTreeMap<String, ClassState>,
    /// Sources of earlier runs whose end waits for the broker already.
    over: BTreeSet<String>,
    detections: Limit,
    sequence: u64,
    level: Limit,
    home: Discovery,
    /// What this device is, once that was told.
    info: Option<Info>,
    /// How well each part works, by its name.
    health: BTreeMap<&'static str, Health>,
    picture: Option<Picture>,
}

impl<'a> Teller<'a> {
    /// A teller of the run `run` of a device that is what `about` says, with its settings.
    pub fn new(config: &Config, about: (Info, Settings), run: u32, clock: &'a dyn Clock) -> Self {
        let (mqtt, run) = (&config.mqtt, format!("{run:08x}"));
        let teller = Self {
            clock,
            outbox: Outbox::new(mqtt, clock),
            told: Mutex::new(Told {
                device: config.device.name.clone(),
                run,
                chronicle: Chronicle::new(mqtt.update_every),
                states: BTreeMap::new(),
                over: BTreeSet::new(),
                detections: Limit::every(0.0),
                sequence: 0,
                level: Limit::every(0.0),
                home: Discovery::new(config),
                info: None,
                health: BTreeMap::new(),
                picture: None,
            }),
        };
        teller.paced(mqtt);
        teller.configured(about.0, about.1);
        teller
    }

    /// Tells as often, and keeps as much, as `mqtt` says from now on.
    pub fn paced(&self, mqtt: &config::Mqtt) {
        let mut told = self.told();
        told.chronicle.pace(mqtt.update_every);
        told.detections.seconds = if mqtt.detections_rate > 0.0 { 1.0 / mqtt.detections_rate } else { 0.0 };
        let level = mqtt.level_every.as_secs_f64();
        told.level.seconds = if level == 0.0 { f64::INFINITY } else { level };
        told.home.pace(mqtt);
        drop(told);
        self.outbox.store().bound(mqtt);
    }

    /// Where the reports wait for the broker.
    pub fn outbox(&self) -> &Outbox<'a> {
        &self.outbox
    }

    /// Tells of a message, of what it means for the life of its sources, and for the states of their
    /// classes.
    pub fn message(&self, message: &Message) {
        let now = self.clock.now();
        let mut told = self.told();
        let events = told.chronicle.follow(message);
        let states = told.changed(&events);
        let detections = told.due(message, now);
        let events = events.into_iter().map(|event| Report::Event(Box::new(event)));
        let states = states.into_iter().map(|state| Report::State(Box::new(state)));
        let detections = detections.into_iter().map(|message| Report::Detections(Box::new(message)));
        // While nobody else tells of states, or an older one might come last.
        self.outbox.put_all(events.chain(states).chain(detections));
        drop(told);
    }

    /// Tells how loud it is, when that is due, and how large pictures are, when that is new.
    pub fn analysed(&self, analysed: &Analysed) {
        let moment = self.moment();
        let mut told = self.told();
        let picture = Picture { width: analysed.source.width, height: analysed.source.height };
        if told.picture.replace(picture) != Some(picture) {
            told.info().into_iter().for_each(|info| self.outbox.put(info));
        }
        if told.level.due(moment.now) {
            self.outbox.put(Report::Level(Level::of(&told.device, analysed, moment)));
        }
    }

    /// Tells how well a part works.
    pub fn health(&self, health: Health) {
        let mut told = self.told();
        let message = HealthMessage::new(&told.device, health.clone());
        told.health.insert(health.part.name(), health);
        drop(told);
        self.outbox.put(Report::Health(message));
    }

    /// Takes back what was told of a part that is there no more.
    pub fn forget(&self, part: Part) {
        if self.told().health.remove(part.name()).is_some() {
            self.outbox.put(Report::Gone(Report::health_topic(part.name())));
        }
    }

    /// A connection begins: everything that holds is told anew.
    pub fn connected(&self) {
        self.outbox.put(Report::Status(Presence::Online));
        let moment = self.moment();
        let mut told = self.told();
        let states = told.sounding(moment);
        self.outbox.put_all(states.into_iter().map(|state| Report::State(Box::new(state))));
        drop(told);
        self.outbox.store().connected();
    }

    /// How the connection does, as subscribers were told over it.
    pub(super) fn connection(&self) -> Option<Report> {
        let told = self.told();
        let health = told.health.get(Part::Broker.name())?;
        Some(Report::Health(HealthMessage::new(&told.device, health.clone())))
    }

    /// Tells the events again that an earlier run left on disk, with their numbers there, before anything else; then
    /// ends what they leave open.
    pub fn resume(&self, events: Vec<(u64, EventMessage)>) {
        let mut open: Vec<Source> = Vec::new();
        let moment = self.moment();
        let (mut told, mut store) = (self.told(), self.outbox.store());
        for (number, event) in events {
            open.retain(|source| source.id != event.source.id);
            told.over.insert(event.source.id.clone());
            if event.event != EventPhase::End {
                open.push(event.source.clone());
            }
            store.restore(number, event);
        }
        for source in open {
            store.put(Report::Event(Box::new(told.interrupted(source, moment))), moment.now);
        }
    }

    /// Ends what the state of an earlier run says is still sounding, or may lack its end, and keeps what it says of when the
    /// class was last heard.
    pub fn earlier(&self, state: ClassState) {
        let moment = self.moment();
        let mut told = self.told();
        if state.run == told.run {
            return;
        }
        let open = state.sources.iter().chain(&state.ending);
        let open = open.filter(|source| !told.over.contains(&source.id));
        let open = open.cloned().collect::<Vec<_>>();
        let mut ends = Vec::new();
        for source in open {
            told.over.insert(source.id.clone()); // another broker may say it too
            ends.push(told.interrupted(source, moment));
        }
        let report = match told.states.get_mut(&state.class) {
            Some(ours) => {
                ours.last = ours.last.or(state.last);
                Report::State(Box::new(ours.clone()))
            }
            None => Report::Gone(Report::State(Box::new(state)).topic()),
        };
        self.outbox.fill(|store, now| {
            store.put(report, now);
            ends.into_iter().for_each(|end| store.put_owed(end, now));
        });
    }

    /// Takes back what an earlier run said of a part of which this one has nothing to say.
    pub fn earlier_part(&self, part: &str) {
        if !self.told().health.contains_key(part) {
            self.outbox.put(Report::Gone(Report::health_topic(part)));
        }
    }

    /// Takes back what this device left under a former name, and ends what that says is still sounding.
    pub(super) fn left_behind(&self, left: Vec<Left>) {
        for (topic, payload) in left {
            let state = serde_json::from_slice::<ClassState>(&payload).ok();
            state.iter().for_each(|state| self.earlier(state.clone()));
            let named = state.iter().flat_map(|state| state.sources.iter().chain(&state.ending));
            self.outbox.fill(|store, now| store.take_back(topic, named, now));
        }
    }

    /// Tells which settings are in force, and what this device is with them.
    pub fn configured(&self, info: Info, settings: Settings) {
        self.outbox.put(Report::Settings(Box::new(settings)));
        self.outbox.put_all(self.told().home.introduce(&info));
        self.introduce(info);
    }

    /// From now on everything is told under other topics: it waits until [`Teller::moved`].
    pub fn moves(&self) {
        self.outbox.store().hold_back();
    }

    /// Goes on under the topics of `new`, with what the device is then. What was retained under those of before is
    /// found and taken back by [`Former`](super::Former).
    pub fn moved(&self, new: &Config, info: Info, settings: Settings) {
        let mut store = self.outbox.store();
        store.go_on();
        store.reclaim(&new.topic(""));
        drop(store);
        let mut told = self.told();
        told.device.clone_from(&new.device.name);
        told.home.configure(new);
        let device = told.device.clone();
        let renamed = |state: &mut ClassState| {
            state.device.clone_from(&device);
            Report::State(Box::new(state.clone()))
        };
        let mut reports: Vec<Report> = told.states.values_mut().map(renamed).collect();
        let parts = told.health.values();
        reports.extend(parts.map(|part| Report::Health(HealthMessage::new(&device, part.clone()))));
        self.outbox.put_all(reports);
        drop(told);
        self.configured(info, settings);
    }

    /// What is to be listened to beside wishes.
    pub fn filters(&self) -> Vec<String> {
        self.told().home.filters()
    }

    /// Takes a message of such a topic; `false`: it is of another.
    pub fn overhear(&self, topic: &str, payload: &[u8], retained: bool) -> bool {
        let asked = self.told().home.hear(topic, payload, retained);
        asked.map(|reports| self.outbox.put_all(reports)).is_some()
    }

    /// Tells what came of the wish to change the setting `key`: whether it is in force, and why not.
    pub fn answer(&self, key: String, accepted: bool, reason: String) {
        let moment = self.moment();
        let (device, published) = (self.told().device.clone(), moment.unix(moment.now));
        let (schema, clock_synced) = (SCHEMA, moment.synced);
        let answer = Answer { schema, device, key, accepted, reason, published, clock_synced };
        self.outbox.put(Report::Answer(answer));
    }

    /// Tells what this device is; classes that are reported now get a state, those that no longer are lose
    /// theirs.
    fn introduce(&self, info: Info) {
        let (moment, mut told) = (self.moment(), self.told());
        let reported = |name: &String| info.classes.iter().any(|class| &class.name == name);
        let gone = told.states.extract_if(.., |name, _| !reported(name)).collect::<Vec<_>>();
        gone.into_iter().for_each(|(_, state)| {
            self.outbox.put(Report::Gone(Report::State(Box::new(state)).topic()));
        });
        for class in &info.classes {
            if told.states.contains_key(&class.name) {
                continue;
            }
            let state = ClassState {
                schema: SCHEMA,
                device: told.device.clone(),
                run: told.run.clone(),
                class: class.name.clone(),
                label: class.label.clone(),
                state: OnOff::Off,
                last: None,
                sources: vec![],
                ending: vec![],
                published: moment.unix(moment.now),
                clock_synced: moment.synced,
            };
            self.outbox.put(Report::State(Box::new(state.clone())));
            told.states.insert(class.name.clone(), state);
        }
        told.info = Some(info);
        told.info().into_iter().for_each(|info| self.outbox.put(info));
    }

    /// Now, on the clock that everything is told by.
    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// The same, with the wall clock.
    pub(super) fn moment(&self) -> Moment {
        Moment::of(self.clock)
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    /// What this device is, with the size of its pictures.
    fn info(&self) -> Option<Report> {
        let info = Info { picture: self.picture, ..self.info.clone()? };
        Some(Report::Info(Box::new(info)))
    }

    /// The new states of the classes that these events are of.
    fn changed(&mut self, events: &[EventMessage]) -> Vec<ClassState> {
        let mut classes: BTreeMap<&str, &EventMessage> = BTreeMap::new();
        for event in events {
            let newest = classes.entry(&event.source.class).or_insert(event);
            if event.source.last >= newest.source.last {
                *newest = event;
            }
        }
        let state = |(class, event): (&str, &EventMessage)| {
            self.state(class, Some(event.source.last), (event.published, event.clock_synced))
        };
        classes.into_iter().filter_map(state).collect()
    }

    /// The states of the classes that sound, as of now.
    fn sounding(&mut self, now: Moment) -> Vec<ClassState> {
        let on = self.states.values().filter(|state| state.state == OnOff::On);
        let classes: Vec<String> = on.map(|state| state.class.clone()).collect();
        let stamp = (now.unix(now.now), now.synced);
        classes.iter().filter_map(|class| self.state(class, None, stamp)).collect()
    }

    /// The state of a class as of now; `last`: when a source was seen that may be over.
    fn state(&mut self, class: &str, last: Option<f64>, stamp: (f64, Option<bool>)) -> Option<ClassState> {
        let sources = self.chronicle.sounding(class);
        let state = self.states.get_mut(class)?;
        state.state = if sources.is_empty() { OnOff::Off } else { OnOff::On };
        state.last = sources.iter().map(|source| source.last).chain(last).reduce(f64::max).or(state.last);
        (state.sources, (state.published, state.clock_synced)) = (sources, stamp);
        Some(state.clone())
    }

    /// The message as it is told, unless it is one too many.
    fn due(&mut self, message: &Message, now: Instant) -> Option<Message> {
        let turn = !message.ended.is_empty() || message.detections.iter().any(|d| d.event == Phase::Start);
        if !(self.detections.due(now) || turn) {
            return None;
        }
        self.sequence += 1;
        Some(Message { sequence: self.sequence, ..message.clone() })
    }

    fn interrupted(&mut self, source: Source, moment: Moment) -> EventMessage {
        EventMessage {
            schema: SCHEMA,
            device: self.device.clone(),
            run: self.run.clone(),
            sequence: self.chronicle.number(),
            missed: 0,
            late: false,
            event: EventPhase::End,
            interrupted: true,
            source,
            published: moment.unix(moment.now),
            clock_synced: moment.synced,
        }
    }
}

/// Lets one thing through in a time.
#[derive(Debug)]
struct Limit {
    seconds: f64,
    last: Option<Instant>,
}

impl Limit {
    fn every(seconds: f64) -> Self {
        Self { seconds, last: None }
    }

    fn due(&mut self, now: Instant) -> bool {
        let due = self.seconds.is_finite()
            && self.last.is_none_or(|last| now.since(last).as_secs_f64() >= self.seconds);
        if due {
            self.last = Some(now);
        }
        due
    }
}
