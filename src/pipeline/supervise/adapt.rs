//! Settings that change while the pipeline runs: the file read again, and wishes of subscribers.

use tracing::{error, info, warn};

use super::super::device::{HOPELESS, SLOW};
use super::super::layers::Layers;
use super::super::live::Live;
use super::super::named::Named;
use super::super::reload::{Change, Changes, lasting, played};
use super::super::workshop::{Made, Making};
use super::configuration::STILL;
use super::{PipelineError, Supervisor};
use crate::capture::{CaptureError, Pace};
use crate::clock::Instant;
use crate::config::{Config, MicrophoneSource};
use crate::geometry::{Fit, Size};
use crate::message::{Health, HealthState, Part, Wish, one_sentence};
use crate::model::Model;
use crate::queue::{Receiver, Sender};
use crate::window::Pairing;

/// Live devices, and what is between them and the analysis.
pub(super) struct Devices {
    pub live: Live,
    pub sender: Sender,
    pub receiver: Receiver,
    pub pairing: Pairing,
    pub began: Instant,
}

/// Whether the devices of the configuration that is in force ever delivered.
#[derive(Debug)]
pub(super) enum Standing {
    /// Not since the start.
    Untried,
    /// Not since it took the place of this file, whose devices did.
    Changed(Box<Config>),
    /// They did.
    Proven,
}

