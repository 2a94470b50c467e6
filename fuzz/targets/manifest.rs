//! Any text as a model's manifest: what is taken can be worked with.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use tvsl::geometry::Size;
use tvsl::model::Manifest;

fuzz_target!(|text: &str| {
    match Manifest::parse(text, Path::new("manifest.toml")) {
        Ok(manifest) => {
            let fit = manifest.image.fit(Size::new(640, 360));
            assert!(fit.rows > 0 && fit.columns > 0 && fit.rows * fit.columns <= manifest.image.cells_max);
            assert!(manifest.hop_samples() > 0 && manifest.window_samples() > 0);
            assert_eq!(manifest.map_thresholds().len(), manifest.classes.len());
        }
        Err(error) => assert!(error.to_string().contains("manifest.toml")),
    }
});
