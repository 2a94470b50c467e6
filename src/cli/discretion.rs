//! ONNX Runtime reports its use to its maker, unless the environment forbids it before the library is loaded; its own
//! switch comes after the first report. A safe program cannot change its environment, so this one begins anew with it.

use std::os::unix::process::CommandExt;
use std::process::Command;

use super::Failure;

/// The word of the environment that forbids it.
const FORBIDDEN: (&str, &str) = ("ORT_DISABLE_TELEMETRY", "1");

/// Begins the program again, as the same process, unless its environment forbids reports already.
pub(super) fn keep() -> Result<(), Failure> {
    let (name, value) = FORBIDDEN;
    if std::env::var_os(name).is_some_and(|set| set == value) {
        return Ok(());
    }
    let failed = |error: std::io::Error| {
        let told =
            format!("cannot begin with {name}={value}, which keeps ONNX Runtime from reporting: {error}");
        Failure::Failed(format!("{told}; set it in the environment"))
    };
    let mut arguments = std::env::args_os();
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    Err(failed(command.args(arguments).env(name, value).exec()))
}
