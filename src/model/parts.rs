//! The graphs and the text table of a model, loaded together and checked against each other.

use std::ops::Add;
use std::path::Path;
use std::slice::{from_mut, from_ref};
use std::sync::Arc;
use std::vec::Drain;

use super::embeddings::{self, Cache};
use super::manifest::Manifest;
use super::score::Score;
use super::{ClassId, GpuTimes, ModelError, files};
use crate::engine::{Engine, GpuTime, Graph, Input, Picture, Tensor, Value, Wanted, pick, together};
use crate::geometry::Fit;

/// Most texts that a text graph is given at once: a longer list takes more runs, not more memory.
pub const TEXTS_AT_ONCE: usize = 256;

/// Most classes whose maps a GPU draws before it is known which of them are there: that costs less than a second wait.
pub const MOST_UNASKED: usize = 256;

/// As many classes as sound at once, usually, and as a GPU is asked about at least.
const USUALLY_ASKED: usize = 4;

/// The loaded graphs with `t`.
pub(super) struct Parts {
    image: Part,
    /// What makes `V` of `features`, where the image graph does not itself.
    image_head: Option<Part>,
    audio: Part,
    stage1: Part,
    stage2: Part,
    /// `t`, `[N, D]`.
    text: Arc<Tensor>,
    /// The rows of `t` that stage 2 is asked about.
    asked: Tensor,
    /// What both stages said last: `p`, `p_v`, `p_a` and `H`.
    said: [Tensor; 4],
    dimension: usize,
}

/// One graph with the outputs it is read by.
struct Part {
    name: &'static str,
    graph: Box<dyn Graph>,
    /// Where each wanted output stands among the graph's own.
    outputs: Vec<usize>,
    /// Room for what a run gives that is started.
    given: Vec<Value>,
}

impl Parts {
    /// Loads the graphs; `cache` is where embeddings of texts are kept.
    pub(super) fn load(
        dir: &Path,
        manifest: &Manifest,
        engine: &dyn Engine,
        cache: Option<&Cache>,
    ) -> Result<Self, ModelError> {
        let graphs = manifest.verified_graphs(dir)?;
        let part = |name, file: &str, inputs: &[&str], outputs: &[&str]| {
            Part::load(name, engine.load(&dir.join(file))?, inputs, outputs)
        };
        let text = text(dir, manifest, engine, cache)?;
        let dimension = manifest.embedding.dimension;
        let mut audio = part("audio", &graphs.audio, &["sound"], &["A"])?;
        if manifest.audio.light {
            audio.graph.one_thread(true)?;
        }
        let seen = if graphs.image_head.is_some() { "features" } else { "V" };
        let head = graphs.image_head.as_ref();
        Ok(Self {
            image: part("image", &graphs.image, &["image"], &[seen])?,
            image_head: head.map(|file| part("image_head", file, &["features"], &["V"])).transpose()?,
            audio,
            stage1: part("stage1", &graphs.stage1, &["V", "A", "t"], &["p", "p_v", "p_a"])?,
            stage2: part("stage2", &graphs.stage2, &["V", "A", "t"], &["H"])?,
            asked: Tensor::zeros([0, dimension]),
            said: Default::default(),
            text: Arc::new(text),
            dimension,
        })
    }

    /// Runs the graph of pictures on one thread or on all; whether that makes a difference.
    pub(super) fn see_on_one_thread(&mut self, one: bool) -> Result<bool, ModelError> {
        let differs = self.image.graph.one_thread(one)?;
        if let Some(head) = self.image_head.as_mut().filter(|_| differs) {
            head.graph.one_thread(one)?;
        }
        Ok(differs)
    }

    /// Time on the GPU since it was last asked for, by graph.
    pub(super) fn take_gpu_times(&mut self) -> GpuTimes {
        let Self { image, image_head, audio, stage1, stage2, .. } = self;
        let [image, audio, stage1, stage2] =
            [image, audio, stage1, stage2].map(|part| part.graph.take_gpu_time());
        let head = image_head.as_mut().and_then(|head| head.graph.take_gpu_time());
        let image = image.into_iter().chain(head).reduce(GpuTime::add);
        let picture = image.map(|time| time.picture);
        let [image, audio, stage1, stage2] =
            [image, audio, stage1, stage2].map(|time| time.map(|time| time.whole));
        GpuTimes { picture, image, audio, stage1, stage2 }
    }

