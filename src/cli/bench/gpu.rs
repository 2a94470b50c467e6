//! What the GPU does of it, and how fast its plans are when nothing else is done.

use std::collections::HashMap;
use std::time::Duration;

use super::report::{Row, Target};
use super::{Round, middle};
use crate::model::{GpuTimes, Manifest};

/// Runs in a row of the loop that does nothing but enqueue a plan.
pub(super) const LOOPED: u32 = 200;

/// Times on the GPU, for all frames together.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Gpu {
    /// All graphs, copies included.
    pub whole: Duration,
    /// The image graph, with laying the picture out.
    pub image: Duration,
    /// Laying the picture out.
    pub picture: Duration,
    /// As many runs of every graph in a loop that does nothing else.
    pub looped: Duration,
}

impl Gpu {
    /// Adds the times of one frame.
    pub fn add(&mut self, times: &GpuTimes) {
        self.whole += times.total().unwrap_or_default();
        self.image += times.image.unwrap_or_default();
        self.picture += times.picture.unwrap_or_default();
    }
}

/// The time that the `counted` runs of every file take if each takes as long as it does `alone`; `None` if the GPU does
/// not run all of them.
pub(super) fn looped(manifest: &Manifest, alone: &GpuTimes, counted: HashMap<&str, u64>) -> Option<Duration> {
    let graphs = manifest.precision("fp32")?;
    let files = [
        (&graphs.image, alone.image?),
        (&graphs.audio, alone.audio?),
        (&graphs.stage1, alone.stage1?),
        (&graphs.stage2, alone.stage2?),
    ];
    let seconds = |(file, time): (&String, Duration)| {
        counted.get(file.as_str()).map_or(0.0, |count| time.as_secs_f64() * *count as f64)
    };
    Some(Duration::from_secs_f64(files.map(seconds).into_iter().sum()))
}

/// The figures; none where the CPU did the work.
pub(super) fn rows(rounds: &[Round]) -> Vec<Row> {
    let Some(gpus) = rounds.iter().map(|round| round.bare.gpu).collect::<Option<Vec<_>>>() else {
        return Vec::new();
    };
    let per_frame = |of: fn(&Gpu) -> Duration| {
        let frames = rounds.iter().map(|round| round.bare.pass.frames.max(1) as f64);
        gpus.iter().zip(frames).map(|(gpu, frames)| of(gpu).as_secs_f64() * 1e3 / frames).collect::<Vec<_>>()
    };
    let looped = per_frame(|gpu| gpu.looped);
    let shares = rounds.iter().zip(&looped).map(|(round, ms)| ms / round.whole.wall_ms()).collect();
    let share = |gpu: &Gpu| gpu.picture.as_secs_f64() / gpu.image.as_secs_f64().max(f64::MIN_POSITIVE);
    let pictures = gpus.iter().map(share).collect();
    let row =
        |name, values, unit, target, about| Row { name, value: middle(values, 0.5), unit, target, about };
    let ms = |name, values, about| row(name, values, "ms", Target::None, about);
    vec![
        ms("gpu_ms", per_frame(|gpu| gpu.whole), "on the GPU per frame, copies included"),
        ms("gpu_image_ms", per_frame(|gpu| gpu.image), "of it, the image encoder with its picture"),
        ms("gpu_loop_ms", looped, "the same runs in a bare enqueueV3 loop"),
        row("gpu_ratio", shares, "", Target::AtLeast(0.95), "the pipeline's speed over the bare loop's"),
        row("gpu_picture_ratio", pictures, "", Target::AtMost(0.05), "preparing a picture / its encoder"),
    ]
}
