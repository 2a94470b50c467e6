//! The checker of slots and values, `tests/fake_tensorrt/headers.sh`, on headers made from the table itself: it finds
//! nothing in right ones and names the slot or the value in a wrong one.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

/// A release: its version, the word behind the names of that version's macros, and the column of slots.def that is its own.
struct Release {
    version: [u32; 3],
    word: &'static str,
    column: usize,
}

const RELEASES: [Release; 5] = [
    Release { version: [8, 5, 2], word: "", column: 2 },
    Release { version: [8, 6, 1], word: "", column: 2 },
    Release { version: [10, 3, 0], word: "", column: 3 },
    Release { version: [11, 1, 0], word: "_ENTERPRISE", column: 4 },
    Release { version: [1, 7, 1], word: "_RTX", column: 4 },
];

/// What slots.def has of one kind for a release: names by number, of each class.
type Table = BTreeMap<String, BTreeMap<usize, String>>;

/// What 8.5 has not.
const MISSED: [&str; 3] = ["setBuilderOptimizationLevel", "kREVERSE_SEQUENCE", "kNORMALIZATION"];

/// The methods of each class by `SLOT`, or the enumerators of each enumeration by `VALUE`.
fn table(kind: &str, release: &Release) -> Table {
    let table = include_str!("fake_tensorrt/slots.def");
    let rows = table.lines().filter_map(|line| line.strip_prefix(kind)?.strip_prefix('(')?.strip_suffix(')'));
    let mut classes = Table::new();
    for row in rows {
        let fields: Vec<_> = row.split(',').map(str::trim).collect();
        let (slot, rtx) = (fields[release.column], release.word == "_RTX");
        let slot = match slot.strip_prefix("RTX_ONLY(").and_then(|slot| slot.strip_suffix(')')) {
            Some(slot) => {
                if rtx {
                    slot
                } else {
                    "none"
                }
            }
            None => slot,
        };
        let lacks = release.version < [8, 6, 0] && MISSED.contains(&fields[1]) && !rtx;
        if let Some(slot) = slot.parse().ok().filter(|_| !lacks) {
            classes.entry(fields[0].to_owned()).or_default().insert(slot, fields[1].to_owned());
        }
    }
    classes
}

/// The enumerations, each with its values.
fn declared(values: &Table) -> String {
    let mut out = String::new();
    for (name, values) in values {
        let all: Vec<_> = values.iter().map(|(value, name)| format!("{name} = {value}")).collect();
        let enumeration = format!("enum class {name} {{ {} }};", all.join(", "));
        let _ = match name.as_str() {
            "Severity" => writeln!(out, "class ILogger {{ public: {enumeration} }};"),
            _ => writeln!(out, "{enumeration}"),
        };
    }
    out
}

/// What a builder or a runtime makes, and what is deleted in the same way.
const MADE: [&str; 9] = [
    "Runtime",
    "CudaEngine",
    "EngineInspector",
    "ExecutionContext",
    "Builder",
    "BuilderConfig",
    "NetworkDefinition",
    "TimingCache",
    "HostMemory",
];

