//! Heat map to regions: where in the picture a class is.

use crate::geometry::{Rect, Size};
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
/// that are plainly hot themselves. A map without contrast does not say where: its one region is the whole picture with score 0.
pub fn regions(map: &HeatMap, threshold: f32) -> Vec<Region> {
    let size = Size::new(map.fit.columns * FINENESS, map.fit.rows * FINENESS);
    let Some(heat) = map.normalised(size) else { return vec![Region::ANYWHERE] };
    let mut found = components(&heat, size, threshold);
    found.sort_by(|a, b| b.peak_heat.total_cmp(&a.peak_heat));
    let least = (SPECK * (FINENESS * FINENESS) as f32) as usize;
    let plain = threshold + PLAIN * (1.0 - threshold);
    let counts = |c: &&Component| c.positions >= least && c.peak_heat >= plain;
    let (best, rest) = (found.iter().take(1), found.iter().skip(1).filter(counts));
    best.chain(rest).map(|component| component.region(size)).collect()
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
    use proptest::prelude::*;

    fn map(rows: u32, columns: u32, values: Vec<f32>) -> HeatMap {
        HeatMap { class: 0, fit: Fit::squash(32, rows, columns), values }
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
            let map = HeatMap { class: 3, fit: Fit::letterbox(Size::new(w, h), 32, 24), values };
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
    }
}
