"""Writes the tiny model of the tests: shaped like AudioCLIP (waveform, squashed picture, text graph), a few KB.

Seeing is the mean colour of a cell, hearing the energy of three bands; class n is colour n with band n. So every
number a test expects can be worked out by hand. Run: `python build.py` with the onnx and numpy of engines/default/build/requirements.txt.
"""

import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

HERE = Path(__file__).parent
CLASSES = ["red", "green", "blue"]
RATE, WINDOW, ROWS, STRIDE = 8000, 1.0, 4, 16
FINE = 160  # rows of sound of fine.onnx, an audio graph that gives about as many as AudioCLIP


def const(name, values, dtype=np.float32):
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def save(name, nodes, inputs, outputs, constants, external=None):
    tensor = lambda port: helper.make_tensor_value_info(port[0], TensorProto.FLOAT, port[1])
    graph = helper.make_graph(nodes, name, [tensor(p) for p in inputs], [tensor(p) for p in outputs], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    if external:
        for constant in model.graph.initializer:
            if constant.name == external:
                data = constant.raw_data
                (HERE / "weights.bin").write_bytes(data)
                set_external_data(constant, "weights.bin", offset=0, length=len(data))
                constant.ClearField("raw_data")
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString())


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs, [output], **attributes)


def image():
    nodes = [
        node("AveragePool", ["image"], "cells", kernel_shape=[STRIDE, STRIDE], strides=[STRIDE, STRIDE]),
        node("Reshape", ["cells", "flat"], "planes"),
        node("Transpose", ["planes"], "V", perm=[0, 2, 1]),
    ]
    save("image", nodes, [("image", ["B", 3, "H", "W"])], [("V", ["B", "P", 3])], [const("flat", [0, 3, -1], np.int64)])


def audio(name="audio", rows=ROWS):
    bands = np.array([[1] * 8, [1, 1, -1, -1] * 2, [1, -1] * 4], np.float32)[:, None] / 8 / 32768
    segment = int(RATE * WINDOW) // rows
    nodes = [
        node("Unsqueeze", ["sound", "one"], "mono"),
        node("Conv", ["mono", "bands"], "filtered", pads=[4, 3]),
        node("Mul", ["filtered", "filtered"], "power"),
        node("AveragePool", ["power"], "mean", kernel_shape=[segment], strides=[segment]),
        node("Sqrt", ["mean"], "level"),
        node("Transpose", ["level"], "A", perm=[0, 2, 1]),
    ]
    constants = [const("one", [1], np.int64), const("bands", bands)]
    save(name, nodes, [("sound", ["B", "S"])], [("A", ["B", "T", 3])], constants, external="bands")


STAGE = [("V", ["B", "P", 3]), ("A", ["B", "T", 3])]


def stage1():
    nodes = [
        node("Transpose", ["t"], "words", perm=[1, 0]),
        *sense("V", "p_v", "visual", "half"),
        *sense("A", "p_a", "audio", "fifth"),
        node("Mul", ["p_v", "p_a"], "p"),
    ]
    outputs = [(name, ["B", "N"]) for name in ("p", "p_v", "p_a")]
    constants = [const("half", 0.5), const("fifth", 0.2), const("steep", 40.0)]
    save("stage1", nodes, [*STAGE, ("t", ["N", 3])], outputs, constants)


def sense(source, target, name, middle):
    return [
        node("MatMul", [source, "words"], f"{name}_match"),
        node("ReduceMax", [f"{name}_match"], f"{name}_best", axes=[1], keepdims=0),
        node("Sub", [f"{name}_best", middle], f"{name}_over"),
        node("Mul", [f"{name}_over", "steep"], f"{name}_odds"),
        node("Sigmoid", [f"{name}_odds"], target),
    ]


def norm(source, target, axis):
    return [
        node("ReduceL2", [source], f"{target}_length", axes=[axis], keepdims=1),
        node("Add", [f"{target}_length", "tiny"], f"{target}_safe"),
        node("Div", [source, f"{target}_safe"], target),
    ]


