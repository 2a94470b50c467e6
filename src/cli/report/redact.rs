//! Takes out of a text what nobody else may read: secrets of the configuration wherever they stand, and whatever looks
//! like one.

use std::path::Path;

use serde::Serialize;
use serde_json::Value as Json;
use toml::{Table, Value};

use crate::bounded;
use crate::config::{self, GONE, veiled};

/// Words in the name of a key, or of a property in a launch line, whose value is nobody's business, beside those that no log
/// shows.
const MORE_SENSITIVE: [&str; 5] = ["user", "key_file", "certificate_file", "-id", "auth"];
/// A shorter secret would take letters out of words; its own key still does not show it.
const SHORTEST: usize = 4;

/// Knows the secrets of one configuration.
#[derive(Debug, Default)]
pub(super) struct Redactor(Vec<String>);

impl Redactor {
    /// Learns what `config`, the text of a file, holds or names. Text that is no TOML teaches nothing.
    pub fn new(config: &Table) -> Self {
        let mut secrets = Vec::new();
        learn("", &Value::Table(config.clone()), &mut secrets);
        secrets.retain(|secret| secret.len() >= SHORTEST);
        // A secret that holds another one goes first.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(secrets)
    }

    /// The configuration with its sensitive values replaced.
    pub fn table(&self, config: &Table) -> Table {
        config.iter().map(|(key, value)| (key.clone(), self.value(key, value))).collect()
    }

    fn value(&self, key: &str, value: &Value) -> Value {
        match value {
            Value::Table(table) => Value::Table(self.table(table)),
            Value::Array(items) => Value::Array(items.iter().map(|item| self.value(key, item)).collect()),
            Value::String(text) if text.is_empty() => value.clone(),
            _ if sensitive(key) => Value::String(GONE.into()),
            Value::String(text) => Value::String(self.text(text)),
            other => other.clone(),
        }
    }

    /// What is told as JSON, each of its texts as [`Redactor::text`] has it: in JSON itself a text of many lines is one.
    ///
    /// # Errors
    /// It cannot be told as JSON.
    pub fn json(&self, told: &impl Serialize) -> serde_json::Result<Json> {
        Ok(self.texts(serde_json::to_value(told)?))
    }

    fn texts(&self, told: Json) -> Json {
        match told {
            Json::String(text) => Json::String(self.text(&text)),
            Json::Array(items) => items.into_iter().map(|item| self.texts(item)).collect(),
            Json::Object(fields) => {
                fields.into_iter().map(|(name, field)| (self.text(&name), self.texts(field))).collect()
            }
            other => other,
        }
    }

    /// The text without any secret, without what stands before the `@` of an address, and without the lines of a
    /// configuration that a message about it quotes.
    pub fn text(&self, text: &str) -> String {
        let known = self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret, GONE));
        known.split_inclusive('\n').map(|line| veiled(&quotation(line))).collect()
    }
}

fn sensitive(key: &str) -> bool {
    let key = key.to_lowercase();
    let more = || MORE_SENSITIVE.iter().any(|word| key.contains(word));
    key != "client_id" && key != "frame_id" && (config::sensitive(&key) || more())
}

/// Collects the secrets under `key`.
fn learn(key: &str, value: &Value, secrets: &mut Vec<String>) {
    match value {
        Value::Table(table) => table.iter().for_each(|(key, value)| learn(key, value, secrets)),
        Value::Array(items) => items.iter().for_each(|item| learn(key, item, secrets)),
        Value::String(text) if sensitive(key) => {
            if key.ends_with("_file") {
                secrets.extend(
                    bounded::read_text(Path::new(text), bounded::TEXT).map(|held| held.trim().to_owned()),
                );
            }
            secrets.push(text.clone());
        }
        Value::String(text) => {
            secrets.extend(people(text).map(str::to_owned));
            // An address without its scheme, in which nobody belongs.
            let stray = text.split_once('@').filter(|_| !text.contains("://"));
            secrets.extend(
                stray.and_then(|(who, _)| who.split_once(':')).map(|(_, password)| password.to_owned()),
            );
            let properties = text.split_whitespace().filter_map(|word| word.split_once('='));
            let told = properties.filter(|(name, _)| sensitive(name));
            secrets.extend(told.map(|(_, value)| value.trim_matches(['"', '\'']).to_owned()));
        }
        _ => {}
    }
}

