//! Live devices: lost and found for months.

use std::time::Duration;

use tracing::{info, warn};

use super::super::live::Live;
use super::super::throttle::Turn;
use super::adapt::{Devices, Standing};
use super::{PipelineError, Supervisor};
use crate::clock::Instant;
use crate::message::{HealthState, Part};
use crate::queue::{self, Empty, Limits, Sense, Sensed};
use crate::window::{Pairing, Patience};

/// A camera that is out of reach may fail for so long: what it needs may just be starting too, and a plan that is being built
/// would be lost with this process.
pub(super) const SHUT_OUT: Duration = Duration::from_secs(300);
/// Time between two looks at whether it is.
const LOOK: Duration = Duration::from_secs(30);

impl Supervisor<'_> {
    /// Watches live devices until stopping is asked for. A lost one is opened again, for ever; frames are
    /// judged only while every configured sense delivers.
    pub(super) fn watch(&mut self) -> Result<(), PipelineError> {
        self.tell_part(Part::Machine, HealthState::Ok, "");
        let mut devices = self.devices();
        while !self.stop.asked() {
            let wait = self.turn(&devices.pairing);
            self.watch_on(&mut devices, wait)?;
        }
        let shed = devices.receiver.shed();
        if shed.frames + shed.samples > 0 {
            info!(frames = shed.frames, samples = shed.samples, "shed to stay in the present");
        }
        Ok(())
    }

    /// The configured devices, still to be opened.
    pub(super) fn devices(&self) -> Devices {
        let (sender, receiver) = queue::bounded(Limits::default(), self.pace.policy());
        let began = self.clock.now();
        let live = Live::new(self.hardware, &self.config, &self.wanted(), &sender, began);
        let mut pairing = Pairing::new(Patience::AtMost(self.config.window.wait));
        if live.deaf() {
            pairing.no_more_sound();
        }
        Devices { live, sender, receiver, pairing, began }
    }

    /// One turn, which waits for at most so long.
    pub(super) fn watch_on(&mut self, devices: &mut Devices, wait: Duration) -> Result<(), PipelineError> {
        let lost = match devices.live.tend(self.clock.now(), &devices.receiver) {
            Ok(lost) => lost,
            Err(error) => {
                self.beyond_waiting(error, devices)?;
                true
            }
        };
        let lost = self.receive(devices, wait)? || lost;
        // In this order: what was reported of a sense ends before it is lost, and it is back before anything is reported of it.
        if lost {
            self.finish_tracks();
        }
        self.tell(&mut devices.live, devices.began);
        self.give_way(&devices.live)?;
        while let Some(frame) = devices.pairing.next(self.clock.now()) {
            if !devices.live.whole() {
                self.progress.unjudged += 1;
            } else if self.throttle.admits(frame.captured, self.config.camera.throttled_rate) {
                self.judge(frame, || devices.pairing.coming())?;
            } else {
                self.progress.throttled += 1;
            }
        }
        self.spare();
        self.turned(&devices.receiver, devices.live.stuck(self.clock.now()));
        self.adapt(Some(devices));
        Ok(())
    }

    /// Ends where the camera has failed for long and only another process can reach it.
    fn give_way(&mut self, live: &Live) -> Result<(), PipelineError> {
        let now = self.clock.now();
        if live.failing(now) <= SHUT_OUT || self.looked.is_some_and(|looked| now.since(looked) < LOOK) {
            return Ok(());
        }
        self.looked = Some(now);
        if self.hardware.is_shut_out(&self.config) { Err(PipelineError::ShutOut) } else { Ok(()) }
    }

    /// Asks less of a machine that slows itself down.
    fn spare(&mut self) {
        match self.throttle.look(self.clock.now(), || self.hardware.heat()) {
            Some(Turn::Slower) => {
                let (rate, why) = (self.config.camera.throttled_rate, self.throttle.why().to_owned());
                warn!(rate, "this machine slows itself down: {why}; fewer pictures are analysed");
                self.tell_part(Part::Machine, HealthState::Degraded, &why);
            }
            Some(Turn::Normal) => {
                info!("this machine runs at its speed again");
                self.tell_part(Part::Machine, HealthState::Ok, "");
            }
            None => {}
        }
    }

    /// Takes what comes within `wait`; tells whether a sense was lost.
    fn receive(
        &mut self,
        Devices { live, receiver, pairing, .. }: &mut Devices,
        wait: Duration,
    ) -> Result<bool, PipelineError> {
        let item = receiver.recv(wait);
        let now = self.clock.now();
        let lost = match item {
            Ok(Sensed::Frame(frame)) => {
                let frozen = live.see(&frame, now).map(|why| (Sense::Camera, why));
                if frozen.is_none() && live.sees() {
                    pairing.frame(frame, now);
                } else {
                    self.progress.unjudged += 1;
                }
                frozen
            }
            Ok(Sensed::Sound(sound)) => {
                live.hear(&sound, now);
                self.listen(&sound, pairing)?;
                None
            }
            Ok(Sensed::End(sense)) => Some((sense, live.ended(sense))),
            Ok(Sensed::Fault(sense, error)) => Some((sense, error.to_string())),
            Err(Empty::TimedOut | Empty::Closed) => None,
        };
        if let Some((sense, why)) = &lost {
            live.lose(*sense, why, now, receiver);
        }
        Ok(lost.is_some())
    }

    /// Tells observer and service manager how the devices do. Waiting for one is progress.
    fn tell(&mut self, live: &mut Live, began: Instant) {
        let (now, moment) = (self.clock.now(), self.moment());
        live.news(moment).into_iter().for_each(|health| self.observer.health(health));
        if live.whole() {
            self.standing = Standing::Proven;
        } else {
            self.notifier.status(now, || {
                format!("waiting: {}{}{}", live.missing(), self.observer.ailing(), self.configuration.line())
            });
            if now.since(began) > self.config.service.start_within {
                self.notifier.ready();
            }
        }
    }
}
