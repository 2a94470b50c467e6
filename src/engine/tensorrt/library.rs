//! Finding and loading TensorRT while the program runs, and refusing versions whose binary
//! interface is not known.

use std::error::Error;
use std::ffi::CStr;
use std::fmt;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::abi::{Family, Slots, This};
use super::error::{Said, TensorRtError};
use super::logger::Logger;
use super::version::Version;

/// Names given to the system loader, the most common first, and last that of a version that is too old, to say so.
const NAMES: [&str; 5] =
    ["libnvinfer.so.10", "libnvinfer.so.8", "libnvinfer.so.11", "libtensorrt_rtx.so.1", "libnvinfer.so.7"];

type Create = unsafe extern "C" fn(This, i32) -> This;
type CreateParser = unsafe extern "C" fn(This, This, i32) -> This;
type Number = unsafe extern "C" fn() -> i32;

/// A loaded TensorRT. Cloning shares it; it stays loaded until the process ends, because TensorRT
/// keeps threads, CUDA state and our logger beyond the life of its objects.
#[derive(Clone)]
pub struct Library(Arc<Loaded>);

struct Loaded {
    path: PathBuf,
    version: Version,
    family: Family,
    logger: &'static Logger,
    core: ManuallyDrop<libloading::Library>,
    parser: OnceLock<ManuallyDrop<libloading::Library>>,
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}", self.version(), self.path().display())
    }
}

impl Library {
    /// Loads the TensorRT that the system loader finds.
    ///
    /// # Errors
    /// [`TensorRtError::NotFound`] if there is none, [`TensorRtError::Load`] if one is there and broken,
    /// [`TensorRtError::Unsupported`] if it is too old or too new.
    pub fn find() -> Result<Self, TensorRtError> {
        let mut looked = Vec::new();
        for name in NAMES {
            match Self::open(Path::new(name)) {
                Err(TensorRtError::Load { reason, .. })
                    if reason.starts_with(name) && reason.contains("No such file") =>
                {
                    looked.push(name.to_owned());
                }
                found_or_broken => return found_or_broken,
            }
        }
        Err(TensorRtError::NotFound { looked })
    }

    /// Loads one file, `libnvinfer.so.*` or `libtensorrt_rtx.so.*`; a bare name goes to the system loader.
    ///
    /// # Errors
    /// As [`Library::find`], and [`TensorRtError::Symbol`] for a library that is not TensorRT.
    pub fn open(path: &Path) -> Result<Self, TensorRtError> {
        let core = load(path)?;
        let version = version(&core, path)?;
        let family = version.family().ok_or(TensorRtError::Unsupported { version })?;
        let logger = Logger::of(path, family);
        tracing::debug!("{version} from {}", path.display());
        let path = path.to_owned();
        Ok(Self(Arc::new(Loaded { path, version, family, logger, core, parser: OnceLock::new() })))
    }

    /// The version that the library reports.
    pub fn version(&self) -> Version {
        self.0.version
    }

    /// The interface family of [`Library::version`].
    pub fn family(&self) -> Family {
        self.0.family
    }

    /// The file, or the name that the system loader resolved.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// What the entry point `symbol` makes: still to be owned.
    pub(super) fn create(&self, symbol: &'static CStr, call: &'static str) -> Result<This, TensorRtError> {
        let create = function::<Create>(&self.0.core, &self.0.path, symbol)?;
        self.begin_making();
        // SAFETY: the version is a known one, whose entry points have this signature; the logger
        // lives until the process ends.
        let object = unsafe { create(self.0.logger.as_this(), self.0.version.number()) };
        if self.0.logger.heard("CUDA initialization failure") {
            return Err(self.refused(call));
        }
        Ok(object)
    }

    /// A parser that fills `network`: still to be owned.
    ///
    /// # Safety
    /// `network` is a network of this library, which outlives the parser.
    pub(super) unsafe fn create_parser(&self, network: This) -> Result<This, TensorRtError> {
        let path = parser_path(&self.0.path);
        let library = match self.0.parser.get() {
            Some(library) => library,
            None => {
                let loaded = load(&path)?;
                self.0.parser.get_or_init(|| loaded)
            }
        };
        let create = function::<CreateParser>(library, &path, c"createNvOnnxParser_INTERNAL")?;
        self.begin_making();
        // SAFETY: as in `create`; the caller vouches for the network.
        Ok(unsafe { create(network, self.0.logger.as_this(), self.0.version.number()) })
    }

