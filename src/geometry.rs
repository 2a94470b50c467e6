//! Sizes, boxes and the fit of a picture into the model's grid.

use serde::{Deserialize, Serialize};

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Size {
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

impl Size {
    /// A size of `width` by `height` pixels.
    pub const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }
}

/// A box in normalised picture coordinates, 0–1 from the left and from the top, `x0 < x1`, `y0 < y1`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Rect {
    /// Left edge.
    pub x0: f32,
    /// Top edge.
    pub y0: f32,
    /// Right edge.
    pub x1: f32,
    /// Bottom edge.
    pub y1: f32,
}

impl Rect {
    /// Area as a share of the picture; zero for an inverted box.
    pub fn area(&self) -> f32 {
        (self.x1 - self.x0).max(0.0) * (self.y1 - self.y0).max(0.0)
    }

    /// Intersection over union, 0–1.
    pub fn iou(&self, other: &Rect) -> f32 {
        let inner = Rect {
            x0: self.x0.max(other.x0),
            y0: self.y0.max(other.y0),
            x1: self.x1.min(other.x1),
            y1: self.y1.min(other.y1),
        }
        .area();
        let union = self.area() + other.area() - inner;
        if union > 0.0 { inner / union } else { 0.0 }
    }

    /// The middle, `(x, y)`.
    pub fn centre(&self) -> (f32, f32) {
        ((self.x0 + self.x1) / 2.0, (self.y0 + self.y1) / 2.0)
    }

    /// The same box in whole pixels of a picture: `[x0, y0, x1, y1]`.
    pub fn pixels(&self, size: Size) -> [u32; 4] {
        let at = |v: f32, n: u32| (v.clamp(0.0, 1.0) * n as f32).round() as u32;
        [at(self.x0, size.width), at(self.y0, size.height), at(self.x1, size.width), at(self.y1, size.height)]
    }
}

/// How a picture is laid into the model's input: the grid of cells, and where the picture lies in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    /// Cells from top to bottom.
    pub rows: u32,
    /// Cells from left to right.
    pub columns: u32,
    /// Size of the model's input, `columns × stride` by `rows × stride` pixels.
    pub input: Size,
    /// Size of the scaled picture, at most `input`.
    pub picture: Size,
    /// Pixels of padding left of the picture.
    pub left: u32,
    /// Pixels of padding above the picture.
    pub top: u32,
}

impl Fit {
    /// The grid of at most `cells` cells of `stride` pixels that shows a `source` picture with its
    /// aspect kept: the largest scaled picture wins, then the least padding.
    pub fn letterbox(source: Size, stride: u32, cells: u32) -> Fit {
        let fits =
            (1..=cells.max(1)).map(|rows| Fit::in_grid(source, stride, rows, (cells.max(1) / rows).max(1)));
        fits.flat_map(|widest| {
            (1..=widest.columns).map(move |c| Fit::in_grid(source, stride, widest.rows, c))
        })
        .max_by_key(|fit| (fit.picture_area(), std::cmp::Reverse(fit.rows * fit.columns)))
        .unwrap_or_else(|| Fit::in_grid(source, stride, 1, 1))
    }

    /// A grid of fixed size into which the picture is squashed, its aspect ignored.
    pub fn squash(stride: u32, rows: u32, columns: u32) -> Fit {
        let input = Size::new(columns * stride, rows * stride);
        Fit { rows, columns, input, picture: input, left: 0, top: 0 }
    }

    fn in_grid(source: Size, stride: u32, rows: u32, columns: u32) -> Fit {
        let input = Size::new(columns * stride, rows * stride);
        let (sw, sh) = (f64::from(source.width.max(1)), f64::from(source.height.max(1)));
        let scale = (f64::from(input.width) / sw).min(f64::from(input.height) / sh);
        let scaled = |side: f64, limit: u32| ((side * scale).round() as u32).clamp(1, limit);
        let picture = Size::new(scaled(sw, input.width), scaled(sh, input.height));
        let (left, top) = ((input.width - picture.width) / 2, (input.height - picture.height) / 2);
        Fit { rows, columns, input, picture, left, top }
    }

    fn picture_area(&self) -> u64 {
        u64::from(self.picture.width) * u64::from(self.picture.height)
    }

    /// Input pixel position to normalised picture coordinates; the padding lies outside 0–1.
    pub fn to_picture(&self, x: f32, y: f32) -> (f32, f32) {
        (
            (x - self.left as f32) / self.picture.width as f32,
            (y - self.top as f32) / self.picture.height as f32,
        )
    }

    /// Normalised picture coordinates to an input pixel position.
    pub fn to_input(&self, x: f32, y: f32) -> (f32, f32) {
        (x * self.picture.width as f32 + self.left as f32, y * self.picture.height as f32 + self.top as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn common_aspects_get_the_expected_grids() {
        let grid = |w, h| {
            let fit = Fit::letterbox(Size::new(w, h), 32, 84);
            (fit.columns, fit.rows)
        };
        assert_eq!(grid(640, 360), (12, 7));
        assert_eq!(grid(480, 480), (9, 9));
        assert_eq!(grid(360, 640), (7, 12));
        let fit = Fit::letterbox(Size::new(640, 360), 32, 84);
        assert_eq!((fit.picture, fit.left, fit.top), (Size::new(384, 216), 0, 4));
    }

    #[test]
    fn iou_of_halves_is_a_third() {
        let a = Rect { x0: 0.0, y0: 0.0, x1: 1.0, y1: 1.0 };
        let b = Rect { x0: 0.5, y0: 0.0, x1: 1.5, y1: 1.0 };
        assert!((a.iou(&b) - 1.0 / 3.0).abs() < 1e-6);
        assert_eq!(Rect::default().iou(&Rect::default()), 0.0);
    }

    proptest! {
        #[test]
        fn a_fit_keeps_aspect_and_bounds(w in 1u32..4000, h in 1u32..4000, cells in 1u32..120) {
            let fit = Fit::letterbox(Size::new(w, h), 32, cells);
            prop_assert!(fit.rows * fit.columns <= cells);
            prop_assert!(fit.left * 2 + fit.picture.width <= fit.input.width + 1);
            prop_assert!(fit.top * 2 + fit.picture.height <= fit.input.height + 1);
            let scale = f64::from(fit.picture.width) / f64::from(w);
            prop_assert!((scale * f64::from(h) - f64::from(fit.picture.height)).abs() <= 1.0 + f64::from(h) / f64::from(w));
        }

        #[test]
        fn coordinates_go_there_and_back(x in 0f32..1.0, y in 0f32..1.0) {
            let fit = Fit::letterbox(Size::new(640, 360), 32, 84);
            let (px, py) = fit.to_input(x, y);
            let (bx, by) = fit.to_picture(px, py);
            prop_assert!((bx - x).abs() < 1e-5 && (by - y).abs() < 1e-5);
        }
    }
}
