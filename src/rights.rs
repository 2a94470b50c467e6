//! Who may read a file that holds a secret, and what would let those read it who have to.

use std::fmt;
use std::fs::Metadata;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What keeps `file` from others and leaves it to its owner and to the service. The service has a user of its own only
/// while it runs, so nothing can be given to that; its groups are there always.
pub fn closing(file: &Path) -> String {
    let file = file.display();
    format!(
        "`sudo chgrp video {file} && sudo chmod 640 {file}` leaves it to its owner and the group video, to which the service belongs"
    )
}

/// The same of a file that systemd can hand over, too.
pub fn closing_secret(file: &Path) -> String {
    format!("{}; or systemd hands it over (LoadCredential=, see docs/install.md)", closing(file))
}

/// Why `file` cannot be read: the system's words, and where rights are missing who it was that tried, and the cure.
pub fn denied(file: &Path, error: &Error) -> String {
    if error.kind() != ErrorKind::PermissionDenied {
        return error.to_string();
    }
    let hidden = file.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
    let cure = match file.metadata() {
        _ if hidden => "move it into a folder that everybody may enter, such as /etc/tvsl".into(),
        Ok(about) if serves(&about) => {
            let groups = groups();
            let group = name(about.gid(), &groups).unwrap_or_default();
            format!(
                "the service may read it, and so may who is in the group {group}, or root: try it with `sudo`"
            )
        }
        _ => closing(file),
    };
    format!("{error}, as {}; {cure}", User::of_this_process())
}

/// Whether the service may read this file of root's.
pub fn serves(about: &Metadata) -> bool {
    serve(about.mode(), about.gid(), &groups())
}

fn groups() -> String {
    std::fs::read_to_string("/etc/group").unwrap_or_default()
}

/// The same by a file's mode and group, and the lines of /etc/group.
fn serve(mode: u32, group: u32, groups: &str) -> bool {
    let service = ["video", "audio", "render"];
    let ours = name(group, groups).is_some_and(|name| service.contains(&name));
    mode & 0o004 != 0 || (mode & 0o040 != 0 && ours)
}

/// A user, by number and by name if there is one.
struct User {
    id: u32,
    name: Option<String>,
}

impl User {
    fn of_this_process() -> Self {
        let id = rustix::process::geteuid().as_raw();
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        Self { id, name: name(id, &users).map(str::to_owned) }
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "user {name}"),
            None => write!(f, "user {}", self.id),
        }
    }
}

/// Who has the number `id` in the lines of /etc/passwd or /etc/group.
fn name(id: u32, lines: &str) -> Option<&str> {
    let mut named = lines.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some((fields.next()?, fields.nth(1)?.parse::<u32>().ok()?))
    });
    named.find_map(|(name, number)| (number == id).then_some(name))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const GROUPS: &str = "root:x:0:\nbroken\nvideo:x:44:me,you\nusers:x:100:\n";

    #[test]
    fn the_service_reads_what_is_everybodys_or_its_groups() {
        for (mode, group, may) in [
            (0o100_644, 0, true),
            (0o100_640, 44, true),
            (0o100_640, 0, false),
            (0o100_640, 100, false),
            (0o100_600, 44, false),
            (0o100_640, 7, false),
        ] {
            assert_eq!(serve(mode, group, GROUPS), may, "{mode:o} of group {group}");
        }
    }

    #[test]
    fn a_user_without_a_name_has_a_number() {
        assert_eq!(name(44, GROUPS), Some("video"));
        let told = |name: Option<&str>| User { id: 61_184, name: name.map(str::to_owned) }.to_string();
        assert_eq!((told(Some("me")), told(None)), ("user me".into(), "user 61184".into()));
    }

    #[test]
    fn only_missing_rights_are_told_with_who_tried() {
        let file = tempfile::NamedTempFile::new().expect("room for a file");
        let told = |kind| denied(file.path(), &Error::from(kind));
        assert!(!told(ErrorKind::NotFound).contains("user"), "{}", told(ErrorKind::NotFound));
        let closed = told(ErrorKind::PermissionDenied);
        assert!(closed.contains(", as user ") && closed.contains("; `sudo chgrp video /"), "{closed}");
        // Where the service may read it already, that is no cure.
        file.as_file().set_permissions(Permissions::from_mode(0o644)).expect("our own file");
        let open = told(ErrorKind::PermissionDenied);
        assert!(!open.contains("chgrp") && open.contains("try it with `sudo`"), "{open}");
    }
}
