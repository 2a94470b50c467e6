//! What is wrong with a configuration, said so that it can be put right on a ladder with a phone.

use super::layer;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// Why there is no configuration. A program that ends for it exits with 78 (`EX_CONFIG`).
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is larger than any configuration.
    #[error("{}: is larger than {limit} bytes; is it the right file?", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// The most that is read.
        limit: u64,
    },
    /// The file is not text in UTF-8.
    #[error("{}:{line}: is not text in UTF-8 (byte 0x{byte:02x}); save it as UTF-8", file.display())]
    NotText {
        /// The file.
        file: PathBuf,
        /// Line of the first wrong byte, from 1.
        line: usize,
        /// That byte.
        byte: u8,
    },
    /// The text has faults, each told with its place.
    #[error("{}", told.join("\n"))]
    Invalid {
        /// One paragraph for each fault.
        told: Vec<String>,
    },
}

impl ConfigError {
    /// The error for `faults` found in the `text` of `file`.
    pub(super) fn invalid(file: &Path, text: &str, mut faults: Vec<Fault>) -> Self {
        faults.sort_by_key(|fault| fault.span.as_ref().map(|span| span.start));
        Self::Invalid { told: faults.iter().map(|fault| fault.tell(file, text)).collect() }
    }
}

/// One thing wrong with a configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// Dotted path of the key; empty for text that is no TOML.
    pub key: String,
    /// Bytes of the text it is about; `None`: the key is not in the text.
    pub span: Option<Range<usize>>,
    /// What is wrong and what was expected.
    pub message: String,
    /// What to write instead, if that can be guessed.
    pub help: Option<String>,
}

impl Fault {
    /// Text that is no TOML.
    pub(super) fn syntax(text: &str, error: &toml::de::Error) -> Self {
        let span = error.span().unwrap_or(0..0);
        let help = syntax_help(text, span.start);
        Self { key: String::new(), span: Some(span), message: error.message().replace('\n', ", "), help }
    }

    /// A broken rule about `key`, whose place is still to be found.
    pub(super) fn rule(key: &str, message: String) -> Self {
        Self { key: key.into(), span: None, message, help: None }
    }

    /// A list at `path`, where a section belongs.
    pub(super) fn list_for_section(path: &[String], span: Range<usize>) -> Self {
        let key = path.join(".");
        let help = Some(format!("write [{key}] once, with single brackets"));
        Self { span: Some(span), message: "is a list, expected a section of keys".into(), help, key }
    }

    /// The same fault with a cure.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What the typed reading of the value `offender` at `path` found.
    pub(super) fn typed(error: &toml::de::Error, path: Vec<String>, offender: Option<&DeValue>) -> Self {
        let (message, help) = explain(error.message(), &path, offender);
        Self { key: path.join("."), span: error.span(), message, help }
    }

    /// `file:line:column: key: message`, the line itself with the place marked, and the cure.
    fn tell(&self, file: &Path, text: &str) -> String {
        let key = if self.key.is_empty() { String::new() } else { format!("{}: ", self.key) };
        let help = self.help.as_ref().map_or(String::new(), |help| format!("   = {help}\n"));
        let Some(span) = &self.span else {
            return format!("{}: {key}{}\n{help}", file.display(), self.message);
        };
        let place = Place::of(text, span);
        let at = format!("{}:{}:{}", file.display(), place.line, place.column);
        format!("{at}: {key}{}\n{place}{help}", self.message)
    }
}

/// A line of the text with a part of it marked.
struct Place<'a> {
    line: usize,
    column: usize,
    before: String,
    marked: usize,
    content: &'a str,
}

impl<'a> Place<'a> {
    fn of(text: &'a str, span: &Range<usize>) -> Self {
        let start = floor(text, span.start);
        let from = text[..start].rfind('\n').map_or(0, |n| n + 1);
        let content = text[from..].lines().next().unwrap_or("");
        let end = floor(text, span.end.max(start)).min(from + content.len()).max(start);
        let before =
            text[from..start].chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect::<String>();
        Self {
            line: text[..from].matches('\n').count() + 1,
            column: before.chars().count() + 1,
            marked: text[start..end].chars().count().max(1),
            before,
            content,
        }
    }
}

/// The largest boundary of a character at or before `index`.
fn floor(text: &str, index: usize) -> usize {
    (0..=index.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0)
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        /// Longer lines would bury the message.
        const WIDEST: usize = 160;
        if self.column + self.marked > WIDEST {
            return Ok(());
        }
        let content = self.content.chars().take(WIDEST).collect::<String>();
        writeln!(f, "{:>4} | {content}", self.line)?;
        writeln!(f, "     | {}{}", self.before, "^".repeat(self.marked))
    }
}

/// Serde's message in the user's words, and a cure.
fn explain(message: &str, path: &[String], offender: Option<&DeValue>) -> (String, Option<String>) {
    let quoted = message.split('`').skip(1).step_by(2).collect::<Vec<_>>();
    let (name, choices) = quoted.split_first().map_or(("", &[][..]), |(name, rest)| (*name, rest));
    if message.starts_with("unknown field") {
        let what = if offender.is_some_and(DeValue::is_table) { "section" } else { "key" };
        (format!("unknown {what} `{name}`"), Some(key_help(name, choices, path)))
    } else if message.starts_with("unknown variant") {
        let help = nearest(name, choices).map(|near| format!("did you mean \"{near}\"?"));
        (format!("\"{name}\" is not known, expected {}", listed(choices, "\"")), help)
    } else if let Some((found, expected)) =
        message.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected "))
    {
        let expected = plain(expected);
        let found = found
            .replace('`', "")
            .replace("string ", "the text ")
            .replace("boolean ", "")
            .replace("map", "a section");
        let found = found.replace("integer ", "the number ").replace("floating point ", "the number ");
        (format!("is {found}, expected {expected}"), type_help(&expected, offender))
    } else {
        (message.replace("invalid value: ", "is ").replace('`', ""), None)
    }
}

