"""T-VSL's graphs in ONNX: image and its head, audio, stage1, stage2 (see ../README.md for the equations)."""

from pathlib import Path

import numpy as np

import ced
import efficientnet_lite0 as lite0
import encoders
from heads import Heads
from onnx_writer import Graph, Weights

HOP = 0.24  # seconds between audio rows
CERTAIN = 1e-6  # probabilities are kept this far from 0 and 1
TINY = 1e-12  # norms are at least this
FAINT = 1e-20  # added to a class's share of the strongest logit before the logarithm


def write(directory: Path, networks: encoders.Encoders, heads: Heads) -> None:
    """Write the graphs and their two weight files."""
    frozen, fitted = Weights("encoders.bin"), Weights("heads.bin")
    graphs = {"image": image(networks, frozen), "image-fp16": image(networks, frozen, half=True), "stage1": stage1(heads),
              "stage2": stage2(heads, fitted), "image-head": image_head(networks, heads, frozen, fitted),
              "audio": audio(networks, heads, frozen, fitted)}
    for file in (frozen, fitted):
        file.write(directory)
    for name, graph in graphs.items():
        graph.save(directory / f"{name}.onnx")


def image(networks: encoders.Encoders, frozen: Weights, half: bool = False) -> Graph:
    """`image` [B,3,H,W] -> `features` [B,1280,h,w]; `half`: computed in FP16. No softmax, no norm: half precision ends at 65 504."""
    g = Graph("image", half)
    g.output(encoders.features(g, frozen, networks.image), "features", ["B", lite0.FEATURES, "h", "w"])
    return g


def image_head(networks: encoders.Encoders, heads: Heads, frozen: Weights, fitted: Weights) -> Graph:
    """`features` [B,1280,h,w] -> `V` [B,P,D]: what the labels' softmax and the linear heads say, in text space."""
    g = Graph("image_head")
    features = g.input("features", ["B", lite0.FEATURES, "h", "w"])
    named, where_named = _labels(g, fitted, encoders.logits(g, frozen, networks.image, features), heads)
    linear = g.op("Conv", features, g.exact(fitted, "image.linear.weight", heads.linear_weight[:, :, None, None]),
                  g.exact(fitted, "image.linear.bias", heads.linear_bias), kernel_shape=[1, 1])
    whether = g.op("Concat", named, _smoothed(g, linear, heads), axis=1)
    odds = _scaled(g, fitted, "image.whether", whether, heads.visual)
    odds = g.op("Min", odds, g.constant(heads.settings["ceiling"]))
    v = _into_text_space(g, fitted, "image", _by_cell(g, g.op("Sigmoid", odds), heads), heads)
    gain, bias = heads.where[:, :, None, None].transpose(1, 0, 2, 3)
    where = g.op("Add", g.op("Concat", where_named, linear, axis=1), g.exact(fitted, "image.where.bias", bias))
    where = g.op("Mul", g.op("Softplus", where), g.exact(fitted, "image.where.gain", gain))
    v = g.op("Add", v, g.op("MatMul", _by_cell(g, where, heads), g.exact(fitted, "image.place", heads.place_dual)))
    g.output(v, "V", ["B", "P", heads.text.shape[1]])
    return g


def audio(networks: encoders.Encoders, heads: Heads, frozen: Weights, fitted: Weights) -> Graph:
    """`sound` [B,176,64] -> `A` [B,1,D]."""
    g = Graph("audio")
    labels = ced.add(g, frozen, networks.audio)
    labels = g.op("Gather", labels, g.weight(fitted, "audio.labels", heads.heard.reshape(-1)), axis=1)
    labels = g.op("Reshape", labels, g.constant([0, *heads.heard.shape], np.int64))
    odds = g.op("Clip", g.op("ReduceMax", labels, axes=[2], keepdims=0), *map(g.constant, heads.settings["audible"]))
    odds = _scaled(g, fitted, "audio.whether", odds, heads.audio)
    a = _into_text_space(g, fitted, "audio", g.op("Sigmoid", odds), heads)
    g.output(g.op("Unsqueeze", a, g.constant([1], np.int64)), "A", ["B", 1, heads.text.shape[1]])
    return g


def stage1(heads: Heads) -> Graph:
    """`V`, `A`, `t` -> `p`, `p_v`, `p_a` [B,N]."""
    g = Graph("stage1")
    v, a, t = _embeddings(g, heads, "N")
    words = g.op("Transpose", t, perm=[1, 0])
    seen = _logit(g, g.op("ReduceMax", g.op("MatMul", v, words), axes=[1], keepdims=0))
    heard = g.op("ReduceMax", _logit(g, g.op("MatMul", a, words)), axes=[1], keepdims=0)
    joint = heads.settings["joint"]
    both = g.op("Add", g.op("Mul", seen, g.constant(joint["visual"])), g.op("Mul", heard, g.constant(joint["audio"])))
    elsewhere = _elsewhere(g, seen, heard, heads.settings["elsewhere"])
    both = g.op("Add", both, g.op("Mul", elsewhere, g.constant(joint["elsewhere"])))
    both = g.op("Add", both, g.constant(joint["bias"]))
    for name, odds in (("p", both), ("p_v", seen), ("p_a", heard)):
        g.output(g.op("Sigmoid", odds), name, ["B", "N"])
    return g


