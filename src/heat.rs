//! How hot the machine is, whether it slows itself down for that, and its power mode; as far as Linux shows it. What it
//! does not show is left out.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use serde::Serialize;

/// One look at the machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Heat {
    /// Degrees Celsius, by sensor; two of one name are told apart by their numbers.
    pub temperatures: BTreeMap<String, f64>,
    /// Why the machine slows itself down, a few words each; empty if it does not.
    pub throttled: Vec<String>,
    /// How often it has slowed itself down for want of power since it was started, by cause; a Jetson counts that.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub power_events: BTreeMap<&'static str, u64>,
    /// The power mode that was chosen for it: nvpmodel's number on a Jetson, ACPI's word elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_mode: Option<String>,
}

/// Time between two looks at this machine.
const EVERY: Duration = Duration::from_secs(5);
/// What was seen longer ago tells nothing any more: a sensor hangs.
const STALE: Duration = Duration::from_secs(60);

/// This machine, looked at from the first question on.
static MACHINE: LazyLock<Lookout> = LazyLock::new(|| Lookout::new(Heat::read));

/// Looks at a machine on a thread of its own: a sensor behind a bus that hangs holds up nobody else.
struct Lookout(Arc<Mutex<Option<(Instant, Heat)>>>);

impl Lookout {
    fn new(look: impl Fn() -> Heat + Send + 'static) -> Self {
        let last = Arc::<Mutex<_>>::default();
        let seen = Arc::clone(&last);
        let body = move || {
            loop {
                let heat = look();
                *seen.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), heat));
                thread::sleep(EVERY);
            }
        };
        if let Err(error) = Builder::new().name("heat".into()).spawn(body) {
            tracing::warn!("temperatures are not read: the system refuses a thread: {error}");
        }
        Self(last)
    }

    /// What was seen last; nothing if that was too long before `now`.
    fn latest(&self, now: Instant) -> Heat {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = last.as_ref().filter(|(seen, _)| now.saturating_duration_since(*seen) < STALE);
        fresh.map(|(_, heat)| heat.clone()).unwrap_or_default()
    }
}

/// The bits of a Raspberry Pi's firmware that hold now.
const FIRMWARE: [(u32, &str); 4] = [
    (1, "the supply voltage is too low"),
    (2, "the firmware caps the processor's clock"),
    (4, "the firmware slows the processor down"),
    (8, "the firmware's soft temperature limit is reached"),
];

/// What a Jetson counts, in the order of its counters.
const ALARMS: [&str; 3] = ["under-voltage", "average over-current", "instantaneous over-current"];

impl Heat {
    /// This machine some seconds ago; waits for nothing.
    pub fn latest() -> Self {
        MACHINE.latest(Instant::now())
    }

    /// This machine; a sensor may take its time.
    pub fn read() -> Self {
        Self::under(Path::new("/"))
    }

    /// The machine whose `/sys` and `/var` lie under `root`.
    pub fn under(root: &Path) -> Self {
        let mut heat = Self { power_mode: power_mode(root), ..Self::default() };
        for folder in folders(&root.join("sys/class/thermal")) {
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            match name.strip_prefix("thermal_zone") {
                Some(number) => heat.zone(&folder, number),
                None => heat.throttled.extend(cooling(&folder)),
            }
        }
        heat.power_events =
            folders(&root.join("sys/class/hwmon")).iter().flat_map(|chip| alarms(chip)).collect();
        heat.throttled.extend(firmware(&root.join("sys/devices/platform/soc/soc:firmware/get_throttled")));
        heat
    }

    /// Why the machine slows itself down, or did since the look `before`: want of power lasts for moments only.
    pub fn throttled_since(&self, before: Option<&Heat>) -> Vec<String> {
        let grown = self.power_events.iter().filter_map(|(cause, count)| {
            let grown = count.saturating_sub(*before?.power_events.get(cause)?);
            (grown > 0).then(|| format!("its power does not suffice: {cause}, {grown} times lately"))
        });
        self.throttled.iter().cloned().chain(grown).collect()
    }

