//! A model on labelled scenes: each picture and each sound encoded once, every scene judged with the
//! thresholds of the daemon.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::exchange;
use super::outcome::{Outcome, Place};
use super::scenes::{Kind, Scene, Source};
use crate::capture::{self, CaptureError};
use crate::clock::Instant;
use crate::frame::Samples;
use crate::model::{ClassId, Decision, Hearing, Model, ModelError, Score, Vision};

/// Why a scene could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// A picture or sound cannot be read.
    #[error("scenes[{scene}].{key}: {error}")]
    Media {
        /// Index of the scene, from 0.
        scene: usize,
        /// `image` or `audio`.
        key: &'static str,
        /// What was wrong with the file.
        error: CaptureError,
    },
    /// A sound file holds no sample.
    #[error("scenes[{scene}].audio: {} holds no sound; leave the key out for digital silence", file.display())]
    Empty {
        /// Index of the scene, from 0.
        scene: usize,
        /// The file.
        file: PathBuf,
    },
    /// The model failed.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// What came of all scenes.
#[derive(Debug, Default)]
pub struct Judged {
    /// One outcome for each scene that was judged.
    pub outcomes: Vec<Outcome>,
    /// Scenes left out since the model knows none of their sources.
    pub scenes_left_out: usize,
    /// Classes that the model lacks, with how often scenes named them.
    pub classes_left_out: BTreeMap<String, usize>,
}

/// Steps of work in [`Judge::judge`] per scene: as it is, with exchanged sound, with shuffled text.
const PASSES: usize = 3;

/// A model with the decision rule of the daemon and what it has seen and heard so far.
pub struct Judge {
    model: Model,
    decision: Decision,
    map_thresholds: Vec<f32>,
    seen: HashMap<PathBuf, Rc<Vision>>,
    heard: HashMap<Option<PathBuf>, Rc<Vec<Hearing>>>,
}

/// A scene whose classes the model knows.
struct Task<'a> {
    index: usize,
    scene: &'a Scene,
    sources: Vec<(ClassId, &'a Source)>,
    silent: Vec<ClassId>,
}

/// Scores of one scene, over the windows of its sound.
struct Verdict {
    /// Highest p of each class.
    p: Vec<f32>,
    /// The window in which each class had it.
    window: Vec<usize>,
    /// Classes reported in any window.
    reported: Vec<ClassId>,
}

impl Judge {
    /// A judge with a model and the rule that turns its scores into reports.
    pub fn new(model: Model, decision: Decision) -> Self {
        let map_thresholds = model.manifest().map_thresholds();
        Self { model, decision, map_thresholds, seen: HashMap::new(), heard: HashMap::new() }
    }

    /// The model in use.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Where the labels of a scene contradict each other or its kind, the names taken as the model takes them.
    pub fn contradictions(&self, scene: &Scene) -> Vec<String> {
        let manifest = self.model.manifest();
        let class = |name| manifest.class_or_alias(name).map(|class| manifest.classes[class].name.as_str());
        scene.contradictions(|name| class(name).unwrap_or(name))
    }

