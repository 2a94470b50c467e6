//! Settings that change while the pipeline runs: the file read again, and wishes of subscribers.

use tracing::{error, info, warn};

use super::super::live::Live;
use super::super::reload::{Change, Changes, Layers, Reloaded};
use super::{PipelineError, Supervisor};
use crate::capture::CaptureError;
use crate::clock::Instant;
use crate::config::Config;
use crate::message::{Health, HealthState, Part, Wish, one_line};
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
    /// Takes every change that waits. A recording has no devices, and is played to its end with the one
    /// that it began with.
    pub(super) fn adapt(&mut self, mut devices: Option<&mut Devices>) {
        while let Some(change) = self.observer.change() {
            match change {
                Change::File(reloaded) => self.reload(reloaded, devices.as_deref_mut()),
                Change::Wish(wish) => self.grant(&wish),
            }
        }
    }

    /// Puts a new configuration in force: settings of judgement at once, others by opening their device
    /// anew. A wrong one changes nothing.
    fn reload(&mut self, reloaded: Reloaded, devices: Option<&mut Devices>) {
        let before = self.layers.file.clone();
        match reloaded.and_then(|file| self.adopt(*file)) {
            Ok(changes) => {
                if changes.devices() && !matches!(self.standing, Standing::Changed(_)) {
                    self.standing = Standing::Changed(before.into());
                }
                self.renew(&changes, devices);
            }
            Err(why) => self.refuse(&why),
        }
    }

    /// Puts the settings of a file under what subscribers changed; judgement follows them from the next frame on.
    fn adopt(&mut self, file: Config) -> Result<Changes, String> {
        let layers = Layers { file, overrides: self.layers.overrides.clone() };
        let changes = Changes::between(&self.config, &layers.merged());
        if changes.judgement {
            self.judge_by(layers)?;
        } else {
            self.layers = layers;
        }
        Ok(changes)
    }

    /// Tells why a new configuration is not in force.
    fn refuse(&mut self, why: &str) {
        error!("the changed configuration is refused, the one before is in force:\n{why}");
        let first = why.lines().next().unwrap_or_default();
        self.refused = format!("; refused: {first}");
        self.tell_part(Part::Configuration, HealthState::Degraded, first);
    }

    /// Takes it that a device cannot be opened, and that no waiting mends it. That ends a start. If a new
    /// configuration brought it, the one before is put in force again. Later it is a fault like others.
    pub(super) fn beyond_waiting(
        &mut self,
        error: CaptureError,
        devices: &mut Devices,
    ) -> Result<(), PipelineError> {
        match std::mem::replace(&mut self.standing, Standing::Proven) {
            Standing::Untried => return Err(error.into()),
            Standing::Changed(before) => {
                let why = error.to_string();
                let why = error.key().map_or(why.clone(), |key| self.config.fault(key, &why).to_string());
                if let Ok(changes) = self.adopt(*before) {
                    self.open_anew(&changes, devices);
                }
                self.refuse(&why);
            }
            Standing::Proven => warn!("{error}; trying again for ever"),
        }
        Ok(())
    }

    /// Opens anew what a new configuration concerns.
    fn renew(&mut self, changes: &Changes, devices: Option<&mut Devices>) {
        if !std::mem::take(&mut self.refused).is_empty() {
            self.tell_part(Part::Configuration, HealthState::Ok, "");
        }
        match devices {
            Some(devices) => self.open_anew(changes, devices),
            None => self.config = self.layers.merged(),
        }
        info!("the configuration was read again: {changes}");
        if !changes.later.is_empty() {
            warn!(sections = ?changes.later, "these sections take effect at the next start only");
        }
    }

    /// Opens the devices anew that differ from what was in force.
    fn open_anew(&mut self, changes: &Changes, devices: &mut Devices) {
        self.config = self.layers.merged();
        if !changes.devices() {
            return;
        }
        let (wanted, now) = (self.wanted(), self.clock.now());
        let Devices { live, sender, receiver, .. } = devices;
        let new = Live::new(self.hardware, &self.config, &wanted, sender, now);
        live.replace(new, changes, receiver);
        self.finish_tracks();
        if let Err(error) = self.pace_engine() {
            warn!("{error}");
        }
    }

    /// Tells how a part does from now on.
    pub(super) fn tell_part(&mut self, part: Part, state: HealthState, reason: &str) {
        let moment = self.moment();
        let since = moment.unix(moment.now);
        self.observer.health(Health { part, state, reason: reason.into(), since });
    }

    /// Grants a subscriber's wish, or says why not.
    fn grant(&mut self, wish: &Wish) {
        let granted = self.layers.granting(wish).and_then(|layers| self.judge_by(layers));
        let (key, granted) = (one_line(&wish.key), granted.map_err(|why| one_line(&why)));
        match &granted {
            Ok(()) => info!(key, "changed over MQTT"),
            Err(why) => warn!(key, "a change over MQTT is refused: {why}"),
        }
        self.observer.judged(&wish.key, granted.map(|()| &self.layers.overrides));
    }

    /// Judges the next frame by other settings; refused ones change nothing.
    fn judge_by(&mut self, layers: Layers) -> Result<(), String> {
        let new: Config = layers.merged();
        self.analysis.configure(&new).map_err(|error| error.to_string())?;
        self.observer.configured(&new, self.analysis.model(), &layers.overrides);
        (self.config.detection, self.config.tracking) = (new.detection, new.tracking);
        self.layers = layers;
        if !self.config.detection.enable {
            self.finish_tracks();
        }
        Ok(())
    }
}
