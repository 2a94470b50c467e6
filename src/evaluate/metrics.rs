//! The measures, as pure functions on numbers: ranking, sets of classes, masks of pixels.

/// Average precision of a ranking, 0–1: the mean of the precision at each step of recall,
/// Σ (Rₙ − Rₙ₋₁) Pₙ, with equal scores taken together. `None` without a positive.
///
/// `samples` holds score, whether it is a positive, and its weight, in any order.
pub fn average_precision(samples: impl IntoIterator<Item = (f32, bool, f64)>) -> Option<f64> {
    let mut samples: Vec<_> = samples.into_iter().collect();
    samples.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    average_precision_of_ranked(samples.into_iter())
}

/// [`average_precision`] of samples that already stand in falling order of score.
pub fn average_precision_of_ranked(ranked: impl Iterator<Item = (f32, bool, f64)>) -> Option<f64> {
    let (mut above, mut hits, mut area) = (0.0, 0.0, 0.0);
    let (mut group, mut new_hits) = (f32::NAN, 0.0);
    for (score, positive, weight) in ranked {
        if score != group {
            area += step(new_hits, hits, above);
            (group, new_hits) = (score, 0.0);
        }
        above += weight;
        if positive {
            hits += weight;
            new_hits += weight;
        }
    }
    area += step(new_hits, hits, above);
    (hits > 0.0).then(|| area / hits)
}

/// What one group of equal scores adds: its positives times the precision reached after it.
fn step(new_hits: f64, hits: f64, above: f64) -> f64 {
    if new_hits > 0.0 { new_hits * hits / above } else { 0.0 }
}

/// Reports compared with the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Classes reported and true.
    pub hits: usize,
    /// Classes reported but not true.
    pub extra: usize,
    /// Classes true but not reported.
    pub missed: usize,
}

/// Compares a set of reported classes with the true ones; neither holds a class twice.
pub fn compare(reported: &[usize], truth: &[usize]) -> Counts {
    let hits = reported.iter().filter(|class| truth.contains(class)).count();
    Counts { hits, extra: reported.len() - hits, missed: truth.len() - hits }
}

/// Intersection over union of two masks of one length, 0–1; 0 when both are empty.
pub fn mask_iou(a: &[bool], b: &[bool]) -> f64 {
    let (mut both, mut either) = (0usize, 0usize);
    for (&a, &b) in a.iter().zip(b) {
        both += usize::from(a && b);
        either += usize::from(a || b);
    }
    if either == 0 { 0.0 } else { both as f64 / either as f64 }
}

/// Steps of the threshold in [`success_area`].
const STEPS: usize = 20;

/// Area under the curve "is `iou` at least τ" for τ = 0, 0.05 … 1 (trapezia), 0–1. Its mean over
/// sources is the area under the share of sources that reach each threshold.
pub fn success_area(iou: f64) -> f64 {
    let reached = |i: usize| if iou + 1e-9 >= i as f64 / STEPS as f64 { 1.0 } else { 0.0 };
    (0..STEPS).map(|i| (reached(i) + reached(i + 1)) / 2.0 / STEPS as f64).sum()
}

