//! This machine: disk, clock, rights, the GPU.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::statvfs;

use super::super::check;
use super::super::nodes::{Nodes, Refused};
use super::Check;
use crate::config::{Config, EngineKind, Origin};
use crate::engine::tensorrt::{Device, Settings, TensorRt};
use crate::heat::Heat;
use crate::monitor::Closed;
use crate::publish::Disk;
use crate::rights;

/// Less free space than this, in MiB, is too little for logs and updates.
const LEAST_MIB: u64 = 200;
/// 2025-01-01, Unix seconds: a clock before it was never set.
const NEVER_SET: u64 = 1_735_689_600;

/// What is checked whatever the configuration says; one that can be read adds places to write to.
pub(super) fn checks(config: Option<&Config>) -> Vec<Check> {
    let own = [clock(), heat(&Heat::read()), permissions()];
    disks(written(config)).into_iter().chain(own).collect()
}

/// How hot the machine is, and whether it slows itself down.
fn heat(heat: &Heat) -> Check {
    const STAGE: &str = "heat";
    let hottest = heat.temperatures.iter().max_by(|a, b| a.1.total_cmp(b.1));
    let hottest = hottest.map(|(sensor, degrees)| format!("{sensor} is at {degrees:.0} °C"));
    let mode = heat.power_mode.iter().map(|mode| format!("power mode {mode}"));
    let found = hottest.into_iter().chain(mode).collect::<Vec<_>>().join(", ");
    let cure =
        "cool it, give it a stronger supply or another power mode (`nvpmodel`), or lower [camera] rate";
    if !heat.throttled.is_empty() {
        return Check::warning(STAGE, format!("slows itself down: {}", heat.throttled.join(", ")), cure);
    }
    let events = heat.power_events.iter().filter(|(_, count)| **count > 0);
    let events: Vec<_> = events.map(|(cause, count)| format!("{cause} {count} times")).collect();
    if !events.is_empty() {
        let found =
            format!("slowed itself down for want of power since it was started: {}", events.join(", "));
        return Check::warning(STAGE, found, cure);
    }
    if found.is_empty() {
        Check::skipped(STAGE, "this machine tells nothing of it")
    } else {
        Check::ok(STAGE, found)
    }
}

/// Where logs, updates and the state of services are written, and what `config` has written elsewhere: the settings that
/// subscribers changed, the store of events, and what is computed once.
fn written(config: Option<&Config>) -> Vec<PathBuf> {
    let named = config.map(|config| [config.settings_file(), config.store_file(), config.cache_dir()]);
    let system = ["/", "/var/log", "/var/lib"].map(PathBuf::from);
    system.into_iter().chain(named.into_iter().flatten().flatten()).collect()
}

/// A check of every file system below these places.
fn disks(places: Vec<PathBuf>) -> Vec<Check> {
    let system = |place: &Path| std::fs::metadata(place).ok().map(|about| about.dev());
    once_each(places, system).iter().map(|place| disk(place)).collect()
}

/// The first place of each file `system`. One that is still to be made will lie in that of the nearest folder above it.
fn once_each(places: Vec<PathBuf>, system: impl Fn(&Path) -> Option<u64>) -> Vec<PathBuf> {
    let mut seen = BTreeSet::new();
    let there = places.into_iter().filter_map(|place| {
        let place = std::path::absolute(&place).unwrap_or(place);
        place.ancestors().find_map(|above| Some((system(above)?, above.to_owned())))
    });
    there.filter_map(|(system, place)| seen.insert(system).then_some(place)).collect()
}

fn disk(path: &Path) -> Check {
    const STAGE: &str = "disk";
    match statvfs(path) {
        Ok(about) => {
            let free = (about.f_bavail * about.f_frsize) >> 20;
            let found = format!("{free} MiB free on {}", path.display());
            let cure =
                "free some space, for example with `journalctl --vacuum-size=100M` and `apt-get clean`";
            if free < LEAST_MIB { Check::warning(STAGE, found, cure) } else { Check::ok(STAGE, found) }
        }
        Err(error) => Check::skipped(STAGE, format!("{}: {error}", path.display())),
    }
}

/// Whether events can be kept on disk, if they shall be.
pub(super) fn store(config: &Config) -> Check {
    const STAGE: &str = "store";
    if !(config.mqtt.enabled && config.mqtt.store.enabled) {
        return Check::skipped(STAGE, "[mqtt.store] enabled = false: no event outlasts a crash");
    }
    let cure = "set [mqtt.store] file to a place that the service may write to";
    match config.store_file() {
        None => Check::failed(STAGE, "no folder for it is known", cure),
        Some(file) if let Some(state) = config.closed_to(&file) => {
            Check::closed(STAGE, &file.display().to_string(), state)
        }
        Some(file) => match Disk::new(file.clone()).fault() {
            Some(fault) => Check::failed(STAGE, fault, cure),
            None => Check::ok(STAGE, file.display().to_string()),
        },
    }
}

/// Whether the figures can be served, if they shall be.
pub(super) fn web(config: &Config) -> Check {
    const STAGE: &str = "web";
    let Some(address) = config.monitor.listens() else {
        return Check::skipped(STAGE, "[monitor] port = 0: no figures are served");
    };
    match TcpListener::bind(address) {
        Ok(_) => Check::ok(STAGE, format!("http://{address} is free")),
        Err(error) => Check::error(STAGE, Closed { address, error }),
    }
}

