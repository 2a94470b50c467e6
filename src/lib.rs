//! `tvsl` hears and sees: it names the classes that are both sounding and visible, says where in the
//! picture each one is, and publishes that over MQTT.
//!
//! The modules stand in data order, and a module uses only what stands above it (`tests/layers.rs`
//! holds the code to it). Everything down to [`analysis`] is values and mathematics that take time
//! as an argument; devices, network and clock are reached behind narrow traits; [`pipeline`] is the
//! one shell that owns threads and queues.
#![warn(missing_docs)]

pub mod clock;

pub mod bounded;

pub mod backoff;

pub mod tally;

pub mod rights;

pub mod geometry;

pub mod bearing;

pub mod frame;

pub mod mask;

pub mod queue;

pub mod config;

pub mod capture;

pub mod engine;

pub mod model;

pub mod regions;

pub mod track;

pub mod window;

pub mod analysis;

pub mod message;

pub mod lifecycle;

pub mod publish;

pub mod evaluate;

pub mod picture;

pub mod notify;

pub mod heat;

pub mod monitor;

pub mod pipeline;

pub mod cli;
