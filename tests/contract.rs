//! The contract with subscribers: its published schemas are those of the types, and no field changes
//! without a new revision.
//!
//! After a change that only adds fields: raise `message::REVISION`, then run this test with
//! `TVSL_WRITE_CONTRACT=1` to write `docs/contract/` anew.

use std::fs;
use std::path::{Path, PathBuf};

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tvsl::config::Overrides;
use tvsl::message::{
    Answer, ClassState, Detection2DArray, EventMessage, Health, Info, Level, Message, Presence, REVISION,
    SCHEMA, Settings,
};

/// A topic: its name with parameters, the name of its schema, the schema, QoS, retained.
struct Topic {
    address: &'static str,
    name: &'static str,
    schema: Schema,
    qos: u8,
    retain: bool,
}

fn topic<T: JsonSchema>(address: &'static str, name: &'static str, qos: u8, retain: bool) -> Topic {
    let mut settings = SchemaSettings::draft07().for_serialize();
    settings.transforms.push(Box::new(RecursiveTransform(plain)));
    Topic { address, name, schema: settings.into_generator().into_root_schema_for::<T>(), qos, retain }
}

/// Turns the links of Rust's documentation into words.
fn plain(schema: &mut Schema) {
    if let Some(Value::String(words)) = schema.get_mut("description") {
        *words = words.replace("[`", "`").replace("`]", "`");
    }
}

fn topics() -> [Topic; 9] {
    [
        topic::<Message>("detections", "detections", 1, false),
        topic::<EventMessage>("events", "events", 1, false),
        topic::<ClassState>("state/{class}", "state", 1, true),
        topic::<Level>("level", "level", 0, false),
        topic::<Health>("health/{part}", "health", 1, true),
        topic::<Info>("info", "info", 1, true),
        topic::<Settings>("settings", "settings", 1, true),
        topic::<Answer>("set/{key}/result", "result", 1, false),
        topic::<Presence>("status", "status", 1, true),
    ]
}

fn asyncapi(topics: &[Topic]) -> Value {
    let (mut channels, mut operations) = (Map::new(), Map::new());
    for Topic { address, name, qos, retain, .. } in topics {
        let content = if *name == "status" { "text/plain" } else { "application/json" };
        let parameters: Map<String, Value> = address
            .split(['{', '}'])
            .skip(1)
            .step_by(2)
            .map(|name| (name.to_string(), json!({"description": format!("the {name}")})))
            .collect();
        channels.insert(
            (*name).into(),
            json!({
                "address": format!("tvsl/{{device}}/{address}"),
                "parameters": merged(parameters, "device"),
                "messages": {*name: {"contentType": content, "payload": {"$ref": format!("./{name}.json")}}},
            }),
        );
        operations.insert(
            format!("tell_{name}"),
            json!({
                "action": "send",
                "channel": {"$ref": format!("#/channels/{name}")},
                "bindings": {"mqtt": {"qos": qos, "retain": retain, "bindingVersion": "0.2.0"}},
            }),
        );
    }
    for (name, what) in PICTURES {
        channels.insert(
            name.into(),
            json!({
                "address": format!("tvsl/{{device}}/{name}"),
                "parameters": merged(Map::new(), "device"),
                "messages": {name: {"contentType": "image/png", "payload": {"description": what}}},
            }),
        );
        operations.insert(
            format!("tell_{name}"),
            json!({
                "action": "send",
                "channel": {"$ref": format!("#/channels/{name}")},
                "bindings": {"mqtt": {"qos": 0, "retain": false, "bindingVersion": "0.2.0"}},
            }),
        );
    }
    channels.insert("set".into(), wishes());
    operations.insert("hear_set".into(), json!({"action": "receive", "channel": {"$ref": "#/channels/set"}}));
    json!({
        "asyncapi": "3.0.0",
        "info": {"title": "tvsl", "version": version(), "description": "What tvsl tells over MQTT 3.1.1; see docs/mqtt.md."},
        "channels": channels,
        "operations": operations,
    })
}

/// Topics whose messages are PNG.
const PICTURES: [(&str, &str); 2] = [
    (
        "snapshot",
        "the analysed picture, if snapshot_every is set; the text chunk `captured` says when, Unix seconds",
    ),
    ("heatmap", "heat of what is reported, 0 to 255 in grey over the same picture, if heatmap_every is set"),
];

/// What subscribers may write.
fn wishes() -> Value {
    let value = "JSON: the setting's new value, as in settings.json; empty or null: the configuration file's";
    let keys = json!({"description": "the setting", "enum": Overrides::KEYS});
    json!({
        "address": "tvsl/{device}/set/{key}",
        "parameters": {"device": {"description": "the name of the device"}, "key": keys},
        "messages": {"set": {"contentType": "application/json", "payload": {"description": value}}},
    })
}

fn merged(mut parameters: Map<String, Value>, device: &str) -> Map<String, Value> {
    parameters.insert(device.into(), json!({"description": "the name of the device"}));
    parameters
}

fn version() -> String {
    format!("{SCHEMA}.{REVISION}")
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/contract")
}

/// Every file of the contract with its text.
fn files() -> Vec<(String, String)> {
    let topics = topics();
    let text = |value: &Value| serde_json::to_string_pretty(value).expect("JSON") + "\n";
    let api = ("asyncapi.json".to_string(), text(&asyncapi(&topics)));
    let ros2 = topic::<Detection2DArray>("detections", "ros2", 1, false);
    let schemas =
        topics.into_iter().chain([ros2]).map(|t| (format!("{}.json", t.name), text(t.schema.as_value())));
    schemas.chain([api]).collect()
}

/// Stands for the fields of a schema, not for the words about them.
fn digest(files: &[(String, String)]) -> String {
    let mut sum = Sha256::new();
    for (name, text) in files.iter().filter(|(name, _)| name != "asyncapi.json") {
        let mut value: Value = serde_json::from_str(text).expect("JSON");
        strip(&mut value);
        sum.update(format!("{name} {value}\n"));
    }
    sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(map) => {
            // A description of a field is words; a field called `description` would be an object.
            map.retain(|key, value| !(key == "description" && value.is_string()));
            map.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

#[test]
fn no_field_changes_without_a_new_revision() {
    let (files, path) = (files(), folder().join("revisions.txt"));
    let known = fs::read_to_string(&path).unwrap_or_default();
    let (version, digest) = (version(), digest(&files));
    let released = known.lines().find_map(|line| line.strip_prefix(&format!("{version} ")));
    if released.is_none() && std::env::var_os("TVSL_WRITE_CONTRACT").is_some() {
        fs::create_dir_all(folder()).expect("a folder");
        fs::write(&path, format!("{known}{version} {digest}\n")).expect("room for a file");
        return;
    }
    assert_eq!(released, Some(digest.as_str()), "the fields changed: raise message::REVISION (see above)");
}

#[test]
fn the_published_schemas_are_those_of_the_types() {
    for (name, text) in files() {
        let path = folder().join(&name);
        if std::env::var_os("TVSL_WRITE_CONTRACT").is_some() {
            fs::create_dir_all(folder()).expect("a folder");
            fs::write(&path, &text).expect("room for a file");
        }
        let published = fs::read_to_string(&path).unwrap_or_default();
        assert!(published == text, "{} is not what the types say (see above)", path.display());
    }
}