/// The passwords before the `@` of the addresses in a text.
fn people(text: &str) -> impl Iterator<Item = &str> {
    text.split("://").skip(1).filter_map(|rest| user(rest)?.split_once(':').map(|(_, password)| password))
}

/// What stands before the last `@` of an address whose scheme was cut off.
fn user(rest: &str) -> Option<&str> {
    let end = rest.find(|c: char| c == '/' || c.is_whitespace() || c == '"').unwrap_or(rest.len());
    rest[..end].rfind('@').map(|at| &rest[..at])
}

/// A line without what it quotes of a configuration: `   4 | port = 0`, with or without the journal's words before it.
fn quotation(line: &str) -> String {
    let Some((before, quoted)) = line.split_once(" | ") else { return line.to_owned() };
    let number = before.rsplit(' ').next().unwrap_or_default();
    let quotes = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let end = if quoted.ends_with('\n') { "\n" } else { "" };
    if quotes { format!("{before} | {GONE}{end}") } else { line.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor(config: &str) -> (Redactor, Table) {
        let table: Table = config.parse().expect("a table");
        (Redactor::new(&table), table)
    }

    #[test]
    fn addresses_lose_their_users_wherever_they_stand() {
        let none = Redactor::default();
        let told = none.text("see rtsp://admin:pa:ss@1.2.3.4/s?a=b@c and mqtt://x@y, http://plain/@\n");
        assert_eq!(told, "see rtsp://***@1.2.3.4/s?a=*** and mqtt://***@y, http://plain/@\n");
    }

    #[test]
    fn a_password_in_the_place_of_a_host_is_not_passed_on() {
        let (redactor, table) =
            redactor("mqtt.host = \"u:hunter22@h\"\nmqtt.fallbacks = [\"v:sesame1@i:1\"]");
        let shown = serde_json::to_string(&redactor.table(&table)).expect("JSON");
        assert!(!shown.contains("hunter22") && !shown.contains("sesame1"), "{shown}");
    }

    #[test]
    fn a_quoted_line_of_the_configuration_is_not_passed_on() {
        let none = Redactor::default();
        let told = none.text(
            "x.toml:4:8: unknown\n   4 | passwort = \"geheim\"\n     |   ^^^\nNov 1 a tvsl[7]:   12 | b\n",
        );
        assert_eq!(told, "x.toml:4:8: unknown\n   4 | ***\n     |   ^^^\nNov 1 a tvsl[7]:   12 | ***\n");
        assert_eq!(none.text("a | b | c 3 |d"), "a | b | c 3 |d");
    }

    #[test]
    fn what_is_told_as_json_stays_json_and_quotes_nothing() {
        let text = format!("{}passwort = \"geheim\"\nmqtt.port = 0 # geheim\n", "\n".repeat(998));
        let faults = config::Config::parse(&text, Path::new("x.toml")).expect_err("two faults").to_string();
        assert!(faults.contains(" 999 | ") && faults.contains("1000 | "), "{faults}");
        let told = Redactor::default().json(&[faults]).expect("JSON").to_string();
        let read: Vec<String> = serde_json::from_str(&told).expect("JSON still");
        assert!(!told.contains("geheim") && read[0].contains("1000 | ***"), "{told}");
        assert!(read[0].contains("x.toml:999:") && read[0].contains("x.toml:1000:"), "both are told: {told}");
    }

    #[test]
    fn what_one_place_tells_is_taken_out_of_all() {
        let (redactor, table) = redactor(
            "camera.rtsp.url = \"rtsp://u:hunter22@cam/1\"\ncamera.pipeline.launch = \"souphttpsrc user-pw=s3same user-id=me ! x\"\nmqtt.password_file = \"/etc/none/pw\"\nmqtt.client_id = \"hall\"",
        );
        let told = redactor.text("hunter22, then s3same; me; /etc/none/pw");
        assert_eq!(told, "***, then ***; me; ***");
        let shown = serde_json::to_string(&redactor.table(&table)).expect("JSON");
        for secret in ["hunter22", "s3same", "none/pw"] {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
        assert!(shown.contains("rtsp://***@cam/1") && shown.contains("\"client_id\":\"hall\""), "{shown}");
    }
}
