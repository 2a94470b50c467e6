//! On the way of a frame over a GPU nothing is allocated after the first ones, on the host's heap no more than for the GPU: for
//! hops of sound, for a picture that comes scaled, for both stages, and where the host reads what they say; from `Model::hear` to
//! `Model::judged`, whose result is given back. What the analysis makes of that (maps of the classes that are there, regions, tracks)
//! is not looked at, nor is the first run at other shapes. Counted is all that this process takes, but for the fakes in C.
#![allow(unsafe_code, reason = "the fake library is steered through its functions")]

#[path = "fake_tensorrt/mod.rs"]
mod fake_tensorrt;
#[path = "fake_tensorrt/machine.rs"]
mod machine;
mod tiny;

use std::alloc::System;
use std::path::Path;
use std::time::Duration;

use fake_tensorrt::counted;
use machine::{GPUS, Machine, frame, model, tone};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tvsl::clock::Instant;
use tvsl::config::EngineKind;
use tvsl::frame::{Frame, Samples};
use tvsl::geometry::Size;
use tvsl::model::Model;

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Hops of sound that are over before a frame: of a quick camera, and of one with fewer pictures than hops.
const HOPS: [usize; 7] = [1, 0, 0, 3, 0, 1, 5];

#[test]
fn a_frame_allocates_nothing() {
    let machine = Machine::of(Path::new("engines/default"));
    let by_chance =
        [&[("FAKE_CUDA_SCHEDULE", "1")][..], &[("FAKE_CUDA_SCHEDULE", "2"), ("FAKE_CUDA_INTEGRATED", "1")]];
    for variables in GPUS.into_iter().chain(by_chance) {
        println!("{variables:?}: {}", machine.run("count_allocations", variables));
    }
}

#[test]
fn nor_does_one_of_a_model_whose_audio_graph_takes_the_waveform() {
    let fine = tiny::Copy::new();
    fine.replace("audio.onnx", &fine.read("fine.onnx"), true);
    let machine = Machine::of(fine.0.path());
    println!("{}", machine.run("count_allocations", &[]));
}

/// How often `work` allocates: on the heap, and for the GPU.
fn allocations(work: impl FnOnce()) -> (usize, i32) {
    let (for_gpu, before) = (counted(c"fake_cuda_allocations"), HEAP.stats());
    work();
    let heap = HEAP.stats() - before;
    (heap.allocations + heap.reallocations, counted(c"fake_cuda_allocations") - for_gpu)
}

#[test]
#[ignore = "runs in a process of its own"]
fn count_allocations() {
    let mut model = model(EngineKind::TensorRt);
    let mut sound = Sound::of(&model);
    // Longer than rows and levels of sound are remembered.
    while sound.heard.as_secs_f64() < model.manifest().audio.window + 32.0 {
        model.hear(&sound.hop()).expect("it hears");
    }
    let source = Size::new(640, 360);
    let size = model.fit(source).picture;
    let frames = [0, 1, 2].map(|seed| Frame { source, ..frame(size, seed) });
    let mut ahead = None;
    for (n, hops) in HOPS.repeat(9).into_iter().enumerate() {
        let blocks: Vec<_> = (0..hops).map(|_| sound.hop()).collect();
        let (this, next) = (&frames[n % 3], &frames[(n + 1) % 3]);
        let (heap, gpu) = allocations(|| {
            blocks.iter().for_each(|block| model.hear(block).expect("it hears"));
            let vision = ahead.take().unwrap_or_else(|| model.see(this).expect("it sees"));
            let judging = model.judge(vision, sound.heard, Duration::MAX).expect("it judges");
            assert!(judging.leaves_time());
            // Not always: a frame that nobody looked ahead to is judged as well.
            ahead = (n % 5 != 0).then(|| model.see(next).expect("it sees the next"));
            let judged = model.judged(judging).expect("it has judged");
            model.take_gpu_times();
            model.take_back(judged);
        });
        println!("frame {n} after {hops} hops: {heap} allocations on the heap, {gpu} for the GPU");
        assert!(n > 0 || heap > 0, "nothing is counted");
        // From then on after each number of hops, whether or not it was looked ahead to.
        let settled = n >= 4 * HOPS.len();
        assert!(!settled || (heap, gpu) == (0, 0), "frame {n} after {hops} hops: {heap}, {gpu} for the GPU");
    }
}

/// Sound without end, a hop at a time.
struct Sound {
    tone: Samples,
    hop: usize,
    heard: Instant,
}

impl Sound {
    fn of(model: &Model) -> Self {
        let tone = tone(model);
        let hop = (model.manifest().audio.hop * f64::from(tone.rate)).round() as usize;
        Self { hop, heard: tone.captured, tone }
    }

    fn hop(&mut self) -> Samples {
        let block = Samples::new(self.heard, self.tone.rate, self.tone.mono[..self.hop].to_vec());
        self.heard = block.end();
        block
    }
}
