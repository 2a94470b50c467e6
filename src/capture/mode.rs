//! Which of a camera's modes it is opened in. Left to itself GStreamer takes the largest raw one, which over USB is a few
//! pictures a second.

use gstreamer as gst;
use gstreamer::prelude::*;

use super::list;
use crate::config;

/// What is asked for where the settings leave it open: the shape of most sensors, and more than a model looks at.
const WIDTH: u32 = 640;
const HEIGHT: u32 = 360;
/// A camera of 29.97 pictures in a second reaches 30.
const REACHED: f64 = 0.95;

/// What the settings alone ask of the camera.
pub(super) fn asked(camera: &config::V4l2) -> gst::Caps {
    let mut caps = gst::Caps::new_empty();
    for format in ["video/x-raw", "image/jpeg"] {
        let mut structure = gst::Structure::new_empty(format);
        for (field, pixels) in [("width", camera.width), ("height", camera.height)] {
            if pixels > 0 {
                structure.set(field, pixels as i32);
            }
        }
        if camera.framerate > 0.0 {
            let near = [0.999, 1.001].map(|off| fraction(camera.framerate * off));
            structure.set("framerate", gst::FractionRange::new(near[0], near[1]));
        }
        caps.make_mut().append_structure(structure);
    }
    caps
}

/// What the device behind `source` offers, which is opened for that; `None`: it does not open, which is told when it is
/// started.
pub(super) fn offered(source: &gst::Element) -> Option<gst::Caps> {
    let open = source.set_state(gst::State::Ready).is_ok();
    if !open {
        source.set_state(gst::State::Null).ok();
    }
    Some(source.static_pad("src").filter(|_| open)?.query_caps(None))
}

/// Whether nothing is `offered` but what a bare sensor sees, which `v4l2src` cannot develop.
pub(super) fn of_bare_sensor(offered: &gst::Caps) -> bool {
    !offered.is_any()
        && !offered.is_empty()
        && offered.iter().all(|structure| structure.name() == list::BAYER)
}

/// The one mode of what is `offered` that suits the settings best at `rate` pictures a second, and up to which rate no
/// other is faster. `None`: the device does not say what it offers, or nothing of it is what the settings ask for.
pub(super) fn suited(offered: &gst::Caps, camera: &config::V4l2, rate: f64) -> Option<(gst::Caps, f64)> {
    let asked = asked(camera);
    if offered.is_any() {
        return None;
    }
    let fitting = offered.intersect_with_mode(&asked, gst::CapsIntersectMode::First);
    let (structures, offers): (Vec<_>, Vec<_>) =
        fitting.iter().filter_map(|structure| Some((structure, Offer::of(structure)?))).unzip();
    let (at, width, height) = choose(&offers, aim(camera.width, camera.height), rate)?;
    // Nothing but what was chosen: a driver that answers with another colorimetry than it listed is no other mode.
    let mut mode = gst::Structure::new_empty(structures[at].name());
    if let Ok(format) = structures[at].value("format") {
        mode.set_value("format", format.clone());
    }
    if camera.framerate > 0.0 {
        // As the camera writes it: 29.97 is 30000/1001.
        let own = structures[at].get::<gst::Fraction>("framerate");
        mode.set("framerate", own.unwrap_or_else(|_| fraction(camera.framerate)));
    }
    mode.set("width", width as i32);
    mode.set("height", height as i32);
    Some((gst::Caps::builder_full().structure(mode).build(), reached(&offers, at)))
}

/// Pictures per second as the fraction that caps want: 29.97 becomes 2997/100.
pub(super) fn fraction(rate: f64) -> gst::Fraction {
    gst::Fraction::approximate_f64(rate).unwrap_or_else(|| gst::Fraction::new(rate.round() as i32, 1))
}

/// The size to come near: what is set, and for a side that is 0 what goes with the other one.
fn aim(width: u32, height: u32) -> (u32, u32) {
    let scaled = |side: u32, to: u32, from: u32| (u64::from(side) * u64::from(to) / u64::from(from)) as u32;
    match (width, height) {
        (0, 0) => (WIDTH, HEIGHT),
        (0, height) => (scaled(height, WIDTH, HEIGHT), height),
        (width, 0) => (width, scaled(width, HEIGHT, WIDTH)),
        both => both,
    }
}

