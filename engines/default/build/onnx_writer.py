"""Write ONNX graphs node by node, their weights in shared external files; same input, same bytes."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save

from network import Conv

OPSET, IR = 17, 9
_ALIGN = 64  # bytes
_KINDS = {np.dtype(np.float16): TensorProto.FLOAT16, np.dtype(np.float32): TensorProto.FLOAT,
          np.dtype(np.int64): TensorProto.INT64}


class Weights:
    """One external-data file, shared by any number of graphs; `half`: floats are stored as FP16."""

    def __init__(self, name: str, half: bool = True):
        self.name, self.half = name, half
        self.bytes = bytearray()
        self._places = {}  # byte offset of each name

    def add(self, name: str, array: np.ndarray) -> TensorProto:
        """Append an array, unless its numbers are there already; returns the initializer that points at them."""
        raw = np.ascontiguousarray(array).tobytes()
        if name not in self._places:
            self._places[name] = self._found(raw)
        place = self._places[name]
        if self.bytes[place:place + len(raw)] != raw:
            raise ValueError(f"{self.name}: two arrays are called {name}")
        tensor = TensorProto(name=name, data_type=_KINDS[array.dtype], dims=array.shape,
                             data_location=TensorProto.EXTERNAL)
        for key, value in (("location", self.name), ("offset", place), ("length", len(raw))):
            tensor.external_data.add(key=key, value=str(value))
        return tensor

    def _found(self, raw: bytes) -> int:
        """Where these bytes are: where an array begins that begins with them, or at the end now."""
        for place in self._places.values():
            if self.bytes.startswith(raw, place):
                return place
        self.bytes.extend(bytes(-len(self.bytes) % _ALIGN))
        place = len(self.bytes)
        self.bytes.extend(raw)
        return place

    def write(self, directory: Path) -> None:
        """Write the file, unless it already holds these bytes."""
        path = directory / self.name
        if not path.is_file() or path.read_bytes() != self.bytes:
            path.write_bytes(self.bytes)


class Graph:
    """A graph under construction. Values are named by strings; every operation returns its output's name.

    `half`: convolutions have types of FP16.
    """

    def __init__(self, name: str, half: bool = False):
        self.name, self.half = name, half
        self.nodes, self.initializers, self.inputs, self.outputs = [], [], [], []
        self._constants = {}

    def input(self, name: str, shape) -> str:
        """Declare a float input; strings in `shape` are free dimensions."""
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return name

    def output(self, value: str, name: str, shape) -> None:
        """Declare `value` as the float output `name`."""
        self.nodes.append(helper.make_node("Identity", [value], [name]))
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def op(self, kind: str, *inputs: str, **attributes) -> str:
        """Add one operation with one output."""
        result = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [result], **attributes))
        return result

    def constant(self, value, kind=np.float32) -> str:
        """A small constant inside the graph file."""
        array = np.asarray(value, kind)
        key = (array.tobytes(), array.shape, array.dtype.str)
        if key not in self._constants:
            self._constants[key] = f"constant_{len(self._constants)}"
            self.initializers.append(numpy_helper.from_array(array, self._constants[key]))
        return self._constants[key]

    def weight(self, file: Weights, name: str, array: np.ndarray) -> str:
        """A weight in an external file: floats stored as FP16 and cast to FP32 (or as FP32), integers as they are."""
        if array.dtype == np.int64:
            self.initializers.append(file.add(name, array))
            return name
        if not file.half:
            return self.exact(file, name, array)
        return self.op("Cast", self._halved(file, name, array), to=TensorProto.FLOAT)

    def exact(self, file: Weights, name: str, array: np.ndarray) -> str:
        """A small weight in an external file, kept in FP32."""
        self.initializers.append(file.add(name, array.astype(np.float32)))
        return name

    def convolutions(self, file: Weights, prefix: str, layers: list[Conv], value: str) -> str:
        """Apply `layers` one after the other; FP32 goes in and comes out."""
        values = [self.op("Cast", value, to=TensorProto.FLOAT16) if self.half else value]
        for layer in layers:
            values.append(self._convolution(file, prefix + layer.name, layer, values))
        return self.op("Cast", values[-1], to=TensorProto.FLOAT) if self.half else values[-1]

    def _factor(self, file: Weights, name: str, array: np.ndarray) -> str:
        """A float weight in the type that the graph multiplies in: in a half graph as it is stored."""
        return self._halved(file, name, array) if self.half else self.weight(file, name, array)

    def _halved(self, file: Weights, name: str, array: np.ndarray) -> str:
        """A float weight in an external file, stored as FP16."""
        self.initializers.append(file.add(name + ".half", array.astype(np.float16)))
        return name + ".half"

    def _convolution(self, file: Weights, name: str, layer: Conv, values: list[str]) -> str:
        before, after = layer.padding
        kernel = layer.weight.shape[-1]
        value = self.op("Conv", values[-1], self._factor(file, name + ".weight", layer.weight),
                        self._factor(file, name + ".bias", layer.bias), group=layer.groups,
                        kernel_shape=[kernel, kernel], pads=[before, before, after, after],
                        strides=[layer.stride, layer.stride])
        if layer.skip:
            value = self.op("Add", value, values[-layer.skip])
        if layer.activation == "relu":
            value = self.op("Relu", value)
        elif layer.activation == "relu6":
            kind = np.float16 if self.half else np.float32
            value = self.op("Clip", value, self.constant(0.0, kind), self.constant(6.0, kind))
        return value

    def save(self, path: Path) -> None:
        """Check the graph and write it; its external files must lie beside it already."""
        graph = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, self.initializers)
        model = helper.make_model(graph, ir_version=IR, opset_imports=[helper.make_opsetid("", OPSET)],
                                  producer_name="tvsl")
        save(model, path)
        checker.check_model(str(path), full_check=True)
