//! Any bytes as the file of a picture, as the tools read it: a whole picture, or refused in words that name the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tvsl::capture::read_picture;

fuzz_target!(|bytes: &[u8]| {
    let file = std::env::temp_dir().join(format!("tvsl-fuzz-{}.png", std::process::id()));
    std::fs::write(&file, bytes).expect("room for a file");
    match read_picture(&file, None) {
        Ok(frame) => {
            let pixels = u64::from(frame.size.width) * u64::from(frame.size.height);
            assert!(pixels > 0 && frame.rgb.len() as u64 == 3 * pixels);
        }
        Err(error) => assert!(error.to_string().contains("tvsl-fuzz"), "{error}"),
    }
});
