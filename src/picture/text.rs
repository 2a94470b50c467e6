//! Text: labels on plates of their class's colour, and the caption along the lower edge.

use super::canvas::{Area, Canvas};
use super::colour::Rgb;
use super::font::{self, width};
use super::{Mark, Scale};
use crate::geometry::Size;

/// Draws one line of text whose line box begins at `(x, y)`.
fn draw(canvas: &mut Canvas, text: &str, size: f32, start: (f32, f32), colour: Rgb) {
    font::draw(text, size, start, |x, y, cover| canvas.blend(x, y, colour, cover));
}

/// Where the label of `mark` goes: above its box, else inside its upper edge, else below; moved down
/// past labels that stand there already.
pub(super) fn place(picture: Size, mark: &Mark, scale: &Scale, taken: &[Area]) -> Area {
    let (wide, high) = plate(mark, scale);
    let (pw, ph) = (picture.width as f32, picture.height as f32);
    let gap = scale.line;
    let x0 = (mark.rect.x0 * pw).min(pw - wide - gap).max(gap.min(pw));
    let above = mark.rect.y0 * ph - high - gap;
    let top = if above >= 0.0 { above } else { mark.rect.y0 * ph + 2.0 * gap };
    let at = |y0: f32| Area { x0, y0, x1: x0 + wide, y1: y0 + high };
    let steps = (0..).map(|i| top + i as f32 * (high + gap)).take_while(|y| y + high <= ph);
    let upward = (1..).map(|i| top - i as f32 * (high + gap)).take_while(|y| *y >= 0.0);
    let free = steps.chain(upward).map(at).find(|area| !taken.iter().any(|t| t.overlaps(area)));
    free.unwrap_or_else(|| at(top.min(ph - high).max(0.0)))
}

/// Width and height of the plate behind a mark's label.
fn plate(mark: &Mark, scale: &Scale) -> (f32, f32) {
    let detail = if mark.detail.is_empty() { 0.0 } else { scale.detail };
    let text = width(&mark.title, scale.title).max(width(&mark.detail, scale.detail));
    (text + 2.2 * scale.pad, scale.title + detail + scale.pad)
}

/// Draws a mark's label: dark text on a plate of the class's colour.
pub(super) fn label(canvas: &mut Canvas, mark: &Mark, scale: &Scale, area: Area) {
    let shadow = Area { x0: area.x0 - 1.0, y0: area.y0 - 1.0, x1: area.x1 + 1.0, y1: area.y1 + 1.5 };
    canvas.fill(shadow, Rgb::INK, 0.55, scale.radius * 0.6);
    canvas.fill(area, mark.colour, 0.97, scale.radius * 0.5);
    let x = area.x0 + 1.1 * scale.pad;
    let y = area.y0 + 0.45 * scale.pad;
    draw(canvas, &mark.title, scale.title, (x, y), Rgb::INK);
    draw(canvas, &mark.detail, scale.detail, (x, y + scale.title), Rgb::INK.mix(mark.colour, 0.12));
}

/// Draws the caption: a dark strip along the lower edge with text at both ends.
pub(super) fn caption(canvas: &mut Canvas, left: &str, right: &str, scale: &Scale) {
    let (w, h) = (canvas.size().width as f32, canvas.size().height as f32);
    let size = scale.detail * 1.1;
    let top = h - size - 1.4 * scale.pad;
    canvas.fill(Area { x0: 0.0, y0: top, x1: w, y1: h + 1.0 }, Rgb::INK, 0.72, 0.0);
    let y = top + 0.65 * scale.pad;
    draw(canvas, left, size, (1.4 * scale.pad, y), Rgb::WHITE);
    let start = w - width(right, size) - 1.4 * scale.pad;
    if start > width(left, size) + 3.0 * scale.pad {
        draw(canvas, right, size, (start, y), Rgb([200, 205, 215]));
    }
}
