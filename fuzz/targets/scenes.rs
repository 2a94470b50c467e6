//! Any text as a file of labelled scenes.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use tvsl::evaluate::scenes;

fuzz_target!(|text: &str| {
    match scenes::parse(text, Path::new("scenes.json")) {
        Ok(read) => assert!(!read.scenes.is_empty()),
        Err(error) => assert!(error.to_string().contains("scenes.json")),
    }
});
