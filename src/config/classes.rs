//! Names of classes: whoever writes them, they are bounded, and each has a topic of its own.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{Deserializer, Error};

/// Most names in a list.
pub const MOST_CLASSES: usize = 500;

/// Most bytes of a name.
const LONGEST: usize = 100;

/// The level of a topic that stands for a class.
pub fn class_level(class: &str) -> String {
    class.replace(['/', '+', '#', '$'], "_")
}

pub(super) fn list<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<String>::deserialize(d)?;
    let fault = (names.len() > MOST_CLASSES)
        .then(|| format!("holds {} names, expected at most {MOST_CLASSES}", names.len()))
        .or_else(|| names.iter().find_map(|name| fault(name)))
        .or_else(|| shared_topic(&names));
    fault.map_or(Ok(names), |fault| Err(D::Error::custom(fault)))
}

pub(super) fn some_list<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Vec<String>>, D::Error> {
    list(d).map(Some)
}

fn fault(name: &str) -> Option<String> {
    if name.trim().is_empty() {
        Some(
            "holds an empty name, expected names of classes, such as [\"dog\"], or [] for every class".into(),
        )
    } else if name.contains(char::is_control) {
        Some(format!("holds the name {name:?}, which has a control character"))
    } else {
        (name.len() > LONGEST)
            .then(|| format!("holds a name of {} bytes, expected at most {LONGEST}", name.len()))
    }
}

fn shared_topic(names: &[String]) -> Option<String> {
    let mut known = BTreeMap::new();
    names.iter().find_map(|name| {
        let level = class_level(name);
        let other = known.insert(level.clone(), name)?;
        Some(if other == name {
            format!("holds {name:?} twice, expected each once")
        } else {
            format!("holds {other:?} and {name:?}, which would share the topic state/{level}")
        })
    })
}
