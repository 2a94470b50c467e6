//! The ledger as a file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::Medium;

/// A file that only its owner can read.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    file: Option<File>,
}

impl Disk {
    /// The file at `path`, which is made with its folder when something is first written.
    pub fn new(path: PathBuf) -> Self {
        Self { path, file: None }
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

    /// Makes a file with its folder, and its name outlast a power cut.
    fn create(&self, path: &Path, anew: bool) -> io::Result<File> {
        fs::create_dir_all(self.folder())?;
        let file = OpenOptions::new().write(true).create(true).truncate(anew).mode(0o600).open(path)?;
        File::open(self.folder())?.sync_all()?;
        Ok(file)
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
        match fs::read(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            read => read,
        }
    }

    fn append(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => self.create(&self.path, false)?,
        };
        let file = self.file.insert(file);
        if file.metadata()?.len() != at {
            file.set_len(at)?;
        }
        file.write_all_at(bytes, at)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), File::sync_data)
    }

    fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
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
        assert_eq!(Disk::new(path.clone()).read().expect("a file"), b"one 3", "the rest is cut off");
        disk.replace(b"new").and_then(|()| disk.append(3, b"er")).expect("room");
        assert_eq!(disk.read().expect("a file"), b"newer");
        assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
        let names = fs::read_dir(path.parent().expect("a folder")).expect("a folder").count();
        assert_eq!(names, 1, "no part is left");
    }

    #[test]
    fn a_place_that_cannot_be_is_an_error_and_no_panic() {
        let mut disk = Disk::new("/proc/no/such/events.log".into());
        assert!(disk.append(0, b"x").is_err() && disk.replace(b"x").is_err());
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(Disk::new(folder.path().join("a/b/events.log")).fault(), None);
        fs::write(folder.path().join("a"), "").expect("room");
        let fault = Disk::new(folder.path().join("a/b/events.log")).fault();
        assert!(fault.is_some_and(|fault| fault.ends_with("/a is no folder")));
    }
}
