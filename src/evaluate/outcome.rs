//! What a model made of one scene, in numbers that the report needs.

use super::metrics;
use super::scenes::{Half, Kind, Source};
use crate::geometry::{Rect, Size};
use crate::model::{ClassId, HeatMap};
use crate::regions::{Region, regions};

/// Positions per side of the raster on which regions and boxes are compared.
pub const RASTER: u32 = 128;

/// One scene, judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What the scene tried.
    pub kind: Kind,
    /// Classes both heard and seen; none for off-screen sound and silence.
    pub truth: Vec<ClassId>,
    /// Classes seen that do not sound.
    pub silent: Vec<ClassId>,
    /// Highest p of each class over the windows of the sound.
    pub p: Vec<f32>,
    /// Classes reported in any window.
    pub reported: Vec<ClassId>,
    /// Classes reported with another scene's sound; `None` where there is none to exchange.
    pub swapped: Option<Vec<ClassId>>,
    /// Classes reported when every class bears another one's text.
    pub shuffled: Vec<ClassId>,
    /// Where the sources were found.
    pub places: Vec<Place>,
}

/// How well one source was found, its class given.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// Its class.
    pub class: ClassId,
    /// Its map beside its boxes; absent without boxes.
    pub boxed: Option<Boxed>,
    /// Whether the map peaks in the source's half of a duet; absent elsewhere.
    pub half: Option<bool>,
}

/// A heat map compared with boxes.
#[derive(Debug, Clone, PartialEq)]
pub struct Boxed {
    /// IoU of the union of the regions with the union of the boxes, 0–1.
    pub iou: f64,
    /// Whether the map peaks inside a box.
    pub pointed: bool,
    /// Average precision of the raster positions, ranked by heat, against the boxes, 0–1.
    pub precision: f64,
    /// The same against the boxes of each other boxed source of the scene, in their order.
    pub others: Vec<f64>,
}

impl Outcome {
    /// The sources with boxes, as they were found.
    pub fn boxed(&self) -> Vec<&Boxed> {
        self.places.iter().filter_map(|place| place.boxed.as_ref()).collect()
    }
}

impl Place {
    /// Compares a source's heat map, cut at `threshold`, with its label and with the boxes of the `others` in the
    /// scene. `halved` says that the scene's sources stand in different halves.
    pub fn new(map: &HeatMap, threshold: f32, source: &Source, others: &[&Source], halved: bool) -> Self {
        let found = regions(map, threshold);
        let peak = found.first().map(|best| best.peak);
        let boxed = (!source.boxes.is_empty()).then(|| compare(map, &found, &source.boxes, others));
        let half = source.half.filter(|_| halved);
        let half = half.map(|half| peak.is_some_and(|(x, _)| Half::of(x) == half));
        Self { class: map.class, boxed, half }
    }
}

fn compare(map: &HeatMap, found: &[Region], boxes: &[Rect], others: &[&Source]) -> Boxed {
    let truth = raster(boxes);
    let published: Vec<Rect> = found.iter().map(|region| region.rect).collect();
    let heat = map.over_picture(Size::new(RASTER, RASTER));
    let precision = |truth: &[bool]| {
        let ranked = heat.iter().zip(truth).map(|(&heat, &inside)| (heat, inside, 1.0));
        metrics::average_precision(ranked).unwrap_or(0.0)
    };
    let other = others.iter().filter(|other| !other.boxes.is_empty());
    let contains =
        |(x, y): (f32, f32)| boxes.iter().any(|b| b.x0 <= x && x <= b.x1 && b.y0 <= y && y <= b.y1);
    Boxed {
        iou: metrics::mask_iou(&raster(&published), &truth),
        pointed: found.first().is_some_and(|best| contains(best.peak)),
        precision: precision(&truth),
        others: other.map(|other| precision(&raster(&other.boxes))).collect(),
    }
}

