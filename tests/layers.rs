//! The order of the modules is the law: a module uses only what stands above it in `src/lib.rs`, and the files of a folder do
//! not use each other in circles.

use std::collections::{BTreeMap, BTreeSet};
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

/// The path of the module in `file`, such as `capture`, `media`.
fn path(file: &Path) -> Vec<String> {
    let inside = file.strip_prefix(source()).expect("a file in src").with_extension("");
    let names = inside.components().map(|name| name.as_os_str().to_string_lossy().into_owned());
    names.filter(|name| name != "mod").collect()
}

/// What `text` names after each run of `super::`, with the length of the run; comments and tests aside.
fn neighbours(text: &str) -> Vec<(usize, String)> {
    let code: Vec<_> = text.lines().take_while(|line| *line != "#[cfg(test)]").collect();
    let code: String = code.into_iter().filter(|line| !line.trim_start().starts_with("//")).collect();
    let (mut found, mut rest, mut ups) = (Vec::new(), code.as_str(), 0);
    while let Some(at) = rest.find("super::") {
        ups = if at == 0 { ups + 1 } else { 1 };
        rest = &rest[at + "super::".len()..];
        if !rest.starts_with("super::") {
            found.extend(siblings(rest).into_iter().map(|name| (ups, name)));
        }
    }
    found
}

/// `media::Media` → `media`; `{media::{A, B}, wiring}` → `media`, `wiring`.
fn siblings(path: &str) -> Vec<String> {
    let Some(group) = path.strip_prefix('{') else { return heads(path) };
    let (mut depth, mut names) = (0, vec![String::new()]);
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(String::new()),
            _ if depth == 0 => names.last_mut().expect("at least one").push(c),
            _ => {}
        }
    }
    names.iter().flat_map(|name| heads(name)).filter(|name| !name.is_empty()).collect()
}

/// What the file that opens `folder` passes on under its own name, and from where: `pub use media::Media;`.
fn passed_on(folder: &[String]) -> BTreeMap<String, String> {
    let place = folder.iter().fold(source(), |place, name| place.join(name));
    let opens = [place.join("mod.rs"), place.with_extension("rs")];
    let text = opens.iter().find_map(|file| fs::read_to_string(file).ok()).unwrap_or_default();
    let uses = text.split("pub use ").skip(1).filter_map(|rest| rest.split_once(';')?.0.split_once("::"));
    let alias = |name: &str| name.trim().rsplit(' ').next().unwrap_or_default().to_string();
    let names = uses.flat_map(|(from, names)| {
        names.split([',', '{', '}']).map(move |name| (alias(name), from.to_string()))
    });
    names.collect()
}

/// Which file or folder uses which other, for each folder that holds them.
fn uses_within() -> BTreeMap<Vec<String>, BTreeMap<String, BTreeSet<String>>> {
    let files = files(&source());
    let modules: BTreeSet<_> = files.iter().map(|file| path(file)).collect();
    let mut within: BTreeMap<_, BTreeMap<_, BTreeSet<_>>> = BTreeMap::new();
    for file in &files {
        let here = path(file);
        for (ups, name) in neighbours(&fs::read_to_string(file).expect("a source file")) {
            let Some(folder) = here.len().checked_sub(ups).map(|kept| here[..kept].to_vec()) else {
                continue;
            };
            let name = passed_on(&folder).remove(&name).unwrap_or(name);
            let other = [folder.as_slice(), std::slice::from_ref(&name)].concat();
            let own = here[folder.len()].clone();
            if modules.contains(&other) && own != name {
                within.entry(folder).or_default().entry(own).or_default().insert(name);
            }
        }
    }
    within
}

/// What is left once whatever uses nothing that is left has been taken away, again and again.
fn circles(mut uses: BTreeMap<String, BTreeSet<String>>) -> BTreeMap<String, BTreeSet<String>> {
    loop {
        let left: BTreeSet<_> = uses.keys().cloned().collect();
        uses.values_mut().for_each(|used| used.retain(|name| left.contains(name)));
        uses.retain(|_, used| !used.is_empty());
        if uses.len() == left.len() {
            return uses;
        }
    }
}

#[test]
fn the_files_of_a_folder_do_not_use_each_other_in_circles() {
    let within = uses_within();
    assert!(within.len() > 10, "src was not understood: {within:?}");
    let found = within.into_iter().map(|(folder, uses)| (folder.join("/"), circles(uses)));
    let found: BTreeMap<_, _> = found.filter(|(_, circles)| !circles.is_empty()).collect();
    assert_eq!(found, BTreeMap::new());
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

#[test]
fn neighbours_are_read_as_rust_reads_them() {
    let text = "use super::media::Media;\nuse super::{wiring::{self, Wants}, rate};\n// super::no\nsuper::super::clock::now();\n\
                #[cfg(test)]\nuse super::tests;";
    let names = neighbours(text).into_iter().map(|(ups, name)| format!("{ups} {name}")).collect::<Vec<_>>();
    assert_eq!(names, ["1 media", "1 wiring", "1 rate", "2 clock"]);
    let uses = [("a", "b"), ("b", "c"), ("c", "b"), ("d", "a")];
    let uses = uses.map(|(one, other)| (one.to_string(), BTreeSet::from([other.to_string()])));
    assert_eq!(circles(BTreeMap::from(uses.clone())).into_keys().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    assert!(circles(BTreeMap::from([uses[0].clone(), uses[3].clone()])).is_empty());
}
