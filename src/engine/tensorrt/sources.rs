//! What a plan is built from: the files, and the SHA-256 of each.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::error::TensorRtError;
use super::onnx;
use super::target::PlanFault;
use crate::bounded;

/// The file beside a graph that says what it will be given, and so decides the shapes of its plan.
pub(super) const MANIFEST: &str = "manifest.toml";

/// What a plan is built from, as it stood before that: the files, and the SHA-256 of each by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// The ONNX file of the graph, and the one that is compiled: the same, or its form in half precision beside it.
    files: [PathBuf; 2],
    sums: BTreeMap<String, String>,
}

impl Sources {
    /// These files with what belongs to them, none of which is parsed yet but the manifest, whose SHA-256 was `manifest` before.
    ///
    /// # Errors
    /// If a file cannot be read, or [`PlanFault::Changed`] of the manifest.
    pub fn of(files: [&Path; 2], manifest: Option<&str>) -> Result<Self, TensorRtError> {
        let sums = sums(files, &Known::default())?;
        let files = files.map(Path::to_owned);
        if manifest.is_some_and(|before| sums.get(MANIFEST).is_none_or(|now| now != before)) {
            return Err(PlanFault::Changed { file: files[0].with_file_name(MANIFEST) }.into());
        }
        Ok(Self { files, sums })
    }

    /// The one that is compiled.
    pub(super) fn compiled(&self) -> &Path {
        &self.files[1]
    }

    /// What they hold.
    pub(super) fn sums(&self) -> &BTreeMap<String, String> {
        &self.sums
    }

    /// That they are still the same.
    pub(super) fn hold(&self) -> Result<(), TensorRtError> {
        let now = sums([&self.files[0], &self.files[1]], &Known::default())?;
        let Some(changed) = unlike(&now, &self.sums) else { return Ok(()) };
        Err(PlanFault::Changed { file: self.files[0].with_file_name(changed) }.into())
    }
}

/// The SHA-256 of the manifest in a model's folder, to be taken before it is read.
///
/// # Errors
/// If it cannot be read.
pub fn manifest_sum(folder: &Path) -> Result<String, TensorRtError> {
    let file = folder.join(MANIFEST);
    bounded::read(&file, bounded::TEXT).map(|bytes| sha256(&bytes)).map_err(|error| file_error(&file, error))
}

/// A name of which the two say different things.
pub(super) fn unlike<'a>(
    one: &'a BTreeMap<String, String>,
    other: &'a BTreeMap<String, String>,
) -> Option<&'a str> {
    let differs = |name: &&String| one.get(*name) != other.get(*name);
    one.keys().chain(other.keys()).find(differs).map(String::as_str)
}

/// Sums of files, each taken once as long as the file stays what it is.
#[derive(Default)]
pub(super) struct Known(Mutex<HashMap<PathBuf, (Identity, String)>>);

/// Device, number, size, and the moments of the last changes to content and entry.
type Identity = (u64, u64, u64, [i64; 4]);

impl Known {
    fn sum(&self, file: &Path) -> io::Result<String> {
        let about = fs::metadata(file)?;
        let moments = [about.mtime(), about.mtime_nsec(), about.ctime(), about.ctime_nsec()];
        let identity = (about.dev(), about.ino(), about.size(), moments);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(file) {
            Some((of, sum)) if *of == identity => Ok(sum.clone()),
            _ => {
                let sum = bounded::sha256(file)?;
                known.insert(file.to_owned(), (identity, sum.clone()));
                Ok(sum)
            }
        }
    }
}

/// SHA-256 of these ONNX files and of what belongs to them, by name.
pub(super) fn sums(files: [&Path; 2], known: &Known) -> Result<BTreeMap<String, String>, TensorRtError> {
    let mut sums = sums_of(files[0], known)?;
    if files[1] != files[0] {
        sums.extend(sums_of(files[1], known)?);
    }
    Ok(sums)
}

/// The ONNX file, the files that its weights lie in, named as it names them, and the manifest. A file that is not there has
/// no sum.
fn sums_of(graph: &Path, known: &Known) -> Result<BTreeMap<String, String>, TensorRtError> {
    let bytes = bounded::read(graph, bounded::MODEL).map_err(|error| file_error(graph, error))?;
    let mut sums = BTreeMap::new();
    for name in onnx::external_files(&bytes).into_iter().chain([MANIFEST.to_owned()]) {
        let file = graph.with_file_name(&name);
        if file.is_file() {
            let sum = known.sum(&file).map_err(|error| file_error(&file, error))?;
            sums.insert(name, sum);
        }
    }
    sums.insert(graph.file_name().unwrap_or_default().to_string_lossy().into_owned(), sha256(&bytes));
    Ok(sums)
}

pub(super) fn file_error(file: &Path, reason: io::Error) -> TensorRtError {
    TensorRtError::File { file: file.to_owned(), reason }
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_summed_once_while_it_stays_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("weights.bin");
        fs::write(&file, "weights").unwrap();
        let known = Known::default();
        assert_eq!(known.sum(&file).unwrap(), sha256(b"weights"));
        known.0.lock().unwrap().get_mut(&file).unwrap().1 = "kept".to_owned();
        assert_eq!(known.sum(&file).unwrap(), "kept");
        fs::write(&file, "other weights").unwrap();
        assert_eq!(known.sum(&file).unwrap(), sha256(b"other weights"));
    }
}
