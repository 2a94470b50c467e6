//! A clip with a known truth: who sounds when and where, and how well a run told it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::bounded;
use crate::geometry::Rect;
use crate::message::Message;

/// A report that comes so long after a sound is over still belongs to it: the window of sound is 3 s,
/// and a class is held over short gaps.
const GRACE: f64 = 2.5;

/// What truly happens in a clip, as `truth.json` beside it says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Truth {
    /// File of the clip; relative to the truth's.
    pub clip: PathBuf,
    /// How long it lasts.
    pub seconds: f64,
    /// Everything that sounds in it.
    pub sources: Vec<Source>,
}

/// One thing that sounds.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its class.
    pub class: String,
    /// Where it is, `[x0, y0, x1, y1]`, 0–1; nothing for what is not in the picture.
    #[serde(rename = "box")]
    pub place: Option<[f32; 4]>,
    /// When it sounds, `[start, end]` in seconds of the clip.
    pub sounding: Vec<(f64, f64)>,
}

/// A truth that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}; expected the truth of a clip, such as demo/truth.json", file.display())]
pub struct TruthError {
    file: PathBuf,
    reason: String,
}

impl Truth {
    /// Reads a truth; the clip's path becomes relative to the working directory.
    ///
    /// # Errors
    /// The file cannot be read or is no truth.
    pub fn read(file: &Path) -> Result<Truth, TruthError> {
        let failed = |reason: String| TruthError { file: file.into(), reason };
        let text = bounded::read_text(file, bounded::TEXT).map_err(|error| failed(error.to_string()))?;
        let mut truth: Truth = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
        truth.clip = file.parent().unwrap_or(Path::new("")).join(&truth.clip);
        Ok(truth)
    }

    /// The intervals of everything that is heard and seen.
    pub fn visible(&self) -> impl Iterator<Item = Interval<'_>> {
        self.sources.iter().flat_map(|source| {
            let place = source.place.map(|[x0, y0, x1, y1]| Rect { x0, y0, x1, y1 });
            place.into_iter().flat_map(move |place| {
                source.sounding.iter().map(move |&(start, end)| Interval {
                    class: &source.class,
                    place,
                    start,
                    end,
                })
            })
        })
    }

    /// Holds the messages of a run against the truth. `start` is the Unix time of the clip's beginning.
    pub fn judge(&self, messages: &[Message], start: f64) -> Verdict {
        let outcomes = self.visible().map(|interval| Outcome::of(&interval, messages, start)).collect();
        let mut false_reports: Vec<FalseReport> = Vec::new();
        for message in messages {
            let time = message.frame.captured - start;
            for sounding in message.detections.iter().filter(|d| !self.explains(&d.class, time)) {
                match false_reports.iter_mut().find(|known| known.id == sounding.id) {
                    Some(known) => known.frames += 1,
                    None => false_reports.push(FalseReport {
                        id: sounding.id.clone(),
                        class: sounding.class.clone(),
                        time,
                        frames: 1,
                    }),
                }
            }
        }
        Verdict { outcomes, false_reports }
    }

    fn explains(&self, class: &str, time: f64) -> bool {
        self.visible().any(|i| i.class == class && (i.start..=i.end + GRACE).contains(&time))
    }
}

/// A stretch of time in which something is heard and seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval<'a> {
    /// Its class.
    pub class: &'a str,
    /// Where it is.
    pub place: Rect,
    /// Its first sound, seconds of the clip.
    pub start: f64,
    /// The end of its last.
    pub end: f64,
}

/// How a run told a clip.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// One for each [`Truth::visible`] interval, in its order.
    pub outcomes: Vec<Outcome>,
    /// What was reported and is not true.
    pub false_reports: Vec<FalseReport>,
}

impl Verdict {
    /// Whether everything was found and nothing was made up.
    pub fn is_right(&self) -> bool {
        self.outcomes.iter().all(|outcome| outcome.found) && self.false_reports.is_empty()
    }
}

/// How one interval was told.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Its class.
    pub class: String,
    /// Its span, seconds of the clip.
    pub span: (f64, f64),
    /// Whether it was reported while it lasted.
    pub found: bool,
    /// How many identities it was reported under; more than one where it was taken for several things.
    pub identities: usize,
    /// From its first sound to the publication of its first message, seconds.
    pub onset: Option<f64>,
    /// From the end of its last sound to the message that ends it, seconds.
    pub offset: Option<f64>,
    /// Overlap of the reported and the true box, mean over the messages.
    pub iou: Option<f32>,
    /// Share of the messages whose hottest point lies in the true box.
    pub pointing: Option<f32>,
}

