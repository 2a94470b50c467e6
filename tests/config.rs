//! The configuration: the shipped file is the default, and every mistake is named with its place and cure.

use std::path::Path;
use tvsl::config::Config;

/// What a user reads about `text`.
fn complaint(text: &str) -> String {
    match Config::parse(text, Path::new("tvsl.toml")) {
        Ok(_) => panic!("accepted: {text}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_shipped_file_is_the_default() {
    let shipped = Config::parse(Config::BUILT_IN, Path::new("config/tvsl.toml"));
    assert_eq!(shipped.expect("the shipped file is valid"), Config::default());
}

#[test]
fn a_mistyped_key_is_named_with_place_and_cure() {
    let told = complaint("[camera]\nsorce = \"file\"\n");
    assert!(told.contains("tvsl.toml:2:1: camera.sorce: unknown key"), "{told}");
    assert!(told.contains("did you mean `source`?"), "{told}");
}
