//! Window, model, regions and tracks as one `push`; no threads.

use std::path::PathBuf;
use std::time::{Duration, Instant as Stopwatch};

use crate::clock::Instant;
use crate::config::Config;
use crate::engine::EngineError;
use crate::frame::{Frame, Samples};
use crate::geometry::Size;
use crate::mask::Masks;
use crate::model::{
    self, Background, ClassId, Decision, GpuTimes, Hearing, HeatMap, Judging, Manifest, Model, ModelError,
    Score, Vision, Vocabulary,
};
use crate::regions::regions;
use crate::track::{Detection, Track, Tracker};

/// Everything that was found in one frame with the sound up to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysed {
    /// When the picture was taken.
    pub captured: Instant,
    /// Size of the picture at its source.
    pub source: Size,
    /// The sound it was judged with.
    pub sound: SoundWindow,
    /// Every class of the model, in its order.
    pub scores: Vec<Score>,
    /// The classes that are both heard and seen, most probable first, with their regions.
    pub detections: Vec<Detection>,
    /// What started, goes on or ended.
    pub tracks: Vec<Track>,
    /// One heat map per detection, in the same order.
    pub maps: Vec<HeatMap>,
    /// What it cost.
    pub timing: Timing,
}

/// The stretch of sound that a frame was judged with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SoundWindow {
    /// Its start.
    pub start: Instant,
    /// Its end.
    pub end: Instant,
    /// Its level, dBFS, −120 (digital silence) to 0.
    pub level_dbfs: f32,
}

/// Time spent on one frame, by stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timing {
    /// Preparing and encoding the picture.
    pub image: Duration,
    /// Encoding the sound that came since the frame before.
    pub audio: Duration,
    /// Deciding which classes are there; with a GPU also drawing their heat maps.
    pub stage1: Duration,
    /// Drawing their heat maps, unless a GPU has drawn them.
    pub stage2: Duration,
    /// All of it, with regions and tracks.
    pub total: Duration,
    /// What the GPU spent of it.
    pub gpu: GpuTimes,
}

/// The whole analysis, fed with sound and frames in time order.
pub struct Analysis {
    model: Model,
    decision: Decision,
    learned: Learned,
    map_thresholds: Vec<f32>,
    masks: Masks,
    tracker: Tracker,
    /// How long a sound counts after it is over.
    memory: Duration,
    /// Time spent on sound since the last frame.
    audio: Duration,
    /// The picture of a frame that is still to come.
    ahead: Option<Ahead>,
}

/// A picture that was encoded before its frame is judged.
struct Ahead {
    captured: Instant,
    vision: Vision,
    took: Duration,
}

/// A frame that is being judged.
#[derive(Debug)]
pub struct Pending {
    captured: Instant,
    source: Size,
    judging: Judging,
    image: Duration,
    audio: Duration,
    /// Time spent so far, but for the sound.
    spent: Duration,
}

impl Pending {
    /// Whether a GPU is at it while the host has time for [`Analysis::look_ahead`].
    pub fn leaves_time(&self) -> bool {
        self.judging.leaves_time()
    }
}

impl Analysis {
    /// An analysis with `model`, as configured; reads the learned background if one is named.
    ///
    /// # Errors
    /// When the configuration names a class that the model lacks, or the background is unreadable.
    pub fn new(model: Model, config: &Config) -> Result<Self, ModelError> {
        let manifest = model.manifest();
        let learned = Learned::read(config)?;
        Ok(Self {
            decision: rule(manifest, config, &learned)?,
            learned,
            map_thresholds: manifest.map_thresholds(),
            masks: config.detection.masks.clone(),
            tracker: Tracker::new(&config.tracking),
            memory: config.window.memory,
            audio: Duration::ZERO,
            ahead: None,
            model,
        })
    }

    /// Another background is learned in the file of that in use: the next settings are tried with what is there then, and
    /// take it into force. Others go on with what was read.
    pub fn learned_anew(&mut self) {
        self.learned.stale = true;
    }

    /// Goes on with other settings of detection and tracking; nothing that was heard or seen is lost. The learned background
    /// is read only where they name another file, or after [`Analysis::learned_anew`].
    ///
    /// # Errors
    /// As [`Analysis::new`]; the settings before stay in force.
    pub fn configure(&mut self, config: &Config) -> Result<(), ModelError> {
        self.decision = self.learned.decide(self.model.manifest(), config)?;
        self.follow(config);
        Ok(())
    }

    /// The same with other words, for a model that reads free text. Its classes are others then: what goes on ends here,
    /// and is given.
    ///
    /// # Errors
    /// As [`Analysis::new`]; words and settings before stay in force.
    pub fn reword(&mut self, words: Vocabulary, config: &Config) -> Result<Vec<Track>, ModelError> {
        self.decision = self.learned.decide(words.manifest(), config)?;
        self.model.reword(words);
        Ok(self.begin_anew(config))
    }

