"""What published tests say of a clip: boxes in vggss.json and in MUSIC's JSON, masks in the folder of VGGSound-Instruments."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from . import masks
from .errors import DataError

Box = tuple[float, float, float, float]  # left, top, right, bottom, shares of the picture
MALFORMED = (KeyError, TypeError, ValueError, IndexError, AttributeError)
SHOWN = 120  # characters of an entry that cannot be understood


@dataclass(frozen=True)
class Source:
    """Something seen and heard, with boxes or a mask [h, w] of the whole picture."""

    name: str
    boxes: tuple[Box, ...] = ()
    mask: np.ndarray | None = field(default=None, compare=False)

    def within(self, part: int, count: int) -> "Source":
        """The source where its picture is one of `count` side by side."""
        boxes = tuple(((part + b[0]) / count, b[1], (part + b[2]) / count, b[3]) for b in self.boxes)
        if self.mask is None:
            return Source(self.name, boxes)
        width = self.mask.shape[1]
        return Source(self.name, boxes, np.pad(self.mask, ((0, 0), (part * width, (count - 1 - part) * width))))


def identifier(label: str) -> str:
    """A class as split files write it: `female speech, woman speaking` is `female_speech_woman_speaking`."""
    return "_".join(label.replace(",", " ").replace("_", " ").split())


def read(path: Path) -> Callable[[str], tuple[Source, ...]]:
    """What a file of boxes, or a folder of masks, says of a clip: its sources, none if it is not there.

    A mask's source has no name. Raises DataError for boxes that cannot be understood, later ValueError for such a mask.
    """
    if path.is_dir():
        files = {file.name.partition(".")[0]: file for file in sorted(path.iterdir())}
        return lambda clip: (Source("", mask=masks.read(files[clip])),) if clip in files else ()
    known = boxes(path)
    return lambda clip: known.get(clip, ())


def boxes(path: Path) -> dict[str, tuple[Source, ...]]:
    """The sources of every clip: lists of corners in vggss.json, a box by its size in MUSIC's, two of them in MUSIC-Duet's."""
    entries, found = document(path), {}
    if not isinstance(entries, list):
        raise DataError(f"{path}: expected a list of clips, found {shown(entries)}")
    for number, entry in enumerate(entries):
        try:
            found[str(entry["file"])] = _sources(entry)
        except MALFORMED as error:
            raise DataError(f"{path}: entry {number}: expected `file`, `class` and `bbox`, or `class_src1`, `bbox_src1`, `class_src2` and "
                            f"`bbox_src2`, boxes of four numbers; found {shown(entry)}") from error
    return found


def _sources(entry: dict[str, Any]) -> tuple[Source, ...]:
    if "class_src1" in entry:
        return tuple(Source(identifier(entry[f"class_src{i}"]), (sized(entry[f"bbox_src{i}"]),)) for i in (1, 2))
    own = entry["bbox"]
    corners = [numbers(b) for b in own] if isinstance(own[0], list) else [sized(own)]
    return (Source(identifier(entry["class"]), tuple(_inside(b) for b in corners)),)


def numbers(values: Any) -> Box:
    """Four numbers. Raises ValueError for anything else."""
    left, top, right, bottom = map(float, values)
    if not all(map(math.isfinite, (left, top, right, bottom))):
        raise ValueError(f"{values}: no numbers")
    return left, top, right, bottom


def sized(values: Any) -> Box:
    """Left, top, width, height -> corners within the picture."""
    left, top, width, height = numbers(values)
    return _inside((left, top, left + width, top + height))


def _inside(box: Box) -> Box:
    left, top, right, bottom = (min(max(v, 0.0), 1.0) for v in box)
    return left, top, right, bottom


def document(path: Path) -> Any:
    """A JSON file. Raises DataError if it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: no JSON, or cut short: {error}") from error


def shown(value: Any) -> str:
    """The beginning of a value, for a message."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else text[:SHOWN] + " …"