/// What serde calls a type, in the user's words.
fn plain(expected: &str) -> String {
    match expected {
        "f64" | "f32" => "a number",
        "i64" | "u64" | "u32" | "u16" | "usize" => "a whole number",
        "a string" | "path string" => "text in quotes",
        "a boolean" => "true or false",
        "a sequence" => "a list in brackets",
        "a map" => "a section",
        other if other.starts_with("struct ") => "a section of keys",
        other if other.starts_with("string or table") || other.starts_with("enum ") => "a word in quotes",
        other => other,
    }
    .into()
}

/// How to write the value that was probably meant.
fn type_help(expected: &str, offender: Option<&DeValue>) -> Option<String> {
    match (expected, offender?) {
        ("a number" | "a whole number", DeValue::String(text)) if text.trim().parse::<f64>().is_ok() => {
            Some(format!("write it without quotes: {}", text.trim()))
        }
        ("true or false", DeValue::String(text)) if matches!(text.trim(), "true" | "false") => {
            Some(format!("write it without quotes: {}", text.trim()))
        }
        ("a list in brackets", DeValue::String(text)) => Some(format!("write it in brackets: [\"{text}\"]")),
        ("text in quotes", DeValue::Integer(number)) => Some(format!("write it in quotes: \"{number}\"")),
        ("text in quotes", DeValue::Float(number)) => Some(format!("write it in quotes: \"{number}\"")),
        ("a section of keys", DeValue::String(text)) => {
            Some(format!("a section's word is its key `source` or `kind`; is that where \"{text}\" belongs?"))
        }
        _ => None,
    }
}

/// The key that was probably meant: a like one here, the same one elsewhere, or those there are.
fn key_help(name: &str, choices: &[&str], path: &[String]) -> String {
    if let Some(near) = nearest(name, choices) {
        return format!("did you mean `{near}`?");
    }
    let section = path.split_last().map_or(String::new(), |(_, section)| section.join("."));
    let mut homes = sections_with(name);
    if homes.iter().any(|home| home.starts_with(&section)) {
        homes.retain(|home| home.starts_with(&section));
    }
    match homes.as_slice() {
        [] if section.is_empty() => format!("sections: {}", listed(choices, "`")),
        [] => format!("keys of [{section}]: {}", listed(choices, "`")),
        homes => {
            let homes = homes.iter().map(|home| format!("[{home}]")).collect::<Vec<_>>();
            format!("`{name}` belongs in {}", homes.join(" or "))
        }
    }
}

/// The sections of the built-in file that have the key `name`.
fn sections_with(name: &str) -> Vec<String> {
    fn walk(table: &DeTable, path: &str, name: &str, found: &mut Vec<String>) {
        for (key, value) in table {
            if key.get_ref() == name && !path.is_empty() {
                found.push(path.into());
            }
            if let Some(inner) = value.get_ref().as_table() {
                let dot = if path.is_empty() { "" } else { "." };
                walk(inner, &format!("{path}{dot}{}", key.get_ref()), name, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(layer::built_in().get_ref(), "", name, &mut found);
    found
}

/// The choice most like `name`, if one is like it at all.
fn nearest<'a>(name: &str, choices: &[&'a str]) -> Option<&'a str> {
    let name = name.to_lowercase();
    let likeness = |choice: &str| strsim::jaro_winkler(&name, choice);
    let best = choices.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) >= 0.8).then_some(best)
}

fn listed(choices: &[&str], quote: &str) -> String {
    choices.iter().map(|c| format!("{quote}{c}{quote}")).collect::<Vec<_>>().join(", ")
}

/// Mistakes that TOML's own message does not name.
fn syntax_help(text: &str, at: usize) -> Option<String> {
    let start = floor(text, at);
    let from = text[..start].rfind('\n').map_or(0, |n| n + 1);
    let line = text[from..].lines().next().unwrap_or("");
    let (key, value) = line.split_once('=').map(|(k, v)| (k.trim(), v.trim()))?;
    let first = value.chars().next()?;
    let number = value.replacen(',', ".", 1);
    if value.contains(',') && number.parse::<f64>().is_ok() {
        Some(format!("decimals take a point: {key} = {number}"))
    } else if value.starts_with('“') || value.starts_with('„') || value.starts_with('‘') {
        Some("use the plain quotes \" of a programmer's keyboard".into())
    } else if matches!(value.to_lowercase().as_str(), "yes" | "on" | "no" | "off" | "true" | "false") {
        let word = matches!(value.to_lowercase().as_str(), "yes" | "on" | "true");
        Some(format!("expected {key} = {word}"))
    } else if (first.is_alphabetic() || first == '/') && !value.contains('"') {
        Some(format!("text takes quotes: {key} = \"{value}\""))
    } else {
        None
    }
}
