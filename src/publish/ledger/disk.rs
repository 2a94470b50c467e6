//! The ledger as a file.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::{Medium, record};

/// A file that only its owner can read, and that only one program at a time keeps its events in.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    /// Locked for as long as it is held.
    file: Option<File>,
    /// Why it is not this program's: what it holds is not to be written over, not even later.
    foreign: Option<String>,
}

impl Disk {
    /// The file at `path`, which is made with its folder when it is first used.
    pub fn new(path: PathBuf) -> Self {
        Self { path, file: None, foreign: None }
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
                    return Err(self.refuse("the events of another tvsl that runs"));
                }
                opened => opened?,
            };
            // Its former owner may have put another file in its place just before.
            if fs::metadata(&self.path)?.ino() == file.metadata()?.ino() {
                return Ok(file);
            }
        }
    }

    /// Leaves the file alone from now on, for what it holds.
    fn refuse(&mut self, holds: &str) -> io::Error {
        self.file = None;
        let file = self.path.display();
        self.foreign =
            Some(format!("{file} holds {holds}; name a file of its own in [mqtt.store], and start again"));
        self.refused()
    }

    fn refused(&self) -> io::Error {
        io::Error::new(ErrorKind::ResourceBusy, self.foreign.clone().unwrap_or_default())
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

    /// The file that is held; claimed if it is not yet.
    fn held(&mut self) -> io::Result<&mut File> {
        let file = match self.file.take() {
            Some(file) => file,
            None if self.foreign.is_some() => return Err(self.refused()),
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

/// All of `file`, if its beginning may be that of a log.
fn log(mut file: &mut File) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    Read::take(&mut file, record::SPAN).read_to_end(&mut bytes)?;
    if !record::may_be(&bytes) {
        return Ok(None);
    }
    file.read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

impl Medium for Disk {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        self.judge()?;
        match self.held().and_then(|file| file.rewind().and_then(|()| log(file))) {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(self.refuse("something else than events")),
            Err(error) if error.kind() == ErrorKind::ResourceBusy => Err(error),
            // A disk that can only be read still has what was written.
            Err(error) => fs::read(&self.path).map_err(|_| error),
        }
    }

    fn append(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let about = self.held()?.metadata()?;
        if about.nlink() == 0 {
            self.file = None;
            return Err(ErrorKind::NotFound.into()); // somebody deleted it
        }
        let file = self.held()?;
        if about.len() != at {
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
        disk.append(0, b"TVE1two").and_then(|()| disk.sync()).expect("room");
        disk.append(4, b"3").expect("room");
        assert_eq!(fs::read(&path).expect("a file"), b"TVE13", "the rest is cut off");
        disk.replace(b"TVE1new").and_then(|()| disk.append(7, b"er")).expect("room");
        drop(disk);
        assert_eq!(Disk::new(path.clone()).read().expect("a file"), b"TVE1newer");
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
        first.replace(b"TVE1 mine").expect("room");
        refused();
        assert_eq!(fs::read(&path).expect("a file"), b"TVE1 mine");
        drop(first);
        refused();
        assert_eq!(Disk::new(path).read().expect("it is free"), b"TVE1 mine");
    }

    #[test]
    fn what_is_no_log_is_left_alone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("precious.txt");
        fs::write(&path, "the only copy of something").expect("room");
        let mut disk = Disk::new(path.clone());
        let error = disk.read().expect_err("no log").to_string();
        assert!(error.contains("something else than events"), "{error}");
        assert!(disk.append(0, b"x").is_err() && disk.replace(b"x").is_err());
        assert_eq!(fs::read(&path).expect("a file"), b"the only copy of something");
    }

    #[test]
    fn a_log_that_was_deleted_is_told_and_made_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("events.log");
        let mut disk = Disk::new(path.clone());
        disk.append(0, b"one").expect("room");
        fs::remove_file(&path).expect("a file");
        assert_eq!(disk.append(3, b"two").expect_err("it is gone").kind(), ErrorKind::NotFound);
        disk.replace(b"onetwo").expect("room");
        assert_eq!(fs::read(&path).expect("a file"), b"onetwo");
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
