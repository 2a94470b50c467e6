//! Whether the configuration file was changed. Looked at once in a second, told when the change has come to rest: two
//! looks alike. Pure: what a look saw is an argument.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Time between two looks.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// Tells one state of a file from another, whether an editor writes into it or puts a new one in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    file: (u64, u64),
    size: u64,
    changed: (i64, i64),
}

impl Mark {
    /// The state of `file`, or of what it links to; `None` while it is away.
    pub fn of(file: &Path) -> Option<Self> {
        let about = std::fs::metadata(file).ok()?;
        let (file, changed) = ((about.dev(), about.ino()), (about.ctime(), about.ctime_nsec()));
        Some(Self { file, size: about.size(), changed })
    }
}

/// A configuration file, as it stood before it was read: what is changed from then on is noticed.
#[derive(Debug, Clone)]
pub struct Watched {
    pub(super) file: PathBuf,
    pub(super) mark: Option<Mark>,
}

impl Watched {
    /// This file, which is not read yet.
    pub fn before_reading(file: &Path) -> Self {
        Self { file: file.into(), mark: Mark::of(file) }
    }
}

/// What became of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edit {
    /// It is another, or came back.
    Changed,
    /// It is away.
    Gone,
}

/// What is known of the file.
#[derive(Debug, Default)]
pub(super) struct Edited {
    /// When it was last read.
    read: Option<Mark>,
    /// At the last look.
    seen: Option<Mark>,
}

impl Edited {
    /// The file is read now, as `mark` has it.
    pub fn read(&mut self, mark: Option<Mark>) {
        (self.read, self.seen) = (mark, mark);
    }

    /// Takes a look; tells every change once, and once that the file is away.
    pub fn look(&mut self, mark: Option<Mark>) -> Option<Edit> {
        let rests = std::mem::replace(&mut self.seen, mark) == mark;
        let changed = rests && mark != self.read;
        if changed {
            self.read = mark;
        }
        changed.then_some(if mark.is_some() { Edit::Changed } else { Edit::Gone })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(inode: u64, size: u64) -> Option<Mark> {
        Some(Mark { file: (1, inode), size, changed: (0, 0) })
    }

    fn looks(marks: &[Option<Mark>]) -> Vec<Option<Edit>> {
        let mut edited = Edited::default();
        edited.read(mark(1, 10));
        marks.iter().map(|mark| edited.look(*mark)).collect()
    }

    #[test]
    fn a_change_is_told_once_when_it_rests() {
        const CHANGED: Option<Edit> = Some(Edit::Changed);
        let steps = [mark(1, 10), mark(1, 4), mark(1, 7), mark(1, 20), mark(1, 20), mark(1, 20)];
        assert_eq!(looks(&steps), [None, None, None, None, CHANGED, None], "written piece by piece");
        let steps = [mark(2, 12), mark(2, 12), mark(2, 12)];
        assert_eq!(looks(&steps), [None, CHANGED, None], "a new file in its place");
        assert_eq!(looks(&[None, mark(3, 10), mark(3, 10)]), [None, None, CHANGED], "away for a moment");
        assert_eq!(looks(&[mark(1, 9), mark(1, 10), mark(1, 10)]), [None; 3], "changed back in time");
        let steps = [None, None, None, mark(1, 10), mark(1, 10), mark(1, 10)];
        let told = [None, Some(Edit::Gone), None, None, CHANGED, None];
        assert_eq!(looks(&steps), told, "away, and the same again");
    }

    #[test]
    fn a_file_is_known_by_its_state_and_not_by_its_name() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (file, other) = (folder.path().join("a"), folder.path().join("b"));
        assert_eq!(Mark::of(&file), None);
        std::fs::write(&file, "one").expect("room for a file");
        std::fs::write(&other, "two").expect("room for a file");
        let first = Mark::of(&file);
        assert_eq!(Mark::of(&file), first);
        std::fs::rename(&other, &file).expect("renamed");
        assert_ne!(Mark::of(&file), first);
    }
}
