//! Places of the picture that nobody is to look at: a screen, a mirror, a neighbour's window. What lies under a mask is
//! painted over before anything sees it.

use std::ops::Range;
use std::sync::Arc;

use crate::frame::Frame;
use crate::geometry::Size;

/// Most corners of a mask.
const MOST_CORNERS: usize = 100;

/// A point of the picture, 0–1 from the left and from the top.
pub type Point = [f64; 2];

/// A polygon over the picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Mask(Vec<Point>);

impl Mask {
    /// A mask with these corners, in their order around it.
    ///
    /// # Errors
    /// They enclose nothing, lie outside of the picture, or its sides cross; the sentence says which.
    pub fn new(corners: Vec<Point>) -> Result<Self, String> {
        if !(3..=MOST_CORNERS).contains(&corners.len()) {
            return Err(format!("has {} corners, expected 3 to {MOST_CORNERS}", corners.len()));
        }
        if let Some(outside) = corners.iter().flatten().find(|share| !(0.0..=1.0).contains(*share)) {
            return Err(format!("{outside} is out of range, expected a share of the picture from 0 to 1"));
        }
        let mask = Self(corners);
        if mask.crosses_itself() {
            return Err("its sides cross, expected the corners in their order around it".into());
        }
        if mask.area() == 0.0 { Err("encloses nothing".into()) } else { Ok(mask) }
    }

    /// The box between left, top, right and bottom.
    ///
    /// # Errors
    /// As [`Mask::new`]; and left must lie before right, top before bottom.
    pub fn rectangle([left, top, right, bottom]: [f64; 4]) -> Result<Self, String> {
        if left < right && top < bottom {
            Self::new(vec![[left, top], [right, top], [right, bottom], [left, bottom]])
        } else {
            Err("encloses nothing, expected [left, top, right, bottom]".into())
        }
    }

    fn sides(&self) -> impl Iterator<Item = (Point, Point)> {
        let next = self.0.iter().cycle().skip(1);
        self.0.iter().copied().zip(next.copied())
    }

    /// The shoelace formula.
    fn area(&self) -> f64 {
        self.sides().map(|([ax, ay], [bx, by])| ax * by - bx * ay).sum::<f64>().abs() / 2.0
    }

    /// Half of a mask whose corners are out of order would lie open.
    fn crosses_itself(&self) -> bool {
        let sides: Vec<_> = self.sides().collect();
        let pairs = (0..sides.len()).flat_map(|one| (0..one).map(move |other| (one, other)));
        pairs.into_iter().any(|(one, other)| cross(sides[one], sides[other]))
    }

    /// Where the horizontal line at `y` lies inside, from left to right.
    fn spans(&self, y: f64) -> Vec<(f64, f64)> {
        let crossed = self.sides().filter(|(a, b)| (a[1] <= y) != (b[1] <= y));
        let mut at: Vec<f64> =
            crossed.map(|(a, b)| a[0] + (y - a[1]) / (b[1] - a[1]) * (b[0] - a[0])).collect();
        at.sort_by(f64::total_cmp);
        at.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
    }
}

/// Whether two sides cross between their ends.
fn cross(one: (Point, Point), other: (Point, Point)) -> bool {
    let side =
        |(a, b): (Point, Point), p: Point| (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]);
    let apart = |line, (a, b): (Point, Point)| side(line, a) * side(line, b) < 0.0;
    apart(one, other) && apart(other, one)
}

/// All masks of a picture; copies share them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Masks(Arc<[Mask]>);