    /// The first trouble of an engine with a graph.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.of_each_run().find_map(|part| part.graph.trouble())
    }

    /// What runs the graphs now, in one word.
    pub(super) fn engine(&self) -> &'static str {
        together(self.of_each_run().map(|part| part.graph.engine()))
    }

    /// The graphs that run again and again.
    fn of_each_run(&self) -> impl Iterator<Item = &Part> {
        let Self { image, image_head, audio, stage1, stage2, .. } = self;
        [image].into_iter().chain(image_head).chain([audio, stage1, stage2])
    }

    /// The time of each graph when it runs again and again on what it was given last.
    pub(super) fn repeat(&mut self, times: u32) -> Result<GpuTimes, ModelError> {
        let Self { image, image_head, audio, stage1, stage2, .. } = self;
        let again = |part: &mut Part| part.graph.repeat(times);
        let (mut image, audio) = (again(image)?, again(audio)?);
        if let Some(head) = image_head {
            image = image.zip(again(head)?).map(|(image, head)| image + head);
        }
        Ok(GpuTimes { picture: None, image, audio, stage1: again(stage1)?, stage2: again(stage2)? })
    }

    /// Goes on with another `t`, as [`text`] gives it.
    pub(super) fn reword(&mut self, text: Tensor) {
        self.text = Arc::new(text);
    }

    /// Gives class `n` the text of class `order[n]`.
    pub(super) fn permute_text(&mut self, order: &[ClassId]) -> Result<(), ModelError> {
        let mut data = Vec::with_capacity(self.text.data.len());
        for &class in order {
            let row = class * self.dimension..(class + 1) * self.dimension;
            data.extend_from_slice(self.text.data.get(row).ok_or(ModelError::Index(class))?);
        }
        self.text = Arc::new(Tensor { shape: vec![order.len(), self.dimension], data });
        Ok(())
    }

    /// `V`, `[1, P, D]`, of a picture; a GPU keeps it, and is not waited for.
    pub(super) fn encode_image(&mut self, picture: Picture<'_>, fit: &Fit) -> Result<Value, ModelError> {
        let seen = self.image.start(&[("image", picture.into())], Wanted::OnGpu)?.next().unwrap_or_default();
        let cells = match &mut self.image_head {
            Some(head) => {
                let mut given = head.start(&[("features", (&seen).into())], Wanted::OnGpu)?;
                given.next().unwrap_or_default()
            }
            None => seen,
        };
        let graph = self.image_head.as_ref().unwrap_or(&self.image).name;
        expect(graph, "V", cells.shape(), &[1, (fit.rows * fit.columns) as usize, self.dimension])?;
        Ok(cells)
    }

    /// `A`, `[1, T, D]`, of one patch of sound; a GPU is not waited for.
    pub(super) fn encode_sound(&mut self, patch: &Tensor) -> Result<Value, ModelError> {
        let mut given = self.audio.start(&[("sound", patch.into())], Wanted::OnHost)?;
        let rows = given.next().unwrap_or_default();
        let count = rows.shape().get(1).copied().unwrap_or(0).max(1);
        expect("audio", "A", rows.shape(), &[1, count, self.dimension])?;
        Ok(rows)
    }

    /// The same, waited for.
    pub(super) fn encode_sound_now(&mut self, patch: &Tensor) -> Result<Tensor, ModelError> {
        let (coming, mut rows) = (self.encode_sound(patch)?, Tensor::default());
        self.read_sound(&coming, &mut rows)?;
        Ok(rows)
    }

    /// Puts what [`Parts::encode_sound`] gave into `rows`; if that is not there yet, it waits for all sound under way.
    pub(super) fn read_sound(&mut self, coming: &Value, rows: &mut Tensor) -> Result<(), ModelError> {
        Ok(self.audio.graph.read(from_ref(coming), from_mut(rows))?)
    }

    /// Whether [`Parts::start_stages`] is the way: a GPU has all of it, and there are not too many classes.
    pub(super) fn starts_stages(&self, cells: &Value) -> bool {
        let beside = [&self.stage1, &self.stage2].into_iter().all(|part| part.graph.runs_beside());
        beside && matches!(cells, Value::Gpu(_)) && self.text.shape[0] <= MOST_UNASKED
    }

    /// Whether a picture can be encoded while the one before is judged.
    pub(super) fn sees_beside(&self) -> bool {
        [&self.image].into_iter().chain(&self.image_head).all(|part| part.graph.runs_beside())
    }

    /// Starts both stages, the second for every class: the host waits once for everything it wants to know of a picture.
    /// The last rows may be `coming` still, as several runs of sound.
    pub(super) fn start_stages(
        &mut self,
        cells: &Value,
        rows: &Tensor,
        coming: &[Value],
    ) -> Result<[Value; 4], ModelError> {
        let rows = if coming.is_empty() { Input::Tensor(rows) } else { Input::Ending(rows, coming) };
        let inputs = [("V", cells.into()), ("A", rows), ("t", (&self.text).into())];
        let scores = self.stage1.start(&inputs, Wanted::OnHost)?;
        let mut outputs = scores.chain(self.stage2.start(&inputs, Wanted::OnHost)?);
        Ok(std::array::from_fn(|_| outputs.next().unwrap_or_default()))
    }

    /// What both stages say that [`Parts::start_stages`] started: every class's score and map, `[1, N, P]`, in place of what
    /// `scores` and `maps` held.
    pub(super) fn read_stages(
        &mut self,
        outputs: &[Value; 4],
        positions: usize,
        scores: &mut Vec<Score>,
        maps: &mut Tensor,
    ) -> Result<(), ModelError> {
        self.stage2.graph.read(outputs, &mut self.said)?;
        let ([.., drawn], classes) = (&mut self.said, self.text.shape[0]);
        expect("stage2", "H", &drawn.shape, &[1, classes, positions])?;
        std::mem::swap(maps, drawn);
        scores.clear();
        scores.extend(self::scores(&self.said, classes)?);
        Ok(())
    }

    pub(super) fn stage1(&mut self, cells: &Value, rows: &Tensor) -> Result<Vec<Score>, ModelError> {
        let Self { stage1, text, .. } = self;
        let outputs = stage1.run(&[("V", cells.into()), ("A", rows.into()), ("t", (&*text).into())])?;
        Ok(scores(&outputs, text.shape[0])?.collect())
    }

    /// One map per class, `P` values each.
    pub(super) fn stage2(
        &mut self,
        cells: &Value,
        rows: &Tensor,
        classes: &[ClassId],
    ) -> Result<Vec<Vec<f32>>, ModelError> {
        if classes.is_empty() {
            return Ok(Vec::new());
        }
        let Self { stage2, text, asked, dimension, .. } = self;
        asked.data.clear();
        for &class in classes {
            let row = text.data.chunks_exact(*dimension).nth(class).ok_or(ModelError::Index(class))?;
            asked.data.extend_from_slice(row);
        }
        asked.shape[0] = classes.len();
        if let Value::Gpu(_) = cells {
            // Work on a GPU is recorded for one shape: a class more or less would have it recorded anew.
            let wide = classes.len().max(USUALLY_ASKED).next_power_of_two();
            let wide = wide.min(text.shape[0]).max(classes.len());
            let again = asked.data[..*dimension].repeat(wide - classes.len());
            asked.data.extend(again);
            asked.shape[0] = wide;
        }
        let maps = stage2.run(&[("V", cells.into()), ("A", rows.into()), ("t", (&*asked).into())])?.remove(0);
        let positions = cells.shape()[1];
        expect("stage2", "H", &maps.shape, &[1, asked.shape[0], positions])?;
        Ok(maps.data.chunks_exact(positions).take(classes.len()).map(<[f32]>::to_vec).collect())
    }
}

