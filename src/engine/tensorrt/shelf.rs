//! Where plans lie: in the model folder, or where that cannot be written to, as an installed package by the service, in a
//! folder of the model's own elsewhere.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::plan::{self, path};
use super::sources::sha256;

/// The places of plans.
#[derive(Debug, Clone, Default)]
pub struct Shelf {
    /// A folder that can be written to, for the plans of model folders that cannot.
    spare: Option<PathBuf>,
}

impl Shelf {
    /// A shelf that has `spare` for what model folders cannot take.
    pub fn new(spare: Option<PathBuf>) -> Self {
        Self { spare }
    }

    /// The plans of `onnx`: one where it is written to, then one in the other place, put there by someone with more rights or
    /// with fewer. Which of them is good their sidecars tell, not the place.
    pub fn plans(&self, onnx: &Path) -> Vec<PathBuf> {
        let place = self.place(onnx);
        let both = std::iter::once(path(onnx)).chain(self.own(onnx));
        let mut plans: Vec<PathBuf> = both.filter(|plan| plan::is_there(plan)).collect();
        plans.sort_by_key(|plan| *plan != place);
        plans
    }

    /// Where a new plan of `onnx` is written to.
    pub fn place(&self, onnx: &Path) -> PathBuf {
        let shared = path(onnx);
        if takes_files(&shared) { shared } else { self.own(onnx).unwrap_or(shared) }
    }

    /// The place of a plan outside its model folder.
    fn own(&self, onnx: &Path) -> Option<PathBuf> {
        let folder = onnx.parent().unwrap_or(Path::new("."));
        let whole = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        let name = whole.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let key = &sha256(whole.as_os_str().as_encoded_bytes())[..8];
        let own = self.spare.as_ref()?.join("tensorrt").join(format!("{name}-{key}"));
        Some(own.join(path(onnx).file_name().unwrap_or_default()))
    }
}

/// Whether the folder of `plan` can be written to, or made.
fn takes_files(plan: &Path) -> bool {
    let folder = plan.parent().unwrap_or(Path::new("."));
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = if folder.exists() { folder } else { above };
    written.is_dir() && access(written, Access::WRITE_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn plans_lie_in_the_model_folder_or_in_one_place_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let (model, spare) = (folder.path().join("model"), folder.path().join("state"));
        fs::create_dir(&model).unwrap();
        let onnx = model.join("image.onnx");
        let shelf = Shelf::new(Some(spare.clone()));
        let shared = model.join("tensorrt/image.plan");
        assert_eq!((shelf.place(&onnx), shelf.plans(&onnx)), (shared.clone(), vec![]));

        // A service wrote its own while the folder could not be written to; whoever can sees it all the same.
        let write = |plan: &Path| {
            fs::create_dir_all(plan.parent().unwrap()).unwrap();
            fs::write(plan, "a plan").unwrap();
        };
        fs::write(model.join("tensorrt"), "in the way").unwrap();
        let own = shelf.place(&onnx);
        assert!(own.starts_with(spare.join("tensorrt")) && own.ends_with("image.plan"), "{}", own.display());
        assert_eq!(Shelf::default().place(&onnx), shared, "there is nowhere else");
        write(&own);
        fs::remove_file(model.join("tensorrt")).unwrap();
        assert_eq!((shelf.place(&onnx), shelf.plans(&onnx)), (shared.clone(), vec![own.clone()]));
        write(&shared);
        assert_eq!(shelf.plans(&onnx), [shared.clone(), own]);

        let other = folder.path().join("other/model");
        fs::create_dir_all(&other).unwrap();
        fs::write(other.join("tensorrt"), "in the way").unwrap();
        assert_ne!(shelf.place(&other.join("image.onnx")).parent(), shelf.own(&onnx).unwrap().parent());
    }
}
