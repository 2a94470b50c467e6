//! What this machine tells of the process, and how hot it is. What it does not tell is left out.

use std::fs;

use serde::Serialize;

use crate::heat::Heat;

/// The process and its machine, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Host {
    /// Memory in use, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resident_bytes: Option<u64>,
    /// Threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<u64>,
    /// Open files and connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u64>,
    /// How hot it is, and whether it slows itself down.
    #[serde(flatten)]
    pub heat: Heat,
}

impl Host {
    /// Reads what there is.
    pub fn read() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let number = |key: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
            value.split_whitespace().next()?.parse::<u64>().ok()
        };
        Self {
            resident_bytes: number("VmRSS").map(|kibibytes| kibibytes * 1024),
            threads: number("Threads"),
            open_files: fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64),
            heat: Heat::latest(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_threads_and_files() {
        let host = Host::read();
        assert!(host.resident_bytes.is_some_and(|bytes| bytes > 1 << 20), "{host:?}");
        assert!(host.threads.is_some_and(|threads| threads >= 1), "{host:?}");
        assert!(host.open_files.is_some_and(|files| files >= 3), "{host:?}");
    }
}
