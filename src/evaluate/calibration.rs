//! Whether a probability is one: of all that is said with p = 0.7, are seven in ten true?

use super::bootstrap::{Bootstrap, Figure};
use super::outcome::Outcome;
use crate::model::ClassId;

/// What is said with less is denied, and there is so much of it that it would hide the rest.
const LEAST: f32 = 0.1;
const BINS: usize = 10;

/// A class in a scene.
struct Said {
    scene: usize,
    p: f32,
    is_true: bool,
}

/// The expected calibration error (Guo et al. 2017, eq. 3), 0–1: the distance between the mean p and the share that is
/// true, in ten bins of equal width, weighted by what is in them. Every class that a scene gives a p of at least 0.1
/// counts, or only `class`; these are the samples.
pub fn calibration_error(outcomes: &[Outcome], draws: &Bootstrap, class: Option<ClassId>) -> Figure {
    let said: Vec<Said> =
        outcomes.iter().enumerate().flat_map(|(scene, o)| of_scene(scene, o, class)).collect();
    draws.figure(said.len(), |times| {
        let (mut off, mut all) = ([0.0; BINS], 0.0);
        for Said { scene, p, is_true } in &said {
            let weight = times.map_or(1.0, |times| f64::from(times[*scene]));
            let bin = ((p * BINS as f32) as usize).min(BINS - 1);
            off[bin] += weight * (f64::from(*p) - f64::from(u8::from(*is_true)));
            all += weight;
        }
        (all > 0.0).then(|| off.iter().map(|off| off.abs()).sum::<f64>() / all)
    })
}

fn of_scene(scene: usize, outcome: &Outcome, class: Option<ClassId>) -> impl Iterator<Item = Said> {
    let all = outcome.p.iter().copied().enumerate();
    all.filter(move |(own, p)| *p >= LEAST && class.is_none_or(|class| class == *own))
        .map(move |(class, p)| Said { scene, p, is_true: outcome.truth.contains(&class) })
}

#[cfg(test)]
mod tests {
    use super::super::scenes::Kind;
    use super::*;

    fn scene(p: f32, is_true: bool) -> Outcome {
        let truth = if is_true { vec![1] } else { vec![] };
        let (reported, shuffled, silent) = (vec![], vec![], vec![]);
        Outcome {
            kind: Kind::Single,
            truth,
            silent,
            p: vec![0.05, p],
            reported,
            swapped: None,
            shuffled,
            places: vec![],
        }
    }

    fn error(scenes: &[Outcome], class: Option<ClassId>) -> (f64, usize) {
        let figure = calibration_error(scenes, &Bootstrap::new(scenes.len()), class);
        ((figure.value.unwrap_or(f64::NAN) * 1e6).round() / 1e6, figure.n)
    }

    /// Of four at 0.75 three are true, and of two at 0.25 both: 0 · 4/6 + 0.75 · 2/6.
    #[test]
    fn it_is_the_distance_of_what_is_said_from_what_is_true() {
        let mut scenes: Vec<_> = [true, true, true, false].map(|is_true| scene(0.75, is_true)).into();
        assert_eq!(error(&scenes, None), (0.0, 4));
        scenes.extend([scene(0.25, true), scene(0.25, true)]);
        assert_eq!(error(&scenes, None), (0.25, 6));
        assert_eq!(error(&scenes, Some(1)), (0.25, 6));
        assert_eq!(error(&scenes, Some(0)).1, 0, "what is denied does not count");
    }

    /// One that is too sure and one that is too modest do not make up for each other.
    #[test]
    fn errors_of_two_bins_do_not_cancel() {
        assert_eq!(error(&[scene(0.95, false), scene(0.15, true)], None), (0.9, 2));
    }
}
