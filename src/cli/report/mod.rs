//! `tvsl report`: everything that helps somebody else to help, and no secret.

mod redact;

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use tar::{Builder, Header};

use super::{Common, Failure, devices, doctor, json};
use crate::config::Config;
use redact::Redactor;

/// Write a bundle for support, without secrets
///
/// Holds the version, the configuration without passwords, users and their files, `doctor` and `devices`, the journal of
/// the last days if it may be read, the model's manifest, settings changed over MQTT, and the system's facts; no picture
/// and no sound. For a configuration in /etc/tvsl it looks into the state of the service, which takes `sudo`, as the
/// journal does. Look through it before you pass it on. It opens the devices for some seconds, as `doctor` does.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// File for the bundle, which must not be there yet
    #[arg(long, value_name = "FILE", default_value = "tvsl-report.tar.gz")]
    out: PathBuf,
}

/// Files of the system that say what machine this is.
const FACTS: [&str; 8] = [
    "/etc/os-release",
    "/proc/version",
    "/proc/uptime",
    "/proc/meminfo",
    "/proc/asound/cards",
    "/proc/device-tree/model",
    "/etc/nv_tegra_release",
    "/var/lib/nvpmodel/status",
];
/// Lines of the journal.
const LINES: &str = "2000";
/// More of a file than this, in bytes, is left out.
const MOST: u64 = 4 << 20;

pub(super) fn run(arguments: Arguments, common: &Common) -> Result<(), Failure> {
    common.log_errors_only()?;
    let written = |error| Failure::Failed(format!("{}: {error}; name another file", arguments.out.display()));
    let options = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&arguments.out);
    let mut bundle = Bundle::new(options.map_err(written)?);
    let entries = gather(common)?;
    entries.iter().try_for_each(|(name, text)| bundle.add(name, text)).map_err(written)?;
    bundle.finish().map_err(written)?;
    let names: String =
        entries.iter().map(|(name, text)| format!("  {name:<20}{} bytes\n", text.len())).collect();
    super::print(&format!("{}:\n{names}Look through it before you pass it on.\n", arguments.out.display()))
}

/// Every file of the bundle: its name, and its text without secrets.
fn gather(common: &Common) -> Result<Vec<(&'static str, String)>, Failure> {
    let origin = common.origin();
    let text = origin.file().map(read).transpose().unwrap_or_default().unwrap_or_default();
    let table = text.parse::<toml::Table>();
    let redactor = Redactor::new(table.as_ref().unwrap_or(&toml::Table::new()));
    let config = match &table {
        Ok(table) => shown(&redactor, &redactor.table(table))?,
        Err(error) => redactor.text(&format!("is no TOML, so it is left out: {}\n", error.message())),
    };
    // With what is right in a wrong one: that is when it is asked for.
    let settings = common.draft().map(|(draft, _)| draft.config().clone()).unwrap_or_default().of_service();
    let about = format!("tvsl {}\nconfiguration: {origin}\n", super::VERSION);
    let facts = FACTS.iter().filter_map(|file| Some(format!("== {file}\n{}\n", read(Path::new(file)).ok()?)));
    let texts = [
        ("about.txt", redactor.text(&about)),
        ("configuration.json", config),
        ("doctor.json", shown(&redactor, &doctor::checks(common)?)?),
        ("devices.json", shown(&redactor, &devices::found(common)?)?),
        ("service.txt", redactor.text(&said("systemctl", &SERVICES))),
        ("journal.txt", redactor.text(&said("journalctl", &JOURNAL))),
        ("model.toml", redactor.text(&manifest(&settings))),
        ("settings.json", redactor.text(&state(&settings))),
        ("system.txt", redactor.text(&facts.collect::<String>())),
    ];
    Ok(texts.into())
}

/// What is told as JSON, without secrets.
fn shown(redactor: &Redactor, told: &impl Serialize) -> Result<String, Failure> {
    json(&redactor.json(told).map_err(Failure::failed)?)
}

/// What the journal is asked for.
const JOURNAL: [&str; 7] = ["--unit", "tvsl*", "--lines", LINES, "--no-pager", "--output", "short-iso"];
/// What systemd is asked for.
const SERVICES: [&str; 5] = ["show", "tvsl.service", "tvsl@*.service", "--property", SHOWN];

/// What systemd knows of the service, and of each of its instances, that is no secret: never their environment.
const SHOWN: &str = "Id,LoadState,ActiveState,SubState,StatusText,NRestarts,Result,ExecMainStatus,ActiveEnterTimestamp,\
                     MemoryCurrent,CPUUsageNSec,TasksCurrent,FragmentPath,DropInPaths";

fn manifest(config: &Config) -> String {
    match config.model_dir() {
        Ok(folder) => read(&folder.join("manifest.toml")).unwrap_or_else(|error| error.to_string()),
        Err(error) => error.to_string(),
    }
}

/// What subscribers changed.
fn state(config: &Config) -> String {
    let Some(file) = config.settings_file() else { return "none\n".into() };
    read(&file).unwrap_or_else(|error| match config.closed_to(&file) {
        Some(state) => format!("skipped: {}: {}\n", file.display(), super::for_root(state)),
        None => format!("{}: {error}\n", file.display()),
    })
}

fn read(file: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(file)?.take(MOST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).replace('\0', ""))
}

/// What a program of the system says, or why it says nothing.
fn said(program: &str, arguments: &[&str]) -> String {
    match Command::new(program).args(arguments).output() {
        Ok(output) => {
            let (told, errors) =
                (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            format!("{told}{errors}")
        }
        Err(error) => format!("{program}: {error}\n"),
    }
}

/// A compressed archive being written.
struct Bundle(Builder<GzEncoder<File>>);

impl Bundle {
    fn new(file: File) -> Self {
        Self(Builder::new(GzEncoder::new(file, Compression::default())))
    }

    fn add(&mut self, name: &str, text: &str) -> io::Result<()> {
        let mut header = Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        self.0.append_data(&mut header, Path::new("tvsl-report").join(name), text.as_bytes())
    }

    fn finish(self) -> io::Result<()> {
        self.0.into_inner()?.finish()?.sync_all()
    }
}
