//! Free text for models that read it: tokenised as CLIP does, embedded once, kept, and never read again per frame.

mod daemon;
mod support;
mod tiny;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tiny::{Copy, RED, hum, stripes};
use tvsl::analysis::{Analysed, Analysis};
use tvsl::clock::SystemClock;
use tvsl::config::{Config, Log, Overrides};
use tvsl::engine::{Engine, EngineError, Graph, Input, Port, Tensor};
use tvsl::geometry::Size;
use tvsl::message::{Message, Wish};
use tvsl::model::{Manifest, Model, ModelError, Vocabulary};
use tvsl::pipeline::{self, Change, Observer, Stop, Workshop};

/// The CPU engine, but texts are read by a graph that counts and remembers.
struct Reader {
    inner: Arc<dyn Engine>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    runs: AtomicUsize,
    tokens: Mutex<Tensor>,
}

struct TextGraph(Arc<Seen>, [Vec<Port>; 2]);

impl Engine for Reader {
    fn name(&self) -> &'static str {
        "reader"
    }

    fn load(&self, file: &Path) -> Result<Box<dyn Graph>, EngineError> {
        if !file.ends_with("text.onnx") {
            return self.inner.load(file);
        }
        let port = |name: &str| vec![Port { name: name.into(), shape: vec![None, None] }];
        Ok(Box::new(TextGraph(self.seen.clone(), [port("tokens"), port("t")])))
    }
}

impl Graph for TextGraph {
    fn inputs(&self) -> &[Port] {
        &self.1[0]
    }

    fn outputs(&self) -> &[Port] {
        &self.1[1]
    }

