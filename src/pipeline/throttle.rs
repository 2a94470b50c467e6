//! The policy for a machine that slows itself down: fewer pictures are analysed, until it has been well for a while.
//! Pure: time, pictures and what a look saw are arguments.

use std::time::Duration;

use crate::clock::Instant;
use crate::heat::Heat;

/// Time between two looks at the machine.
const LOOK: Duration = Duration::from_secs(5);
/// The full rate comes back when so long no look saw anything.
const CALM: Duration = Duration::from_secs(30);

/// What a look changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// From now on fewer pictures are analysed.
    Slower,
    /// From now on every picture is analysed again.
    Normal,
}

/// Whether pictures are left out, and which.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    next: Option<Instant>,
    /// What the last look saw.
    before: Option<Heat>,
    /// When a look last saw the machine slow itself down.
    seen: Option<Instant>,
    why: String,
    last: Option<Instant>,
}

impl Throttle {
    /// Takes a look at the machine by `look` if one is due.
    pub fn look(&mut self, now: Instant, look: impl FnOnce() -> Heat) -> Option<Turn> {
        if self.next.is_some_and(|next| now < next) {
            return None;
        }
        self.next = Some(now + LOOK);
        let heat = look();
        let (was, why) = (self.seen.is_some(), heat.throttled_since(self.before.as_ref()).join(", "));
        self.before = Some(heat);
        if !why.is_empty() {
            (self.seen, self.why) = (Some(now), why);
            return (!was).then_some(Turn::Slower);
        }
        let calm = self.seen.is_some_and(|seen| now.since(seen) >= CALM);
        if calm {
            (self.seen, self.why, self.last) = (None, String::new(), None);
        }
        calm.then_some(Turn::Normal)
    }

    /// Whether the picture captured at `at` is analysed, if at most `rate` in a second are while the machine is slow;
    /// a jitter of a tenth of the period is forgiven. A `rate` of 0 leaves nothing out.
    pub fn admits(&mut self, at: Instant, rate: f64) -> bool {
        let admitted = self.would_admit(at, rate);
        if admitted && self.seen.is_some() {
            self.last = Some(at);
        }
        admitted
    }

    /// Whether [`Throttle::admits`] says so of the next picture, if it was captured at `at`.
    pub fn would_admit(&self, at: Instant, rate: f64) -> bool {
        let due = |last: Instant| at < last || at.seconds_from(last) >= 0.9 / rate;
        self.seen.is_none() || rate <= 0.0 || self.last.is_none_or(due)
    }

    /// Why fewer pictures are analysed; empty if they are not.
    pub fn why(&self) -> &str {
        &self.why
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn at(seconds: f64) -> Instant {
        Instant::from_secs_f64(seconds)
    }

    /// Pictures admitted of ten a second from `from` on, at 4 a second at most.
    fn admitted(throttle: &mut Throttle, from: f64) -> usize {
        let mut admits = |at| (throttle.would_admit(at, 4.0), throttle.admits(at, 4.0));
        let told = (0..10).map(|picture| admits(at(from + f64::from(picture) / 10.0)));
        told.inspect(|(would, does)| assert_eq!(would, does)).filter(|(_, does)| *does).count()
    }

    /// What a look at the machine under `root` changes, why, and how many of ten pictures are then admitted.
    fn looked(throttle: &mut Throttle, root: &Path, seconds: f64) -> (Option<Turn>, String, usize) {
        let turn = throttle.look(at(seconds), || Heat::under(root));
        (turn, throttle.why().to_owned(), admitted(throttle, seconds))
    }

    #[test]
    fn a_machine_at_its_limit_is_given_less_to_do_until_it_has_cooled_down() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let zone = root.path().join("sys/class/thermal/thermal_zone0");
        std::fs::create_dir_all(&zone).expect("room for a folder");
        let write = |name: &str, text: &str| std::fs::write(zone.join(name), text).expect("room for a file");
        write("type", "cpu");
        write("trip_point_0_type", "passive");
        write("trip_point_0_temp", "95000");
        let mut throttle = Throttle::default();
        let mut look = |seconds, degrees: &str| {
            write("temp", degrees);
            looked(&mut throttle, root.path(), seconds)
        };
        assert_eq!(look(0.0, "90000"), (None, String::new(), 10));
        assert_eq!(look(1.0, "96000"), (None, String::new(), 10), "not looked at yet");
        let why = "cpu is at 96 °C, its limit is 95 °C".to_owned();
        assert_eq!(look(5.0, "96000"), (Some(Turn::Slower), why.clone(), 4));
        assert_eq!(look(10.0, "90000"), (None, why.clone(), 4), "not calm for long enough");
        assert_eq!(look(20.0, "96000"), (None, why.clone(), 4), "once more");
        assert_eq!(look(49.0, "90000"), (None, why, 4));
        assert_eq!(look(54.0, "90000"), (Some(Turn::Normal), String::new(), 10));
    }

    #[test]
    fn a_machine_whose_power_does_not_suffice_is_given_less_to_do() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let chip = root.path().join("sys/class/hwmon/hwmon3");
        std::fs::create_dir_all(&chip).expect("room for a folder");
        let write = |name: &str, text: &str| std::fs::write(chip.join(name), text).expect("room for a file");
        write("oc3_throt_en", "1\n");
        let mut throttle = Throttle::default();
        let mut look = |seconds, alarms: &str| {
            write("oc3_event_cnt", alarms);
            looked(&mut throttle, root.path(), seconds)
        };
        assert_eq!(look(0.0, "27\n"), (None, String::new(), 10), "what was before it started is over");
        assert_eq!(look(5.0, "27\n"), (None, String::new(), 10));
        let why = "its power does not suffice: instantaneous over-current, 4 times lately".to_owned();
        assert_eq!(look(10.0, "31\n"), (Some(Turn::Slower), why.clone(), 4));
        assert_eq!(look(15.0, "31\n"), (None, why.clone(), 4), "not calm for long enough");
        assert_eq!(look(40.0, "31\n"), (Some(Turn::Normal), String::new(), 10));
    }

    #[test]
    fn a_rate_of_zero_leaves_nothing_out() {
        let mut throttle = Throttle::default();
        let hot = Heat { throttled: vec!["hot".into()], ..Heat::default() };
        assert_eq!(throttle.look(at(0.0), || hot), Some(Turn::Slower));
        assert!((0..20).all(|picture| throttle.admits(at(f64::from(picture) / 100.0), 0.0)));
    }
}