/// The raster positions whose centre lies in one of the boxes; a box that misses every centre marks
/// the position it lies in.
fn raster(boxes: &[Rect]) -> Vec<bool> {
    let mut mask = vec![false; (RASTER * RASTER) as usize];
    let side = RASTER as f32;
    let span = |low: f32, high: f32| {
        let first = (low * side - 0.5).ceil().clamp(0.0, side - 1.0) as u32;
        let past = (high * side - 0.5).ceil().clamp(0.0, side) as u32;
        if past > first {
            first..past
        } else {
            first.min((low * side) as u32)..first.min((low * side) as u32) + 1
        }
    };
    for rect in boxes {
        for y in span(rect.y0, rect.y1) {
            for x in span(rect.x0, rect.x1) {
                mask[(y * RASTER + x) as usize] = true;
            }
        }
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Fit;
    use crate::mask::Masks;

    /// A map of 4 × 4 cells that is hot in one cell.
    fn hot(cell: usize) -> HeatMap {
        let values = (0..16).map(|i| f32::from(i == cell)).collect();
        HeatMap { class: 2, fit: Fit::squash(32, 4, 4), values, hidden: Masks::default() }
    }

    fn source(boxes: &[[f32; 4]], half: Option<Half>) -> Source {
        let boxes = boxes.iter().map(|&[x0, y0, x1, y1]| Rect { x0, y0, x1, y1 }).collect();
        Source { class: "dog".into(), boxes, half }
    }

    #[test]
    fn boxes_are_rastered_by_their_centres() {
        let mask = raster(&[Rect { x0: 0.0, y0: 0.0, x1: 0.5, y1: 0.25 }]);
        assert_eq!(mask.iter().filter(|&&inside| inside).count(), 64 * 32);
        assert!(mask[0] && !mask[64]);
        let speck = raster(&[Rect { x0: 0.999, y0: 0.999, x1: 1.0, y1: 1.0 }]);
        assert_eq!(speck.iter().position(|&inside| inside), Some(128 * 128 - 1));
    }

    #[test]
    fn a_map_on_the_source_points_and_overlaps() {
        let source = source(&[[0.0, 0.0, 0.25, 0.25]], Some(Half::Left));
        let place = Place::new(&hot(0), 0.4, &source, &[], true);
        let boxed = place.boxed.unwrap();
        assert!(boxed.pointed && boxed.iou > 0.5 && boxed.precision > 0.95, "{boxed:?}");
        assert_eq!((place.class, place.half), (2, Some(true)));
    }

    #[test]
    fn a_map_elsewhere_does_not() {
        let source = source(&[[0.0, 0.0, 0.25, 0.25]], Some(Half::Left));
        let place = Place::new(&hot(15), 0.4, &source, &[], true);
        let boxed = place.boxed.unwrap();
        assert!(!boxed.pointed && boxed.iou == 0.0 && boxed.precision < 0.2, "{boxed:?}");
        assert_eq!(place.half, Some(false));
    }

    #[test]
    fn what_is_unknown_is_not_judged() {
        let place = Place::new(&hot(0), 0.4, &source(&[], None), &[], true);
        assert_eq!((place.boxed, place.half), (None, None));
    }

    /// Sixteen cells, hot in the first; its cell is a sixteenth of the picture, and so is the last one.
    #[test]
    fn a_map_is_held_against_the_boxes_of_the_others_too() {
        let (own, last) = (source(&[[0.0, 0.0, 0.25, 0.25]], None), source(&[[0.75, 0.75, 1.0, 1.0]], None));
        let boxless = source(&[], None);
        let place = Place::new(&hot(0), 0.4, &own, &[&boxless, &last, &own], false);
        let boxed = place.boxed.unwrap();
        assert_eq!(boxed.others.len(), 2, "one without boxes cannot be held against anything");
        assert!(boxed.others[0] < 0.1 && boxed.others[1] == boxed.precision, "{boxed:?}");
    }
}
