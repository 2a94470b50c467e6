//! What this machine tells of the process, and how hot it is. What it does not tell is left out.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Serialize;

/// Where Linux shows its sensors of temperature.
const THERMAL: &str = "/sys/class/thermal";

/// The process and its machine, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Host {
    /// Memory in use, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resident_bytes: Option<u64>,
    /// Threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<u64>,
    /// Open files and connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u64>,
    /// Degrees Celsius, by sensor.
    pub temperatures: BTreeMap<String, f64>,
}

impl Host {
    /// Reads what there is.
    pub fn read() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let number = |key: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
            value.split_whitespace().next()?.parse::<u64>().ok()
        };
        Self {
            resident_bytes: number("VmRSS").map(|kibibytes| kibibytes * 1024),
            threads: number("Threads"),
            open_files: fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64),
            temperatures: temperatures(Path::new(THERMAL)),
        }
    }
}

/// The sensors under `folder`; two of one name are told apart by their numbers.
fn temperatures(folder: &Path) -> BTreeMap<String, f64> {
    let mut zones: Vec<_> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    zones.sort();
    let mut found = BTreeMap::new();
    for zone in zones {
        let read = |name: &str| fs::read_to_string(zone.join(name)).ok().map(|text| text.trim().to_owned());
        let (Some(name), Some(millidegrees)) =
            (read("type"), read("temp").and_then(|text| text.parse::<f64>().ok()))
        else {
            continue;
        };
        let number = zone.file_name().unwrap_or_default().to_string_lossy().replace("thermal_zone", "");
        let name = if found.contains_key(&name) { format!("{name}-{number}") } else { name };
        found.insert(name, millidegrees / 1000.0);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_threads_and_files() {
        let host = Host::read();
        assert!(host.resident_bytes.is_some_and(|bytes| bytes > 1 << 20), "{host:?}");
        assert!(host.threads.is_some_and(|threads| threads >= 1), "{host:?}");
        assert!(host.open_files.is_some_and(|files| files >= 3), "{host:?}");
    }

    #[test]
    fn sensors_are_read_by_name_and_broken_ones_left_out() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let zone = |number: u32, name: &str, temp: &str| {
            let zone = folder.path().join(format!("thermal_zone{number}"));
            fs::create_dir(&zone).expect("room for a folder");
            fs::write(zone.join("type"), name).expect("room for a file");
            fs::write(zone.join("temp"), temp).expect("room for a file");
        };
        zone(0, "cpu-thermal\n", "48250\n");
        zone(1, "cpu-thermal\n", "51000\n");
        zone(2, "gpu-thermal\n", "not now\n");
        let wanted = [("cpu-thermal".to_owned(), 48.25), ("cpu-thermal-1".to_owned(), 51.0)];
        assert_eq!(temperatures(folder.path()), BTreeMap::from(wanted));
        assert!(temperatures(&folder.path().join("none")).is_empty());
    }
}
