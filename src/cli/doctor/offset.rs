//! Whether sound and picture tell the same time: the onsets of claps against what moves in the picture.

use super::Check;
use crate::frame::{Frame, Samples};

/// Sound and picture are looked for this far apart at most, in seconds.
const FARTHEST: f64 = 1.5;
/// Differences are tried in steps of this, in seconds.
const STEP: f64 = 0.01;
/// Length of the blocks whose level is followed, in seconds.
const BLOCK: f64 = 0.01;
/// An onset is so many times as loud as the fifth of a second before it, and at least this loud.
const JUMP: f32 = 6.0;
const FAINTEST: f32 = 0.01;
/// Onsets closer than this are one, in seconds.
const APART: f64 = 0.2;
/// Fewer claps than this could meet a movement by chance.
const LEAST_CLAPS: usize = 2;
/// Scores so near to the best are as good: at the ends of what was seen and heard some claps lack their movement.
const AS_GOOD: f64 = 0.8;
/// Hands that close move most shortly before they sound, and pictures come one at a time.
const HANDS: f64 = 0.15;
/// From this difference on, the wrong picture is looked at, in seconds.
const TOO_FAR: f64 = 0.25;

/// What was found in claps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Offset {
    /// Claps that were heard.
    pub claps: usize,
    /// How much later than its picture a clap is heard, in seconds; `None` if nothing moved with the claps.
    pub seconds: Option<f64>,
}

/// The smallest difference at which the onsets of sound meet about the most movement.
pub(super) fn measure<'a>(frames: &[&Frame], sound: impl Iterator<Item = &'a Samples>) -> Offset {
    let (onsets, moved) = (onsets(sound), movement(frames));
    let reach = median(moved.windows(2).map(|pair| pair[1].0 - pair[0].0)).unwrap_or(0.0).max(0.05);
    let met =
        |at: f64| moved.iter().map(|(t, much)| much * (1.0 - (at - t).abs() / reach).max(0.0)).sum::<f64>();
    let steps = (FARTHEST / STEP) as i32;
    let lags = (-steps..=steps).map(|step| f64::from(step) * STEP);
    let scores: Vec<_> = lags.map(|lag| (lag, onsets.iter().map(|at| met(at - lag)).sum::<f64>())).collect();
    let usual = scores.iter().map(|(_, score)| score).sum::<f64>() / scores.len() as f64;
    let most = scores.iter().map(|(_, score)| *score).fold(0.0, f64::max);
    // Somebody who moves all the time moves at every difference.
    let plain = onsets.len() >= LEAST_CLAPS && most > 2.0 * usual;
    let good = scores.iter().filter(|(_, score)| plain && *score >= AS_GOOD * most).map(|(lag, _)| *lag);
    let seconds = good.min_by(|a, b| a.abs().total_cmp(&b.abs()));
    Offset { claps: onsets.len(), seconds }
}

/// When it became loud at once, in seconds.
fn onsets<'a>(sound: impl Iterator<Item = &'a Samples>) -> Vec<f64> {
    let (mut found, mut before) = (Vec::<f64>::new(), 0.0f32);
    for block in sound {
        let length = ((f64::from(block.rate) * BLOCK) as usize).max(1);
        for (index, piece) in block.mono.chunks(length).enumerate() {
            let at = block.captured.as_secs_f64() + index as f64 * BLOCK;
            let level = piece.iter().fold(0f32, |most, sample| most.max(sample.abs()));
            if level > FAINTEST.max(JUMP * before) && found.last().is_none_or(|last| at - last > APART) {
                found.push(at);
            }
            before += (level - before) * (BLOCK / 0.2) as f32;
        }
    }
    found
}

/// How much each picture differs from the one before it, above what is usual, with its time in seconds.
fn movement(frames: &[&Frame]) -> Vec<(f64, f64)> {
    let differs = |pair: &[&Frame]| {
        let changed = pair[0].rgb.iter().zip(&pair[1].rgb).map(|(a, b)| u64::from(a.abs_diff(*b)));
        (pair[1].captured.as_secs_f64(), changed.sum::<u64>() as f64 / pair[1].rgb.len().max(1) as f64)
    };
    let all: Vec<_> = frames.windows(2).map(differs).collect();
    let noise = median(all.iter().map(|(_, much)| *much)).unwrap_or(0.0);
    all.into_iter().map(|(at, much)| (at, (much - noise).max(0.0))).collect()
}

