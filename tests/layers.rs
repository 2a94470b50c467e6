//! The order of the modules is the law: a module uses only what stands above it in `src/lib.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The modules of `src/lib.rs` with their places, from the top.
fn order() -> BTreeMap<String, usize> {
    let lib = fs::read_to_string(source().join("lib.rs")).expect("src/lib.rs");
    let names = lib.lines().filter_map(|line| line.trim().strip_prefix("pub mod ")?.strip_suffix(';'));
    names.map(str::to_string).enumerate().map(|(place, name)| (name, place)).collect()
}

/// Every Rust file under `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).expect("a folder of sources").map(|entry| entry.expect("an entry").path());
    let mut found = Vec::new();
    for path in entries {
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

/// The top-level module that `file` belongs to.
fn module(file: &Path) -> String {
    let inside = file.strip_prefix(source()).expect("a file in src");
    let first = inside.components().next().expect("a name").as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_string()
}

/// The modules that `text` names after `crate::`, with the lines; comments and their links aside.
fn uses(text: &str) -> Vec<(usize, String)> {
    let code = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    code.flat_map(|(number, line)| {
        line.split("crate::")
            .skip(1)
            .flat_map(move |rest| heads(rest).into_iter().map(move |m| (number + 1, m)))
    })
    .collect()
}

/// `clock::Instant` → `clock`; `{clock::Instant, frame}` → `clock`, `frame`.
fn heads(path: &str) -> Vec<String> {
    let head =
        |p: &str| p.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    match path.strip_prefix('{') {
        None => vec![head(path)],
        Some(group) => {
            let flat = group.split('{').next().unwrap_or(group);
            flat.split([',', '}']).map(head).filter(|name| !name.is_empty()).collect()
        }
    }
}

#[test]
fn a_module_uses_only_what_stands_above_it() {
    let order = order();
    assert!(order.len() > 10, "src/lib.rs was not understood: {order:?}");
    let mut wrong = Vec::new();
    for file in files(&source()) {
        let here = module(&file);
        let Some(place) = order.get(&here) else { continue };
        for (line, used) in uses(&fs::read_to_string(&file).expect("a source file")) {
            if order.get(&used).is_some_and(|above| above > place) {
                wrong.push(format!("{}:{line}: {here} uses {used}, which stands below it", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_opens_with_its_purpose() {
    let silent = files(&source())
        .into_iter()
        .filter(|file| !fs::read_to_string(file).expect("a source file").trim_start().starts_with("//!"));
    assert_eq!(silent.collect::<Vec<_>>(), Vec::<PathBuf>::new());
}

#[test]
fn uses_are_read_as_rust_reads_them() {
    let text = "use crate::clock::Instant;\n// crate::cli\nuse crate::{frame::Frame, queue};\nlet x = crate::geometry::Size::new(1, 1);";
    let names = uses(text).into_iter().map(|(line, name)| format!("{line} {name}")).collect::<Vec<_>>();
    assert_eq!(names, ["1 clock", "3 frame", "3 queue", "4 geometry"]);
}
