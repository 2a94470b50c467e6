//! What single values may be: each function reads one kind of value and refuses impossible ones with
//! the sentence that a user will read.

use crate::mask::{Mask, Masks};
use serde::de::{Deserializer, Error};
use serde::{Deserialize, de};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

const DAY: f64 = 86_400.0;

/// Reads a number of `low..=high`, or refuses it by naming what it means.
fn number<'de, D: Deserializer<'de>>(d: D, low: f64, high: f64, meaning: &str) -> Result<f64, D::Error> {
    let value = f64::deserialize(d)?;
    if (low..=high).contains(&value) {
        Ok(value)
    } else {
        Err(D::Error::custom(format!(
            "{} is out of range, expected {meaning} from {low} to {high}",
            brief(value)
        )))
    }
}

/// Whether a number stands for nothing known.
pub(super) fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A number without hundreds of zeros.
fn brief(value: f64) -> String {
    let long = value != 0.0 && !(1e-6..1e9).contains(&value.abs());
    if long { format!("{value:e}") } else { value.to_string() }
}

/// Reads a whole number of `low..=high`, or 0 if `zero` says what that means.
fn whole<'de, D: Deserializer<'de>>(
    d: D,
    (low, high): (i64, i64),
    meaning: &str,
    zero: Option<&str>,
) -> Result<i64, D::Error> {
    let value = i64::deserialize(d)?;
    if (low..=high).contains(&value) || (value == 0 && zero.is_some()) {
        return Ok(value);
    }
    let or = zero.map_or(String::new(), |z| format!(", or 0 for {z}"));
    Err(D::Error::custom(format!("{value} is out of range, expected {meaning} from {low} to {high}{or}")))
}

pub(super) fn rate<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
    number(d, 0.01, 1000.0, "pictures in a second")
}

pub(super) fn rate_or_zero<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
    number(d, 0.0, 1000.0, "pictures in a second (0: the camera's choice)")
}

pub(super) fn limit_or_zero<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
    number(d, 0.0, 1000.0, "pictures in a second (0: no limit)")
}

pub(super) fn side<'de, D: Deserializer<'de>>(d: D) -> Result<u32, D::Error> {
    whole(d, (16, 16_384), "pixels", None).map(|v| v as u32)
}

pub(super) fn side_or_zero<'de, D: Deserializer<'de>>(d: D) -> Result<u32, D::Error> {
    whole(d, (16, 16_384), "pixels", Some("the camera's choice")).map(|v| v as u32)
}

pub(super) fn latency<'de, D: Deserializer<'de>>(d: D) -> Result<u32, D::Error> {
    whole(d, (0, 60_000), "milliseconds", None).map(|v| v as u32)
}

pub(super) fn sample_rate_or_zero<'de, D: Deserializer<'de>>(d: D) -> Result<u32, D::Error> {
    whole(d, (4_000, 768_000), "samples in a second", Some("the device's choice")).map(|v| v as u32)
}

pub(super) fn channels_or_zero<'de, D: Deserializer<'de>>(d: D) -> Result<u32, D::Error> {
    whole(d, (1, 64), "channels", Some("the device's choice")).map(|v| v as u32)
}

pub(super) fn threads<'de, D: Deserializer<'de>>(d: D) -> Result<usize, D::Error> {
    whole(d, (1, 64), "threads", None).map(|v| v as usize)
}

pub(super) fn mebibytes<'de, D: Deserializer<'de>>(d: D) -> Result<usize, D::Error> {
    whole(d, (16, 65_536), "MiB", None).map(|v| v as usize)
}

pub(super) fn level<'de, D: Deserializer<'de>>(d: D) -> Result<u8, D::Error> {
    whole(d, (0, 5), "a level", None).map(|v| v as u8)
}

pub(super) fn port<'de, D: Deserializer<'de>>(d: D) -> Result<u16, D::Error> {
    whole(d, (1, 65_535), "a port", None).map(|v| v as u16)
}

pub(super) fn port_or_zero<'de, D: Deserializer<'de>>(d: D) -> Result<u16, D::Error> {
    whole(d, (1, 65_535), "a port", Some("none")).map(|v| v as u16)
}

pub(super) fn ip<'de, D: Deserializer<'de>>(d: D) -> Result<IpAddr, D::Error> {
    let text = String::deserialize(d)?;
    text.parse().map_err(|_| {
        D::Error::custom(format!("{text:?} is no address, expected one in numbers, such as \"127.0.0.1\""))
    })
}

pub(super) fn keep_alive<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    whole(d, (5, 65_535), "seconds", None).map(|v| Duration::from_secs(v as u64))
}

