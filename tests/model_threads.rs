//! Pictures are encoded on one thread where that keeps up with the camera, and on all of them where it does not.

mod tiny;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use tvsl::clock::{Clock, Instant};
use tvsl::engine::{Engine, EngineError, Graph, Input, Port, Tensor};
use tvsl::model::{Model, ModelError};

/// The time, and whether pictures are encoded on one thread.
#[derive(Default)]
struct World {
    now: AtomicU64,
    one: AtomicBool,
}

impl Clock for World {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.now.load(SeqCst))
    }

    fn wall(&self) -> Duration {
        Duration::ZERO
    }
}

/// An engine whose graph of pictures takes 60 ms on one thread and 40 ms on all.
struct Slow(Arc<World>);

struct SlowGraph(Box<dyn Graph>, Arc<World>);

impl Engine for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn load(&self, file: &Path) -> Result<Box<dyn Graph>, EngineError> {
        let graph = tiny::cpu().load(file)?;
        Ok(if file.ends_with("image.onnx") { Box::new(SlowGraph(graph, self.0.clone())) } else { graph })
    }
}

impl Graph for SlowGraph {
    fn inputs(&self) -> &[Port] {
        self.0.inputs()
    }

    fn outputs(&self) -> &[Port] {
        self.0.outputs()
    }

    fn one_thread(&mut self, one: bool) -> Result<bool, EngineError> {
        self.1.one.store(one, SeqCst);
        Ok(true)
    }

    fn run(&mut self, inputs: &[(&str, Input<'_>)]) -> Result<Vec<Tensor>, EngineError> {
        let cost = if self.1.one.load(SeqCst) { 60_000_000 } else { 40_000_000 };
        self.1.now.fetch_add(cost, SeqCst);
        self.0.run(inputs)
    }
}

/// Whether one thread does with a picture every so many milliseconds.
fn one_thread_does(model: &mut Model, world: &World, interval: u64) -> bool {
    model.take_time(Duration::from_millis(interval), world).expect("the graph runs");
    world.one.load(SeqCst)
}

#[test]
fn as_few_threads_as_the_camera_needs() {
    let world = Arc::new(World::default());
    let mut model = Model::open(tiny::folder(), &Slow(world.clone())).expect("the tiny model opens");
    assert!(one_thread_does(&mut model, &world, 1000));
    assert!(!one_thread_does(&mut model, &world, 100), "it takes more than half of the time");
    assert!(one_thread_does(&mut model, &world, 120));
}

/// A copy of the tiny model, to be spoilt.
fn copied() -> tempfile::TempDir {
    tiny::Copy::new().0
}

#[test]
fn only_what_the_manifest_vouches_for_is_read_again() {
    let (world, folder) = (Arc::new(World::default()), copied());
    let mut model = Model::open(folder.path(), &Slow(world.clone())).expect("the tiny model opens");
    assert!(one_thread_does(&mut model, &world, 1000));
    let graph = folder.path().join("image.onnx");
    let whole = std::fs::read(&graph).expect("a graph");
    std::fs::write(&graph, &whole[..whole.len() / 2]).expect("room for a file");
    let refused =
        model.take_time(Duration::from_millis(100), &*world).expect_err("a package puts another there");
    assert!(matches!(refused, ModelError::Altered { .. }) && world.one.load(SeqCst), "{refused}");
    std::fs::write(&graph, whole).expect("room for a file");
    assert!(!one_thread_does(&mut model, &world, 100));
}

/// The CPU engine with threads to spare.
fn two_threads() -> Arc<dyn Engine> {
    use tvsl::config::{Config, EngineKind};
    let config = tvsl::config::Engine { kind: EngineKind::Cpu, threads: 2, ..Config::default().engine };
    tvsl::engine::choose(&config).expect("the CPU engine opens")
}

/// A picture for the tiny model.
fn picture() -> Tensor {
    Tensor { shape: vec![1, 3, 32, 32], data: (0..3072).map(|n| (n % 7) as f32 / 7.0).collect() }
}

#[test]
fn a_graph_that_cannot_be_read_again_runs_as_before() {
    let (folder, picture) = (copied(), picture());
    let file = folder.path().join("image.onnx");
    let mut graph = two_threads().load(&file).expect("the graph loads");
    std::fs::remove_file(&file).expect("removed");
    graph.one_thread(true).expect_err("it is gone");
    graph.run(&[("image", (&picture).into())]).expect("it runs");
}

#[test]
fn the_same_is_found_on_any_number_of_threads() {
    let mut graph = two_threads().load(&tiny::folder().join("image.onnx")).expect("the graph loads");
    let picture = picture();
    let mut run = |one: bool| {
        assert!(graph.one_thread(one).expect("it loads again"));
        graph.run(&[("image", (&picture).into())]).expect("it runs")
    };
    assert_eq!(run(true), run(false));
}
