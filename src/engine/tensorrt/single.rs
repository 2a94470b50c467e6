//! What an FP16 plan must still compute in single precision: sums, norms, exponentials, logarithms and
//! softmax, with the products and quotients around them. Half precision ends at 65 504, which the square of
//! 256 exceeds.

use std::collections::HashSet;

use super::abi::{Element, Family, This};
use super::error::TensorRtError;
use super::handle::{Handle, checked, implementation};
use super::library::Library;

/// `nvinfer1::LayerType`, the same numbers in every version.
const SOFTMAX: i32 = 6;
const ELEMENTWISE: i32 = 9;
const UNARY: i32 = 11;
const REDUCE: i32 = 14;

/// `LayerType::kNORMALIZATION`: 8.6, which has it first, counts one more kind before it, which 10 dropped. 8.5 has nothing
/// at that number.
fn normalization(family: Family) -> i32 {
    match family {
        Family::V8 => 46,
        Family::V10 | Family::V11 | Family::Rtx => 45,
    }
}

const FLOAT32: i32 = 0;

/// One layer: its kind, and the tensors it takes and gives.
struct Layer {
    target: This,
    kind: i32,
    inputs: Vec<This>,
    outputs: Vec<This>,
}

/// Pins the layers of `network` that FP16 would spoil, and tells `config` to obey. From 11 on there is
/// nothing to pin: the types in the ONNX file decide.
pub(super) fn pin(network: &Handle, config: &Handle) -> Result<(), TensorRtError> {
    let slots = network.slots();
    let (Some(set_precision), Some(set_output)) = (&slots.set_layer_precision, &slots.set_layer_output)
    else {
        return Ok(());
    };
    let obey = if network.library().family() == Family::V8 { 10 } else { 9 };
    // SAFETY: the config is alive, and the flag is that of its family.
    unsafe { slots.set_flag.of(config.target())(config.target(), obey) };
    for (layer, _) in spoiled(network)?.iter().filter(|(_, spoiled)| *spoiled) {
        let target = layer.target;
        // SAFETY: the layer belongs to the network, which is alive.
        unsafe { set_precision.of(target)(target, FLOAT32) };
        for index in (0..).take(layer.outputs.len()) {
            // SAFETY: as above; the index is below the number of outputs.
            unsafe { set_output.of(target)(target, index, FLOAT32) };
        }
    }
    Ok(())
}

/// The kind of every layer of floats, in TensorRT's numbers, and whether it stays in single precision.
pub(super) fn kinds(network: &Handle) -> Result<Vec<(i32, bool)>, TensorRtError> {
    Ok(spoiled(network)?.into_iter().map(|(layer, spoiled)| (layer.kind, spoiled)).collect())
}

/// Every layer, and whether half precision would spoil it: a norm in the wide sense, or elementwise and
/// before a norm, or elementwise and after one, up to the next layer of another kind.
fn spoiled(network: &Handle) -> Result<Vec<(Layer, bool)>, TensorRtError> {
    let layers = layers(network)?;
    let normalization = normalization(network.library().family());
    let is_norm = |kind| matches!(kind, SOFTMAX | UNARY | REDUCE) || kind == normalization;
    let norms = layers.iter().filter(|layer| is_norm(layer.kind));
    let before: HashSet<This> = norms.flat_map(|layer| layer.inputs.iter().copied()).collect();
    let mut after: HashSet<This> = HashSet::new();
    // Layers come in the order of their computation.
    let judge = |layer: Layer| {
        let beside = layer.outputs.iter().any(|tensor| before.contains(tensor))
            || layer.inputs.iter().any(|tensor| after.contains(tensor));
        let spoiled = is_norm(layer.kind) || (layer.kind == ELEMENTWISE && beside);
        if spoiled {
            after.extend(&layer.outputs);
        }
        (layer, spoiled)
    };
    Ok(layers.into_iter().map(judge).collect())
}

/// The layers whose results are all of type float.
fn layers(network: &Handle) -> Result<Vec<Layer>, TensorRtError> {
    const CALL: &str = "INetworkDefinition::getLayer";
    let (slots, library, target) = (network.slots(), network.library(), network.target());
    // SAFETY: the network is alive.
    let count = unsafe { slots.layer_count.of(target)(target) };
    let mut layers = Vec::new();
    for index in 0..count {
        // SAFETY: the network is alive and the index below its count.
        let object = checked(library, CALL, unsafe { slots.layer.of(target)(target, index) })?;
        let layer = read(library, implementation(library, CALL, object)?)?;
        let floats = layer.outputs.iter().map(|tensor| is_float(library, *tensor));
        if floats.collect::<Result<Vec<_>, _>>()?.into_iter().all(|float| float) {
            layers.push(layer);
        }
    }
    Ok(layers)
}

fn read(library: &Library, layer: This) -> Result<Layer, TensorRtError> {
    let slots = library.slots();
    // SAFETY: the layer was checked and belongs to a network that is alive; indices stay below the counts.
    let (kind, inputs, outputs): (_, Vec<This>, Vec<This>) = unsafe {
        let inputs = 0..slots.layer_input_count.of(layer)(layer);
        let outputs = 0..slots.layer_output_count.of(layer)(layer);
        (
            slots.layer_kind.of(layer)(layer),
            inputs.map(|index| slots.layer_input.of(layer)(layer, index)).collect(),
            outputs.map(|index| slots.layer_output.of(layer)(layer, index)).collect(),
        )
    };
    // An optional input may be absent; an output may not.
    let inputs = inputs.into_iter().filter(|tensor| !tensor.is_null());
    let inputs = inputs.map(|tensor| checked(library, "ILayer::getInput", tensor));
    let outputs = outputs.into_iter().map(|tensor| checked(library, "ILayer::getOutput", tensor));
    let (inputs, outputs) = (inputs.collect::<Result<_, _>>()?, outputs.collect::<Result<_, _>>()?);
    Ok(Layer { target: layer, kind, inputs, outputs })
}

fn is_float(library: &Library, tensor: This) -> Result<bool, TensorRtError> {
    let target = implementation(library, "ILayer::getOutput", tensor)?;
    // SAFETY: the tensor was checked and belongs to a network that is alive.
    let element = unsafe { library.slots().element.of(target)(target) };
    Ok(Element::from_raw(element) == Element::Float32)
}
