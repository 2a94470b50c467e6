//! What the package says of the systems that it is for holds. The whole of it is taken through its life by `make test-deb`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use tempfile::TempDir;

/// Stand-ins for what looks into programs, on a machine for amd64: the program needs this version of glibc.
fn tools(glibc: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let readelf = format!(
        "case $1 in\n\
         --dynamic) echo ' 0x01 (NEEDED) Shared library: [libc.so.6]' ;;\n\
         *) echo '  0x10:   Name: GLIBC_2.4  Flags: none'; echo '  0x20:   Name: GLIBC_{glibc}  Flags: none' ;;\n\
         esac"
    );
    let shlibdeps = format!("echo 'shlibs:Depends=libc6 (>= {glibc})'");
    for (name, script) in [("readelf", &*readelf), ("dpkg", "echo amd64"), ("dpkg-shlibdeps", &*shlibdeps)] {
        let file = folder.path().join(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("room for a file");
        fs::set_permissions(&file, Permissions::from_mode(0o755)).expect("our own file");
    }
    folder
}

/// What a package for `architecture` depends on if its program needs this glibc, or why there is none.
fn libraries(architecture: &str, glibc: &str, allowed: Option<&str>) -> Result<String, String> {
    let tools = tools(glibc);
    let path = format!("{}:{}", tools.path().display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("packaging/libraries.sh");
    command.args([architecture, "program"]).env("PATH", path).env_remove("TVSL_GLIBC");
    let output =
        command.envs(allowed.map(|allowed| ("TVSL_GLIBC", allowed))).output().expect("bash is there");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[test]
fn a_program_that_needs_a_later_glibc_than_the_oldest_system_has_makes_no_package() {
    for (architecture, glibc) in [("amd64", "2.35"), ("amd64", "2.9"), ("arm64", "2.31")] {
        assert_eq!(libraries(architecture, glibc, None), Ok(format!("libc6 (>= {glibc})\n")));
    }
    for (architecture, glibc, latest) in [("amd64", "2.36", "2.35"), ("arm64", "2.35", "2.31")] {
        let told = libraries(architecture, glibc, None).expect_err("a program of a later system");
        for word in [&format!("glibc {glibc}"), latest, "docs/install.md", &format!("TVSL_GLIBC={glibc}")] {
            assert!(told.contains(word), "{word}: {told}");
        }
        // Whoever builds for himself may say so.
        assert_eq!(libraries(architecture, glibc, Some(glibc)), Ok(format!("libc6 (>= {glibc})\n")));
    }
    assert!(libraries("amd64", "2.40", Some("2.39")).is_err());
    let docs = fs::read_to_string("docs/install.md").expect("the documentation");
    assert!(docs.contains("2.35, which Ubuntu 22.04 has"), "the documentation says something else");
}
