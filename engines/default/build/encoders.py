"""The frozen encoders as ONNX sub-graphs over encoders.bin; heads are attached by graphs.py."""

from dataclasses import dataclass
from pathlib import Path

import efficientnet_lite0
import yamnet
from onnx_writer import Graph, Weights


@dataclass(frozen=True)
class Encoders:
    """Both frozen encoders, FP32, as published."""

    image: efficientnet_lite0.ImageNetwork
    audio: yamnet.AudioNetwork


def load(cache: Path) -> Encoders:
    """Read both encoders from the directory that fetch.py filled."""
    return Encoders(efficientnet_lite0.load(cache / "efficientnet_lite0.pth"),
                    yamnet.load(cache / "yamnet.index", cache / "yamnet.data"))


def add_image(graph: Graph, file: Weights, network: efficientnet_lite0.ImageNetwork) -> tuple[str, str]:
    """`image` [B,3,H,W] -> features [B,1280,h,w] and ImageNet logits [B,1000,h,w]."""
    image = graph.input("image", ["B", 3, "H", "W"])
    features = graph.convolutions(file, "efficientnet_lite0.", network.layers, image)
    return features, graph.convolutions(file, "efficientnet_lite0.", [network.classifier], features)


def add_audio(graph: Graph, file: Weights, network: yamnet.AudioNetwork) -> tuple[str, str]:
    """`sound` [B,96,64] -> embeddings [B,1024,1,1] and AudioSet logits [B,521,1,1]."""
    sound = graph.input("sound", ["B", yamnet.PATCH, yamnet.BANDS])
    value = graph.op("Unsqueeze", sound, graph.constant([1], "int64"))
    value = graph.convolutions(file, "yamnet.", network.layers, value)
    embedding = graph.op("GlobalAveragePool", value)
    return embedding, graph.convolutions(file, "yamnet.", [network.classifier], embedding)
