//! A picture in memory and the few things drawn on it, all with soft edges.

use super::colour::{self, Rgb};
use crate::geometry::{Rect, Size};

/// Share of the heat colour at the hottest point.
const HEAT_OPACITY: f32 = 0.66;

/// A picture to draw on, tightly packed RGB.
#[derive(Debug, Clone, PartialEq)]
pub struct Canvas {
    size: Size,
    rgb: Vec<u8>,
}

/// An area in pixels, `x0..x1` by `y0..y1`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Area {
    pub x0: f32,
    pub y0: f32,
    pub x1: f32,
    pub y1: f32,
}

impl Area {
    pub fn overlaps(&self, other: &Area) -> bool {
        self.x0 < other.x1 && other.x0 < self.x1 && self.y0 < other.y1 && other.y0 < self.y1
    }

    /// Signed distance from the border of this area with rounded corners; negative inside.
    fn distance(&self, x: f32, y: f32, radius: f32) -> f32 {
        let half = ((self.x1 - self.x0) / 2.0, (self.y1 - self.y0) / 2.0);
        let radius = radius.min(half.0).min(half.1).max(0.0);
        let dx = (x - (self.x0 + self.x1) / 2.0).abs() - half.0 + radius;
        let dy = (y - (self.y0 + self.y1) / 2.0).abs() - half.1 + radius;
        dx.max(0.0).hypot(dy.max(0.0)) + dx.max(dy).min(0.0) - radius
    }
}

impl Canvas {
    /// A canvas over tightly packed RGB pixels; missing ones are black, surplus ones are dropped.
    pub fn new(size: Size, mut rgb: Vec<u8>) -> Self {
        rgb.resize(size.width as usize * size.height as usize * 3, 0);
        Self { size, rgb }
    }

    /// Width and height in pixels.
    pub fn size(&self) -> Size {
        self.size
    }

    /// The pixels, row by row.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// The pixel in column `x` and row `y`, both inside the picture.
    pub fn pixel(&self, x: u32, y: u32) -> Rgb {
        let at = (y as usize * self.size.width as usize + x as usize) * 3;
        Rgb([self.rgb[at], self.rgb[at + 1], self.rgb[at + 2]])
    }

    /// Lays heat over the picture: `heat` holds `size.height × size.width` values of 0 (nothing
    /// shows) to 1, row by row.
    pub fn heat(&mut self, heat: &[f32]) {
        for (pixel, &value) in self.rgb.chunks_exact_mut(3).zip(heat) {
            let value = value.clamp(0.0, 1.0);
            let ramp = ((value - 0.1) / 0.65).clamp(0.0, 1.0);
            let opacity = HEAT_OPACITY * ramp * ramp * (3.0 - 2.0 * ramp);
            let Rgb(mixed) = Rgb([pixel[0], pixel[1], pixel[2]]).mix(colour::heat(value), opacity);
            pixel.copy_from_slice(&mixed);
        }
    }

    /// Draws the frame of a box, `line` pixels wide, over a thin dark shadow that keeps it visible
    /// on any ground.
    pub fn outline(&mut self, rect: &Rect, colour: Rgb, line: f32, radius: f32) {
        let area = self.area_of(rect, line / 2.0);
        let around = |d: f32, width: f32| (0.5 + width / 2.0 - d.abs()).clamp(0.0, 1.0);
        self.paint(area, line + 3.0, |a, x, y| {
            let d = a.distance(x, y, radius);
            (Rgb::INK, 0.55 * around(d, line + 2.5))
        });
        self.paint(area, line, |a, x, y| (colour, around(a.distance(x, y, radius), line)));
    }

    /// Marks a point with a filled disc in a white ring.
    pub fn ring(&mut self, (x, y): (f32, f32), colour: Rgb, radius: f32) {
        let (x, y) = (x * self.size.width as f32, y * self.size.height as f32);
        for (reach, ink) in [(0.75, Rgb::INK), (0.62, Rgb::WHITE), (0.42, colour)] {
            let r = radius * reach;
            self.fill(Area { x0: x - r, y0: y - r, x1: x + r, y1: y + r }, ink, 0.95, r);
        }
    }

    /// Fills an area with rounded corners; `opacity` 0–1.
    pub(super) fn fill(&mut self, area: Area, colour: Rgb, opacity: f32, radius: f32) {
        self.paint(area, 1.0, |a, x, y| (colour, opacity * (0.5 - a.distance(x, y, radius)).clamp(0.0, 1.0)));
    }

    /// Mixes `share` of a colour into one pixel; outside the picture nothing happens.
    pub(super) fn blend(&mut self, x: i64, y: i64, colour: Rgb, share: f32) {
        let inside = |v: i64, n: u32| u32::try_from(v).ok().filter(|&v| v < n);
        if let (Some(x), Some(y)) = (inside(x, self.size.width), inside(y, self.size.height)) {
            let Rgb(mixed) = self.pixel(x, y).mix(colour, share);
            let at = (y as usize * self.size.width as usize + x as usize) * 3;
            self.rgb[at..at + 3].copy_from_slice(&mixed);
        }
    }

    /// Blends what `ink` gives for each pixel centre within `margin` of the area.
    fn paint(&mut self, area: Area, margin: f32, ink: impl Fn(&Area, f32, f32) -> (Rgb, f32)) {
        let span = |low: f32, high: f32, n: u32| {
            let last = n as f32;
            (low - margin).clamp(0.0, last) as u32..(high + margin + 1.0).clamp(0.0, last) as u32
        };
        for y in span(area.y0, area.y1, self.size.height) {
            for x in span(area.x0, area.x1, self.size.width) {
                let (colour, share) = ink(&area, x as f32 + 0.5, y as f32 + 0.5);
                if share > 0.0 {
                    self.blend(x.into(), y.into(), colour, share);
                }
            }
        }
    }

    /// A normalised box in pixels, cut to the picture less `inset` on every side.
    fn area_of(&self, rect: &Rect, inset: f32) -> Area {
        let at = |v: f32, n: u32| {
            let n = n as f32;
            (v * n).clamp(inset.min(n / 2.0), (n - inset).max(n / 2.0))
        };
        let (width, height) = (self.size.width, self.size.height);
        Area {
            x0: at(rect.x0, width),
            y0: at(rect.y0, height),
            x1: at(rect.x1, width),
            y1: at(rect.y1, height),
        }
    }
}
