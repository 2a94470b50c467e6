//! Any bytes as the file of a sound, as the tools read it: samples, or refused in words that name the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tvsl::capture::read_sound;

fuzz_target!(|bytes: &[u8]| {
    let file = std::env::temp_dir().join(format!("tvsl-fuzz-{}.wav", std::process::id()));
    std::fs::write(&file, bytes).expect("room for a file");
    match read_sound(&file, 16_000) {
        Ok(sound) => assert!(!sound.mono.is_empty() && sound.mono.iter().all(|sample| sample.is_finite())),
        Err(error) => assert!(error.to_string().contains("tvsl-fuzz"), "{error}"),
    }
});