/// What a camera offers in one of its formats.
#[derive(Debug, Clone)]
struct Offer {
    /// Whether every picture has to be decoded.
    jpeg: bool,
    width: Vec<Span>,
    height: Vec<Span>,
    /// Most pictures in a second; `None`: it does not say.
    fastest: Option<f64>,
}

impl Offer {
    fn of(structure: &gst::StructureRef) -> Option<Offer> {
        let side = |field| Some(spans(structure.value(field).ok()?)).filter(|spans| !spans.is_empty());
        Some(Offer {
            jpeg: structure.name() == "image/jpeg",
            width: side("width")?,
            height: side("height")?,
            fastest: list::framerates(structure).first().copied(),
        })
    }

    fn nearest(&self, (width, height): (u32, u32)) -> (u32, u32) {
        let side = |spans: &[Span], wanted: u32| {
            let near = spans.iter().map(|span| span.nearest(wanted));
            near.min_by_key(|pixels| pixels.abs_diff(wanted)).unwrap_or(wanted)
        };
        (side(&self.width, width), side(&self.height, height))
    }

    /// In thousandths, how much of `rate` it reaches.
    fn reach(&self, rate: f64) -> u32 {
        let share = self.fastest.map_or(1.0, |fastest| fastest / rate);
        if share >= REACHED { 1000 } else { (share * 1000.0) as u32 }
    }
}

/// Pixels from `min` to `max` in steps.
#[derive(Debug, Clone, Copy)]
struct Span {
    min: u32,
    max: u32,
    step: u32,
}

impl Span {
    fn nearest(self, wanted: u32) -> u32 {
        let (step, wanted) = (self.step.max(1), wanted.clamp(self.min, self.max.max(self.min)));
        let below = wanted - (wanted - self.min) % step;
        let above = below.saturating_add(step);
        if above <= self.max && above - wanted < wanted - below { above } else { below }
    }
}

/// A single number, a list or a range, as spans.
fn spans(value: &gst::glib::SendValue) -> Vec<Span> {
    let pixels = |pixels: i32| u32::try_from(pixels).ok();
    if let Ok(one) = value.get::<i32>() {
        return pixels(one).map(|one| Span { min: one, max: one, step: 1 }).into_iter().collect();
    }
    if let Ok(range) = value.get::<gst::IntRange<i32>>() {
        let span = || Some((pixels(range.min())?, pixels(range.max())?, pixels(range.step())?));
        return span().map(|(min, max, step)| Span { min, max, step }).into_iter().collect();
    }
    let list = value.get::<gst::List>();
    list.map(|list| list.iter().flat_map(spans).collect()).unwrap_or_default()
}

/// The place in `offers` of the best one, and its size: what reaches `rate`, or comes nearest it; of these the size
/// nearest `aim`; of these one that is raw; of these the first.
fn choose(offers: &[Offer], aim: (u32, u32), rate: f64) -> Option<(usize, u32, u32)> {
    let rank = |offer: &Offer| {
        let (width, height) = offer.nearest(aim);
        let off = u64::from(width.abs_diff(aim.0)) + u64::from(height.abs_diff(aim.1));
        (std::cmp::Reverse(offer.reach(rate)), off, offer.jpeg)
    };
    let (at, best) = offers.iter().enumerate().min_by_key(|(_, offer)| rank(offer))?;
    let (width, height) = best.nearest(aim);
    Some((at, width, height))
}

/// Up to which rate no other of these is faster than the one in this place.
fn reached(offers: &[Offer], at: usize) -> f64 {
    let fastest = |offer: &Offer| offer.fastest.unwrap_or(f64::INFINITY);
    let others = offers.iter().map(fastest).fold(0.0, f64::max);
    let own = fastest(&offers[at]);
    if own < others { own / REACHED } else { f64::INFINITY }
}

#[cfg(test)]
mod tests;