pub(super) fn return_every<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    number(d, 1.0, DAY, "seconds").map(Duration::from_secs_f64)
}

pub(super) fn seconds<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    number(d, 0.0, DAY, "seconds").map(Duration::from_secs_f64)
}

pub(super) fn flush<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    number(d, 0.1, 3600.0, "seconds").map(Duration::from_secs_f64)
}

/// MQTT packets are of 256 KiB at most.
pub(super) fn kilobytes<'de, D: Deserializer<'de>>(d: D) -> Result<usize, D::Error> {
    whole(d, (4, 250), "kilobytes", None).map(|kilobytes| kilobytes as usize * 1000)
}

pub(super) fn hours<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    number(d, 0.01, 8784.0, "hours").map(|hours| Duration::from_secs_f64(hours * 3600.0))
}

pub(super) fn megabytes<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
    whole(d, (1, 4096), "megabytes", None).map(|megabytes| megabytes as u64 * 1_000_000)
}

/// systemd gives the service 300 s to start.
pub(super) fn start<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    number(d, 0.0, 240.0, "seconds").map(Duration::from_secs_f64)
}

pub(super) fn stall<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    number(d, 0.5, 10.0, "seconds").map(Duration::from_secs_f64)
}

pub(super) fn log_odds<'de, D: Deserializer<'de>>(d: D) -> Result<f32, D::Error> {
    number(d, -10.0, 10.0, "log-odds").map(|v| v as f32)
}

pub(super) fn some_log_odds<'de, D: Deserializer<'de>>(d: D) -> Result<Option<f32>, D::Error> {
    log_odds(d).map(Some)
}

pub(super) fn slack<'de, D: Deserializer<'de>>(d: D) -> Result<f32, D::Error> {
    number(d, 0.0, 10.0, "log-odds").map(|v| v as f32)
}

pub(super) fn probability<'de, D: Deserializer<'de>>(d: D) -> Result<f32, D::Error> {
    number(d, 0.0, 1.0, "a share").map(|v| v as f32)
}

pub(super) fn some_probability<'de, D: Deserializer<'de>>(d: D) -> Result<Option<f32>, D::Error> {
    probability(d).map(Some)
}

pub(super) fn probabilities<'de, D: Deserializer<'de>>(d: D) -> Result<BTreeMap<String, f32>, D::Error> {
    #[derive(Deserialize)]
    struct Probability(#[serde(deserialize_with = "probability")] f32);
    let map = BTreeMap::<String, Probability>::deserialize(d)?;
    Ok(map.into_iter().map(|(class, Probability(p))| (class, p)).collect())
}

/// Most masks of a picture.
const MOST_MASKS: usize = 32;

/// Reads a list of masks: each a box of four shares, or a list of corners.
pub(super) fn masks<'de, D: Deserializer<'de>>(d: D) -> Result<Masks, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Shape {
        Box([f64; 4]),
        Corners(Vec<[f64; 2]>),
        Other(de::IgnoredAny),
    }
    let shapes = Vec::<Shape>::deserialize(d)?;
    if shapes.len() > MOST_MASKS {
        return Err(D::Error::custom(format!("has {} masks, expected at most {MOST_MASKS}", shapes.len())));
    }
    let mask = |(number, shape)| {
        let mask = match shape {
            Shape::Box(sides) => Mask::rectangle(sides),
            Shape::Corners(corners) => Mask::new(corners),
            Shape::Other(_) => {
                Err("is no shape, expected [[left, top, right, bottom]] or [[[x, y], [x, y], [x, y], ...]], \
                                    from 0 to 1: a list of masks, each in brackets of its own"
                    .into())
            }
        };
        mask.map_err(|why| D::Error::custom(format!("mask {}: {why}", number + 1)))
    };
    (0..).zip(shapes).map(mask).collect::<Result<_, _>>().map(Masks::new)
}

pub(super) fn view<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
    number(d, 0.0, 175.0, "degrees (0: unknown)")
}

pub(super) fn pixels<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
    number(d, 0.0, 100_000.0, "pixels (0: unknown)")
}

pub(super) fn distortion<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<f64>, D::Error> {
    let values = Vec::<f64>::deserialize(d)?;
    if matches!(values.len(), 0 | 4 | 5) && values.iter().all(|v| v.is_finite()) {
        Ok(values)
    } else {
        Err(D::Error::custom("expected no numbers, or the four or five k1, k2, p1, p2, k3"))
    }
}

pub(super) fn per_second<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
    number(d, 0.0, 1000.0, "messages in a second (0: no limit)")
}

pub(super) fn store<'de, D: Deserializer<'de>>(d: D) -> Result<usize, D::Error> {
    whole(d, (64, 1_000_000), "messages", None).map(|v| v as usize)
}