/// Headers in which each method stands at its slot, and each enumerator has its value.
fn write_headers(folder: &Path, release: &Release, classes: &Table, values: &Table) {
    let Release { version: [major, minor, patch], word, .. } = release;
    let version = format!(
        "#define TRT_MAJOR{word} {major}\n#define TRT_MINOR{word} {minor}\n#define TRT_PATCH{word} {patch}\n\
         #define NV_TENSORRT_MAJOR {major}\n#define NV_TENSORRT_MINOR {minor}\n#define NV_TENSORRT_PATCH {patch}\n"
    );
    let mut core = format!(
        "#pragma once\n#include <cstddef>\n{version}namespace nvinfer1 {{ class ICudaEngine; class IExecutionContext; class IPluginFactory;\n"
    );
    core += &declared(values);
    core.push_str("namespace apiv {\n");
    let mut parser = String::from("#pragma once\nnamespace nvonnxparser {\n");
    let handle = &classes["Handle"];
    let before = if handle.contains_key(&1) { "" } else { "virtual void other() = 0;" };
    for (class, methods) in classes.iter().filter(|(class, _)| *class != "Handle") {
        let (out, name) = match class.strip_prefix("Parser") {
            Some(_) => (&mut parser, format!("I{class}")),
            None => (&mut core, format!("V{class}")),
        };
        let _ = writeln!(out, "struct {name} {{");
        for slot in 0..=methods.keys().max().copied().unwrap_or(0) {
            // A destructor has two slots, and the second is the one that deletes.
            if methods.get(&(slot + 1)).is_some_and(|method| method == "delete") {
                continue;
            }
            let _ = match methods.get(&slot).map(String::as_str) {
                Some("delete") => writeln!(out, "virtual ~{name}() noexcept = default;"),
                None => writeln!(out, "virtual void other{slot}() noexcept = 0;"),
                Some(method @ "deserializeCudaEngine") => {
                    let and = if *major == 8 { ", IPluginFactory*" } else { "" };
                    writeln!(
                        out,
                        "virtual ICudaEngine* {method}(void const*, std::size_t{and}) noexcept = 0;"
                    )
                }
                Some(method @ "createExecutionContext") => {
                    let given = if *major == 8 { "" } else { "ExecutionContextAllocationStrategy" };
                    writeln!(out, "virtual IExecutionContext* {method}({given}) noexcept = 0;")
                }
                Some(method) => writeln!(out, "virtual void {method}() noexcept = 0;"),
            };
        }
        out.push_str("};\n");
    }
    core.push_str("}\n");
    for class in MADE {
        let _ =
            writeln!(core, "class I{class} {{ {before} public: virtual ~I{class}() noexcept = default; }};");
    }
    std::fs::write(folder.join("NvInfer.h"), core + "}\n").expect("room for a header");
    std::fs::write(folder.join("NvOnnxParser.h"), parser + "}\n").expect("room for a header");
    std::fs::write(folder.join("NvInferVersion.h"), version).expect("room for a header");
}

fn check(folder: &Path) -> (bool, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake_tensorrt/headers.sh");
    let output = Command::new("sh").arg(script).arg(folder).output().expect("a shell");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn headers_like_the_table_differ_nowhere() {
    for release in RELEASES {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write_headers(folder.path(), &release, &table("SLOT", &release), &table("VALUE", &release));
        let (same, said) = check(folder.path());
        let [major, minor, patch] = release.version;
        assert!(same && said.contains(&format!("TensorRT {major}.{minor}.{patch}: 0 of")), "{said}");
        assert_eq!(said.contains("which 8.5 lacks"), (major, minor) == (8, 5), "{said}");
    }
}

#[test]
fn a_slot_or_a_value_that_differs_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let release = &RELEASES[2];
    let (mut classes, mut values) = (table("SLOT", release), table("VALUE", release));
    write_headers(folder.path(), release, &classes, &values);
    let (same, said) = check(folder.path());
    assert!(same && said.contains("TensorRT 10.3.0: 0 of"), "{said}");

    let parser = classes.get_mut("Parser").expect("the class");
    let delete = parser.remove(&9).expect("the destructor");
    parser.insert(10, delete);
    classes.insert("Handle".into(), BTreeMap::from([(2, "delete".into())]));
    let context = classes.get_mut("ExecutionContext").expect("the class");
    let method = context.remove(&37).expect("enqueueV3");
    context.insert(38, method);
    let layers = values.get_mut("LayerType").expect("the enumeration");
    let norm = layers.remove(&45).expect("kNORMALIZATION");
    layers.insert(46, norm);
    write_headers(folder.path(), release, &classes, &values);
    let (same, said) = check(folder.path());
    assert!(!same, "{said}");
    assert!(said.contains("LayerType.kNORMALIZATION: value 46 in the headers, 45 in slots.def"), "{said}");
    assert!(said.contains("TensorRT 10.3.0: 12 of"), "{said}");
    assert!(said.contains("ExecutionContext.enqueueV3: slot 38 in the headers, 37 in slots.def"), "{said}");
    assert!(said.contains("delete Parser: slot 10 in the headers, 9 in slots.def"), "{said}");
    assert!(said.contains("delete Runtime: slot 2 in the headers, 1 in slots.def"), "{said}");
}
