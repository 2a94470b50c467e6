//! Stage 2: where a class is, as a heat map over the picture.

use super::ClassId;
use crate::geometry::{Fit, Size};
use crate::mask::Masks;

/// Relative heat of one class over the model's grid. It says where, never whether.
#[derive(Debug, Clone, PartialEq)]
pub struct HeatMap {
    /// Which class.
    pub class: ClassId,
    /// The grid, and where the picture lies in it.
    pub fit: Fit,
    /// One value per cell, `fit.rows × fit.columns`, row by row; at least 0, of no particular scale.
    pub values: Vec<f32>,
    /// What of the picture is hidden, and so never hot.
    pub hidden: Masks,
}

impl HeatMap {
    /// The map over the picture alone (padding never counts), `size.height × size.width` values row
    /// by row, interpolated bicubically (Keys' kernel, a = −0.5). Values that are no number count as 0. What is hidden
    /// is as cold as the coldest place that is not.
    pub fn over_picture(&self, size: Size) -> Vec<f32> {
        let Fit { rows, columns, input, picture, left, top } = self.fit;
        let across = Axis { cells: columns, input: input.width, picture: picture.width, offset: left };
        let down = Axis { cells: rows, input: input.height, picture: picture.height, offset: top };
        let (across, down) = (across.taps(size.width), down.taps(size.height));
        let at = |row: usize, column: usize| {
            let value = self.values.get(row * columns as usize + column).copied().unwrap_or(0.0);
            if value.is_finite() { value } else { 0.0 }
        };
        let wide: Vec<f32> = (0..rows as usize)
            .flat_map(|row| across.iter().map(move |tap| tap.sum(|column| at(row, column))))
            .collect();
        let width = across.len();
        let mut values: Vec<f32> =
            down.iter().flat_map(|tap| (0..width).map(|x| tap.sum(|row| wide[row * width + x]))).collect();
        self.cool(&mut values, size);
        values
    }

    /// Takes the heat from what is hidden.
    fn cool(&self, values: &mut [f32], size: Size) {
        let hidden = self.hidden.runs(size);
        hidden.iter().cloned().for_each(|run| values[run].fill(f32::INFINITY));
        let coldest = values.iter().copied().fold(f32::INFINITY, f32::min);
        let coldest = if coldest.is_finite() { coldest } else { 0.0 };
        hidden.into_iter().for_each(|run| values[run].fill(coldest));
    }

    /// [`HeatMap::over_picture`] scaled to 0–1 (minimum to maximum); `None` for a map without contrast.
    pub fn normalised(&self, size: Size) -> Option<Vec<f32>> {
        let mut values = self.over_picture(size);
        let low = values.iter().copied().fold(f32::INFINITY, f32::min);
        let range = values.iter().copied().fold(f32::NEG_INFINITY, f32::max) - low;
        if !(range > f32::MIN_POSITIVE && range.is_finite()) {
            return None;
        }
        values.iter_mut().for_each(|value| *value = (*value - low) / range);
        Some(values)
    }
}

/// One axis of the grid and of the picture in it.
struct Axis {
    cells: u32,
    input: u32,
    picture: u32,
    offset: u32,
}

/// Four cells and their weights.
struct Tap([(usize, f32); 4]);

impl Tap {
    fn sum(&self, value: impl Fn(usize) -> f32) -> f32 {
        self.0.iter().map(|&(cell, weight)| weight * value(cell)).sum()
    }
}

impl Axis {
    /// For `count` positions evenly over the picture: the cells each is interpolated from. Beyond the
    /// cells that the picture touches, the outermost of them is repeated.
    fn taps(&self, count: u32) -> Vec<Tap> {
        let stride = f64::from(self.input) / f64::from(self.cells.max(1));
        let first = (f64::from(self.offset) / stride).floor() as i64;
        let last = (f64::from(self.offset + self.picture) / stride).ceil() as i64 - 1;
        (0..count)
            .map(|position| {
                let share = (f64::from(position) + 0.5) / f64::from(count);
                let cell = (f64::from(self.offset) + share * f64::from(self.picture)) / stride - 0.5;
                let base = cell.floor();
                let weights = keys((cell - base) as f32);
                Tap(std::array::from_fn(|n| {
                    ((base as i64 + n as i64 - 1).clamp(first, last.max(first)) as usize, weights[n])
                }))
            })
            .collect()
    }
}

/// Keys' cubic convolution with a = −0.5: weights of the cells at −1, 0, 1 and 2 for a position `t`
/// between cells 0 and 1.
fn keys(t: f32) -> [f32; 4] {
    const A: f32 = -0.5;
    let near = |x: f32| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f32| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    [far(1.0 + t), near(t), near(1.0 - t), far(2.0 - t)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(values: Vec<f32>, fit: Fit) -> HeatMap {
        HeatMap { class: 0, fit, values, hidden: Masks::default() }
    }

    #[test]
    fn cell_centres_keep_their_values_and_a_plane_stays_a_plane() {
        let fit = Fit::squash(32, 4, 4);
        let values: Vec<f32> = (0..16).map(|n| (n % 4) as f32 + 10.0 * (n / 4) as f32).collect();
        let odd = map(values.clone(), fit).over_picture(Size::new(12, 12));
        for (n, value) in values.iter().enumerate() {
            let (row, column) = (n / 4 * 3 + 1, n % 4 * 3 + 1);
            assert!((odd[row * 12 + column] - value).abs() < 1e-5);
        }
        assert!((odd[4 * 12 + 5] - (10.0 + 4.0 / 3.0)).abs() < 1e-5);
    }

    #[test]
    fn weights_sum_to_one() {
        for n in 0..=10 {
            assert!((keys(n as f32 / 10.0).iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn padding_never_counts() {
        let fit = Fit::letterbox(Size::new(100, 20), 32, 12);
        let mut values = vec![1.0; (fit.rows * fit.columns) as usize];
        values[0] = 2.0;
        let picture = map(values, fit).normalised(Size::new(20, 4)).unwrap_or_default();
        assert_eq!(picture.len(), 80);
        assert!(picture[0] > 0.9 && picture[79] < 0.2);
    }

    #[test]
    fn broken_maps_have_no_contrast() {
        let fit = Fit::squash(32, 2, 2);
        assert_eq!(map(vec![f32::NAN; 4], fit).normalised(Size::new(8, 8)), None);
        assert_eq!(map(vec![3.0; 4], fit).normalised(Size::new(8, 8)), None);
        assert_eq!(map(Vec::new(), fit).normalised(Size::new(8, 8)), None);
    }
}
