//! The bundled font: how wide text is, and how much of each pixel its glyphs cover.

use std::sync::LazyLock;

use ab_glyph_rasterizer::{Point, Rasterizer, point};
use skrifa::instance::{LocationRef, Size};
use skrifa::metrics::GlyphMetrics;
use skrifa::outline::{DrawSettings, OutlinePen};
use skrifa::{FontRef, GlyphId, MetadataProvider};

/// Roboto Medium (Apache-2.0, see NOTICE) with the Latin, Greek and Cyrillic letters.
static FONT: LazyLock<FontRef<'static>> = LazyLock::new(|| {
    FontRef::new(include_bytes!("roboto-medium-subset.ttf")).expect("the bundled font is whole")
});

/// Pixels around a glyph's bounds, for the rounding of its curves.
const MARGIN: f32 = 1.0;

/// The em, in pixels, of text in a line box `size` pixels high.
fn em(size: f32) -> Size {
    let units = FONT.metrics(Size::unscaled(), LocationRef::default());
    Size::new(size * f32::from(units.units_per_em) / (units.ascent - units.descent))
}

fn metrics(size: f32) -> GlyphMetrics<'static> {
    FONT.glyph_metrics(em(size), LocationRef::default())
}

/// Glyphs with their distance from the start of the line, and the width of the whole.
fn lay_out(text: &str, size: f32) -> (Vec<(GlyphId, f32)>, f32) {
    let (letters, metrics) = (FONT.charmap(), metrics(size));
    let mut x = 0.0;
    let place = |letter| {
        let (glyph, start) = (letters.map(letter).unwrap_or(GlyphId::NOTDEF), x);
        x += metrics.advance_width(glyph).unwrap_or(0.0);
        (glyph, start)
    };
    let glyphs = text.chars().filter(|c| !c.is_control()).map(place).collect();
    (glyphs, x)
}

/// Width in pixels of `text` in a line box `size` pixels high.
pub(super) fn width(text: &str, size: f32) -> f32 {
    lay_out(text, size).1
}

/// Hands `paint` each pixel of `text` with the share of it that is covered, 0–1. Its line box, `size`
/// pixels high, begins at `(x, y)`.
pub(super) fn draw(text: &str, size: f32, (x, y): (f32, f32), mut paint: impl FnMut(i64, i64, f32)) {
    let baseline = y + FONT.metrics(em(size), LocationRef::default()).ascent;
    let (outlines, metrics) = (FONT.outline_glyphs(), metrics(size));
    for (glyph, offset) in lay_out(text, size).0 {
        let (Some(outline), Some(bounds)) = (outlines.get(glyph), metrics.bounds(glyph)) else { continue };
        let start = x + offset;
        let left = (start + bounds.x_min - MARGIN).floor();
        let top = (baseline - bounds.y_max - MARGIN).floor();
        let wide = start + bounds.x_max + MARGIN - left;
        let high = baseline - bounds.y_min + MARGIN - top;
        let mut pen = Pen {
            cells: Rasterizer::new(wide.ceil() as usize, high.ceil() as usize),
            origin: point(start - left, baseline - top),
            first: point(0.0, 0.0),
            last: point(0.0, 0.0),
        };
        if outline.draw(DrawSettings::unhinted(em(size), LocationRef::default()), &mut pen).is_ok() {
            let pixel = |px: u32, py: u32, cover: f32| {
                paint(left as i64 + i64::from(px), top as i64 + i64::from(py), cover.clamp(0.0, 1.0));
            };
            pen.cells.for_each_pixel_2d(pixel);
        }
    }
}

/// Draws a glyph's outline, whose y points upward, into pixels.
struct Pen {
    cells: Rasterizer,
    /// The glyph's origin among the pixels.
    origin: Point,
    /// Where the contour began, and where it has come to.
    first: Point,
    last: Point,
}

impl Pen {
    fn at(&self, x: f32, y: f32) -> Point {
        point(self.origin.x + x, self.origin.y - y)
    }
}

impl OutlinePen for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        (self.first, self.last) = (self.at(x, y), self.at(x, y));
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let end = self.at(x, y);
        self.cells.draw_line(self.last, end);
        self.last = end;
    }

    fn quad_to(&mut self, cx: f32, cy: f32, x: f32, y: f32) {
        let (control, end) = (self.at(cx, cy), self.at(x, y));
        self.cells.draw_quad(self.last, control, end);
        self.last = end;
    }

    fn curve_to(&mut self, ax: f32, ay: f32, bx: f32, by: f32, x: f32, y: f32) {
        let (a, b, end) = (self.at(ax, ay), self.at(bx, by), self.at(x, y));
        self.cells.draw_cubic(self.last, a, b, end);
        self.last = end;
    }

    fn close(&mut self) {
        self.cells.draw_line(self.last, self.first);
        self.last = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ink_lies_in_the_line_box_and_is_as_wide_as_told() {
        let (mut ink, mut right) = (0.0, 0i64);
        draw("Dog 93 %", 40.0, (10.0, 5.0), |x, y, cover| {
            assert!((0.0..=1.0).contains(&cover));
            if cover > 0.0 {
                assert!((5..45).contains(&y) && x >= 9, "({x}, {y})");
                (ink, right) = (ink + cover, right.max(x));
            }
        });
        let wide = width("Dog 93 %", 40.0);
        assert!((right as f32 - 10.0 - wide).abs() < 5.0, "{right} and {wide}");
        assert!(ink > 0.1 * wide * 40.0 && ink < 0.5 * wide * 40.0, "{ink} of {}", wide * 40.0);
    }

    #[test]
    fn letters_it_lacks_and_control_characters_do_no_harm() {
        assert_eq!(width("\u{7}", 20.0), 0.0);
        assert!(width("日本", 20.0) > 0.0);
        assert_eq!(width("ab", 20.0), width("a", 20.0) + width("b", 20.0));
    }
}