def stage2(heads: Heads, fitted: Weights) -> Graph:
    """`V`, `A`, `t` -> `H` [B,K,P]."""
    g = Graph("stage2")
    v, a, t = _embeddings(g, heads, "K")
    read = g.exact(fitted, "stage2.read", np.vstack([heads.place, heads.nothing]).T)
    found = g.op("MatMul", v, read)  # [B,P,N+1]: each class's place evidence, and nothing's
    v = _norm(g, g.op("MatMul", found, g.exact(fitted, "stage2.write", np.vstack([heads.dual, heads.nothing]))), 2)
    u = _norm(g, g.op("MatMul", found, g.exact(fitted, "stage2.agree", np.vstack([heads.text, heads.nothing]))), 2)
    a = _norm(g, a, 2)
    m = _norm(g, g.op("MatMul", t, g.op("Transpose", v, perm=[0, 2, 1])), 2)  # [B,K,P]
    weight = _norm(g, g.op("MatMul", t, g.op("Transpose", a, perm=[0, 2, 1])), 2)  # [B,K,T]
    query = _norm(g, g.op("MatMul", weight, a), 2)  # [B,K,D]; a sum points where the mean points
    agree = g.op("MatMul", query, g.op("Transpose", u, perm=[0, 2, 1]))
    h = g.op("Mul", g.op("Relu", m), g.op("Relu", agree))
    g.output(g.op("Pow", h, g.constant(heads.settings["map"]["power"])), "H", ["B", "K", "P"])
    return g


def _embeddings(g: Graph, heads: Heads, classes: str) -> tuple[str, str, str]:
    size = heads.text.shape[1]
    return g.input("V", ["B", "P", size]), g.input("A", ["B", "T", size]), g.input("t", [classes, size])


def _smoothed(g: Graph, x: str, heads: Heads) -> str:
    """Averaged over the 3 by 3 neighbourhood of each cell."""
    if not heads.settings["smooth"]:
        return x
    return g.op("AveragePool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=0)


def _labels(g: Graph, file: Weights, logits: str, heads: Heads) -> tuple[str, str]:
    """ImageNet logits -> per class and cell: ln of the softmax share (smoothed), ln Σ exp of the logits."""
    top = g.op("ReduceMax", logits, axes=[1], keepdims=1)
    exponent = g.op("Exp", g.op("Sub", logits, top))
    own = g.op("Conv", exponent, g.weight(file, "image.labels", heads.labels[:, :, None, None]), kernel_shape=[1, 1])
    share = g.op("Div", own, g.op("ReduceSum", exponent, g.constant([1], np.int64), keepdims=1))
    share = g.op("Log", g.op("Add", _smoothed(g, share, heads), g.constant(heads.settings["epsilon"])))
    return share, g.op("Add", g.op("Log", g.op("Add", own, g.constant(FAINT))), top)


def _by_cell(g: Graph, value: str, heads: Heads) -> str:
    """[B,N,h,w] -> [B,P,N]."""
    cells = g.op("Reshape", value, g.constant([0, len(heads.classes), -1], np.int64))
    return g.op("Transpose", cells, perm=[0, 2, 1])


def _scaled(g: Graph, file: Weights, name: str, value: str, calibration: np.ndarray) -> str:
    """gain · value + bias, class by class; classes on axis 1."""
    gain, bias = calibration.T
    if name.startswith("image"):
        gain, bias = gain[:, None, None], bias[:, None, None]
    return g.op("Add", g.op("Mul", value, g.exact(file, name + ".gain", gain)), g.exact(file, name + ".bias", bias))


def _into_text_space(g: Graph, file: Weights, name: str, evidence: str, heads: Heads) -> str:
    """evidence [..., N] -> Σ evidence_n d_n + b, [..., D]."""
    projected = g.op("MatMul", evidence, g.exact(file, name + ".dual", heads.dual))
    return g.op("Add", projected, g.exact(file, name + ".nothing", heads.nothing))


def _logit(g: Graph, p: str) -> str:
    p = g.op("Clip", p, g.constant(CERTAIN), g.constant(1.0 - CERTAIN))
    return g.op("Log", g.op("Div", p, g.op("Sub", g.constant(1.0), p)))


def _elsewhere(g: Graph, seen: str, heard: str, how: dict) -> str:
    """Log-odds [B,N] -> [B,1]: how plainly anything is heard that is not seen."""
    shown = g.op("Relu", g.op("Add", seen, g.constant(how["seen"])))
    alone = g.op("Sub", heard, g.op("Mul", shown, g.constant(how["slope"])))
    return g.op("Clip", g.op("ReduceMax", alone, axes=[1], keepdims=1), g.constant(how["least"]), g.constant(how["most"]))


def _norm(g: Graph, value: str, axis: int) -> str:
    length = g.op("ReduceL2", value, axes=[axis], keepdims=1)
    return g.op("Div", value, g.op("Max", length, g.constant(TINY)))
