//! The runtime's library: a missing or wrong one says where it was looked for and how to get it.
//! One test loads it, because a process does so once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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

/// Where the shipped configuration says that the library is looked for, in order.
const PLACES: [&str; 7] = [
    "$TVSL_ONNXRUNTIME",
    "beside the program",
    "../lib/tvsl",
    ".cache/onnxruntime",
    "the program's",
    "/usr/lib/tvsl",
    "the system's loader",
];

#[test]
fn it_is_looked_for_where_the_shipped_configuration_says_in_that_order() {
    let comment = Config::BUILT_IN.split("\nlibrary = ").next().and_then(|above| above.rsplit("\n\n").next());
    let comment =
        comment.and_then(|above| above.rsplit_once("# The file libonnxruntime.so")).expect("its comment").1;
    let mut rest = comment.split_once("empty: ").expect("what empty means").1;
    for place in PLACES {
        rest = rest.split_once(place).unwrap_or_else(|| panic!("{place} is not next in: {rest}")).1;
    }
}

/// The places that the program names, which it ends for, when it is `command` that is to find a library.
fn named(command: &mut Command) -> Vec<PathBuf> {
    let output = command.args(["check", "--model"]).output().expect("the program starts");
    let told = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(78), "{told}");
    let (_, looked) = told.split_once("Looked at:\n").expect("what it looked at");
    let places = looked.lines().map_while(|line| line.strip_prefix("  ")?.split_once(": "));
    places.map(|(place, _)| place.into()).collect()
}

#[test]
fn the_error_names_the_places_in_that_order() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let [bin, work, system] = ["opt/bin", "home/work", "system"].map(|name| dir.path().join(name));
    for folder in [&bin, &work, &system] {
        fs::create_dir_all(folder).expect("room for a folder");
    }
    let program = bin.join("tvsl");
    fs::copy(env!("CARGO_BIN_EXE_tvsl"), &program).expect("room for a copy");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("engines/default");
    let text = format!("model.path = {:?}\nengine.kind = \"cpu\"\n", model.display().to_string());
    fs::write(work.join("tvsl.toml"), text).expect("room for a file");
    let command = || {
        let mut command = Command::new(&program);
        command.current_dir(&work).env_remove("TVSL_CONFIG").env_remove("TVSL_ONNXRUNTIME");
        command
    };
    assert_eq!(named(command().env("TVSL_ONNXRUNTIME", "/none/x.so")), [Path::new("/none/x.so")]);

    let library = "libonnxruntime.so";
    let installed = Path::new("/usr/lib/tvsl").join(library);
    if installed.exists() {
        println!("skipped: {} is found, so no other place is told", installed.display());
        return;
    }
    // Whatever the system's loader has, this hides it.
    fs::write(system.join(library), "no library").expect("room for a file");
    let mut expected = vec![bin.join(library), bin.join("../lib/tvsl").join(library)];
    for folder in work.ancestors().chain(bin.ancestors()) {
        let cached = folder.join(".cache/onnxruntime").join(library);
        if !expected.contains(&cached) {
            expected.push(cached);
        }
    }
    expected.extend([installed, library.into()]);
    assert_eq!(named(command().env("LD_LIBRARY_PATH", &system)), expected);
}
