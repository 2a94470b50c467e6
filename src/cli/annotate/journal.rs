//! What an analysis tells, kept: messages in a file, and the frames that are worth a picture.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::analysis::{Analysed, Analysis};
use crate::clock::Instant;
use crate::message::Message;
use crate::model::{ClassId, HeatMap};
use crate::picture::{Mark, colour};
use crate::pipeline::Observer;
use crate::track::Event;

/// The file of the messages in the folder.
pub(super) const MESSAGES: &str = "detections.jsonl";

/// One sounding thing from its start to its end, in seconds of the recording.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Span {
    id: String,
    /// Its class as people say it.
    pub label: String,
    /// When it was first and last seen.
    pub start: f64,
    pub end: f64,
    /// Its highest p.
    pub p: f32,
}

/// A frame that will be drawn.
#[derive(Debug, Clone)]
pub(super) struct Shot {
    pub captured: Instant,
    pub marks: Vec<Mark>,
    pub maps: Vec<HeatMap>,
    pub labels: Vec<String>,
    pub level_dbfs: f32,
}

/// What was found in all.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub frames: usize,
    /// Length of the recording, to its last frame, in seconds.
    pub seconds: f64,
    /// Whether there was any sound, silent or not.
    pub heard: bool,
    pub messages: usize,
    pub spans: Vec<Span>,
    pub shots: Vec<Shot>,
}

/// Writes messages and collects the rest.
pub(super) struct Journal {
    file: BufWriter<File>,
    /// The first failure to write.
    failed: Option<io::Error>,
    every: f64,
    labels: Vec<String>,
    present: BTreeSet<u64>,
    /// Classes in the order of their first sound: neighbours get the colours that differ most.
    seen: Vec<ClassId>,
    found: Found,
}

impl Journal {
    /// A journal in the folder `out` for the classes of `analysis`.
    pub fn new(out: &Path, every: f64, analysis: &Analysis) -> io::Result<Self> {
        let classes = &analysis.model().manifest().classes;
        Ok(Self {
            file: BufWriter::new(File::create(out.join(MESSAGES))?),
            failed: None,
            every,
            labels: classes.iter().map(|class| class.label().to_owned()).collect(),
            present: BTreeSet::new(),
            seen: Vec::new(),
            found: Found::default(),
        })
    }

    /// Everything, once the messages are safely written.
    pub fn finish(mut self) -> io::Result<Found> {
        self.file.flush()?;
        self.failed.map_or(Ok(self.found), Err)
    }

    /// A line is written in one piece: whatever ends the program, the file holds whole ones.
    fn write(&mut self, message: &Message) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.file.write_all(&line)
    }

    /// A frame is drawn when something starts or ends, when it is time while something sounds, and at
    /// the very start.
    fn is_due(&self, analysed: &Analysed, present: &BTreeSet<u64>) -> bool {
        let Some(last) = self.found.shots.last() else { return true };
        let waited = analysed.captured.seconds_from(last.captured) >= self.every - 1e-6;
        *present != self.present || (waited && (!present.is_empty() || self.every == 0.0))
    }

    fn shot(&self, analysed: &Analysed) -> Shot {
        let present = || analysed.tracks.iter().filter(|track| track.event != Event::End);
        let label = |class: usize| self.labels.get(class).map_or("?", String::as_str);
        let mark = |track: &crate::track::Track| Mark {
            rect: track.region.rect,
            peak: track.region.peak,
            colour: colour::of_class(self.seen.iter().position(|class| *class == track.class).unwrap_or(0)),
            title: format!("{}  {:.0} %", label(track.class), 100.0 * track.score.p),
            detail: format!(
                "heard {:.0} · seen {:.0}",
                100.0 * track.score.p_audio,
                100.0 * track.score.p_visual
            ),
        };
        let classes: BTreeSet<ClassId> = present().map(|track| track.class).collect();
        let shown = |map: &&HeatMap| present().any(|track| track.class == map.class);
        Shot {
            captured: analysed.captured,
            marks: present().map(mark).collect(),
            maps: analysed.maps.iter().filter(shown).cloned().collect(),
            labels: classes.into_iter().map(|class| label(class).to_owned()).collect(),
            level_dbfs: analysed.sound.level_dbfs,
        }
    }
}

impl Observer for Journal {
    fn message(&mut self, message: Message) {
        self.found.messages += 1;
        for sounding in &message.detections {
            match self.found.spans.iter_mut().find(|span| span.id == sounding.id) {
                Some(span) => (span.end, span.p) = (message.frame.captured, span.p.max(sounding.p)),
                None => self.found.spans.push(Span {
                    id: sounding.id.clone(),
                    label: sounding.label.clone(),
                    start: sounding.since,
                    end: message.frame.captured,
                    p: sounding.p,
                }),
            }
        }
        if self.failed.is_none() {
            self.failed = self.write(&message).err();
        }
    }

    fn analysed(&mut self, analysed: &Analysed) {
        let ids = analysed.tracks.iter().filter(|t| t.event != Event::End).map(|t| t.id);
        let present: BTreeSet<u64> = ids.collect();
        for track in &analysed.tracks {
            if !self.seen.contains(&track.class) {
                self.seen.push(track.class);
            }
        }
        self.found.frames += 1;
        self.found.seconds = analysed.captured.as_secs_f64();
        self.found.heard |= analysed.sound.end > analysed.sound.start;
        if self.is_due(analysed, &present) {
            let shot = self.shot(analysed);
            self.found.shots.push(shot);
        }
        self.present = present;
    }
}

#[cfg(test)]
impl Span {
    /// A span for tests.
    pub fn example(label: &str, start: f64, end: f64) -> Self {
        Self { id: label.into(), label: label.into(), start, end, p: 0.9 }
    }
}
