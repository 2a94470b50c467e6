//! Small files that outlast the program: JSON, read and written as a whole.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Config;
use super::search::{self, Whose};
use crate::bounded;

/// Reads what [`keep`] wrote; the default where there is no file.
///
/// # Errors
/// The file cannot be read, or holds something else.
pub fn kept<T: DeserializeOwned + Default>(file: &Path) -> io::Result<T> {
    read(file)?.map_or_else(|| Ok(T::default()), |text| Ok(serde_json::from_slice(&text)?))
}

/// What stands in the file; `None` where there is none.
pub(super) fn read(file: &Path) -> io::Result<Option<Vec<u8>>> {
    if fs::metadata(file).is_ok_and(|about| !about.is_file()) {
        return Err(io::Error::other("it is no file"));
    }
    match bounded::read(file, bounded::TEXT) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes `value` to `file` as a whole or not at all, whatever happens meanwhile, and for good. What stands there already
/// is not written again, which spares flash; tells whether it was written.
///
/// # Errors
/// The system refuses it.
pub fn keep(file: &Path, value: &impl Serialize) -> io::Result<bool> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let new = !holds(file, &text);
    if new {
        fs::create_dir_all(folder)?;
        let part = file.with_extension("part");
        let written = write(&part, &text).and_then(|()| fs::rename(&part, file));
        written.inspect_err(|_| drop(fs::remove_file(&part)))?;
    }
    File::open(folder)?.sync_all()?;
    Ok(new)
}

fn holds(file: &Path, text: &[u8]) -> bool {
    fs::metadata(file).is_ok_and(|about| about.is_file() && about.len() == text.len() as u64)
        && bounded::read(file, bounded::TEXT).is_ok_and(|there| there == text)
}

fn write(file: &Path, text: &[u8]) -> io::Result<()> {
    let mut writer = File::create(file)?;
    writer.write_all(text)?;
    writer.sync_all()
}

impl Config {
    /// The file that keeps what subscribers changed: `mqtt.settings_file`, or one in the folder of this device's state,
    /// see [`Config::store_file`]; `None` without any.
    pub fn settings_file(&self) -> Option<PathBuf> {
        search::state_file(&self.mqtt.settings_file, self.state_name("settings", "json"), &self.whose)
    }

    /// The file beside it that keeps under which names this device told.
    pub fn names_file(&self) -> Option<PathBuf> {
        Some(self.settings_file()?.with_file_name(self.state_name("names", "json")))
    }

    /// The file that keeps events which the broker has not taken: `mqtt.store.file`, or one in `$STATE_DIRECTORY`,
    /// `$XDG_STATE_HOME/tvsl` or `~/.local/state/tvsl`; `None` without any, or if none are to be kept.
    pub fn store_file(&self) -> Option<PathBuf> {
        let store = Some(&self.mqtt.store).filter(|store| store.enabled && self.mqtt.enabled)?;
        search::state_file(&store.file, self.state_name("events", "log"), &self.whose)
    }

    /// The same configuration for who looks after a service: of `/etc/tvsl/NAME.toml` its state lies in `/var/lib`, where
    /// systemd keeps it, unless `$STATE_DIRECTORY` is set or the service has never run. For looking alone: what runs or
    /// builds by itself keeps to its caller's folders, or it would write among what is the service's.
    #[must_use]
    pub fn of_service(mut self) -> Self {
        let file = self.written.as_ref().map(|written| written.file.as_path());
        self.whose = file.map_or(Whose::Caller, Whose::of_service);
        self.engine.tensorrt.spare = self.cache_dir();
        self
    }

    /// Whether nothing is to be kept that is computed, because it would be among what is a service's.
    pub fn only_looks(&self) -> bool {
        matches!(self.whose, Whose::Service(_))
    }

    /// The folder of the service's state if this user may not look into it.
    pub fn closed_state(&self) -> Option<&Path> {
        match &self.whose {
            Whose::Closed(folder) => Some(folder),
            Whose::Caller | Whose::Service(_) => None,
        }
    }

    /// The same folder if `file` lies in it.
    pub fn closed_to(&self, file: &Path) -> Option<&Path> {
        self.closed_state().filter(|state| file.starts_with(state))
    }

    /// Called after the configuration file, which stays what it is when the device is renamed, and after its folder: a
    /// user may have several of one name.
    fn state_name(&self, what: &str, ending: &str) -> String {
        let Some(written) = self.written.as_deref() else { return format!("{what}.{ending}") };
        let file = std::path::absolute(&written.file).unwrap_or_else(|_| written.file.clone());
        let stem = file.file_stem().unwrap_or_default().display().to_string();
        let sum = crc32fast::hash(file.as_os_str().as_encoded_bytes());
        format!("{what}-{stem}-{sum:08x}.{ending}")
    }
}