    /// Takes note of a sensor, and of a limit that it has reached.
    fn zone(&mut self, zone: &Path, number: &str) {
        let Some((name, degrees)) = word(&zone.join("type")).zip(degrees(&zone.join("temp"))) else { return };
        let name = if self.temperatures.contains_key(&name) { format!("{name}-{number}") } else { name };
        let limit = (0..).map_while(|point| trip(zone, point)).flatten().reduce(f64::min);
        if let Some(limit) = limit.filter(|limit| degrees >= *limit) {
            self.throttled.push(format!("{name} is at {degrees:.0} °C, its limit is {limit:.0} °C"));
        }
        self.temperatures.insert(name, degrees);
    }
}

/// The temperature of a trip point from which on the system slows down: `Some(None)` for one that only starts a fan.
fn trip(zone: &Path, point: u32) -> Option<Option<f64>> {
    let kind = word(&zone.join(format!("trip_point_{point}_type")))?;
    let limit = degrees(&zone.join(format!("trip_point_{point}_temp"))).filter(|limit| *limit > 0.0);
    Some(limit.filter(|_| matches!(kind.as_str(), "passive" | "hot")))
}

/// Tells of a clock that is held down; fans are cooling devices too.
fn cooling(device: &Path) -> Option<String> {
    let name = word(&device.join("type")).filter(|name| name.contains("freq") || name == "Processor")?;
    let state = word(&device.join("cur_state"))?.parse::<u32>().ok().filter(|state| *state > 0)?;
    Some(format!("{name} is slowed down by {state} steps"))
}

/// How often each alarm of a Jetson's power input held its clocks down; one that may not do so is left out.
fn alarms(chip: &Path) -> Vec<(&'static str, u64)> {
    let count = |number: usize| {
        let slows = word(&chip.join(format!("oc{number}_throt_en"))).is_none_or(|enabled| enabled != "0");
        word(&chip.join(format!("oc{number}_event_cnt"))).filter(|_| slows)?.parse().ok()
    };
    ALARMS.into_iter().zip(1..).filter_map(|(cause, number)| Some((cause, count(number)?))).collect()
}

fn firmware(file: &Path) -> Vec<String> {
    let bits = word(file).and_then(|word| u32::from_str_radix(word.trim_start_matches("0x"), 16).ok());
    let holds = FIRMWARE.iter().filter(|(bit, _)| bits.unwrap_or(0) & bit != 0);
    holds.map(|(_, why)| (*why).to_owned()).collect()
}

fn power_mode(root: &Path) -> Option<String> {
    let nvidia = word(&root.join("var/lib/nvpmodel/status"));
    let nvidia =
        nvidia.and_then(|status| Some(status.split_whitespace().next()?.strip_prefix("pmode:")?.into()));
    nvidia.or_else(|| word(&root.join("sys/firmware/acpi/platform_profile")))
}

/// In the order of their numbers.
fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries.map(|entry| entry.path()).collect();
    found.sort();
    found
}

fn word(file: &Path) -> Option<String> {
    fs::read_to_string(file).ok().map(|text| text.trim().to_owned())
}

