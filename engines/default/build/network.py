"""A convolutional network as plain data: what the ONNX graphs and the NumPy reference both read."""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Conv:
    """A convolution with TensorFlow's SAME padding, its batch normalisation folded in.

    weight [out, in/groups, k, k], bias [out]. `skip` > 0: the input of the layer `skip - 1` places
    before this one is added to the output (an inverted residual).
    """

    name: str
    weight: np.ndarray
    bias: np.ndarray
    stride: int = 1
    groups: int = 1
    activation: str = ""  # "", "relu" or "relu6"
    skip: int = 0

    @property
    def padding(self) -> tuple[int, int]:
        """Rows (and columns) added before and after, for inputs that the stride divides."""
        total = max(self.weight.shape[-1] - self.stride, 0)
        return total // 2, total - total // 2


def folded(weight: np.ndarray, scale, shift: np.ndarray, mean: np.ndarray, variance: np.ndarray, epsilon: float):
    """Fold `scale * (conv(x) - mean) / sqrt(variance + epsilon) + shift` into (weight, bias)."""
    gain = np.asarray(scale, np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
    bias = shift - mean * gain
    return (weight * gain[:, None, None, None]).astype(np.float32), bias.astype(np.float32)


def half(array: np.ndarray) -> np.ndarray:
    """Round to the nearest FP16 value, as stored in the model folder."""
    return array.astype(np.float16).astype(np.float32)


def rounded(layers: list[Conv]) -> list[Conv]:
    """The same network with the weights and biases that FP16 storage leaves."""
    return [replace(layer, weight=half(layer.weight), bias=half(layer.bias)) for layer in layers]