fn clock() -> Check {
    const STAGE: &str = "clock";
    let cure =
        "connect it to a time server: `timedatectl set-ntp true`, or install systemd-timesyncd or chrony";
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if seconds < NEVER_SET {
        return Check::failed(STAGE, "it was never set, so every stamp is wrong", cure);
    }
    match output("timedatectl", &["show", "--property=NTPSynchronized", "--value"]).as_deref() {
        Some("yes") => Check::ok(STAGE, "set by a time server"),
        Some("no") => Check::warning(STAGE, "no time server sets it, so stamps drift", cure),
        _ => Check::skipped(STAGE, "timedatectl does not tell whether a time server sets it"),
    }
}

/// Whether this user may open cameras and sound cards.
fn permissions() -> Check {
    const STAGE: &str = "permissions";
    let nodes = Nodes::here();
    if let Some(Refused { problem, cure }) = nodes.refused {
        return Check::failed(STAGE, problem, cure);
    }
    match nodes.open.len() {
        0 => Check::skipped(STAGE, "there is no device file of a camera or a sound card"),
        count => Check::ok(STAGE, format!("{count} device files of cameras and sound cards may be opened")),
    }
}

/// What a command prints, if it is there and succeeds.
pub(super) fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output =
        Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Whether a password in the configuration is for its owner's eyes only.
pub(super) fn secrecy(config: &Config, origin: &Origin) -> Check {
    const STAGE: &str = "secrets";
    let Some(file) = origin.file() else {
        return Check::skipped(STAGE, "there is no configuration file");
    };
    if let Some((what, cure)) = check::exposed(config, origin) {
        return Check::warning(STAGE, what, cure);
    }
    match std::fs::metadata(file) {
        Ok(about) if file.starts_with("/etc/tvsl") && kept_from_service(&about) => Check::warning(
            STAGE,
            format!("{} is kept from the service as well, which could not start again", file.display()),
            rights::closing(file),
        ),
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Check::warning(STAGE, format!("{}: {error}", file.display()), "check the rights of its folder")
        }
        _ => Check::ok(
            STAGE,
            match check::holds_password(config) {
                true => "not for every user to read",
                false => "none in the configuration",
            },
        ),
    }
}

/// Whether the packaged service, which runs as a user of its own, may not read this file of root's.
fn kept_from_service(about: &Metadata) -> bool {
    about.uid() == 0 && !rights::serves(about)
}

/// NVIDIA's part, where it is asked for or there.
pub(super) fn gpu(config: &Config) -> Check {
    const STAGE: &str = "gpu";
    let asked = config.engine.kind == EngineKind::TensorRt;
    let verdict = if asked { Check::failed } else { Check::warning };
    let gpu = match Device::first().and_then(|device| device.gpu()) {
        Ok(gpu) => format!("{}, CUDA {}", gpu.name, gpu.driver),
        // A machine without NVIDIA's software is as it should be; one whose GPU does not answer is not.
        Err(error) if asked || (error.passing() && config.engine.kind == EngineKind::Auto) => {
            let cure = error.cure().unwrap_or("start the machine again");
            return verdict(STAGE, error.to_string(), cure.to_owned());
        }
        Err(_) => return Check::skipped(STAGE, "none; the CPU engine needs none"),
    };
    match TensorRt::open(Settings::from(&config.engine.tensorrt)) {
        Ok(tensorrt) => Check::ok(STAGE, tensorrt.target().to_string()),
        Err(error) => {
            let cure = "install TensorRT (`apt-get install tensorrt` on a Jetson)";
            verdict(STAGE, format!("{gpu}, but {error}"), cure.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn want_of_power_is_told_with_its_cause_and_cure() {
        let heated = |events: &[(&'static str, u64)]| {
            let power_events = events.iter().copied().collect();
            heat(&Heat { temperatures: [("cpu".into(), 50.0)].into(), power_events, ..Heat::default() })
                .line()
        };
        let none = heated(&[("under-voltage", 0)]);
        assert!(none.starts_with("ok") && none.contains("cpu is at 50 °C"), "{none}");
        let some = heated(&[("instantaneous over-current", 37), ("under-voltage", 0)]);
        assert!(some.starts_with("WARNING") && some.contains("since it was started"), "{some}");
        assert!(some.contains("instantaneous over-current 37 times"), "{some}");
        assert!(some.contains("stronger supply") && !some.contains("under-voltage"), "{some}");
    }

    #[test]
    fn every_file_system_that_is_written_to_is_looked_at_once() {
        let system = |place: &Path| match place.to_str() {
            Some("/" | "/var" | "/var/lib") => Some(1),
            Some("/data" | "/data/tvsl") => Some(2),
            _ => None,
        };
        let places = ["/", "/var/lib", "/data/tvsl/new/events.log", "/data/settings.json", "/var/lib/tvsl"];
        let found = once_each(places.map(PathBuf::from).into(), system);
        assert_eq!(found, ["/", "/data/tvsl"].map(PathBuf::from));
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path().display();
        let text = format!(
            "[mqtt]\nstore.enabled = true\nstore.file = \"{at}/a/events.log\"\nsettings_file = \"{at}/b.json\""
        );
        let config = Config::parse(&text, &folder.path().join("tvsl.toml")).expect("a configuration");
        let places = written(Some(&config));
        for file in [folder.path().join("a/events.log"), folder.path().join("b.json")] {
            assert!(places.contains(&file), "{places:?}");
        }
        let lines: Vec<_> =
            disks(vec![folder.path().into(), folder.path().join("x")]).iter().map(Check::line).collect();
        assert!(
            matches!(&lines[..], [line] if line.contains(&*folder.path().to_string_lossy())),
            "{lines:?}"
        );
    }
}
