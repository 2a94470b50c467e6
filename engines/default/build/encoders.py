"""The frozen encoders as ONNX sub-graphs over encoders.bin; heads are attached by graphs.py."""

from dataclasses import dataclass, replace
from pathlib import Path

import ced
import efficientnet_lite0
from heads import named_labels
from network import rounded
from onnx_writer import Graph, Weights

_IMAGE = "efficientnet_lite0."  # before the names of its weights


@dataclass(frozen=True)
class Encoders:
    """Both frozen encoders, in FP32."""

    image: efficientnet_lite0.ImageNetwork
    audio: ced.AudioNetwork


def load(cache: Path, whole: bool = False) -> Encoders:
    """Read both encoders from the directory that fetch.py filled; `whole`: with ImageNet's classifier as it is published, not thin."""
    image = efficientnet_lite0.load(cache / "efficientnet_lite0.pth")
    if not whole:
        image = replace(image, classifier=efficientnet_lite0.thin(*image.classifier, named_labels()))
    return Encoders(image, ced.load(cache / "ced_tiny.onnx"))


def stored(networks: Encoders) -> Encoders:
    """The encoders with the weights that FP16 storage leaves."""
    image = networks.image
    image = replace(image, layers=rounded(image.layers), classifier=rounded(image.classifier))
    return Encoders(image, ced.rounded(networks.audio))


def features(graph: Graph, file: Weights, network: efficientnet_lite0.ImageNetwork) -> str:
    """`image` [B,3,H,W] -> features [B,1280,h,w]."""
    return graph.convolutions(file, _IMAGE, network.layers, graph.input("image", ["B", 3, "H", "W"]))


def logits(graph: Graph, file: Weights, network: efficientnet_lite0.ImageNetwork, features: str) -> str:
    """Features -> ImageNet logits [B,1000,h,w]."""
    return graph.convolutions(file, _IMAGE, network.classifier, features)
