//! Free text for models that read it: tokenised as CLIP does, embedded once, kept, and never read again per frame.

mod tiny;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tiny::{Copy, RED, hum, stripes};
use tvsl::config::Config;
use tvsl::engine::{Engine, EngineError, Graph, Input, Port, Tensor};
use tvsl::geometry::Size;
use tvsl::model::{Manifest, Model, ModelError};

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

    fn open(&self, detection: &str) -> Result<Model, ModelError> {
        let cache = self.cache.path().join("below");
        let text = format!("[model]\ncache = {cache:?}\n[detection]\n{detection}");
        let config = Config::parse(&text, Path::new("test.toml")).expect("a configuration");
        Model::configured(self.model.0.path(), &self.engine, &config)
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
    let model = library.open("classes = [\"blue\", \"steam whistle\", \"blue\"]").expect("it opens");
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
        let hearing = model.heard(tvsl::clock::Instant::from_secs_f64(1.0));
        assert!(model.detect(&vision, &hearing).expect("stage 1")[0].p > 0.9);
    }
    assert_eq!(library.runs(), 1);
    library.open("classes = [\"red thing\"]").expect("from the cache");
    assert_eq!(library.runs(), 1, "the same texts are kept");
    library.open("classes = [\"red thing\"]\nprompts.\"red thing\" = \"a red {}\"").expect("read anew");
    assert_eq!(library.runs(), 2, "another text is read");
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
