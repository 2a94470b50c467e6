//! What can go wrong between this crate and TensorRT, in words.

use std::fmt;
use std::path::{Path, PathBuf};

/// A failure of the TensorRT binding.
#[derive(Debug, thiserror::Error)]
pub enum TensorRtError {
    /// No library of any supported name is on this machine.
    #[error(
        "no TensorRT on this machine (looked for {}): install JetPack's or NVIDIA's TensorRT runtime, or name its \
         file libnvinfer.so.* in the environment variable TVSL_TENSORRT",
        looked.join(", ")
    )]
    NotFound {
        /// Files and names that were tried, in order.
        looked: Vec<String>,
    },
    /// A library is there but does not load.
    #[error(
        "{} does not load: {reason}. Cure: install it again with all that it needs, or name another file in the environment \
         variable TVSL_TENSORRT", library.display()
    )]
    Load {
        /// The file, or the name given to the system loader.
        library: PathBuf,
        /// The loader's words.
        reason: String,
    },
    /// The library loads but is something else.
    #[error(
        "{} has no function {symbol}: it is not the library its name says. Cure: install TensorRT again, or name its file in the \
         environment variable TVSL_TENSORRT", library.display()
    )]
    Symbol {
        /// The file.
        library: PathBuf,
        /// The entry point that is missing.
        symbol: &'static str,
    },
    /// The version's binary interface is not known here, so no method may be called.
    #[error(
        "{version} is not supported; this build knows {}. Cure: install one of these (on a Jetson with its JetPack), or name its \
         file in the environment variable TVSL_TENSORRT",
        super::version::SUPPORTED
    )]
    Unsupported {
        /// The version found.
        version: super::version::Version,
    },
    /// A call returned null, false or a negative number.
    #[error("{call} failed{said}")]
    Refused {
        /// The method, as TensorRT's documentation writes it.
        call: &'static str,
        /// What TensorRT logged meanwhile.
        said: Said,
    },
    /// A call returned an address at which no object can be, as some versions do without a GPU.
    #[error("{call} returned the impossible address {address:#x}{said}")]
    BadPointer {
        /// The method.
        call: &'static str,
        /// What it returned.
        address: usize,
        /// What TensorRT logged meanwhile.
        said: Said,
    },
    /// The ONNX file was not accepted.
    #[error("{}: TensorRT's parser refused it: {}{said}", file.display(), errors.join("; "))]
    Onnx {
        /// The ONNX file.
        file: PathBuf,
        /// One entry per error, naming operator and node where the parser does.
        errors: Vec<String>,
        /// What TensorRT logged meanwhile.
        said: Said,
    },
    /// A file could not be read or written.
    #[error("{}: {reason}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The system's words.
        reason: std::io::Error,
    },
    /// No driver of NVIDIA's, so TensorRT cannot be used at all.
    #[error("no NVIDIA GPU can be used here: libcuda.so, NVIDIA's driver, is not installed")]
    NoDriver,
    /// The driver has no device to give.
    #[error("no NVIDIA GPU can be used here: {reason}")]
    NoDevice {
        /// The driver's words.
        reason: String,
    },
    /// The memory of the GPU is full.
    #[error(
        "the GPU's memory ran out while {doing}; end other programs that use the GPU, or take a model with smaller graphs"
    )]
    Memory {
        /// What was under way.
        doing: &'static str,
    },
    /// The CUDA driver refused.
    #[error("the GPU failed while {doing}: {reason}")]
    Cuda {
        /// What was under way.
        doing: &'static str,
        /// The driver's words.
        reason: String,
    },
    /// The plan may not be used.
    #[error(transparent)]
    Plan(#[from] super::target::PlanFault),
    /// A tensor has another shape or element type than this crate can use.
    #[error("tensor \"{tensor}\": {reason}")]
    Tensor {
        /// The tensor's name.
        tensor: String,
        /// What is wrong and what was expected.
        reason: String,
    },
}

impl TensorRtError {
    /// What is wrong with the plan of `onnx`, in words that name a file.
    pub fn of_plan(&self, onnx: &Path) -> String {
        match self {
            Self::Refused { .. }
            | Self::BadPointer { .. }
            | Self::Memory { .. }
            | Self::Cuda { .. }
            | Self::Tensor { .. } => format!("the plan of {}: {self}", onnx.display()),
            _ => self.to_string(),
        }
    }

