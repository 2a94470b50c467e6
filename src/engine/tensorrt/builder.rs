//! Compiling a network into a plan for the GPU at hand.

use std::ffi::CString;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::abi::{Dims, Family, Slots, Split, This};
use super::error::TensorRtError;
use super::handle::{Handle, checked, implementation, present};
use super::library::Library;
use super::network::{Network, Range};
use super::runtime::Plan;
use super::single;
use crate::config::Precision;

/// What a plan is built for. Part of the sidecar: a plan with other options is another plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildOptions {
    /// Half or single precision. Half is used wherever it is faster, except in sums, norms, exponentials and
    /// softmax, which stay single; its numbers end at 65 504, which is nothing for power spectra. Single switches
    /// TF32 off. From 11 on and with RTX the types in the ONNX file decide instead.
    pub precision: Precision,
    /// Most scratch memory that a layer may use, in MiB.
    pub workspace_mib: usize,
    /// How hard to look for faster kernels, 0–5; 8.5 has no such choice.
    pub level: u8,
    /// RTX only: the compute capability to build for (86 for 8.6) instead of the GPU at hand.
    pub capability: Option<u8>,
    /// One range for every input that has an open extent.
    pub ranges: Vec<Range>,
}

/// What a build yields.
pub struct Built {
    /// The plan.
    pub plan: Plan,
    /// Kernel timings that make the next build on this device faster.
    pub timing_cache: Vec<u8>,
}

/// A compiler of networks.
pub struct Builder {
    handle: Arc<Handle>,
}

impl Library {
    /// A builder of plans.
    ///
    /// # Errors
    /// Whatever TensorRT refuses: without a GPU every family but RTX does.
    pub fn builder(&self) -> Result<Builder, TensorRtError> {
        let handle = Handle::made(self, c"createInferBuilder_INTERNAL", "createInferBuilder")?;
        Ok(Builder { handle: Arc::new(handle) })
    }
}

impl Builder {
    /// An empty network.
    ///
    /// # Errors
    /// If TensorRT refuses.
    pub fn network(&mut self) -> Result<Network, TensorRtError> {
        let explicit_batch = match self.family() {
            Family::V8 | Family::V10 => 1,
            Family::V11 | Family::Rtx => 0,
        };
        let target = self.handle.target();
        // SAFETY: the builder is alive.
        let network = unsafe { self.slots().create_network.of(target)(target, explicit_batch) };
        self.own("IBuilder::createNetworkV2", network).map(Network::new)
    }

    /// Compiles `network`. `timing_cache` is that of an earlier build, or empty; one of another
    /// version or GPU is ignored. This takes seconds to minutes.
    ///
    /// # Errors
    /// [`TensorRtError::Tensor`] for a range that is impossible, otherwise what TensorRT refused and
    /// what it logged.
    pub fn build(
        &mut self,
        network: &mut Network,
        options: &BuildOptions,
        timing_cache: &[u8],
    ) -> Result<Built, TensorRtError> {
        self.handle.library().begin_making();
        let target = self.handle.target();
        // SAFETY: the builder is alive.
        let config = unsafe { self.slots().create_config.of(target)(target) };
        let config = self.own("IBuilder::createBuilderConfig", config)?;
        self.configure(&config, options)?;
        if options.precision == Precision::Fp16 {
            single::pin(network.handle(), &config)?;
        }
        if !options.ranges.is_empty() {
            self.add_profile(&config, &options.ranges)?;
        }
        // Declared after the config, the cache would be freed before it; so it takes its place here.
        let cache = self.attach_cache(&config, timing_cache)?;
        let attached = (config, cache);
        // SAFETY: builder, network and config are alive, and so is the cache that the config refers to.
        let memory =
            unsafe { self.slots().build.of(target)(target, network.handle().object(), attached.0.object()) };
        let memory = self.own("IBuilder::buildSerializedNetwork", memory)?;
        Ok(Built { plan: Plan::new(self.bytes(&memory)?), timing_cache: self.serialized(&attached.1)? })
    }

    fn configure(&self, config: &Handle, options: &BuildOptions) -> Result<(), TensorRtError> {
        const WORKSPACE: i32 = 0;
        const DETAILED: i32 = 2;
        const FP16: i32 = 0;
        let tf32 = if self.family() == Family::V8 { 7 } else { 6 };
        let half_by_flag = !self.family().computes_in_types_of_the_file();
        let (slots, target) = (self.slots(), config.target());
        // SAFETY: the config is alive; the flags are those of this family; `set_level` is called
        // only where it exists.
        unsafe {
            slots.set_pool_limit.of(target)(target, WORKSPACE, options.workspace_mib << 20);
            slots.set_verbosity.of(target)(target, DETAILED);
            match options.precision {
                Precision::Fp16 if half_by_flag => slots.set_flag.of(target)(target, FP16),
                Precision::Fp16 => {}
                Precision::Fp32 => slots.clear_flag.of(target)(target, tf32),
            }
            if !self.handle.library().version().before_8_6() {
                slots.set_level.of(target)(target, options.level.into());
            }
        }
        self.target_capability(target, options.capability)
    }

