//! What the configuration only names and a reload reads again with it: a background profile, the manifest of a model.

use std::path::Path;

use crate::bounded;
use crate::config::Config;
use crate::model::manifest;

/// What these files hold; `None`: they are not named, or cannot be read, which is told by whoever needs them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Named {
    pub background: Option<String>,
    /// With the sum of every other file of the model.
    pub manifest: Option<String>,
}

impl Named {
    /// What the files hold now that `config` names.
    pub fn by(config: &Config) -> Self {
        let read = |file: &Path| bounded::read_text(file, bounded::TEXT).ok();
        let folder = config.model_found().ok();
        Self {
            background: read(&config.detection.background),
            manifest: folder.and_then(|folder| read(&folder.join(manifest::FILE))),
        }
    }
}