impl Check {
    /// What claps told of sound and picture.
    pub(super) fn offset(found: Offset) -> Self {
        const STAGE: &str = "offset";
        let cure = "clap three or four times, with pauses, in view of the camera and near the microphone; else keep still";
        let Offset { claps, seconds } = found;
        match seconds {
            None if claps < LEAST_CLAPS => {
                Self::warning(STAGE, format!("{claps} claps were heard, which is too few"), cure)
            }
            None => {
                Self::warning(STAGE, format!("{claps} claps were heard, but nothing moved with them"), cure)
            }
            Some(seconds) => {
                let ms = |seconds: f64| (seconds * 1e3).round();
                let late = if seconds < 0.0 { "earlier" } else { "later" };
                let about = format!(
                    "{claps} claps are heard {} ms {late} than seen, give or take {} ms",
                    ms(seconds.abs()),
                    ms(HANDS)
                );
                if seconds.abs() > TOO_FAR {
                    let cure = "take both from one source ([microphone] source = \"media\"), or another microphone or camera";
                    Self::warning(STAGE, about, cure)
                } else {
                    Self::ok(STAGE, about)
                }
            }
        }
    }
}

/// The value in the middle; `None` of nothing.
pub(super) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Instant;
    use crate::geometry::Size;

    /// Pictures at 25 a second for 8 s, light for a tenth of a second from each of `flashes` on.
    fn pictures(flashes: &[f64]) -> Vec<Frame> {
        let size = Size::new(4, 4);
        let picture = |index: u32| {
            let at = f64::from(index) / 25.0;
            let light = flashes.iter().any(|from| (*from..from + 0.1).contains(&at));
            let grey = if light { 250 } else { 10 + (index % 3) as u8 };
            Frame { captured: Instant::from_secs_f64(at), size, source: size, rgb: vec![grey; 48] }
        };
        (0..200).map(picture).collect()
    }

    /// Sound as long, in blocks of 20 ms, a click at each of `clicks` in a soft hiss.
    fn sound(clicks: &[f64]) -> Vec<Samples> {
        let sample = |index: u32| {
            let at = f64::from(index) / 8000.0;
            let loud = clicks.iter().any(|from| (*from..from + 0.02).contains(&at));
            let hiss = if index.is_multiple_of(2) { 1e-3 } else { -1e-3 };
            if loud { 0.5 } else { hiss }
        };
        let block = |first: u32| {
            let mono = (first..first + 160).map(sample).collect();
            Samples::new(Instant::from_secs_f64(f64::from(first) / 8000.0), 8000, mono)
        };
        (0..400).map(|index| block(index * 160)).collect()
    }

    fn measured(flashes: &[f64], clicks: &[f64]) -> Offset {
        let (frames, blocks) = (pictures(flashes), sound(clicks));
        measure(&frames.iter().collect::<Vec<_>>(), blocks.iter())
    }

    const CLAPS: [f64; 4] = [1.8, 2.9, 4.48, 6.12];

    #[test]
    fn a_known_difference_is_found() {
        for late in [-0.8, -0.3, 0.0, 0.12, 0.5, 1.2] {
            let found = measured(&CLAPS, &CLAPS.map(|at| at + late));
            assert_eq!(found.claps, 4);
            let seconds = found.seconds.expect("a difference");
            // A flash moves the picture twice, as it begins and as it ends.
            assert!((seconds - late).abs() <= HANDS, "{late}: {seconds}");
        }
    }

    #[test]
    fn claps_that_nothing_moves_with_tell_nothing() {
        assert_eq!(measured(&[], &CLAPS), Offset { claps: 4, seconds: None });
        assert_eq!(measured(&CLAPS, &[2.9]), Offset { claps: 1, seconds: None });
        assert_eq!(measured(&CLAPS, &[]), Offset { claps: 0, seconds: None });
        assert_eq!(measure(&[], std::iter::empty()), Offset { claps: 0, seconds: None });
    }

    #[test]
    fn a_large_difference_is_warned_of() {
        let told = |seconds| Check::offset(Offset { claps: 3, seconds }).line();
        assert!(
            told(Some(-0.04))
                .starts_with("ok       offset         3 claps are heard 40 ms earlier than seen")
        );
        assert!(told(Some(0.6)).contains("WARNING") && told(Some(0.6)).contains("600 ms later"));
        assert!(told(None).contains("nothing moved"));
    }
}
