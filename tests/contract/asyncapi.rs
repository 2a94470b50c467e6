//! The AsyncAPI document: the topics in the words of a standard.

use serde_json::{Map, Value, json};
use tvsl::config::Overrides;

use crate::topics::{Topic, parts, topics};
use crate::version;

pub fn document() -> Value {
    let (mut channels, mut operations) = (Map::new(), Map::new());
    for topic in topics() {
        operations.insert(format!("tell_{}", topic.name), operation(&topic));
        channels.insert(topic.name.into(), channel(&topic));
    }
    channels.insert("set".into(), wishes());
    operations.insert(
        "hear_set".into(),
        json!({"action": "receive", "channel": {"$ref": "#/channels/set"}, "bindings": {"mqtt": {"qos": 1, "bindingVersion": "0.2.0"}}}),
    );
    json!({
        "asyncapi": "3.0.0",
        "info": {"title": "tvsl", "version": version(), "description": "What tvsl tells over MQTT 3.1.1; see docs/mqtt.md."},
        "channels": channels,
        "operations": operations,
    })
}

fn operation(topic: &Topic) -> Value {
    let (qos, retain) = (topic.delivery.qos(), topic.delivery.retained());
    json!({
        "action": "send",
        "channel": {"$ref": format!("#/channels/{}", topic.name)},
        "summary": topic.when,
        "bindings": {"mqtt": {"qos": qos, "retain": retain, "bindingVersion": "0.2.0"}},
    })
}

fn channel(topic: &Topic) -> Value {
    json!({
        "address": format!("tvsl/{{device}}/{}", topic.address),
        "description": topic.what,
        "parameters": parameters(&topic.address),
        "messages": messages(topic),
    })
}

/// What may be told on a topic: `[mqtt] format` chooses one of several.
fn messages(topic: &Topic) -> Value {
    let name = topic.name;
    let of = |kind: &str, schema: &str| json!({"contentType": kind, "payload": {"$ref": format!("./{schema}.json")}});
    match name {
        _ if topic.schema.is_none() => {
            json!({name: {"contentType": "image/png", "payload": {"description": topic.what}}})
        }
        "status" => json!({name: of("text/plain", name)}),
        "detections" => json!({
            name: of("application/json", name),
            "cbor": of("application/cbor", name),
            "ros2": of("application/json", "ros2"),
        }),
        _ => json!({name: of("application/json", name)}),
    }
}

/// The parameters in braces of an address, and the device.
fn parameters(address: &str) -> Map<String, Value> {
    let named = address.split(['{', '}']).skip(1).step_by(2).map(|name| {
        let about = match name {
            "part" => json!({"description": "the part", "enum": parts()}),
            "key" => json!({"description": "the setting", "enum": Overrides::KEYS}),
            name => json!({"description": format!("the {name}")}),
        };
        (name.to_string(), about)
    });
    let device = ("device".into(), json!({"description": "the name of the device"}));
    named.chain([device]).collect()
}

/// What subscribers may write.
fn wishes() -> Value {
    let message = |key: &&str| {
        let payload = json!({"$ref": format!("./set.json#/properties/{key}")});
        ((*key).to_string(), json!({"contentType": "application/json", "payload": payload}))
    };
    json!({
        "address": "tvsl/{device}/set/{key}",
        "description": "wishes of subscribers: a new value for the setting; no payload, or null, gives it back to the configuration file",
        "parameters": parameters("{key}"),
        "messages": Overrides::KEYS.iter().map(message).collect::<Map<_, _>>(),
    })
}
