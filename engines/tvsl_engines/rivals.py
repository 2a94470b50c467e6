"""The seed's Table 7 for any encoders and data: every trained method on the same tests."""

from pathlib import Path

import torch

from . import dataset, evaluate
from .checkpoint import load_weights
from .encoders import Encoders
from .errors import DataError
from .methods import METHODS, Method
from .table import compared

UNTRAINED = "tvsl-untrained"
NOTES = {"clip-ssl": "needs CLIPSeg weights"}


def table(encoders: Path, data: Path, tests: list[Path], boxes: Path, weights: list[str]) -> str:
    """Judge `METHOD=FILE` weights, and untrained heads, on published tests; the table as Markdown."""
    own = Encoders(encoders)
    scenes = []
    for test in tests:
        found, broken = dataset.published(dataset.Data(data), test, boxes, own.classes)
        scenes += found
        if broken.found:
            print(f"skipped {len(broken.found)} scenes of {test}:\n{broken}")
    broken = dataset.Broken(len(scenes))
    judged = evaluate.by_methods(methods(torch.from_numpy(own.t), weights), own, scenes, broken)
    if broken.found:
        print(f"skipped {len(broken.found)} scenes:\n{broken}")
    return compared(judged, evaluate.PUBLISHED, NOTES)


def methods(t: torch.Tensor, weights: list[str]) -> dict[str, Method]:
    """The methods with their weights, in the order given; untrained heads last."""
    loaded: dict[str, Method] = {}
    for text in weights:
        name, _, file = text.partition("=")
        if name not in METHODS or not file:
            raise DataError(f"--weights {text}: expected METHOD=FILE with METHOD one of {', '.join(METHODS)}")
        loaded[name] = METHODS[name](t)
        loaded[name].load_state_dict(load_weights(Path(file), loaded[name].state_dict()))
    return {**loaded, UNTRAINED: METHODS["tvsl-two-stage"](t)}
