//! What is said of a build that fails, and whether it may be tried again.

use super::super::Failure;
use crate::engine::tensorrt::{PlanFault, TensorRtError};

/// Running out of memory has a cure of its own; what may pass is told apart.
pub(super) fn told(error: TensorRtError) -> Failure {
    match error {
        // Whoever changes a model is done with it sooner or later.
        TensorRtError::Plan(PlanFault::Changed { .. }) => Failure::Lacking(error.to_string()),
        error if error.out_of_memory() => lacking(error.to_string()),
        error => Failure::failed(error),
    }
}

/// The same where asking for less memory may be the cure.
pub(super) fn short(error: TensorRtError) -> Failure {
    if error.out_of_memory() { Failure::Lacking(error.to_string()) } else { told(error) }
}

/// The cure of what may be had later.
pub(super) fn lacking(what: String) -> Failure {
    Failure::Lacking(format!(
        "{what}; cure: end other programs that use the GPU (on a Jetson the desktop too: `sudo systemctl isolate \
         multi-user.target`), or set engine.kind = \"cpu\""
    ))
}
