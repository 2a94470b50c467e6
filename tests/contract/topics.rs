//! Every topic: its schema is that of its type, its address, QoS and retain flag those of the program's own reports.

use std::sync::Arc;

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tvsl::config::Overrides;
use tvsl::message::{
    Answer, ClassState, Delivery, Detection2DArray, EventMessage, HealthMessage, Info, Level, Message, Part,
    Presence, Report, Settings,
};

use crate::page;

/// A topic that the program writes to.
pub struct Topic {
    /// The name of its channel, and of its schema.
    pub name: &'static str,
    /// Below the prefix, with its parameters in braces.
    pub address: String,
    pub delivery: Delivery,
    /// `None`: its messages are PNG.
    pub schema: Option<Schema>,
    pub what: &'static str,
    pub when: &'static str,
}

/// The name of a report's topic, what is told there, and when. Whoever adds a report adds its topic here.
const fn words(report: &Report) -> Option<[&'static str; 3]> {
    Some(match report {
        Report::Detections(_) => [
            "detections",
            "what one picture shows: every source that is heard and seen",
            "every analysed picture with any (`detections_rate`, `send_empty`)",
        ],
        Report::Event(_) => [
            "events",
            "`start`, `update` and `end` of each source",
            "as it happens; updates every `update_every` s",
        ],
        Report::State(_) => [
            "state",
            "`ON` while a source of the class is heard and seen, and when it last was",
            "at start, on every change and `update`, on every connection",
        ],
        Report::Level(_) => [
            "level",
            "loudness of the sound, dBFS, −120 (digital silence) to 0",
            "every `level_every` s while pictures are analysed",
        ],
        Report::Health(_) => [
            "health",
            "`starting`, `ok`, `degraded` or `failed`, why, and since when",
            "on every change, on every connection",
        ],
        Report::Info(_) => [
            "info",
            "version, model, engine, classes, lens, what masks hide, size of pictures, schema",
            "at start, on every change, on every connection",
        ],
        Report::Settings(_) => [
            "settings",
            "the settings in force that `set/KEY` changes",
            "at start, on every change, on every connection",
        ],
        Report::Answer(_) => ["result", "what came of a wish", "for every wish (see below)"],
        Report::Status(_) => [
            "status",
            "`online`; `offline` when the device vanished (the broker's last will); `stopped` when it was told to stop",
            "on every connection, at the end",
        ],
        Report::Picture { topic, .. } => match topic.as_bytes() {
            b"snapshot" => [
                "snapshot",
                "the analysed picture, PNG; its text chunk `captured` says when, Unix seconds",
                "every `snapshot_every` s while pictures are analysed (0: never)",
            ],
            _ => [
                "heatmap",
                "where in it the reported sources are hottest, grey PNG",
                "every `heatmap_every` s while any is reported (0: never)",
            ],
        },
        // Not below the device's prefix, or a topic of the above without a message.
        Report::Foreign { .. } | Report::Gone(_) => return None,
    })
}

/// The example of a topic in docs/mqtt.md, with these fields in place of its own.
fn example<T: DeserializeOwned>(name: &str, changes: &Value) -> T {
    let mut value = page::example(name);
    for (key, new) in changes.as_object().expect("fields") {
        value[key] = new.clone();
    }
    serde_json::from_value(value).unwrap_or_else(|error| panic!("the example of {name}: {error}"))
}

/// One report of each topic.
fn reports() -> [(Report, Option<Schema>); 11] {
    // A configuration says 0 where a message leaves out what is unknown.
    let unknown = json!({"field_of_view": 0, "fx": 0, "fy": 0, "cx": 0, "cy": 0, "distortion": [], "width": 0, "height": 0});
    let picture = |topic| Report::Picture { topic, png: Arc::new([]) };
    let none = json!({});
    [
        (Report::Detections(example("detections", &none)), Some(told::<Message>())),
        (Report::Event(example("events", &none)), Some(told::<EventMessage>())),
        (Report::State(example("state", &json!({"class": "{class}"}))), Some(told::<ClassState>())),
        (Report::Level(example("level", &none)), Some(told::<Level>())),
        (picture("snapshot"), None),
        (picture("heatmap"), None),
        (Report::Health(example("health", &none)), Some(told::<HealthMessage>())),
        (Report::Info(example("info", &json!({"lens": unknown}))), Some(told::<Info>())),
        (Report::Settings(example("settings", &none)), Some(told::<Settings>())),
        (Report::Answer(example("result", &json!({"key": "{key}"}))), Some(told::<Answer>())),
        (Report::Status(Presence::Online), Some(told::<Presence>())),
    ]
}

pub fn topics() -> Vec<Topic> {
    let topic = |(report, schema): (Report, Option<Schema>)| {
        let [name, what, when] = words(&report).expect("a topic of its own");
        let address = match &report {
            Report::Health(told) => report.topic().replace(told.health.part.name(), "{part}"),
            report => report.topic(),
        };
        Topic { name, address, delivery: report.delivery(), schema, what, when }
    };
    reports().into_iter().map(topic).collect()
}

/// Every schema that is published, with its name.
pub fn schemas() -> Vec<(&'static str, Schema)> {
    let topics = topics().into_iter().filter_map(|topic| Some((topic.name, topic.schema?)));
    topics.chain([("ros2", told::<Detection2DArray>()), ("set", heard::<Overrides>())]).collect()
}

/// The parts whose health is told.
pub fn parts() -> [&'static str; Part::ALL.len()] {
    Part::ALL.map(Part::name)
}

/// The schema of what the program writes.
fn told<T: JsonSchema>() -> Schema {
    let mut settings = SchemaSettings::draft07().for_serialize();
    settings.transforms.push(Box::new(RecursiveTransform(open)));
    schema::<T>(settings)
}

/// The schema of what the program reads.
fn heard<T: JsonSchema>() -> Schema {
    schema::<T>(SchemaSettings::draft07().for_deserialize())
}

fn schema<T: JsonSchema>(mut settings: SchemaSettings) -> Schema {
    settings.transforms.push(Box::new(RecursiveTransform(plain)));
    settings.into_generator().into_root_schema_for::<T>()
}

/// A later revision may add a field anywhere.
fn open(schema: &mut Schema) {
    if schema.get("additionalProperties") == Some(&Value::Bool(false)) {
        schema.remove("additionalProperties");
    }
}

/// Turns the links of Rust's documentation into words.
fn plain(schema: &mut Schema) {
    if let Some(Value::String(words)) = schema.get_mut("description") {
        *words = words.replace("[`", "`").replace("`]", "`");
    }
}
