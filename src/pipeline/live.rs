//! Live senses: each lost and found apart from the other, and watched for faults that no device reports.

use std::sync::Arc;
use std::time::Duration;

use super::device::Device;
use super::lifecycle::{Lifecycle, State};
use super::reload::Changes;
use super::vigil::{PictureVigil, SoundVigil};
use crate::capture::{self, Camera, CaptureError, Microphone, Pace, Wanted};
use crate::clock::Instant;
use crate::config::{CameraSource, Config, MicrophoneSource};
use crate::frame::{Frame, Samples};
use crate::message::{Health, HealthState, Moment, Part};
use crate::queue::{Receiver, Sender, Sense};

/// Where sound comes from.
enum Sound {
    Card(Device<Microphone>),
    /// The camera's own track, which is lost and found with it.
    Track(Lifecycle),
    None,
}

/// Camera and microphone of a device that runs for months.
pub(super) struct Live {
    camera: Device<Camera>,
    sound: Sound,
    picture: PictureVigil,
    heard: SoundVigil,
    stall: Duration,
    frozen: Option<Duration>,
}

impl Live {
    /// The configured devices, which send into `out`; opened by [`Live::tend`].
    pub fn new(config: &Config, wanted: &Wanted, out: &Sender, now: Instant) -> Self {
        let media = config.microphone.source == MicrophoneSource::Media;
        let (settings, out, wanted) =
            (Arc::new(config.camera.clone()), Arc::new(out.clone()), wanted.clone());
        let (rate, alsa) = (wanted.rate, Arc::new(config.microphone.alsa.clone()));
        let sender = Arc::clone(&out);
        let open = move || capture::open_camera(&settings, media, &wanted, Pace::Live, &out);
        let listen = move || capture::open_microphone(&alsa, rate, &sender);
        let sound = match config.microphone.source {
            MicrophoneSource::Alsa => Sound::Card(Device::new(Sense::Microphone, now, listen)),
            MicrophoneSource::Media => Sound::Track(Lifecycle::new(now)),
            MicrophoneSource::None => Sound::None,
        };
        let real = config.camera.source != CameraSource::Test && !config.camera.frozen.is_zero();
        Self {
            camera: Device::new(Sense::Camera, now, open),
            sound,
            picture: PictureVigil::default(),
            heard: SoundVigil::default(),
            stall: config.camera.stall,
            frozen: real.then_some(config.camera.frozen),
        }
    }

    /// Closes the devices that `changes` names; [`Live::tend`] opens what is configured now in their place.
    pub fn replace(
        &mut self,
        config: &Config,
        changes: &Changes,
        wanted: &Wanted,
        (out, receiver): (&Sender, &Receiver),
        now: Instant,
    ) {
        let new = Self::new(config, wanted, out, now);
        if changes.microphone || matches!(self.sound, Sound::Track(_)) {
            (self.sound, self.heard) = (new.sound, new.heard);
            receiver.forget(Sense::Microphone);
        }
        if changes.camera {
            (self.camera, self.picture) = (new.camera, new.picture);
            (self.stall, self.frozen) = (new.stall, new.frozen);
            receiver.forget(Sense::Camera);
        }
    }

    /// One turn: opens what is due, and takes down what has stalled. Tells whether a sense was lost.
    ///
    /// # Errors
    /// The first try of a device fails for what no waiting mends; it is tried again even so.
    pub fn tend(&mut self, now: Instant, receiver: &Receiver) -> Result<bool, CaptureError> {
        let mut lost = self.camera.tend(now)?;
        if let Sound::Card(card) = &mut self.sound {
            lost |= card.tend(now)?;
        }
        let silence = self.camera.life.silence(now);
        if silence > self.stall {
            self.lose(
                Sense::Camera,
                &format!("no picture for {:.1} s", silence.as_secs_f64()),
                now,
                receiver,
            );
            lost = true;
        }
        Ok(lost)
    }

