//! Which TensorRT a library is, and the versions whose binary interface is known.

use std::fmt;

use super::abi::Family;

/// The versions whose interface is known: [`Slots`](super::abi::Slots) was compared with the headers of 8.5.1, 8.5.3, 8.6.1,
/// 10.0.1, 10.3.0, 10.7.0, 10.13.3, 10.16 and 11.1, and the real RTX 1.7.1 runs through it; what lies between or after them
/// in a family has the same methods and more behind them.
pub const SUPPORTED: &str = "TensorRT 8.5–8.6, 10.0–10.16, 11.0–11.4 and TensorRT for RTX 1.5–1.7";

/// Which TensorRT a library is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version {
    /// 8, 10 or 11; 1 is TensorRT for RTX.
    pub major: i32,
    /// Minor.
    pub minor: i32,
    /// Patch.
    pub patch: i32,
    /// The fourth part; 8.x does not tell it.
    pub build: Option<i32>,
}

impl Version {
    /// The interface family; `None` for a version that was never compared.
    pub fn family(self) -> Option<Family> {
        match (self.major, self.minor) {
            (8, 5..=6) => Some(Family::V8),
            (10, 0..=16) => Some(Family::V10),
            (11, 0..=4) => Some(Family::V11),
            (1, 5..=7) => Some(Family::Rtx),
            _ => None,
        }
    }

    /// 8.6 brought builder levels and LayerNormalization.
    pub(super) fn before_8_6(self) -> bool {
        (self.major, self.minor) == (8, 5)
    }

    /// The number that the entry points take, as `NV_TENSORRT_VERSION` in the headers.
    pub(super) fn number(self) -> i32 {
        let major = if self.major == 8 { 1_000 } else { 10_000 };
        self.major * major + self.minor * 100 + self.patch
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { major, minor, patch, build } = self;
        let name = if *major == 1 { "TensorRT for RTX" } else { "TensorRT" };
        write!(f, "{name} {major}.{minor}.{patch}")?;
        build.map_or(Ok(()), |build| write!(f, ".{build}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_were_never_compared_have_no_family() {
        for (major, minor) in [(8, 4), (7, 1), (12, 0), (1, 4)] {
            assert_eq!(Version { major, minor, patch: 1, build: Some(9) }.family(), None, "{major}.{minor}");
        }
    }
}
