//! Live senses: each lost and found apart from the other, and watched for faults that no device reports.

use std::time::Duration;

use super::device::{Device, Leftover};
use super::hardware::Hardware;
use super::reload::Changes;
use super::soundtrack::{self, SoundTrack};
use super::vigil::{PictureVigil, SoundVigil};
use crate::capture::{self, CaptureError, Wanted};
use crate::clock::Instant;
use crate::config::{self, CameraSource, Config, MicrophoneSource};
use crate::frame::{Frame, Samples};
use crate::lifecycle::{Lifecycle, State};
use crate::message::{Health, Moment, Part};
use crate::queue::{Load, Receiver, Sender, Sense};

/// Devices are looked after every tenth of a second. Where one look comes later than this after the one before, the
/// analysis was busy, or the whole program was stopped: what lies between tells nothing of the devices.
const LATE: Duration = Duration::from_millis(200);

/// A card that nothing is heard of for so long hangs: that it is silent is told sooner, by whoever reads it.
pub(super) const HUNG: Duration = Duration::from_secs(8);

/// Where sound comes from.
enum Sound {
    Card(Device),
    /// The camera's own track, which is lost and found with it.
    Track(SoundTrack),
    None,
}

/// The cure of a frozen picture.
const THAW: &str = "switch the camera off and on; for one that shows no noise set [camera] frozen = 0";

/// Camera and microphone of a device that runs for months.
pub(super) struct Live {
    camera: Device,
    sound: Sound,
    picture: PictureVigil,
    heard: SoundVigil,
    stall: Duration,
    frozen: Option<Duration>,
    /// The try of a card that is not wanted any more, nor another in its place.
    left: Option<Leftover>,
    /// When they were last looked after.
    looked: Instant,
}

impl Live {
    /// The configured devices of `hardware`, which send into `out`; opened by [`Live::tend`].
    pub fn new(
        hardware: &dyn Hardware,
        config: &Config,
        wanted: &Wanted,
        out: &Sender,
        now: Instant,
    ) -> Self {
        let sound = match config.microphone.source {
            MicrophoneSource::Alsa => {
                let listen = hardware.microphone(config, wanted, out);
                Sound::Card(Device::new(Sense::Microphone, now, listen))
            }
            MicrophoneSource::Media => Sound::Track(SoundTrack::new(now)),
            MicrophoneSource::None => Sound::None,
        };
        let mut live = Self {
            camera: Device::new(Sense::Camera, now, hardware.camera(config, wanted, out)),
            sound,
            picture: PictureVigil::default(),
            heard: SoundVigil::default(),
            stall: Duration::MAX,
            frozen: None,
            left: None,
            looked: now,
        };
        live.bound(&config.camera);
        live
    }

    /// Takes other limits, from which on the camera counts as lost.
    pub fn bound(&mut self, camera: &config::Camera) {
        let real = camera.source != CameraSource::Test && !camera.frozen.is_zero();
        // A camera that does well delivers a picture in each period of the rate, which leaves out the others.
        let period = Duration::try_from_secs_f64(1.0 / camera.rate).unwrap_or_default();
        (self.stall, self.frozen) = (camera.stall + period, real.then_some(camera.frozen));
    }

    /// Closes the devices that `changes` names; [`Live::tend`] opens those of `new` in their place, each when the try of
    /// the one before is over.
    pub fn replace(&mut self, new: Self, changes: &Changes, now: Instant, receiver: &Receiver) {
        if changes.microphone || matches!(self.sound, Sound::Track(_)) {
            let before = std::mem::replace(&mut self.sound, new.sound);
            let left = if let Sound::Card(card) = before { card.leave(now) } else { self.left.take() };
            match &mut self.sound {
                Sound::Card(card) => card.succeed(left),
                _ => self.left = left,
            }
            self.heard = new.heard;
            receiver.forget(Sense::Microphone);
        }
        if changes.camera {
            let before = std::mem::replace(&mut self.camera, new.camera);
            self.camera.succeed(before.leave(now));
            self.picture = new.picture;
            receiver.forget(Sense::Camera);
        }
    }

