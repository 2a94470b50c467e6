"""Scenes to train on and to judge by: the published split files and boxes, mixtures, and scenes as `tvsl eval` reads them.

A data folder holds frames/ID.jpg and audio/ID.wav. Split files have a line for each clip: `id,class`, for tests of two sources
`id,class,id,class`. Boxes are in vggss.json (corners) or in MUSIC's JSON (left, top, width, height), as shares of the frame.
"""

import csv
import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import DataError

Box = tuple[float, float, float, float]  # left, top, right, bottom, shares of the picture
BROKEN_SHARE = 0.05  # of a split that may be missing or unreadable


@dataclass(frozen=True)
class Source:
    """Something seen and heard."""

    name: str
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Scene:
    """Frames side by side with their sounds summed; boxes are shares of the whole picture."""

    frames: tuple[Path, ...]
    sounds: tuple[Path, ...]
    sources: tuple[Source, ...]
    kind: str = "single"


@dataclass
class Broken:
    """Clips that were skipped, with the reason; too many of them stop the work."""

    total: int
    found: dict[str, str] = field(default_factory=dict)

    def skip(self, clip: str, reason: str) -> None:
        """Count a clip. Raises DataError once more than BROKEN_SHARE are broken."""
        self.found[clip] = reason
        if len(self.found) > BROKEN_SHARE * self.total:
            raise DataError(f"{len(self.found)} of {self.total} clips cannot be used, more than {BROKEN_SHARE:.0%}:\n{self}")

    def __str__(self) -> str:
        lines = [f"  {clip}: {reason}" for clip, reason in sorted(self.found.items())]
        return "\n".join(lines[:20] + ([f"  and {len(lines) - 20} more"] if len(lines) > 20 else []))


@dataclass(frozen=True)
class Data:
    """A folder of clips."""

    folder: Path

    def files(self, clip: str) -> tuple[Path, Path]:
        """Frame and sound; in MUSIC many frames share the sound of their video."""
        sound = self.folder / "audio" / f"{clip}.wav"
        video = self.folder / "audio" / f"{clip[:-10]}.wav"
        return self.folder / "frames" / f"{clip}.jpg", video if not sound.is_file() and video.is_file() else sound

    def missing(self, clip: str) -> str:
        """What a clip lacks; empty if it is whole."""
        return ", ".join(f"no {path}" for path in self.files(clip) if not path.is_file())


def identifier(label: str) -> str:
    """A class as split files write it: `female speech, woman speaking` is `female_speech_woman_speaking`."""
    return "_".join(label.replace(",", " ").replace("_", " ").split())


