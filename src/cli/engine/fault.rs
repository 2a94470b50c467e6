//! What is said of a build that fails, and whether it may be tried again.

use super::super::Failure;
use crate::engine::tensorrt::{PlanFault, TensorRtError};

/// What helps where memory is lacking.
pub(super) const MEMORY: &str = "Cure where memory is lacking: end other programs that use the GPU (on a Jetson the desktop too: \
     `sudo systemctl isolate multi-user.target`), or set engine.kind = \"cpu\"";

/// What may pass is told apart.
pub(super) fn told(error: TensorRtError) -> Failure {
    match error {
        // Whoever changes a model is done with it sooner or later.
        TensorRtError::Plan(PlanFault::Changed { .. }) => Failure::Lacking(error.to_string()),
        error if error.out_of_memory() => Failure::Lacking(error.to_string()),
        error if error.cure().is_some() => Failure::Failed(error.with_cure()),
        error => Failure::failed(error),
    }
}