def stage2():
    """T-VSL's second stage with identity heads: H_k = max(m, 0) * max(V^ q_k, 0)."""
    nodes = [
        node("Transpose", ["t"], "words", perm=[1, 0]),
        *norm("V", "V_unit", 2),
        *norm("A", "A_unit", 2),
        node("MatMul", ["V_unit", "words"], "V_match"),
        *norm("V_match", "m", 1),
        node("MatMul", ["A_unit", "words"], "A_match"),
        *norm("A_match", "a", 1),
        node("Transpose", ["a"], "a_rows", perm=[0, 2, 1]),
        node("MatMul", ["a_rows", "A_unit"], "heard"),
        *norm("heard", "q", 2),
        node("Transpose", ["q"], "q_columns", perm=[0, 2, 1]),
        node("MatMul", ["V_unit", "q_columns"], "correspondence"),
        node("Relu", ["m"], "gate"),
        node("Relu", ["correspondence"], "positive"),
        node("Mul", ["gate", "positive"], "heat"),
        node("Transpose", ["heat"], "H", perm=[0, 2, 1]),
    ]
    save("stage2", nodes, [*STAGE, ("t", ["K", 3])], [("H", ["B", "K", "P"])], [const("tiny", 1e-6)])


def text():
    """Token n (1, 2, 3) becomes the unit vector of class n."""
    nodes = [
        node("Sub", ["tokens", "numbers"], "apart"),
        node("Abs", ["apart"], "distance"),
        node("Clip", ["distance", "zero", "one"], "other"),
        node("Sub", ["one", "other"], "t"),
    ]
    constants = [const("numbers", [[1, 2, 3]]), const("zero", 0.0), const("one", 1.0)]
    save("text", nodes, [("tokens", ["N", 1])], [("t", ["N", 3])], constants)


def words():
    """A text graph for texts of any length, of which it reads the first token, as `text` does: other words are nothing."""
    nodes = [
        node("Slice", ["tokens", "first", "second", "along"], "head"),
        node("Sub", ["head", "numbers"], "apart"),
        node("Abs", ["apart"], "distance"),
        node("Clip", ["distance", "zero", "one"], "other"),
        node("Sub", ["one", "other"], "t"),
    ]
    places = [const(name, [at], np.int64) for name, at in [("first", 0), ("second", 1), ("along", 1)]]
    constants = [*places, const("numbers", [[1, 2, 3]]), const("zero", 0.0), const("one", 1.0)]
    save("words", nodes, [("tokens", ["N", "L"])], [("t", ["N", 3])], constants)


HEAD = f"""# Written by build.py.
schema = 1
name = "tiny"
version = "1"
description = "Colours that hum: the tests' model, shaped like AudioCLIP"

[image]
aspect = "squash"
stride = {STRIDE}
cells_max = 16
channels = "rgb"
mean = [0.0, 0.0, 0.0]
std = [255.0, 255.0, 255.0]

[audio]
front_end = "waveform"
sample_rate = {RATE}
window = {WINDOW}
hop = 0.25
scale = 32768.0

[graphs.fp32]
image = "image.onnx"
audio = "audio.onnx"
stage1 = "stage1.onnx"
stage2 = "stage2.onnx"
text = "text.onnx"

[embedding]
dimension = 3

[thresholds]
p = 0.5
p_v = 0.5
p_a = 0.5
map = 0.5
level_dbfs = -55.0
"""


def manifest():
    classes = "".join(
        f'\n[[classes]]\nname = "{name}"\nprompt = "something {name}"\nlabel = "{name}"\n'
        f'aliases = ["light {name}", "dark {name}"]\ntokens = [{n}]\n'
        for n, name in enumerate(CLASSES, 1)
    )
    names = ["image.onnx", "audio.onnx", "stage1.onnx", "stage2.onnx", "text.onnx", "weights.bin"]
    files = "".join(
        f'\n[[files]]\npath = "{name}"\nsha256 = "{hashlib.sha256((HERE / name).read_bytes()).hexdigest()}"\n'
        f'license = "Apache-2.0"\nsource = "build.py"\n'
        for name in names
    )
    (HERE / "manifest.toml").write_text(HEAD + classes + files)


if __name__ == "__main__":
    image(), audio(), audio("fine", FINE), stage1(), stage2(), text(), words(), manifest()
