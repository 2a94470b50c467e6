//! The device files of cameras and sound cards, and whether this user may open them.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use serde::Serialize;

/// What lets a user open them.
const CURE: &str = "`sudo usermod -aG video,audio $USER`, then log in again";

/// The device files that there are.
pub(super) struct Nodes {
    /// Those that may be opened.
    pub open: Vec<PathBuf>,
    /// The first that may not.
    pub refused: Option<Refused>,
}

/// A device file that this user may not open, and what would let them.
#[derive(Serialize)]
pub(super) struct Refused {
    /// What was found.
    pub problem: String,
    /// What to do.
    pub cure: &'static str,
}

impl Nodes {
    /// Those of this machine.
    pub fn here() -> Self {
        let may_open = |path: &Path| access(path, Access::READ_OK | Access::WRITE_OK).is_ok();
        Self::within(&["/dev/snd", "/dev"].map(Path::new), may_open)
    }

    fn within(folders: &[&Path], may_open: impl Fn(&Path) -> bool) -> Self {
        let entries = folders.iter().filter_map(|folder| folder.read_dir().ok()).flatten().flatten();
        let mut nodes: Vec<_> = entries.map(|entry| entry.path()).filter(|path| captures(path)).collect();
        nodes.sort();
        let (open, refused): (Vec<_>, Vec<_>) = nodes.into_iter().partition(|path| may_open(path));
        let problem = refused.first().map(|path| format!("this user may not open {}", path.display()));
        Self { open, refused: problem.map(|problem| Refused { problem, cure: CURE }) }
    }
}

/// Whether a device file is a camera's, or a sound card's to record from.
fn captures(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("video") || (name.starts_with("pcm") && name.ends_with('c'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_be_opened_is_told_with_its_cure() {
        let folder = tempfile::tempdir().expect("a folder");
        let cards = folder.path().join("snd");
        std::fs::create_dir(&cards).expect("room for a folder");
        for name in ["video0", "null", "snd/pcmC0D0c", "snd/pcmC0D0p", "snd/controlC0"] {
            std::fs::write(folder.path().join(name), "").expect("room for a file");
        }
        let look = |may_open: fn(&Path) -> bool| Nodes::within(&[&cards, folder.path()], may_open);
        let all = look(|_| true);
        assert_eq!((all.open.len(), all.refused.is_none()), (2, true));
        let some = look(|path| !path.ends_with("video0"));
        let refused = some.refused.expect("a camera that is kept from this user");
        assert_eq!(some.open, [cards.join("pcmC0D0c")]);
        assert!(
            refused.problem.ends_with("/video0") && refused.cure.contains("usermod"),
            "{}",
            refused.problem
        );
    }
}
