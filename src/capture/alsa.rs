//! The sound card: a named thread that reads ALSA, measures when each sample was taken, and recovers
//! from overruns.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant as Moment};

use ::alsa::pcm::{Format, IO, PCM, State};

use super::card::{Card, Level, logged};
use super::ear::Ear;
use super::error::CaptureError;
use crate::clock::{Clock, Instant, SystemClock};
use crate::config::{self, Channel};
use crate::queue::{Closed, Sender, Sense, Sensed};

/// A sound card being read; stops when dropped.
pub(super) struct Alsa {
    shared: Arc<Shared>,
    out: Sender,
    device: String,
    /// Who reads it, and what is disconnected when the card is let go.
    reader: Option<(JoinHandle<()>, Receiver<()>)>,
}

/// Threads that hang in a read, each with its device: none can be ended from outside, and what it holds is in the way of
/// the next.
static LEFT: Mutex<Vec<(String, JoinHandle<()>)>> = Mutex::new(Vec::new());
/// The longest that a thread is waited for that is to let a card go; it looks every tenth of a second.
const LET_GO: Duration = Duration::from_secs(1);
/// What it means that a read of a card does not return, and the cure.
pub(crate) const HANGING_CARD: &str =
    "a driver or a sound server below it hangs: start that anew, or plug the card in again";

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    overruns: AtomicU64,
}

/// How often the thread looks whether it shall stop, in milliseconds.
const LOOK: u32 = 100;
/// A card that delivers nothing for so long is broken.
const STALL: Duration = Duration::from_secs(5);
/// A turn that takes so long was one in which the program was stopped.
const STOPPED: Duration = Duration::from_secs(1);
/// A card that reports sound and then has none is asked again after this.
const PAUSE: Duration = Duration::from_millis(5);

impl Alsa {
    /// Opens the card and reads it towards mono sound at `rate`.
    ///
    /// # Errors
    /// A device that is not there or does not offer what the settings ask for.
    pub fn start(settings: &config::Alsa, rate: u32, out: Sender) -> Result<Alsa, CaptureError> {
        await_left(&settings.device);
        let card = Card::open(settings, rate)?;
        let shared = Arc::<Shared>::default();
        let (reader, group) = (Arc::clone(&shared), out.clone());
        let (device, channel) = (settings.device.clone(), settings.channel);
        let (alive, over) = mpsc::channel::<()>();
        let read = move || {
            let _alive = alive;
            let listening = Listening {
                ear: Ear::new(card.rate, rate),
                card,
                channel,
                out: group,
                shared: reader,
                told: None,
            };
            logged(|| listening.run(&device));
        };
        let thread = std::thread::Builder::new().name("microphone".into()).spawn(read);
        let thread = thread.map_err(|error| CaptureError::Thread("microphone", error.to_string()))?;
        Ok(Alsa { shared, out, device: settings.device.clone(), reader: Some((thread, over)) })
    }

    /// Overruns since the start.
    pub fn overruns(&self) -> u64 {
        self.shared.overruns.load(Ordering::Relaxed)
    }
}

impl Drop for Alsa {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.out.cancel();
        let Some((thread, over)) = self.reader.take() else { return };
        if over.recv_timeout(LET_GO) != Err(RecvTimeoutError::Timeout) {
            thread.join().ok();
            return;
        }
        let device = std::mem::take(&mut self.device);
        tracing::warn!(device, "the sound card is not let go: {HANGING_CARD}");
        LEFT.lock().unwrap_or_else(PoisonError::into_inner).push((device, thread));
    }
}

/// Waits until no thread holds this device any more: opening it beside that would fail, or hang as well.
fn await_left(device: &str) {
    let left = || {
        LEFT.lock().unwrap_or_else(PoisonError::into_inner).extract_if(.., |(held, _)| held == device).next()
    };
    while let Some((_, thread)) = left() {
        thread.join().ok();
    }
}

struct Listening {
    card: Card,
    ear: Ear,
    channel: Channel,
    out: Sender,
    shared: Arc<Shared>,
    /// When an overrun was last told.
    told: Option<Moment>,
}

/// Overruns are told no more often than this, with their number.
const QUIET: Duration = Duration::from_secs(60);

/// Why reading is over.
enum Over {
    Broken(CaptureError),
    Unwanted,
}

impl From<Closed> for Over {
    fn from(_: Closed) -> Self {
        Over::Unwanted
    }
}

impl Listening {
    fn run(mut self, device: &str) {
        let over = match self.card.format {
            Format::S16LE | Format::S16BE => self.listen::<i16>(device),
            Format::S32LE | Format::S32BE => self.listen::<i32>(device),
            _ => self.listen::<f32>(device),
        };
        if let Err(Over::Broken(error)) = over {
            self.out.send(Sensed::Fault(Sense::Microphone, Box::new(error))).ok();
        }
    }

