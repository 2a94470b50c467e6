//! Scaling of pictures that did not arrive at the model's size: separable triangle filter that widens
//! when it shrinks (the antialiased "bilinear" of common imaging libraries).

use crate::geometry::Size;

/// Scales RGB pictures; keeps its buffers.
#[derive(Default)]
pub(super) struct Resize {
    narrow: Vec<f32>,
    out: Vec<u8>,
}

impl Resize {
    /// Scales `rgb`, tightly packed rows of the size `from`, to the size `to`.
    pub(super) fn run(&mut self, rgb: &[u8], from: Size, to: Size) -> &[u8] {
        let horizontal = taps(from.width as usize, to.width as usize);
        let vertical = taps(from.height as usize, to.height as usize);
        let stride = to.width as usize * 3;
        self.narrow.clear();
        for row in rgb.chunks_exact(from.width as usize * 3) {
            for (first, weights) in &horizontal {
                for channel in 0..3 {
                    let pixels = row[first * 3 + channel..].iter().step_by(3);
                    self.narrow.push(weights.iter().zip(pixels).map(|(w, &p)| w * f32::from(p)).sum());
                }
            }
        }
        self.out.clear();
        let mut line = vec![0.0f32; stride];
        for (first, weights) in &vertical {
            line.fill(0.0);
            for (weight, row) in weights.iter().zip(self.narrow[first * stride..].chunks_exact(stride)) {
                line.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * value);
            }
            self.out.extend(line.iter().map(|value| value.round() as u8));
        }
        &self.out
    }
}

/// For every output position: the first input position it reads, and the weights from there on.
fn taps(from: usize, to: usize) -> Vec<(usize, Vec<f32>)> {
    let scale = from as f64 / to as f64;
    let support = scale.max(1.0);
    (0..to)
        .map(|position| {
            let centre = (position as f64 + 0.5) * scale;
            let first = ((centre - support).floor().max(0.0)) as usize;
            let last = ((centre + support).ceil() as usize).min(from);
            let weight = |at: usize| (1.0 - ((at as f64 + 0.5 - centre) / support).abs()).max(0.0);
            let total: f64 = (first..last).map(weight).sum();
            (first, (first..last).map(|at| (weight(at) / total) as f32).collect())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn halving_averages_neighbours() {
        let rgb: Vec<u8> = [0u8, 0, 100, 100].iter().flat_map(|&v| [v; 3]).collect();
        let mut resize = Resize::default();
        let out = resize.run(&rgb, Size::new(4, 1), Size::new(2, 1));
        assert_eq!(out, [14, 14, 14, 86, 86, 86]);
    }

    proptest! {
        #[test]
        fn a_flat_picture_stays_flat(w in 1u32..40, h in 1u32..40, tw in 1u32..40, th in 1u32..40, v in 0u8..=255) {
            let rgb = vec![v; (w * h * 3) as usize];
            let mut resize = Resize::default();
            let out = resize.run(&rgb, Size::new(w, h), Size::new(tw, th));
            prop_assert_eq!(out.len(), (tw * th * 3) as usize);
            prop_assert!(out.iter().all(|&o| o == v));
        }
    }
}
