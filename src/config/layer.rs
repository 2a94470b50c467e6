//! A user's file over the built-in one, key by key, and where in the file a fault lies.

use super::error::Fault;
use super::{Config, rules, words};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// So many faults are enough to see that it is the wrong file.
const MOST_FAULTS: usize = 20;

/// The built-in configuration with `text` laid over it, or everything that is wrong with `text`.
pub(super) fn read(text: &str) -> Result<Config, Vec<Fault>> {
    let (mut user, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let mut faults: Vec<_> = errors.iter().map(|error| words::syntax(text, error)).collect();
        faults.dedup(); // every bracket that is left open is a fault at the end of the text
        faults.truncate(MOST_FAULTS);
        return Err(faults);
    }
    let mut faults = lists_for_sections(user.get_mut(), Config::built_in().get_ref(), &[]);
    loop {
        let error = match typed(user.clone()) {
            Ok(config) if faults.is_empty() => return hold_to_rules(config, &user),
            Ok(_) => return Err(faults),
            Err(error) => error,
        };
        let path = error.span().and_then(|span| locate(user.get_ref(), &span)).unwrap_or_default();
        let offender = take(user.get_mut(), &path);
        faults.push(words::typed(&error, &path, offender.as_ref()));
        if offender.is_none() || faults.len() == MOST_FAULTS {
            return Err(faults);
        }
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

fn hold_to_rules(config: Config, user: &Spanned<DeTable>) -> Result<Config, Vec<Fault>> {
    let mut faults = rules::faults(&config);
    for fault in &mut faults {
        fault.span = value_span(user.get_ref(), &fault.key);
    }
    if faults.is_empty() { Ok(config) } else { Err(faults) }
}

/// The keys that lead to what lies at `span`.
fn locate(table: &DeTable, span: &Range<usize>) -> Option<Vec<String>> {
    table.iter().find_map(|(key, value)| {
        let within = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
        let deeper = value.get_ref().as_table().and_then(|inner| locate(inner, span));
        let rest = deeper.or_else(|| (within(key.span()) || within(value.span())).then(Vec::new))?;
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

/// Where `text` sets the dotted `key`, or the nearest section around it.
pub(super) fn place(text: &str, key: &str) -> Option<Range<usize>> {
    value_span(DeTable::parse_recoverable(text).0.get_ref(), key)
}

/// Where the user's file sets the dotted `key`, or the nearest section around it.
fn value_span(table: &DeTable, key: &str) -> Option<Range<usize>> {
    let (first, rest) = key.split_once('.').unwrap_or((key, ""));
    let value = table.get(first)?;
    let deeper = value.get_ref().as_table().and_then(|inner| value_span(inner, rest));
    deeper.or_else(|| Some(value.span()))
}
