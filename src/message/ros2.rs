//! `detections` as robots know them: `vision_msgs/Detection2DArray` of ROS 2 (Humble and later), field for field.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Message, Sounding};

/// `vision_msgs/Detection2DArray`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Detection2DArray {
    /// The frame's capture, and the camera's coordinate frame.
    pub header: Header,
    /// What is heard and seen.
    pub detections: Vec<Detection2D>,
}

/// `std_msgs/Header`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Header {
    /// When the picture was captured.
    pub stamp: Time,
    /// The coordinate frame of the camera, as configured.
    pub frame_id: String,
}

/// `builtin_interfaces/Time`, since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Time {
    /// Whole seconds.
    pub sec: i32,
    /// Nanoseconds beyond them.
    pub nanosec: u32,
}

/// `vision_msgs/Detection2D`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Detection2D {
    /// As that of the array.
    pub header: Header,
    /// Its class, with the probability that it is heard and seen.
    pub results: [ObjectHypothesisWithPose; 1],
    /// Where it is in the picture.
    pub bbox: BoundingBox2D,
    /// The same for as long as it lasts.
    pub id: String,
}

/// `vision_msgs/ObjectHypothesisWithPose`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ObjectHypothesisWithPose {
    /// What it is.
    pub hypothesis: ObjectHypothesis,
    /// Not known: there is no range.
    pub pose: PoseWithCovariance,
}

/// `vision_msgs/ObjectHypothesis`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ObjectHypothesis {
    /// Name of the class.
    pub class_id: String,
    /// Probability, 0–1.
    pub score: f32,
}

/// `geometry_msgs/PoseWithCovariance`: the identity with zeros, which says that nothing is known.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct PoseWithCovariance {
    /// The identity.
    pub pose: Pose,
    /// 36 zeros.
    pub covariance: Vec<f64>,
}

/// `geometry_msgs/Pose`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, JsonSchema)]
pub struct Pose {
    /// The origin.
    pub position: Point,
    /// No rotation.
    pub orientation: Quaternion,
}

/// `geometry_msgs/Point`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "ROS names them")]
pub struct Point {
    pub x: f64,
    pub y: f64,
    pub z: f64,
}

/// `geometry_msgs/Quaternion`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "ROS names them")]
pub struct Quaternion {
    pub x: f64,
    pub y: f64,
    pub z: f64,
    pub w: f64,
}

/// `vision_msgs/BoundingBox2D`, in pixels of the source.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct BoundingBox2D {
    /// Its middle.
    pub center: Pose2D,
    /// Pixels across.
    pub size_x: f64,
    /// Pixels down.
    pub size_y: f64,
}

/// `vision_msgs/Pose2D`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Pose2D {
    /// Pixels from the left and from the top.
    pub position: Point2D,
    /// Radians; always 0.
    pub theta: f64,
}

/// `vision_msgs/Point2D`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "ROS names them")]
pub struct Point2D {
    pub x: f64,
    pub y: f64,
}

impl Detection2DArray {
    /// What `message` says, in the coordinate frame `frame_id`.
    pub fn new(message: &Message, frame_id: &str) -> Self {
        let header = Header { stamp: Time::of(message.frame.captured), frame_id: frame_id.into() };
        let detections = message.detections.iter().map(|one| Detection2D::new(one, &header)).collect();
        Self { header, detections }
    }
}

impl Detection2D {
    fn new(sounding: &Sounding, header: &Header) -> Self {
        let hypothesis = ObjectHypothesis { class_id: sounding.class.clone(), score: sounding.p };
        let pose = PoseWithCovariance { pose: Pose::default(), covariance: vec![0.0; 36] };
        let [left, top, right, bottom] = sounding.region.pixels.map(f64::from);
        let position = Point2D { x: (left + right) / 2.0, y: (top + bottom) / 2.0 };
        Self {
            header: header.clone(),
            results: [ObjectHypothesisWithPose { hypothesis, pose }],
            bbox: BoundingBox2D {
                center: Pose2D { position, theta: 0.0 },
                size_x: right - left,
                size_y: bottom - top,
            },
            id: sounding.id.clone(),
        }
    }
}

impl Time {
    /// Unix seconds, to the microsecond.
    fn of(seconds: f64) -> Self {
        let micros = (seconds * 1e6).round() as i64;
        let sec = i32::try_from(micros.div_euclid(1_000_000)).unwrap_or(i32::MAX);
        Self { sec, nanosec: micros.rem_euclid(1_000_000) as u32 * 1000 }
    }
}

impl Default for Quaternion {
    fn default() -> Self {
        Self { x: 0.0, y: 0.0, z: 0.0, w: 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Phase;
    use super::super::tests::{dog, message};
    use super::*;

    #[test]
    fn a_dog_is_a_detection() {
        let array =
            Detection2DArray::new(&message(100.25, vec![dog("1-1", 0.9, Phase::Start)], vec![]), "eye");
        let stamp = Time { sec: 100, nanosec: 250_000_000 };
        assert_eq!(array.header, Header { stamp, frame_id: "eye".into() });
        let dog = &array.detections[0];
        assert_eq!((dog.id.as_str(), dog.results[0].hypothesis.class_id.as_str()), ("1-1", "dog"));
        let BoundingBox2D { center, size_x, size_y } = dog.bbox;
        assert_eq!((center.position, size_x, size_y), (Point2D { x: 192.0, y: 144.0 }, 128.0, 144.0));
    }
}
