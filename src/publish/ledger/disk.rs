//! The ledger as a file.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::Medium;

/// A file that only its owner can read, and that only one program at a time keeps its events in.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    /// Locked for as long as it is held.
    file: Option<File>,
    /// Another program held it: what it keeps there is not to be written over, not even later.
    foreign: bool,
}

impl Disk {
    /// The file at `path`, which is made with its folder when it is first used.
    pub fn new(path: PathBuf) -> Self {
        Self { path, file: None, foreign: false }
    }

    /// Why nothing can be kept there, as far as can be told without writing.
    pub fn fault(&self) -> Option<String> {
        let folder = std::path::absolute(self.folder()).ok()?;
        let there = folder.ancestors().find(|folder| folder.exists())?;
        let shown = there.display();
        if !there.is_dir() {
            return Some(format!("{shown} is no folder"));
        }
        let rights = Access::READ_OK | Access::WRITE_OK;
        let refused = |path: &Path| path.exists() && access(path, rights).is_err();
        if access(there, Access::WRITE_OK | Access::EXEC_OK).is_err() {
            Some(format!("this user may not write into {shown}"))
        } else if let Err(error) = self.judge() {
            Some(error.to_string())
        } else if refused(&self.path) {
            Some(format!("this user may not read and write {}", self.path.display()))
        } else {
            None
        }
    }

    fn folder(&self) -> &Path {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
    }

    /// Makes a file with its folder, its name outlasting a power cut, or opens the one that is there; and locks it.
    fn create(&self, path: &Path, anew: bool) -> io::Result<File> {
        fs::create_dir_all(self.folder())?;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(anew).mode(0o600).open(path)?;
        File::open(self.folder())?.sync_all()?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => ErrorKind::ResourceBusy.into(),
            TryLockError::Error(error) => error,
        })?;
        Ok(file)
    }

    /// The file, for this program alone.
    fn claim(&mut self) -> io::Result<File> {
        loop {
            self.judge()?;
            let file = match self.create(&self.path, false) {
                Err(error) if error.kind() == ErrorKind::ResourceBusy => {
                    self.foreign = true;
                    return Err(self.busy());
                }
                opened => opened?,
            };
            // Its former owner may have put another file in its place just before.
            if fs::metadata(&self.path)?.ino() == file.metadata()?.ino() {
                return Ok(file);
            }
        }
    }

    /// A device or a pipe is not to be read to its end, nor to be replaced.
    fn judge(&self) -> io::Result<()> {
        match fs::metadata(&self.path) {
            Ok(about) if !about.is_file() => {
                Err(io::Error::other(format!("{} is no file", self.path.display())))
            }
            _ => Ok(()),
        }
    }

    fn busy(&self) -> io::Error {
        let (file, cure) = (self.path.display(), "give each of them a [mqtt.store] file of its own");
        let reason =
            format!("{file} holds the events of another tvsl that runs; {cure}, and start this one again");
        io::Error::new(ErrorKind::ResourceBusy, reason)
    }

    /// The file that is held; claimed if it is not yet.
    fn held(&mut self) -> io::Result<&mut File> {
        let file = match self.file.take() {
            Some(file) => file,
            None if self.foreign => return Err(self.busy()),
            None => self.claim()?,
        };
        Ok(self.file.insert(file))
    }

    /// Writes `bytes` for good to a file that takes this one's place.
    fn write_beside(&self, part: &Path, bytes: &[u8]) -> io::Result<File> {
        let mut file = self.create(part, true)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(part, &self.path)?;
        File::open(self.folder())?.sync_all()?;
        Ok(file)
    }
}

impl Medium for Disk {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        self.judge()?;
        let mut bytes = Vec::new();
        match self.held() {
            Ok(file) => file.rewind().and_then(|()| file.read_to_end(&mut bytes)).map(|_| bytes),
            Err(error) if error.kind() == ErrorKind::ResourceBusy => Err(error),
            // A disk that can only be read still has what was written.
            Err(_) => match fs::read(&self.path) {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
                read => read,
            },
        }
    }

    fn append(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let file = self.held()?;
        if file.metadata()?.len() != at {
            file.set_len(at)?;
        }
        file.write_all_at(bytes, at)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), File::sync_data)
    }

    fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.held()?;
        let part = self.path.with_extension("part");
        let file = self.write_beside(&part, bytes).inspect_err(|_| drop(fs::remove_file(&part)))?;
        self.file = Some(file);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_written_is_read_and_kept_from_others() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("deeper/events.log");
        let mut disk = Disk::new(path.clone());
        assert_eq!(disk.read().expect("no file yet"), b"");
        disk.append(0, b"one two").and_then(|()| disk.sync()).expect("room");
        disk.append(4, b"3").expect("room");
        assert_eq!(fs::read(&path).expect("a file"), b"one 3", "the rest is cut off");
        disk.replace(b"new").and_then(|()| disk.append(3, b"er")).expect("room");
        drop(disk);
        assert_eq!(Disk::new(path.clone()).read().expect("a file"), b"newer");
        assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
        let names = fs::read_dir(path.parent().expect("a folder")).expect("a folder").count();
        assert_eq!(names, 1, "no part is left");
    }

    #[test]
    fn another_program_s_events_are_left_alone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("events.log");
        let (mut first, mut second) = (Disk::new(path.clone()), Disk::new(path.clone()));
        first.append(0, b"mine").expect("room");
        let mut refused = || {
            let error = second.read().expect_err("it is held").to_string();
            assert!(error.contains("another tvsl") && error.contains("of its own"), "{error}");
            assert!(second.append(0, b"yours").is_err() && second.replace(b"yours").is_err());
        };
        refused();
        first.replace(b"still mine").expect("room");
        refused();
        assert_eq!(fs::read(&path).expect("a file"), b"still mine");
        drop(first);
        refused();
        assert_eq!(Disk::new(path).read().expect("it is free"), b"still mine");
    }

    #[test]
    fn a_place_that_cannot_be_is_an_error_and_no_panic() {
        let mut disk = Disk::new("/proc/no/such/events.log".into());
        assert!(disk.append(0, b"x").is_err() && disk.replace(b"x").is_err());
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(Disk::new(folder.path().join("a/b/events.log")).fault(), None);
        fs::write(folder.path().join("a"), "").expect("room");
        for file in ["/dev/null", "/dev/zero", "/proc"] {
            let mut disk = Disk::new(file.into());
            let refused = [disk.read().map(drop), disk.append(0, b"x"), disk.replace(b"x")];
            assert!(refused.iter().all(|result| result.is_err()), "{file}: {refused:?}");
        }
        let fault = Disk::new(folder.path().join("a/b/events.log")).fault();
        assert!(fault.is_some_and(|fault| fault.ends_with("/a is no folder")));
    }
}