/// The most that the gains of a square table can sum to when every row takes one column of its own.
///
/// The Hungarian method, by shortest augmenting paths: cubic in the rows, where trying every order is factorial.
pub fn best_pairing(gains: &[Vec<f64>]) -> f64 {
    let count = gains.len();
    let (mut rows, mut columns) = (vec![0.0; count], vec![0.0; count + 1]);
    // Column `count` stands for none: a row begins there and looks for a free column.
    let mut taken: Vec<Option<usize>> = vec![None; count + 1];
    for row in 0..count {
        taken[count] = Some(row);
        let (mut least, mut from) = (vec![f64::INFINITY; count], vec![count; count]);
        let (mut seen, mut at) = (vec![false; count + 1], count);
        while let Some(row) = taken[at] {
            seen[at] = true;
            for column in (0..count).filter(|&column| !seen[column]) {
                let cost = -gains[row][column] - rows[row] - columns[column];
                if cost < least[column] {
                    (least[column], from[column]) = (cost, at);
                }
            }
            let open = (0..count).filter(|&column| !seen[column]);
            let Some(next) = open.min_by(|&a, &b| least[a].total_cmp(&least[b])) else { break };
            let step = least[next];
            for (column, taken) in taken.iter().enumerate() {
                match taken.filter(|_| seen[column]) {
                    Some(row) => (rows[row], columns[column]) = (rows[row] + step, columns[column] - step),
                    None if column < count => least[column] -= step,
                    None => {}
                }
            }
            at = next;
        }
        while at != count {
            taken[at] = taken[from[at]];
            at = from[at];
        }
    }
    (0..count).filter_map(|column| taken[column].map(|row| gains[row][column])).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn ap(scores: &[f32], positives: &[u8]) -> Option<f64> {
        average_precision(scores.iter().zip(positives).map(|(&s, &p)| (s, p == 1, 1.0)))
    }

    /// Values of scikit-learn's `average_precision_score` on the same input.
    #[test]
    fn average_precision_agrees_with_scikit_learn() {
        let close = |a: Option<f64>, b: f64| assert!((a.unwrap() - b).abs() < 1e-12, "{a:?} against {b}");
        close(ap(&[0.1, 0.4, 0.35, 0.8], &[0, 0, 1, 1]), 0.833_333_333_333_333_3);
        close(ap(&[0.5, 0.5, 0.5, 0.2], &[1, 0, 1, 1]), 0.694_444_444_444_444_4);
        close(ap(&[0.9, 0.8, 0.7], &[0, 0, 1]), 1.0 / 3.0);
        close(ap(&[0.9, 0.8, 0.7, 0.6], &[1, 1, 0, 0]), 1.0);
        assert_eq!(ap(&[0.9, 0.8], &[0, 0]), None);
        assert_eq!(ap(&[], &[]), None);
    }

    #[test]
    fn a_weight_of_two_is_the_sample_twice() {
        let twice = ap(&[0.9, 0.8, 0.8, 0.7], &[0, 1, 1, 1]);
        assert_eq!(average_precision([(0.9, false, 1.0), (0.8, true, 2.0), (0.7, true, 1.0)]), twice);
        let dropped = average_precision([(0.9, false, 0.0), (0.8, true, 1.0)]);
        assert_eq!(dropped, Some(1.0));
    }

    #[test]
    fn the_best_pairing_of_known_tables() {
        assert_eq!(best_pairing(&[]), 0.0);
        assert_eq!(best_pairing(&[vec![0.25]]), 0.25);
        assert_eq!(best_pairing(&[vec![0.5, 0.75], vec![0.25, 0.75]]), 1.25, "not both of the best column");
        let cross = [vec![0.0, 0.0, 1.0], vec![0.5, 0.0, 0.75], vec![0.25, 0.5, 0.5]];
        assert_eq!(best_pairing(&cross), 2.0);
        let many: Vec<Vec<f64>> = (0..60).map(|i| (0..60).map(|j| share(j == 59 - i)).collect()).collect();
        assert_eq!(best_pairing(&many), 60.0, "and soon: 60! orders would take for ever");
    }

    fn share(yes: bool) -> f64 {
        if yes { 1.0 } else { 0.0 }
    }

    /// The best of all orders, tried one by one.
    fn best_order(gains: &[Vec<f64>], free: &[usize]) -> f64 {
        let Some((row, rest)) = gains.split_first() else { return 0.0 };
        let without =
            |column: usize| free.iter().copied().filter(|&other| other != column).collect::<Vec<_>>();
        let pair = |&column: &usize| row[column] + best_order(rest, &without(column));
        free.iter().map(pair).fold(f64::NEG_INFINITY, f64::max)
    }

    proptest! {
        #[test]
        fn no_order_is_better_than_the_best_pairing(
            gains in (1usize..6).prop_flat_map(|n| vec(vec(0f64..1.0, n), n)),
        ) {
            let all: Vec<usize> = (0..gains.len()).collect();
            prop_assert!((best_pairing(&gains) - best_order(&gains, &all)).abs() < 1e-9);
        }
    }

    #[test]
    fn sets_are_counted() {
        assert_eq!(compare(&[1, 2, 3], &[2, 5]), Counts { hits: 1, extra: 2, missed: 1 });
        assert_eq!(compare(&[], &[]), Counts::default());
    }

    #[test]
    fn masks_overlap() {
        assert_eq!(mask_iou(&[true, true, false, false], &[false, true, true, false]), 1.0 / 3.0);
        assert_eq!(mask_iou(&[false; 4], &[false; 4]), 0.0);
    }

    #[test]
    fn success_area_of_known_values() {
        assert!((success_area(1.0) - 1.0).abs() < 1e-12);
        // Only τ = 0 is reached: half of the first trapezium.
        assert!((success_area(0.0) - 0.025).abs() < 1e-12);
        // τ = 0 … 0.5 are reached: ten whole steps and half of the next.
        assert!((success_area(0.5) - 0.525).abs() < 1e-12);
    }
}
