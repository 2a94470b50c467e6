//! How sure it is of a class, and how such probabilities are moved.

use super::ClassId;

/// Calibrated probabilities of one class, 0–1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Score {
    /// Which class.
    pub class: ClassId,
    /// It is heard and seen.
    pub p: f32,
    /// It is heard, by the sound alone.
    pub p_audio: f32,
    /// It is seen, by the picture alone.
    pub p_visual: f32,
}

/// The logarithm of the odds of a probability.
pub(super) fn log_odds(p: f32) -> f32 {
    let p = p.clamp(1e-7, 1.0 - 1e-7);
    (p / (1.0 - p)).ln()
}

/// The probability of these log-odds.
pub(super) fn probability(log_odds: f32) -> f32 {
    1.0 / (1.0 + (-log_odds).exp())
}

/// A threshold moved by `shift` in log-odds; unmoved ones, 0 and 1 stay exactly what they are.
pub(super) fn shifted(p: f32, shift: f32) -> f32 {
    if shift == 0.0 || p <= 0.0 || p >= 1.0 { p } else { probability(log_odds(p) + shift) }
}
