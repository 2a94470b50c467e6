//! Scores a model on labelled scenes.
