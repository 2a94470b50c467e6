//! Colours that eyes can tell apart: a heat scale of even steps, and one colour for each class.

/// Red, green, blue, 0–255.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rgb(pub [u8; 3]);

impl Rgb {
    /// White.
    pub const WHITE: Rgb = Rgb([255, 255, 255]);
    /// Nearly black, for plates behind text.
    pub const INK: Rgb = Rgb([16, 18, 24]);

    /// `share` of `other` over this colour.
    pub fn mix(self, other: Rgb, share: f32) -> Rgb {
        let blend = |a: u8, b: u8| (f32::from(a) + (f32::from(b) - f32::from(a)) * share).round() as u8;
        Rgb(std::array::from_fn(|i| blend(self.0[i], other.0[i])))
    }
}

/// The colour of a class: hues spread by the golden angle at one lightness and strength (OKLCH), so
/// that neighbours differ and white or dark text reads equally well beside all of them.
pub fn of_class(class: usize) -> Rgb {
    let hue = (class as f32 * 2.399_963 + 0.6) % std::f32::consts::TAU;
    oklch(0.78, 0.15, hue)
}

/// The heat scale, 0 cold to 1 hot: violet, red, orange, pale yellow with evenly rising lightness.
pub fn heat(value: f32) -> Rgb {
    let value = value.clamp(0.0, 1.0);
    let hue = (-50.0 + 142.0 * value.powf(0.8)).to_radians();
    let strength = 0.20 - 0.07 * value * value;
    oklch(0.38 + 0.54 * value, strength, hue)
}

/// A colour of lightness 0–1, chroma 0–0.4 and hue in radians of the OKLab space (Björn Ottosson,
/// "A perceptual color space for image processing", 2020), clipped to what a screen shows.
fn oklch(lightness: f32, chroma: f32, hue: f32) -> Rgb {
    let (a, b) = (chroma * hue.cos(), chroma * hue.sin());
    let cube = |x: f32| x * x * x;
    let l = cube(lightness + 0.396_337_78 * a + 0.215_803_76 * b);
    let m = cube(lightness - 0.105_561_346 * a - 0.063_854_17 * b);
    let s = cube(lightness - 0.089_484_18 * a - 1.291_485_5 * b);
    let linear = [
        4.076_741_7 * l - 3.307_711_6 * m + 0.230_969_94 * s,
        -1.268_438 * l + 2.609_757_4 * m - 0.341_319_4 * s,
        -0.004_196_086_3 * l - 0.703_418_6 * m + 1.707_614_7 * s,
    ];
    Rgb(linear.map(|x| (gamma(x.clamp(0.0, 1.0)) * 255.0).round() as u8))
}

/// Linear light to sRGB, both 0–1.
fn gamma(linear: f32) -> f32 {
    if linear <= 0.003_130_8 { 12.92 * linear } else { 1.055 * linear.powf(1.0 / 2.4) - 0.055 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn luminance(Rgb(c): Rgb) -> f32 {
        let linear = c.map(|v| (f32::from(v) / 255.0).powf(2.2));
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    }

    #[test]
    fn known_colours_of_the_space() {
        assert_eq!(oklch(1.0, 0.0, 0.0), Rgb([255, 255, 255]));
        assert_eq!(oklch(0.0, 0.0, 0.0), Rgb([0, 0, 0]));
        let Rgb([r, g, b]) = oklch(0.627_96, 0.257_68, 0.510_2);
        assert!(r >= 254 && g <= 2 && b <= 2, "pure red is {r} {g} {b}");
    }

    #[test]
    fn heat_grows_lighter_all_the_way() {
        let light: Vec<_> = (0..=20).map(|i| luminance(heat(i as f32 / 20.0))).collect();
        assert!(light.windows(2).all(|pair| pair[0] < pair[1]), "{light:?}");
    }

    #[test]
    fn neighbouring_classes_differ() {
        let far = |a: Rgb, b: Rgb| (0..3).map(|i| a.0[i].abs_diff(b.0[i]) as u32).sum::<u32>() > 60;
        assert!((0..60).all(|i| far(of_class(i), of_class(i + 1))));
    }
}
