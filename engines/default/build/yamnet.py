"""YAMNet (Apache-2.0, AudioSet) out of a TensorFlow SavedModel, read without TensorFlow.

The front end: 16 kHz mono, magnitude STFT (periodic Hann of 400, hop 160, FFT 512), 64 HTK-mel bands
between 125 and 7500 Hz, log(mel + 0.001); patches of 96 frames.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from network import Conv, folded

RATE, FRAME, STEP, FFT, BANDS = 16000, 400, 160, 512, 64
LOW_HZ, HIGH_HZ, LOG_OFFSET = 125.0, 7500.0, 0.001
PATCH = 96  # frames
EMBEDDING, LABELS = 1024, 521

# (stride, output channels) of the thirteen separable layers, from the YAMNet description.
_LAYERS = ((1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512), (1, 512), (1, 512), (1, 512), (1, 512),
           (1, 512), (2, 1024), (1, 1024))
_EPSILON = 1e-4
_FLOAT = 1  # TensorFlow's DT_FLOAT


@dataclass(frozen=True)
class AudioNetwork:
    """Convolutions [B,1,96,64] -> [B,1024,3,2]; after the mean, the classifier gives 521 logits."""

    layers: list[Conv]
    classifier: Conv  # 1x1, 521 AudioSet logits; sigmoid gives scores


def load(index: Path, data: Path) -> AudioNetwork:
    """Read the variables and fold every batch normalisation (YAMNet's have no scale)."""
    variables = read_bundle(index, data)
    prefix, suffix = "layer-1/layer/_func/_yamnet/layer_with_weights-", "/.ATTRIBUTES/VARIABLE_VALUE"
    places = iter(range(2 * (1 + 2 * len(_LAYERS))))

    def conv(name: str, kernel: str, axes: tuple[int, ...], **how) -> Conv:
        weight = variables[f"{prefix}{next(places)}/{kernel}{suffix}"].transpose(axes)
        norm = f"{prefix}{next(places)}/"
        shift, mean, variance = (variables[norm + key + suffix] for key in ("beta", "moving_mean", "moving_variance"))
        weight, bias = folded(weight, np.ones_like(shift), shift, mean, variance, _EPSILON)
        return Conv(name, weight, bias, activation="relu", **how)

    dense, depth = (3, 2, 0, 1), (2, 3, 0, 1)  # TensorFlow's [k, k, in, out] and [k, k, in, 1]
    layers, channels = [conv("stem", "kernel", dense, stride=2)], 32
    for number, (stride, out) in enumerate(_LAYERS):
        name = f"layer{number}."
        layers.append(conv(name + "depthwise", "depthwise_kernel", depth, stride=stride, groups=channels))
        layers.append(conv(name + "pointwise", "kernel", dense))
        channels = out
    last = f"{prefix}{2 * (1 + 2 * len(_LAYERS))}/"
    weight = variables[last + "kernel" + suffix].T[:, :, None, None]
    return AudioNetwork(layers, Conv("classifier", np.ascontiguousarray(weight), variables[last + "bias" + suffix]))


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
    magnitude = np.abs(np.fft.rfft(frames * hann, FFT))
    return np.log(magnitude @ mel_matrix().astype(np.float64) + LOG_OFFSET).astype(np.float32)


def patches(frames: np.ndarray, step: int) -> np.ndarray:
    """[frames, 64] -> [n, 96, 64], a patch every `step` frames; shorter sounds give none."""
    count = max(0, (len(frames) - PATCH) // step + 1)
    return np.stack([frames[i * step:i * step + PATCH] for i in range(count)]) if count else np.zeros((0, PATCH, BANDS), np.float32)


def read_bundle(index: Path, data: Path) -> dict[str, np.ndarray]:
    """The float variables of a TensorFlow checkpoint (a LevelDB table of protobuf entries, uncompressed)."""
    table, blob = index.read_bytes(), data.read_bytes()
    footer = table[-48:]
    _, at = _varint(footer, 0)
    _, at = _varint(footer, at)
    start, at = _varint(footer, at)
    size, _ = _varint(footer, at)
    entries = {}
    for _, handle in _block(table, start, size):
        offset, at = _varint(handle, 0)
        length, _ = _varint(handle, at)
        entries.update(_block(table, offset, length))
    del entries[b""]  # the header
    return {key.decode(): _tensor(entry, blob) for key, entry in entries.items() if _fields(entry).get(1) == _FLOAT}


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte, at = data[at], at + 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def _block(table: bytes, start: int, size: int):
    """Keys and values of one LevelDB block; each key shares a prefix with the one before."""
    if table[start + size] != 0:
        raise ValueError("the variable index is compressed, expected it plain")
    end = start + size - 4
    end -= 4 * struct.unpack_from("<I", table, end)[0]
    key, at = b"", start
    while at < end:
        shared, at = _varint(table, at)
        fresh, at = _varint(table, at)
        length, at = _varint(table, at)
        key = key[:shared] + table[at:at + fresh]
        yield key, table[at + fresh:at + fresh + length]
        at += fresh + length


def _fields(message: bytes) -> dict:
    """A protobuf message as {field number: value}; repeated fields as a list under (number, "all")."""
    fields, at = {}, 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = _varint(message, at)
        elif kind == 2:
            length, at = _varint(message, at)
            value, at = message[at:at + length], at + length
        elif kind == 5:
            value, at = message[at:at + 4], at + 4
        else:
            raise ValueError(f"protobuf wire type {kind} in a variable entry")
        fields[number] = value
        fields.setdefault((number, "all"), []).append(value)
    return fields


def _tensor(entry: bytes, blob: bytes) -> np.ndarray:
    fields = _fields(entry)
    shape = [_fields(size)[1] for size in _fields(fields.get(2, b"")).get((2, "all"), [])]
    offset, size = fields.get(4, 0), fields.get(5, 0)
    return np.frombuffer(blob[offset:offset + size], "<f4").reshape(shape).copy()
