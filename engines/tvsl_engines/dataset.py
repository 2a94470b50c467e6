"""Scenes to train on and to judge by: the published split files, mixtures, and scenes as `tvsl eval` reads them.

A data folder holds frames/ID.jpg and audio/ID.wav. A line of a split file is `id,class`; `id,class,class` for a frame with two players
(MUSIC-Duet); `id,class,id,class` for a test of two clips; `id` for a test whose boxes name the classes (MUSIC-Duet, vggss).
"""

import csv
import random
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from . import picture, sound, truth
from .errors import DataError
from .truth import Source, identifier

BROKEN_SHARE = 0.05  # of a split that may be missing or unreadable
SHOWN = 20  # broken clips that a message lists
UNREADABLE = (OSError, ValueError, RuntimeError)  # what readers of pictures and sounds raise

Clip = tuple[str, tuple[str, ...]]  # its id, and the classes that a split gives it


@dataclass(frozen=True)
class Scene:
    """Frames side by side with their sounds summed; sources lie in the whole picture."""

    frames: tuple[Path, ...]
    sounds: tuple[Path, ...]
    sources: tuple[Source, ...]
    kind: str = "single"


@dataclass
class Broken:
    """What was skipped, with the reason; too much of it stops the work."""

    total: int
    what: str = "clips"
    found: dict[str, str] = field(default_factory=dict)

    def judge(self) -> None:
        """Raises DataError if more than BROKEN_SHARE are broken."""
        if len(self.found) > BROKEN_SHARE * self.total:
            raise DataError(f"{len(self.found)} of {self.total} {self.what} cannot be used, more than {BROKEN_SHARE:.0%}:\n{self}")

    def lines(self) -> list[str]:
        """A line for each, in order."""
        return [f"  {clip}: {reason}" for clip, reason in sorted(self.found.items())]

    def __str__(self) -> str:
        lines = self.lines()
        return "\n".join(lines[:SHOWN] + ([f"  and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []))


@dataclass(frozen=True)
class Data:
    """A folder of clips."""

    folder: Path

    def files(self, clip: str) -> tuple[Path, Path]:
        """Frame and sound; in MUSIC many frames share the sound of their video."""
        own = self.folder / "audio" / f"{clip}.wav"
        video = self.folder / "audio" / f"{clip[:-10]}.wav"
        return self.folder / "frames" / f"{clip}.jpg", video if not own.is_file() and video.is_file() else own

    def missing(self, clip: str) -> str:
        """What a clip lacks; empty if it is whole."""
        return ", ".join(f"no {path}" for path in self.files(clip) if not path.is_file())

    def state(self, clip: str) -> str:
        """Another text once its frame or its sound was written to."""
        return " ".join(map(state, self.files(clip)))

    def fault(self, clip: str) -> str:
        """Why a clip cannot be used; empty if its frame and its sound can be read to the end."""
        frame, wave = self.files(clip)
        try:
            picture.read(frame)
            sound.check(wave)
        except UNREADABLE as error:
            return str(error)
        return ""


def state(path: Path) -> str:
    """Size and time of a file, others once it was written to; empty if it is not there."""
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_size}:{found.st_mtime_ns}"


def split(path: Path, classes: list[str] | None) -> list[list[Clip]]:
    """The clips of every line. Raises DataError for a class outside `classes`, if they are given."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [(number, row) for number, row in enumerate(csv.reader(file), start=1) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: no split file, lines of `id,class` in UTF-8: {error}") from error
    lines = [_line(f"{path}:{number}", row) for number, row in rows]
    if not lines:
        raise DataError(f"{path}: the split is empty")
    for (number, _), line in zip(rows, lines):
        for name in (name for _, names in line for name in names):
            known(f"{path}:{number}", name, classes)
    return lines


def _line(where: str, row: list[str]) -> list[Clip]:
    match row:
        case [clip]:
            return [(clip, ())]
        case [clip, name]:
            return [(clip, (identifier(name),))]
        case [clip, name, other]:
            return [(clip, (identifier(name), identifier(other)))]
        case [clip, name, second, other]:
            return [(clip, (identifier(name),)), (second, (identifier(other),))]
    raise DataError(f"{where}: {len(row)} columns, expected `id`, `id,class`, `id,class,class` or `id,class,id,class`")


def known(where: str, name: str, classes: list[str] | None) -> None:
    """Raises DataError for a class outside `classes`, if they are given; as split files write them, whose names have no blanks or commas."""
    if classes is not None and identifier(name) not in _identifiers(tuple(classes)):
        first = sorted(classes)[:8]
        raise DataError(f"{where}: class {name!r} is not one of the model's {len(classes)}; expected one of "
                        + ", ".join(first) + (", …" if len(classes) > len(first) else ""))


@lru_cache
def _identifiers(classes: tuple[str, ...]) -> frozenset[str]:
    return frozenset(map(identifier, classes))


def training(path: Path, classes: list[str] | None) -> list[Clip]:
    """The clips of a training split, all with one class, or all with the two of a real duet."""
    clips = [clip for line in split(path, classes) for clip in line]
    counts = {len(names) for _, names in clips}
    if counts not in ({1}, {2}):
        raise DataError(f"{path}: training wants lines `id,class`, or `id,class,class` throughout; found lines with "
                        + " and ".join(f"{count} classes" for count in sorted(counts)))
    return clips


def scenes(data: Data, clips: list[Clip], each: int, seed: int, epoch: int = 0) -> list[Scene]:
    """Real duets as they are; clips of one class mixed, each with `each` partners, others in every epoch."""
    if len(clips[0][1]) == 2:
        return [alone(data, clip, tuple(map(Source, names))) for clip, names in clips]
    return mixtures(data, clips, each, seed, epoch)


def mixtures(data: Data, clips: list[Clip], each: int, seed: int, epoch: int = 0) -> list[Scene]:
    """Every clip with `each` partners of other classes, sides by chance."""
    chance = random.Random(seed if epoch == 0 else f"{seed} {epoch}")
    if len({names for _, names in clips}) < 2:
        raise DataError("mixtures need clips of at least two classes")
    mixed = []
    for own in clips:
        for _ in range(each):
            other = own
            while other[1] == own[1]:
                other = chance.choice(clips)
            pair = chance.sample([own, other], 2)
            mixed.append(beside(data, [(clip, Source(name)) for clip, (name,) in pair]))
    return mixed


def alone(data: Data, clip: str, sources: tuple[Source, ...]) -> Scene:
    """One frame with its own sound."""
    frame, wave = data.files(clip)
    return Scene((frame,), (wave,), sources, "single" if len(sources) == 1 else "duet")


def beside(data: Data, clips: list[tuple[str, Source]]) -> Scene:
    """Clips side by side, each source brought into its part of the picture."""
    files = [data.files(clip) for clip, _ in clips]
    sources = tuple(source.within(i, len(clips)) for i, (_, source) in enumerate(clips))
    return Scene(tuple(f for f, _ in files), tuple(s for _, s in files), sources, "single" if len(clips) == 1 else "duet")


def published(data: Data, path: Path, boxes: Path, classes: list[str]) -> tuple[list[Scene], Broken]:
    """The scenes of a published test: its split, with the boxes or masks of its clips."""
    said, lines = truth.read(boxes), split(path, classes)
    broken, found = Broken(len(lines)), []
    for line in lines:
        try:
            sources = [_sources(said(clip), names) for clip, names in line]
            reasons = [data.missing(clip) or ("" if own else f"nothing in {boxes}") for (clip, _), own in zip(line, sources)]
        except ValueError as error:
            sources, reasons = [], [str(error)]
        if any(reasons):
            broken.found["+".join(clip for clip, _ in line)] = "; ".join(filter(None, reasons))
            continue
        for name in (source.name for own in sources for source in own):
            known(str(boxes), name, classes)
        if len(line) == 1:
            found.append(alone(data, line[0][0], sources[0]))
        elif all(len(own) == 1 for own in sources):
            found.append(beside(data, [(clip, own[0]) for (clip, _), own in zip(line, sources)]))
        else:
            raise DataError(f"{path}: {line[0][0]},…,{line[1][0]},…: clips beside each other want one source each in {boxes}")
    broken.judge()
    return found, broken


def _sources(found: tuple[Source, ...], names: tuple[str, ...]) -> tuple[Source, ...]:
    """The sources of a clip, named by its split where that does."""
    if len(found) == len(names) == 1:
        return (replace(found[0], name=names[0]),)
    if found and names and sorted(names) != sorted(source.name for source in found):
        raise ValueError(f"{' and '.join(names)} in the split, but {' and '.join(source.name for source in found)} in its boxes")
    return found


def labelled(path: Path) -> list[Scene]:
    """The scenes of `tvsl eval`'s JSON in which something is both seen and heard."""
    said, found = truth.document(path), []
    if not isinstance(said, dict) or not isinstance(said.get("scenes"), list):
        raise DataError(f"{path}: expected an object with `scenes`, found {truth.shown(said)}")
    for number, entry in enumerate(said["scenes"]):
        try:
            if entry["kind"] not in ("off_screen", "silence"):
                found.append(_labelled(path.parent, entry))
        except truth.MALFORMED as error:
            raise DataError(f"{path}: scene {number}: expected `image`, `kind` and `sources`, each with `class` and perhaps `boxes` of four "
                            f"numbers; found {truth.shown(entry)}") from error
    return found


def _labelled(folder: Path, entry: dict[str, Any]) -> Scene:
    sounds = (folder / entry["audio"],) if entry.get("audio") else ()
    sources = tuple(Source(str(s["class"]), tuple(map(truth.numbers, s.get("boxes") or ()))) for s in entry["sources"])
    return Scene((folder / entry["image"],), sounds, sources, entry["kind"])
