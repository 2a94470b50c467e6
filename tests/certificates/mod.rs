//! What clients and brokers show each other: certificates of an authority of our own, and a password.
#![allow(dead_code, reason = "every test file uses its own part of it")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::daemon::Place;

/// Runs openssl inside the place.
fn openssl(place: &Place, line: &str) {
    let mut command = Command::new("openssl");
    command.args(line.split(' ')).current_dir(place.0.path());
    let output = command.output().expect("openssl is installed: `make setup-test`");
    assert!(output.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// How `openssl ca` signs, in the folder that it runs in.
const AUTHORITY: &str = "[ca]
default_ca = ours
[ours]
certificate = ca.crt
private_key = ca.key
database = index
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = named
[named]
commonName = supplied
";

/// An authority `ca`, and what it signed: `server` for 127.0.0.1, `stale` long expired, `elsewhere` for another host,
/// `client`. And a `stranger`, an authority that signed nothing.
pub fn certificates(place: &Place) {
    for authority in ["ca", "stranger"] {
        openssl(
            place,
            &format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {authority}.key -out {authority}.crt -days 2 -subj /CN={authority}"
            ),
        );
    }
    fs::write(place.path("authority"), AUTHORITY).expect("room for a file");
    fs::write(place.path("index"), "").expect("room for a file");
    fs::write(place.path("names"), "subjectAltName=IP:127.0.0.1\n").expect("room for a file");
    fs::write(place.path("others"), "subjectAltName=DNS:elsewhere.example\n").expect("room for a file");
    for name in ["server", "stale", "elsewhere", "client"] {
        openssl(
            place,
            &format!(
                "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"
            ),
        );
        // `openssl x509` cannot be told a day of the past, in every version.
        let days =
            if name == "stale" { "-startdate 20200101000000Z -enddate 20200102000000Z" } else { "-days 2" };
        let names = if name == "elsewhere" { "others" } else { "names" };
        openssl(
            place,
            &format!(
                "ca -batch -notext -config authority -in {name}.csr -out {name}.crt -extfile {names} {days}"
            ),
        );
    }
    for key in ["ca", "stranger", "server", "stale", "elsewhere", "client"] {
        let path = place.path(&format!("{key}.key"));
        fs::set_permissions(path, Permissions::from_mode(0o640)).expect("our own file");
    }
}

/// Settings of a broker that shows `certificate`, with `more`.
pub fn shows(place: &Place, certificate: &str, more: &str) -> String {
    let file = |name: String| place.path(&name).display().to_string();
    let (crt, key) = (file(format!("{certificate}.crt")), file(format!("{certificate}.key")));
    format!("user root\ncertfile {crt}\nkeyfile {key}\ncafile {}\n{more}", file("ca.crt".into()))
}

/// A file that nobody else can read.
pub fn closed(file: &Path, text: &str) {
    fs::write(file, text).expect("room for a file");
    fs::set_permissions(file, Permissions::from_mode(0o600)).expect("our own file");
}

/// Settings of a broker that lets in `tvsl` with the password `hunter2` alone.
pub fn users(place: &Place) -> String {
    let users = place.path("users");
    let mut made = Command::new("mosquitto_passwd");
    let made = made.args(["-b", "-c"]).arg(&users).args(["tvsl", "hunter2"]).output();
    assert!(made.expect("mosquitto_passwd comes with mosquitto").status.success());
    format!("allow_anonymous false\npassword_file {}", users.display())
}
