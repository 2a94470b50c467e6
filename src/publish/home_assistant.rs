//! Home Assistant's MQTT discovery: a device with entities for its classes, level, health and switch.
//!
//! What was told is remembered by the broker (retained), so what no entity stands for any more is found
//! there and taken back: after a restart with other classes, or with discovery off.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::config::{Config, MicrophoneSource, Mqtt};
use crate::message::{Info, Report};

/// Renders what `status` says as Home Assistant knows it.
const AVAILABLE: &str = "{{ 'online' if value == 'online' else 'offline' }}";
const PROBLEM: &str = "{{ 'OFF' if value_json.state == 'ok' else 'ON' }}";
/// Parts whose health is an entity, with their names.
const PARTS: [(&str, &str); 4] =
    [("camera", "Camera"), ("microphone", "Microphone"), ("engine", "Engine"), ("broker", "Connection")];

/// The entities of this device as Home Assistant was told of them.
#[derive(Debug)]
pub(super) struct Discovery {
    config: Config,
    /// Topic and payload of each.
    told: BTreeMap<String, String>,
}

impl Discovery {
    pub(super) fn new(config: &Config) -> Self {
        Self { config: config.clone(), told: BTreeMap::new() }
    }

    /// Goes by other settings from the next introduction on, which takes back what no longer stands.
    pub(super) fn configure(&mut self, config: &Config) {
        self.config = config.clone();
    }

    /// The level is told as often as `mqtt` says; one that never is has no entity.
    pub(super) fn pace(&mut self, mqtt: &Mqtt) {
        self.config.mqtt.level_every = mqtt.level_every;
    }

    /// Tells of the entities of a device that is what `info` says, and takes back those that are no more.
    pub(super) fn introduce(&mut self, info: &Info) -> Vec<Report> {
        let enabled = self.config.mqtt.home_assistant.enabled;
        let now = if enabled { entities(&self.config, info) } else { BTreeMap::new() };
        let gone = std::mem::replace(&mut self.told, now).into_keys();
        let gone =
            gone.filter(|topic| !self.told.contains_key(topic)).map(Report::taken_back).collect::<Vec<_>>();
        [gone, self.again()].concat()
    }

    /// Tells of everything again.
    pub(super) fn again(&self) -> Vec<Report> {
        let report = |(topic, payload): (&String, &String)| Report::Foreign {
            topic: topic.clone(),
            payload: payload.clone(),
        };
        self.told.iter().map(report).collect()
    }

    /// What to listen to: Home Assistant's birth, and what the broker remembers of this device.
    pub(super) fn filters(&self) -> Vec<String> {
        let enabled = self.config.mqtt.home_assistant.enabled;
        std::iter::once(self.announcements()).chain(enabled.then(|| self.birth())).collect()
    }

    /// What a message on `topic` asks for; `None` if it is none of Home Assistant's.
    pub(super) fn hear(&self, topic: &str, payload: &[u8], retained: bool) -> Option<Vec<Report>> {
        if topic == self.birth() {
            return Some(if payload == b"online" { self.again() } else { vec![] });
        }
        let stale = retained && !payload.is_empty() && !self.told.contains_key(topic);
        let ours = matches(&self.announcements(), topic);
        ours.then(|| if stale { vec![Report::taken_back(topic.into())] } else { vec![] })
    }

    /// Where this device is announced.
    fn announcements(&self) -> String {
        format!("{}/+/{}/+/config", discovered_at(&self.config), node(&self.config.device.name))
    }

    fn birth(&self) -> String {
        format!("{}/status", discovered_at(&self.config))
    }
}

/// Start of the topics that Home Assistant discovers this device from.
pub(super) fn discovered_at(config: &Config) -> String {
    config.mqtt.home_assistant.prefix.replace("{device}", &config.device.name)
}

