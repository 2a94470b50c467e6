//! How good a model is: labelled scenes in, measures with intervals out.

pub mod clip;

pub mod metrics;

pub mod bootstrap;

pub mod scenes;
