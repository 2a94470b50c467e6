//! Everything that is published: under which topic, and how it is delivered.

use std::io;
use std::sync::Arc;

use crate::config::{Config, Format, Mqtt, class_level};

use super::{
    Answer, ClassState, Detection2DArray, EventMessage, HealthMessage, Info, Level, Message, Presence,
    Settings,
};

/// One message for subscribers.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// What one frame shows.
    Detections(Box<Message>),
    /// A turn in the life of a source.
    Event(Box<EventMessage>),
    /// Whether a class sounds.
    State(Box<ClassState>),
    /// How loud it is.
    Level(Level),
    /// How well a part works.
    Health(HealthMessage),
    /// What this device is.
    Info(Box<Info>),
    /// The settings in force that subscribers may change.
    Settings(Box<Settings>),
    /// What came of a wish to change one.
    Answer(Answer),
    /// Whether this device is there.
    Status(Presence),
    /// A picture as PNG.
    Picture {
        /// `snapshot` or `heatmap`.
        topic: &'static str,
        /// The file.
        png: Arc<[u8]>,
    },
    /// A retained message outside of the device's own topics; without a payload it is taken back.
    Foreign {
        /// Its whole topic.
        topic: String,
        /// JSON, or nothing.
        payload: String,
    },
    /// Nothing any more: the retained message of this topic is taken back.
    Gone(String),
}

/// What happens to a report until the broker has it.
///
/// [`Delivery::qos`] and [`Delivery::retained`] say what that means on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Every one is kept until the broker acknowledges it, in order.
    Kept,
    /// As [`Delivery::Kept`], but the store is small and the oldest gives way.
    Recent,
    /// As [`Delivery::Recent`], for those who wait for it.
    Answered,
    /// The latest one is what holds: retained by the broker, and told again on every connection.
    Retained,
    /// Told once if there is a connection (QoS 0), forgotten otherwise.
    Fleeting,
}

impl Delivery {
    /// MQTT's quality of service: 1 until it is acknowledged, 0 once at most.
    pub const fn qos(self) -> u8 {
        match self {
            Self::Kept | Self::Recent | Self::Answered | Self::Retained => 1,
            Self::Fleeting => 0,
        }
    }

    /// Whether the broker keeps it for those who come later.
    pub const fn retained(self) -> bool {
        matches!(self, Self::Retained)
    }
}

impl Report {
    /// Takes back the retained message of a whole topic outside of the device's own.
    pub fn taken_back(topic: String) -> Self {
        Self::Foreign { topic, payload: String::new() }
    }

    /// Its topic below the prefix, where it has one.
    pub fn topic(&self) -> String {
        match self {
            Self::Detections(_) => "detections".into(),
            Self::Event(_) => "events".into(),
            Self::State(state) => Self::state_topic(&state.class),
            Self::Level(_) => "level".into(),
            Self::Health(told) => Self::health_topic(told.health.part.name()),
            Self::Info(_) => "info".into(),
            Self::Settings(_) => "settings".into(),
            Self::Answer(answer) => format!("set/{}/result", answer.key),
            Self::Status(_) => "status".into(),
            Self::Picture { topic, .. } => (*topic).into(),
            Self::Gone(topic) | Self::Foreign { topic, .. } => topic.clone(),
        }
    }

    /// Its whole topic.
    pub fn address(&self, config: &Config) -> String {
        match self {
            Self::Foreign { topic, .. } => topic.clone(),
            ours => config.topic(&ours.topic()),
        }
    }

    /// The topic of how a part does, below the prefix.
    pub fn health_topic(part: &str) -> String {
        format!("health/{part}")
    }

    /// The topic of the state of `class`, below the prefix.
    pub fn state_topic(class: &str) -> String {
        format!("state/{}", class_level(class))
    }

    /// How it is delivered.
    pub const fn delivery(&self) -> Delivery {
        match self {
            Self::Detections(_) => Delivery::Recent,
            Self::Event(_) => Delivery::Kept,
            Self::Answer(_) => Delivery::Answered,
            Self::State(_)
            | Self::Health(_)
            | Self::Info(_)
            | Self::Settings(_)
            | Self::Status(_)
            | Self::Foreign { .. }
            | Self::Gone(_) => Delivery::Retained,
            Self::Level(_) | Self::Picture { .. } => Delivery::Fleeting,
        }
    }

    /// The same report with what the sender knows: how many were dropped right before it, and whether
    /// it waited for a connection. Only reports that are numbered have room for it.
    pub fn marked(mut self, missed: u64, late: bool) -> Self {
        match &mut self {
            Self::Detections(message) => (message.missed, message.late) = (missed, late),
            Self::Event(event) => (event.missed, event.late) = (missed, late),
            _ => {}
        }
        self
    }

    /// Its payload: a JSON object, the bare word of `status`, a PNG, or nothing; `detections` as configured.
    ///
    /// # Errors
    /// Never for what this program makes: no map has keys that could not be written.
    pub fn payload(&self, config: &Mqtt) -> io::Result<Vec<u8>> {
        let json = match self {
            Self::Detections(message) => return written(message, config),
            Self::Event(event) => serde_json::to_vec(event),
            Self::State(state) => serde_json::to_vec(state),
            Self::Level(level) => serde_json::to_vec(level),
            Self::Health(health) => serde_json::to_vec(health),
            Self::Info(info) => serde_json::to_vec(info),
            Self::Settings(settings) => serde_json::to_vec(settings),
            Self::Answer(answer) => serde_json::to_vec(answer),
            Self::Status(presence) => return Ok(presence.word().into()),
            Self::Foreign { payload, .. } => return Ok(payload.clone().into_bytes()),
            Self::Picture { png, .. } => return Ok(png.to_vec()),
            Self::Gone(_) => return Ok(Vec::new()),
        };
        Ok(json?)
    }
}

/// `message` in the configured format.
fn written(message: &Message, config: &Mqtt) -> io::Result<Vec<u8>> {
    match config.format {
        Format::Json => Ok(serde_json::to_vec(message)?),
        Format::Ros2 => Ok(serde_json::to_vec(&Detection2DArray::new(message, &config.frame_id))?),
        Format::Cbor => {
            let mut bytes = Vec::new();
            ciborium::into_writer(message, &mut bytes)
                .map_err(|error| io::Error::other(error.to_string()))?;
            Ok(bytes)
        }
    }
}
