//! Where in space a place in the picture lies: pixels to angles, through what is known of the lens.
//!
//! Angles are in the camera's frame: azimuth grows to the right of the optical axis, elevation grows
//! upwards. A single camera knows no range, so there is none.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::geometry::{Rect, Size};

/// The direction of a region, with how much of the view it spans.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bearing {
    /// Degrees to the right of the optical axis, −180 to 180, of the region's middle.
    pub azimuth_deg: f32,
    /// Degrees above the optical axis, −90 to 90, of the region's middle.
    pub elevation_deg: f32,
    /// Standard deviation of the azimuth if the source may be anywhere in the region, degrees.
    pub azimuth_std_deg: f32,
    /// Standard deviation of the elevation if the source may be anywhere in the region, degrees.
    pub elevation_std_deg: f32,
}

/// A pinhole camera with Brown–Conrady distortion (OpenCV's and ROS's `plumb_bob`), in shares of the
/// picture, so that it serves every resolution of the same view.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lens {
    /// Focal lengths over the picture's width and height.
    focal: (f64, f64),
    /// The principal point, 0–1 from the left and from the top.
    centre: (f64, f64),
    /// k1, k2, p1, p2, k3.
    distortion: [f64; 5],
}

/// Steps of the fixed-point iteration that takes distortion out.
const STEPS: usize = 40;
/// A ray that distortion does not lead back to its pixel this closely (share of the focal length) lies
/// where the calibration means nothing.
const RESIDUE: f64 = 1e-4;

impl Lens {
    /// A lens without distortion and with square pixels, for pictures of `size`, that sees
    /// `degrees` (above 0, below 180) across.
    pub fn of_view(degrees: f64, size: Size) -> Self {
        let focal = 0.5 / (degrees.to_radians() / 2.0).tan();
        let aspect = f64::from(size.width) / f64::from(size.height.max(1));
        Self { focal: (focal, focal * aspect), centre: (0.5, 0.5), distortion: [0.0; 5] }
    }

    /// A calibrated lens: focal lengths and principal point in pixels of pictures of `size`, and the
    /// coefficients k1, k2, p1, p2, k3.
    pub fn calibrated(focal: (f64, f64), centre: (f64, f64), distortion: [f64; 5], size: Size) -> Self {
        let (width, height) = (f64::from(size.width), f64::from(size.height));
        Self {
            focal: (focal.0 / width, focal.1 / height),
            centre: (centre.0 / width, centre.1 / height),
            distortion,
        }
    }

    /// The bearing of `rect`; `None` where the calibration does not reach.
    pub fn bearing(&self, rect: &Rect) -> Option<Bearing> {
        let (x, y) = rect.centre();
        let (azimuth, elevation) = self.angles(x, y)?;
        let (left, right) = (self.angles(rect.x0, y)?.0, self.angles(rect.x1, y)?.0);
        let (top, bottom) = (self.angles(x, rect.y0)?.1, self.angles(x, rect.y1)?.1);
        let deviation = |a: f64, b: f64| hundredth((a - b).abs() / 12f64.sqrt());
        Some(Bearing {
            azimuth_deg: hundredth(azimuth),
            elevation_deg: hundredth(elevation),
            azimuth_std_deg: deviation(left, right),
            elevation_std_deg: deviation(top, bottom),
        })
    }

    /// Azimuth and elevation in degrees of a point of the picture (0–1 from the left and the top).
    fn angles(&self, x: f32, y: f32) -> Option<(f64, f64)> {
        let (x, y) = self.ray(x.into(), y.into())?;
        Some((x.atan().to_degrees(), (-y).atan2(x.hypot(1.0)).to_degrees()))
    }

    /// The ray `(x, y, 1)` — right, down, forward — that falls on a point of the picture.
    fn ray(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        let seen = ((x - self.centre.0) / self.focal.0, (y - self.centre.1) / self.focal.1);
        let mut ray = seen;
        for _ in 0..STEPS {
            let bent = self.distort(ray);
            ray = (ray.0 + seen.0 - bent.0, ray.1 + seen.1 - bent.1);
        }
        let bent = self.distort(ray);
        ((bent.0 - seen.0).hypot(bent.1 - seen.1) < RESIDUE).then_some(ray)
    }