/// `t` of the manifest's classes: the model's own table, or read by its text graph, unless `cache` has it.
pub(super) fn text(
    dir: &Path,
    manifest: &Manifest,
    engine: &dyn Engine,
    cache: Option<&Cache>,
) -> Result<Tensor, ModelError> {
    let read = || {
        let file = dir.join(files::graphs(dir, manifest)?.text.as_deref().unwrap_or_default());
        let mut reader = Part::load("text", engine.load(&file)?, &["tokens"], &["t"])?;
        read_texts(&mut reader, manifest)
    };
    let text = match &manifest.embedding.text {
        Some(table) => files::read_tensor(&dir.join(table), "t")?,
        None => embeddings::kept_or(manifest, cache, read)?,
    };
    expect("text", "t", &text.shape, &[manifest.classes.len(), manifest.embedding.dimension])?;
    Ok(text)
}

/// `t` of every class, read by the text graph.
fn read_texts(reader: &mut Part, manifest: &Manifest) -> Result<Tensor, ModelError> {
    let (all, dimension) = (tokens(manifest), manifest.embedding.dimension);
    let length = all.shape[1].max(1);
    let mut t = Tensor::zeros([0, dimension]);
    for data in all.data.chunks(TEXTS_AT_ONCE * length) {
        let some = Tensor { shape: vec![data.len() / length, length], data: data.to_vec() };
        let read = reader.run(&[("tokens", (&some).into())])?.remove(0);
        expect("text", "t", &read.shape, &[some.shape[0], dimension])?;
        t.shape[0] += some.shape[0];
        t.data.extend(read.data);
    }
    Ok(t)
}

