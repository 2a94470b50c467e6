//! T-VSL in terms of graphs: a model folder, opened and checked, that sees, hears, detects and
//! localizes. Nothing here knows the encoders inside.

mod background;
mod detect;
mod embeddings;
mod error;
mod files;
mod image;
mod level;
mod localize;
mod log_mel;
pub mod manifest;
mod parts;
mod patches;
mod resize;
mod score;
mod sound;
mod vocabulary;
mod words;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use background::{Background, BackgroundLearner};
pub use detect::{Decision, strangers};
pub use error::ModelError;
pub use files::read_tensor;
pub use level::SILENCE_DBFS;
pub use localize::HeatMap;
pub use log_mel::Spectrogram;
pub use manifest::Manifest;
pub use parts::{MOST_UNASKED, TEXTS_AT_ONCE, tokens};
pub use score::Score;
pub use sound::Hearing;
pub use vocabulary::Vocabulary;

use crate::clock::{Clock, Instant};
use crate::config::Config;
use crate::engine::{Engine, EngineError, Tensor, Value};
use crate::frame::{Frame, Samples};
use crate::geometry::{Fit, Size};
use crate::mask::Masks;
use embeddings::Cache;
use image::ImagePreparation;
use parts::Parts;
use sound::Ear;

/// Index of a class in the manifest, and its row in `t`.
pub type ClassId = usize;

/// What a picture is to the model.
#[derive(Debug, Clone)]
pub struct Vision {
    /// The grid, and where the picture lies in it.
    pub fit: Fit,
    /// `V`, `[1, P, D]`.
    pub cells: Value,
}

/// A picture that is being judged with what was heard.
#[derive(Debug)]
pub struct Judging {
    fit: Fit,
    hearing: Hearing,
    stages: Stages,
    /// Whether the next picture can be encoded meanwhile.
    leaves_time: bool,
}

#[derive(Debug)]
enum Stages {
    /// A GPU computes `p`, `p_v`, `p_a` and `H`.
    UnderWay([Value; 4]),
    /// The second is still to be run on this `V`.
    Scored(Vec<Score>, Value),
}

impl Judging {
    /// Whether a GPU is at it while the host has time to have the next picture encoded.
    pub fn leaves_time(&self) -> bool {
        self.leaves_time
    }
}

/// What is known of a picture that was judged.
#[derive(Debug)]
pub struct Judged {
    /// Stage 1 for every class, in the order of the manifest.
    pub scores: Vec<Score>,
    /// What it was judged with; where a GPU judged, it may lack the rows that were not read.
    pub hearing: Hearing,
    fit: Fit,
    maps: Maps,
}

#[derive(Debug)]
enum Maps {
    /// Of every class, `[1, N, P]`.
    All(Tensor),
    /// Still to be drawn of this `V`.
    Ahead(Value),
}

/// Room for what is told of a picture, from one that was.
#[derive(Default)]
struct Room {
    scores: Vec<Score>,
    rows: Tensor,
    maps: Tensor,
}

/// How long the GPU worked, by graph, copies included; `None` where the CPU did the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GpuTimes {
    /// On laying the picture out, which is a part of `image`.
    pub picture: Option<Duration>,
    /// On the picture.
    pub image: Option<Duration>,
    /// On the sound.
    pub audio: Option<Duration>,
    /// On the probabilities.
    pub stage1: Option<Duration>,
    /// On the heat maps.
    pub stage2: Option<Duration>,
}

impl GpuTimes {
    /// All of it; `None` if the GPU did nothing.
    pub fn total(&self) -> Option<Duration> {
        let Self { picture: _, image, audio, stage1, stage2 } = *self;
        [image, audio, stage1, stage2].into_iter().flatten().reduce(|sum, time| sum + time)
    }
}

/// A model folder, ready to run.
pub struct Model {
    folder: PathBuf,
    manifest: Manifest,
    parts: Parts,
    image: ImagePreparation,
    ear: Ear,
    room: Room,
    hops: u64,
    /// How long a picture takes on one thread, where that was measured.
    alone: Option<Duration>,
    /// Whether pictures are encoded on one thread.
    on_one: bool,
}

impl Model {
    /// Opens a model folder: checks the manifest, the SHA-256 of every file, and that the graphs have
    /// the shapes and the dimension D the manifest promises.
    ///
    /// # Errors
    /// A [`ModelError`] that names the file and what was expected of it.
    pub fn open(dir: &Path, engine: &dyn Engine) -> Result<Self, ModelError> {
        Self::load(dir, Manifest::read(dir)?, engine, None)
    }