    pub(super) fn slots(&self) -> &'static Slots {
        self.0.family.slots()
    }

    /// Forgets what TensorRT complained about to this thread: a call follows.
    pub(super) fn begin(&self) {
        self.0.logger.begin();
    }

    /// The same, and a call follows that makes something, for which TensorRT may have threads of its own at work.
    pub(super) fn begin_making(&self) {
        self.0.logger.begin_making();
    }

    /// Takes what TensorRT complained about to this thread since the last time.
    pub(super) fn said(&self) -> Said {
        self.0.logger.said()
    }

    /// Takes that and what it complained about on threads of its own.
    pub(super) fn said_of_making(&self) -> Said {
        self.0.logger.said_of_making()
    }

    /// The error for `call`, which returned false, a negative number or nothing.
    pub(super) fn refused(&self, call: &'static str) -> TensorRtError {
        TensorRtError::Refused { call, said: self.said() }
    }

    /// `Ok` if `call` returned true.
    pub(super) fn accepted(&self, call: &'static str, answer: bool) -> Result<(), TensorRtError> {
        if answer { Ok(()) } else { Err(self.refused(call)) }
    }
}

fn load(path: &Path) -> Result<ManuallyDrop<libloading::Library>, TensorRtError> {
    // SAFETY: running a library's initialisers is what loading TensorRT means; whoever names the file
    // decides what code runs, as with the system loader's own LD_LIBRARY_PATH.
    match unsafe { libloading::Library::new(path) } {
        Ok(library) => Ok(ManuallyDrop::new(library)),
        Err(error) => {
            // The loader's words, which name a library that is missing, are in the cause.
            let reason = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            Err(TensorRtError::Load { library: path.to_owned(), reason })
        }
    }
}

fn function<F: Copy>(
    library: &libloading::Library,
    path: &Path,
    symbol: &'static CStr,
) -> Result<F, TensorRtError> {
    // SAFETY: the callers pass the signatures that NvInfer.h and NvOnnxParser.h declare, the same in
    // every version; the library is never unloaded.
    match unsafe { library.get::<F>(symbol) } {
        Ok(function) => Ok(*function),
        Err(_) => Err(TensorRtError::Symbol {
            library: path.to_owned(),
            symbol: symbol.to_str().unwrap_or("entry point"),
        }),
    }
}

/// 10 and later tell the four parts; 8.x tells one number, 8502 for 8.5.2.
fn version(core: &libloading::Library, path: &Path) -> Result<Version, TensorRtError> {
    let call = |symbol| {
        // SAFETY: these functions take nothing and return a number.
        function::<Number>(core, path, symbol).map(|number| unsafe { number() })
    };
    let whole = call(c"getInferLibVersion")?;
    let Ok(major) = call(c"getInferLibMajorVersion") else {
        return Ok(Version { major: whole / 1000, minor: whole / 100 % 10, patch: whole % 100, build: None });
    };
    Ok(Version {
        major,
        minor: call(c"getInferLibMinorVersion")?,
        patch: call(c"getInferLibPatchVersion")?,
        build: call(c"getInferLibBuildVersion").ok(),
    })
}

/// The parser that belongs to a core library: its name in the same folder.
fn parser_path(core: &Path) -> PathBuf {
    let name = core.file_name().unwrap_or_default().to_string_lossy();
    let parser = name.replacen("libnvinfer", "libnvonnxparser", 1).replacen(
        "libtensorrt_rtx",
        "libtensorrt_onnxparser_rtx",
        1,
    );
    core.with_file_name(parser)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parser_stands_beside_the_core() {
        assert_eq!(parser_path(Path::new("libnvinfer.so.10")), Path::new("libnvonnxparser.so.10"));
        let rtx = parser_path(Path::new("/opt/rtx/libtensorrt_rtx.so.1"));
        assert_eq!(rtx, Path::new("/opt/rtx/libtensorrt_onnxparser_rtx.so.1"));
    }
}
