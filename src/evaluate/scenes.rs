//! Labelled scenes: a picture, a sound, what is truly sounding and visible, and where.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::bounded;
use crate::capture;
use crate::geometry::Rect;

mod error;

pub use error::ScenesError;

/// What a scene is made to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One class is seen and heard.
    Single,
    /// Two or more classes are seen and heard.
    Duet,
    /// One class is seen and heard, others are only seen.
    SilentObject,
    /// What sounds is not in the picture.
    OffScreen,
    /// Nothing sounds: digital silence, noise, hum.
    Silence,
}

impl Kind {
    /// Every kind, in the order reports use.
    pub const ALL: [Kind; 5] = [Kind::Single, Kind::Duet, Kind::SilentObject, Kind::OffScreen, Kind::Silence];

    /// The name used in scene files and reports.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Single => "single",
            Kind::Duet => "duet",
            Kind::SilentObject => "silent_object",
            Kind::OffScreen => "off_screen",
            Kind::Silence => "silence",
        }
    }

    /// Whether the scene's sources are both heard and seen, hence to be reported.
    pub fn sources_are_true(self) -> bool {
        !matches!(self, Kind::OffScreen | Kind::Silence)
    }
}

/// Half of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Half {
    /// x below 0.5.
    Left,
    /// x of 0.5 and above.
    Right,
}

impl Half {
    /// The half in which `x`, 0–1, lies.
    pub fn of(x: f32) -> Self {
        if x < 0.5 { Half::Left } else { Half::Right }
    }
}

/// Something that sounds in a scene.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Name of its class.
    pub class: String,
    /// Where it is, normalised; empty when unknown.
    pub boxes: Vec<Rect>,
    /// The half of the picture it is in, as stated or by the middle of its boxes.
    pub half: Option<Half>,
}

/// One labelled scene.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// The picture's file.
    pub image: PathBuf,
    /// The sound's file; none is digital silence.
    pub audio: Option<PathBuf>,
    /// What the scene tries.
    pub kind: Kind,
    /// What sounds.
    pub sources: Vec<Source>,
    /// Classes that are seen but do not sound.
    pub silent: Vec<String>,
}

impl Scene {
    /// Where its labels contradict each other or its kind, once `class` has told which of the model's classes a name means.
    /// It is scored all the same, by the rules of its kind.
    pub fn contradictions<'a>(&'a self, class: impl Fn(&'a str) -> &'a str) -> Vec<String> {
        let told = |name: &'a str| match class(name) {
            own if own == name => format!("`{name}`"),
            own => format!("`{name}`, which is `{own}` to the model,"),
        };
        let mut classes: Vec<_> = self.sources.iter().map(|source| class(&source.class)).collect();
        let both = self.silent.iter().filter(|silent| classes.contains(&class(silent)));
        let mut found: Vec<_> =
            both.map(|silent| format!("silent: {} is a source of the scene as well", told(silent))).collect();
        classes.sort_unstable();
        classes.dedup();
        let (right, expected) = match self.kind {
            Kind::Single => (classes.len() == 1, "one class"),
            Kind::Duet => (classes.len() > 1, "two classes or more"),
            Kind::SilentObject => (!classes.is_empty(), "at least one class"),
            Kind::OffScreen => (true, ""),
            Kind::Silence => (classes.is_empty(), "none"),
        };
        if !right {
            let (kind, classes) = (self.kind.name(), classes.join(", "));
            found.push(format!("sources: [{classes}], expected {expected} as its kind is {kind}"));
        }
        found
    }
}

/// Scenes as read, with what was odd but harmless in the file.
#[derive(Debug)]
pub struct Scenes {
    /// The scenes, in the order of the file.
    pub scenes: Vec<Scene>,
    /// Keys that were ignored, one line each.
    pub warnings: Vec<String>,
}

/// Reads and checks a scenes file; paths in it are relative to its folder.
///
/// # Errors
/// A missing file, JSON of another form, an empty list, a box outside 0–1, a missing picture or sound.
pub fn read(path: &Path) -> Result<Scenes, ScenesError> {
    let text = bounded::read_text(path, bounded::LIST)
        .map_err(|error| ScenesError::Read { path: path.into(), error })?;
    parse(&text, path)
}

#[derive(Deserialize)]
#[serde(expecting = "an object with the key `scenes`")]
struct RawFile {
    scenes: Vec<RawScene>,
    #[serde(flatten)]
    unknown: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(expecting = "a scene as an object with `image` and `kind`")]
