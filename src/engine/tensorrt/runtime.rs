//! Running a plan: runtime, engine, execution context.

use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::Arc;

use super::abi::{Dims, Element, Slots, Split, This};
use super::error::TensorRtError;
use super::handle::{Handle, text};
use super::library::Library;
use super::network::{Direction, Range, TensorInfo};

/// A serialised engine. It is code that will run, so one comes only from a [`Builder`](super::Builder)
/// of this process or from a file whose SHA-256 its sidecar vouches for.
pub struct Plan(Vec<u8>);

impl Plan {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// What to write to a file.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Loads plans.
pub struct Runtime {
    handle: Arc<Handle>,
}

impl Library {
    /// A runtime, which loads plans. Ask for a CUDA device before: some versions misbehave without one.
    ///
    /// # Errors
    /// Whatever TensorRT refuses.
    pub fn runtime(&self) -> Result<Runtime, TensorRtError> {
        let handle = Handle::made(self, c"createInferRuntime_INTERNAL", "createInferRuntime")?;
        Ok(Runtime { handle: Arc::new(handle) })
    }
}

impl Runtime {
    /// Loads a plan onto the current CUDA device.
    ///
    /// # Errors
    /// If TensorRT refuses: another version, another GPU, too little memory.
    pub fn deserialize(&mut self, plan: &Plan) -> Result<CudaEngine, TensorRtError> {
        let target = self.handle.target();
        let (data, size) = (plan.0.as_ptr().cast::<c_void>(), plan.0.len());
        self.handle.library().begin_making();
        // SAFETY: the runtime is alive; the buffer is `size` long and is read during the call; its
        // origin is vouched for by the type.
        let engine = unsafe {
            match &self.handle.slots().deserialize {
                Split::Old(method) => method.of(target)(target, data, size, std::ptr::null_mut()),
                Split::New(method) => method.of(target)(target, data, size),
            }
        };
        own(&self.handle, "IRuntime::deserializeCudaEngine", engine)
            .map(|handle| CudaEngine { handle: Arc::new(handle) })
    }
}

/// A loaded plan, `ICudaEngine`.
pub struct CudaEngine {
    handle: Arc<Handle>,
}

impl CudaEngine {
    /// Inputs and outputs in the plan's order.
    ///
    /// # Errors
    /// If TensorRT answers with something that is no tensor.
    pub fn tensors(&self) -> Result<Vec<TensorInfo>, TensorRtError> {
        let target = self.handle.target();
        // SAFETY: the engine is alive.
        let count = unsafe { self.slots().tensor_count.of(target)(target) };
        (0..count).map(|index| self.tensor(index)).collect()
    }

    fn tensor(&self, index: i32) -> Result<TensorInfo, TensorRtError> {
        const NAME: &str = "ICudaEngine::getIOTensorName";
        let (slots, target, library) = (self.slots(), self.handle.target(), self.handle.library());
        // SAFETY: the engine is alive and the name it gives belongs to it.
        let name = unsafe { text(library, NAME, slots.tensor_name.of(target)(target, index)) }?;
        let name = CString::new(name).map_err(|_| library.refused(NAME))?;
        // SAFETY: the engine is alive and the name ends in NUL.
        let (mode, element) = unsafe {
            (
                slots.io_mode.of(target)(target, name.as_ptr()),
                slots.data_type.of(target)(target, name.as_ptr()),
            )
        };
        let direction = match mode {
            1 => Direction::Input,
            2 => Direction::Output,
            _ => return Err(library.refused("ICudaEngine::getTensorIOMode")),
        };
        let shape = self
            .ask_shape(&slots.engine_shape, &name)
            .ok_or_else(|| library.refused("ICudaEngine::getTensorShape"))?;
        Ok(TensorInfo { name, direction, element: Element::from_raw(element), shape })
    }

    fn ask_shape(&self, method: &ShapeMethod, name: &CStr) -> Option<Vec<i64>> {
        // SAFETY: the engine is alive, the method is one of its own, and the name ends in NUL.
        unsafe { shape(method, self.handle.target(), name) }
    }