/// Reads a text and refuses it with the sentence that `fault` finds.
fn text<'de, D: Deserializer<'de>>(d: D, fault: impl Fn(&str) -> Option<String>) -> Result<String, D::Error> {
    let value = String::deserialize(d)?;
    match fault(&value) {
        Some(fault) => Err(D::Error::custom(fault)),
        None => Ok(value),
    }
}

pub(super) fn word<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    text(d, |s| s.trim().is_empty().then(|| "is empty, expected a name".into()))
}

pub(super) fn path<'de, D: Deserializer<'de>>(d: D) -> Result<PathBuf, D::Error> {
    text(d, |s| s.trim().is_empty().then(|| "is empty, expected a path".into())).map(PathBuf::from)
}

pub(super) fn host<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    text(d, |s| {
        if s.is_empty() {
            Some("is empty, expected a host name or an address".into())
        } else if s.contains('@') {
            Some(STRANGER.into())
        } else if s.contains("://") {
            Some(format!("\"{s}\" is a URL, expected only the host name or address, without `scheme://`"))
        } else if s.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/') {
            Some(format!("{s:?} is no host, expected a name or an address without spaces or `/`"))
        } else if s.rsplit_once(':').is_some_and(|(host, port)| !host.contains(':') && all_digits(port)) {
            Some(format!("\"{s}\" holds a port, expected the host alone (the port is the key `port`)"))
        } else {
            None
        }
    })
}

/// An address that names somebody, who is not to be shown.
pub(super) const STRANGER: &str = "names a user before the `@`, expected the address alone (for the user there are username_file and password_file)";

fn all_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

/// What MQTT forbids in the name of a topic.
fn topic_fault(topic: &str) -> Option<String> {
    if let Some(c) = topic.chars().find(|c| matches!(c, '+' | '#')) {
        return Some(format!("holds the MQTT wildcard `{c}`, which no published topic may have"));
    }
    topic
        .chars()
        .find(|c| c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') || is_invisible(*c))
        .map(|c| format!("holds the character {}, which a topic must not have", c.escape_unicode()))
}

/// Nobody who types a topic would type these: marks of no width, and those that turn the direction of writing.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
}

pub(super) fn topic_level<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    text(d, |s| name_fault(s, "a name such as \"hall-camera\", or \"\" for the host's"))
}

/// The same of each of a list, in which no name stands for the host's.
pub(super) fn topic_levels<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<String>::deserialize(d)?;
    let expected = "names such as \"hall-camera\"";
    let fault = |name: &String| {
        let empty = || name.is_empty().then(|| format!("is blank, expected {expected}"));
        name_fault(name, expected).or_else(empty).map(|fault| format!("{name:?} {fault}"))
    };
    match names.iter().find_map(fault) {
        Some(fault) => Err(D::Error::custom(fault)),
        None => Ok(names),
    }
}

fn name_fault(name: &str, expected: &str) -> Option<String> {
    if name.contains('/') {
        return Some("holds `/`, expected one level of a topic, such as \"hall-camera\"".into());
    }
    if name.trim() != name {
        return Some(format!("is blank, or has a space at its start or its end: expected {expected}"));
    }
    too_long(name, 200).or_else(|| topic_fault(name))
}

pub(super) fn prefix<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    text(d, prefix_fault)
}

fn prefix_fault(s: &str) -> Option<String> {
    let bare = s.replace("{device}", "");
    if s.is_empty() {
        Some("is empty, expected the start of a topic, such as \"tvsl/{device}\"".into())
    } else if s.starts_with('$') {
        Some("starts with `$`, which brokers keep for topics of their own".into())
    } else if s.starts_with('/') || s.ends_with('/') || s.contains("//") {
        Some("has an empty level: expected no `/` at the start or the end and no `//`".into())
    } else if s.split('/').any(|level| level.trim() != level) {
        Some("has a level that is blank, or has a space at its start or its end".into())
    } else if bare.contains(['{', '}']) {
        Some("holds a placeholder that is not known: the only one is `{device}`".into())
    } else {
        too_long(s, 1000).or_else(|| topic_fault(s))
    }
}

fn too_long(text: &str, most: usize) -> Option<String> {
    (text.len() > most).then(|| format!("is {} bytes long, expected at most {most}", text.len()))
}

pub(super) fn client_id<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    text(d, |s| blank(s).or_else(|| too_long(s, 200)).or_else(|| topic_fault(s)))
}

fn blank(text: &str) -> Option<String> {
    let blank = !text.is_empty() && text.trim().is_empty();
    blank.then(|| "is blank, expected a name, or \"\" for none".into())
}
