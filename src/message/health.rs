//! How well each part of the device works: one retained message for each, under `health/`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SCHEMA;

/// `health/<part>`, retained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HealthMessage {
    /// Version of the contract: changes only if a field were to change its name or its meaning.
    pub schema: u32,
    /// Name of the device.
    pub device: String,
    /// What is told.
    #[serde(flatten)]
    pub health: Health,
}

impl HealthMessage {
    /// What `device` tells of its part.
    pub fn new(device: &str, health: Health) -> Self {
        Self { schema: SCHEMA, device: device.into(), health }
    }
}

/// What is known of one part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// Which part; the last level of its topic.
    pub part: Part,
    /// How well it works.
    pub state: HealthState,
    /// Why it is not `ok`, and what to do; empty if it is.
    pub reason: String,
    /// Since when it has been in this state, Unix seconds.
    pub since: f64,
    /// Whether the clock behind the Unix seconds is synchronised; absent where the system does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_synced: Option<bool>,
}

/// The parts that report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Where pictures come from.
    Camera,
    /// Where sound comes from.
    Microphone,
    /// What runs the model.
    Engine,
    /// The configuration: degraded while a wrong file is refused, or what subscribers changed is not as they left it.
    Configuration,
    /// The connection that the reports travel on: failed while there is none, which the device's figures tell.
    Broker,
    /// The disk that keeps events which the broker has not taken: degraded while it does not.
    Store,
    /// The machine itself: degraded while it slows itself down, too hot or short of power.
    Machine,
    /// What serves figures and status over HTTP (`[monitor]`): failed while its port is taken.
    Web,
}

/// How well a part works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HealthState {
    /// It is being opened for the first time.
    Starting,
    /// As it should.
    Ok,
    /// It works, but less well than it should.
    Degraded,
    /// It does not work; it is being tried again.
    Failed,
}

impl Part {
    /// Every part.
    pub const ALL: [Self; 8] = [
        Self::Camera,
        Self::Microphone,
        Self::Engine,
        Self::Configuration,
        Self::Broker,
        Self::Store,
        Self::Machine,
        Self::Web,
    ];

    /// The word of topics and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Camera => "camera",
            Self::Microphone => "microphone",
            Self::Engine => "engine",
            Self::Configuration => "configuration",
            Self::Broker => "broker",
            Self::Store => "store",
            Self::Machine => "machine",
            Self::Web => "web",
        }
    }
}
