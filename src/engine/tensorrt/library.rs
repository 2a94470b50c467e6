//! Finding and loading TensorRT while the program runs, and refusing versions whose binary
//! interface is not known.

use std::error::Error;
use std::fmt;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::abi::{Family, Slots, This};
use super::error::{Said, TensorRtError};
use super::handle::Handle;
use super::logger::Logger;
use super::{Builder, Runtime};

/// Names given to the system loader, the most common first.
const NAMES: [&str; 4] = ["libnvinfer.so.10", "libnvinfer.so.8", "libnvinfer.so.11", "libtensorrt_rtx.so.1"];

/// The versions whose interface was compared with [`Slots`].
pub const SUPPORTED: &str = "TensorRT 8.5–8.6, 10.0–10.16, 11.0–11.4 and TensorRT for RTX 1.5–1.7";

/// Which TensorRT a library is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version {
    /// 8, 10 or 11; 1 is TensorRT for RTX.
    pub major: i32,
    /// Minor.
    pub minor: i32,
    /// Patch.
    pub patch: i32,
    /// The fourth part; 8.x does not tell it.
    pub build: Option<i32>,
}

impl Version {
    /// The interface family, unless it is a version that was never compared.
    pub fn family(self) -> Result<Family, TensorRtError> {
        match (self.major, self.minor) {
            (8, 5..=6) => Ok(Family::V8),
            (10, 0..=16) => Ok(Family::V10),
            (11, 0..=4) => Ok(Family::V11),
            (1, 5..=7) => Ok(Family::Rtx),
            _ => Err(TensorRtError::Unsupported { version: self }),
        }
    }

    /// 8.6 brought builder levels and LayerNormalization.
    pub(super) fn before_8_6(self) -> bool {
        (self.major, self.minor) == (8, 5)
    }

    /// The number that the entry points take, as `NV_TENSORRT_VERSION` in the headers.
    fn number(self) -> i32 {
        let major = if self.major == 8 { 1_000 } else { 10_000 };
        self.major * major + self.minor * 100 + self.patch
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { major, minor, patch, build } = self;
        let name = if *major == 1 { "TensorRT for RTX" } else { "TensorRT" };
        write!(f, "{name} {major}.{minor}.{patch}")?;
        build.map_or(Ok(()), |build| write!(f, ".{build}"))
    }
}

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
        let family = version.family()?;
        let logger = Logger::lasting(family);
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

    /// A builder of plans.
    ///
    /// # Errors
    /// Whatever TensorRT refuses: without a GPU every family but RTX does.
    pub fn builder(&self) -> Result<Builder, TensorRtError> {
        self.create(c"createInferBuilder_INTERNAL", "createInferBuilder").map(Builder::new)
    }

    /// A runtime, which loads plans. Ask for a CUDA device before: some versions misbehave without one.
    ///
    /// # Errors
    /// Whatever TensorRT refuses.
    pub fn runtime(&self) -> Result<Runtime, TensorRtError> {
        self.create(c"createInferRuntime_INTERNAL", "createInferRuntime").map(Runtime::new)
    }

    fn create(&self, symbol: &'static std::ffi::CStr, call: &'static str) -> Result<Handle, TensorRtError> {
        let create = function::<Create>(&self.0.core, &self.0.path, symbol)?;
        self.said();
        // SAFETY: the version is a known one, whose entry points have this signature; the logger
        // lives until the process ends.
        let object = unsafe { create(self.0.logger.as_this(), self.0.version.number()) };
        if self.0.logger.heard("CUDA initialization failure") {
            return Err(self.refused(call));
        }
        Handle::new(self, call, object, None)
    }

    /// A parser that fills `network`.
    pub(super) fn parser(&self, network: &Arc<Handle>) -> Result<Handle, TensorRtError> {
        let path = parser_path(&self.0.path);
        let library = match self.0.parser.get() {
            Some(library) => library,
            None => {
                let loaded = load(&path)?;
                self.0.parser.get_or_init(|| loaded)
            }
        };
        let create = function::<CreateParser>(library, &path, c"createNvOnnxParser_INTERNAL")?;
        self.said();
        // SAFETY: as in `create`; the network is alive and is kept so by the parser's handle.
        let object = unsafe { create(network.object(), self.0.logger.as_this(), self.0.version.number()) };
        Handle::plain(self, "createNvOnnxParser", object, Arc::clone(network))
    }

    pub(super) fn slots(&self) -> &'static Slots {
        self.0.family.slots()
    }

    /// Takes what TensorRT complained about since the last time.
    pub(super) fn said(&self) -> Said {
        self.0.logger.said()
    }

    /// The error for `call`, which returned null, false or a negative number.
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
    symbol: &'static std::ffi::CStr,
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

    #[test]
    fn versions_that_were_never_compared_are_refused_by_name() {
        let refused = |major, minor| {
            let version = Version { major, minor, patch: 1, build: Some(9) };
            version.family().unwrap_err().to_string()
        };
        assert!(refused(8, 4).starts_with("TensorRT 8.4.1.9 is not supported"));
        assert!(refused(7, 1).contains("8.5–8.6, 10.0–10.16"));
        assert!(refused(12, 0).starts_with("TensorRT 12.0"));
        assert!(refused(1, 4).starts_with("TensorRT for RTX 1.4.1.9"));
    }
}
