//! Where files are looked for: the configuration, the model, and what the configuration names.

use super::{Config, ConfigError};
use crate::bounded;
use std::ffi::OsString;
use std::fmt;
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// Where a configuration came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The file of `--config`.
    Argument(PathBuf),
    /// The file of `$TVSL_CONFIG`.
    Environment(PathBuf),
    /// The first of the usual places that has one.
    Found(PathBuf),
    /// No file: the built-in defaults.
    BuiltIn,
}

impl Origin {
    /// The file; `None` for the built-in defaults.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Argument(file) | Self::Environment(file) | Self::Found(file) => Some(file),
            Self::BuiltIn => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Argument(file) | Self::Found(file) => write!(f, "{}", file.display()),
            Self::Environment(file) => write!(f, "{} (from TVSL_CONFIG)", file.display()),
            Self::BuiltIn => f.write_str("built-in defaults (there is no tvsl.toml here or in /etc/tvsl)"),
        }
    }
}

impl Config {
    /// The usual places of a configuration file, in the order they are tried.
    pub const PLACES: [&str; 2] = ["tvsl.toml", "/etc/tvsl/tvsl.toml"];

    /// Where the configuration is: the first there is of `argument`, `environment` (the value of `TVSL_CONFIG`),
    /// [`Config::PLACES`], the built-in defaults. Reads nothing.
    pub fn origin(argument: Option<&Path>, environment: Option<&Path>) -> Origin {
        if let Some(file) = argument {
            Origin::Argument(file.into())
        } else if let Some(file) = environment.filter(|file| !file.as_os_str().is_empty()) {
            Origin::Environment(file.into())
        } else if let Some(file) = Self::PLACES.iter().find(|file| Path::new(file).symlink_metadata().is_ok())
        {
            Origin::Found(file.into())
        } else {
            Origin::BuiltIn
        }
    }
}

/// The text of `file`, if it can be a configuration at all.
pub(super) fn read(file: &Path) -> Result<String, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { file: file.into(), source };
    // Opening a pipe waits for its writer, who may never come.
    if std::fs::metadata(file).is_ok_and(|about| about.file_type().is_fifo()) {
        return Err(unreadable(std::io::Error::other("it is a pipe, expected a file")));
    }
    let bytes = bounded::read(file, bounded::TEXT).map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => ConfigError::TooLarge { file: file.into(), limit: bounded::TEXT },
        _ => unreadable(error),
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..good].iter().filter(|&&b| b == b'\n').count() + 1;
        ConfigError::NotText { file: file.into(), line, byte: error.as_bytes()[good] }
    })
}

fn listed(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// The folder of the model, or that no place holds it.
pub(super) fn model_dir(path: &Path, base: Option<&Path>) -> Result<PathBuf, String> {
    let mut looked: Vec<PathBuf> = base.map(|base| base.join(path)).into_iter().collect();
    looked.extend(places(path));
    // Joining an absolute path yields that path each time.
    looked.dedup();
    match looked.iter().find(|folder| folder.join("manifest.toml").is_file()) {
        Some(folder) => Ok(folder.clone()),
        None => {
            let (path, looked) = (path.display(), listed(&looked));
            Err(format!("no model \"{path}\": there is no manifest.toml in {looked}"))
        }
    }
}

/// Where a file that ships with the program may lie: the working directory, `/usr/share/tvsl`, the
/// folders above the program.
pub fn places(path: &Path) -> Vec<PathBuf> {
    let program = std::env::current_exe().unwrap_or_default();
    let folders = [Path::new(""), Path::new("/usr/share/tvsl")];
    folders.into_iter().chain(program.ancestors().skip(1)).map(|folder| folder.join(path)).collect()
}

/// What a variable of the environment says, if it says anything.
fn said(variable: &str) -> Option<OsString> {
    std::env::var_os(variable).filter(|value| !value.is_empty())
}

/// The folder that a variable of the environment names.
fn folder(variable: &str) -> Option<PathBuf> {
    said(variable).map(PathBuf::from)
}

/// Whose state is meant where no variable of the environment names the folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Whose {
    /// That of whoever calls the program.
    #[default]
    Caller,
    /// That of a service, in this folder.
    Service(PathBuf),
    /// The same of a folder that the caller may not look into.
    Closed(PathBuf),
}

