//! The sections `[mqtt]`, `[log]` and `[service]`: whom it tells.

use super::value;
use serde::Deserialize;
use std::time::Duration;

/// `[mqtt]`: the broker.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mqtt {
    /// Whether anything is sent.
    pub enabled: bool,
    /// Address of the broker.
    #[serde(deserialize_with = "value::host")]
    pub host: String,
    /// Port of the broker.
    #[serde(deserialize_with = "value::port")]
    pub port: u16,
    /// Start of every topic, with `{device}` still in it; use [`super::Config::topic`].
    #[serde(deserialize_with = "value::prefix")]
    pub prefix: String,
    /// Name of this client at the broker; never empty once a configuration is loaded.
    #[serde(deserialize_with = "value::client_id")]
    pub client_id: String,
    /// Time between signs of life when nothing else is sent.
    #[serde(deserialize_with = "value::keep_alive")]
    pub keep_alive: Duration,
    /// Most messages a second on `detections`; 0: no limit.
    #[serde(deserialize_with = "value::per_second")]
    pub detections_rate: f64,
    /// Whether `detections` tells of empty pictures.
    pub send_empty: bool,
    /// Time between the updates of an event.
    #[serde(deserialize_with = "value::seconds")]
    pub update_every: Duration,
    /// Time between the messages of `level`; zero: none.
    #[serde(deserialize_with = "value::seconds")]
    pub level_every: Duration,
    /// Most messages of `detections` that wait for the broker.
    #[serde(deserialize_with = "value::store")]
    pub keep_detections: usize,
    /// Most messages of `events` that wait for the broker.
    #[serde(deserialize_with = "value::store")]
    pub keep_events: usize,
}

/// `[log]`: what is logged, and how.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Least important messages shown.
    pub level: LogLevel,
    /// How a message is written.
    pub format: LogFormat,
}

/// Importance of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Something does not work.
    Error,
    /// Something may not work.
    Warn,
    /// What a user wants to know.
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

/// How log messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Human, with the journal's priorities under systemd.
    Auto,
    /// One readable line for a message.
    Human,
    /// One JSON object for a message.
    Json,
}

/// `[service]`: the word with systemd.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The service counts as started after this even if a device is still waited for.
    #[serde(deserialize_with = "value::seconds")]
    pub start_within: Duration,
}
