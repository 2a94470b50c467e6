//! The best engine of this machine, graph by graph: one that cannot load a graph leaves it to the next.

use std::path::Path;
use std::sync::Arc;

use super::{Engine, EngineError, Graph};

/// `first` where it can, `next` where it cannot.
pub(super) struct Auto {
    pub(super) first: Arc<dyn Engine>,
    pub(super) next: Arc<dyn Engine>,
}

impl Engine for Auto {
    fn name(&self) -> &'static str {
        self.first.name()
    }

    fn load(&self, file: &Path) -> Result<Box<dyn Graph>, EngineError> {
        self.first.load(file).or_else(|reason| {
            tracing::warn!(
                graph = %file.display(),
                "the {} engine is left for the {} engine: {reason}",
                self.first.name(),
                self.next.name()
            );
            self.next.load(file)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Refuses every file, with its own name in the reason.
    struct Only(&'static str);

    impl Engine for Only {
        fn name(&self) -> &'static str {
            self.0
        }

        fn load(&self, file: &Path) -> Result<Box<dyn Graph>, EngineError> {
            let reason = format!("{} was asked", self.0);
            Err(EngineError::Load { file: file.to_owned(), reason })
        }
    }

    #[test]
    fn the_last_engine_has_the_last_word() {
        let auto = Auto { first: Arc::new(Only("tensorrt")), next: Arc::new(Only("cpu")) };
        let error = auto.load(Path::new("a.onnx")).map(drop).unwrap_err();
        assert!(error.to_string().contains("cpu was asked"));
        assert_eq!(auto.name(), "tensorrt");
    }
}
