//! `nvinfer1::ILogger`, implemented here: messages go to `tracing`, and the latest complaints are
//! kept so that an error can carry them.

use std::collections::VecDeque;
use std::ffi::{CStr, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use super::abi::{Family, This};
use super::error::{Complaint, Said};

/// How many complaints an error carries at most.
const KEPT: usize = 8;

/// All loggers, so that a leak checker sees that they are meant to last.
static LASTING: Mutex<Vec<&'static Logger>> = Mutex::new(Vec::new());

/// A C++ object as TensorRT sees it (its first word is the virtual table) and our notes behind it.
#[repr(C)]
pub(super) struct Logger {
    table: *const c_void,
    /// Each with the thread that was told.
    complaints: Mutex<VecDeque<(ThreadId, Complaint)>>,
}

// SAFETY: `table` points to an immutable static, and the notes are behind a mutex; TensorRT logs
// from several threads.
unsafe impl Sync for Logger {}
// SAFETY: as for `Sync`; nothing in it belongs to a thread.
unsafe impl Send for Logger {}

/// The table of 8.x and 10.x.
#[repr(C)]
struct Plain {
    log: extern "C" fn(*const Logger, i32, *const c_char),
    destroy: extern "C" fn(This),
    delete: extern "C" fn(This),
}

/// The table of 11.x and RTX: `ILogger` derives from `IVersionedInterface`.
#[repr(C)]
struct Versioned {
    language: extern "C" fn(This) -> i32,
    interface: extern "C" fn(This) -> Interface,
    destroy: extern "C" fn(This),
    delete: extern "C" fn(This),
    log: extern "C" fn(*const Logger, i32, *const c_char),
}

/// `nvinfer1::InterfaceInfo`.
#[repr(C)]
struct Interface {
    kind: *const c_char,
    major: i32,
    minor: i32,
}

static PLAIN: Plain = Plain { log, destroy: ignore, delete: ignore };
static VERSIONED: Versioned = Versioned { language, interface, destroy: ignore, delete: ignore, log };

impl Logger {
    /// A logger that lives until the process ends, as long as TensorRT keeps the first one it is given.
    pub(super) fn lasting(family: Family) -> &'static Logger {
        let table = match family {
            Family::V8 | Family::V10 => (&raw const PLAIN).cast(),
            Family::V11 | Family::Rtx => (&raw const VERSIONED).cast(),
        };
        let logger: &'static Logger = Box::leak(Box::new(Logger { table, complaints: Mutex::default() }));
        LASTING.lock().unwrap_or_else(PoisonError::into_inner).push(logger);
        logger
    }

    /// The `ILogger*` to hand to TensorRT.
    pub(super) fn as_this(&'static self) -> This {
        (&raw const *self).cast_mut().cast()
    }

    /// Takes the complaints that were logged since they were last taken.
    pub(super) fn said(&self) -> Said {
        Said(self.complaints().drain(..).map(|(_, complaint)| complaint).collect())
    }

    /// Forgets what this thread was told: a call of another may be failing just now.
    pub(super) fn forget_own(&self) {
        let own = thread::current().id();
        self.complaints().retain(|(told, _)| *told != own);
    }

    /// Whether a complaint that was not taken yet contains `words`.
    pub(super) fn heard(&self, words: &str) -> bool {
        self.complaints().iter().any(|(_, complaint)| complaint.message.contains(words))
    }

    fn complaints(&self) -> MutexGuard<'_, VecDeque<(ThreadId, Complaint)>> {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, severity: i32, message: &str) {
        match severity {
            ..=1 => tracing::error!(target: "tensorrt", "{message}"),
            2 => tracing::warn!(target: "tensorrt", "{message}"),
            3 => tracing::debug!(target: "tensorrt", "{message}"),
            _ => tracing::trace!(target: "tensorrt", "{message}"),
        }
        if severity <= 2 {
            let mut complaints = self.complaints();
            if complaints.len() == KEPT {
                // Any number of warnings may follow the error that tells why.
                let least = complaints.iter().position(|(_, complaint)| !complaint.error).unwrap_or(0);
                complaints.remove(least);
            }
            let complaint = Complaint { error: severity <= 1, message: message.to_owned() };
            complaints.push_back((thread::current().id(), complaint));
        }
    }
}

extern "C" fn log(logger: *const Logger, severity: i32, message: *const c_char) {
    if logger.is_null() || message.is_null() {
        return;
    }
    // SAFETY: TensorRT passes back the logger it was given, which lives until the process ends, and
    // a string that ends in NUL and lives for this call.
    let (logger, message) = unsafe { (&*logger, CStr::from_ptr(message)) };
    // A panicking subscriber must not unwind into C++.
    let _ = catch_unwind(AssertUnwindSafe(|| logger.note(severity, &message.to_string_lossy())));
}

extern "C" fn ignore(_: This) {}

extern "C" fn language(_: This) -> i32 {
    0 // APILanguage::kCPP
}

extern "C" fn interface(_: This) -> Interface {
    Interface { kind: c"ILogger".as_ptr(), major: 1, minor: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(logger: &Logger) -> Vec<String> {
        logger.said().0.into_iter().map(|complaint| complaint.message).collect()
    }

    #[test]
    fn any_number_of_warnings_leaves_the_errors_and_what_is_no_complaint_is_not_kept() {
        let logger = Logger::lasting(Family::V10);
        logger.note(1, "OutOfMemory");
        (0..2 * KEPT).for_each(|number| logger.note(2, &format!("warning {number}")));
        logger.note(3, "building");
        let kept = messages(logger);
        assert_eq!(
            (kept.len(), kept[0].as_str(), kept[KEPT - 1].as_str()),
            (KEPT, "OutOfMemory", "warning 15")
        );
        assert!(messages(logger).is_empty(), "they are taken once");
    }

    #[test]
    fn a_run_forgets_what_its_own_thread_was_told_before_and_nothing_of_a_load_beside_it() {
        let logger = Logger::lasting(Family::V10);
        thread::scope(|scope| {
            scope.spawn(|| logger.note(1, "OutOfMemory"));
        });
        logger.note(2, "of an earlier run");
        logger.forget_own();
        assert_eq!(messages(logger), ["OutOfMemory"]);
    }
}
