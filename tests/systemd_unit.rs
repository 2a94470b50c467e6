//! The systemd unit is understood by systemd to the last key.

use std::fs;
use std::path::Path;
use std::process::Command;

fn unit() -> String {
    file("tvsl.service")
}

fn file(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name);
    fs::read_to_string(file).expect("a unit")
}

/// What `systemd-analyze verify` has to say about `text`; `None` without that program. A misspelled key
/// leaves its exit code at 0, so every line about the unit counts.
fn verify(text: &str) -> Option<Vec<String>> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join(if text.contains("%i") { "tvsl@hall.service" } else { "tvsl.service" });
    // The program need not be installed for the unit to be judged.
    fs::write(&file, text.replace("/usr/bin/tvsl", env!("CARGO_BIN_EXE_tvsl"))).expect("a file");
    let output = match Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&file).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => panic!("systemd-analyze: {error}"),
    };
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    let about_it = said.lines().filter(|line| line.contains("tvsl")).map(String::from).collect::<Vec<_>>();
    assert!(output.status.success() || !about_it.is_empty(), "systemd-analyze failed: {said}");
    Some(about_it)
}

#[test]
fn systemd_has_nothing_to_say_about_it() {
    for text in [unit(), file("tvsl@.service")] {
        match verify(&text) {
            Some(said) => assert_eq!(said, Vec::<String>::new()),
            None => println!("skipped: systemd-analyze absent"),
        }
    }
}

#[test]
fn its_exposure_is_at_most_1_5() {
    let mut command = Command::new("systemd-analyze");
    command.args(["security", "--offline=yes", "--threshold=15", "--no-pager"]);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/tvsl.service"));
    match command.output() {
        Ok(output) if String::from_utf8_lossy(&output.stderr).contains("--offline") => {
            println!("skipped: this systemd-analyze looks at no unit that is only a file");
        }
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
        Err(error) => println!("skipped: systemd-analyze absent: {error}"),
    }
}

#[test]
fn every_device_and_relaxation_has_its_reason() {
    let unit = unit();
    let lines: Vec<&str> = unit.lines().collect();
    let relaxed = |line: &str| {
        ["DeviceAllow=", "BindReadOnlyPaths=", "BindPaths="].iter().any(|key| line.starts_with(key))
            || line.ends_with("=no")
            || line == "ProcSubset=all"
    };
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| relaxed(line)) {
        let above = lines[..at].iter().rev().find(|above| !relaxed(above));
        assert!(above.is_some_and(|above| above.starts_with('#')), "no reason stands above {line}");
    }
}

#[test]
fn the_template_is_the_unit_with_the_name_of_the_instance() {
    let settings = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(String::from).collect::<Vec<_>>().join("\n")
    };
    let mut expected = settings(&unit());
    for (plain, instance) in [
        ("over MQTT", "over MQTT (%i)"),
        ("/etc/tvsl/tvsl.toml", "/etc/tvsl/%i.toml\nEnvironment=TVSL_INSTANCE=%i"),
        ("StateDirectory=tvsl", "StateDirectory=tvsl-%i"),
        ("%S/tvsl/", "%S/tvsl-%i/"),
    ] {
        assert_eq!(expected.matches(plain).count(), 1, "{plain}");
        expected = expected.replace(plain, instance);
    }
    assert_eq!(settings(&file("tvsl@.service")), expected);
}

#[test]
fn a_misspelled_key_would_be_seen() {
    if let Some(said) = verify(&unit().replace("WatchdogSec", "WatchdogSecs")) {
        assert!(said.iter().any(|line| line.contains("WatchdogSecs")), "{said:?}");
    } else {
        println!("skipped: systemd-analyze absent");
    }
}

#[test]
fn it_keeps_its_promises() {
    let unit = unit();
    for line in [
        "Type=notify",
        "Restart=on-failure",
        "Environment=GST_REGISTRY=%S/tvsl/gstreamer.registry",
        "RestartPreventExitStatus=78",
        "ExecStart=/usr/bin/tvsl run",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "DevicePolicy=closed",
        // A card or a camera that comes after the start, and is the first that the kernel sees.
        "Wants=modprobe@snd.service modprobe@videodev.service modprobe@mc.service modprobe@drm.service modprobe@nvidia_uvm.service modprobe@nvgpu.service",
        "After=modprobe@snd.service modprobe@videodev.service modprobe@mc.service modprobe@drm.service modprobe@nvidia_uvm.service modprobe@nvgpu.service",
        // A builder of plans fits in, and its end, should it not, is not the service's.
        "MemoryMax=3G",
        "OOMPolicy=continue",
        "LogRateLimitBurst=200",
        // No picture, sound or password is left on disk by a crash.
        "LimitCORE=0",
        "CoredumpFilter=elf-headers",
        "PrivateTmp=yes",
        "BindReadOnlyPaths=-/tmp/argus_socket",
        "SupplementaryGroups=audio video render",
        // What CUDA opens on an Orin under JetPack 6, by those who traced it, and what it opened before.
        "DeviceAllow=/dev/nvmap rw",
        "DeviceAllow=char-drm rw",
        "DeviceAllow=char-host1x-fence rw",
        "DeviceAllow=/dev/nvgpu/igpu0/ctrl rw",
        "DeviceAllow=/dev/nvgpu/igpu0/power rw",
        "DeviceAllow=/dev/nvgpu/igpu0/prof rw",
        "DeviceAllow=/dev/nvhost-ctrl-gpu rw",
        "WantedBy=multi-user.target",
    ] {
        assert!(unit.lines().any(|found| found == line), "{line} is missing");
    }
    for tie in ["PartOf=", "BindsTo=", "Requires="] {
        assert!(!unit.lines().any(|line| line.starts_with(tie)), "{tie} would stop it with another service");
    }
}
