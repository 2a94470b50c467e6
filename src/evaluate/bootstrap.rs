//! How sure a measure is: 95 % intervals from scenes drawn again with replacement.

use serde::Serialize;

/// Draws behind every interval.
const DRAWS: usize = 1000;
/// Seed of the draws, so that a report can be repeated to the last digit.
const SEED: u64 = 0x7456_534c;

/// A measured value with its sample count and 95 % bootstrap interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figure {
    /// The measure itself, 0–1; absent when nothing was there to measure.
    pub value: Option<f64>,
    /// Samples it was taken over: the denominator of a share, the classes of a mean over classes.
    pub n: usize,
    /// Lower end of the interval.
    pub low: Option<f64>,
    /// Upper end of the interval.
    pub high: Option<f64>,
}

/// One scene's part in a share: `part` of `whole`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part {
    /// Index of the scene.
    pub scene: usize,
    /// What it adds to the numerator.
    pub part: f64,
    /// What it adds to the denominator.
    pub whole: f64,
}

/// How often each scene occurs in each draw. Whole scenes are drawn, since the sources of one scene
/// are not independent of each other.
pub struct Bootstrap(Vec<Vec<u16>>);

impl Bootstrap {
    /// The draws for `scenes` scenes; the same for every measure of one report.
    pub fn new(scenes: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(SEED);
        let mut draw = || {
            let mut times = vec![0u16; scenes];
            for _ in 0..scenes {
                times[random.usize(..scenes)] += 1;
            }
            times
        };
        Self((0..DRAWS).map(|_| draw()).collect())
    }

    /// Σ part ÷ Σ whole. A scene may be listed several times or not at all; `n` samples stand behind it.
    pub fn share(&self, n: usize, parts: &[Part]) -> Figure {
        self.figure(n, |times| {
            let sum = |of: fn(&Part) -> f64| -> f64 {
                parts.iter().map(|p| f64::from(times.map_or(1, |t| t[p.scene])) * of(p)).sum()
            };
            let whole = sum(|p| p.whole);
            (whole > 0.0).then(|| sum(|p| p.part) / whole)
        })
    }

    /// Any measure: `measure` is given how often each scene counts, or `None` for once each.
    pub fn figure(&self, n: usize, measure: impl Fn(Option<&[u16]>) -> Option<f64>) -> Figure {
        let value = measure(None);
        let mut drawn: Vec<f64> = match value {
            Some(_) => self.0.iter().filter_map(|times| measure(Some(times))).collect(),
            None => Vec::new(),
        };
        drawn.sort_unstable_by(f64::total_cmp);
        Figure { value, n, low: quantile(&drawn, 0.025), high: quantile(&drawn, 0.975) }
    }
}

/// The `q` quantile of sorted values, linear between neighbours.
pub fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let at = q * last as f64;
    let (below, share) = (at.floor() as usize, at.fract());
    Some(sorted[below] * (1.0 - share) + sorted[(below + 1).min(last)] * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coins(heads: &[bool]) -> Figure {
        let part = |(scene, &head): (usize, &bool)| Part { scene, part: f64::from(head), whole: 1.0 };
        let parts: Vec<_> = heads.iter().enumerate().map(part).collect();
        Bootstrap::new(heads.len()).share(heads.len(), &parts)
    }

    #[test]
    fn quantiles_are_linear_between_neighbours() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), Some(3.0));
        assert_eq!(quantile(&[5.0], 0.025), Some(5.0));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn nothing_to_measure_has_no_value() {
        let figure = Bootstrap::new(3).share(0, &[]);
        assert_eq!(figure, Figure { value: None, n: 0, low: None, high: None });
    }

    #[test]
    fn the_same_scenes_give_the_same_interval() {
        let heads: Vec<bool> = (0..50).map(|i| i % 3 == 0).collect();
        assert_eq!(coins(&heads), coins(&heads));
    }

    /// The interval of a share has nearly the width of the normal approximation, 2 · 1.96 · √(p q / n).
    #[test]
    fn the_interval_of_a_share_has_the_expected_width() {
        let heads: Vec<bool> = (0..400).map(|i| i % 4 == 0).collect();
        let figure = coins(&heads);
        let width = figure.high.unwrap() - figure.low.unwrap();
        let expected = 2.0 * 1.96 * (0.25 * 0.75 / 400.0f64).sqrt();
        assert!((width / expected - 1.0).abs() < 0.1, "{width} against {expected}");
        assert_eq!(figure.value, Some(0.25));
    }

    /// Of 200 samples of 60 tosses of a coin of known bias, about 95 % of the intervals hold the bias.
    #[test]
    fn intervals_cover_the_truth() {
        let mut random = fastrand::Rng::with_seed(1);
        let covers = |_: &usize| {
            let figure = coins(&(0..60).map(|_| random.f64() < 0.4).collect::<Vec<_>>());
            figure.low.unwrap() <= 0.4 && 0.4 <= figure.high.unwrap()
        };
        let covered = (0..200).filter(covers).count();
        assert!((182..=198).contains(&covered), "{covered} of 200");
    }
}
