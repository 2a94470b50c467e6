"""The seed's Table 7 for any encoders and data: every trained method on the same tests."""

import sys
from pathlib import Path

from . import dataset, evaluate
from .checkpoint import load_heads, read_gate
from .choose import CLIP_SSL, NAMES, choose
from .encoders import Encoders
from .errors import DataError
from .features import origin
from .heads import GATES
from .methods import GATED, Method
from .table import compared
from .train import WEIGHTS

UNTRAINED = "tvsl-untrained"


def table(encoders: Path, data: Path, tests: list[Path], boxes: Path, weights: list[str], clipseg: Path | None = None) -> str:
    """Judge `METHOD=FILE` weights, and untrained heads, on published tests; the table as Markdown."""
    rivals = methods(encoders, weights, clipseg)
    known = rivals[UNTRAINED][1]
    scenes, broken = [], dataset.Broken(0, "scenes")
    try:
        for test in tests:
            found, own = dataset.published(dataset.Data(data), test, boxes, known.classes)
            scenes += found
            broken.total, broken.found = broken.total + own.total, broken.found | own.found
        judged = evaluate.by_methods(rivals, scenes, broken)
    finally:
        _tell(broken)
    notes = {} if CLIP_SSL in rivals else {CLIP_SSL: "needs CLIPSeg weights"}
    return compared(judged, evaluate.TABLE, notes)


def _tell(broken: dataset.Broken) -> None:
    """List every scene that was left out."""
    if broken.found:
        print("\n".join([f"skipped {len(broken.found)} of {broken.total} {broken.what}:", *broken.lines()]), file=sys.stderr)


def trained(folder: Path) -> list[str]:
    """`METHOD=FILE` of every method below `folder`. Raises DataError if there is none."""
    found = [f"{name}={folder / name / WEIGHTS}" for name in NAMES if (folder / name / WEIGHTS).is_file()]
    if not found:
        raise DataError(f"{folder}: no METHOD/{WEIGHTS} with METHOD one of {', '.join(NAMES)}")
    return found


def methods(folder: Path, weights: list[str], clipseg: Path | None) -> dict[str, tuple[Method, Encoders]]:
    """The methods with their weights and encoders, in the order given; untrained heads last."""
    loaded = {}
    untrained = choose(NAMES[0], folder, None)
    for text in weights:
        name, _, file = text.partition("=")
        if name not in NAMES or not file:
            raise DataError(f"--weights {text}: expected METHOD=FILE with METHOD one of {', '.join(NAMES)}")
        gate = read_gate(Path(file)) if name in GATED else GATES[0]
        method, encoders = choose(name, folder, clipseg, gate)
        encoders = encoders if name == CLIP_SSL else untrained[1]
        method.load_state_dict(load_heads(Path(file), method.state_dict(), origin(encoders), folder))
        loaded[name] = (method, encoders)
    return {**loaded, UNTRAINED: untrained}