    /// The same with another model or engine. Of the same model nothing that was heard is lost; with the same classes
    /// nothing ends.
    ///
    /// # Errors
    /// As [`Analysis::new`]; the model and the settings before stay in force.
    pub fn exchange(&mut self, model: Model, config: &Config) -> Result<Vec<Track>, ModelError> {
        self.decision = self.learned.decide(model.manifest(), config)?;
        let names =
            |model: &Model| model.manifest().classes.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
        let same = names(&self.model) == names(&model);
        let older = std::mem::replace(&mut self.model, model);
        self.model.succeed(older);
        if same {
            self.follow(config);
            return Ok(vec![]);
        }
        Ok(self.begin_anew(config))
    }

    fn begin_anew(&mut self, config: &Config) -> Vec<Track> {
        self.follow(config);
        self.finish()
    }

    fn follow(&mut self, config: &Config) {
        self.map_thresholds = self.model.manifest().map_thresholds();
        (self.masks, self.memory) = (config.detection.masks.clone(), config.window.memory);
        self.tracker.configure(&config.tracking);
        // It was seen by other settings.
        self.ahead = None;
    }

    /// The model in use.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The model, for those who measure it.
    pub fn model_mut(&mut self) -> &mut Model {
        &mut self.model
    }

    /// Takes a block of sound, which the frames after it are judged with.
    ///
    /// # Errors
    /// When the model fails on it; the analysis stays usable.
    pub fn push_sound(&mut self, sound: &Samples) -> Result<(), ModelError> {
        let watch = Stopwatch::now();
        let heard = self.model.hear(sound);
        self.audio += watch.elapsed();
        heard
    }

    /// Judges a frame with the sound up to its capture time. What is masked is gone from it before anything looks.
    ///
    /// # Errors
    /// When the model fails on it; the analysis stays usable.
    pub fn push_frame(&mut self, frame: &mut Frame) -> Result<Analysed, ModelError> {
        let pending = self.begin(frame)?;
        self.complete(pending)
    }

    /// The first half of [`Analysis::push_frame`]: all that a GPU has to do is under way then.
    ///
    /// # Errors
    /// As [`Analysis::push_frame`].
    pub fn begin(&mut self, frame: &mut Frame) -> Result<Pending, ModelError> {
        let mut lap = Laps::start();
        let audio = std::mem::take(&mut self.audio);
        self.masks.hide(frame, self.model.manifest().image.neutral());
        let seen = self.ahead.take().filter(|ahead| ahead.captured == frame.captured);
        let (vision, took) = match seen {
            Some(Ahead { vision, took, .. }) => (vision, took),
            None => (self.model.see(frame)?, Duration::ZERO),
        };
        let image = lap.lap() + took;
        let judging = match self.model.judge(vision, frame.captured, self.memory) {
            // What was encoded is gone with the GPU, and the frame is not.
            Err(ModelError::Engine(EngineError::Gone(_))) => self.judge_anew(frame)?,
            judging => judging?,
        };
        let (captured, source) = (frame.captured, frame.source);
        Ok(Pending { captured, source, judging, image, audio, spent: lap.total() + took })
    }

    fn judge_anew(&mut self, frame: &Frame) -> Result<Judging, ModelError> {
        let vision = self.model.see(frame)?;
        self.model.judge(vision, frame.captured, self.memory)
    }

    /// Encodes the picture of the frame that comes next, told by its capture time, while a GPU is at the one before. The
    /// frame is begun as any other later, and encoded then if it cannot be now.
    pub fn look_ahead(&mut self, frame: &mut Frame) {
        let watch = Stopwatch::now();
        self.masks.hide(frame, self.model.manifest().image.neutral());
        let seen = self.model.see(frame).ok();
        self.ahead = seen.map(|vision| Ahead { captured: frame.captured, vision, took: watch.elapsed() });
    }

