//! A network read from ONNX, and the description of tensors that networks and plans share.

use std::ffi::{CString, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::abi::{Element, Slots, Split, This};
use super::error::TensorRtError;
use super::handle::{Handle, checked, implementation, text};
use super::{onnx, single};
use crate::bounded;

/// The shapes that one input may have, and the one to be fastest at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// Name of the input.
    pub input: String,
    /// Smallest extents.
    pub min: Vec<i64>,
    /// Usual extents.
    pub opt: Vec<i64>,
    /// Largest extents.
    pub max: Vec<i64>,
}

/// Which way a tensor goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Direction {
    Input,
    Output,
}

/// One input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name in the ONNX file; kept as TensorRT takes it.
    pub name: CString,
    /// Input or output.
    pub direction: Direction,
    /// Type of its numbers.
    pub element: Element,
    /// Extents; −1 is decided at run time, within the profile.
    pub shape: Vec<i64>,
}

impl TensorInfo {
    /// The name for people.
    pub fn label(&self) -> String {
        self.name.to_string_lossy().into_owned()
    }
}

/// A network that a [`Builder`](super::Builder) made, empty until an ONNX file is parsed into it.
pub struct Network {
    /// Owns the weights that the network refers to; dropped before the network.
    parser: Option<Handle>,
    handle: Arc<Handle>,
}

impl Network {
    pub(super) fn new(handle: Handle) -> Self {
        Self { parser: None, handle: Arc::new(handle) }
    }

    /// Fills the network from `file`, made plain where this TensorRT wants it so ([`onnx`](super::onnx)); weights in
    /// external-data files are found beside it.
    ///
    /// # Errors
    /// [`TensorRtError::File`] if it cannot be read, [`TensorRtError::Onnx`] with one line per complaint
    /// if an operator is not supported or the file is broken.
    pub fn parse_onnx(&mut self, file: &Path) -> Result<(), TensorRtError> {
        let unreadable = |reason| TensorRtError::File { file: file.to_owned(), reason };
        let stored = bounded::read(file, bounded::MODEL).map_err(unreadable)?;
        let bytes = onnx::plain(&stored, file, self.handle.library().version());
        let path = CString::new(file.as_os_str().as_bytes())
            .map_err(|nul| TensorRtError::File { file: file.to_owned(), reason: nul.into() })?;
        let library = self.handle.library();
        // SAFETY: the network is this one, which the parser's handle keeps alive.
        let parser = unsafe { library.create_parser(self.handle.object()) }?;
        let parser = Handle::plain(library, "createNvOnnxParser", parser, Arc::clone(&self.handle))?;
        let (slots, target) = (self.slots(), parser.target());
        // SAFETY: the parser is alive, the buffer is `bytes.len()` long and the path ends in NUL;
        // both are only read during the call.
        let parsed =
            unsafe { slots.parse.of(target)(target, bytes.as_ptr().cast(), bytes.len(), path.as_ptr()) };
        // Some versions accept what is no ONNX file at all and leave the network empty.
        if !parsed || self.output_count() == 0 {
            let said = parser.library().said();
            let errors = errors(slots, &parser, &bytes);
            return Err(TensorRtError::Onnx { file: file.to_owned(), errors, said });
        }
        self.parser = Some(parser);
        Ok(())
    }

    fn output_count(&self) -> i32 {
        let target = self.handle.target();
        // SAFETY: the network is alive.
        unsafe { self.slots().output_count.of(target)(target) }
    }

    /// How many layers the network has.
    pub fn layers(&self) -> usize {
        let target = self.handle.target();
        // SAFETY: the network is alive.
        let count = unsafe { self.slots().layer_count.of(target)(target) };
        usize::try_from(count).unwrap_or(0)
    }

    /// The kind of every layer of floats, as TensorRT's `LayerType` numbers it, and whether an FP16 plan still
    /// computes it in single precision.
    ///
    /// # Errors
    /// If TensorRT returns a broken layer.
    pub fn precisions(&self) -> Result<Vec<(i32, bool)>, TensorRtError> {
        single::kinds(&self.handle)
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Inputs, then outputs.
    ///
    /// # Errors
    /// If TensorRT returns a broken tensor.
    pub fn tensors(&self) -> Result<Vec<TensorInfo>, TensorRtError> {
        let target = self.handle.target();
        let slots = self.slots();
        let mut all = Vec::new();
        // SAFETY: the network is alive; indices stay below the count that it gives.
        unsafe {
            for index in 0..slots.input_count.of(target)(target) {
                all.push(self.tensor(slots.input.of(target)(target, index), Direction::Input)?);
            }
            for index in 0..self.output_count() {
                all.push(self.tensor(slots.output.of(target)(target, index), Direction::Output)?);
            }
        }
        Ok(all)
    }

    fn tensor(&self, object: This, direction: Direction) -> Result<TensorInfo, TensorRtError> {
        const CALL: &str = "INetworkDefinition::getInput or getOutput";
        let (library, slots) = (self.handle.library(), self.slots());
        let tensor = implementation(library, CALL, checked(library, CALL, object)?)?;
        // SAFETY: the tensor belongs to the network, which is alive, and was checked.
        let (name, element, shape) = unsafe {
            let name = text(library, "ITensor::getName", slots.name.of(tensor)(tensor))?;
            let shape = match &slots.dimensions {
                Split::Old(method) => method.of(tensor)(tensor).shape(),
                Split::New(method) => method.of(tensor)(tensor).shape(),
            };
            (name, slots.element.of(tensor)(tensor), shape)
        };
        let shape = shape.ok_or_else(|| library.refused("ITensor::getDimensions"))?;
        let name = CString::new(name).map_err(|_| library.refused("ITensor::getName"))?;
        Ok(TensorInfo { name, direction, element: Element::from_raw(element), shape })
    }

    fn slots(&self) -> &'static Slots {
        self.handle.slots()
    }
}

/// The parser's complaints about an ONNX file, each with the node that it is about; there is at least one line even if it
/// gives no reason.
fn errors(slots: &Slots, parser: &Handle, file: &[u8]) -> Vec<String> {
    let target = parser.target();
    let model = onnx::Model::read(file);
    let unknown = || "it gave no reason".to_owned();
    let about = |node: i32| {
        let node = usize::try_from(node).ok()?;
        let (name, operator) = model.as_ref()?.node(node)?;
        Some(format!("node {node}, \"{name}\" ({operator}): "))
    };
    let describe = |index| {
        // SAFETY: the parser is alive and has an error at every index below its count; the error
        // belongs to the parser and is a plain virtual class.
        unsafe {
            let error = slots.error.of(target)(target, index);
            checked(parser.library(), "IParser::getError", error).ok()?;
            let description: *const c_char = slots.description.of(error)(error);
            let about = about(slots.node.of(error)(error)).unwrap_or_default();
            Some(
                about
                    + &text(parser.library(), "IParserError::desc", description)
                        .unwrap_or_else(|_| unknown()),
            )
        }
    };
    // SAFETY: the parser is alive.
    let count = unsafe { slots.error_count.of(target)(target) };
    let lines: Vec<_> = (0..count).filter_map(describe).collect();
    if lines.is_empty() { vec![unknown()] } else { lines }
}
