//! Schemas as lists of fields: what a subscriber may rely on, one line for each promise.

use std::collections::BTreeSet;

use schemars::Schema;
use serde_json::{Map, Value};

use crate::topics::{schemas, topics};

/// The path of a message that is one bare word.
const PAYLOAD: &str = "payload";

/// A field of a message.
pub struct Field {
    /// From the message down: names behind dots, `[]` for each of a list, `{}` for each of an object of any names.
    pub path: String,
    /// What its schema says of its values, inner fields aside.
    pub kind: Map<String, Value>,
    /// The words that it may be, if only some.
    pub words: Vec<String>,
    pub required: bool,
    pub description: String,
}

/// The fields of a message, each before those inside it.
pub fn fields(schema: &Schema) -> Vec<Field> {
    let root = schema.as_value();
    let mut found = Vec::new();
    walk(root, root, String::new(), true, &mut found);
    found
}

/// Everything that is promised: topics with QoS and retain flag, fields, their types and words, and which are always there.
pub fn promises() -> BTreeSet<String> {
    let topics = topics().into_iter().map(|topic| {
        let (qos, retain) = (topic.delivery.qos(), topic.delivery.retained());
        format!("{} on {} qos {qos} retain {retain}", topic.name, topic.address)
    });
    let fields = schemas()
        .into_iter()
        .flat_map(|(name, schema)| fields(&schema).into_iter().flat_map(move |field| promised(name, &field)));
    topics.chain(fields).collect()
}

fn promised(name: &str, field: &Field) -> Vec<String> {
    let path = format!("{name} {}", field.path);
    let kind = Value::from(field.kind.clone());
    let words = field.words.iter().map(|word| format!("{path} may be {word}"));
    let always = field.required.then(|| format!("{path} is always there"));
    [format!("{path} is {kind}")].into_iter().chain(always).chain(words).collect()
}

fn walk(root: &Value, node: &Value, path: String, required: bool, found: &mut Vec<Field>) {
    let (node, description) = (resolved(root, node), description(node));
    let of_any_name = node.get("additionalProperties").filter(|value| value.is_object());
    let about = |key: &str| match key {
        "properties" | "required" | "items" | "definitions" | "oneOf" | "description" | "title"
        | "$schema" => true,
        "additionalProperties" => of_any_name.is_some(),
        _ => false,
    };
    let kind = node.iter().filter(|(key, _)| !about(key));
    let kind = kind.map(|(key, value)| (key.clone(), value.clone())).collect();
    let words = node.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    let words = words.filter_map(|word| word["const"].as_str().map(str::to_owned)).collect();
    let of_words = node.contains_key("oneOf");
    if !path.is_empty() || of_words {
        let path = if path.is_empty() { PAYLOAD.into() } else { path.clone() };
        found.push(Field { path, kind, words, required, description });
    }
    let always = |name: &String| {
        node.get("required").and_then(Value::as_array).is_some_and(|all| all.iter().any(|one| one == name))
    };
    for (name, field) in node.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        walk(root, field, path, always(name), found);
    }
    if let Some(item) = node.get("items") {
        walk(root, item, format!("{path}[]"), true, found);
    }
    if let Some(value) = of_any_name {
        walk(root, value, format!("{path}{{}}"), true, found);
    }
}

/// A schema with what it refers to in its place; `null` beside another type is left out: it is never told.
fn resolved(root: &Value, node: &Value) -> Map<String, Value> {
    let node = node.as_object().cloned().unwrap_or_default();
    let alternatives = ["allOf", "anyOf"].into_iter().find_map(|key| node.get(key)?.as_array());
    let target = alternatives.into_iter().flatten().find(|one| one["type"] != "null").or(Some(&Value::Null));
    let named = node.get("$ref").or_else(|| target?.get("$ref")).and_then(Value::as_str);
    match named.and_then(|name| name.strip_prefix("#/definitions/")) {
        Some(name) => resolved(root, &root["definitions"][name]),
        None => node,
    }
}

/// The words beside a reference are nearer than those of its target.
fn description(node: &Value) -> String {
    node["description"].as_str().unwrap_or_default().replace('\n', " ")
}
