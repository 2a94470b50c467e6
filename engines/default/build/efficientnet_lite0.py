"""EfficientNet-Lite0 (Apache-2.0, ImageNet-1k) out of a PyTorch checkpoint, read without PyTorch."""

import collections
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from network import Conv, folded

MEAN, STD = 127.0, 128.0  # x = (rgb - MEAN) / STD with rgb in 0..255
STRIDE = 32  # pixels per cell
FEATURES, LABELS = 1280, 1000
RANK, NAMED, EVEN = 160, 4.0, 0.25  # of the thin classifier

# (blocks, kernel, stride, expansion, output channels), from the EfficientNet-Lite0 specification.
_STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80),
           (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320))
_EPSILON = 1e-3


@dataclass(frozen=True)
class ImageNetwork:
    """Convolutions [B,3,H,W] -> [B,1280,H/32,W/32] and the classifier, 1x1 convolutions to 1000 ImageNet logits of each cell."""

    layers: list[Conv]
    classifier: list[Conv]


def load(checkpoint: Path) -> ImageNetwork:
    """Read the checkpoint and fold every batch normalisation."""
    w = read_checkpoint(checkpoint)

    def conv(name: str, key: str, norm: str, **how) -> Conv:
        weight, bias = folded(w[key + ".weight"], w[norm + ".weight"], w[norm + ".bias"],
                              w[norm + ".running_mean"], w[norm + ".running_var"], _EPSILON)
        return Conv(name, weight, bias, **how)

    layers = [conv("stem", "_conv_stem", "_bn0", stride=2, activation="relu6")]
    index, channels = 0, 32
    for blocks, _, first_stride, expansion, out in _STAGES:
        for block in range(blocks):
            key, name = f"_blocks.{index}.", f"block{index}."
            stride = first_stride if block == 0 else 1
            if expansion != 1:
                layers.append(conv(name + "expand", key + "_expand_conv", key + "_bn0", activation="relu6"))
            layers.append(conv(name + "depthwise", key + "_depthwise_conv", key + "_bn1", stride=stride,
                               groups=channels * expansion, activation="relu6"))
            layers.append(conv(name + "project", key + "_project_conv", key + "_bn2", skip=3 if block else 0))
            index, channels = index + 1, out
    layers.append(conv("head", "_conv_head", "_bn1", activation="relu6"))
    return ImageNetwork(layers, [Conv("classifier", w["_fc.weight"][:, :, None, None], w["_fc.bias"])])


def thin(classifier: Conv, classes: list[list[int]]) -> list[Conv]:
    """The classifier through RANK channels: the nearest two matrices (Eckart and Young), where the labels of `classes` weigh more,
    most those of a class with few."""
    worth = np.ones((LABELS, 1))
    for labels in classes:
        worth[labels] = max(NAMED / len(labels) ** EVEN, 1.0)
    weight = worth * classifier.weight[:, :, 0, 0].astype(np.float64)
    basis = np.linalg.svd(weight)[0][:, :RANK]
    basis *= np.sign(basis[np.abs(basis).argmax(axis=0), range(RANK)])  # a singular vector's sign is the library's whim
    narrow, wide = (matrix[:, :, None, None].astype(np.float32) for matrix in (basis.T @ weight, basis / worth))
    return [Conv("classifier.narrow", narrow, np.zeros(RANK, np.float32)), Conv("classifier.wide", wide, classifier.bias)]


def read_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a checkpoint in PyTorch's format of before version 1.6; nothing in it is executed."""
    with path.open("rb") as file:
        if pickle.load(file) != 0x1950A86A20F9469CFC6C:
            raise ValueError(f"{path}: not a PyTorch checkpoint of the format before 1.6")
        pickle.load(file), pickle.load(file)  # protocol version, byte order (checked by SHA-256)
        tensors = _Unpickler(file).load()
        storages = {}
        types = {key: kind for (kind, key), *_ in tensors.values()}
        for key in pickle.load(file):
            count = int(np.fromfile(file, "<i8", 1)[0])
            storages[key] = np.fromfile(file, types[key], count)
    return {name: np.lib.stride_tricks.as_strided(
                storages[key][offset:], shape, [step * storages[key].itemsize for step in strides]).copy()
            for name, ((_, key), offset, shape, strides) in tensors.items()}


class _Unpickler(pickle.Unpickler):
    """Knows the four names a state dict needs and refuses every other."""

    _KNOWN = {
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): lambda storage, offset, shape, strides, *_: (
            storage, offset, shape, strides),
        ("torch", "FloatStorage"): "<f4",
        ("torch", "LongStorage"): "<i8",
    }

    def find_class(self, module: str, name: str):
        if (module, name) not in self._KNOWN:
            raise pickle.UnpicklingError(f"the checkpoint asks for {module}.{name}, which no weight file needs")
        return self._KNOWN[module, name]

    def persistent_load(self, pid):
        _, kind, key, *_ = pid
        return kind, key
