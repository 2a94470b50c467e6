//! Time as a value: instants on one monotonic clock, and the only way to learn what time it is.
//!
//! Every frame and every block of samples carries an [`Instant`]; wall-clock time is attached only
//! when a message is made ([`Clock::wall`]), so that a stepped wall clock disturbs nothing.

mod told;

use std::ops::{Add, Sub};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing::warn;

use told::Told;

/// A moment on the monotonic clock of one source, in nanoseconds.
///
/// Live sources count from the boot of the machine (`CLOCK_MONOTONIC`, which GStreamer's system
/// clock and ALSA's monotonic stamps also use); recorded sources count from the start of the
/// recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The origin of the clock.
    pub const ZERO: Instant = Instant(0);

    /// The instant `nanoseconds` after the origin.
    pub const fn from_nanos(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// The instant `seconds` after the origin; negative and non-finite values become the origin.
    pub fn from_secs_f64(seconds: f64) -> Self {
        Self((seconds * 1e9).round() as u64)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Seconds since the origin.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 * 1e-9
    }

    /// Time from `earlier` to `self`, zero if `earlier` is the later of the two.
    pub const fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Seconds from `other` to `self`, negative if `other` is the later of the two.
    pub fn seconds_from(self, other: Instant) -> f64 {
        (i128::from(self.0) - i128::from(other.0)) as f64 * 1e-9
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, duration: Duration) -> Instant {
        Instant(self.0.saturating_add(nanos(duration)))
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;
    fn sub(self, duration: Duration) -> Instant {
        Instant(self.0.saturating_sub(nanos(duration)))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Where the shell learns the time; the pure core is handed instants instead.
pub trait Clock: Send + Sync {
    /// Now, on the monotonic clock.
    fn now(&self) -> Instant;
    /// Now, as time since the Unix epoch; may step at any moment.
    fn wall(&self) -> Duration;
    /// Whether the wall clock is synchronised; `None` if nobody tells.
    fn synced(&self) -> Option<bool> {
        None
    }
}

/// The clocks of this machine: `CLOCK_MONOTONIC` and the system's wall clock.
#[derive(Debug, Clone)]
pub struct SystemClock {
    monotonic: gstreamer::Clock,
    told: Option<Told>,
}

impl SystemClock {
    /// The machine's clocks. GStreamer's system clock reads `CLOCK_MONOTONIC`, so instants taken
    /// here and stamps of live frames agree; call after `gstreamer::init`.
    pub fn new() -> Self {
        use gstreamer::prelude::*;
        Self { monotonic: gstreamer::SystemClock::obtain().upcast(), told: None }
    }

    /// The same, for those who tell whether the wall clock is synchronised: the system is asked again and again.
    pub fn asking() -> Self {
        let told = Told::ask().inspect_err(|error| warn!("the system refuses a thread: {error}")).ok();
        Self { told, ..Self::new() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        use gstreamer::prelude::*;
        Instant(self.monotonic.time().nseconds())
    }

    fn wall(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn synced(&self) -> Option<bool> {
        synced(self.wall(), self.told.as_ref().and_then(Told::answer), Path::new(TIMESYNC))
    }
}

/// There while systemd-timesyncd runs; holds [`SYNCHRONISED`] once it has set the clock.
const TIMESYNC: &str = "/run/systemd/timesync";
const SYNCHRONISED: &str = "synchronized";
/// 2025-01-01: a clock that shows an earlier time was never set.
const NEVER_SET: Duration = Duration::from_secs(1_735_689_600);

/// Whether a clock that shows `wall` is set: as the kernel is `told` to say, or where nobody asks it, as `timesync` has it.
fn synced(wall: Duration, told: Option<bool>, timesync: &Path) -> Option<bool> {
    if wall < NEVER_SET {
        return Some(false);
    }
    told.or_else(|| timesync.is_dir().then(|| timesync.join(SYNCHRONISED).exists()))
}

#[cfg(test)]
pub(crate) mod paused;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_synchronised_when_the_system_says_so() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let today = NEVER_SET * 2;
        assert_eq!(synced(today, None, &folder.path().join("none")), None);
        assert_eq!(synced(today, None, folder.path()), Some(false));
        assert_eq!(synced(today, Some(true), folder.path()), Some(true), "by chrony, for example");
        std::fs::write(folder.path().join(SYNCHRONISED), "").expect("room for a file");
        assert_eq!(synced(today, None, folder.path()), Some(true));
        assert_eq!(synced(today, Some(false), folder.path()), Some(false), "once, and no more");
        let boot = Duration::from_secs(60);
        assert_eq!(synced(boot, Some(true), folder.path()), Some(false), "1970 after a boot");
    }

    #[test]
    fn differences_are_signed_or_saturate() {
        let (a, b) = (Instant::from_secs_f64(1.5), Instant::from_secs_f64(2.0));
        assert_eq!(b.since(a), Duration::from_millis(500));
        assert_eq!(a.since(b), Duration::ZERO);
        assert_eq!(a.seconds_from(b), -0.5);
        assert_eq!(Instant::from_secs_f64(-3.0), Instant::ZERO);
        assert_eq!(Instant::from_secs_f64(f64::NAN), Instant::ZERO);
    }
}