    /// [`Model::open`] with the classes that `config` names, see [`Manifest::with_classes`]. Their texts
    /// are embedded here and never again; what is embedded is kept in the configured cache.
    ///
    /// # Errors
    /// Also when the model cannot know a class or read its text.
    pub fn configured(dir: &Path, engine: &dyn Engine, config: &Config) -> Result<Self, ModelError> {
        let manifest = Manifest::read(dir)?.with_classes(&config.detection)?;
        Self::load(dir, manifest, engine, Cache::of(config).as_ref())
    }

    fn load(
        dir: &Path,
        manifest: Manifest,
        engine: &dyn Engine,
        cache: Option<&Cache>,
    ) -> Result<Self, ModelError> {
        let mut parts = Parts::load(dir, &manifest, engine, cache)?;
        let mut ear = Ear::new(&manifest);
        ear.rest(|silence| unless_gone(|| parts.encode_sound_now(silence)))?;
        Ok(Self {
            folder: dir.to_path_buf(),
            image: ImagePreparation::new(&manifest.image),
            ear,
            room: Room::default(),
            parts,
            manifest,
            hops: 0,
            alone: None,
            on_one: false,
        })
    }

    /// What the folder says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What runs its graphs now: `cpu`, `tensorrt`, or `tensorrt and cpu` where each runs some of them.
    pub fn engine(&self) -> &'static str {
        self.parts.engine()
    }

    /// Why something less good than the engine that was asked for runs a graph; `None` if all is well.
    pub fn trouble(&self) -> Option<&str> {
        self.parts.trouble()
    }

    /// Where a picture of this size lies in the model's input.
    pub fn fit(&self, source: Size) -> Fit {
        self.manifest.image.fit(source)
    }

    /// Samples per second that [`Model::hear`] takes.
    pub fn sample_rate(&self) -> u32 {
        self.manifest.audio.sample_rate
    }

    /// How long the GPU worked since this was last asked.
    pub fn take_gpu_times(&mut self) -> GpuTimes {
        self.parts.take_gpu_times()
    }

    /// How fast a GPU runs each graph when nothing else is done, `times` in a row on what it was given last: what the
    /// whole can be measured by. `None` where there is no GPU.
    ///
    /// # Errors
    /// When a graph fails.
    pub fn repeat(&mut self, times: u32) -> Result<GpuTimes, ModelError> {
        self.parts.repeat(times)
    }

    /// How often the audio graph ran: once per hop of sound, never per frame.
    pub fn hops(&self) -> u64 {
        self.hops
    }

    /// Encodes a picture. One that is not scaled to [`Model::fit`] yet is scaled here.
    ///
    /// # Errors
    /// When the frame's bytes do not match its size, or the graph fails.
    pub fn see(&mut self, frame: &Frame) -> Result<Vision, ModelError> {
        let (picture, fit) = self
            .image
            .prepare(frame)
            .ok_or(ModelError::Frame { size: frame.size, bytes: frame.rgb.len() })?;
        let cells = unless_gone(|| self.parts.encode_image(picture, &fit))?;
        Ok(Vision { fit, cells })
    }

    /// Spares CPU with a camera that gives a picture every `interval`: pictures are encoded on one thread where that
    /// takes at most half of it, as one picture tells that is encoded here the first time.
    ///
    /// # Errors
    /// When the graph cannot be loaded again, which then runs as before; or when it fails.
    pub fn take_time(&mut self, interval: Duration, clock: &dyn Clock) -> Result<(), ModelError> {
        let known = self.alone;
        let Some(took) = known.map_or_else(|| self.time_alone(clock), |took| Ok(Some(took)))? else {
            return Ok(());
        };
        let enough = took * 2 <= interval;
        tracing::debug!(?took, ?interval, enough, "a picture on one thread");
        if enough != self.on_one {
            // What was timed just now was vouched for then.
            known.map_or(Ok(()), |_| self.vouch())?;
            self.parts.see_on_one_thread(enough)?;
            self.on_one = enough;
        }
        Ok(())
    }

    /// Checks the files once more where another number of threads has the graph read again: long after it was opened,
    /// perhaps, and while a package puts another in its place.
    fn vouch(&self) -> Result<(), ModelError> {
        if self.parts.sees_beside() { Ok(()) } else { files::check_all(&self.folder, &self.manifest) }
    }

    /// How long a picture takes on one thread, which it then goes on with; `None` where threads make no difference.
    fn time_alone(&mut self, clock: &dyn Clock) -> Result<Option<Duration>, ModelError> {
        self.vouch()?;
        if !self.parts.see_on_one_thread(true)? {
            return Ok(None);
        }
        self.on_one = true;
        let size = Size::new(640, 360);
        let grey = Frame { captured: Instant::ZERO, size, source: size, rgb: vec![128; 640 * 360 * 3] };
        self.see(&grey)?; // the first run makes ready
        let began = clock.now();
        self.see(&grey)?;
        self.alone = Some(clock.now().since(began));
        Ok(self.alone)
    }

    /// Goes on with other words for its classes, which are others then: [`ClassId`]s of before mean nothing.
    pub fn reword(&mut self, words: Vocabulary) {
        self.parts.reword(words.text);
        self.manifest = words.manifest;
    }

    /// Takes over what an `older` one heard, so that it is not deaf at first; nothing of a model that heard otherwise.
    pub fn succeed(&mut self, older: Model) {
        let sums =
            |model: &Model| model.manifest.files.iter().map(|file| file.sha256.clone()).collect::<Vec<_>>();
        if sums(self) == sums(&older) {
            (self.ear, self.hops) = (older.ear, older.hops);
        }
    }

    /// Takes a block of sound; starts the audio graph once for every hop that it completes.
    ///
    /// # Errors
    /// When the block has another sample rate, or the graph fails.
    pub fn hear(&mut self, block: &Samples) -> Result<(), ModelError> {
        if block.rate != self.sample_rate() {
            return Err(ModelError::Rate { expected: self.sample_rate(), found: block.rate });
        }
        // Rows that have come need not be put aside for the next.
        let gathered = self.gather(self.ear.under_way());
        let Self { ear, parts, hops, .. } = self;
        ear.push(block, |patch| {
            *hops += 1;
            parts.encode_sound(patch)
        })?;
        gathered
    }

    /// What was heard in the window up to `until`, all of it.
    ///
    /// # Errors
    /// As [`Model::heard_lately`].
    pub fn heard(&mut self, until: Instant) -> Result<Hearing, ModelError> {
        self.heard_lately(until, Duration::MAX)
    }

    /// What was heard up to `until`, without what ended more than `memory` before: in a picture that
    /// moves, a sound that is over is no longer there. Waits for a GPU that still encodes it.
    ///
    /// # Errors
    /// When the GPU failed for good.
    pub fn heard_lately(&mut self, until: Instant, memory: Duration) -> Result<Hearing, ModelError> {
        self.gather(0)?;
        Ok(self.ear.up_to(until, memory, Tensor::default()))
    }

    /// Brings the rows that came last to the host, but for so many of the newest.
    fn gather(&mut self, but: usize) -> Result<(), ModelError> {
        let Self { ear, parts, .. } = self;
        match ear.gather(but, |coming, rows| parts.read_sound(coming, rows)) {
            // What was being heard is lost with the GPU; who stands in for it hears the next.
            Err(ModelError::Engine(EngineError::Gone(reason))) => {
                tracing::warn!("a hop of sound is lost: {reason}");
                Ok(())
            }
            gathered => gathered,
        }
    }

    /// Forgets all sound, as between two recordings.
    pub fn forget_sound(&mut self) {
        self.ear.clear();
    }

    /// Starts to judge a picture with what was heard up to `until`, without what ended more than `memory` before. On a
    /// GPU both stages are under way then, for every class, and it is waited for once, by [`Model::judged`].
    ///
    /// # Errors
    /// When a graph fails.
    pub fn judge(&mut self, vision: Vision, until: Instant, memory: Duration) -> Result<Judging, ModelError> {
        let Vision { fit, cells } = vision;
        if !self.parts.starts_stages(&cells) {
            let hearing = self.heard_lately(until, memory)?;
            // At once: whoever finds that `cells` are gone with the GPU can still have the picture encoded anew.
            let stages = Stages::Scored(self.parts.stage1(&cells, &hearing.rows)?, cells);
            return Ok(Judging { fit, hearing, stages, leaves_time: false });
        }
        self.gather(self.ear.coming(until))?;
        let Self { ear, parts, room, .. } = self;
        let (hearing, coming) = ear.lately(until, memory, std::mem::take(&mut room.rows));
        let outputs = parts.start_stages(&cells, &hearing.rows, coming)?;
        let leaves_time = parts.sees_beside();
        Ok(Judging { fit, hearing, stages: Stages::UnderWay(outputs), leaves_time })
    }

    /// The scores of a picture that is being judged.
    ///
    /// # Errors
    /// When a graph fails.
    pub fn judged(&mut self, judging: Judging) -> Result<Judged, ModelError> {
        let Judging { fit, hearing, stages, .. } = judging;
        let (scores, maps) = match stages {
            Stages::UnderWay(outputs) => {
                let positions = (fit.rows * fit.columns) as usize;
                let Room { scores, maps, .. } = &mut self.room;
                let (mut scores, mut maps) = (std::mem::take(scores), std::mem::take(maps));
                self.parts.read_stages(&outputs, positions, &mut scores, &mut maps)?;
                (scores, Maps::All(maps))
            }
            Stages::Scored(scores, cells) => (scores, Maps::Ahead(cells)),
        };
        Ok(Judged { scores, hearing, fit, maps })
    }

    /// Takes back what nobody wants to know any more of a picture that was judged: the next is told in its room, and where a
    /// GPU judges nothing is allocated.
    pub fn take_back(&mut self, judged: Judged) {
        let Judged { scores, hearing, maps, .. } = judged;
        (self.room.scores, self.room.rows) = (scores, hearing.rows);
        if let Maps::All(maps) = maps {
            self.room.maps = maps;
        }
    }

    /// The maps of these classes in a picture that was judged.
    ///
    /// # Errors
    /// As [`Model::localize`].
    pub fn maps(&mut self, judged: &Judged, classes: &[ClassId]) -> Result<Vec<HeatMap>, ModelError> {
        let maps = match &judged.maps {
            Maps::All(all) => {
                let positions = (judged.fit.rows * judged.fit.columns) as usize;
                let map = |class: &ClassId| all.data.chunks_exact(positions).nth(*class).map(<[f32]>::to_vec);
                let asked = classes.iter().map(|class| map(class).ok_or(ModelError::Index(*class)));
                asked.collect::<Result<_, _>>()?
            }
            Maps::Ahead(cells) => self.parts.stage2(cells, &judged.hearing.rows, classes)?,
        };
        Ok(labelled(classes, maps, judged.fit))
    }

    /// Stage 1 for every class, in the order of the manifest.
    ///
    /// # Errors
    /// When the graph fails.
    pub fn detect(&mut self, vision: &Vision, hearing: &Hearing) -> Result<Vec<Score>, ModelError> {
        self.parts.stage1(&vision.cells, &hearing.rows)
    }

    /// Gives class `n` the text of class `order[n]`, for good: a control, with which a model that reads
    /// its text loses the classes.
    ///
    /// # Errors
    /// When `order` is no order of the classes.
    pub fn permute_text(&mut self, order: &[ClassId]) -> Result<(), ModelError> {
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        match sorted.iter().zip(0..self.manifest.classes.len()).find(|(class, n)| **class != *n) {
            Some((&class, _)) => Err(ModelError::Index(class)),
            None if sorted.len() != self.manifest.classes.len() => Err(ModelError::Index(sorted.len())),
            None => self.parts.permute_text(order),
        }
    }

    /// Stage 2 for these classes, in one run; an empty list runs nothing.
    ///
    /// # Errors
    /// When a class is not in the model, or the graph fails.
    pub fn localize(
        &mut self,
        vision: &Vision,
        hearing: &Hearing,
        classes: &[ClassId],
    ) -> Result<Vec<HeatMap>, ModelError> {
        let maps = self.parts.stage2(&vision.cells, &hearing.rows, classes)?;
        Ok(labelled(classes, maps, vision.fit))
    }
}

/// What `encode` gives. Where the GPU failed in the middle of it, whoever stands in for it is given the same again.
fn unless_gone<T>(mut encode: impl FnMut() -> Result<T, ModelError>) -> Result<T, ModelError> {
    match encode() {
        Err(ModelError::Engine(EngineError::Gone(_))) => encode(),
        encoded => encoded,
    }
}

fn labelled(classes: &[ClassId], maps: Vec<Vec<f32>>, fit: Fit) -> Vec<HeatMap> {
    let label = |(&class, values)| HeatMap { class, fit, values, hidden: Masks::default() };
    classes.iter().zip(maps).map(label).collect()
}