impl Masks {
    /// These masks.
    pub fn new(masks: Vec<Mask>) -> Self {
        Self(masks.into())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is hidden.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a point is hidden.
    pub fn cover(&self, [x, y]: Point) -> bool {
        self.0.iter().flat_map(|mask| mask.spans(y)).any(|(from, to)| (from..to).contains(&x))
    }

    /// The pixels of a picture of `size` whose middles are hidden, as runs along its rows, counted row by row.
    pub fn runs(&self, size: Size) -> Vec<Range<usize>> {
        let (width, height) = (size.width as usize, size.height as usize);
        // The first pixel whose middle is at or behind `x`.
        let first = |x: f64| ((x * width as f64 - 0.5).ceil().max(0.0) as usize).min(width);
        let row = |(row, mask): (usize, &Mask)| {
            let spans = mask.spans((row as f64 + 0.5) / height as f64);
            spans.into_iter().map(move |(from, to)| row * width + first(from)..row * width + first(to))
        };
        let rows = (0..height).flat_map(|row| self.0.iter().map(move |mask| (row, mask)));
        rows.flat_map(row).filter(|run| !run.is_empty()).collect()
    }

    /// How much of a picture is hidden, 0–1, to a thousandth of its width and its height.
    pub fn share(&self) -> f64 {
        let size = Size::new(1000, 1000);
        let mut hidden = vec![false; (size.width * size.height) as usize];
        self.runs(size).into_iter().for_each(|run| hidden[run].fill(true));
        hidden.iter().filter(|hidden| **hidden).count() as f64 / hidden.len() as f64
    }

    /// Paints over what is hidden in a picture, in this red, green and blue.
    pub fn hide(&self, frame: &mut Frame, colour: [u8; 3]) {
        for run in self.runs(frame.size) {
            let pixels = frame.rgb.get_mut(run.start * 3..run.end * 3).unwrap_or_default();
            pixels.chunks_exact_mut(3).for_each(|pixel| pixel.copy_from_slice(&colour));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Instant;
    use proptest::prelude::*;

    fn mask(corners: &[Point]) -> Mask {
        Mask::new(corners.to_vec()).expect("a mask")
    }

    #[test]
    fn a_shape_that_hides_less_than_it_seems_is_refused() {
        let refused = |corners: &[Point], why: &str| {
            let told = Mask::new(corners.to_vec()).expect_err("refused");
            assert!(told.contains(why), "{told}");
        };
        refused(&[[0.0, 0.0], [1.0, 1.0]], "2 corners");
        refused(&[[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]], "encloses nothing");
        refused(&[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], "sides cross");
        refused(&[[0.0, 0.0], [1.5, 0.0], [0.0, 1.0]], "1.5 is out of range");
        refused(&[[0.0, 0.0], [f64::NAN, 0.0], [0.0, 1.0]], "NaN is out of range");
        assert!(Mask::rectangle([0.5, 0.0, 0.2, 1.0]).is_err_and(|why| why.contains("left")));
    }

    #[test]
    fn a_bent_shape_hides_what_it_encloses() {
        let hook = mask(&[[0.0, 0.0], [1.0, 0.0], [1.0, 0.4], [0.4, 0.4], [0.4, 1.0], [0.0, 1.0]]);
        let masks = Masks::new(vec![hook]);
        for (point, hidden) in [([0.2, 0.9], true), ([0.9, 0.2], true), ([0.7, 0.7], false)] {
            assert_eq!(masks.cover(point), hidden, "{point:?}");
        }
    }

    #[test]
    fn what_two_masks_hide_is_counted_once() {
        let rectangle = |corners| Mask::rectangle(corners).expect("a mask");
        assert_eq!(Masks::default().share(), 0.0);
        let (left, top) = (rectangle([0.0, 0.0, 0.5, 1.0]), rectangle([0.0, 0.0, 1.0, 0.5]));
        assert_eq!(Masks::new(vec![left, top]).share(), 0.75);
    }

    #[test]
    fn the_left_half_of_a_picture_is_painted_and_nothing_else() {
        let size = Size::new(4, 2);
        let mut frame = Frame { captured: Instant::ZERO, size, source: size, rgb: vec![7; 24] };
        Masks::new(vec![Mask::rectangle([0.0, 0.0, 0.5, 1.0]).expect("a mask")]).hide(&mut frame, [1, 2, 3]);
        let row = [[1, 2, 3, 1, 2, 3], [7; 6]].concat();
        assert_eq!(frame.rgb, [row.clone(), row].concat());
        let mut torn = Frame { rgb: vec![7; 5], ..frame };
        Masks::new(vec![Mask::rectangle([0.0, 0.0, 1.0, 1.0]).expect("a mask")]).hide(&mut torn, [1, 2, 3]);
        assert_eq!(torn.rgb, [7; 5], "a frame of too few bytes is the model's to refuse");
    }

    /// A polygon around a middle, corners by growing angle: it never crosses itself.
    fn star() -> impl Strategy<Value = Vec<Point>> {
        let spokes = prop::collection::vec((0.05f64..0.5, 0.5f64..1.0), 3..20);
        spokes.prop_map(|spokes| {
            let turn = std::f64::consts::TAU / spokes.iter().map(|(_, step)| step).sum::<f64>();
            let around = spokes.iter().scan(0.0, |angle, (reach, step)| {
                *angle += step * turn;
                Some([0.5 + reach * angle.cos(), 0.5 + reach * angle.sin()])
            });
            around.collect()
        })
    }

    /// By the angle that the sides turn through as seen from a point: another way to the same answer.
    fn winds_around(corners: &[Point], [x, y]: Point) -> bool {
        let bearing = |[cx, cy]: Point| (cy - y).atan2(cx - x);
        let next = corners.iter().cycle().skip(1);
        let turns = corners.iter().zip(next).map(|(a, b)| {
            let turn = bearing(*b) - bearing(*a);
            (turn + 3.0 * std::f64::consts::PI).rem_euclid(std::f64::consts::TAU) - std::f64::consts::PI
        });
        turns.sum::<f64>().abs() > std::f64::consts::PI
    }

    proptest! {
        #[test]
        fn a_point_is_hidden_if_the_shape_winds_around_it(corners in star(), x in 0f64..1.0, y in 0f64..1.0) {
            let masks = Masks::new(vec![mask(&corners)]);
            prop_assert_eq!(masks.cover([x, y]), winds_around(&corners, [x, y]));
        }

        #[test]
        fn pixels_are_hidden_where_their_middles_are(corners in star(), w in 1u32..40, h in 1u32..40) {
            let (masks, size) = (Masks::new(vec![mask(&corners)]), Size::new(w, h));
            let mut hidden = vec![false; (w * h) as usize];
            masks.runs(size).into_iter().flatten().for_each(|pixel| hidden[pixel] = true);
            for (pixel, hidden) in hidden.into_iter().enumerate() {
                let (x, y) = (pixel as u32 % w, pixel as u32 / w);
                let middle = [(f64::from(x) + 0.5) / f64::from(w), (f64::from(y) + 0.5) / f64::from(h)];
                prop_assert_eq!(hidden, masks.cover(middle), "{:?}", middle);
            }
        }
    }
}
