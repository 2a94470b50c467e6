//! The program's own work on one frame and one hop of sound, without the engine: `cargo bench`.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use tvsl::analysis::{Analysed, SoundWindow, Timing};
use tvsl::clock::{Clock, Instant};
use tvsl::config::{Config, Overrides};
use tvsl::engine::{Engine, EngineError, Graph, Input, Port, Tensor};
use tvsl::frame::Frame;
use tvsl::geometry::{Fit, Size};
use tvsl::mask::Masks;
use tvsl::message::{Composer, Info, Moment, Settings};
use tvsl::model::{HeatMap, Manifest, Model, Score, Spectrogram};
use tvsl::publish::Teller;
use tvsl::regions::regions;
use tvsl::track::{Detection, Event, Track, Tracker};

const SOURCE: Size = Size::new(640, 360);
const MODEL: &str = "engines/default";

/// An engine that answers with zeros at once, so that what is measured is all ours.
struct Idle(Fit);

impl Engine for Idle {
    fn name(&self) -> &'static str {
        "idle"
    }

    fn load(&self, file: &Path) -> Result<Box<dyn Graph>, EngineError> {
        let port = |name: &&str| Port { name: (*name).into(), shape: vec![] };
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let (inputs, outputs): (&[&str], &[&str]) = match name.as_ref() {
            "image" => (&["image"], &["V"]),
            "audio" => (&["sound"], &["A"]),
            "stage1" => (&["V", "A", "t"], &["p", "p_v", "p_a"]),
            _ => (&["V", "A", "t"], &["H"]),
        };
        let rows = if name == "image" { (self.0.rows * self.0.columns) as usize } else { 1 };
        Ok(Box::new(Zeros {
            inputs: inputs.iter().map(port).collect(),
            outputs: outputs.iter().map(port).collect(),
            answer: Tensor::zeros([1, rows, 384]),
        }))
    }
}

struct Zeros {
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    answer: Tensor,
}

