//! A user's file over the built-in one, key by key, and where in the file a fault lies.

use super::error::{Fault, MOST_COUNTED};
use super::{Config, place, rules, syntax, words};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The built-in configuration with what is right in `text` laid over it, and everything that is wrong with the rest; faults
/// alone if `text` is no TOML, or has too many of them.
pub(super) fn read(text: &str) -> Result<(Config, Vec<Fault>), Vec<Fault>> {
    let (mut user, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(syntax::faults(text, &errors));
    }
    let mut faults = lists_for_sections(user.get_mut(), Config::built_in().get_ref(), &[]);
    loop {
        let error = match typed(user.clone()) {
            Ok(config) => {
                faults.extend(broken_rules(&config, &user, &faults));
                return Ok((config, faults));
            }
            Err(error) => error,
        };
        let path = error.span().and_then(|span| locate(user.get_ref(), &span)).unwrap_or_default();
        let path = key_of(path, Config::built_in().get_ref());
        let words = words_for(&user, &path);
        let offender = take(user.get_mut(), &path);
        faults.push(words::typed(&error, &path, offender.as_ref(), words.as_ref()));
        if offender.is_none() || faults.len() == MOST_COUNTED {
            return Err(faults);
        }
    }
}

/// As much of `path` as leads to a key, and not into a value that should be none of a section.
fn key_of(mut path: Vec<String>, shipped: &DeTable) -> Vec<String> {
    let mut table = Some(shipped);
    for (depth, name) in path.iter().enumerate() {
        match table.and_then(|table| table.get(name.as_str())).map(Spanned::get_ref) {
            Some(DeValue::Table(inner)) => table = Some(inner),
            Some(_) => {
                path.truncate(depth + 1);
                break;
            }
            None => break,
        }
    }
    path
}

/// What is said of the key at `path` if a text stands there that it does not know: where only some words may stand, which.
fn words_for(user: &Spanned<DeTable>, path: &[String]) -> Option<toml::de::Error> {
    let mut user = user.clone();
    match at(user.get_mut(), path)? {
        DeValue::String(_) => None,
        value => {
            *value = DeValue::String("".into());
            let error = typed(user.clone()).err()?;
            let here = locate(user.get_ref(), &error.span()?)? == path;
            here.then_some(error)
        }
    }
}

/// The value at `path`.
fn at<'t, 'a>(table: &'t mut DeTable<'a>, path: &[String]) -> Option<&'t mut DeValue<'a>> {
    let (first, rest) = path.split_first()?;
    match table.get_mut(first.as_str())?.get_mut() {
        value if rest.is_empty() => Some(value),
        DeValue::Table(inner) => at(inner, rest),
        _ => None,
    }
}

fn typed(user: Spanned<DeTable>) -> Result<Config, toml::de::Error> {
    let span = user.span();
    let mut merged = Config::built_in().into_inner();
    overlay(&mut merged, user.into_inner());
    Config::deserialize(toml::de::Deserializer::from(Spanned::new(span, merged)).into_deserializer())
}

/// Lays `over` onto `under`: tables merge, everything else replaces.
fn overlay<'a>(under: &mut DeTable<'a>, over: DeTable<'a>) {
    for (key, mut value) in over {
        let below = under.get_mut(key.get_ref().as_ref()).map(Spanned::get_mut);
        if let (Some(DeValue::Table(below)), DeValue::Table(above)) = (below, value.get_mut()) {
            overlay(below, std::mem::take(above));
        } else {
            // The key goes too: its place is what errors point at.
            under.remove(key.get_ref().as_ref());
            under.insert(key, value);
        }
    }
}

/// The rules that `config` breaks, beyond what is known of it.
fn broken_rules(config: &Config, user: &Spanned<DeTable>, known: &[Fault]) -> Vec<Fault> {
    let mut faults = rules::faults(config, known);
    for fault in &mut faults {
        fault.span = place::within(user.get_ref(), &fault.key);
    }
    faults
}

/// The keys that lead to what lies at `span`: no further than to the key that lies there itself, for the headers of sections in
/// a section (`[mqtt.tsl.x]`) are places of both.
fn locate(table: &DeTable, span: &Range<usize>) -> Option<Vec<String>> {
    table.iter().find_map(|(key, value)| {
        let within = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
        let here = |place: Range<usize>| within(place).then(Vec::new);
        let deeper = || value.get_ref().as_table().and_then(|inner| locate(inner, span));
        let rest = here(key.span()).or_else(deeper).or_else(|| here(value.span()))?;
        Some(std::iter::once(key.get_ref().to_string()).chain(rest).collect())
    })
}

/// Takes out lists that stand where a section belongs (`[[log]]` for `[log]`): serde would read them.
fn lists_for_sections(user: &mut DeTable, shipped: &DeTable, path: &[String]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (key, section) in shipped {
        let (name, DeValue::Table(section)) = (key.get_ref().as_ref(), section.get_ref()) else { continue };
        let path = [path, &[name.to_string()]].concat();
        let Some(value) = user.get_mut(name) else { continue };
        let span = value.span();
        match value.get_mut() {
            DeValue::Table(inner) => faults.extend(lists_for_sections(inner, section, &path)),
            DeValue::Array(_) => {
                user.remove(name);
                faults.push(Fault::list_for_section(&path, span));
            }
            _ => {}
        }
    }
    faults
}

/// Removes the value at `path`.
fn take<'a>(table: &mut DeTable<'a>, path: &[String]) -> Option<DeValue<'a>> {
    match path {
        [] => None,
        [last] => table.remove(last.as_str()).map(Spanned::into_inner),
        [first, rest @ ..] => match table.get_mut(first.as_str())?.get_mut() {
            DeValue::Table(inner) => take(inner, rest),
            _ => None,
        },
    }
}