    /// The second half of [`Analysis::push_frame`]: waits for the GPU, once.
    ///
    /// # Errors
    /// As [`Analysis::push_frame`].
    pub fn complete(&mut self, pending: Pending) -> Result<Analysed, ModelError> {
        let mut lap = Laps::start();
        let Pending { captured, source, judging, image, audio, spent } = pending;
        let judged = self.model.judged(judging)?;
        let gpu = self.model.take_gpu_times();
        let level = judged.hearing.level_dbfs;
        let present = self.decision.select(&judged.scores, level, &self.tracker.going());
        let stage1 = lap.lap() + spent.saturating_sub(image);
        let classes: Vec<ClassId> = present.iter().map(|score| score.class).collect();
        let mut maps = self.model.maps(&judged, &classes)?;
        maps.iter_mut().for_each(|map| map.hidden = self.masks.clone());
        let stage2 = lap.lap();
        let (scores, sound) = (judged.scores.clone(), SoundWindow::of(&judged.hearing));
        self.model.take_back(judged);
        let unseen = scores.iter().filter(|score| !classes.contains(&score.class));
        let rival = unseen.map(|score| score.p_audio).fold(0.0, f32::max);
        let detections = self.detections(present, rival, &maps);
        let tracks = self.tracker.update(captured, &detections);
        let total = spent + lap.total() + audio;
        Ok(Analysed {
            captured,
            source,
            sound,
            scores,
            detections,
            tracks,
            maps,
            timing: Timing { image, audio, stage1, stage2, total, gpu },
        })
    }

    /// Ends every track, as when the source is over.
    pub fn finish(&mut self) -> Vec<Track> {
        self.tracker.finish()
    }

    /// `rival`: how plainly anything is heard that is not among them.
    fn detections(&self, present: Vec<Score>, rival: f32, maps: &[HeatMap]) -> Vec<Detection> {
        let threshold = |class: ClassId| self.map_thresholds.get(class).copied().unwrap_or(1.0);
        let pairs = present.into_iter().zip(maps);
        let found = |(score, map): (Score, &HeatMap)| Detection {
            score,
            unrivalled: score.p_audio >= rival,
            regions: regions(map, threshold(map.class)),
        };
        pairs.map(found).collect()
    }
}

/// The rule that a configuration makes of a model's thresholds, with its learned background if one is named.
///
/// # Errors
/// As [`Analysis::new`].
pub fn decision(manifest: &Manifest, config: &Config) -> Result<Decision, ModelError> {
    rule(manifest, config, &Learned::read(config)?)
}

/// [`decision`] with a background that was read.
fn rule(manifest: &Manifest, config: &Config, learned: &Learned) -> Result<Decision, ModelError> {
    memory(manifest, config)?;
    let decision = Decision::new(manifest, &config.detection, learned.background.as_ref())?;
    Ok(decision.keeping(config.tracking.keep))
}

/// The learned background in use: whoever wishes for another setting does not wait for a disk, nor for a file that is gone.
struct Learned {
    /// Where it was read; empty if none is named.
    file: PathBuf,
    background: Option<Background>,
    /// Whether the file holds another one now.
    stale: bool,
}

impl Learned {
    fn read(config: &Config) -> Result<Self, ModelError> {
        let file = config.detection.background.clone();
        Ok(Self { file, background: background(config)?, stale: false })
    }

    /// The rule of other settings; the background that they name replaces this one if they are taken.
    fn decide(&mut self, manifest: &Manifest, config: &Config) -> Result<Decision, ModelError> {
        let stale = std::mem::take(&mut self.stale);
        if !stale && self.file == config.detection.background {
            return rule(manifest, config, self);
        }
        let other = Self::read(config)?;
        let decision = rule(manifest, config, &other)?;
        *self = other;
        Ok(decision)
    }
}

/// Everything that makes [`decision`] fail.
pub fn faults(manifest: &Manifest, config: &Config) -> Vec<ModelError> {
    let others = [memory(manifest, config).err(), background(config).err()];
    model::strangers(manifest, &config.detection).into_iter().chain(others.into_iter().flatten()).collect()
}

/// The learned background, if one is named.
fn background(config: &Config) -> Result<Option<Background>, ModelError> {
    let profile = Some(&config.detection.background).filter(|path| !path.as_os_str().is_empty());
    profile.map(|path| Background::read(path)).transpose()
}

/// Nothing counts on for longer than the model hears.
fn memory(manifest: &Manifest, config: &Config) -> Result<(), ModelError> {
    let (asked, window) = (config.window.memory.as_secs_f64(), manifest.audio.window);
    if asked <= window + 1e-9 {
        return Ok(());
    }
    Err(ModelError::Memory { asked, window, model: manifest.name.clone() })
}

impl SoundWindow {
    fn of(hearing: &Hearing) -> Self {
        Self { start: hearing.start, end: hearing.end, level_dbfs: hearing.level_dbfs }
    }
}

/// A stopwatch with laps.
struct Laps {
    start: Stopwatch,
    last: Stopwatch,
}

impl Laps {
    fn start() -> Self {
        let now = Stopwatch::now();
        Self { start: now, last: now }
    }

    fn lap(&mut self) -> Duration {
        let now = Stopwatch::now();
        now - std::mem::replace(&mut self.last, now)
    }

    fn total(&self) -> Duration {
        self.start.elapsed()
    }
}