    /// One turn: opens what is due, and takes down what has stalled. Tells whether a sense was lost.
    ///
    /// # Errors
    /// The first try of a device fails for what no waiting mends; it is tried again even so.
    pub fn tend(&mut self, now: Instant, receiver: &Receiver) -> Result<bool, CaptureError> {
        self.look(now);
        self.inherit(now, receiver);
        let mut lost = self.camera.tend(now)?;
        if let Sound::Card(card) = &mut self.sound {
            lost |= card.tend(now)?;
        }
        if let Sound::Track(track) = &mut self.sound
            && self.camera.is_open()
        {
            track.open(now);
        }
        self.seek_sound(now, receiver);
        let waiting = receiver.load();
        if let Some(why) = self.hung(now, waiting) {
            self.lose(Sense::Microphone, &why, now, receiver);
            lost = true;
        }
        if let Some(why) = self.blind(now, waiting).or_else(|| self.mute(now, waiting)) {
            self.lose(Sense::Camera, &why, now, receiver);
            lost = true;
        }
        Ok(lost)
    }

    /// Counts none of the time in which nobody looked as silence of a device.
    fn look(&mut self, now: Instant) {
        let missed = now.since(self.looked).saturating_sub(LATE);
        self.looked = now;
        self.camera.life.excuse(missed, now);
        if let Some(life) = self.ear_mut() {
            life.excuse(missed, now);
        }
    }

    /// Has a device begin whose predecessor's try is over; what that one opened may have sent something.
    fn inherit(&mut self, now: Instant, receiver: &Receiver) {
        self.left.take_if(Leftover::is_over);
        if self.camera.inherits(now) {
            receiver.forget(Sense::Camera);
            if matches!(self.sound, Sound::Track(_)) {
                receiver.forget(Sense::Microphone);
            }
        }
        if let Sound::Card(card) = &mut self.sound
            && card.inherits(now)
        {
            receiver.forget(Sense::Microphone);
        }
    }

    /// That a device hangs for good while it is being opened.
    pub fn stuck(&self, now: Instant) -> Option<String> {
        let card = matches!(&self.sound, Sound::Card(card) if card.hangs(now)).then_some("microphone");
        let stuck = self.camera.hangs(now).then_some("camera").or(card);
        stuck.map(|name| format!("the opening of the {name} hangs for good"))
    }

    /// That no picture has come for too long. One that waits has come.
    fn blind(&self, now: Instant, waiting: Load) -> Option<String> {
        let silence = self.camera.life.silence(now);
        (waiting.frames == 0 && silence > self.stall)
            .then(|| format!("no picture for {:.1} s", silence.as_secs_f64()))
    }

    /// That whoever reads the sound card has said nothing for longer than it takes to tell that the card is silent.
    fn hung(&self, now: Instant, waiting: Load) -> Option<String> {
        let Sound::Card(card) = &self.sound else { return None };
        let silence = card.life.silence(now);
        (waiting.sound.is_zero() && silence > HUNG).then(|| {
            format!(
                "reading it gives no answer for {:.1} s; {}",
                silence.as_secs_f64(),
                capture::HANGING_CARD
            )
        })
    }

    /// That the sound of the camera's stream has stopped while pictures went on.
    fn mute(&self, now: Instant, waiting: Load) -> Option<String> {
        let Sound::Track(track) = &self.sound else { return None };
        let mute = waiting.sound.is_zero() && track.life.delivers() && self.alone(track, now) > self.stall;
        let silence = track.life.silence(now).as_secs_f64();
        mute.then(|| format!("no sound in the stream for {silence:.1} s"))
    }

    /// For how long pictures have come without sound.
    fn alone(&self, track: &SoundTrack, now: Instant) -> Duration {
        track.life.silence(now).saturating_sub(self.camera.life.silence(now))
    }