    /// The classes of the tiny model in turn: red, green, blue.
    fn run(&mut self, inputs: &[(&str, Input<'_>)]) -> Result<Vec<Tensor>, EngineError> {
        self.0.runs.fetch_add(1, Ordering::SeqCst);
        let Input::Tensor(tokens) = inputs[0].1 else { panic!("tokens are numbers of the host") };
        let mut t = Tensor::zeros([tokens.shape[0], 3]);
        (0..tokens.shape[0]).for_each(|n| t.data[n * 3 + n % 3] = 1.0);
        *self.0.tokens.lock().expect("no panic") = tokens.clone();
        Ok(vec![t])
    }
}

/// A folder whose model reads free text, an empty cache, and what was read.
struct Library {
    model: Copy,
    cache: tempfile::TempDir,
    engine: Reader,
}

impl Library {
    fn new() -> Self {
        let model = Copy::new();
        model.edit("dimension = 3", "dimension = 3\ntokenizer = \"clip\"");
        let engine = Reader { inner: tiny::cpu(), seen: Arc::default() };
        Self { model, cache: tempfile::tempdir().expect("a temporary folder"), engine }
    }

    fn config(&self, detection: &str) -> Config {
        let cache = self.cache.path().join("below");
        let text = format!("[model]\ncache = {cache:?}\n[detection]\n{detection}");
        Config::parse(&text, Path::new("test.toml")).expect("a configuration")
    }

    fn open(&self, detection: &str) -> Result<Model, ModelError> {
        Model::configured(self.model.0.path(), &self.engine, &self.config(detection))
    }

    fn refused(&self, detection: &str) -> String {
        self.open(detection).err().expect("refused").to_string()
    }

    fn runs(&self) -> usize {
        self.engine.seen.runs.load(Ordering::SeqCst)
    }

    /// The token numbers of a class, without the zeros after them.
    fn tokens(&self, class: usize) -> Vec<u32> {
        let tokens = self.engine.seen.tokens.lock().expect("no panic");
        let row = tokens.data.chunks_exact(tokens.shape[1]).nth(class).expect("the class was read");
        row.iter().map(|&token| token as u32).take_while(|&token| token != 0).collect()
    }
}

/// Token numbers of open_clip's tokenizer for the same texts.
#[test]
fn words_become_clips_tokens() {
    let library = Library::new();
    let own = "classes = [\"steam whistle\", \"bells\", \"chien\"]\nprompts.\"steam whistle\" = \"a photo of a {} of a locomotive\"\n\
               prompts.bells = \"Church bell's ring, 2 of them!\"\nprompts.chien = \"chien qui aboie à minuit\"";
    library.open(own).expect("it opens");
    assert_eq!(library.tokens(0), [49406, 320, 1125, 539, 320, 6972, 19746, 539, 320, 30439, 49407]);
    assert_eq!(library.tokens(1), [49406, 2735, 3718, 568, 2540, 267, 273, 539, 1180, 256, 49407]);
    assert_eq!(library.tokens(2), [49406, 1337, 576, 18046, 2889, 1718, 21259, 29064, 585, 49407]);
}

#[test]
fn the_list_of_the_configuration_is_the_models() {
    let library = Library::new();
    let model = library.open("classes = [\"blue\", \"steam whistle\"]").expect("it opens");
    let names: Vec<_> = model.manifest().classes.iter().map(|class| class.name.as_str()).collect();
    assert_eq!(names, ["blue", "steam whistle"]);
    assert_eq!(library.tokens(0), [3], "a class of the model keeps its own tokens");
    assert_eq!(library.tokens(1), [49406, 6972, 19746, 49407]);
    let all = library.open("").expect("it opens");
    assert_eq!(all.manifest().classes.len(), 3);
}

#[test]
fn texts_are_read_once_kept_and_never_again_per_frame() {
    let library = Library::new();
    let mut model = library.open("classes = [\"red thing\"]").expect("it opens");
    for _ in 0..3 {
        model.hear(&hum(&[RED], 0.0, 1.0)).expect("it hears");
        let vision = model.see(&stripes(&[RED], Size::new(160, 90), 1.0)).expect("it sees");
        let hearing = model.heard(tvsl::clock::Instant::from_secs_f64(1.0)).expect("it heard");
        assert!(model.detect(&vision, &hearing).expect("stage 1")[0].p > 0.9);
    }
    assert_eq!(library.runs(), 1);
    library.open("classes = [\"red thing\"]").expect("from the cache");
    assert_eq!(library.runs(), 1, "the same texts are kept");
    library.open("classes = [\"red thing\"]\nprompts.\"red thing\" = \"a red {}\"").expect("read anew");
    assert_eq!(library.runs(), 2, "another text is read");
}

#[test]
fn a_long_list_is_read_in_pieces() {
    let library = Library::new();
    let words: Vec<_> = (0..500).map(|n| format!("\"word {n}\"")).collect();
    let mut model = library.open(&format!("classes = [{}]", words.join(", "))).expect("it opens");
    assert_eq!(library.runs(), 2);
    model.hear(&hum(&[RED], 0.0, 1.0)).expect("it hears");
    let vision = model.see(&stripes(&[RED], Size::new(160, 90), 1.0)).expect("it sees");
    let hearing = model.heard(tvsl::clock::Instant::from_secs_f64(1.0)).expect("it heard");
    let scores = model.detect(&vision, &hearing).expect("stage 1");
    // Each piece begins with red, which is every third word of it.
    let red: Vec<_> = scores.iter().filter(|score| score.p > 0.9).map(|score| score.class).collect();
    assert_eq!(red, (0..256).step_by(3).chain((256..500).step_by(3)).collect::<Vec<_>>());
}

#[test]
fn a_damaged_cache_is_read_anew() {
    let library = Library::new();
    library.open("classes = [\"red\"]").expect("it opens");
    for entry in std::fs::read_dir(library.cache.path().join("below")).expect("the cache") {
        std::fs::write(entry.expect("a file").path(), b"rubbish").expect("spoilt");
    }
    library.open("classes = [\"red\"]").expect("it opens all the same");
    assert_eq!(library.runs(), 2);
}

#[test]
fn impossible_texts_are_refused() {
    let library = Library::new();
    let long = format!("classes = [\"x\"]\nprompts.x = \"{}\"", "dog ".repeat(76));
    assert!(library.refused(&long).contains("has 76 tokens, expected 1 to 75"));
    assert!(library.refused("classes = [\"x\"]\nprompts.x = \" \"").contains("has 0 tokens"));
    let entity = library.refused("classes = [\"x\"]\nprompts.x = \"R&amp;B\"");
    assert!(entity.contains("detection.prompts.x") && entity.contains("holds `&amp;`"), "{entity}");
    let stray = library.refused("classes = [\"red\"]\nprompts.green = \"{}\"");
    assert!(stray.contains("detection.prompts") && stray.contains("no class \"green\""), "{stray}");
}

#[test]
fn a_model_of_fixed_texts_reads_none() {
    let library = Library::new();
    library.model.edit("tokenizer = \"clip\"", "");
    let told = library.refused("prompts.red = \"a {}\"");
    assert!(told.contains("detection.prompts.red") && told.contains("fixed list of classes"), "{told}");
    let manifest = Manifest::read(library.model.0.path()).expect("it reads");
    let config = Config::parse("[detection]\nclasses = [\"steam whistle\"]", Path::new("t")).expect("parses");
    assert_eq!(manifest.with_classes(&config.detection).expect("unchanged").classes.len(), 3);
}

/// Reads words where the model lies.
struct Reading(Library);

impl Workshop for Reading {
    fn words(&self, config: &Config) -> Result<Vocabulary, String> {
        Vocabulary::read(self.0.model.0.path(), &self.0.engine, config).map_err(|error| error.to_string())
    }

    fn model(&self, _: &Config) -> Result<Model, String> {
        Err("no other model is asked for".into())
    }

    fn log(&self, _: &Log) {}
}

/// Makes the next change when a class has started that it waits for.
struct Watcher<'a> {
    workshop: Arc<Reading>,
    /// A class, and what is changed when it has started; `None`: the end.
    script: VecDeque<(&'static str, Option<Change>)>,
    due: Option<Change>,
    stop: &'a Stop,
    /// The sources that sound, with their classes.
    open: Vec<(String, String)>,
    /// Classes that begin and end to sound, what came of wishes, and how often texts were read by then.
    told: Vec<String>,
    captured: Vec<f64>,
}

impl Watcher<'_> {
    fn sounds(&self, class: &str) -> bool {
        self.open.iter().any(|(_, open)| open == class)
    }
}

impl Observer for Watcher<'_> {
    fn message(&mut self, message: Message) {
        for ended in message.ended {
            self.open.retain(|(id, _)| *id != ended.id);
            if !self.sounds(&ended.class) {
                self.told.push(format!("{} ended", ended.class));
            }
        }
        for started in message.detections.into_iter().filter(|d| d.event == tvsl::message::Phase::Start) {
            let known = self.sounds(&started.class);
            self.open.push((started.id, started.class.clone()));
            if known {
                continue;
            }
            self.told.push(format!("{} started", started.class));
            if self.script.front().is_some_and(|(class, _)| *class == started.class) {
                match self.script.pop_front().expect("a step").1 {
                    Some(change) => self.due = Some(change),
                    None => self.stop.ask(),
                }
            }
        }
    }