    /// Judges the scenes; `progress` is told how many of how many steps are done.
    ///
    /// # Errors
    /// A picture or sound that cannot be read, or a model that fails.
    pub fn judge(
        &mut self,
        scenes: &[Scene],
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Judged, JudgeError> {
        let mut judged = Judged::default();
        let tasks: Vec<_> =
            scenes.iter().enumerate().filter_map(|(i, scene)| self.task(i, scene, &mut judged)).collect();
        let total = PASSES * tasks.len();
        for (done, task) in tasks.iter().enumerate() {
            judged.outcomes.push(self.outcome(task)?);
            progress(done + 1, total);
        }
        for (i, donor) in exchange::partners(&labels(&tasks)).into_iter().enumerate() {
            let exchanged = donor.map(|donor| self.reported(&tasks[i], &tasks[donor]));
            judged.outcomes[i].swapped = exchanged.transpose()?;
            progress(tasks.len() + i + 1, total);
        }
        self.model.permute_text(&exchange::derangement(self.model.manifest().classes.len()))?;
        for (i, task) in tasks.iter().enumerate() {
            judged.outcomes[i].shuffled = self.reported(task, task)?;
            progress(2 * tasks.len() + i + 1, total);
        }
        Ok(judged)
    }

    /// The scene in terms of the model's classes; `None` when it knows none of the true ones.
    fn task<'a>(&self, index: usize, scene: &'a Scene, judged: &mut Judged) -> Option<Task<'a>> {
        let mut known = |name: &str| {
            let class = self.model.manifest().class_or_alias(name);
            if class.is_none() {
                *judged.classes_left_out.entry(name.to_owned()).or_default() += 1;
            }
            class
        };
        let sources: Vec<_> = scene.sources.iter().filter_map(|s| Some((known(&s.class)?, s))).collect();
        let mut silent: Vec<_> = scene.silent.iter().filter_map(|name| known(name)).collect();
        silent.sort_unstable();
        silent.dedup(); // a duck and a goose are one to the model
        if scene.kind.sources_are_true() {
            // Of two that are one to the model, such as a silent goose beside a quacking duck, the one sounds.
            silent.retain(|silent| sources.iter().all(|(class, _)| class != silent));
        }
        if sources.is_empty() && !scene.sources.is_empty() && scene.kind.sources_are_true() {
            judged.scenes_left_out += 1;
            return None;
        }
        Some(Task { index, scene, sources, silent })
    }

    fn outcome(&mut self, task: &Task) -> Result<Outcome, JudgeError> {
        let (vision, hearings) = (self.vision(task)?, self.hearings(task)?);
        let verdict = self.verdict(&vision, &hearings)?;
        let truth = task.truth();
        let mut places = Vec::new();
        if task.scene.kind.sources_are_true() {
            let halved = task.halved();
            for (i, &(class, source)) in task.sources.iter().enumerate() {
                let hearing = &hearings[verdict.window[class]];
                let maps = self.model.localize(&vision, hearing, &[class])?;
                let (threshold, others) = (self.map_thresholds[class], task.others(i));
                places.extend(maps.iter().map(|map| Place::new(map, threshold, source, &others, halved)));
            }
        }
        Ok(Outcome {
            kind: task.scene.kind,
            truth,
            silent: task.silent.clone(),
            p: verdict.p,
            reported: verdict.reported,
            swapped: None,
            shuffled: Vec::new(),
            places,
        })
    }

    /// What is reported for the picture of one scene with the sound of another.
    fn reported(&mut self, picture: &Task, sound: &Task) -> Result<Vec<ClassId>, JudgeError> {
        let (vision, hearings) = (self.vision(picture)?, self.hearings(sound)?);
        Ok(self.verdict(&vision, &hearings)?.reported)
    }

    fn verdict(&mut self, vision: &Vision, hearings: &[Hearing]) -> Result<Verdict, ModelError> {
        let classes = self.model.manifest().classes.len();
        let mut verdict = Verdict { p: vec![0.0; classes], window: vec![0; classes], reported: Vec::new() };
        for (window, hearing) in hearings.iter().enumerate() {
            let scores = self.model.detect(vision, hearing)?;
            for &Score { class, p, .. } in &scores {
                if p > verdict.p[class] {
                    (verdict.p[class], verdict.window[class]) = (p, window);
                }
            }
            let selected = self.decision.select(&scores, hearing.level_dbfs, &[]);
            verdict.reported.extend(selected.iter().map(|score| score.class));
        }
        verdict.reported.sort_unstable();
        verdict.reported.dedup();
        Ok(verdict)
    }

    fn vision(&mut self, task: &Task) -> Result<Rc<Vision>, JudgeError> {
        let file = &task.scene.image;
        if let Some(vision) = self.seen.get(file) {
            return Ok(vision.clone());
        }
        let media = |error| JudgeError::Media { scene: task.index, key: "image", error };
        let picture = capture::read_picture(file, None).map_err(media)?;
        let vision = Rc::new(self.model.see(&picture)?);
        self.seen.insert(file.clone(), vision.clone());
        Ok(vision)
    }

    fn hearings(&mut self, task: &Task) -> Result<Rc<Vec<Hearing>>, JudgeError> {
        let file = &task.scene.audio;
        if let Some(hearings) = self.heard.get(file) {
            return Ok(hearings.clone());
        }
        let sound = match file {
            Some(file) => self.sound(task.index, file)?,
            None => Vec::new(),
        };
        let hearings = Rc::new(self.listen(sound)?);
        self.heard.insert(file.clone(), hearings.clone());
        Ok(hearings)
    }

    fn sound(&self, scene: usize, file: &Path) -> Result<Vec<f32>, JudgeError> {
        let media = |error| JudgeError::Media { scene, key: "audio", error };
        let sound = capture::read_sound(file, self.model.sample_rate()).map_err(media)?;
        if sound.mono.is_empty() {
            return Err(JudgeError::Empty { scene, file: file.into() });
        }
        Ok(sound.mono)
    }

    /// Takes a recording in as the daemon does, and gives what is heard in each window, all of it: where the daemon
    /// judges a frame with the last [`memory`](crate::config::Window::memory) of it, a scene has no moment of its own.
    fn listen(&mut self, sound: Vec<f32>) -> Result<Vec<Hearing>, ModelError> {
        let (rate, manifest) = (self.model.sample_rate(), self.model.manifest());
        let window = manifest.window_samples();
        let sound = fill(sound, window, manifest.hop_samples());
        self.model.forget_sound();
        let at = |sample: usize| Instant::ZERO + Duration::from_secs_f64(sample as f64 / f64::from(rate));
        let mut start = 0;
        let mut hearings = Vec::new();
        for end in window_ends(sound.len(), window) {
            self.model.hear(&Samples::new(at(start), rate, sound[start..end].to_vec()))?;
            hearings.push(self.model.heard(at(end))?);
            start = end;
        }
        Ok(hearings)
    }
}

