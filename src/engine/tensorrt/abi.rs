//! The binary interface of TensorRT: which virtual-table slot each method has in each family of
//! versions, with which signature, and how shapes are laid out.
//!
//! The numbers were compared with pointer-to-member values compiled from headers (`tests/fake_tensorrt/headers.sh` does
//! that, and the same with the enumerators that are used, with any directory of them); which versions were is told with [`SUPPORTED`](super::version::SUPPORTED). Within a
//! major version TensorRT only appends methods, so one column serves a whole family.

use std::ffi::{c_char, c_void};
use std::marker::PhantomData;

use Split::{New, Old};

/// An object of TensorRT, as its methods take it.
pub(super) type This = *mut c_void;

/// Versions that share one binary interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// TensorRT 8.5 and 8.6: JetPack 5 and the first JetPack 6.
    V8,
    /// TensorRT 10: JetPack 6 and 7, and x86.
    V10,
    /// TensorRT 11: precision follows the types in the ONNX file.
    V11,
    /// TensorRT for RTX 1.5 to 1.7: the interface of 11 in its own library.
    Rtx,
}

impl Family {
    /// Whether the types in the ONNX file say how a plan computes; before, a flag lets half precision in.
    pub fn computes_in_types_of_the_file(self) -> bool {
        matches!(self, Self::V11 | Self::Rtx)
    }
}

/// One virtual method: where it stands in the table, and its signature `F`.
pub(super) struct Method<F> {
    slot: usize,
    signature: PhantomData<F>,
}

const fn at<F>(slot: usize) -> Method<F> {
    Method { slot, signature: PhantomData }
}

impl<F: Copy> Method<F> {
    /// The function that `object` has at this slot.
    ///
    /// # Safety
    /// `object` must point to a live C++ object whose first word is the virtual table that this
    /// slot number was written for.
    pub(super) unsafe fn of(&self, object: This) -> F {
        const { assert!(size_of::<F>() == size_of::<usize>()) }
        // SAFETY: the caller vouches for the object and its table; a slot holds a code address,
        // which is what the function pointer type `F` is (same size, checked above).
        unsafe {
            let table = *object.cast::<*const *const c_void>();
            std::mem::transmute_copy(&*table.add(self.slot))
        }
    }
}

/// The deleting destructor of every handle class.
pub(super) const DELETE: Method<unsafe extern "C" fn(This)> = at(1);

/// A method whose signature changed after 8.x.
pub(super) enum Split<O, N> {
    Old(Method<O>),
    New(Method<N>),
}

/// `nvinfer1::Dims`: up to eight extents, 32 bits wide in 8.x and 64 bits since 10.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Dims<T> {
    count: i32,
    extents: [T; 8],
}

impl<T: Copy + Default + TryFrom<i64> + Into<i64>> Dims<T> {
    /// `None` for more than eight extents or one that the family cannot express.
    pub(super) fn new(shape: &[i64]) -> Option<Self> {
        let mut dims = Self { count: i32::try_from(shape.len()).ok()?, ..Self::default() };
        for (place, extent) in dims.extents.get_mut(..shape.len())?.iter_mut().zip(shape) {
            *place = T::try_from(*extent).ok()?;
        }
        Some(dims)
    }

    /// `None` if TensorRT marked the shape as unknown (a count of −1) or the count is no count.
    pub(super) fn shape(&self) -> Option<Vec<i64>> {
        let extents = self.extents.get(..usize::try_from(self.count).ok()?)?;
        Some(extents.iter().map(|extent| (*extent).into()).collect())
    }
}

macro_rules! signature {
    ($($argument:ty),* $(=> $result:ty)?) => { unsafe extern "C" fn(This, $($argument),*) $(-> $result)? };
}

