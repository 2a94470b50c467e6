//! TensorRT without headers, without a C++ compiler and without linking: the library is loaded
//! while the program runs, and its C++ objects are called through their virtual tables.
//!
//! One binary thus serves JetPack 5 (TensorRT 8.5), 6 (8.6, 10.3, 10.7) and 7 (10.13), an
//! x86 GPU, and a machine without any NVIDIA software, where [`Library::find`] says so.
//!
//! ```no_run
//! use tvsl::engine::tensorrt::{BuildOptions, Library, Precision};
//! # fn main() -> Result<(), tvsl::engine::tensorrt::TensorRtError> {
//! let library = Library::find()?;
//! let mut builder = library.builder()?;
//! let mut network = builder.network()?;
//! network.parse_onnx("image.onnx".as_ref())?;
//! let precision = Precision::Fp16;
//! let options = BuildOptions { precision, workspace_mib: 1024, level: 3, capability: None, ranges: vec![] };
//! let built = builder.build(&mut network, &options, &[])?;
//! let mut engine = library.runtime()?.deserialize(&built.plan)?;
//! let context = engine.context()?;
//! # Ok(()) }
//! ```
//!
//! That much, down to `runtime`, is the binding: of this crate it needs the word for a precision, the bounded reading of a
//! file, and, for its one type of errors, what may be wrong with a plan on disk (`target`); it calls no CUDA. On it stand memory and streams (`cuda` to `slot`), plans on disk ([`plan`]), and what this program makes of them all:
//! a graph ([`crate::engine::Graph`]) and an engine ([`TensorRt`]).
//!
//! Everything `unsafe` of the crate stands in this folder, each block with its reason. An object is
//! deleted once, before what it was made from. No call is made into a version whose interface was
//! never compared with the slot table; what TensorRT refuses becomes an error that carries the
//! messages it logged.
//!
//! **What has run where.** The calls, their order and every failure run against a fake library with
//! the slots of each family (`tests/tensorrt_binding.rs`). The ONNX parser and the builder of the real
//! TensorRT for RTX 1.7.1 read and compiled the default model's graphs on a machine without a GPU
//! (`tests/tensorrt_rtx.rs`, opt-in). Loading and running a plan with a real `libnvinfer` on a GPU has
//! not been tried yet, nor has the CUDA half outside a fake driver (`tests/tensorrt_engine.rs`,
//! `tests/tensorrt_fast_path.rs`); the kernel was compiled and assembled by NVIDIA's tools (`make test-kernel`).
#![allow(unsafe_code, reason = "C++ objects are called through their virtual tables; it all stands here")]
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

mod abi;

mod version;

mod target;

mod error;

mod logger;

mod handle;

mod library;

pub mod onnx;

mod network;

mod single;

mod builder;

mod runtime;

mod stream;

mod kernel;

mod cuda;

mod memory;

mod lent;

mod staging;

mod slot;

mod sources;

pub mod plan;

mod shelf;

mod graph;

mod warm;

mod backend;

pub use crate::config::Precision;
pub use abi::{Element, Family};
pub use backend::TensorRt;
pub use builder::{BuildOptions, Builder, Built};
pub use cuda::Device;
pub use error::{Complaint, Said, TensorRtError};
pub use lent::Lent;
pub use library::Library;
pub use network::{Direction, Network, Range, TensorInfo};
pub use runtime::{Context, CudaEngine, Plan, Runtime};
pub use shelf::Shelf;
pub use sources::{Sources, manifest_sum};
pub use target::{Gpu, PlanFault, Settings};
pub use version::{SUPPORTED, Version};