def split(path: Path, classes: list[str] | None) -> list[list[tuple[str, str]]]:
    """The (clip, class) pairs of every line. Raises DataError for a class outside `classes`, if they are given."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if row]
    known, lines = set(classes or ()), []
    for number, row in enumerate(rows, start=1):
        if len(row) not in (2, 4):
            raise DataError(f"{path}:{number}: {len(row)} columns, expected `id,class` or `id,class,id,class`")
        pairs = [(row[i], identifier(row[i + 1])) for i in range(0, len(row), 2)]
        for _, name in pairs:
            if classes is not None and name not in known:
                raise DataError(f"{path}:{number}: class {name!r} is not one of the model's {len(classes)}; expected one of "
                                + ", ".join(sorted(known)[:8]) + (", …" if len(known) > 8 else ""))
        lines.append(pairs)
    if not lines:
        raise DataError(f"{path}: the split is empty")
    return lines


def clips(data: Data, path: Path, classes: list[str]) -> tuple[list[tuple[str, str]], Broken]:
    """The clips of a training split that are there, and those that are not."""
    pairs = [pair for line in split(path, classes) for pair in line]
    broken, whole = Broken(len(pairs)), []
    for clip, name in pairs:
        reason = data.missing(clip)
        if reason:
            broken.skip(clip, reason)
        else:
            whole.append((clip, name))
    return whole, broken


def mixtures(data: Data, pairs: list[tuple[str, str]], each: int, seed: int) -> list[Scene]:
    """Every clip with `each` partners of other classes, sides by chance."""
    chance = random.Random(seed)
    if len({name for _, name in pairs}) < 2:
        raise DataError("mixtures need clips of at least two classes")
    scenes = []
    for own in pairs:
        for _ in range(each):
            other = own
            while other[1] == own[1]:
                other = chance.choice(pairs)
            scenes.append(beside(data, chance.sample([own, other], 2), {}))
    return scenes


def beside(data: Data, pairs: list[tuple[str, str]], boxes: dict[str, tuple[Box, ...]]) -> Scene:
    """Clips side by side, with the boxes of each brought into its part of the picture."""
    files = [data.files(clip) for clip, _ in pairs]
    count = len(pairs)
    place = lambda i, b: ((i + b[0]) / count, b[1], (i + b[2]) / count, b[3])
    sources = tuple(Source(name, tuple(place(i, b) for b in boxes.get(clip, ()))) for i, (clip, name) in enumerate(pairs))
    return Scene(tuple(f for f, _ in files), tuple(s for _, s in files), sources, "single" if count == 1 else "duet")


def published(data: Data, path: Path, boxes: Path, classes: list[str]) -> tuple[list[Scene], Broken]:
    """The scenes of a published test: its split and its boxes."""
    corners, lines = read_boxes(boxes), split(path, classes)
    broken, scenes = Broken(len(lines)), []
    for pairs in lines:
        reasons = [data.missing(clip) or ("" if clip in corners else f"no box in {boxes}") for clip, _ in pairs]
        if any(reasons):
            broken.skip("+".join(clip for clip, _ in pairs), "; ".join(filter(None, reasons)))
        else:
            scenes.append(beside(data, pairs, corners))
    return scenes, broken


def music_duets(data: Data, boxes: Path, classes: list[str]) -> tuple[list[Scene], Broken]:
    """MUSIC-Duet: one frame with two players."""
    entries = _json(boxes)
    broken, scenes = Broken(len(entries)), []
    for entry in entries:
        reason = data.missing(entry["file"])
        if reason:
            broken.skip(entry["file"], reason)
            continue
        frame, sound = data.files(entry["file"])
        sources = tuple(Source(identifier(entry[f"class_src{i}"]), (sized(entry[f"bbox_src{i}"]),)) for i in (1, 2))
        unknown = [s.name for s in sources if s.name not in classes]
        if unknown:
            raise DataError(f"{boxes}: class {unknown[0]!r} is not one of the model's")
        scenes.append(Scene((frame,), (sound,), sources, "duet"))
    return scenes, broken


def read_boxes(path: Path) -> dict[str, tuple[Box, ...]]:
    """Boxes of every clip: lists of corners in vggss.json; one box by its size in MUSIC-Solo's."""
    boxes = {}
    for entry in _json(path):
        own = entry["bbox"]
        corners = [tuple(b) for b in own] if isinstance(own[0], list) else [sized(own)]
        boxes[entry["file"]] = tuple(tuple(min(max(v, 0.0), 1.0) for v in b) for b in corners)
    return boxes


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: no JSON, or cut short: {error}") from error


def sized(box: list[float]) -> Box:
    """Left, top, width, height -> corners within the picture."""
    left, top, width, height = box
    return left, top, min(left + width, 1.0), min(top + height, 1.0)


def labelled(path: Path) -> list[Scene]:
    """The scenes of `tvsl eval`'s JSON in which something is both seen and heard."""
    scenes = []
    for entry in _json(path)["scenes"]:
        if entry["kind"] in ("off_screen", "silence"):
            continue
        sounds = (path.parent / entry["audio"],) if entry.get("audio") else ()
        sources = tuple(Source(s["class"], tuple(map(tuple, s.get("boxes", ())))) for s in entry["sources"])
        scenes.append(Scene((path.parent / entry["image"],), sounds, sources, entry["kind"]))
    return scenes
