"""What the frozen encoders make of scenes, computed once and kept as float16 on disk."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from . import picture, sound
from .dataset import UNREADABLE, Scene, state
from .encoders import Encoders
from .errors import DataError
from .processes import Processes

DONE = 1
PARTS = 128  # most files of each kind
Map = np.memmap[Any, Any]


class Stored(Dataset[tuple[Tensor, ...]]):
    """V [P, D], A [T, D] and the K classes of every scene, in memory maps of a folder; an index list gives a batch. They are cut in
    parts with files of their own, each for one process to write: on a network's file system two machines that write to one page of a
    map undo each other's numbers. How they are cut does not depend on the number of processes."""

    def __init__(self, folder: Path, present: np.ndarray, v: tuple[int, ...], a: tuple[int, ...]):
        self.folder, self.present = folder, present
        self.kinds: dict[str, tuple[tuple[int, ...], type]] = {"V": (v, np.float16), "A": (a, np.float16), "state": ((), np.uint8)}
        self.size = max(1, -(-len(present) // PARTS))
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def parts(self) -> list[range]:
        """The scenes of each part."""
        return [range(i, min(i + self.size, len(self))) for i in range(0, len(self), self.size)]

    @property
    def each(self) -> int:
        """Bytes that a scene takes on the disk."""
        return sum(int(np.prod(shape)) * np.dtype(kind).itemsize for shape, kind in self.kinds.values())

    @contextmanager
    def written(self, part: int) -> Iterator[list[Map]]:
        """V, A and state of a part, to be written to; on the disk when this ends."""
        maps = [self._map(name, part, True) for name in self.kinds]
        try:
            yield maps
        finally:
            for array in maps:
                array.flush()

    @cached_property
    def tokens(self) -> list[list[Map]]:
        """V and A of every part, opened when they are first read, which is when all have been written."""
        return [[self._map(name, part, False) for part in range(len(self.parts))] for name in ("V", "A")]

    def _map(self, name: str, part: int, to_write: bool) -> Map:
        path, (shape, kind) = self.folder / f"{name}-{part:03}.npy", self.kinds[name]
        if to_write and not path.is_file():
            return np.lib.format.open_memmap(path, "w+", kind, (len(self.parts[part]), *shape))
        return np.lib.format.open_memmap(path, "r+" if to_write else "r")

    def usable(self) -> np.ndarray:
        """Indices of the scenes that are there."""
        return np.flatnonzero(np.concatenate([self._map("state", part, False) for part in range(len(self.parts))]) == DONE)

    def __len__(self) -> int:
        return len(self.present)

    def __getitem__(self, index: list[int] | np.ndarray) -> tuple[Tensor, ...]:
        index = np.asarray(index)
        places = list(zip(index // self.size, index % self.size))
        tokens = (np.stack([parts[part][row] for part, row in places]) for parts in self.tokens)
        return tuple(torch.from_numpy(x) for x in (*tokens, self.present[index]))


class Features(Stored):
    """Those of scenes with as many frames and sources each. Work that was interrupted goes on where it stopped."""

    def __init__(self, cache: Path, encoders: Encoders, scenes: list[Scene], processes: Processes = Processes()):
        self.encoders, self.scenes, self.processes = encoders, scenes, processes
        self._whole = np.arange(len(scenes))
        folder = cache / _key(encoders, scenes, processes)
        folder.mkdir(parents=True, exist_ok=True)
        processes.share(folder)
        shapes = self._shapes()
        present = np.array([[encoders.index[s.name] for s in scene.sources] for scene in scenes])
        super().__init__(folder, present, *shapes)

    def fill(self) -> dict[str, str]:
        """Encode what is still missing, each process its parts; what could not be used, of all of them, and why."""
        rank, broken = self.processes.rank, dict[int, str]()
        own = range(rank, len(self.parts), self.processes.world)
        with tqdm(total=sum(len(self.parts[part]) for part in own), desc="features", disable=rank > 0 or None, leave=False) as bar:
            for part in own:
                broken |= self._fill(part, bar)
        found = {i: reason for told in self.processes.told(broken) for i, reason in told.items()}
        self._whole = np.array([i for i in range(len(self.scenes)) if i not in found], int)
        return {f"{i}, of {'+'.join(f.stem for f in self.scenes[i].frames)}": reason for i, reason in found.items()}

    def _fill(self, part: int, bar: "tqdm[Any]") -> dict[int, str]:
        """Encode what is missing of a part; what could not be used, and why."""
        broken = {}
        with self.written(part) as (v, a, state):
            for row, i in enumerate(self.parts[part]):
                bar.update()
                if state[row] == DONE:
                    continue
                try:
                    v[row], a[row] = _numbers(*self._encoded(self.scenes[i]))
                    state[row] = DONE
                except UNREADABLE as error:
                    broken[i] = str(error)
        return broken

    def usable(self) -> np.ndarray:
        """Indices of the scenes that are there, the same in every process."""
        return self._whole

    def _shapes(self) -> list[tuple[int, ...]]:
        """Those of V and A, by the first scene that can be encoded. Raises DataError if none can."""
        reasons = []
        for scene in self.scenes:
            try:
                return [x.shape for x in self._encoded(scene)]
            except UNREADABLE as error:
                reasons.append(f"{scene.frames[0]}: {error}")
        raise DataError(f"none of {len(reasons)} scenes can be encoded; the first, of {reasons[0]}")

    def _encoded(self, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
        x, _ = self.encoders.beside([picture.read(frame) for frame in scene.frames])
        return self.encoders.see(x[None])[0], self.encoders.hear(mixed(self.encoders, scene))[0]


def _numbers(v: np.ndarray, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The tokens. Raises ValueError unless float16 can hold them."""
    for what, tokens in (("picture", v), ("sound", a)):
        if not (np.abs(tokens) <= np.finfo(np.float16).max).all():
            raise ValueError(f"the {what}'s tokens are no numbers, or beyond float16")
    return v, a


def mixed(encoders: Encoders, scene: Scene) -> np.ndarray:
    """The middle windows of a scene's sounds, summed."""
    end = encoders.front_end
    return np.sum([sound.heard(path, end.rate, end.window) for path in scene.sounds], axis=0)


def _key(encoders: Encoders, scenes: list[Scene], processes: Processes) -> str:
    """Another name for other encoders, for other scenes, and for files that were written to. Machines may have copies of the files, of
    other times: those of the first process count."""
    files = [[str(f) for f in scene.frames + scene.sounds] for scene in scenes]
    states = {f: state(f) for f in dict.fromkeys(f for scene in scenes for f in scene.frames + scene.sounds)}
    return hashlib.sha256(repr((*identity(encoders), files, processes.first(short([*states.values()])))).encode()).hexdigest()[:16]


def origin(encoders: Encoders) -> dict[str, str]:
    """Short names of the encoders and of the texts that heads are trained over, others for others."""
    return {"encoders": short(identity(encoders)), "texts": short(encoders.wording)}


def short(value: object) -> str:
    """A name of a value that fits into a message."""
    return hashlib.sha256(repr(value).encode()).hexdigest()[:8]


def identity(encoders: Encoders) -> tuple[object, ...]:
    """What the tokens depend on: checksums of both encoders and their weights, and how they are fed."""
    return encoders.checksums, encoders.image, encoders.front_end.audio
