//! The contract with subscribers: its published schemas are those of the types, what was promised once holds for as long
//! as `message::SCHEMA` is the same, and nothing is added without a new revision.
//!
//! After a change that only adds: raise `message::REVISION`, then run this test with `TVSL_WRITE_CONTRACT=1`. It writes
//! `docs/contract/` and the tables of `docs/mqtt.md` anew. A change that takes something away it refuses.

mod asyncapi;
mod fields;
mod page;
mod topics;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tvsl::config::Overrides;
use tvsl::message::{Detection2DArray, Message, REVISION, SCHEMA};

fn version() -> String {
    format!("{SCHEMA}.{REVISION}")
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/contract")
}

fn asked_to_write() -> bool {
    std::env::var_os("TVSL_WRITE_CONTRACT").is_some()
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("room for a file");
}

/// Holds a file to what the types say, or writes it if asked to.
fn is_as_the_types_say(path: &Path, text: &str) {
    if asked_to_write() {
        write(path, text);
    }
    let published = fs::read_to_string(path).unwrap_or_default();
    assert!(published == text, "{} is not what the types say (see above)", path.display());
}

fn lines(path: &Path) -> BTreeSet<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// What was promised and holds no more.
fn broken(promised: &BTreeSet<String>, now: &BTreeSet<String>) -> Vec<String> {
    promised.difference(now).cloned().collect()
}

#[test]
fn what_was_promised_holds() {
    let (now, revisions) = (fields::promises(), folder().join("revisions"));
    let same = format!("{SCHEMA}.");
    let files = fs::read_dir(&revisions).expect("a folder").map(|file| file.expect("a file").path());
    let earlier: Vec<PathBuf> = files
        .filter(|file| file.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&same)))
        .collect();
    assert!(!earlier.is_empty(), "{} is empty", revisions.display());
    for file in earlier {
        let broken = broken(&lines(&file), &now);
        assert!(
            broken.is_empty(),
            "{} promised, and holds no more (raise SCHEMA): {broken:#?}",
            file.display()
        );
    }
}

#[test]
fn nothing_is_added_without_a_new_revision() {
    let (now, file) = (fields::promises(), folder().join(format!("revisions/{}.txt", version())));
    if asked_to_write() && !file.exists() {
        write(&file, &now.iter().map(|line| format!("{line}\n")).collect::<String>());
    }
    let added = broken(&now, &lines(&file));
    assert!(added.is_empty(), "raise message::REVISION (see above) for: {added:#?}");
}

/// The guard itself: each change that a subscriber would feel is found.
#[test]
fn a_promise_that_is_broken_is_found() {
    let now = fields::promises();
    for line in [
        "events on events qos 1 retain false",
        "health schema is always there",
        "detections detections[].region.box is {\"maxItems\":4,\"minItems\":4,\"type\":\"array\"}",
        "status payload may be stopped",
        "set sensitivity is {\"format\":\"float\",\"maximum\":10,\"minimum\":-10,\"type\":[\"number\",\"null\"]}",
    ] {
        assert!(now.contains(line), "{line} is none of {now:#?}");
        let without = now.iter().filter(|one| *one != line).cloned().collect();
        assert_eq!(broken(&now, &without), [line]);
        assert!(broken(&without, &now).is_empty(), "what is added breaks nothing");
    }
}

#[test]
fn the_published_schemas_are_those_of_the_types() {
    let text = |value: &Value| serde_json::to_string_pretty(value).expect("JSON") + "\n";
    for (name, schema) in topics::schemas() {
        is_as_the_types_say(&folder().join(format!("{name}.json")), &text(schema.as_value()));
    }
    is_as_the_types_say(&folder().join("asyncapi.json"), &text(&asyncapi::document()));
}

#[test]
fn the_tables_of_the_page_are_those_of_the_types() {
    is_as_the_types_say(&page::path(), &page::generated());
}

/// Every JSON message of ours says by which version it is to be read, and whose it is.
#[test]
fn every_message_names_its_version_and_its_device() {
    let bare = ["status", "ros2", "set"]; // a word; ROS's own fields; what others write
    for (name, schema) in topics::schemas().into_iter().filter(|(name, _)| !bare.contains(name)) {
        let fields = fields::fields(&schema);
        for wanted in ["schema", "device"] {
            let there = fields.iter().any(|field| field.path == wanted && field.required);
            assert!(there, "{name} may come without {wanted}");
        }
    }
}

/// What the system's Python says, which has the packages.
fn python(arguments: &[&str], input: &str) -> String {
    let mut command = Command::new("/usr/bin/python3");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().expect("python3 is installed: `make setup-test`");
    process.stdin.take().expect("its input").write_all(input.as_bytes()).expect("it reads");
    let output = process.wait_with_output().expect("a child");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {words}", arguments.join(" "));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_examples_of_the_page_are_as_the_schemas_say() {
    let told = python(&["tests/data/examples.py", "page", "docs/mqtt.md", "docs/contract"], "");
    let expected = ["detections", "events", "health", "info", "level", "result", "settings", "state"];
    assert_eq!(told.lines().collect::<Vec<_>>(), expected, "each topic has one example");
}

#[test]
fn the_pages_robot_turns_toward_a_sound_once() {
    python(&["tests/data/turn.py", "docs/mqtt.md"], "");
}

#[test]
fn the_asyncapi_document_is_one_and_points_at_what_is_there() {
    python(&["tests/data/asyncapi.py", "docs/contract"], "");
}

/// A wish is granted if, and only if, it is as the published schema says.
#[test]
fn the_schema_of_wishes_is_what_is_judged_by() {
    let wishes = [
        ("enable", "true"),
        ("enable", "null"),
        ("enable", "1"),
        ("enable", "\"true\""),
        ("sensitivity", "-10"),
        ("sensitivity", "0.5"),
        ("sensitivity", "10.5"),
        ("sensitivity", "null"),
        ("classes", "[]"),
        ("classes", "[\"dog\", \"cat\"]"),
        ("classes", "\"dog\""),
        ("classes", "[1]"),
        ("thresholds", "{}"),
        ("thresholds", "{\"dog\": {\"p\": 0.8, \"p_a\": 0, \"p_v\": 1}}"),
        ("thresholds", "{\"dog\": {\"p\": 1.1}}"),
        ("thresholds", "{\"dog\": {\"p\": null}}"),
        ("thresholds", "{\"dog\": {\"q\": 0.5}}"),
        ("thresholds", "{\"dog\": 0.8}"),
        ("port", "1"),
    ];
    let input: String = wishes.iter().map(|(key, value)| format!("{{\"{key}\": {value}}}\n")).collect();
    let told = python(&["tests/data/examples.py", "judge", "docs/contract/set.json"], &input);
    let granted =
        wishes.map(
            |(key, value)| {
                if Overrides::default().with(key, value.as_bytes()).is_ok() { "yes" } else { "no" }
            },
        );
    assert_eq!(told.lines().collect::<Vec<_>>(), granted, "of {wishes:?}");
}

#[test]
fn a_robot_is_told_what_vision_msgs_hold() {
    let example: Message = serde_json::from_value(page::example("detections")).expect("an example");
    let array = serde_json::to_string(&Detection2DArray::new(&example, "eye")).expect("JSON");
    python(&["tests/data/ros2.py", "docs"], &array);
}