    /// Looks again, now and then, for the sound of a stream that shows none. What is in a stream is said when it is
    /// opened and never later, so the camera is opened anew for it: without a word about the camera, which does as well
    /// as before, and whose pictures nobody judges without sound.
    fn seek_sound(&mut self, now: Instant, receiver: &Receiver) {
        let due = matches!(&self.sound, Sound::Track(track) if track.is_due(self.alone(track, now)));
        let Sound::Track(track) = &mut self.sound else { return };
        if due {
            track.sought(now, fastrand::f64());
            self.camera.renew(now);
            self.picture.close();
            [Sense::Camera, Sense::Microphone].into_iter().for_each(|sense| receiver.forget(sense));
        }
    }

    /// What it means that a sense says it is over.
    pub fn ended(&self, sense: Sense) -> String {
        let lacking = matches!(&self.sound, Sound::Track(track) if sense == Sense::Microphone && !track.life.delivers());
        if lacking { soundtrack::NONE } else { "the stream ended" }.into()
    }

    /// Takes a sense down; what it sent and nobody took is forgotten. A camera and the sound of its stream go together.
    pub fn lose(&mut self, sense: Sense, why: &str, now: Instant, receiver: &Receiver) {
        // A stream that never had sound still has its pictures.
        let both =
            matches!(&self.sound, Sound::Track(track) if sense == Sense::Camera || track.life.delivers());
        if both || sense == Sense::Camera {
            self.camera.lose(why, now);
            self.picture.close();
            receiver.forget(Sense::Camera);
        }
        if both || sense == Sense::Microphone {
            match &mut self.sound {
                Sound::Card(card) => card.lose(why, now),
                Sound::Track(track) if both => track.lose(why, now),
                Sound::Track(track) => track.lack(now),
                Sound::None => {}
            }
            self.heard = SoundVigil::default();
            receiver.forget(Sense::Microphone);
        }
    }

    /// Takes note of a picture; tells why the camera is to be taken down, if it is. One that is frozen counts as lost,
    /// however often it is opened, until it shows another picture; each time it is open it has a while to do so.
    pub fn see(&mut self, frame: &Frame, now: Instant) -> Option<String> {
        let unchanged = self.frozen.map(|limit| (limit, self.picture.see(frame)));
        let Some((limit, unchanged)) = unchanged.filter(|(limit, unchanged)| unchanged.ever > *limit) else {
            self.camera.delivered(now);
            return None;
        };
        self.camera.life.stirred(now);
        let over = self.sees() || unchanged.open > limit.min(self.stall);
        over.then(|| {
            format!("the picture is frozen, the same for more than {} s; {THAW}", limit.as_secs_f64())
        })
    }

    /// For how long the camera has failed; zero if it does not.
    pub fn failing(&self, now: Instant) -> Duration {
        let life = &self.camera.life;
        if life.state() == State::Failed { now.since(life.since()) } else { Duration::ZERO }
    }

    /// Whether the camera's pictures can be relied on.
    pub fn sees(&self) -> bool {
        self.camera.life.delivers()
    }

    /// Takes note of sound.
    pub fn hear(&mut self, block: &Samples, now: Instant) {
        let life = match &mut self.sound {
            Sound::Card(card) => {
                card.delivered(now);
                &mut card.life
            }
            Sound::Track(track) => {
                track.delivered(now);
                &mut track.life
            }
            Sound::None => return,
        };
        life.complain(self.heard.hear(block), now);
    }

    /// Whether a frame can be judged: every configured sense delivers.
    pub fn whole(&self) -> bool {
        self.sees() && self.ear().is_none_or(Lifecycle::delivers)
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
        let camera = self.camera.life.news(Part::Camera, moment);
        let ear = self.ear_mut().and_then(|life| life.news(Part::Microphone, moment));
        camera.into_iter().chain(ear).collect()
    }

    fn ear_mut(&mut self) -> Option<&mut Lifecycle> {
        match &mut self.sound {
            Sound::Card(card) => Some(&mut card.life),
            Sound::Track(track) => Some(&mut track.life),
            Sound::None => None,
        }
    }

    fn ear(&self) -> Option<&Lifecycle> {
        match &self.sound {
            Sound::Card(card) => Some(&card.life),
            Sound::Track(track) => Some(&track.life),
            Sound::None => None,
        }
    }
}
