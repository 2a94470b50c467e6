//! docs/mqtt.md: its examples, and the tables in it that are made from the types.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tvsl::config::Config;
use tvsl::message::Delivery;

use crate::fields::{Field, fields};
use crate::topics::{Topic, topics};

pub fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/mqtt.md")
}

pub fn text() -> String {
    fs::read_to_string(path()).expect("docs/mqtt.md")
}

/// The example of a topic: the block that begins with "json" and its name.
pub fn example(name: &str) -> Value {
    let text = text();
    let block = text.split(&format!("```json {name}\n")).nth(1).and_then(|rest| rest.split("```").next());
    let block = block.unwrap_or_else(|| panic!("docs/mqtt.md has no example of {name}"));
    serde_json::from_str(block).unwrap_or_else(|error| panic!("the example of {name}: {error}"))
}

/// The page with its tables as the types say them.
pub fn generated() -> String {
    let with_topics = between(&text(), "topics", &format!("{}\n{}", topic_table(), defaults()));
    between(&with_topics, "fields", &field_tables())
}

/// `page` with `part` between the two marks of this name.
fn between(page: &str, name: &str, part: &str) -> String {
    let (begin, end) = (format!("<!-- {name}: made by tests/contract -->\n"), format!("<!-- /{name} -->"));
    let marked = page.split_once(&begin).and_then(|(head, rest)| Some((head, rest.split_once(&end)?.1)));
    let (head, tail) = marked.unwrap_or_else(|| panic!("docs/mqtt.md has no marks of {name}"));
    format!("{head}{begin}\n{part}\n{end}{tail}")
}

fn topic_table() -> String {
    let mut table = String::from(
        "| topic | what | when | QoS | retained | until the broker has it |\n|---|---|---|---|---|---|\n",
    );
    for topic in topics() {
        let Topic { what, when, delivery, .. } = topic;
        let address =
            topic.address.replace("{class}", "CLASS").replace("{part}", "PART").replace("{key}", "KEY");
        let retained = if delivery.retained() { "yes" } else { "no" };
        let until = until(delivery);
        writeln!(table, "| `{address}` | {what} | {when} | {} | {retained} | {until} |", delivery.qos())
            .expect("memory");
    }
    table
}

/// What the keys are that the page speaks of, unless they are configured.
fn defaults() -> String {
    let mqtt = Config::default().mqtt;
    let seconds = |key: &'static str, value: Duration| (key, format!("{} s", value.as_secs_f64()));
    let plain = |key: &'static str, value: &dyn ToString| (key, value.to_string());
    let told = |(key, value): (&str, String)| format!("`{key}` {value}");
    let of_mqtt = [
        plain("detections_rate", &format!("{} (no limit)", mqtt.detections_rate)),
        plain("send_empty", &mqtt.send_empty),
        seconds("update_every", mqtt.update_every),
        seconds("level_every", mqtt.level_every),
        seconds("snapshot_every", mqtt.snapshot_every),
        seconds("heatmap_every", mqtt.heatmap_every),
        plain("picture_kilobytes", &(mqtt.picture_bytes / 1000)),
        plain("keep_events", &mqtt.keep_events),
        plain("keep_detections", &mqtt.keep_detections),
        seconds("keep_alive", mqtt.keep_alive),
    ];
    let of_store = [
        seconds("every", mqtt.store.every),
        plain("megabytes", &(mqtt.store.bytes / 1_000_000)),
        plain("hours", &(mqtt.store.age.as_secs_f64() / 3600.0)),
    ];
    let (mqtt, store) = (of_mqtt.map(told).join(", "), of_store.map(told).join(", "));
    format!("Unless configured, these keys of `[mqtt]` are: {mqtt}; and of `[mqtt.store]`: {store}.\n")
}

const fn until(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::Kept => "kept in order, at most `keep_events`; on disk too with `[mqtt.store]`",
        Delivery::Recent => "kept, at most `keep_detections`; the oldest gives way",
        Delivery::Answered => "kept, at most 64",
        Delivery::Retained => "the latest",
        Delivery::Fleeting => "forgotten",
    }
}

fn field_tables() -> String {
    let mut tables = Vec::new();
    for topic in topics() {
        let Some(schema) = &topic.schema else { continue };
        let all = fields(schema);
        let inside = |field: &&Field| !field.path.ends_with(['[', ']', '{', '}']);
        let rows: String = all.iter().filter(inside).map(|field| row(field, &all)).collect();
        tables
            .push(format!("### `{}`\n\n| field | what it is | meaning |\n|---|---|---|\n{rows}", topic.name));
    }
    tables.join("\n")
}

fn row(field: &Field, all: &[Field]) -> String {
    let maybe = if field.required { "" } else { ", or absent" };
    format!("| `{}` | {}{maybe} | {} |\n", field.path, kind(field, all), field.description)
}

/// The type of a field in words.
fn kind(field: &Field, all: &[Field]) -> String {
    if !field.words.is_empty() {
        return field.words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    }
    let one_of = |mark: &str| all.iter().find(|other| other.path == format!("{}{mark}", field.path));
    if let Some(item) = one_of("[]") {
        let many = field.kind.get("maxItems").map_or_else(|| "list of ".into(), |many| format!("{many} "));
        return format!("{many}{}s", kind(item, all));
    }
    if one_of("{}").is_some() {
        return "object of any names".into();
    }
    let name = &field.kind["type"];
    match name.as_str().or_else(|| name[0].as_str()).unwrap_or_default() {
        "string" => "text".into(),
        "integer" => "whole number".into(),
        "boolean" => "`true` or `false`".into(),
        name => name.into(),
    }
}