    fn listen<S: Level>(&mut self, device: &str) -> Result<(), Over> {
        let broken = |error| Over::Broken(CaptureError::microphone(device, error));
        let mut buffer = vec![S::default(); self.card.period * self.card.channels];
        let mut heard = Moment::now();
        self.card.pcm.start().map_err(broken)?;
        while !self.shared.stop.load(Ordering::Relaxed) {
            let turn = Moment::now();
            let outcome = read(&self.card.pcm, &mut buffer);
            if turn.elapsed() > STOPPED {
                heard += turn.elapsed(); // nobody looked meanwhile
            }
            match outcome {
                Ok(0) => {}
                Ok(frames) => {
                    let measured = measured_end(&self.card).map_err(broken)?;
                    let Some(end) = measured.or_else(|| self.ear.expects(frames)) else { continue };
                    let mono =
                        down_mix(&buffer[..frames * self.card.channels], self.card.channels, self.channel);
                    if let Some(block) = self.ear.hear(&mono, end) {
                        heard = Moment::now(); // not with what an overrun makes worthless
                        self.out.send(Sensed::Sound(block))?;
                    }
                }
                Err(error) => self.recover(error, device).map_err(broken)?,
            }
            if heard.elapsed() > STALL {
                return Err(Over::Broken(stalled(device)));
            }
        }
        Ok(())
    }

    /// Brings the card back after an overrun or a suspension; anything else is final.
    fn recover(&mut self, error: ::alsa::Error, device: &str) -> Result<(), ::alsa::Error> {
        self.card.pcm.try_recover(error, true)?;
        if kind(error) != ErrorKind::Interrupted {
            let overruns = self.shared.overruns.fetch_add(1, Ordering::Relaxed) + 1;
            if self.told.is_none_or(|told| told.elapsed() >= QUIET) {
                self.told = Some(Moment::now());
                tracing::warn!(device, overruns, "sound was lost: the card was not read in time");
            }
            self.ear.overrun();
            self.card.pcm.start()?;
        }
        Ok(())
    }
}

/// Frames read, 0 if the card has none within [`LOOK`].
fn read<S: Level>(pcm: &PCM, buffer: &mut [S]) -> Result<usize, ::alsa::Error> {
    if !pcm.wait(Some(LOOK))? {
        return Ok(0);
    }
    let io: IO<'_, S> = pcm.io_checked()?;
    let outcome = match io.readi(buffer) {
        Err(error) if kind(error) == ErrorKind::WouldBlock => Ok(0),
        outcome => outcome,
    };
    if outcome == Ok(0) {
        std::thread::sleep(PAUSE); // it is said to be ready, and would be at once again
    }
    outcome
}

fn kind(error: ::alsa::Error) -> ErrorKind {
    std::io::Error::from_raw_os_error(error.errno()).kind()
}

/// When the last sample that was read was taken; unknown if the card has just overrun.
fn measured_end(card: &Card) -> Result<Option<Instant>, ::alsa::Error> {
    let status = card.pcm.status()?;
    if status.get_state() != State::Running {
        return Ok(None);
    }
    let stamp = status.get_htstamp();
    let nanos = i128::from(stamp.tv_sec) * 1_000_000_000 + i128::from(stamp.tv_nsec);
    let (stamp, now) = (Instant::from_nanos(u64::try_from(nanos).unwrap_or(0)), SystemClock::new().now());
    // A plug-in may give no stamp, or one of another clock.
    let stamp = if now.seconds_from(stamp).abs() < 1.0 { stamp } else { now };
    let unread = status.get_delay().max(0) as f64 / f64::from(card.rate);
    Ok(Some(stamp - Duration::from_secs_f64(unread)))
}

fn down_mix<S: Level>(interleaved: &[S], channels: usize, channel: Channel) -> Vec<f32> {
    let frames = interleaved.chunks_exact(channels);
    match channel {
        Channel::Index(index) => frames.map(|frame| frame[index as usize % channels].level()).collect(),
        Channel::Mix => {
            frames.map(|frame| frame.iter().map(|s| s.level()).sum::<f32>() / channels as f32).collect()
        }
    }
}

fn stalled(device: &str) -> CaptureError {
    CaptureError::Stalled {
        origin: format!("microphone \"{device}\""),
        seconds: STALL.as_secs(),
        cure: "expected a card that records: try it with `arecord -D DEVICE -d 3 /dev/null`".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_mixed_or_chosen() {
        let stereo = [16_384i16, 0, -16_384, -32_768];
        assert_eq!(down_mix(&stereo, 2, Channel::Mix), [0.25, -0.75]);
        assert_eq!(down_mix(&stereo, 2, Channel::Index(1)), [0.0, -1.0]);
    }

    #[test]
    fn every_format_has_the_same_full_scale() {
        assert_eq!(down_mix(&[i32::MIN, 1 << 30], 1, Channel::Mix), [-1.0, 0.5]);
        assert_eq!(down_mix(&[f32::NAN, 0.5], 1, Channel::Mix), [0.0, 0.5]);
    }
}
