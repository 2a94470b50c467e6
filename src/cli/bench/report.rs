//! The figures with their targets, for people and for machines.

use std::fmt::Write;

use serde::Serialize;
use serde_json::{Map, Value, json};

/// What a figure is to reach on two cores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Target {
    AtMost(f64),
    AtLeast(f64),
    None,
}

/// One measured figure.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub name: &'static str,
    pub value: Option<f64>,
    pub unit: &'static str,
    pub target: Target,
    /// What it is, in a few words.
    pub about: &'static str,
}

impl Row {
    /// Whether the target is reached; `None` without a target. A figure that is lacking misses it.
    fn passes(&self) -> Option<bool> {
        match self.target {
            Target::AtMost(limit) => Some(self.value.is_some_and(|value| value <= limit)),
            Target::AtLeast(limit) => Some(self.value.is_some_and(|value| value >= limit)),
            Target::None => None,
        }
    }

    fn target(&self) -> String {
        match self.target {
            Target::AtMost(limit) => format!("<= {limit}"),
            Target::AtLeast(limit) => format!(">= {limit}"),
            Target::None => String::new(),
        }
    }
}

/// How the figures were taken.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Setting {
    pub model: String,
    pub engine: String,
    pub threads: usize,
    pub cores: usize,
    pub clip: String,
    pub input: String,
    pub frames: usize,
    /// How many sounds begin and end in the clip: onsets, ends and identities are of so many.
    pub sounds: usize,
    pub load: String,
}

/// The figures for people.
pub(super) fn table(setting: &Setting, rows: &[Row]) -> String {
    let Setting { model, engine, threads, cores, clip, input, frames, sounds, load } = setting;
    let mut out = format!(
        "{model} on {engine}, {threads} threads of {cores} cores; load before the start {load}\n\
         {clip}, {frames} frames at {input}; {sounds} sounds begin and end in it\n\n"
    );
    for row in rows {
        let value = row.value.map_or("-".into(), |value| format!("{value:.2}"));
        let verdict = row.passes().map_or("", |passes| if passes { "pass" } else { "MISS" });
        let (name, unit, about) = (row.name, row.unit, row.about);
        let _ = writeln!(out, "{name:<26}{value:>9} {unit:<5}{:>9} {verdict:<4}  {about}", row.target());
    }
    out
}

/// The figures for machines.
pub(super) fn json(setting: &Setting, rows: &[Row]) -> Value {
    let mut all = Map::new();
    all.insert("setting".into(), json!(setting));
    for row in rows {
        let target = match row.target {
            Target::None => Value::Null,
            _ => row.target().into(),
        };
        let figure = json!({"value": row.value, "unit": row.unit, "target": target, "pass": row.passes()});
        all.insert(row.name.into(), figure);
    }
    Value::Object(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(value: Option<f64>, target: Target) -> Row {
        Row { name: "peak_rss", value, unit: "MB", target, about: "" }
    }

    #[test]
    fn targets_are_reached_or_missed() {
        assert_eq!(row(Some(250.0), Target::AtMost(250.0)).passes(), Some(true));
        assert_eq!(row(Some(39.9), Target::AtLeast(40.0)).passes(), Some(false));
        assert_eq!(row(None, Target::AtMost(1.0)).passes(), Some(false));
        assert_eq!(row(Some(1.0), Target::None).passes(), None);
    }
}
