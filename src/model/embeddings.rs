//! Embeddings of texts, kept in a folder of the device so that each list of classes is computed once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};
use sha2::{Digest, Sha256};

use super::manifest::Manifest;
use super::{ModelError, files};
use crate::config::Config;
use crate::engine::Tensor;

/// Where embeddings are kept.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    /// Whether new ones are: not where somebody only looks at what is a service's.
    keeps: bool,
}

impl Cache {
    /// The configured one.
    pub fn of(config: &Config) -> Option<Self> {
        Some(Self { folder: config.cache_dir()?, keeps: !config.only_looks() })
    }
}

/// `t` of the manifest's classes: the one kept in `cache` for this model and these texts, or
/// `compute`d and kept.
pub(super) fn kept_or(
    manifest: &Manifest,
    cache: Option<&Cache>,
    compute: impl FnOnce() -> Result<Tensor, ModelError>,
) -> Result<Tensor, ModelError> {
    let Some(cache) = cache else { return compute() };
    let file = cache.folder.join(format!("{}.safetensors", key(manifest)));
    let shape = [manifest.classes.len(), manifest.embedding.dimension];
    if let Ok(kept) = files::read_tensor(&file, "t")
        && kept.shape == shape
    {
        return Ok(kept);
    }
    let t = compute()?;
    if cache.keeps
        && let Err(error) = keep(&file, &t)
    {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_only_looks_reads_what_is_kept_and_keeps_nothing() {
        let manifest = Manifest::read(Path::new("tests/data/tiny")).expect("the tiny model");
        let t = Tensor::zeros([manifest.classes.len(), manifest.embedding.dimension]);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files = || fs::read_dir(folder.path()).expect("our own folder").count();
        let read = |keeps, compute: &dyn Fn() -> Tensor| {
            let cache = Cache { folder: folder.path().into(), keeps };
            kept_or(&manifest, Some(&cache), || Ok(compute())).expect("the embeddings")
        };
        read(false, &|| t.clone());
        assert_eq!(files(), 0);
        read(true, &|| t.clone());
        assert_eq!(files(), 1);
        assert_eq!(read(false, &|| panic!("it is kept")).data, t.data);
    }
}
