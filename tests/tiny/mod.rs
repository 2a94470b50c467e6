//! The tiny model of the tests (tests/data/tiny): colours that hum.
#![allow(dead_code, reason = "every test file uses its own part of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tvsl::clock::Instant;
use tvsl::config::{self, EngineKind};
use tvsl::engine::{self, Engine};
use tvsl::frame::{Frame, Samples};
use tvsl::geometry::Size;
use tvsl::model::{Model, ModelError};

/// Its sample rate.
pub const RATE: u32 = 8_000;

/// The classes, in order.
pub const RED: usize = 0;
pub const GREEN: usize = 1;
pub const BLUE: usize = 2;

pub fn folder() -> &'static Path {
    Path::new("tests/data/tiny")
}

pub fn cpu() -> Arc<dyn Engine> {
    let config = config::Engine { kind: EngineKind::Cpu, threads: 1, ..config::Config::default().engine };
    engine::choose(&config).expect("the CPU engine opens")
}

pub fn open(dir: &Path) -> Result<Model, ModelError> {
    Model::open(dir, cpu().as_ref())
}

/// A copy of the model folder that a test may spoil.
pub struct Copy(pub tempfile::TempDir);

impl Copy {
    pub fn new() -> Self {
        Self::of(folder())
    }

    /// Of another model.
    pub fn of(model: &Path) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        copy(model, dir.path());
        Self(dir)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn open(&self) -> Result<Model, ModelError> {
        open(self.0.path())
    }

    /// Replaces text in the manifest; it must be there.
    pub fn edit(&self, from: &str, to: &str) {
        let file = self.path("manifest.toml");
        let text = fs::read_to_string(&file).expect("the manifest reads");
        assert!(text.contains(from), "the manifest contains {from}");
        fs::write(&file, text.replacen(from, to, 1)).expect("the manifest writes");
    }

    /// Replaces a file; with `honest` the manifest's checksum follows it.
    pub fn replace(&self, name: &str, bytes: &[u8], honest: bool) {
        let before = hash(&fs::read(self.path(name)).expect("the file reads"));
        fs::write(self.path(name), bytes).expect("the file writes");
        if honest {
            self.edit(&before, &hash(bytes));
        }
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).expect("the file reads")
    }
}

/// Copies the files of the model in `from`, not what lies in folders below it.
pub fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("the model is there") {
        let entry = entry.expect("its files are readable").path();
        if let Some(name) = entry.file_name().filter(|_| entry.is_file()) {
            fs::copy(&entry, to.join(name)).expect("room for a copy");
        }
    }
}

fn hash(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Half a second to `seconds` of the bands' sound, from `start` on.
pub fn hum(bands: &[usize], start: f64, seconds: f64) -> Samples {
    let wave = |n: usize, band: usize| match band {
        RED => 1.0,
        GREEN => [1.0, 1.0, -1.0, -1.0][n % 4],
        _ => [1.0, -1.0][n % 2],
    };
    let sample = |n| bands.iter().map(|&band| 0.45 * wave(n, band)).sum::<f32>();
    let count = (seconds * f64::from(RATE)).round() as usize;
    Samples::new(Instant::from_secs_f64(start), RATE, (0..count).map(sample).collect())
}

/// A picture taken at `seconds` with one colour (class) per column, evenly wide.
pub fn stripes(colours: &[usize], size: Size, seconds: f64) -> Frame {
    let colour = |x: u32| colours[x as usize * colours.len() / size.width as usize];
    let pixel = |x| (0..3).map(move |channel| if channel == colour(x) { 255 } else { 0 });
    let rgb = (0..size.height).flat_map(|_| (0..size.width).flat_map(pixel)).collect();
    Frame { captured: Instant::from_secs_f64(seconds), size, source: size, rgb }
}
