//! Ownership of TensorRT's objects: each is checked when it arrives, keeps alive what it was made
//! from, and is deleted once.

use std::ffi::{CStr, c_char, c_void};
use std::sync::Arc;

use super::abi::{DELETE, Slots, This};
use super::error::TensorRtError;
use super::library::Library;

/// Below this address Linux maps nothing (`vm.mmap_min_addr`), so nothing can be there.
const LOWEST: usize = 0x1_0000;

/// An object of TensorRT that this crate must delete.
///
/// Dropping it deletes the object first and lets go of its maker afterwards, so that a runtime
/// outlives its engines and an engine its contexts whatever the order in which a caller drops them.
pub(super) struct Handle {
    object: This,
    target: This,
    plain: bool,
    library: Library,
    /// What the object was made from, kept only to outlive it.
    _maker: Option<Arc<Handle>>,
}

// SAFETY: TensorRT's objects belong to no thread; it asks only that one object is not used by two
// threads at once.
unsafe impl Send for Handle {}
// SAFETY: a shared handle serves to keep its object alive, or sits in a type whose methods take
// `&mut self` for every call that changes the object; what `&self` allows is `const` in C++.
unsafe impl Sync for Handle {}

impl Handle {
    /// Takes over `object`, which `call` returned: a handle class, laid out as table and implementation.
    pub(super) fn new(
        library: &Library,
        call: &'static str,
        object: This,
        maker: Option<Arc<Handle>>,
    ) -> Result<Self, TensorRtError> {
        let object = checked(library, call, object)?;
        let target = implementation(library, call, object)?;
        Ok(Self { object, target, plain: false, library: library.clone(), _maker: maker })
    }

    /// Has the entry point `symbol` of the library make an object, and takes it over.
    pub(super) fn made(
        library: &Library,
        symbol: &'static CStr,
        call: &'static str,
    ) -> Result<Self, TensorRtError> {
        Self::new(library, call, library.create(symbol, call)?, None)
    }

    /// Takes over a parser, which is a plain virtual class without a separate implementation.
    pub(super) fn plain(
        library: &Library,
        call: &'static str,
        object: This,
        maker: Arc<Handle>,
    ) -> Result<Self, TensorRtError> {
        let object = checked(library, call, object)?;
        Ok(Self { object, target: object, plain: true, library: library.clone(), _maker: Some(maker) })
    }

    /// The handle itself, as other objects' methods take it.
    pub(super) fn object(&self) -> This {
        self.object
    }

    /// The object that has the methods.
    pub(super) fn target(&self) -> This {
        self.target
    }

    /// The library that made the object.
    pub(super) fn library(&self) -> &Library {
        &self.library
    }

    /// Where the object's methods stand.
    pub(super) fn slots(&self) -> &'static Slots {
        self.library.slots()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let delete = if self.plain { &self.slots().delete_parser } else { &DELETE };
        // SAFETY: the object was checked when it arrived, nothing else deletes it, and what it was
        // made from is still alive because `_maker` drops after this.
        unsafe { delete.of(self.object)(self.object) }
    }
}

/// An object of TensorRT, unless `object` is null or no address at all.
pub(super) fn checked(library: &Library, call: &'static str, object: This) -> Result<This, TensorRtError> {
    present(library, call, object)?;
    if (object as usize).is_multiple_of(align_of::<usize>()) {
        Ok(object)
    } else {
        Err(bad(library, call, object))
    }
}

/// That something can be at `pointer`, which `call` returned.
pub(super) fn present(
    library: &Library,
    call: &'static str,
    pointer: *const c_void,
) -> Result<(), TensorRtError> {
    match pointer as usize {
        0 => Err(TensorRtError::Refused { call, said: library.said_of_making() }),
        1..LOWEST => Err(bad(library, call, pointer)),
        _ => Ok(()),
    }
}

fn bad(library: &Library, call: &'static str, pointer: *const c_void) -> TensorRtError {
    TensorRtError::BadPointer { call, address: pointer as usize, said: library.said_of_making() }
}

/// The implementation behind a handle that passed [`checked`].
pub(super) fn implementation(
    library: &Library,
    call: &'static str,
    object: This,
) -> Result<This, TensorRtError> {
    // SAFETY: every handle class is two words, its table and its implementation.
    let target = unsafe { *object.cast::<*mut c_void>().add(1) };
    checked(library, call, target)
}

/// A string that `call` returned and TensorRT owns, copied.
///
/// # Safety
/// Unless it is null or below every address that can be, `text` points to a string that ends in NUL and lives for this call.
pub(super) unsafe fn text(
    library: &Library,
    call: &'static str,
    text: *const c_char,
) -> Result<String, TensorRtError> {
    present(library, call, text.cast())?;
    // SAFETY: something can be there, and the caller vouches for the rest.
    Ok(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}