    fn target_capability(&self, config: This, capability: Option<u8>) -> Result<(), TensorRtError> {
        let Some(capability) = capability.filter(|_| self.family() == Family::Rtx) else { return Ok(()) };
        let (Some(count), Some(set)) = (&self.slots().set_capability_count, &self.slots().set_capability)
        else {
            return Ok(());
        };
        let library = self.handle.library();
        // SAFETY: the config is alive, and the family was checked to have these methods.
        let counted = unsafe { count.of(config)(config, 1) };
        library.accepted("IBuilderConfig::setNbComputeCapabilities", counted)?;
        // SAFETY: as above; there is room for one capability.
        let accepted = unsafe { set.of(config)(config, capability.into(), 0) };
        library.accepted("IBuilderConfig::setComputeCapability", accepted)
    }

    fn add_profile(&self, config: &Handle, ranges: &[Range]) -> Result<(), TensorRtError> {
        const CALL: &str = "IBuilder::createOptimizationProfile";
        let (library, slots, builder) = (self.handle.library(), self.slots(), self.handle.target());
        // SAFETY: the builder is alive; it keeps and frees the profile.
        let object = checked(library, CALL, unsafe { slots.create_profile.of(builder)(builder) })?;
        let profile = implementation(library, CALL, object)?;
        for range in ranges {
            for (selector, shape) in [(0, &range.min), (1, &range.opt), (2, &range.max)] {
                self.set_dimensions(profile, &range.input, selector, shape)?;
            }
        }
        // SAFETY: the config and the profile are alive.
        let index = unsafe { slots.add_profile.of(config.target())(config.target(), object) };
        library.accepted("IBuilderConfig::addOptimizationProfile", index >= 0)
    }

    fn set_dimensions(
        &self,
        profile: This,
        input: &str,
        selector: i32,
        shape: &[i64],
    ) -> Result<(), TensorRtError> {
        let impossible = || TensorRtError::Tensor {
            tensor: input.to_owned(),
            reason: format!("{shape:?} is no shape: expected at most 8 extents"),
        };
        let name = CString::new(input).map_err(|_| impossible())?;
        // SAFETY: the profile is alive, the name ends in NUL, and the shape outlives the call.
        let accepted = unsafe {
            match &self.slots().set_dimensions {
                Split::Old(method) => {
                    let dims = Dims::<i32>::new(shape).ok_or_else(impossible)?;
                    method.of(profile)(profile, name.as_ptr(), selector, dims)
                }
                Split::New(method) => {
                    let dims = Dims::<i64>::new(shape).ok_or_else(impossible)?;
                    method.of(profile)(profile, name.as_ptr(), selector, &dims)
                }
            }
        };
        self.handle.library().accepted("IOptimizationProfile::setDimensions", accepted)
    }

    fn attach_cache(&self, config: &Handle, bytes: &[u8]) -> Result<Handle, TensorRtError> {
        let (slots, target) = (self.slots(), config.target());
        let create = |bytes: &[u8]| {
            // SAFETY: the config is alive and the buffer is `bytes.len()` long, read during the call.
            let cache =
                unsafe { slots.create_timing_cache.of(target)(target, bytes.as_ptr().cast(), bytes.len()) };
            self.own("IBuilderConfig::createTimingCache", cache)
        };
        let attach = |cache: &Handle| {
            // SAFETY: both are alive, and the caller keeps the cache as long as the config is used.
            unsafe { slots.set_timing_cache.of(target)(target, cache.object(), false) }
        };
        if let Ok(kept) = create(bytes)
            && attach(&kept)
        {
            return Ok(kept);
        }
        tracing::warn!("the timing cache is of another TensorRT or GPU, or damaged; starting a new one");
        let fresh = create(&[])?;
        self.handle.library().accepted("IBuilderConfig::setTimingCache", attach(&fresh))?;
        Ok(fresh)
    }

    fn serialized(&self, cache: &Handle) -> Result<Vec<u8>, TensorRtError> {
        // SAFETY: the cache is alive.
        let memory = unsafe { self.slots().serialize_cache.of(cache.target())(cache.target()) };
        self.bytes(&self.own("ITimingCache::serialize", memory)?)
    }

    /// Copies an `IHostMemory`.
    fn bytes(&self, memory: &Handle) -> Result<Vec<u8>, TensorRtError> {
        let (slots, target) = (self.slots(), memory.target());
        // SAFETY: the memory is alive.
        let (data, size) = unsafe { (slots.data.of(target)(target), slots.size.of(target)(target)) };
        let library = self.handle.library();
        present(library, "IHostMemory::data", data)?;
        library.accepted("IHostMemory::size", (1..=isize::MAX as usize).contains(&size))?;
        // SAFETY: TensorRT vouches for `size` bytes at `data`, which live as long as the memory.
        Ok(unsafe { std::slice::from_raw_parts(data.cast::<u8>(), size) }.to_vec())
    }

    fn own(&self, call: &'static str, object: This) -> Result<Handle, TensorRtError> {
        Handle::new(self.handle.library(), call, object, Some(Arc::clone(&self.handle)))
    }

    fn slots(&self) -> &'static Slots {
        self.handle.slots()
    }

    fn family(&self) -> Family {
        self.handle.library().family()
    }
}