    /// Where the lens shows a ray.
    fn distort(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let [k1, k2, p1, p2, k3] = self.distortion;
        let r = x * x + y * y;
        let radial = 1.0 + r * (k1 + r * (k2 + r * k3));
        (
            x * radial + 2.0 * p1 * x * y + p2 * (r + 2.0 * x * x),
            y * radial + p1 * (r + 2.0 * y * y) + 2.0 * p2 * x * y,
        )
    }
}

/// To hundredths of a degree.
fn hundredth(degrees: f64) -> f32 {
    // Adding 0 takes the sign off a zero: what lies a hair to the left is not at −0.
    ((degrees * 100.0).round() / 100.0) as f32 + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIZE: Size = Size::new(640, 480);

    fn around(x: f32, y: f32) -> Rect {
        Rect { x0: x - 0.05, y0: y - 0.05, x1: x + 0.05, y1: y + 0.05 }
    }

    #[test]
    fn the_edge_of_the_view_lies_at_half_the_field_of_view() {
        let lens = Lens::of_view(60.0, SIZE);
        let ahead = lens.bearing(&around(0.5, 0.5)).expect("in view");
        assert_eq!((ahead.azimuth_deg, ahead.elevation_deg), (0.0, 0.0));
        assert_eq!(lens.bearing(&around(1.0, 0.5)).expect("in view").azimuth_deg, 30.0);
        let hair = lens.bearing(&around(0.49999, 0.50001)).expect("in view");
        assert!(hair.azimuth_deg.is_sign_positive() && hair.elevation_deg.is_sign_positive(), "{hair:?}");
        let up = lens.bearing(&around(0.5, 0.0)).expect("in view").elevation_deg;
        assert!((up - 23.41).abs() < 0.01, "atan(tan 30° · 480 ÷ 640), not {up}");
    }

    #[test]
    fn a_calibration_of_the_same_view_says_the_same() {
        let focal = 320.0 / 30f64.to_radians().tan();
        let calibrated = Lens::calibrated((focal, focal), (320.0, 240.0), [0.0; 5], SIZE);
        let (a, b) =
            (calibrated.bearing(&around(0.8, 0.3)), Lens::of_view(60.0, SIZE).bearing(&around(0.8, 0.3)));
        assert_eq!(a, b);
    }

    #[test]
    fn where_the_calibration_does_not_reach_there_is_no_bearing() {
        let lens = Lens::calibrated((200.0, 200.0), (320.0, 240.0), [-0.9, 0.0, 0.0, 0.0, 0.0], SIZE);
        assert_eq!(lens.bearing(&around(0.98, 0.98)), None);
    }

    proptest! {
        /// Distortion is taken out exactly: the ray, bent again, falls on the pixel it came from.
        #[test]
        fn a_ray_leads_back_to_its_pixel(
            x in 0.0f64..1.0, y in 0.0f64..1.0, k1 in -0.2f64..0.2, k2 in -0.03f64..0.03,
            p1 in -0.005f64..0.005, p2 in -0.005f64..0.005,
        ) {
            let lens = Lens::calibrated((500.0, 505.0), (318.0, 243.0), [k1, k2, p1, p2, 0.0], SIZE);
            let bent = lens.distort(lens.ray(x, y).expect("a mild lens"));
            prop_assert!((bent.0 * lens.focal.0 + lens.centre.0 - x).abs() < 1e-3);
            prop_assert!((bent.1 * lens.focal.1 + lens.centre.1 - y).abs() < 1e-3);
        }

        /// Farther right is a larger azimuth, farther up a larger elevation; a larger box is less certain.
        #[test]
        fn angles_follow_the_picture(x in 0.1f32..0.8, y in 0.1f32..0.8, view in 20.0f64..120.0) {
            let lens = Lens::of_view(view, SIZE);
            let here = lens.bearing(&around(x, y)).expect("no distortion");
            let there = lens.bearing(&around(x + 0.1, y + 0.1)).expect("no distortion");
            prop_assert!(there.azimuth_deg > here.azimuth_deg && there.elevation_deg < here.elevation_deg);
            let wide = lens.bearing(&Rect { x0: x - 0.1, y0: y - 0.1, x1: x + 0.1, y1: y + 0.1 }).expect("in view");
            prop_assert!(wide.azimuth_std_deg > here.azimuth_std_deg && wide.elevation_std_deg > here.elevation_std_deg);
        }
    }
}
