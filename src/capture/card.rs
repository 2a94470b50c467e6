//! Opening a sound card: the format, rate and channels that it offers and the settings ask for.

use std::ffi::CString;

use ::alsa::device_name::HintIter;
use ::alsa::pcm::{Access, Format, HwParams, IoFormat, PCM, TstampType};
use ::alsa::{Direction, ValueOr};

use super::error::CaptureError;
use crate::config::{self, Channel};

/// A sample of a card; its level lies within ±1, what is no number is silence.
pub(super) trait Level: IoFormat + Default {
    /// The level as a share of full scale.
    fn level(self) -> f32;
}

impl Level for i16 {
    fn level(self) -> f32 {
        f32::from(self) / 32_768.0
    }
}

impl Level for i32 {
    fn level(self) -> f32 {
        (f64::from(self) / 2_147_483_648.0) as f32
    }
}

impl Level for f32 {
    fn level(self) -> f32 {
        if self.is_finite() { self.clamp(-1.0, 1.0) } else { 0.0 }
    }
}

/// An opened card, ready to start.
pub(super) struct Card {
    pub pcm: PCM,
    /// One of [`formats`].
    pub format: Format,
    /// Frames in a second.
    pub rate: u32,
    /// Samples in a frame.
    pub channels: usize,
    /// Frames that are read at a time.
    pub period: usize,
}

/// Microseconds of sound that are read at a time.
const PERIOD: u32 = 20_000;
/// Microseconds of sound that the card keeps for a reader that is late.
const BUFFER: u32 = 500_000;

/// The sample formats that are read, the most usual first.
fn formats() -> [Format; 3] {
    [Format::s16(), Format::s32(), Format::float()]
}

/// Does `act` with ALSA's own words in the log at level debug; unasked, it writes them raw to standard error.
pub(super) fn logged<T>(act: impl FnOnce() -> T) -> T {
    let words = ::alsa::Output::local_error_handler();
    let done = act();
    let words = words.map(|words| words.borrow().to_string()).unwrap_or_default();
    words.lines().for_each(|line| tracing::debug!("ALSA: {line}"));
    done
}

impl Card {
    /// Opens `settings.device` at the settings' rate, or at what it offers nearest `wanted`.
    ///
    /// # Errors
    /// [`CaptureError::Microphone`] with the devices that there are, [`CaptureError::Unfit`] for what this card does not
    /// offer, or [`CaptureError::Setting`] for what no card can be called.
    pub fn open(settings: &config::Alsa, wanted: u32) -> Result<Card, CaptureError> {
        logged(|| Self::opened(settings, wanted))
    }

    fn opened(settings: &config::Alsa, wanted: u32) -> Result<Card, CaptureError> {
        let failed = |error: ::alsa::Error| CaptureError::microphone(&settings.device, error);
        let name = CString::new(settings.device.as_str()).map_err(|_| CaptureError::Setting {
            key: DEVICE,
            reason: "it holds a NUL character".into(),
            cure: "expected a name that `arecord -L` lists".into(),
        })?;
        let pcm = PCM::open(&name, Direction::Capture, true).map_err(failed)?;
        let (format, rate, channels) = negotiate(&pcm, settings, wanted)?;
        let period = prepare(&pcm).map_err(failed)?;
        let device = &settings.device;
        tracing::info!(device, ?format, rate, channels, "microphone open");
        Ok(Card { pcm, format, rate, channels: channels as usize, period })
    }
}

fn negotiate(pcm: &PCM, settings: &config::Alsa, wanted: u32) -> Result<(Format, u32, u32), CaptureError> {
    let failed = |error: ::alsa::Error| CaptureError::microphone(&settings.device, error);
    let params = HwParams::any(pcm).map_err(failed)?;
    // ALSA's own conversion of rates is poor; ours knows the stamps too.
    params.set_rate_resample(false).map_err(failed)?;
    params.set_access(Access::RWInterleaved).map_err(failed)?;
    let format = formats().into_iter().find(|format| params.test_format(*format).is_ok());
    let format = format.ok_or_else(|| {
        unfit(
            DEVICE,
            "the device offers none of the formats S16, S32 and float",
            "a `plughw:` name of it".into(),
        )
    })?;
    params.set_format(format).map_err(failed)?;
    let channels = choose_channels(&params, settings).map_err(failed)??;
    let rate = choose_rate(&params, settings.rate, wanted).map_err(failed)??;
    params.set_buffer_time_near(BUFFER, ValueOr::Nearest).map_err(failed)?;
    params.set_period_time_near(PERIOD, ValueOr::Nearest).map_err(failed)?;
    pcm.hw_params(&params).map_err(failed)?;
    Ok((format, rate, channels))
}

type Chosen = Result<Result<u32, CaptureError>, ::alsa::Error>;

fn choose_channels(params: &HwParams<'_>, settings: &config::Alsa) -> Chosen {
    let needed = match settings.channel {
        Channel::Mix => 1,
        Channel::Index(index) => index.saturating_add(1),
    };
    let (least, most) = (params.get_channels_min()?, params.get_channels_max()?);
    let asked = if settings.channels > 0 { settings.channels } else { needed.max(least) };
    if asked < needed || params.set_channels(asked).is_err() {
        let asked = asked.max(needed);
        return Ok(Err(unfit(
            if settings.channels > 0 { "microphone.alsa.channels" } else { "microphone.alsa.channel" },
            &format!("the device has no {asked} channels"),
            format!("channels from {least} to {most}, 0 for its own choice, and a channel below that"),
        )));
    }
    Ok(Ok(asked))
}

fn choose_rate(params: &HwParams<'_>, asked: u32, wanted: u32) -> Chosen {
    if asked == 0 {
        return params.set_rate_near(wanted, ValueOr::Nearest).map(Ok);
    }
    let (least, most) = (params.get_rate_min()?, params.get_rate_max()?);
    Ok(match params.set_rate(asked, ValueOr::Nearest) {
        Ok(()) => Ok(asked),
        Err(_) => Err(unfit(
            "microphone.alsa.rate",
            &format!("the device does not record {asked} samples in a second"),
            format!("a rate from {least} to {most}, or 0 for the nearest"),
        )),
    })
}

/// Asks for monotonic stamps and to be woken at every period; returns its frames.
fn prepare(pcm: &PCM) -> Result<usize, ::alsa::Error> {
    let (_, period) = pcm.get_params()?;
    let params = pcm.sw_params_current()?;
    params.set_avail_min(period as ::alsa::pcm::Frames)?;
    params.set_tstamp_mode(true)?;
    // A plug-in that knows one clock only refuses this; its stamps are then checked one by one.
    params.set_tstamp_type(TstampType::Monotonic).ok();
    pcm.sw_params(&params)?;
    Ok(period.max(1) as usize)
}

/// The key that names the card.
const DEVICE: &str = "microphone.alsa.device";

fn unfit(key: &'static str, reason: &str, expected: String) -> CaptureError {
    CaptureError::Unfit { key, reason: reason.to_owned(), cure: format!("expected {expected}") }
}

impl CaptureError {
    pub(super) fn microphone(device: &str, error: ::alsa::Error) -> Self {
        let known = HintIter::new_str(None, "pcm").into_iter().flatten();
        let captures = known.filter(|hint| hint.direction != Some(Direction::Playback));
        let names: Vec<String> =
            captures.filter_map(|hint| hint.name).filter(|name| name != "null").collect();
        let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        Self::Microphone { device: device.to_owned(), reason: error.to_string(), known }
    }
}
