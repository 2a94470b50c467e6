//! What the libraries want said in the environment, before they are loaded. A safe program cannot change its own
//! environment, so this one begins anew with it; the units of systemd have it, and there it does not.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::Failure;

/// ONNX Runtime reports its use to its maker unless this forbids it: its own switch comes after the first report.
const NO_REPORTS: (&str, &str) = ("ORT_DISABLE_TELEMETRY", "1");

/// What months of running want, where the environment says nothing else (docs/reliability.md has the figures): few heaps, for
/// threads of cameras come and go; large blocks outside of them, so that a model that was changed for another leaves no
/// holes; and GStreamer letting go of a V4L2 camera that was pulled out.
const LASTING: [(&str, &str); 3] =
    [("MALLOC_ARENA_MAX", "2"), ("MALLOC_MMAP_THRESHOLD_", "131072"), ("GST_V4L2_FORCE_DRAIN", "1")];

/// Begins the program again, as the same process, unless its environment says all of this already.
pub(super) fn settle() -> Result<(), Failure> {
    let (name, value) = NO_REPORTS;
    let missing: Vec<_> = LASTING.into_iter().filter(|(name, _)| env::var_os(name).is_none()).collect();
    if missing.is_empty() && env::var_os(name).is_some_and(|set| set == value) {
        return Ok(());
    }
    let failed = |error: std::io::Error| {
        let told =
            format!("cannot begin with {name}={value}, which keeps ONNX Runtime from reporting: {error}");
        Failure::Failed(format!("{told}; set it in the environment"))
    };
    let mut arguments = env::args_os();
    let mut command = Command::new(env::current_exe().map_err(failed)?);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments).env(name, value).envs(missing);
    Err(failed(command.exec()))
}
