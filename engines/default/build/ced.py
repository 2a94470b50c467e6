"""CED-tiny (Apache-2.0, AudioSet) out of the ONNX file of the crate `soundevents`: a transformer over a log-mel spectrogram.

The front end: 16 kHz mono, power STFT (periodic Hann of 512, hop 160), 64 HTK-mel bands between 0 and 8000 Hz, logarithm. (The
published graph has triangles that are straight in Hz, and quantised; straight in mel they move a label's log-odds by 0.03.)
Patches of 176 frames; each becomes 11 x 4 tokens of 16 frames x 16 bands. Matrices are published as int8 with a scale; they are made real here.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from network import half
from onnx_writer import Graph, Weights

RATE, FRAME, STEP, FFT, BANDS = 16000, 512, 160, 512, 64
LOW_HZ, HIGH_HZ, POWER, LOG_OFFSET = 0.0, 8000.0, 2.0, 1e-6
PATCH = 176  # frames
TOKEN = 16  # frames and bands of a token
WIDTH, HEADS, LABELS = 192, 3, 527
NORM_EPSILON = 1e-6
_DECIBEL = 10.0 / np.log(10.0)  # the network was trained on decibels
_BATCH_EPSILON = 1e-5


@dataclass(frozen=True)
class Norm:
    """The gain and bias of a layer normalisation, [WIDTH]."""

    gain: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True)
class Linear:
    """y = x weight + bias; weight [in, out]."""

    weight: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True)
class Block:
    """One layer of the transformer: attention, then a perceptron, each after a norm and added to what came in."""

    attention_norm: Norm
    query: Linear
    key: Linear
    value: Linear
    joined: Linear
    perceptron_norm: Norm
    widened: Linear
    narrowed: Linear


@dataclass(frozen=True)
class AudioNetwork:
    """Log-mel patches [B,176,64] -> 527 AudioSet logits [B,527]."""

    gain: np.ndarray  # [BANDS], of the logarithms
    bias: np.ndarray  # [BANDS]
    token: np.ndarray  # [WIDTH, 1, TOKEN bands, TOKEN frames]
    token_bias: np.ndarray  # [WIDTH]
    place: np.ndarray  # [WIDTH, 4, 11]: what is added to a token for where it lies
    blocks: list[Block]
    norm: Norm
    label_norm: Norm
    label: Linear


def load(path: Path) -> AudioNetwork:
    """Read the published graph: its initialisers by name, those of the blocks' matrices by their order."""
    graph = onnx.load(path).graph
    plain = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    packed = {node.output[0]: plain[node.input[0]].astype(np.float32) * plain[node.input[1]]
              for node in graph.node if node.op_type == "DequantizeLinear"}
    used = [node.input[1] for node in graph.node if node.op_type == "MatMul" and node.input[1] in packed]
    matrices = iter([packed[name] for name in used if not name.startswith("mel_transform")])

    def array(name: str) -> np.ndarray:
        return plain[f"model.{name}"] if f"model.{name}" in plain else packed[f"model.{name}_dq"]

    def norm(name: str) -> Norm:
        return Norm(array(name + ".weight"), array(name + ".bias"))

    def block(name: str) -> Block:
        three, biases = next(matrices), np.split(array(name + ".attn.qkv.bias"), 3)
        parts = [Linear(weight, bias) for weight, bias in zip(np.split(three, 3, axis=1), biases)]
        return Block(norm(name + ".norm1"), *parts, Linear(next(matrices), array(name + ".attn.proj.bias")),
                     norm(name + ".norm2"), Linear(next(matrices), array(name + ".mlp.fc1.bias")),
                     Linear(next(matrices), array(name + ".mlp.fc2.bias")))

    spread = np.sqrt(array("encoder.init_bn.running_var") + _BATCH_EPSILON)
    gain = array("encoder.init_bn.weight") / spread
    return AudioNetwork(
        (gain * _DECIBEL).astype(np.float32), (array("encoder.init_bn.bias") - gain * array("encoder.init_bn.running_mean")),
        packed["model.encoder.patch_embed.proj.weight_dq"], array("encoder.patch_embed.proj.bias"),
        (packed["alias_dq"] + array("encoder.time_pos_embed")[..., :PATCH // TOKEN])[0],
        [block(f"encoder.blocks.{i}") for i in range(12)], norm("encoder.norm"), norm("outputlayer.0"),
        Linear(array("outputlayer.1.weight").T, array("outputlayer.1.bias")))


def rounded(network: AudioNetwork) -> AudioNetwork:
    """The same network with the matrices that FP16 storage leaves."""
    def linear(part: Linear) -> Linear:
        return replace(part, weight=half(part.weight))

    blocks = [replace(block, **{name: linear(part) for name, part in vars(block).items() if isinstance(part, Linear)})
              for block in network.blocks]
    return replace(network, token=half(network.token), blocks=blocks, label=linear(network.label))


# -- as an ONNX sub-graph --------------------------------------------------------------------------------------------

def add(graph: Graph, file: Weights, network: AudioNetwork) -> str:
    """`sound` [B,176,64] -> AudioSet logits [B,527]."""
    rows, columns = network.place.shape[1:]
    tokens, width = rows * columns, WIDTH // HEADS

    def norm(name: str, x: str, part: Norm) -> str:
        return graph.op("LayerNormalization", x, graph.exact(file, name + ".gain", part.gain),
                        graph.exact(file, name + ".bias", part.bias), axis=-1, epsilon=NORM_EPSILON)

    def linear(name: str, x: str, part: Linear) -> str:
        return graph.op("Gemm", x, graph.weight(file, name + ".weight", part.weight), graph.exact(file, name + ".bias", part.bias))

    def attention(name: str, x: str, block: Block) -> str:
        """[B tokens, WIDTH] -> the same."""
        def by_head(kind: str, part: Linear, perm: list[int]) -> str:
            y = graph.op("Reshape", linear(name + kind, x, part), graph.constant([-1, tokens, HEADS, width], np.int64))
            return graph.op("Transpose", y, perm=perm)

        query, key = by_head("query", block.query, [0, 2, 1, 3]), by_head("key", block.key, [0, 2, 3, 1])
        value = by_head("value", block.value, [0, 2, 1, 3])
        logits = graph.op("MatMul", query, key)
        weight = graph.op("Softmax", graph.op("Mul", logits, graph.constant(width ** -0.5)), axis=-1)
        y = graph.op("Transpose", graph.op("MatMul", weight, value), perm=[0, 2, 1, 3])
        return linear(name + "joined", graph.op("Reshape", y, graph.constant([-1, WIDTH], np.int64)), block.joined)

    def gelu(y: str) -> str:
        """y (1 + erf(y / sqrt 2)) / 2, in the steps that runtimes know as one."""
        erf = graph.op("Erf", graph.op("Div", y, graph.constant(2.0 ** 0.5)))
        return graph.op("Mul", graph.op("Mul", y, graph.op("Add", erf, graph.constant(1.0))), graph.constant(0.5))

    sound = graph.input("sound", ["B", PATCH, BANDS])
    x = graph.op("Add", graph.op("Mul", sound, graph.exact(file, "ced.gain", network.gain)), graph.exact(file, "ced.bias", network.bias))
    x = graph.op("Unsqueeze", graph.op("Transpose", x, perm=[0, 2, 1]), graph.constant([1], np.int64))
    x = graph.op("Conv", x, graph.weight(file, "ced.token.weight", network.token),
                 graph.exact(file, "ced.token.bias", network.token_bias), kernel_shape=[TOKEN] * 2, strides=[TOKEN] * 2)
    x = graph.op("Add", x, graph.exact(file, "ced.place", network.place))
    x = graph.op("Transpose", graph.op("Reshape", x, graph.constant([0, WIDTH, tokens], np.int64)), perm=[0, 2, 1])
    x = graph.op("Reshape", x, graph.constant([-1, WIDTH], np.int64))  # all tokens below each other: products with a bias are one node
    for i, block in enumerate(network.blocks):
        name = f"ced.block{i}."
        x = graph.op("Add", x, attention(name, norm(name + "attention_norm", x, block.attention_norm), block))
        y = linear(name + "widened", norm(name + "perceptron_norm", x, block.perceptron_norm), block.widened)
        x = graph.op("Add", x, linear(name + "narrowed", gelu(y), block.narrowed))
    x = graph.op("Reshape", norm("ced.norm", x, network.norm), graph.constant([-1, tokens, WIDTH], np.int64))
    x = graph.op("ReduceMean", x, axes=[1], keepdims=0)
    return linear("ced.label", norm("ced.label_norm", x, network.label_norm), network.label)


# -- the front end ---------------------------------------------------------------------------------------------------

def mel_matrix() -> np.ndarray:
    """[257, 64]: triangles that are straight in mel; the DC bin counts nowhere."""
    def mel(hz):
        return 1127.0 * np.log1p(np.asarray(hz, np.float64) / 700.0)

    bins = mel(np.linspace(0.0, RATE / 2, FFT // 2 + 1))[1:, None]
    edges = np.linspace(mel(LOW_HZ), mel(HIGH_HZ), BANDS + 2)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    triangles = np.minimum((bins - lower) / (centre - lower), (upper - bins) / (upper - centre))
    return np.vstack([np.zeros((1, BANDS)), np.maximum(triangles, 0.0)]).astype(np.float32)


def log_mel(waveform: np.ndarray) -> np.ndarray:
    """[samples] at 16 kHz, -1..1 -> [frames, 64]; samples after the last whole frame are left out."""
    frames = np.lib.stride_tricks.sliding_window_view(np.asarray(waveform, np.float64), FRAME)[::STEP]
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(FRAME) / FRAME)
    power = np.abs(np.fft.rfft(frames * hann, FFT)) ** POWER
    return np.log(power @ mel_matrix().astype(np.float64) + LOG_OFFSET).astype(np.float32)


def patches(frames: np.ndarray, step: int) -> np.ndarray:
    """[frames, 64] -> [n, 176, 64], a patch every `step` frames; shorter sounds give none."""
    count = max(0, (len(frames) - PATCH) // step + 1)
    return np.stack([frames[i * step:i * step + PATCH] for i in range(count)]) if count else np.zeros((0, PATCH, BANDS), np.float32)