impl Task<'_> {
    fn truth(&self) -> Vec<ClassId> {
        let named = self.sources.iter().map(|(class, _)| *class);
        let mut truth: Vec<_> = named.filter(|_| self.scene.kind.sources_are_true()).collect();
        truth.sort_unstable();
        truth.dedup();
        truth
    }

    /// All sources but one.
    fn others(&self, but: usize) -> Vec<&Source> {
        let others = self.sources.iter().enumerate().filter(|(i, _)| *i != but);
        others.map(|(_, (_, source))| *source).collect()
    }

    /// Whether this is a duet whose two sources stand in different halves.
    fn halved(&self) -> bool {
        let halves: Vec<_> = self.scene.sources.iter().map(|source| source.half).collect();
        let apart = matches!(halves[..], [Some(a), Some(b)] if a != b);
        self.scene.kind == Kind::Duet && apart
    }
}

/// What sounds in each scene, for the exchange; scenes where nothing does take no part in it.
fn labels(tasks: &[Task]) -> Vec<Option<Vec<ClassId>>> {
    let sounds = |task: &Task| task.scene.kind != Kind::Silence && task.scene.audio.is_some();
    let label = |task: &Task| task.sources.iter().map(|(class, _)| *class).collect();
    tasks.iter().map(|task| sounds(task).then(|| label(task))).collect()
}

/// Sound shorter than a window is set in digital silence, so that it ends one hop before the window; longer sound begins
/// in it, so that it ends with a hop. No part of it then waits for a hop that is never completed.
fn fill(mut sound: Vec<f32>, window: usize, hop: usize) -> Vec<f32> {
    let missing = window.saturating_sub(sound.len());
    let after = hop.min(missing);
    let odd = if sound.len() > window { sound.len().next_multiple_of(hop) - sound.len() } else { 0 };
    let before = missing - after + odd;
    sound.splice(0..0, std::iter::repeat_n(0.0, before));
    sound.resize(sound.len() + after, 0.0);
    sound
}

/// Where whole windows end: laid end to end from the start, and one more up to the end of the sound
/// if that leaves a rest.
fn window_ends(samples: usize, window: usize) -> Vec<usize> {
    let window = window.max(1);
    let mut ends: Vec<_> = (1..=samples / window).map(|i| i * window).collect();
    if !samples.is_multiple_of(window) {
        ends.push(samples);
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_the_whole_sound() {
        assert_eq!(window_ends(3, 3), [3]);
        assert_eq!(window_ends(5, 3), [3, 5]);
        assert_eq!(window_ends(6, 3), [3, 6]);
    }

    #[test]
    fn short_sound_ends_a_hop_before_the_window() {
        assert_eq!(fill(vec![1.0; 2], 6, 1), [0.0, 0.0, 0.0, 1.0, 1.0, 0.0]);
        assert_eq!(fill(vec![1.0; 5], 6, 3), [1.0, 1.0, 1.0, 1.0, 1.0, 0.0]);
        assert_eq!(fill(vec![], 3, 1), [0.0; 3]);
        assert_eq!(fill(vec![1.0; 6], 6, 4), [1.0; 6]);
    }

    #[test]
    fn long_sound_ends_with_a_hop() {
        assert_eq!(fill(vec![1.0; 7], 6, 3), [0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
        assert_eq!(fill(vec![1.0; 9], 6, 3), [1.0; 9]);
    }
}
