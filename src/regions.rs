//! Heat map to regions: where in the picture a class is.

use crate::geometry::{Rect, Size};
use crate::mask::Masks;
use crate::model::HeatMap;

/// Map positions per grid cell and axis on which regions are drawn.
const FINENESS: u32 = 8;

/// A region smaller than this many grid cells is a speck and is dropped, unless it is the best.
const SPECK: f32 = 0.5;

/// A further region counts from so far between the threshold and the hottest point: what barely rises above the
/// threshold is a part of the best that fell apart, and flickers (two thresholds, as in Canny's edges).
const PLAIN: f32 = 0.5;

/// One place where a class is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Region {
    /// Its bounding box, normalised picture coordinates.
    pub rect: Rect,
    /// Its hottest point, `(x, y)`, inside the box.
    pub peak: (f32, f32),
    /// Heat at its peak relative to the hottest and coldest points of the picture, 0–1; 1 for the best.
    pub score: f32,
}

impl Region {
    /// The whole picture, where a map says nothing.
    const ANYWHERE: Region =
        Region { rect: Rect { x0: 0.0, y0: 0.0, x1: 1.0, y1: 1.0 }, peak: (0.5, 0.5), score: 0.0 };
}

/// The connected places where the normalised map is at least `threshold` (0–1), best first; beside the best only those
/// that are plainly hot themselves. A map without contrast does not say where: its one region is the whole picture with score
/// 0. What is hidden is in none, and no peak; where everything is hidden there is no region.
pub fn regions(map: &HeatMap, threshold: f32) -> Vec<Region> {
    let size = Size::new(map.fit.columns * FINENESS, map.fit.rows * FINENESS);
    let Some(heat) = map.normalised(size) else { return anywhere(&map.hidden, size) };
    // What is hidden has no heat at all.
    let mut found = components(&heat, size, threshold.max(f32::MIN_POSITIVE));
    found.sort_by(|a, b| b.peak_heat.total_cmp(&a.peak_heat));
    let least = (SPECK * (FINENESS * FINENESS) as f32) as usize;
    let plain = threshold + PLAIN * (1.0 - threshold);
    let counts = |c: &&Component| c.positions >= least && c.peak_heat >= plain;
    let (best, rest) = (found.iter().take(1), found.iter().skip(1).filter(counts));
    best.chain(rest).map(|component| component.region(size)).collect()
}

/// The whole picture but what is hidden, with the place nearest its middle for a peak.
fn anywhere(hidden: &Masks, size: Size) -> Vec<Region> {
    if hidden.is_empty() {
        return vec![Region::ANYWHERE];
    }
    let mut seen = vec![true; (size.width * size.height) as usize];
    hidden.runs(size).into_iter().for_each(|run| seen[run].fill(false));
    let places = (0..size.height).flat_map(|y| (0..size.width).map(move |x| (x, y)));
    let mut places = places.zip(seen).filter_map(|(place, seen)| seen.then_some(place)).peekable();
    let whole = places.peek().copied().map(|first| {
        let middle = (size.width as f32 / 2.0 - 0.5, size.height as f32 / 2.0 - 0.5);
        let near = |(x, y): (u32, u32)| -(x as f32 - middle.0).hypot(y as f32 - middle.1);
        let add = |mut whole: Component, place| {
            whole.add(place, near(place));
            whole
        };
        Region { score: 0.0, ..places.fold(Component::at(first), add).region(size) }
    });
    whole.into_iter().collect()
}

/// A connected set of map positions; bounds are inclusive.
struct Component {
    low: (u32, u32),
    high: (u32, u32),
    peak: (u32, u32),
    peak_heat: f32,
    positions: usize,
}

impl Component {
    fn at(place: (u32, u32)) -> Self {
        Self { low: place, high: place, peak: place, peak_heat: f32::NEG_INFINITY, positions: 0 }
    }

    fn add(&mut self, (x, y): (u32, u32), heat: f32) {
        self.low = (self.low.0.min(x), self.low.1.min(y));
        self.high = (self.high.0.max(x), self.high.1.max(y));
        self.positions += 1;
        if heat > self.peak_heat {
            (self.peak, self.peak_heat) = ((x, y), heat);
        }
    }

    fn region(&self, size: Size) -> Region {
        let (width, height) = (size.width as f32, size.height as f32);
        let rect = Rect {
            x0: self.low.0 as f32 / width,
            y0: self.low.1 as f32 / height,
            x1: (self.high.0 + 1) as f32 / width,
            y1: (self.high.1 + 1) as f32 / height,
        };
        let peak = ((self.peak.0 as f32 + 0.5) / width, (self.peak.1 as f32 + 0.5) / height);
        Region { rect, peak, score: self.peak_heat }
    }
}

