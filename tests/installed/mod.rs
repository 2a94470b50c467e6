//! A machine on which a service is installed: a program sees an /etc and a /var/lib of its own there, in a mount namespace.
#![allow(dead_code, reason = "every test file uses its own part of it")]

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// The configuration of the service `tvsl@hall` there.
pub const CONFIG: &str = "/etc/tvsl/hall.toml";

/// The state of a service lies as systemd has it: a link into a folder that is root's alone (DynamicUser=).
const SCRIPT: &str = r#"
mount -t tmpfs none /var/lib
cp -a /etc /var/lib/etc
mkdir -p /var/lib/etc/tvsl
cp "$1" /var/lib/etc/tvsl/hall.toml
mount --bind /var/lib/etc /etc
if [ -d "$2" ]; then
    mkdir -p -m 700 /var/lib/private
    mkdir /var/lib/private/tvsl-hall
    mount --bind "$2" /var/lib/private/tvsl-hall
    ln -s private/tvsl-hall /var/lib/tvsl-hall
fi
shift 2
exec "$@"
"#;
/// Words before a program that make it somebody who is not root.
const NOBODY: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

/// A configuration, the state of its service, and a home.
pub struct Installed(TempDir);

impl Installed {
    /// `None`, which is told, where a test may not have an /etc of its own.
    pub fn new(config: &str) -> Option<Self> {
        let mut mount = Command::new("unshare");
        mount.args(["--mount", "mount", "-t", "tmpfs", "none", "/var/lib"]);
        if !mount.output().is_ok_and(|output| output.status.success()) {
            println!("skipped: not root, or no rights to mount");
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("hall.toml"), config).expect("room for a file");
        let installed = Self(folder);
        fs::create_dir(installed.state()).expect("room for a folder");
        fs::create_dir(installed.home()).expect("room for a folder");
        for (path, mode) in [(installed.0.path().into(), 0o755), (installed.home(), 0o777)] {
            fs::set_permissions(path, Permissions::from_mode(mode)).expect("our own folder");
        }
        Some(installed)
    }

    /// The service's state, as it is seen from outside.
    pub fn state(&self) -> PathBuf {
        self.0.path().join("state")
    }

    /// The home of whoever calls the program, to which anybody may write.
    pub fn home(&self) -> PathBuf {
        self.0.path().join("home")
    }

    /// Names of all files and folders in the service's state.
    pub fn kept(&self) -> Vec<String> {
        let names = fs::read_dir(self.state()).expect("its folder").flatten();
        names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// The name of a file of the service's state.
    pub fn name(what: &str, ending: &str) -> String {
        format!("{what}-hall-{:08x}.{ending}", crc32fast::hash(CONFIG.as_bytes()))
    }

    /// `command` as root does it there, whom no variable tells where the service's state is.
    pub fn root(&self, command: &Command) -> Command {
        self.as_user(&[], command)
    }

    /// The same as somebody else does it; `None`, which is told, where nobody but root may start the program.
    pub fn nobody(&self, command: &Command) -> Option<Command> {
        let start = NOBODY.iter().copied().chain(["test", "-x"]);
        let start: Vec<&OsStr> = start.map(OsStr::new).chain([command.get_program()]).collect();
        let may = Command::new(start[0]).args(&start[1..]).status().is_ok_and(|status| status.success());
        if !may {
            println!("skipped: only root may start {}", command.get_program().display());
        }
        may.then(|| self.as_user(&NOBODY, command))
    }

    fn as_user(&self, user: &[&str], command: &Command) -> Command {
        let mut there = Command::new("unshare");
        there.args(["--mount", "sh", "-ec", SCRIPT, "sh"]).arg(self.0.path().join("hall.toml"));
        there.arg(self.state()).args(user).arg(command.get_program()).args(command.get_args());
        for variable in ["STATE_DIRECTORY", "CACHE_DIRECTORY", "XDG_STATE_HOME", "XDG_CACHE_HOME", "TVSL_LOG"]
        {
            there.env_remove(variable);
        }
        there.env("HOME", self.home()).env("TVSL_CONFIG", CONFIG);
        for (name, value) in command.get_envs() {
            let _ = match value {
                Some(value) => there.env(name, value),
                None => there.env_remove(name),
            };
        }
        there
    }
}
