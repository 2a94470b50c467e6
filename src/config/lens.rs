//! The section `[camera.lens]`: what turns pixels into angles.

use super::error::Fault;
use super::value;
use crate::bearing;
use crate::geometry::Size;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[camera.lens]`: a field of view, or a calibration, or neither. What is unknown is left out where it is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lens {
    /// Degrees from left to right; 0, or absent: unknown.
    #[serde(deserialize_with = "value::view", skip_serializing_if = "value::is_zero")]
    pub field_of_view: f64,
    /// Horizontal focal length, pixels; 0, or absent: unknown.
    #[serde(deserialize_with = "value::pixels", skip_serializing_if = "value::is_zero")]
    pub fx: f64,
    /// Vertical focal length, pixels; 0, or absent: unknown.
    #[serde(deserialize_with = "value::pixels", skip_serializing_if = "value::is_zero")]
    pub fy: f64,
    /// Principal point from the left, pixels; 0, or absent: unknown.
    #[serde(deserialize_with = "value::pixels", skip_serializing_if = "value::is_zero")]
    pub cx: f64,
    /// Principal point from the top, pixels; 0, or absent: unknown.
    #[serde(deserialize_with = "value::pixels", skip_serializing_if = "value::is_zero")]
    pub cy: f64,
    /// Brown–Conrady coefficients k1, k2, p1, p2, k3: none, four or five; absent: none.
    #[serde(deserialize_with = "value::distortion", skip_serializing_if = "Vec::is_empty")]
    pub distortion: Vec<f64>,
    /// Pixels across of the calibrated pictures; 0, or absent: unknown.
    #[serde(deserialize_with = "value::side_or_zero", skip_serializing_if = "value::is_zero")]
    pub width: u32,
    /// Pixels down of the calibrated pictures; 0, or absent: unknown.
    #[serde(deserialize_with = "value::side_or_zero", skip_serializing_if = "value::is_zero")]
    pub height: u32,
}

impl Lens {
    /// The lens of pictures of `size`; `None` if nothing is known of it.
    pub fn of(&self, size: Size) -> Option<bearing::Lens> {
        if self.field_of_view > 0.0 {
            return Some(bearing::Lens::of_view(self.field_of_view, size));
        }
        let mut distortion = [0.0; 5];
        distortion.iter_mut().zip(&self.distortion).for_each(|(to, from)| *to = *from);
        let calibrated = Size::new(self.width, self.height);
        (self.fx > 0.0).then(|| {
            bearing::Lens::calibrated((self.fx, self.fy), (self.cx, self.cy), distortion, calibrated)
        })
    }
}

/// A lens is known by its field of view or by a whole calibration.
pub(super) fn fault(lens: &Lens) -> Option<Fault> {
    let calibration = [
        ("fx", lens.fx),
        ("fy", lens.fy),
        ("cx", lens.cx),
        ("cy", lens.cy),
        ("width", lens.width.into()),
        ("height", lens.height.into()),
    ];
    let given = |(_, value): &&(&str, f64)| *value > 0.0;
    let first = calibration.iter().find(given)?.0;
    if lens.field_of_view > 0.0 {
        return Some(
            Fault::rule(&format!("camera.lens.{first}"), "stands beside a field of view".into())
                .help("expected either field_of_view or a calibration; set the other to 0"),
        );
    }
    let missing = calibration.iter().find(|entry| !given(entry))?.0;
    Some(
        Fault::rule(&format!("camera.lens.{first}"), format!("is set, but {missing} is not"))
            .help("a calibration is fx, fy, cx, cy, width and height"),
    )
}
