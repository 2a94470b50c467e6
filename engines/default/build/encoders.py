"""The frozen encoders as ONNX sub-graphs over encoders.bin; heads are attached by graphs.py."""

from dataclasses import dataclass
from pathlib import Path

import ced
import efficientnet_lite0
from onnx_writer import Graph, Weights


@dataclass(frozen=True)
class Encoders:
    """Both frozen encoders as published: FP32 for pictures, int8 for sound."""

    image: efficientnet_lite0.ImageNetwork
    audio: ced.AudioNetwork


def load(cache: Path) -> Encoders:
    """Read both encoders from the directory that fetch.py filled."""
    return Encoders(efficientnet_lite0.load(cache / "efficientnet_lite0.pth"),
                    ced.load(cache / "ced_tiny.onnx"))


def add_image(graph: Graph, file: Weights, network: efficientnet_lite0.ImageNetwork) -> tuple[str, str]:
    """`image` [B,3,H,W] -> features [B,1280,h,w] and ImageNet logits [B,1000,h,w]."""
    image = graph.input("image", ["B", 3, "H", "W"])
    features = graph.convolutions(file, "efficientnet_lite0.", network.layers, image)
    return features, graph.convolutions(file, "efficientnet_lite0.", [network.classifier], features)