impl Graph for Zeros {
    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    fn run(&mut self, _: &[(&str, Input<'_>)]) -> Result<Vec<Tensor>, EngineError> {
        Ok(vec![self.answer.clone(); self.outputs.len()])
    }
}

fn manifest() -> Manifest {
    Manifest::read(Path::new(MODEL)).expect("the default model")
}

/// Two warm blobs over the grid of a 16:9 picture.
fn map(fit: Fit) -> HeatMap {
    let blob = |x: f32, y: f32| (-((x - 3.0).powi(2) + (y - 3.0).powi(2)) / 4.0).exp();
    let values = (0..fit.rows).flat_map(|y| {
        (0..fit.columns).map(move |x| blob(x as f32, y as f32).max(0.7 * blob(x as f32 - 6.0, y as f32)))
    });
    HeatMap { class: 0, fit, values: values.collect(), hidden: Masks::default() }
}

fn picture(c: &mut Criterion) {
    let fit = manifest().image.fit(SOURCE);
    let mut model = Model::open(Path::new(MODEL), &Idle(fit)).expect("the default model");
    let size = fit.picture;
    let rgb = (0..size.width * size.height * 3).map(|i| (i % 251) as u8).collect();
    let frame = Frame { captured: Instant::ZERO, size, source: SOURCE, rgb };
    c.bench_function("picture: normalise and lay out", |b| {
        b.iter(|| model.see(black_box(&frame)).expect("it sees"))
    });
}

fn sound(c: &mut Criterion) {
    let audio = manifest().audio;
    let settings = audio.log_mel.as_ref().expect("a log-mel front end");
    let mut spectrogram = Spectrogram::new(settings, audio.sample_rate);
    let hop = settings.patch_step * settings.frame_step;
    let samples: Vec<f32> = (0..hop).map(|i| (i as f32 * 0.05).sin()).collect();
    let mut frames = Vec::new();
    c.bench_function("sound: log-mel of one hop", |b| {
        b.iter(|| {
            frames.clear();
            spectrogram.push(black_box(&samples).iter().copied(), &mut frames);
        })
    });
}

fn heat(c: &mut Criterion) {
    let map = map(manifest().image.fit(SOURCE));
    let fine = Size::new(map.fit.columns * 8, map.fit.rows * 8);
    c.bench_function("heat map: bicubic, 8 x 8 a cell", |b| b.iter(|| black_box(&map).normalised(fine)));
    c.bench_function("heat map: regions", |b| b.iter(|| regions(black_box(&map), 0.3)));
}

fn detections() -> Vec<Detection> {
    let map = map(manifest().image.fit(SOURCE));
    let score = |class| Score { class, p: 0.9, p_audio: 0.8, p_visual: 0.95 };
    (0..3)
        .map(|class| Detection { score: score(class), unrivalled: true, regions: regions(&map, 0.3) })
        .collect()
}

fn tracks(c: &mut Criterion) {
    let (config, detections) = (Config::default(), detections());
    let mut tracker = Tracker::new(&config.tracking);
    let mut now = Instant::ZERO;
    c.bench_function("tracker: three classes, two regions each", |b| {
        b.iter(|| {
            now = now + Duration::from_millis(100);
            tracker.update(now, black_box(&detections))
        })
    });
}

fn message(c: &mut Criterion) {
    let (config, detections) = (Config::default(), detections());
    let mut tracker = Tracker::new(&config.tracking);
    let at = |seconds| Instant::from_secs_f64(seconds);
    tracker.update(at(1.0), &detections);
    let analysed = Analysed {
        captured: at(2.0),
        source: SOURCE,
        sound: SoundWindow { start: Instant::ZERO, end: at(2.0), level_dbfs: -20.0 },
        scores: vec![],
        tracks: tracker.update(at(1.2), &detections),
        detections,
        maps: vec![],
        timing: Timing::default(),
    };
    let composer = Composer::new(&config, &manifest(), 1);
    c.bench_function("message: compose and write as JSON", |b| {
        b.iter_batched(
            || composer.clone(),
            |mut composer| {
                let message = composer.compose(black_box(&analysed), Moment::of_recording(at(2.0)));
                serde_json::to_vec(&message.expect("tracks are there"))
            },
            BatchSize::SmallInput,
        )
    });
}

/// A clock that stands still.
struct Still;

impl Clock for Still {
    fn now(&self) -> Instant {
        Instant::from_secs_f64(2.0)
    }

    fn wall(&self) -> Duration {
        Duration::from_secs(2)
    }
}

/// Five sources in a picture, with the broker away and the store full: what the analysis thread pays.
fn queueing(c: &mut Criterion) {
    let (config, manifest) = (Config::default(), manifest());
    let model = Model::open(Path::new(MODEL), &Idle(manifest.image.fit(SOURCE))).expect("the default model");
    let about = (Info::new(&config, &model), Settings::new(&config, &Overrides::default()));
    let teller = Teller::new(&config, about, 1, &Still);
    let mut composer = Composer::new(&config, &manifest, 1);
    let now = Still.now();
    let Detection { score, regions, .. } = detections().remove(0);
    let track =
        |id| Track { id, class: 0, score, region: regions[0], started: now, seen: now, event: Event::Update };
    let analysed = Analysed {
        captured: now,
        source: SOURCE,
        sound: SoundWindow { start: Instant::ZERO, end: now, level_dbfs: -20.0 },
        scores: vec![],
        detections: vec![],
        tracks: (0..5).map(track).collect(),
        maps: vec![],
        timing: Timing::default(),
    };
    c.bench_function("message: build and queue five detections (goal 20 µs)", |b| {
        b.iter(|| {
            let message = composer.compose(black_box(&analysed), Moment::of_recording(now));
            message.iter().for_each(|message| teller.message(message));
        })
    });
}

criterion_group!(kernels, picture, sound, heat, tracks, message, queueing);
criterion_main!(kernels);
