//! What is built comes from where `deny.toml` allows, and from nowhere else.

use std::path::Path;
use std::process::Command;

/// What `setup/sources.py` says of these lock files, and whether it takes them.
fn judge(locks: &[&Path]) -> (bool, String) {
    let mut command = Command::new("python3");
    command.arg("setup/sources.py").args(locks).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = command.output().expect("python3 is installed: `make setup-test`");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.success(), said.concat())
}

#[test]
fn every_lock_file_names_the_allowed_registry_alone() {
    let (taken, said) = judge(&[Path::new("Cargo.lock"), Path::new("tests/cluster/Cargo.lock")]);
    assert!(taken && said.contains("2 lock files, 0 packages"), "{said}");
}

#[test]
fn a_package_from_elsewhere_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let lock = folder.path().join("Cargo.lock");
    let registry = "registry+https://github.com/rust-lang/crates.io-index";
    for (from, told) in [
        ("source = \"git+https://example.org/odd#0123\"", "odd 1.0.0 comes from git+https"),
        (
            "source = \"registry+https://example.org/index\"\nchecksum = \"00\"",
            "comes from registry+https://example.org",
        ),
        (&format!("source = \"{registry}\""), "without a checksum"),
    ] {
        let text = format!(
            "[[package]]\nname = \"odd\"\nversion = \"1.0.0\"\n{from}\n\n[[package]]\nname = \"own\"\nversion = \"0.1.0\"\n"
        );
        std::fs::write(&lock, text).expect("room for a file");
        let (taken, said) = judge(&[&lock]);
        assert!(!taken && said.contains(told) && !said.contains("own 0.1.0"), "{from}: {said}");
    }
}