impl Outcome {
    fn of(interval: &Interval, messages: &[Message], start: f64) -> Outcome {
        let span = interval.start..=interval.end + GRACE;
        let during = |m: &&Message| span.contains(&(m.frame.captured - start));
        let told: Vec<_> = messages
            .iter()
            .filter(during)
            .flat_map(|m| m.detections.iter().filter(|d| d.class == interval.class).map(move |d| (m, d)))
            .collect();
        let known: BTreeSet<&str> = told.iter().map(|(_, d)| d.id.as_str()).collect();
        let over = messages.iter().rev().find(|m| m.ended.iter().any(|e| known.contains(e.id.as_str())));
        let share = |sum: f32| (!told.is_empty()).then(|| sum / told.len() as f32);
        let iou = |d: &crate::message::Sounding| rect(d.region.rect).iou(&interval.place);
        Outcome {
            class: interval.class.into(),
            span: (interval.start, interval.end),
            found: told.iter().any(|(m, _)| m.frame.captured - start <= interval.end),
            identities: known.len(),
            onset: told.first().map(|(m, _)| m.published - start - interval.start),
            offset: over.map(|m| m.published - start - interval.end),
            iou: share(told.iter().map(|(_, d)| iou(d)).sum()),
            pointing: share(
                told.iter().filter(|(_, d)| inside(d.region.peak, &interval.place)).count() as f32
            ),
        }
    }
}

fn rect([x0, y0, x1, y1]: [f32; 4]) -> Rect {
    Rect { x0, y0, x1, y1 }
}

fn inside([x, y]: [f32; 2], place: &Rect) -> bool {
    (place.x0..=place.x1).contains(&x) && (place.y0..=place.y1).contains(&y)
}

/// Something reported that is not true.
#[derive(Debug, Clone, PartialEq)]
pub struct FalseReport {
    /// Its id.
    pub id: String,
    /// Its class.
    pub class: String,
    /// When it was first reported, seconds of the clip.
    pub time: f64,
    /// How many messages held it.
    pub frames: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Ended, FrameStamp, Phase, Place, SCHEMA, SoundStamp, Sounding};

    fn truth() -> Truth {
        let cat =
            Source { class: "cat".into(), place: Some([0.0, 0.0, 0.5, 1.0]), sounding: vec![(4.0, 8.0)] };
        let dog = Source { class: "dog".into(), place: None, sounding: vec![(12.0, 14.0)] };
        Truth { clip: "clip.webm".into(), seconds: 20.0, sources: vec![cat, dog] }
    }

    fn message(captured: f64, class: Option<&str>, ended: Option<&str>) -> Message {
        let region = Place { rect: [0.0, 0.0, 0.5, 0.5], pixels: [0; 4], peak: [0.2, 0.2], score: 1.0 };
        let sounding = |class: &str| Sounding {
            id: "1-1".into(),
            event: Phase::Start,
            class: class.into(),
            label: class.into(),
            prompt: String::new(),
            p: 0.9,
            p_audio: 0.9,
            p_visual: 0.9,
            region,
            bearing: None,
            since: captured,
        };
        Message {
            schema: SCHEMA,
            device: "test".into(),
            run: "1".into(),
            sequence: 1,
            missed: 0,
            late: false,
            frame: FrameStamp { captured, width: 640, height: 360 },
            sound: SoundStamp { start: captured - 3.0, end: captured, level_dbfs: -20.0 },
            published: captured + 0.1,
            clock_synced: None,
            detections: class.map(sounding).into_iter().collect(),
            ended: ended
                .map(|class| Ended { id: "1-1".into(), class: class.into(), last: captured })
                .into_iter()
                .collect(),
        }
    }

    #[test]
    fn a_found_source_has_its_delays_and_its_overlap() {
        let messages = [message(104.5, Some("cat"), None), message(109.0, None, Some("cat"))];
        let verdict = truth().judge(&messages, 100.0);
        assert!(verdict.is_right());
        let cat = &verdict.outcomes[0];
        assert!((cat.onset.unwrap() - 0.6).abs() < 1e-9 && (cat.offset.unwrap() - 1.1).abs() < 1e-9);
        assert_eq!((cat.iou, cat.pointing, cat.identities), (Some(0.5), Some(1.0), 1));
    }

    #[test]
    fn a_source_that_is_told_as_two_has_two_identities() {
        let mut again = message(105.0, Some("cat"), None);
        again.detections[0].id = "1-2".into();
        let verdict = truth().judge(&[message(104.5, Some("cat"), None), again], 100.0);
        assert_eq!(verdict.outcomes[0].identities, 2);
    }

    #[test]
    fn what_is_off_screen_or_silent_is_a_false_report() {
        let messages = [
            message(112.5, Some("dog"), None),
            message(112.6, Some("dog"), None),
            message(101.0, Some("cat"), None),
        ];
        let verdict = truth().judge(&messages, 100.0);
        assert!(!verdict.is_right() && !verdict.outcomes[0].found);
        assert_eq!(verdict.false_reports[0].frames, 3, "one id, counted once per message");
    }
}