/// Fills every set of positions of at least `threshold` that touch along an edge.
fn components(heat: &[f32], size: Size, threshold: f32) -> Vec<Component> {
    let index = |(x, y): (u32, u32)| (y * size.width + x) as usize;
    let mut open: Vec<bool> = heat.iter().map(|&value| value >= threshold).collect();
    let mut found = Vec::new();
    let mut edge = Vec::new();
    for start in (0..size.height).flat_map(|y| (0..size.width).map(move |x| (x, y))) {
        if !std::mem::take(&mut open[index(start)]) {
            continue;
        }
        let mut component = Component::at(start);
        edge.push(start);
        while let Some((x, y)) = edge.pop() {
            component.add((x, y), heat[index((x, y))]);
            let sides = [(x.wrapping_sub(1), y), (x + 1, y), (x, y.wrapping_sub(1)), (x, y + 1)];
            let inside = sides.into_iter().filter(|(x, y)| *x < size.width && *y < size.height);
            edge.extend(inside.filter(|&side| std::mem::take(&mut open[index(side)])));
        }
        found.push(component);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Fit;
    use crate::mask::Mask;
    use proptest::prelude::*;

    fn map(rows: u32, columns: u32, values: Vec<f32>) -> HeatMap {
        HeatMap { class: 0, fit: Fit::squash(32, rows, columns), values, hidden: Masks::default() }
    }

    #[test]
    fn two_hot_corners_are_two_regions_best_first() {
        let mut values = vec![0.0; 35];
        (values[0], values[34]) = (1.5, 2.0);
        let found = regions(&map(5, 7, values), 0.4);
        assert_eq!(found.len(), 2);
        assert!(found[0].score == 1.0 && found[0].peak.0 > 0.85 && found[0].peak.1 > 0.8);
        assert!(found[1].score > 0.7 && found[1].rect.x1 < 0.3 && found[1].rect.y1 < 0.3);
    }

    #[test]
    fn what_barely_reaches_the_threshold_is_no_region_of_its_own() {
        let mut values = vec![0.0; 35];
        (values[0], values[34]) = (1.2, 2.0);
        assert_eq!(regions(&map(5, 7, values), 0.4).len(), 1, "0.6 of the hottest, 0.7 is plain");
    }

    #[test]
    fn what_is_hidden_is_never_hot() {
        let hide = |side| Masks::new(vec![Mask::rectangle(side).expect("a mask")]);
        let mut values = vec![0.0; 35];
        (values[0], values[34]) = (1.0, 2.0);
        let masked = |hidden| HeatMap { hidden, ..map(5, 7, values.clone()) };
        let found = regions(&masked(hide([0.5, 0.0, 1.0, 1.0])), 0.4);
        assert_eq!(found.len(), 1, "the hotter corner is hidden: {found:?}");
        assert!(
            found[0].score == 1.0 && found[0].rect.x1 < 0.3,
            "the other one is the hottest now: {found:?}"
        );
        let left = regions(&HeatMap { hidden: hide([0.0, 0.0, 0.5, 1.0]), ..map(2, 2, vec![1.0; 4]) }, 0.5);
        assert!(left.len() == 1 && left[0].rect.x0 == 0.5 && left[0].score == 0.0, "{left:?}");
        assert_eq!(regions(&masked(hide([0.0, 0.0, 1.0, 1.0])), 0.4), []);
    }

    #[test]
    fn a_map_without_contrast_is_the_whole_picture() {
        assert_eq!(regions(&map(2, 2, vec![1.0; 4]), 0.5), [Region::ANYWHERE]);
        assert_eq!(regions(&map(2, 2, vec![f32::NAN; 4]), 0.5), [Region::ANYWHERE]);
    }

    fn heat() -> impl Strategy<Value = f32> {
        prop_oneof![8 => 0f32..10.0, 1 => Just(f32::NAN), 1 => Just(f32::INFINITY), 1 => Just(-1e30f32)]
    }

    proptest! {
        #[test]
        fn regions_lie_in_the_picture(
            w in 1u32..900, h in 1u32..900, threshold in 0f32..=1.0,
            values in prop::collection::vec(heat(), 24),
        ) {
            let hidden = Masks::default();
            let map = HeatMap { class: 3, fit: Fit::letterbox(Size::new(w, h), 32, 24), values, hidden };
            let found = regions(&map, threshold);
            for Region { rect, peak, score } in &found {
                prop_assert!(0.0 <= rect.x0 && rect.x0 < rect.x1 && rect.x1 <= 1.0);
                prop_assert!(0.0 <= rect.y0 && rect.y0 < rect.y1 && rect.y1 <= 1.0);
                prop_assert!(rect.x0 < peak.0 && peak.0 < rect.x1 && rect.y0 < peak.1 && peak.1 < rect.y1);
                prop_assert!((threshold..=1.0).contains(score) || found == [Region::ANYWHERE]);
            }
            prop_assert!(found.windows(2).all(|pair| pair[0].score >= pair[1].score));
            prop_assert!(found.first().is_some_and(|best| best.score == 1.0) || found == [Region::ANYWHERE]);
        }

        #[test]
        fn no_region_has_its_peak_under_a_mask(
            threshold in 0f32..=1.0, values in prop::collection::vec(heat(), 24),
            masks in prop::collection::vec(prop::array::uniform4(0f64..=1.0), 1..4),
        ) {
            let sorted = |a: f64, b: f64| (a.min(b), a.max(b));
            let mask = |[x, y, u, v]: [f64; 4]| {
                let ((x0, x1), (y0, y1)) = (sorted(x, u), sorted(y, v));
                Mask::rectangle([x0, y0, x1, y1]).ok()
            };
            let hidden = Masks::new(masks.into_iter().filter_map(mask).collect());
            let map = HeatMap { hidden: hidden.clone(), ..map(4, 6, values) };
            for Region { rect, peak, .. } in regions(&map, threshold) {
                prop_assert!(!hidden.cover([peak.0, peak.1].map(f64::from)), "{:?} under {:?}", peak, hidden);
                prop_assert!(rect.x0 < peak.0 && peak.0 < rect.x1 && rect.y0 < peak.1 && peak.1 < rect.y1);
            }
        }
    }
}