impl Whose {
    /// That of the service which runs `file`; the caller's where there is none, or the environment names a folder.
    pub(super) fn of_service(file: &Path) -> Self {
        let folder = service_folder(file).filter(|_| said("STATE_DIRECTORY").is_none());
        let Some(folder) = folder else { return Self::Caller };
        match std::fs::read_dir(&folder).map_err(|error| error.kind()) {
            Ok(_) => Self::Service(folder),
            Err(ErrorKind::PermissionDenied) => Self::Closed(folder),
            // Before its first start a service has none.
            Err(_) => Self::Caller,
        }
    }

    /// The folder of the service.
    fn folder(&self) -> Option<PathBuf> {
        match self {
            Self::Caller => None,
            Self::Service(folder) | Self::Closed(folder) => Some(folder.clone()),
        }
    }
}

/// Where systemd keeps the state of the service that runs `file`: tvsl.service, or one of the template's.
fn service_folder(file: &Path) -> Option<PathBuf> {
    let file = std::path::absolute(file).ok()?;
    let ours = file.parent()? == Path::new("/etc/tvsl") && file.extension()? == "toml";
    let name = file.file_stem()?.to_str().filter(|_| ours)?;
    let folder = if name == "tvsl" { name.to_owned() } else { format!("tvsl-{name}") };
    Some(Path::new("/var/lib").join(folder))
}

/// Where programs of this user, or this service, keep what must outlast them.
fn state_dir(whose: &Whose) -> Option<PathBuf> {
    folder("STATE_DIRECTORY")
        .or_else(|| whose.folder())
        .or_else(|| folder("XDG_STATE_HOME").map(|state| state.join("tvsl")))
        .or_else(|| folder("HOME").map(|home| home.join(".local/state/tvsl")))
}

/// The file `named`, or one called `name` in that folder if it is empty; `None` without any.
pub(super) fn state_file(named: &Path, name: String, whose: &Whose) -> Option<PathBuf> {
    let named = Some(named.to_path_buf()).filter(|path| !path.as_os_str().is_empty());
    named.or_else(|| state_dir(whose).map(|folder| folder.join(name)))
}

/// Where programs of this user, or this service, keep what can be computed again: a folder that can be looked into.
pub(super) fn cache_dir(whose: &Whose) -> Option<PathBuf> {
    let open = || Some(whose).filter(|whose| matches!(whose, Whose::Service(_))).and_then(Whose::folder);
    folder("CACHE_DIRECTORY")
        .or_else(|| folder("STATE_DIRECTORY"))
        .or_else(open)
        .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("tvsl")))
        .or_else(|| folder("HOME").map(|home| home.join(".cache/tvsl")))
}

/// The name of a device that was given none, as one level of a topic: the machine's host name; that of one of several
/// services (`tvsl@hall`) is told from the others' by `$TVSL_INSTANCE`, which its unit sets.
pub(super) fn device_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "tvsl" } else { host.trim() };
    let instance = said("TVSL_INSTANCE").map(|name| format!("-{}", name.display())).unwrap_or_default();
    format!("{host}{instance}").replace(['/', '+', '#'], "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_and_its_instances_have_their_state_where_their_units_put_it() {
        let folder = |file: &str| service_folder(Path::new(file));
        assert_eq!(folder("/etc/tvsl/tvsl.toml"), Some("/var/lib/tvsl".into()));
        assert_eq!(folder("/etc/tvsl/hall.toml"), Some("/var/lib/tvsl-hall".into()));
        for units in ["systemd/tvsl.service", "systemd/tvsl@.service"] {
            let unit = std::fs::read_to_string(units).expect("a unit");
            let said = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)).expect("its line");
            let [file, state] = [said("Environment=TVSL_CONFIG="), said("StateDirectory=")];
            let named = |text: &str| text.replace("%i", "hall");
            assert_eq!(folder(&named(file)), Some(Path::new("/var/lib").join(named(state))), "{units}");
        }
        for other in ["/etc/tvsl/tvsl.bak", "/etc/tvsl/old/tvsl.toml", "/etc/tvsl.toml", "tvsl.toml", "/"] {
            assert_eq!(folder(other), None, "{other}");
        }
    }
}
