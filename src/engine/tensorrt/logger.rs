//! `nvinfer1::ILogger`, implemented here: messages go to `tracing`, and the latest complaints are
//! kept so that an error can carry them.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ffi::{CStr, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use super::abi::{Family, This};
use super::error::{Complaint, Said};

/// How many complaints of one thread an error carries at most.
const KEPT: usize = 8;

/// How many are kept in all: threads end without asking for theirs.
const MOST: usize = 8 * KEPT;

thread_local! {
    /// Whether this thread calls TensorRT. One that does not, and is told something, is TensorRT's own.
    static CALLS: Cell<bool> = const { Cell::new(false) };
}

/// The logger of each library, by its file or name.
static LASTING: Mutex<Vec<(PathBuf, &'static Logger)>> = Mutex::new(Vec::new());

/// A C++ object as TensorRT sees it (its first word is the virtual table) and our notes behind it.
#[repr(C)]
pub(super) struct Logger {
    table: *const c_void,
    complaints: Mutex<VecDeque<Noted>>,
}

struct Noted {
    /// The thread that was told, from within its own call; `None` for one of TensorRT's own.
    told: Option<ThreadId>,
    complaint: Complaint,
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
    /// The logger of this library, which lives until the process ends: TensorRT keeps the first that it is given, and warns of
    /// every other.
    pub(super) fn of(library: &Path, family: Family) -> &'static Logger {
        let table = match family {
            Family::V8 | Family::V10 => (&raw const PLAIN).cast(),
            Family::V11 | Family::Rtx => (&raw const VERSIONED).cast(),
        };
        let mut lasting = LASTING.lock().unwrap_or_else(PoisonError::into_inner);
        let before = lasting.iter().find(|(other, logger)| other == library && logger.table == table);
        if let Some((_, logger)) = before {
            return logger;
        }
        let logger: &'static Logger = Box::leak(Box::new(Logger { table, complaints: Mutex::default() }));
        lasting.push((library.to_owned(), logger));
        logger
    }

    /// The `ILogger*` to hand to TensorRT.
    pub(super) fn as_this(&'static self) -> This {
        (&raw const *self).cast_mut().cast()
    }

    /// Forgets what this thread was told before the call that it is about to make. That of other threads is left: a call of
    /// theirs may be failing just now.
    pub(super) fn begin(&self) {
        self.said();
    }

    /// The same before a call that makes something, for which TensorRT may have threads of its own at work.
    pub(super) fn begin_making(&self) {
        self.said_of_making();
    }

    /// Takes what this thread was told.
    pub(super) fn said(&self) -> Said {
        let own = caller();
        self.take(|told| told == own)
    }

    /// Takes what this thread and TensorRT's own threads were told. Whom those work for they do not say, and of the calls
    /// it is those that make something; a run beside them takes nothing of it.
    pub(super) fn said_of_making(&self) -> Said {
        let own = caller();
        self.take(|told| told.is_none() || told == own)
    }

    /// Whether a complaint to this thread that was not taken yet contains `words`.
    pub(super) fn heard(&self, words: &str) -> bool {
        let own = caller();
        self.complaints().iter().any(|noted| noted.told == own && noted.complaint.message.contains(words))
    }

    fn take(&self, meant: impl Fn(Option<ThreadId>) -> bool) -> Said {
        let mut complaints = self.complaints();
        let (taken, left) = complaints.drain(..).partition(|noted| meant(noted.told));
        *complaints = left;
        let taken: VecDeque<Noted> = taken;
        Said(taken.into_iter().map(|noted| noted.complaint).collect())
    }

    fn complaints(&self) -> MutexGuard<'_, VecDeque<Noted>> {
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
            let told = CALLS.get().then(|| thread::current().id());
            let complaint = Complaint { error: severity <= 1, message: message.to_owned() };
            self.keep(Noted { told, complaint });
        }
    }

    fn keep(&self, noted: Noted) {
        let mut complaints = self.complaints();
        let same = |other: &&Noted| other.told == noted.told;
        if complaints.iter().filter(same).count() == KEPT {
            // Any number of warnings may follow the error that tells why.
            let warning = complaints.iter().position(|other| same(&other) && !other.complaint.error);
            let least = warning.or_else(|| complaints.iter().position(|other| same(&other)));
            least.and_then(|least| complaints.remove(least));
        } else if complaints.len() == MOST {
            complaints.pop_front();
        }
        complaints.push_back(noted);
    }
}

/// This thread, which calls TensorRT from now on.
fn caller() -> Option<ThreadId> {
    CALLS.set(true);
    Some(thread::current().id())
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

    fn messages(said: Said) -> Vec<String> {
        said.0.into_iter().map(|complaint| complaint.message).collect()
    }

    fn on_another_thread(work: impl FnOnce() + Send) {
        thread::scope(|scope| {
            scope.spawn(work);
        });
    }

    #[test]
    fn any_number_of_warnings_leaves_the_errors_and_what_is_no_complaint_is_not_kept() {
        let logger = Logger::of("warnings".as_ref(), Family::V10);
        logger.begin();
        logger.note(1, "OutOfMemory");
        (0..2 * KEPT).for_each(|number| logger.note(2, &format!("warning {number}")));
        logger.note(3, "building");
        let kept = messages(logger.said());
        assert_eq!(
            (kept.len(), kept[0].as_str(), kept[KEPT - 1].as_str()),
            (KEPT, "OutOfMemory", "warning 15")
        );
        assert!(messages(logger.said()).is_empty(), "they are taken once");
    }

    /// A lack of memory in a run must be recognised while a plan is loaded beside it, and the other way round.
    #[test]
    fn a_thread_takes_and_forgets_only_what_it_was_told_itself() {
        let logger = Logger::of("threads".as_ref(), Family::V10);
        logger.begin();
        logger.note(2, "of an earlier run");
        logger.begin();
        logger.note(1, "OutOfMemory");
        on_another_thread(|| {
            logger.begin_making();
            (0..2 * KEPT).for_each(|number| logger.note(1, &format!("error {number}")));
            assert!(!logger.heard("OutOfMemory"));
            assert_eq!(messages(logger.said_of_making()).len(), KEPT);
            logger.note(1, "of a load that nobody asks about");
        });
        assert!(logger.heard("OutOfMemory"));
        assert_eq!(messages(logger.said_of_making()), ["OutOfMemory"]);
    }

    #[test]
    fn what_tensorrts_own_threads_say_goes_to_a_call_that_makes_something_and_to_no_run() {
        let logger = Logger::of("own threads".as_ref(), Family::V10);
        on_another_thread(|| logger.note(1, "of an earlier build"));
        logger.begin_making();
        logger.note(1, "of the build");
        on_another_thread(|| logger.note(1, "of a kernel"));
        on_another_thread(|| {
            logger.begin();
            assert!(messages(logger.said()).is_empty());
        });
        assert_eq!(messages(logger.said_of_making()), ["of the build", "of a kernel"]);
    }

    #[test]
    fn threads_that_end_without_asking_leave_a_bounded_number_of_complaints() {
        let logger = Logger::of("bounded".as_ref(), Family::V10);
        for _ in 0..2 * MOST {
            on_another_thread(|| {
                logger.begin();
                logger.note(1, "OutOfMemory");
            });
        }
        assert_eq!(logger.complaints().len(), MOST);
    }
}
