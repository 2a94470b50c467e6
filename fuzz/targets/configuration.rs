//! Any text as a configuration file: taken, or refused in words that name the file.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use tvsl::config::Config;

fuzz_target!(|text: &str| {
    if let Err(error) = Config::parse(text, Path::new("tvsl.toml")) {
        assert!(error.to_string().contains("tvsl.toml"));
    }
});