macro_rules! table {
    ($($(#[$doc:meta])* $name:ident: $kind:ty = $v8:expr, $v10:expr, $v11:expr;)*) => {
        /// Where every method that is called here stands, for one family.
        pub(super) struct Slots { $($(#[$doc])* pub(super) $name: $kind,)* }
        static V8: Slots = Slots { $($name: $v8,)* };
        static V10: Slots = Slots { $($name: $v10,)* };
        static V11: Slots = Slots { $($name: $v11,)* };
    };
}

impl Family {
    /// The slot table of this family.
    pub(super) fn slots(self) -> &'static Slots {
        match self {
            Family::V8 => &V8,
            Family::V10 => &V10,
            Family::V11 | Family::Rtx => &V11,
        }
    }
}

/// A method of one signature in every family.
type M<F> = Method<F>;
/// A name of a tensor.
type Name = *const c_char;

table! {
    // name: signature = slot in 8.5–8.6, in 10.x, in 11.x and RTX

    // IRuntime
    deserialize: Split<signature![*const c_void, usize, This => This], signature![*const c_void, usize => This]>
        = Old(at(2)), New(at(3)), New(at(3));

    // ICudaEngine
    create_context: Split<signature![=> This], signature![i32 => This]>     = Old(at(11)), New(at(5)), New(at(5));
    profile_count: M<signature![=> i32]>                                    = at(22), at(10), at(8);
    create_inspector: M<signature![=> This]>                                = at(33), at(18), at(14);
    engine_shape: Split<signature![Name => Dims<i32>], signature![Name => Dims<i64>]>
        = Old(at(34)), New(at(19)), New(at(15));
    data_type: M<signature![Name => i32]>                                   = at(35), at(20), at(16);
    io_mode: M<signature![Name => i32]>                                     = at(38), at(23), at(19);
    profile_shape: Split<signature![Name, i32, i32 => Dims<i32>], signature![Name, i32, i32 => Dims<i64>]>
        = Old(at(44)), New(at(29)), New(at(25));
    tensor_count: M<signature![=> i32]>                                     = at(45), at(30), at(26);
    tensor_name: M<signature![i32 => Name]>                                 = at(46), at(31), at(27);

    // IEngineInspector
    engine_information: M<signature![i32 => *const c_char]>                 = at(5), at(6), at(6);

    // IExecutionContext
    set_input_shape: Split<signature![Name, *const Dims<i32> => bool], signature![Name, *const Dims<i64> => bool]>
        = Old(at(29)), New(at(21)), New(at(20));
    context_shape: Split<signature![Name => Dims<i32>], signature![Name => Dims<i64>]>
        = Old(at(30)), New(at(22)), New(at(21));
    set_address: M<signature![Name, *mut c_void => bool]>                   = at(32), at(24), at(23);
    infer_shapes: M<signature![i32, *mut Name => i32]>                      = at(35), at(28), at(27);
    enqueue: M<signature![*mut c_void => bool]>                             = at(44), at(37), at(36);

    // IBuilder
    create_config: M<signature![=> This]>                                   = at(9), at(7), at(5);
    create_network: M<signature![u32 => This]>                              = at(11), at(8), at(6);
    create_profile: M<signature![=> This]>                                  = at(12), at(9), at(7);
    build: M<signature![This, This => This]>                                = at(17), at(14), at(11);

    // IBuilderConfig
    clear_flag: M<signature![i32]>                                          = at(14), at(10), at(8);
    set_flag: M<signature![i32]>                                            = at(15), at(11), at(9);
    add_profile: M<signature![This => i32]>                                 = at(29), at(25), at(23);
    set_verbosity: M<signature![i32]>                                       = at(31), at(27), at(25);
    create_timing_cache: M<signature![*const c_void, usize => This]>        = at(44), at(40), at(29);
    set_timing_cache: M<signature![This, bool => bool]>                     = at(45), at(41), at(30);
    set_pool_limit: M<signature![i32, usize]>                               = at(47), at(43), at(32);
    /// Absent in 8.5.
    set_level: M<signature![i32]>                                           = at(51), at(47), at(36);
    /// TensorRT for RTX only, as the next.
    set_capability_count: Option<M<signature![i32 => bool]>>                = None, None, Some(at(55));
    set_capability: Option<M<signature![i32, i32 => bool]>>                 = None, None, Some(at(57));

    // INetworkDefinition
    layer_count: M<signature![=> i32]>                                      = at(17), at(12), at(12);
    layer: M<signature![i32 => This]>                                       = at(18), at(13), at(13);
    input_count: M<signature![=> i32]>                                      = at(19), at(14), at(14);
    input: M<signature![i32 => This]>                                       = at(20), at(15), at(15);
    output_count: M<signature![=> i32]>                                     = at(21), at(16), at(16);
    output: M<signature![i32 => This]>                                      = at(22), at(17), at(17);

    // ILayer: the last two are gone from 11 on, where the ONNX types decide
    layer_kind: M<signature![=> i32]>                                       = at(2), at(2), at(2);
    layer_input_count: M<signature![=> i32]>                                = at(5), at(5), at(5);
    layer_input: M<signature![i32 => This]>                                 = at(6), at(6), at(6);
    layer_output_count: M<signature![=> i32]>                               = at(7), at(7), at(7);
    layer_output: M<signature![i32 => This]>                                = at(8), at(8), at(8);
    set_layer_precision: Option<M<signature![i32]>>                         = Some(at(10)), Some(at(10)), None;
    set_layer_output: Option<M<signature![i32, i32]>>                       = Some(at(14)), Some(at(14)), None;

    // ITensor
    name: M<signature![=> *const c_char]>                                   = at(3), at(3), at(3);
    dimensions: Split<signature![=> Dims<i32>], signature![=> Dims<i64>]>   = Old(at(5)), New(at(5)), New(at(5));
    element: M<signature![=> i32]>                                          = at(7), at(7), at(6);

    // IOptimizationProfile: the shape goes by value in 8.x, by reference since
    set_dimensions: Split<signature![Name, i32, Dims<i32> => bool], signature![Name, i32, *const Dims<i64> => bool]>
        = Old(at(2)), New(at(2)), New(at(2));

    // ITimingCache, IHostMemory
    serialize_cache: M<signature![=> This]>                                 = at(2), at(2), at(2);
    data: M<signature![=> *const c_void]>                                   = at(2), at(2), at(2);
    size: M<signature![=> usize]>                                           = at(3), at(3), at(3);

    // nvonnxparser::IParser and IParserError: plain virtual classes
    parse: M<signature![*const c_void, usize, *const c_char => bool]>       = at(0), at(0), at(0);
    error_count: M<signature![=> i32]>                                      = at(6), at(5), at(3);
    error: M<signature![i32 => This]>                                       = at(7), at(6), at(4);
    delete_parser: M<signature![]>                                          = at(10), at(9), at(7);
    description: M<signature![=> *const c_char]>                            = at(1), at(1), at(1);
    node: M<signature![=> i32]>                                             = at(5), at(5), at(5);
}

/// What one number of a tensor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Element {
    Float32,
    Float16,
    Int8,
    Int32,
    Bool,
    UInt8,
    /// A type that this crate never uses, with TensorRT's number for it.
    Other(i32),
}

impl Element {
    pub(super) fn from_raw(raw: i32) -> Self {
        match raw {
            0 => Self::Float32,
            1 => Self::Float16,
            2 => Self::Int8,
            3 => Self::Int32,
            4 => Self::Bool,
            5 => Self::UInt8,
            other => Self::Other(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dims_have_the_layout_of_the_headers() {
        assert_eq!(size_of::<Dims<i32>>(), 36);
        assert_eq!(size_of::<Dims<i64>>(), 72);
        assert_eq!(std::mem::offset_of!(Dims<i64>, extents), 8);
    }

    #[test]
    fn shapes_that_cannot_be_expressed_are_refused() {
        assert_eq!(Dims::<i32>::new(&[1, 3, -1]).unwrap().shape().unwrap(), [1, 3, -1]);
        assert!(Dims::<i32>::new(&[1 << 40]).is_none());
        assert!(Dims::<i64>::new(&[1 << 40]).is_some());
        assert!(Dims::<i64>::new(&[1; 9]).is_none());
        for count in [-1, 9, i32::MAX, i32::MIN] {
            assert!(Dims::<i64> { count, extents: [1; 8] }.shape().is_none());
        }
    }
}