    fn change(&mut self) -> Option<Change> {
        self.due.take()
    }

    fn workshop(&self) -> Option<Arc<dyn Workshop>> {
        Some(self.workshop.clone())
    }

    fn judged(&mut self, key: &str, result: Result<&Overrides, String>) {
        let why = result.err().unwrap_or_else(|| "granted".into());
        self.told.push(format!("{key}: {why}; read {} times", self.workshop.0.runs()));
        if why != "granted" {
            self.due = Some(classes(&["crimson"]));
        }
    }

    fn analysed(&mut self, analysed: &Analysed) {
        self.captured.push(analysed.captured.as_secs_f64());
    }
}

fn classes(names: &[&str]) -> Change {
    let payload = serde_json::to_vec(names).expect("JSON");
    Change::Wish(Wish { key: "classes".into(), payload, retained: false })
}

#[test]
fn other_words_are_read_while_it_runs_and_no_picture_is_dropped() {
    let place = daemon::Place::new();
    let clip = place.path("clip.mkv");
    let (red, hum) = (daemon::red(4), daemon::hum(4));
    support::make(&format!("{red} ! queue ! m. {hum} ! queue ! m. matroskamux name=m ! filesink"), &clip);
    let library = Library::new();
    let mut config = library.config("classes = [\"red thing\"]");
    config.camera = support::clip(&clip);
    config.camera.file.repeat = true;
    config.microphone = support::microphone(tvsl::config::MicrophoneSource::Media);
    let model = Model::configured(library.model.0.path(), &library.engine, &config).expect("it opens");
    let analysis = Analysis::new(model, &config).expect("an analysis");
    let mut file = config.clone();
    file.detection.prompts.insert("red thing".into(), "a {} of a fire brigade".into());
    let (stop, long) = (Stop::default(), "1".repeat(76)); // each digit is a token
    let script = [
        ("red thing", Some(classes(&[&long]))),
        ("crimson", Some(classes(&["red thing"]))),
        ("red thing", Some(Change::File(Ok(file.into())))),
        ("red thing", None),
    ];
    let mut watcher = Watcher {
        workshop: Arc::new(Reading(library)),
        script: script.into(),
        due: None,
        stop: &stop,
        open: vec![],
        told: vec![],
        captured: vec![],
    };
    pipeline::run(&config, analysis, &SystemClock::new(), &stop, &mut watcher).expect("it plays");
    let refused = watcher.told.remove(1);
    assert!(
        refused.starts_with("classes: detection.prompts.111") && refused.ends_with("read 1 times"),
        "{refused}"
    );
    let expected = [
        "red thing started",
        "red thing ended",
        "classes: granted; read 2 times",
        "crimson started",
        "crimson ended",
        "classes: granted; read 2 times", // from the cache
        "red thing started",
        "red thing ended",
        "red thing started", // by another text
    ];
    assert_eq!(watcher.told[..expected.len()], expected);
    assert_eq!(watcher.workshop.0.runs(), 3);
    let apart: Vec<f64> = watcher.captured.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(apart.len() > 5 && apart.iter().all(|apart| (apart - 0.1).abs() < 0.02), "{apart:?}");
}
