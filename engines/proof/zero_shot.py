"""Write a model folder of the default model's encoders without anything fitted to its classes: a start that leaves room to learn.

    python proof/zero_shot.py --out DIR      (from engines/, in the environment of `make test-engines`)

A cell is the mean text embedding of ImageNet's labels, weighted by the softmax of their logits there; a patch of sound is that of
AudioSet's labels, weighted by their probabilities (ConSE, Norouzi and others, 2014). Texts are the default model's prompts, so
classes are known by their names alone, as they are to AudioCLIP.
"""

import argparse
import csv
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from timm.data import ImageNetInfo

sys.path[:0] = [str(Path(__file__).resolve().parents[i]) + tail for i, tail in ((1, "/default/build"), (1, ""))]

import ced  # noqa: E402
import encoders  # noqa: E402
import fetch  # noqa: E402
import text  # noqa: E402
from onnx_writer import Graph, Weights  # noqa: E402
from tvsl_engines import manifest  # noqa: E402
from tvsl_engines.importer import DEFAULT  # noqa: E402

FROZEN, TABLE = "encoders.bin", "text.safetensors"
LABELS = 1000  # ImageNet's
SOURCES = "EfficientNet-Lite0, CED-tiny and all-MiniLM-L6-v2, as in the default model"


def image_graph(network, file: Weights) -> Graph:
    """`image` [B, 3, H, W] -> `features` [B, 1000, h, w], the labels' logits."""
    g = Graph("image")
    logits = encoders.logits(g, file, network, encoders.features(g, file, network))
    g.output(logits, "features", ["B", LABELS, "h", "w"])
    return g


def head_graph(labels: np.ndarray, file: Weights) -> Graph:
    """`features` [B, 1000, h, w] -> `V` [B, P, D]; labels [1000, D]. It holds the softmax, which is never halved."""
    g = Graph("image-head")
    logits = g.input("features", ["B", LABELS, "h", "w"])
    cells = g.op("Transpose", g.op("Reshape", logits, g.constant([0, LABELS, -1], np.int64)), perm=[0, 2, 1])
    v = g.op("MatMul", g.op("Softmax", cells, axis=-1), g.exact(file, "image.text", labels))
    g.output(v, "V", ["B", "P", labels.shape[1]])
    return g


def audio_graph(network, labels: np.ndarray, file: Weights) -> Graph:
    """`sound` [B, frames, bands] -> `A` [B, 1, D]; labels [527, D]."""
    g = Graph("audio")
    a = g.op("MatMul", g.op("Sigmoid", ced.add(g, file, network)), g.exact(file, "audio.text", labels))
    g.output(g.op("Unsqueeze", a, g.constant([1], np.int64)), "A", ["B", 1, labels.shape[1]])
    return g


def write(out: Path, cache: Path) -> None:
    """Write graphs, texts and manifest."""
    out.mkdir(parents=True, exist_ok=True)
    said, networks, file = manifest.read(DEFAULT), encoders.load(cache, whole=True), Weights(FROZEN)
    encode = text.TextEncoder(cache / "minilm.safetensors", cache / "minilm_vocab.txt")
    known = ImageNetInfo()
    seen = encode([known.index_to_description(i) for i in range(LABELS)])
    with (cache / "audioset.csv").open(encoding="utf-8") as table:
        heard = encode([row["display_name"] for row in csv.DictReader(table)])
    graphs = {"image": image_graph(networks.image, file), "image_head": head_graph(seen, file),
              "audio": audio_graph(networks.audio, heard, file)}
    file.write(out)
    for graph in graphs.values():
        graph.save(out / f"{graph.name}.onnx")
    save_file({"t": encode([entry["prompt"] for entry in said["classes"]]).astype(np.float32)}, out / TABLE)
    named = {part: f"{graph.name}.onnx" for part, graph in graphs.items()}
    names = [*named.values(), FROZEN, TABLE]
    classes = [{key: entry[key] for key in ("name", "prompt", "label", "aliases") if key in entry} for entry in said["classes"]]
    manifest.write(out, {**said, "name": "zero-shot", "description": "the default model's encoders, labels into text space by their names",
                         "graphs": {"fp32": named}, "thresholds": manifest.THRESHOLDS,
                         "classes": classes, "files": manifest.files(names, "Apache-2.0", SOURCES)},
                   "Written by proof/zero_shot.py.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    write(parser.parse_args().out, fetch.fetch())
