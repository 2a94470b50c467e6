//! What the parsers say, in the user's words, and the cure that was probably meant.

use super::Config;
use super::error::Fault;
use toml::de::{DeTable, DeValue};

/// What the typed reading of the value `offender` at `path` found; `words` is what it says of a text that it does not know,
/// where only some may stand.
pub(super) fn typed(
    error: &toml::de::Error,
    path: &[String],
    offender: Option<&DeValue>,
    words: Option<&toml::de::Error>,
) -> Fault {
    let (message, help) = words
        .and_then(|words| no_word(words.message(), offender?))
        .unwrap_or_else(|| explain(error.message(), path, offender));
    Fault { key: path.join("."), span: error.span(), message, help, late: false }
}

/// What is no word at all where one of some is expected.
fn no_word(message: &str, offender: &DeValue) -> Option<(String, Option<String>)> {
    let choices = message.starts_with("unknown variant").then(|| quoted(message))?;
    let choices = choices.get(1..).unwrap_or_default();
    Some((format!("is {}, expected {}", described(offender)?, listed(choices, "\"")), None))
}

/// The names in backticks.
fn quoted(message: &str) -> Vec<&str> {
    message.split('`').skip(1).step_by(2).collect()
}

/// A value in the user's words; `None` for a text.
fn described(value: &DeValue) -> Option<String> {
    Some(match value {
        DeValue::String(_) => return None,
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(answer) => answer.to_string(),
        DeValue::Datetime(date) => format!("the date {date}"),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a section".into(),
    })
}

/// Serde's message in the user's words, and a cure.
pub(super) fn explain(
    message: &str,
    path: &[String],
    offender: Option<&DeValue>,
) -> (String, Option<String>) {
    let quoted = quoted(message);
    let (name, choices) = quoted.split_first().map_or(("", &[][..]), |(name, rest)| (*name, rest));
    if message.starts_with("unknown field") {
        let what = if offender.is_some_and(DeValue::is_table) { "section" } else { "key" };
        (format!("unknown {what} `{name}`"), Some(key_help(name, choices, path)))
    } else if message.starts_with("unknown variant") {
        let help = nearest(name, choices).map(|near| format!("did you mean \"{near}\"?"));
        (format!("\"{name}\" is not known, expected {}", listed(choices, "\"")), help)
    } else if let Some((found, expected)) = ["invalid type: ", "invalid value: "]
        .iter()
        .find_map(|kind| message.strip_prefix(kind))
        .and_then(|rest| rest.split_once(", expected "))
    {
        let expected = plain(expected);
        let whole = offender.filter(|value| matches!(value, DeValue::Integer(_) | DeValue::Datetime(_)));
        let found = whole.and_then(described).unwrap_or_else(|| plain_found(found));
        (format!("is {found}, expected {expected}"), type_help(&expected, path, offender))
    } else {
        (message.replace('`', ""), None)
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

/// What serde calls a value, in the user's words.
fn plain_found(found: &str) -> String {
    const WORDS: [(&str, &str); 6] = [
        ("string ", "the text "),
        ("boolean ", ""),
        ("integer ", "the number "),
        ("floating point ", "the number "),
        ("sequence", "a list"),
        ("map", "a section"),
    ];
    let known = WORDS.iter().find_map(|(word, plain)| Some(format!("{plain}{}", found.strip_prefix(word)?)));
    known.unwrap_or_else(|| found.to_string()).replace('`', "")
}

/// How to write the value that was probably meant.
fn type_help(expected: &str, path: &[String], offender: Option<&DeValue>) -> Option<String> {
    let name = path.last().map_or("", String::as_str);
    match (expected, offender?) {
        ("a number" | "a whole number", DeValue::String(text)) if bare_number(text).is_some() => {
            bare_number(text)
                .map(|number| format!("numbers stand without quotes and unit: {name} = {number}"))
        }
        ("a number" | "a whole number", DeValue::String(text)) if text.trim().parse::<f64>().is_ok() => {
            Some(format!("write it without quotes: {}", text.trim()))
        }
        ("true or false", DeValue::String(text)) if answer(text).is_some() => {
            answer(text).map(|answer| format!("write it without quotes: {answer}"))
        }
        ("a section of keys", DeValue::Integer(_) | DeValue::Float(_))
            if path.starts_with(&["detection".into(), "thresholds".into()]) =>
        {
            offender.and_then(described).map(|p| {
                format!(
                    "write {name} = {{ p = {} }}, or p_v for what is seen, p_a for what is heard",
                    p.replace("the number ", "")
                )
            })
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
    walk(Config::built_in().get_ref(), "", name, &mut found);
    found
}

/// The choice most like `name`, if one is like it at all. Two letters swapped come before all else: in a word as short as
/// `tls` they would count as two others.
fn nearest<'a>(name: &str, choices: &[&'a str]) -> Option<&'a str> {
    let name = name.to_lowercase();
    let swapped =
        |choice: &str| strsim::osa_distance(&name, choice) == 1 && strsim::levenshtein(&name, choice) == 2;
    let likeness = |choice: &str| match swapped(choice) {
        true => 1.0,
        false => strsim::jaro_winkler(&name, choice),
    };
    let best = choices.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) >= 0.8).then_some(best)
}

fn listed(choices: &[&str], quote: &str) -> String {
    choices.iter().map(|c| format!("{quote}{c}{quote}")).collect::<Vec<_>>().join(", ")
}

/// The number in front of a unit.
pub(super) fn bare_number(text: &str) -> Option<&str> {
    let text = text.trim();
    let end = text.find(|c: char| !matches!(c, '0'..='9' | '.' | '-' | '+' | '_'))?;
    let (number, unit) = text.split_at(end);
    let unit = unit.trim_start();
    let short = unit.chars().count() <= 12
        && unit.chars().all(|c| c.is_alphabetic() || matches!(c, '%' | '/' | '°' | '²'));
    (short && number.parse::<f64>().is_ok()).then_some(number)
}

/// What somebody who says so means.
pub(super) fn answer(text: &str) -> Option<bool> {
    match text.trim().to_lowercase().as_str() {
        "yes" | "on" | "true" => Some(true),
        "no" | "off" | "false" => Some(false),
        _ => None,
    }
}