    /// What helps whoever wants a GPU that cannot be had at all.
    pub fn cure(&self) -> Option<&'static str> {
        match self {
            Self::NoDriver => Some(
                "install it (on a Jetson `apt-get install nvidia-jetpack`), or set engine.kind = \"cpu\"",
            ),
            Self::NoDevice { .. } => Some(
                "see that its driver is loaded, that this user may use it (on a Jetson the groups video and render do) and that \
                 a container was given it, or set engine.kind = \"cpu\"",
            ),
            _ => None,
        }
    }

    /// The same as its last words.
    pub fn with_cure(&self) -> String {
        self.cure().map_or_else(|| self.to_string(), |cure| format!("{self}. Cure: {cure}"))
    }

    /// Whether the plan is good and was only built with other settings.
    pub fn of_settings(&self) -> bool {
        matches!(self, Self::Plan(super::target::PlanFault::Settings { .. }))
    }

    /// Whether building the plan again may help.
    pub fn cured_by_building(&self) -> bool {
        matches!(self, Self::Plan(_) | Self::Refused { call: "IRuntime::deserializeCudaEngine", .. })
    }

    /// Whether the GPU failed during a run: in CUDA no later call of the process will succeed, or none for want of memory.
    pub fn lost(&self) -> bool {
        matches!(
            self,
            Self::Cuda { .. }
                | Self::Memory { .. }
                | Self::Refused { call: "IExecutionContext::enqueueV3", .. }
        )
    }

    /// Whether it may be over without anybody's doing: a driver that is still loading, memory that others hold.
    pub fn passing(&self) -> bool {
        matches!(self, Self::NoDevice { .. } | Self::Cuda { .. }) || self.out_of_memory()
    }

    /// Whether an input has a shape that the plan was not built for.
    pub fn outside_profile(&self) -> bool {
        matches!(self, Self::Refused { call: "IExecutionContext::setInputShape", .. })
    }

    /// Whether the builder found no way to compute a network as it was asked to. Where it passed over some for want of memory,
    /// as it only warns of, that may be why, and another time there may be more.
    pub fn unbuildable(&self) -> bool {
        let Self::Refused { call: "IBuilder::buildSerializedNetwork", said } = self else { return false };
        let of_memory = |complaint: &Complaint| {
            let message = complaint.message.to_lowercase();
            (message.contains("memory") && message.contains("insuf")) || lacks_memory(&message)
        };
        !said.0.iter().any(of_memory)
    }

    /// Whether memory ran out, so that asking for less may help. Only errors tell: the builder warns of every kernel that
    /// it passes over for want of memory.
    pub fn out_of_memory(&self) -> bool {
        match self {
            Self::Memory { .. } => true,
            Self::Refused { said, .. } | Self::BadPointer { said, .. } | Self::Onnx { said, .. } => {
                said.errors().any(lacks_memory)
            }
            _ => false,
        }
    }
}

fn lacks_memory(message: &str) -> bool {
    let message = message.to_lowercase();
    ["outofmemory", "out of memory", "insufficient memory", "alloc_failed"]
        .iter()
        .any(|words| message.contains(words))
}

/// One message that TensorRT logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// Whether it is an error, not a warning.
    pub error: bool,
    /// TensorRT's words.
    pub message: String,
}

/// The warnings and errors that TensorRT logged during a call; printed as the tail of a sentence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said(pub Vec<Complaint>);

impl Said {
    /// The errors among them.
    fn errors(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|complaint| complaint.error).map(|complaint| complaint.message.as_str())
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(" (TensorRT logged no reason)");
        }
        let messages: Vec<_> = self.0.iter().map(|complaint| complaint.message.as_str()).collect();
        write!(f, "; TensorRT said: {}", messages.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_ran_out_if_an_error_says_so_and_nothing_else_does() {
        let complaint = |error, message: &str| Complaint { error, message: message.to_owned() };
        let lacking = complaint(true, "Error Code 2: OutOfMemory (no further information)");
        let skipped =
            complaint(false, "Skipping tactic 0x2 due to insufficient memory on requested size of 9");
        let other = complaint(true, "Could not find any implementation for node conv");
        let failed = |said: &[&Complaint]| {
            let said = Said(said.iter().copied().cloned().collect());
            TensorRtError::Refused { call: "IBuilder::buildSerializedNetwork", said }
        };
        let refused = |said: &[&Complaint]| failed(said).out_of_memory();
        assert!(refused(&[&skipped, &lacking]) && refused(&[&lacking, &other]));
        for library in ["Cudnn Error: CUDNN_STATUS_ALLOC_FAILED", "Cublas Error: CUBLAS_STATUS_ALLOC_FAILED"]
        {
            assert!(refused(&[&complaint(true, library)]), "{library}");
        }
        assert!(!refused(&[]) && !refused(&[&skipped, &other]));
        let unbuildable = |said: &[&Complaint]| failed(said).unbuildable();
        let tactic = complaint(false, "Device memory is insufficient to use tactic.");
        let old = complaint(false, "Some tactics do not have sufficient workspace memory to run.");
        assert!(unbuildable(&[&other]) && unbuildable(&[&old, &other]));
        assert!([&lacking, &skipped, &tactic].iter().all(|memory| !unbuildable(&[memory, &other])));
        let errors = vec!["node \"insufficient memory\"".to_owned()];
        let onnx = TensorRtError::Onnx { file: "out of memory.onnx".into(), errors, said: Said::default() };
        assert!(!onnx.out_of_memory(), "that is only a name");
    }
}