    /// Takes a sense down; what it sent and nobody took is forgotten.
    pub fn lose(&mut self, sense: Sense, why: &str, now: Instant, receiver: &Receiver) {
        match (sense, &mut self.sound) {
            (Sense::Camera, Sound::Track(track)) => {
                track.lost(why, now, 0.0);
                self.camera.lose(why, now);
                receiver.forget(Sense::Microphone);
            }
            (Sense::Camera, _) => self.camera.lose(why, now),
            (Sense::Microphone, Sound::Card(card)) => card.lose(why, now),
            (Sense::Microphone, Sound::Track(track)) => {
                track.lost(why, now, 0.0);
            }
            (Sense::Microphone, Sound::None) => {}
        }
        receiver.forget(sense);
        match sense {
            Sense::Camera => self.picture = PictureVigil::default(),
            Sense::Microphone => self.heard = SoundVigil::default(),
        }
    }

    /// Takes note of a picture; tells why the camera is to be taken down, if it is.
    pub fn see(&mut self, frame: &Frame, now: Instant) -> Option<String> {
        self.camera.delivered(now);
        let limit = self.frozen?;
        let frozen = self.picture.see(frame);
        (frozen > limit).then(|| format!("the picture is frozen for {:.0} s", frozen.as_secs_f64()))
    }

    /// Takes note of sound.
    pub fn hear(&mut self, block: &Samples, now: Instant) {
        let life = match &mut self.sound {
            Sound::Card(card) => {
                card.delivered(now);
                &mut card.life
            }
            Sound::Track(track) => {
                // The track has no tries of its own: it is open when it delivers.
                track.begin(Instant::from_nanos(u64::MAX));
                if !track.delivers() {
                    track.opened(now);
                }
                track.delivered(now);
                track
            }
            Sound::None => return,
        };
        life.complain(self.heard.hear(block), now);
    }

    /// Whether a frame can be judged: every configured sense delivers.
    pub fn whole(&self) -> bool {
        self.camera.life.delivers() && self.ear().is_none_or(Lifecycle::delivers)
    }

    /// Whether no sound is configured at all.
    pub fn deaf(&self) -> bool {
        matches!(self.sound, Sound::None)
    }

    /// What is waited for, in one line.
    pub fn missing(&self) -> String {
        let parts = [("camera", Some(&self.camera.life)), ("microphone", self.ear())];
        let away = parts.into_iter().filter_map(|(name, life)| Some((name, life.filter(|l| !l.delivers())?)));
        let told = away.map(|(name, life)| match life.reason() {
            "" => format!("the {name} is being opened"),
            reason => format!("the {name} is away: {reason}"),
        });
        told.collect::<Vec<_>>().join("; ")
    }

    /// What changed since this was last asked.
    pub fn news(&mut self, moment: Moment) -> Vec<Health> {
        let ear = match &mut self.sound {
            Sound::Card(card) => Some(&mut card.life),
            Sound::Track(track) => Some(track),
            Sound::None => None,
        };
        let parts = [(Part::Camera, Some(&mut self.camera.life)), (Part::Microphone, ear)];
        let changed = parts.into_iter().filter_map(|(part, life)| {
            let life = life?;
            life.take_news().then(|| health(part, life, moment))
        });
        changed.collect()
    }

    fn ear(&self) -> Option<&Lifecycle> {
        match &self.sound {
            Sound::Card(card) => Some(&card.life),
            Sound::Track(track) => Some(track),
            Sound::None => None,
        }
    }
}

fn health(part: Part, life: &Lifecycle, moment: Moment) -> Health {
    let state = match life.state() {
        State::Running => HealthState::Ok,
        State::Degraded => HealthState::Degraded,
        State::Starting | State::Failed => HealthState::Failed,
    };
    Health { part, state, reason: life.reason().to_owned(), since: moment.unix(life.since()) }
}