impl Supervisor<'_> {
    /// Takes the next change, once everything is made for it. One in a turn: pictures are judged however many wait. Only who
    /// switches it on or off waits for nobody. A recording has no devices, and is played to its end with the one that it
    /// began with.
    pub(super) fn adapt(&mut self, devices: Option<&mut Devices>) {
        self.verdicts.tell(self.clock.now());
        if let Some(wish) = self.observer.switch() {
            let layers = self.layers.granting(&wish);
            self.grant(&wish, layers.map(|layers| (layers, Made::Nothing)));
        }
        let Some(making) = self.making.take().or_else(|| self.begin()) else { return };
        if !making.is_over() {
            self.drag(making.age(self.clock.now()) > SLOW);
            self.making = Some(making);
            return;
        }
        self.drag(false);
        let (change, named, next) = making.finish();
        let next = next.map(|(layers, made)| (layers.switched_as(&self.layers), made));
        match change {
            Change::File(_) => self.reload(next, named, devices),
            Change::Wish(wish) => self.grant(&wish, next),
        }
    }

    /// Tells, once, that what a change needs takes too long, and when that is over. It goes on: no thread can be ended from
    /// outside.
    fn drag(&mut self, slow: bool) {
        if self.configuration.drag(slow) {
            if slow {
                warn!("{STILL}");
            }
            self.tell_configuration();
        }
    }

    /// That what a change needs is being made for so long that nothing here can end it.
    pub(super) fn making_hangs(&self, now: Instant) -> Option<String> {
        let hangs = self.making.as_ref().is_some_and(|making| making.age(now) > HOPELESS);
        hangs.then(|| "the making of a changed configuration hangs for good".into())
    }

    /// Begins with the next change.
    fn begin(&mut self) -> Option<Making> {
        let change = self.observer.change()?;
        let layers = match &change {
            Change::File(file) => file.clone().map(|file| self.layers.of(*file)),
            Change::Wish(wish) => self.layers.granting(wish),
        };
        let (now, workshop) = (self.clock.now(), self.observer.workshop());
        let old = (&self.config, self.analysis.model(), &self.named);
        Some(Making::begin(change, layers, old, workshop, now))
    }

    /// Puts a new configuration in force: what can be at once, the rest by opening anew what it concerns. A wrong one
    /// changes nothing. What it only names may have changed as well.
    fn reload(&mut self, next: Result<(Layers, Made), String>, named: Named, devices: Option<&mut Devices>) {
        let before = self.layers.file.clone();
        let next = next.and_then(|next| if devices.is_some() { Ok(next) } else { self.playable(next) });
        match next.and_then(|(layers, made)| self.adopt(layers, made, named)) {
            Ok(changes) if devices.is_none() => self.renew(&changes.of_a_recording(), None),
            Ok(changes) => {
                if changes.devices() && !matches!(self.standing, Standing::Changed(_)) {
                    self.standing = Standing::Changed(before.into());
                }
                self.renew(&changes, devices);
            }
            Err(why) => self.refuse(&why),
        }
    }

    /// A recording is played to its end as it was opened: another model must want the same of it.
    fn playable(&self, next: (Layers, Made)) -> Result<(Layers, Made), String> {
        match &next.1 {
            Made::Model(model) if senses(model) != senses(self.analysis.model()) => {
                Err("model.path: this model wants sound or pictures of another kind than the recording is played \
                     for; expected one that wants the same, or start anew"
                    .into())
            }
            _ => Ok(next),
        }
    }

    /// Takes new settings, which name these; judgement follows them from the next frame on.
    fn adopt(&mut self, layers: Layers, made: Made, named: Named) -> Result<Changes, String> {
        let mut changes = Changes::between(&self.config, &layers.merged());
        changes.mode(layers.file.camera.rate, &self.most, &self.config.camera);
        if named.background != self.named.background {
            self.analysis.learned_anew();
            changes.judgement = true;
        }
        changes.model |= named.manifest != self.named.manifest;
        if changes.judgement || changes.model {
            let before = senses(self.analysis.model());
            let media = layers.file.microphone.source == MicrophoneSource::Media;
            self.judge_by(layers, made)?;
            changes.senses(before, senses(self.analysis.model()), media);
        } else {
            self.layers = layers;
        }
        self.named = named;
        Ok(changes)
    }

    /// Tells why a new configuration is not in force.
    fn refuse(&mut self, why: &str) {
        error!("the changed configuration is refused, the one before is in force:\n{why}");
        self.configuration.refuse(why);
        self.tell_configuration();
    }

    /// Tells how the configuration does, if that changed.
    pub(super) fn tell_configuration(&mut self) {
        let amiss = self.layers.amiss(&self.config);
        if self.configuration.settle(amiss.clone()) {
            error!("{amiss}");
        }
        let Some(reason) = self.configuration.news() else { return };
        let state = if reason.is_empty() { HealthState::Ok } else { HealthState::Degraded };
        self.tell_part(Part::Configuration, state, &reason);
    }

    /// Takes it that a device cannot be opened, and that no mere waiting mends it. What is wrong whatever is plugged in
    /// ends a start. What is not installed does not: a service manager would start anew for ever, and nobody would be told
    /// why; nor does a device that is not as the configuration says: another one may have its name for a while, as sound
    /// cards do after a power cut. If a new configuration brought it, the one before is put in force again. Later it is a
    /// fault like others.
    pub(super) fn beyond_waiting(
        &mut self,
        error: CaptureError,
        devices: &mut Devices,
    ) -> Result<(), PipelineError> {
        match std::mem::replace(&mut self.standing, Standing::Proven) {
            Standing::Untried if error.is_configuration() => return Err(error.into()),
            Standing::Changed(before) => {
                let why = error.to_string();
                let why = error.key().map_or(why.clone(), |key| self.config.fault(key, &why).to_string());
                let before = self.layers.of(self.modelled(*before));
                let named = Named { manifest: self.named.manifest.clone(), ..Named::by(&before.merged()) };
                match self.adopt(before, Made::Nothing, named) {
                    Ok(changes) => self.open_anew(&changes, devices),
                    Err(error) => error!("the configuration before cannot be put in force again: {error}"),
                }
                self.refuse(&why);
            }
            was @ (Standing::Untried | Standing::Proven) => {
                self.standing = was;
                warn!("{error}; trying again for ever");
            }
        }
        Ok(())
    }

    /// `file` with the model, and the words and classes that go with it, of now: they work, and others would have to be
    /// made first.
    fn modelled(&self, mut file: Config) -> Config {
        let now = self.layers.file.clone();
        if file.model != now.model {
            file.detection = now.detection;
        } else if self.analysis.model().manifest().reads_text() {
            (file.detection.classes, file.detection.prompts) = (now.detection.classes, now.detection.prompts);
        }
        if self.analysis.model().manifest().reads_text() {
            file.mqtt.commands = now.mqtt.commands; // by which subscribers' words are in force, or not
        }
        (file.model, file.engine) = (now.model, now.engine);
        file
    }

    /// Opens anew what a new configuration concerns.
    fn renew(&mut self, changes: &Changes, devices: Option<&mut Devices>) {
        match devices {
            Some(devices) => self.open_anew(changes, devices),
            None => self.follow(),
        }
        self.configuration.accept();
        self.tell_configuration();
        info!("the configuration was read again: {changes}");
        if !changes.later.is_empty() {
            warn!(keys = ?changes.later, "these keys take effect at the next start only");
        }
    }

    /// Opens the devices anew that differ from what was in force.
    fn open_anew(&mut self, changes: &Changes, devices: &mut Devices) {
        self.follow();
        devices.live.bound(&self.config.camera);
        devices.pairing.wait(self.config.window.wait);
        if changes.devices() {
            let (wanted, now) = (self.wanted(), self.clock.now());
            let new = Live::new(self.hardware, &self.config, &wanted, &devices.sender, now);
            let deaf = devices.live.deaf();
            devices.live.replace(new, changes, now, &devices.receiver);
            if devices.live.deaf() && !deaf {
                self.tell_part(Part::Microphone, HealthState::Ok, ""); // it is missed no more
            }
            devices.pairing.expect(!devices.live.deaf());
            self.finish_tracks();
        }
        if (changes.devices() || changes.rates || changes.model)
            && let Err(error) = self.pace_engine()
        {
            warn!("{error}");
        }
    }

    /// Takes what is in force from the layers, and tells everybody who goes by it.
    fn follow(&mut self) {
        let (mut new, _) = lasting(&self.config, &self.layers.merged());
        if self.pace != Pace::Live {
            new = played(&self.config, new);
        }
        if new.topic("") != self.config.topic("") {
            self.finish_tracks(); // under the name that they began with
        }
        self.config = new;
        self.most.set(self.config.camera.rate);
        self.configured();
    }

    /// Tells everybody what is in force.
    pub(super) fn configured(&mut self) {
        let model = self.analysis.model();
        self.runs = model.engine();
        self.composer.configure(&self.config, model.manifest());
        self.observer.configured(&self.config, model, &self.layers.wished());
    }

    /// Tells how a part does from now on.
    pub(super) fn tell_part(&mut self, part: Part, state: HealthState, reason: &str) {
        let moment = self.moment();
        let (since, clock_synced) = (moment.unix(moment.now), moment.synced);
        self.observer.health(Health { part, state, reason: reason.into(), since, clock_synced });
    }

    /// Grants a subscriber's wish, or says why not.
    fn grant(&mut self, wish: &Wish, next: Result<(Layers, Made), String>) {
        // The file may have been taken back while the wish was made.
        let next = next.map(|(wished, made)| (wished.of(self.layers.file.clone()), made));
        let granted = next.and_then(|(layers, made)| self.judge_by(layers, made));
        let granted = granted.map_err(|why| one_sentence(&why));
        if granted.is_ok() {
            self.configured();
            self.tell_configuration();
        }
        self.verdicts.judged(&wish.key, &granted);
        self.verdicts.tell(self.clock.now());
        self.observer.judged(&wish.key, granted.map(|()| &self.layers.overrides));
    }

    /// Judges the next frame by other settings, with what was made for them; refused ones change nothing.
    fn judge_by(&mut self, layers: Layers, made: Made) -> Result<(), String> {
        let layers = match &made {
            Made::Model(model) => layers.fitting(model.manifest()),
            _ => layers,
        };
        let new: Config = layers.merged();
        let ended = match made {
            Made::Nothing => self.analysis.configure(&new).map(|()| vec![]),
            Made::Words(words) => self.analysis.reword(*words, &new),
            Made::Model(model) => self.analysis.exchange(*model, &new),
        };
        self.close(&ended.map_err(|error| error.to_string())?);
        if new.detection.enable && !self.config.detection.enable {
            self.enabled = self.clock.now();
        }
        (self.config.detection, self.config.tracking) = (new.detection, new.tracking);
        self.layers = layers;
        if !self.config.detection.enable {
            self.finish_tracks();
        }
        Ok(())
    }
}

/// What is to be delivered for a model: samples in a second, and how a picture of a usual size is laid out.
fn senses(model: &Model) -> (u32, Fit) {
    (model.sample_rate(), model.fit(Size::new(1920, 1080)))
}