struct RawScene {
    image: PathBuf,
    #[serde(default)]
    audio: Option<PathBuf>,
    kind: Kind,
    #[serde(default, deserialize_with = "or_empty")]
    sources: Vec<RawSource>,
    #[serde(default, deserialize_with = "or_empty")]
    silent: Vec<String>,
    #[serde(flatten)]
    unknown: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(expecting = "a source as an object with `class`")]
struct RawSource {
    class: String,
    #[serde(default, deserialize_with = "or_empty")]
    boxes: Vec<[f32; 4]>,
    #[serde(default)]
    half: Option<Half>,
    #[serde(flatten)]
    unknown: BTreeMap<String, Value>,
}

/// `null` is an empty list.
fn or_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(list: D) -> Result<Vec<T>, D::Error> {
    Option::deserialize(list).map(Option::unwrap_or_default)
}

/// The same for `text`, which stands in the file `path`.
///
/// # Errors
/// As [`read`].
pub fn parse(text: &str, path: &Path) -> Result<Scenes, ScenesError> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let raw: RawFile = serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| ScenesError::format(path, text, &error))?;
    if raw.scenes.is_empty() {
        return Err(ScenesError::empty(path));
    }
    let warnings = ignored(&raw);
    let checked = raw.scenes.into_iter().enumerate().map(|(index, scene)| check(index, scene, path));
    let scenes = checked.collect::<Result<Vec<_>, _>>()?;
    Ok(Scenes { scenes, warnings })
}

/// Keys that mean nothing here.
fn ignored(raw: &RawFile) -> Vec<String> {
    let mut lines: Vec<_> = raw.unknown.keys().map(|key| format!("{key}: unknown key, ignored")).collect();
    for (index, scene) in raw.scenes.iter().enumerate() {
        let keys = scene.unknown.keys().map(|key| format!("scenes[{index}].{key}"));
        let inner = scene.sources.iter().enumerate().flat_map(|(number, source)| {
            source.unknown.keys().map(move |key| format!("scenes[{index}].sources[{number}].{key}"))
        });
        lines.extend(keys.chain(inner).map(|key| format!("{key}: unknown key, ignored")));
    }
    lines
}

fn check(index: usize, raw: RawScene, path: &Path) -> Result<Scene, ScenesError> {
    let wrong = |key: String, problem: String, cure| ScenesError::Value {
        path: path.into(),
        scene: index,
        key,
        problem,
        cure,
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    let (image, audio) = (folder.join(&raw.image), raw.audio.as_ref().map(|audio| folder.join(audio)));
    for (key, file) in [("image", Some(&image)), ("audio", audio.as_ref())] {
        let unreadable = file.and_then(|file| Some((file, capture::unreadable(file)?)));
        if let Some((file, why)) = unreadable {
            let why = if file.exists() { why } else { "no such file".into() };
            let problem = format!("{}: {why}", file.display());
            return Err(wrong(key.into(), problem, "paths are relative to the folder of the scenes file"));
        }
    }
    for (number, source) in raw.sources.iter().enumerate() {
        if let Some(at) = source.boxes.iter().position(|&corners| rect(corners).is_none()) {
            let problem = format!("{:?} is no box", source.boxes[at]);
            let cure = "give [x0, y0, x1, y1] as shares of the picture, 0 to 1, with x0 < x1 and y0 < y1";
            return Err(wrong(format!("sources[{number}].boxes[{at}]"), problem, cure));
        }
    }
    let sources = raw.sources.into_iter().map(source).collect();
    Ok(Scene { image, audio, kind: raw.kind, sources, silent: raw.silent })
}

/// How far outside the picture a corner may lie by rounding.
const ROUNDING: f32 = 0.01;

/// The box inside the picture; `None` when it is none.
fn rect(corners: [f32; 4]) -> Option<Rect> {
    let inside = corners.iter().all(|v| (-ROUNDING..=1.0 + ROUNDING).contains(v));
    let [x0, y0, x1, y1] = corners.map(|v| v.clamp(0.0, 1.0));
    (inside && x0 < x1 && y0 < y1).then_some(Rect { x0, y0, x1, y1 })
}

fn source(raw: RawSource) -> Source {
    let boxes: Vec<_> = raw.boxes.into_iter().filter_map(rect).collect();
    let area: f32 = boxes.iter().map(Rect::area).sum();
    let middle = boxes.iter().map(|b| b.centre().0 * b.area()).sum::<f32>() / area;
    let half = raw.half.or((area > 0.0).then(|| Half::of(middle)));
    Source { class: raw.class, boxes, half }
}

#[cfg(test)]
mod tests;
