//! What a plan is built from: the files, and the SHA-256 of each.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::error::TensorRtError;
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
        let sums = sums(files)?;
        let files = files.map(Path::to_owned);
        // Graphs in a folder below have no manifest beside them.
        if manifest.zip(sums.get(MANIFEST)).is_some_and(|(before, now)| before != now) {
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
        let now = sums([&self.files[0], &self.files[1]])?;
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

/// SHA-256 of these ONNX files and of what belongs to them, by name.
pub(super) fn sums(files: [&Path; 2]) -> Result<BTreeMap<String, String>, TensorRtError> {
    let mut sums = sums_of(files[0])?;
    if files[1] != files[0] {
        sums.extend(sums_of(files[1])?);
    }
    Ok(sums)
}

/// The ONNX file, every file beside it whose name it holds, which is how external data is named, and the manifest.
fn sums_of(onnx: &Path) -> Result<BTreeMap<String, String>, TensorRtError> {
    let bytes = bounded::read(onnx, bounded::MODEL).map_err(|error| file_error(onnx, error))?;
    let folder = onnx.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut sums = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(|error| file_error(folder, error))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let named = bytes.windows(name.len()).any(|window| window == name.as_bytes());
        if named && entry.path().is_file() {
            let file = entry.path();
            let content = bounded::read(&file, bounded::MODEL).map_err(|error| file_error(&file, error))?;
            sums.insert(name, sha256(&content));
        }
    }
    if let Ok(manifest) = bounded::read(&folder.join(MANIFEST), bounded::TEXT) {
        sums.insert(MANIFEST.to_owned(), sha256(&manifest));
    }
    sums.insert(onnx.file_name().unwrap_or_default().to_string_lossy().into_owned(), sha256(&bytes));
    Ok(sums)
}

pub(super) fn file_error(file: &Path, reason: io::Error) -> TensorRtError {
    TensorRtError::File { file: file.to_owned(), reason }
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
