//! Embeddings of texts, kept in a folder of the device so that each list of classes is computed once.

use std::fs;
use std::io;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use sha2::{Digest, Sha256};

use super::manifest::Manifest;
use super::{ModelError, files};
use crate::engine::Tensor;

/// `t` of the manifest's classes: the one kept in the folder `cache` for this model and these texts, or
/// `compute`d and kept.
pub(super) fn kept_or(
    manifest: &Manifest,
    cache: Option<&Path>,
    compute: impl FnOnce() -> Result<Tensor, ModelError>,
) -> Result<Tensor, ModelError> {
    let Some(cache) = cache else { return compute() };
    let file = cache.join(format!("{}.safetensors", key(manifest)));
    let shape = [manifest.classes.len(), manifest.embedding.dimension];
    if let Ok(kept) = files::read_tensor(&file, "t")
        && kept.shape == shape
    {
        return Ok(kept);
    }
    let t = compute()?;
    if let Err(error) = keep(&file, &t) {
        tracing::warn!("{}: the embeddings of the texts cannot be kept: {error}", file.display());
    }
    Ok(t)
}

/// Another name for other files of the model or other texts.
fn key(manifest: &Manifest) -> String {
    let mut hash = Sha256::new();
    manifest.files.iter().for_each(|file| hash.update(&file.sha256));
    for class in &manifest.classes {
        class.tokens.iter().for_each(|token| hash.update(token.to_le_bytes()));
        hash.update(u32::MAX.to_le_bytes());
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes `t` so that the file is there whole or not at all.
fn keep(file: &Path, t: &Tensor) -> io::Result<()> {
    let bytes: Vec<u8> = t.data.iter().flat_map(|value| value.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, t.shape.clone(), &bytes).map_err(io::Error::other)?;
    let whole = safetensors::serialize([("t", view)], None).map_err(io::Error::other)?;
    file.parent().map_or(Ok(()), fs::create_dir_all)?;
    let unfinished = file.with_extension(format!("{}.new", std::process::id()));
    fs::write(&unfinished, whole)?;
    fs::rename(&unfinished, file)
}