/// The topic and the configuration of every entity.
fn entities(config: &Config, info: &Info) -> BTreeMap<String, String> {
    let mut all = Entities::new(config, info);
    for class in &info.classes {
        let id = slug(&class.name);
        let state = Report::state_topic(&class.name);
        all.add(
            "binary_sensor",
            &format!("state_{id}"),
            &class.label,
            json!({
                "state_topic": config.topic(&state),
                "value_template": "{{ value_json.state }}",
                "json_attributes_topic": config.topic(&state),
                "device_class": "sound",
            }),
        );
        all.add(
            "event",
            &format!("event_{id}"),
            &class.label,
            json!({
                "state_topic": config.topic("events"),
                "event_types": ["start", "end"],
                "value_template": event_of(&class.name),
            }),
        );
    }
    let deaf = config.microphone.source == MicrophoneSource::None;
    for (part, name) in PARTS.into_iter().filter(|(part, _)| !(deaf && *part == "microphone")) {
        let topic = config.topic(&Report::health_topic(part));
        all.add(
            "binary_sensor",
            &format!("health_{part}"),
            name,
            json!({
                "state_topic": topic,
                "value_template": PROBLEM,
                "json_attributes_topic": topic,
                "device_class": "problem",
                "entity_category": "diagnostic",
            }),
        );
    }
    if !config.mqtt.level_every.is_zero() {
        all.add(
            "sensor",
            "level",
            "Sound level",
            json!({
                "state_topic": config.topic("level"),
                "value_template": "{{ value_json.level_dbfs }}",
                "unit_of_measurement": "dBFS",
                "state_class": "measurement",
            }),
        );
    }
    if config.mqtt.commands {
        all.add(
            "switch",
            "enable",
            "Detection",
            json!({
                "command_topic": config.topic("set/enable"),
                "payload_on": "true",
                "payload_off": "false",
                "state_topic": config.topic("settings"),
                "value_template": "{{ 'true' if value_json.enable else 'false' }}",
                "entity_category": "config",
            }),
        );
    }
    all.told
}

/// Renders a message of `events` as an event of `class`; others, and those of the past, as nothing.
fn event_of(class: &str) -> String {
    let class = Value::from(class);
    format!(
        "{{% if value_json.source.class == {class} and value_json.event in ['start', 'end'] and not value_json.late %}}\
         {{{{ {{'event_type': value_json.event, 'p_peak': value_json.source.p_peak, 'duration': value_json.source.duration}} \
         | to_json }}}}{{% endif %}}"
    )
}

/// Entities, and what all of them have in common.
struct Entities {
    prefix: String,
    node: String,
    common: Map<String, Value>,
    told: BTreeMap<String, String>,
}

impl Entities {
    fn new(config: &Config, info: &Info) -> Self {
        let (name, node) = (&config.device.name, node(&config.device.name));
        let common = Map::from_iter([
            ("origin".into(), json!({"name": "tvsl", "sw_version": info.version})),
            (
                "device".into(),
                json!({"identifiers": [node], "name": name, "model": info.model.name, "sw_version": info.version}),
            ),
            ("availability_topic".into(), json!(config.topic("status"))),
            ("availability_template".into(), json!(AVAILABLE)),
            ("qos".into(), json!(1)),
        ]);
        Self { prefix: discovered_at(config), node, common, told: BTreeMap::new() }
    }

    fn add(&mut self, component: &str, id: &str, name: &str, own: Value) {
        let mut entity = self.common.clone();
        entity.insert("name".into(), json!(name));
        entity.insert("unique_id".into(), json!(format!("{}_{id}", self.node)));
        entity.extend(own.as_object().cloned().unwrap_or_default());
        let topic = format!("{}/{component}/{}/{id}/config", self.prefix, self.node);
        self.told.insert(topic, Value::from(entity).to_string());
    }
}

/// The level of the topics that all entities of a device share.
pub(super) fn node(device: &str) -> String {
    format!("tvsl_{}", slug(device))
}

/// `name` in the letters that Home Assistant takes; other names stay apart by a checksum.
fn slug(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.chars().all(plain) {
        return name.into();
    }
    let sum = Sha256::digest(name);
    let bare: String = name.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    format!("{bare}_{:02x}{:02x}{:02x}", sum[0], sum[1], sum[2])
}

/// Whether MQTT's `filter` takes `topic`; only `+` is known.
pub(super) fn matches(filter: &str, topic: &str) -> bool {
    let levels = |text: &str| text.split('/').count();
    let same = |(wanted, level): (&str, &str)| wanted == "+" || wanted == level;
    levels(filter) == levels(topic) && filter.split('/').zip(topic.split('/')).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_apart_in_the_letters_that_are_allowed() {
        assert_eq!(slug("dog"), "dog");
        assert!(slug("steam whistle").starts_with("steam_whistle_"));
        assert_ne!(slug("a b"), slug("a/b"));
    }

    #[test]
    fn a_class_is_quoted_where_it_stands_in_a_template() {
        assert!(event_of("\"}}").starts_with(r#"{% if value_json.source.class == "\"}}" and"#));
    }
}