fn degrees(file: &Path) -> Option<f64> {
    word(file)?.parse::<f64>().ok().map(|millidegrees| millidegrees / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> Heat {
        let root = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in files {
            let file = root.path().join(name);
            fs::create_dir_all(file.parent().expect("a folder")).expect("room for a folder");
            fs::write(file, format!("{text}\n")).expect("room for a file");
        }
        Heat::under(root.path())
    }

    #[test]
    fn who_asks_never_waits_for_a_sensor_and_hears_nothing_that_is_old() {
        let (answer, answers) = std::sync::mpsc::channel();
        let answers = Mutex::new(answers);
        let lookout = Lookout::new(move || answers.lock().expect("no panic").recv().unwrap_or_default());
        assert_eq!(lookout.latest(Instant::now()), Heat::default(), "the sensor hangs");
        let hot = Heat { throttled: vec!["hot".into()], ..Heat::default() };
        answer.send(hot.clone()).expect("somebody looks");
        while lookout.latest(Instant::now()) != hot {
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(lookout.latest(Instant::now() + STALE), Heat::default(), "it hangs again");
    }

    #[test]
    fn sensors_are_read_by_name_and_broken_ones_left_out() {
        let heat = machine(&[
            ("sys/class/thermal/thermal_zone0/type", "cpu-thermal"),
            ("sys/class/thermal/thermal_zone0/temp", "48250"),
            ("sys/class/thermal/thermal_zone1/type", "cpu-thermal"),
            ("sys/class/thermal/thermal_zone1/temp", "51000"),
            ("sys/class/thermal/thermal_zone2/type", "gpu-thermal"),
            ("sys/class/thermal/thermal_zone2/temp", "not now"),
        ]);
        let wanted = [("cpu-thermal".to_owned(), 48.25), ("cpu-thermal-1".to_owned(), 51.0)];
        assert_eq!(heat, Heat { temperatures: BTreeMap::from(wanted), ..Heat::default() });
        assert_eq!(machine(&[]), Heat::default());
    }

    /// A Jetson Orin's zones: the fan starts at 50 °C, the clocks go down at 99 °C.
    #[test]
    fn a_machine_is_throttled_at_its_limit_and_not_when_its_fan_turns() {
        let zone = |degrees: &str| {
            machine(&[
                ("sys/class/thermal/thermal_zone0/type", "cpu-thermal"),
                ("sys/class/thermal/thermal_zone0/temp", degrees),
                ("sys/class/thermal/thermal_zone0/trip_point_0_type", "active"),
                ("sys/class/thermal/thermal_zone0/trip_point_0_temp", "50000"),
                ("sys/class/thermal/thermal_zone0/trip_point_1_type", "passive"),
                ("sys/class/thermal/thermal_zone0/trip_point_1_temp", "99000"),
                ("sys/class/thermal/cooling_device0/type", "pwm-fan"),
                ("sys/class/thermal/cooling_device0/cur_state", "3"),
                ("var/lib/nvpmodel/status", "pmode:0002 fmode:quiet"),
            ])
        };
        assert_eq!(zone("98900").throttled, Vec::<String>::new());
        assert_eq!(zone("99100").throttled, ["cpu-thermal is at 99 °C, its limit is 99 °C"]);
        assert_eq!(zone("20000").power_mode.as_deref(), Some("0002"));
    }

    /// A Jetson Orin's alarms, with so many of the second and the third.
    fn alarmed(average: &str, instantaneous: &str) -> Heat {
        machine(&[
            ("sys/class/hwmon/hwmon0/name", "ina3221"),
            ("sys/class/hwmon/hwmon3/name", "soctherm_oc"),
            ("sys/class/hwmon/hwmon3/oc1_event_cnt", "7"),
            ("sys/class/hwmon/hwmon3/oc1_throt_en", "0"),
            ("sys/class/hwmon/hwmon3/oc2_event_cnt", average),
            ("sys/class/hwmon/hwmon3/oc2_throt_en", "1"),
            ("sys/class/hwmon/hwmon3/oc3_event_cnt", instantaneous),
        ])
    }

    #[test]
    fn want_of_power_is_told_when_its_counters_grow() {
        let before = alarmed("0", "37");
        let counted = [("average over-current", 0), ("instantaneous over-current", 37)];
        assert_eq!(before.power_events, BTreeMap::from(counted), "an alarm that slows nothing down counts");
        let none = Vec::<String>::new();
        assert_eq!((&before.throttled, before.throttled_since(None)), (&none, none.clone()));
        assert_eq!(alarmed("0", "37").throttled_since(Some(&before)), none);
        let told = ["its power does not suffice: average over-current, 2 times lately"];
        assert_eq!(alarmed("2", "37").throttled_since(Some(&before)), told);
        assert_eq!(alarmed("0", "3").throttled_since(Some(&before)), none, "counted anew");
        assert_eq!(alarmed("not now", "38").throttled_since(Some(&before)).len(), 1);
        assert_eq!(before.throttled_since(Some(&Heat::default())), none, "nothing was counted before");
    }

    #[test]
    fn clocks_that_are_held_down_are_told() {
        let heat = machine(&[
            ("sys/class/thermal/cooling_device1/type", "cpufreq-cpu0"),
            ("sys/class/thermal/cooling_device1/cur_state", "2"),
            ("sys/class/thermal/cooling_device2/type", "devfreq-17000000.gpu"),
            ("sys/class/thermal/cooling_device2/cur_state", "0"),
            ("sys/devices/platform/soc/soc:firmware/get_throttled", "50005"),
            ("sys/firmware/acpi/platform_profile", "low-power"),
        ]);
        let firmware = ["the supply voltage is too low", "the firmware slows the processor down"];
        assert_eq!(heat.throttled, ["cpufreq-cpu0 is slowed down by 2 steps", firmware[0], firmware[1]]);
        assert_eq!(heat.power_mode.as_deref(), Some("low-power"));
    }
}
