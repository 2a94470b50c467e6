//! A recording, from its beginning to its end.

use std::collections::BTreeSet;

use super::{PipelineError, Supervisor};
use crate::capture;
use crate::clock::Instant;
use crate::message::{HealthState, Part};
use crate::queue::{self, Empty, Limits, Receiver, Sense, Sensed};
use crate::window::{Pairing, Patience};

impl Supervisor<'_> {
    /// Plays the recording to its end, or until stopping is asked for.
    pub(super) fn play(&mut self) -> Result<(), PipelineError> {
        let (sender, receiver) = queue::bounded(Limits::default(), self.pace.policy());
        let (camera, microphone) = (&self.config.camera, &self.config.microphone);
        let capture = capture::start(camera, microphone, &self.wanted(), self.pace, sender)?;
        let played = self.take(&receiver);
        drop((receiver, capture)); // in this order: senders that wait for room are let go first
        played?;
        if self.analysed == 0 && self.config.detection.enable && !self.stop.asked() {
            let file = &self.config.camera.file.path;
            return Err(capture::cut_off(file).map_or(PipelineError::NoPicture(file.clone()), Into::into));
        }
        Ok(())
    }

    /// Empties the queue until there is nothing more to come.
    fn take(&mut self, receiver: &Receiver) -> Result<(), PipelineError> {
        let mut pairing = Pairing::new(Patience::Endless);
        let mut pictures_over = false;
        let mut untold = BTreeSet::from([Part::Camera, Part::Microphone]);
        while !self.stop.asked() {
            let sensed = receiver.recv(self.turn(&pairing));
            let delivering = match sensed {
                Ok(Sensed::Frame(_)) => Some(Part::Camera),
                Ok(Sensed::Sound(_)) => Some(Part::Microphone),
                _ => None,
            };
            if let Some(part) = delivering.filter(|part| untold.remove(part)) {
                self.tell_part(part, HealthState::Ok, "");
            }
            match sensed {
                Ok(Sensed::Frame(frame)) => pairing.frame(frame, self.clock.now()),
                Ok(Sensed::Sound(sound)) => self.listen(&sound, &mut pairing)?,
                Ok(Sensed::End(Sense::Microphone)) => pairing.no_more_sound(),
                Ok(Sensed::End(Sense::Camera)) => pictures_over = true,
                Ok(Sensed::Fault(sense, error)) => return Err(PipelineError::Broken(sense, error)),
                Err(Empty::TimedOut) => {}
                Err(Empty::Closed) => (pairing.no_more_sound(), pictures_over = true).0,
            }
            while let Some(frame) = pairing.next(self.clock.now()) {
                self.judge(frame, || {
                    if pairing.held() == 0
                        && let Some(frame) = receiver.frame()
                    {
                        pairing.frame(frame, Instant::ZERO);
                    }
                    pairing.coming()
                })?;
            }
            self.turned(receiver, None);
            self.adapt(None);
            if pictures_over && pairing.held() == 0 {
                break;
            }
        }
        Ok(())
    }
}