    /// How many optimisation profiles the plan has.
    pub fn profiles(&self) -> usize {
        let target = self.handle.target();
        // SAFETY: the engine is alive.
        let count = unsafe { self.slots().profile_count.of(target)(target) };
        usize::try_from(count).unwrap_or(0)
    }

    /// The shapes that `input` may have in a profile.
    ///
    /// # Errors
    /// If there is no such input or profile.
    pub fn range(&self, input: &CStr, profile: i32) -> Result<Range, TensorRtError> {
        let [min, opt, max] = [0, 1, 2].map(|selector| self.profile_shape(input, profile, selector));
        Ok(Range { input: input.to_string_lossy().into_owned(), min: min?, opt: opt?, max: max? })
    }

    fn profile_shape(&self, input: &CStr, profile: i32, selector: i32) -> Result<Vec<i64>, TensorRtError> {
        let target = self.handle.target();
        // SAFETY: the engine is alive and the name ends in NUL.
        let shape = unsafe {
            match &self.slots().profile_shape {
                Split::Old(method) => method.of(target)(target, input.as_ptr(), profile, selector).shape(),
                Split::New(method) => method.of(target)(target, input.as_ptr(), profile, selector).shape(),
            }
        };
        shape.ok_or_else(|| self.handle.library().refused("ICudaEngine::getProfileShape"))
    }

    /// The engine's layers with their precisions, as TensorRT's inspector writes them in JSON.
    ///
    /// # Errors
    /// If TensorRT refuses.
    pub fn information(&self) -> Result<String, TensorRtError> {
        const JSON: i32 = 1;
        const CALL: &str = "IEngineInspector::getEngineInformation";
        let target = self.handle.target();
        // SAFETY: the engine is alive.
        let inspector = unsafe { self.slots().create_inspector.of(target)(target) };
        let inspector = own(&self.handle, "ICudaEngine::createEngineInspector", inspector)?;
        let (method, target) = (&self.slots().engine_information, inspector.target());
        // SAFETY: the inspector is alive and owns the text.
        unsafe { text(self.handle.library(), CALL, method.of(target)(target, JSON)) }
    }

    /// A context to run the engine in, with scratch memory of its own.
    ///
    /// # Errors
    /// If TensorRT refuses, for lack of memory for example.
    pub fn context(&mut self) -> Result<Context, TensorRtError> {
        const OWN_MEMORY: i32 = 0;
        let target = self.handle.target();
        self.handle.library().begin_making();
        // SAFETY: the engine is alive.
        let context = unsafe {
            match &self.slots().create_context {
                Split::Old(method) => method.of(target)(target),
                Split::New(method) => method.of(target)(target, OWN_MEMORY),
            }
        };
        own(&self.handle, "ICudaEngine::createExecutionContext", context).map(|handle| Context { handle })
    }

    fn slots(&self) -> &'static Slots {
        self.handle.slots()
    }
}

/// One place to run an engine in. Several may exist; each serves one stream at a time.
pub struct Context {
    handle: Handle,
}

impl Context {
    /// Sets the shape of an input for the next run.
    ///
    /// # Errors
    /// If the shape is outside the profile.
    pub fn set_input_shape(&mut self, input: &CStr, shape: &[i64]) -> Result<(), TensorRtError> {
        let target = self.handle.target();
        let impossible = || TensorRtError::Tensor {
            tensor: input.to_string_lossy().into_owned(),
            reason: format!("{shape:?} is no shape: expected at most 8 extents"),
        };
        self.handle.library().begin();
        // SAFETY: the context is alive, the name ends in NUL, and the shape outlives the call.
        let accepted = unsafe {
            match &self.slots().set_input_shape {
                Split::Old(method) => {
                    let dims = Dims::<i32>::new(shape).ok_or_else(impossible)?;
                    method.of(target)(target, input.as_ptr(), &dims)
                }
                Split::New(method) => {
                    let dims = Dims::<i64>::new(shape).ok_or_else(impossible)?;
                    method.of(target)(target, input.as_ptr(), &dims)
                }
            }
        };
        self.handle.library().accepted("IExecutionContext::setInputShape", accepted)
    }

