"""The frozen encoders of any model folder, run by ONNX Runtime: pictures to V, sounds to A, class names to t."""

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx.external_data_helper import ExternalDataInfo, uses_external_data
from safetensors.numpy import load_file

from . import manifest, picture, sound
from .errors import DataError
from .truth import identifier

FRAME = (320, 360)  # width and height of each of two frames beside each other, where a model keeps the aspect


class Encoders:
    """The graphs of `folder` that see and hear, with its table of texts."""

    def __init__(self, folder: Path, threads: int | None = None):
        self.folder, self.manifest = folder, manifest.read(folder)
        self.image, self.front_end = self.manifest["image"], sound.FrontEnd(self.manifest["audio"])
        graphs = self.manifest["graphs"]["fp32"]
        self._threads = threads or int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
        self._see, self._hear = (self._session(graphs[name]) for name in ("image", "audio"))
        self._pool = self._session(graphs["image_head"]) if "image_head" in graphs else None
        entries = self.manifest["classes"]
        self.classes = [entry["name"] for entry in entries]
        self.named = {alias: i for i, entry in enumerate(entries) for alias in entry.get("aliases", [])}
        self.named |= {name: i for i, name in enumerate(self.classes)}
        self.index = {identifier(name): i for name, i in self.named.items()} | self.named  # split files know no blanks or commas
        self.t = self._texts(graphs)

    @property
    def dimension(self) -> int:
        return self.manifest["embedding"]["dimension"]

    @cached_property
    def checksums(self) -> list[str]:
        """What makes V and A: the graphs, and the files that hold their weights."""
        named = self.manifest["graphs"]["fp32"]
        graphs = [self.folder / named[name] for name in ("image", "image_head", "audio") if name in named]
        return [manifest.sha256(path) for graph in graphs for path in (graph, *_weights(graph))]

    @cached_property
    def wording(self) -> list[object]:
        """What makes t: the classes with their prompts, and the table of texts or what reads them."""
        entries = [(entry["name"], entry.get("prompt"), entry.get("tokens")) for entry in self.manifest["classes"]]
        table = self.manifest["embedding"].get("text")
        graph = self.folder / (table or self.manifest["graphs"]["fp32"]["text"])
        files = [graph] if table else [graph, *_weights(graph)]
        return [*entries, *map(manifest.sha256, files)]

    def beside(self, frames: list[np.ndarray]) -> tuple[np.ndarray, picture.Fit]:
        """Frames side by side -> ([3, H, W], where they lie). A squashing model sees every frame as a square of its own grid."""
        if self.image["aspect"] == "squash":
            place = picture.squashed(self.image, len(frames))
            frames = [picture.scaled(f, place.width // len(frames), place.height) for f in frames]
        else:
            frames = [picture.scaled(f, *FRAME) for f in frames]
            place = picture.fit(FRAME[0] * len(frames), FRAME[1], self.image)
        return picture.prepared(np.concatenate(frames, axis=1), place, self.image), place

    def whole(self, frame: np.ndarray) -> tuple[np.ndarray, picture.Fit]:
        """One picture as the program sees it -> ([3, H, W], where it lies)."""
        place = picture.fit(frame.shape[1], frame.shape[0], self.image)
        return picture.prepared(frame, place, self.image), place

    def see(self, batch: np.ndarray) -> np.ndarray:
        """[B, 3, H, W] -> V [B, P, D]."""
        if self._pool is None:
            return self._see.run(["V"], {"image": batch})[0]
        features = self._see.run(["features"], {"image": batch})[0]
        return self._pool.run(["V"], {"features": features})[0]

    def hear(self, samples: np.ndarray) -> list[np.ndarray]:
        """Sound -> A [T, D] of every window, oldest row first."""
        rows = (self._hear.run(["A"], {"sound": batch})[0] for batch in self.front_end.batches(samples))
        return [a.reshape(-1, a.shape[-1]) for a in rows]

    def _texts(self, graphs: dict[str, str]) -> np.ndarray:
        table = self.manifest["embedding"].get("text")
        if table:
            return load_file(self.folder / table)["t"]
        lists = [entry["tokens"] for entry in self.manifest["classes"]]
        tokens = np.zeros((len(lists), max(map(len, lists))), np.float32)
        for row, own in zip(tokens, lists):
            row[:len(own)] = own
        return self._session(graphs["text"]).run(["t"], {"tokens": tokens})[0]

    def _session(self, name: str) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.disable_quant_qdq", "1")  # else it rounds activations to int8 as well
        try:
            return onnxruntime.InferenceSession(self.folder / name, options, providers=onnxruntime.get_available_providers())
        except Exception as error:  # those of ONNX Runtime have no class of their own
            raise DataError(f"{self.folder / name}: ONNX Runtime cannot load it; restore the model folder: {error}") from error


def _weights(path: Path) -> list[Path]:
    """The files beside a graph that hold its weights, as it names them itself."""
    outside = filter(uses_external_data, _tensors(onnx.load(path, load_external_data=False).graph))
    return sorted({path.parent / ExternalDataInfo(tensor).location for tensor in outside})


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every constant of a graph and of those inside it."""
    yield from graph.initializer
    for attribute in (own for node in graph.node for own in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for inner in (attribute.g, *attribute.graphs):
            yield from _tensors(inner)