impl Part {
    fn load(
        name: &'static str,
        graph: Box<dyn Graph>,
        inputs: &[&str],
        outputs: &[&str],
    ) -> Result<Self, ModelError> {
        let missing = |port: &str, has: Vec<&str>| {
            ModelError::Shape {
            graph: name,
            port: port.to_owned(),
            found: format!("not there (it has {})", has.join(", ")),
            expected: match (port, has.contains(&"features")) {
                ("V", true) => "a tensor of that name, or the file of a graph that makes it of `features` as graphs.fp32.image_head",
                _ => "a tensor of that name",
            }
            .to_owned(),
        }
        };
        let names = |ports: &[crate::engine::Port]| ports.iter().map(|p| p.name.clone()).collect::<Vec<_>>();
        let (has, gives) = (names(graph.inputs()), names(graph.outputs()));
        for wanted in inputs {
            if !has.iter().any(|name| name == wanted) {
                return Err(missing(wanted, has.iter().map(String::as_str).collect()));
            }
        }
        let place = |wanted: &&str| {
            gives
                .iter()
                .position(|name| name == wanted)
                .ok_or_else(|| missing(wanted, gives.iter().map(String::as_str).collect()))
        };
        let outputs = outputs.iter().map(place).collect::<Result<_, _>>()?;
        Ok(Self { name, graph, outputs, given: Vec::new() })
    }

    /// The wanted outputs, in the order they were asked for.
    fn run(&mut self, inputs: &[(&str, Input<'_>)]) -> Result<Vec<Tensor>, ModelError> {
        let mut all = self.graph.run(inputs)?;
        if pick(&mut all, &self.outputs) { Ok(all) } else { Err(self.lacks(all.len())) }
    }

    /// The same, started.
    fn start(
        &mut self,
        inputs: &[(&str, Input<'_>)],
        wanted: Wanted,
    ) -> Result<Drain<'_, Value>, ModelError> {
        self.graph.start(inputs, wanted, &mut self.given)?;
        if pick(&mut self.given, &self.outputs) {
            Ok(self.given.drain(..))
        } else {
            Err(self.lacks(self.given.len()))
        }
    }

    fn lacks(&self, found: usize) -> ModelError {
        ModelError::Shape {
            graph: self.name,
            port: "outputs".to_owned(),
            found: format!("{found} tensors"),
            expected: format!("{}", self.outputs.len()),
        }
    }
}

/// The score of every class in `p`, `p_v` and `p_a`.
fn scores(outputs: &[Tensor], classes: usize) -> Result<impl Iterator<Item = Score>, ModelError> {
    for (tensor, name) in outputs.iter().zip(["p", "p_v", "p_a"]) {
        expect("stage1", name, &tensor.shape, &[1, classes])?;
    }
    let at = |output: usize, class: usize| {
        let p = outputs[output].data[class];
        if p.is_finite() { p.clamp(0.0, 1.0) } else { 0.0 }
    };
    let score = move |class| Score { class, p: at(0, class), p_visual: at(1, class), p_audio: at(2, class) };
    Ok((0..classes).map(score))
}

/// The token numbers of every class's prompt, `[N, L]`, shorter ones followed by zeros.
pub fn tokens(manifest: &Manifest) -> Tensor {
    let length = manifest.classes.iter().map(|class| class.tokens.len()).max().unwrap_or(0);
    let mut tokens = Tensor::zeros([manifest.classes.len(), length]);
    for (row, class) in tokens.data.chunks_exact_mut(length.max(1)).zip(&manifest.classes) {
        row.iter_mut().zip(&class.tokens).for_each(|(value, &token)| *value = token as f32);
    }
    tokens
}

fn expect(graph: &'static str, port: &str, found: &[usize], shape: &[usize]) -> Result<(), ModelError> {
    if found == shape {
        return Ok(());
    }
    Err(ModelError::Shape {
        graph,
        port: port.to_owned(),
        found: format!("{found:?}"),
        expected: format!("{shape:?}"),
    })
}
