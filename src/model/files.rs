//! The files of a model folder: present, unaltered, and the text table read.

use std::fs;
use std::path::{Component, Path};

use safetensors::{Dtype, SafeTensors};

use super::ModelError;
use super::manifest::{File, Graphs, Manifest};
use crate::bounded;
use crate::engine::Tensor;

/// The precision that every model folder has.
const PRECISION: &str = "fp32";

impl Manifest {
    /// The graphs of the model folder `dir`, once it holds them: every file that is listed is present with its checksum,
    /// and every file the runtime will open is listed. Opens no graph.
    ///
    /// # Errors
    /// When a file is missing, altered or not listed: which one, what was expected, and the cure.
    pub fn verified_graphs(&self, dir: &Path) -> Result<&Graphs, ModelError> {
        let graphs = graphs(dir, self)?;
        for name in graphs.all().map(|(_, file)| file).chain(&self.embedding.text) {
            if !self.files.iter().any(|file| &file.path == name) {
                return Err(fault(dir, format!("[[files]] lacks \"{name}\": every file needs its sha256")));
            }
        }
        check_all(dir, self).map(|()| graphs)
    }
}

/// The graphs that the manifest promises.
pub(super) fn graphs<'a>(dir: &Path, manifest: &'a Manifest) -> Result<&'a Graphs, ModelError> {
    let missing = || fault(dir, format!("[graphs.{PRECISION}] is missing"));
    manifest.precision(PRECISION).ok_or_else(missing)
}

/// Checks that every file the manifest lists is present with its checksum.
pub(super) fn check_all(dir: &Path, manifest: &Manifest) -> Result<(), ModelError> {
    manifest.files.iter().try_for_each(|file| check_one(dir, file))
}

fn check_one(dir: &Path, file: &File) -> Result<(), ModelError> {
    let inside = Path::new(&file.path).components().all(|part| matches!(part, Component::Normal(_)));
    if !inside {
        return Err(fault(dir, format!("files.path = \"{}\": expected a path inside the folder", file.path)));
    }
    let path = dir.join(&file.path);
    let found = bounded::sha256(&path).map_err(|cause| ModelError::Read { file: path.clone(), cause })?;
    if found.eq_ignore_ascii_case(&file.sha256) {
        Ok(())
    } else {
        Err(ModelError::Altered { file: path, expected: file.sha256.clone(), found })
    }
}

fn fault(dir: &Path, reason: String) -> ModelError {
    ModelError::Manifest { file: dir.join(super::manifest::FILE), reason }
}

/// Reads the float32 tensor `name` of a safetensors file.
///
/// # Errors
/// When the file is unreadable or damaged, or holds no such tensor of float32.
pub fn read_tensor(path: &Path, name: &str) -> Result<Tensor, ModelError> {
    let bytes = fs::read(path).map_err(|cause| ModelError::Read { file: path.to_path_buf(), cause })?;
    let broken = |reason: String| ModelError::Table { file: path.to_path_buf(), reason };
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| broken(error.to_string()))?;
    let view =
        tensors.tensor(name).map_err(|error| broken(format!("{error}; expected a tensor `{name}`")))?;
    if view.dtype() != Dtype::F32 {
        return Err(broken(format!("`{name}` is {:?}, expected F32", view.dtype())));
    }
    let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    Ok(Tensor { shape: view.shape().to_vec(), data: values })
}
