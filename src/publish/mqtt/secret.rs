//! Passwords, keys and user names: from a file that only the service can read, or from a systemd credential.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::{bounded, rights};

/// A secret is smaller than this.
const LARGEST: u64 = 64 * 1024;
/// Where systemd lays the credentials of a service (`LoadCredential=`).
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Why a secret cannot be used; never holds any of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("{key}: {}: {}", path.display(), rights::denied(path, error))]
    Unreadable {
        /// Which setting names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's words.
        error: std::io::Error,
    },
    /// Everybody can read it.
    #[error("{key}: {}: every user of this machine can read it; {}", path.display(), rights::closing_secret(path))]
    Exposed {
        /// Which setting names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// It is to be a name.
    #[error("{key}: {}: it is no text, expected a user name in UTF-8", path.display())]
    NoText {
        /// Which setting names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// It holds nothing.
    #[error("{key}: {}: is empty, expected what the broker knows this client by", path.display())]
    Empty {
        /// Which setting names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// It is larger than any password or key.
    #[error("{key}: {}: larger than {LARGEST} bytes, so it is no secret", path.display())]
    TooLarge {
        /// Which setting names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
    },
}

impl SecretError {
    /// The dotted key of the setting that names it.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Unreadable { key, .. }
            | Self::Exposed { key, .. }
            | Self::NoText { key, .. }
            | Self::Empty { key, .. }
            | Self::TooLarge { key, .. } => key,
        }
    }

    /// Whether it is only that a file is not there. Credentials come before the service, or never.
    pub fn is_late(&self) -> bool {
        let Self::Unreadable { path, error, .. } = self else { return false };
        error.kind() == ErrorKind::NotFound && path.components().count() > 1
    }

    /// Whether it may be there for the service, to which alone systemd shows its credentials.
    pub fn may_be_credential(&self) -> bool {
        let Self::Unreadable { path, error, .. } = self else { return false };
        let hidden = std::env::var_os(CREDENTIALS).is_none() && error.kind() == ErrorKind::NotFound;
        hidden && path.components().count() == 1
    }
}

/// The secret that the setting `key` names: a credential of this service if `name` is the bare name of
/// one, else the file. White space at its end is not part of it.
pub(super) fn read(key: &'static str, name: &Path) -> Result<Vec<u8>, SecretError> {
    let folder = std::env::var_os(CREDENTIALS).map(PathBuf::from);
    read_in(key, name, folder.as_deref())
}

/// The same of a secret that is text.
pub(super) fn read_text(key: &'static str, name: &Path) -> Result<String, SecretError> {
    String::from_utf8(read(key, name)?).map_err(|_| SecretError::NoText { key, path: name.into() })
}

fn read_in(key: &'static str, name: &Path, credentials: Option<&Path>) -> Result<Vec<u8>, SecretError> {
    let bare = name.components().count() == 1;
    let credential =
        credentials.filter(|_| bare).map(|folder| folder.join(name)).filter(|path| path.exists());
    let path = credential.clone().unwrap_or_else(|| name.into());
    let unreadable = |error| SecretError::Unreadable { key, path: path.clone(), error };
    let file = std::fs::File::open(&path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    if credential.is_none() && mode & 0o007 != 0 {
        return Err(SecretError::Exposed { key, path });
    }
    let mut secret = bounded::read_opened(file, LARGEST).map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => SecretError::TooLarge { key, path: path.clone() },
        _ => unreadable(error),
    })?;
    secret.truncate(secret.trim_ascii_end().len());
    if secret.is_empty() { Err(SecretError::Empty { key, path }) } else { Ok(secret) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};

    const KEY: &str = "mqtt.password_file";

    fn file(folder: &Path, name: &str, mode: u32) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, "hunter2\n").expect("room for a file");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("our own file");
        path
    }

    #[test]
    fn a_secret_is_a_closed_file_or_a_credential() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let closed = file(folder.path(), "closed", 0o600);
        assert_eq!(read_in(KEY, &closed, None).expect("closed"), b"hunter2");
        file(folder.path(), "password", 0o444); // systemd guards the folder
        assert_eq!(read_in(KEY, Path::new("password"), Some(folder.path())).expect("one"), b"hunter2");
    }

    #[test]
    fn what_everybody_can_read_is_no_secret_and_is_never_shown() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let open = file(folder.path(), "open", 0o644);
        let told = read_in(KEY, &open, None).expect_err("it is open").to_string();
        assert!(told.contains("chgrp video") && !told.contains("hunter2"), "{told}");
        let empty = file(folder.path(), "empty", 0o600);
        fs::write(&empty, "\n").expect("our own file");
        assert!(matches!(read_in(KEY, &empty, None), Err(SecretError::Empty { .. })));
        fs::write(&open, vec![b'x'; LARGEST as usize + 1]).expect("room for a file");
        fs::set_permissions(&open, Permissions::from_mode(0o600)).expect("our own file");
        assert!(matches!(read_in(KEY, &open, None), Err(SecretError::TooLarge { .. })));
        let missing =
            read_in(KEY, &folder.path().join("none"), None).expect_err("it is not there").to_string();
        assert!(missing.starts_with(KEY), "{missing}");
    }
}