    /// Works out the shapes of the outputs from those of the inputs.
    ///
    /// # Errors
    /// [`TensorRtError::Tensor`] names the first input without a shape.
    pub fn infer_shapes(&mut self) -> Result<(), TensorRtError> {
        const CALL: &str = "IExecutionContext::inferShapes";
        let (library, target) = (self.handle.library(), self.handle.target());
        let mut missing: *const c_char = std::ptr::null();
        library.begin();
        // SAFETY: the context is alive and writes at most one name.
        let count = unsafe { self.slots().infer_shapes.of(target)(target, 1, &mut missing) };
        match count {
            0 => Ok(()),
            1.. => Err(TensorRtError::Tensor {
                // SAFETY: the name was written, and belongs to the engine.
                tensor: unsafe { text(library, CALL, missing) }?,
                reason: "has no shape yet; expected one within the plan's profile".to_owned(),
            }),
            _ => Err(library.refused(CALL)),
        }
    }

    /// The shape of a tensor as things stand.
    ///
    /// # Errors
    /// If there is no such tensor or its shape is still open.
    pub fn shape(&self, tensor: &CStr) -> Result<Vec<i64>, TensorRtError> {
        self.handle.library().begin();
        // SAFETY: the context is alive, the method is one of its own, and the name ends in NUL.
        let shape = unsafe { shape(&self.slots().context_shape, self.handle.target(), tensor) };
        shape
            .filter(|shape| shape.iter().all(|extent| *extent >= 0))
            .ok_or_else(|| self.handle.library().refused("IExecutionContext::getTensorShape"))
    }

    /// Tells where on the device a tensor lies.
    ///
    /// # Errors
    /// If there is no such tensor.
    ///
    /// # Safety
    /// `address` must be device memory, large enough for the tensor's largest shape, and must stay
    /// allocated until every run that was enqueued afterwards is over.
    pub unsafe fn set_address(&mut self, tensor: &CStr, address: u64) -> Result<(), TensorRtError> {
        let target = self.handle.target();
        let address = address as *mut c_void;
        self.handle.library().begin();
        // SAFETY: the context is alive and the name ends in NUL; the caller vouches for the memory.
        let accepted = unsafe { self.slots().set_address.of(target)(target, tensor.as_ptr(), address) };
        self.handle.library().accepted("IExecutionContext::setTensorAddress", accepted)
    }

    /// Starts a run on `stream` and returns at once (`enqueueV3`).
    ///
    /// # Errors
    /// If TensorRT refuses; a fault of the GPU shows only when the stream is awaited.
    ///
    /// # Safety
    /// `stream` must be a live `CUstream` of the engine's device. Every tensor must have an address,
    /// and this context must outlive the run.
    pub unsafe fn enqueue(&mut self, stream: *mut c_void) -> Result<(), TensorRtError> {
        let target = self.handle.target();
        self.handle.library().begin();
        // SAFETY: the context is alive; the caller vouches for stream and addresses.
        let accepted = unsafe { self.slots().enqueue.of(target)(target, stream) };
        self.handle.library().accepted("IExecutionContext::enqueueV3", accepted)
    }

    fn slots(&self) -> &'static Slots {
        self.handle.slots()
    }
}

type Narrow = unsafe extern "C" fn(This, *const c_char) -> Dims<i32>;
type Wide = unsafe extern "C" fn(This, *const c_char) -> Dims<i64>;
type ShapeMethod = Split<Narrow, Wide>;

/// Asks `target` for the shape of a tensor; `None` if it has none.
///
/// # Safety
/// `target` must be alive and `method` one of its own.
unsafe fn shape(method: &ShapeMethod, target: This, name: &CStr) -> Option<Vec<i64>> {
    // SAFETY: as the caller vouches; the name ends in NUL.
    unsafe {
        match method {
            Split::Old(method) => method.of(target)(target, name.as_ptr()).shape(),
            Split::New(method) => method.of(target)(target, name.as_ptr()).shape(),
        }
    }
}

fn own(maker: &Arc<Handle>, call: &'static str, object: This) -> Result<Handle, TensorRtError> {
    Handle::new(maker.library(), call, object, Some(Arc::clone(maker)))
}
