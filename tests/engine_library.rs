//! The runtime's library: a missing or wrong one says where it was looked for and how to get it.
//! One test, because a process loads the library once.

use std::fs;
use std::path::PathBuf;

use tvsl::config::{Config, Engine, EngineKind};
use tvsl::engine;

fn open(library: PathBuf) -> Result<&'static str, String> {
    let config = Engine { kind: EngineKind::Auto, threads: 1, library, ..Config::default().engine };
    engine::choose(&config).map(|engine| engine.name()).map_err(|error| error.to_string())
}

#[test]
fn a_library_is_found_or_the_error_says_where_it_looked() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (missing, wrong) = (dir.path().join("none.so"), dir.path().join("libonnxruntime.so"));
    fs::write(&wrong, "no library").expect("it writes");
    for file in [missing, wrong] {
        let error = open(file.clone()).expect_err("it is no library");
        assert!(error.contains(&file.display().to_string()), "{error}");
        assert!(error.contains("make setup") && error.contains("TVSL_ONNXRUNTIME"), "{error}");
    }
    assert_eq!(open(PathBuf::new()), Ok("cpu"));
}
