"""What the frozen encoders make of scenes, computed once and kept as float16 on disk."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from . import manifest, picture, sound
from .dataset import UNREADABLE, Scene
from .encoders import Encoders
from .errors import DataError
from .processes import Processes

DONE = 1


class Stored(Dataset[tuple[Tensor, ...]]):
    """V [P, D], A [T, D] and the K classes of every scene, in memory maps of a folder; an index list gives a batch."""

    def __init__(self, folder: Path, present: np.ndarray, v: tuple[int, ...], a: tuple[int, ...]):
        self.folder, self.present = folder, present
        folder.mkdir(parents=True, exist_ok=True)
        self.v, self.a = self._array("V", v, np.float16), self._array("A", a, np.float16)
        self.state = self._array("state", (), np.uint8)

    def _array(self, name: str, shape: tuple[int, ...], kind: type) -> np.memmap[Any, Any]:
        path = self.folder / f"{name}.npy"
        if path.is_file():
            return np.lib.format.open_memmap(path, "r+")
        return np.lib.format.open_memmap(path, "w+", kind, (len(self.present), *shape))

    def usable(self) -> np.ndarray:
        """Indices of the scenes that are there."""
        return np.flatnonzero(self.state == DONE)

    def __len__(self) -> int:
        return len(self.present)

    def __getitem__(self, index: list[int] | np.ndarray) -> tuple[Tensor, ...]:
        index = np.asarray(index)
        return tuple(torch.from_numpy(np.ascontiguousarray(x[index])) for x in (self.v, self.a, self.present))


class Features(Stored):
    """Those of scenes with as many frames and sources each. Work that was interrupted goes on where it stopped."""

    def __init__(self, cache: Path, encoders: Encoders, scenes: list[Scene], processes: Processes = Processes()):
        self.encoders, self.scenes, self.processes = encoders, scenes, processes
        self._whole = np.arange(len(scenes))
        folder = cache / _key(encoders, scenes)
        folder.mkdir(parents=True, exist_ok=True)
        processes.share(folder)
        try:
            shapes = [x.shape for x in self._encoded(scenes[0])]
        except UNREADABLE as error:
            raise DataError(f"the first scene, of {scenes[0].frames[0]}: {error}") from error
        present = np.array([[encoders.index[s.name] for s in scene.sources] for scene in scenes])
        for turn in (True, False):  # the first process makes the files
            if turn == (processes.rank == 0):
                super().__init__(folder, present, *shapes)
            processes.told(None)

    def fill(self) -> dict[str, str]:
        """Encode what is still missing, each process its part; what could not be used, of all of them, and why."""
        rank, world, broken = self.processes.rank, self.processes.world, {}
        for i in tqdm(range(rank, len(self.scenes), world), "features", disable=rank > 0 or None, leave=False):
            if self.state[i] == DONE:
                continue
            try:
                self.v[i], self.a[i] = _numbers(*self._encoded(self.scenes[i]))
                self.state[i] = DONE
            except UNREADABLE as error:
                broken[i] = str(error)
        for array in (self.v, self.a, self.state):
            array.flush()
        found = {i: reason for told in self.processes.told(broken) for i, reason in told.items()}
        self._whole = np.array([i for i in range(len(self.scenes)) if i not in found], int)
        return {f"{i}, of {'+'.join(f.stem for f in self.scenes[i].frames)}": reason for i, reason in found.items()}

    def usable(self) -> np.ndarray:
        """Indices of the scenes that are there, the same in every process."""
        return self._whole

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


def _key(encoders: Encoders, scenes: list[Scene]) -> str:
    """Another name for other encoders or other scenes."""
    files = [[str(f) for f in scene.frames + scene.sounds] for scene in scenes]
    return hashlib.sha256(repr((*identity(encoders), files)).encode()).hexdigest()[:16]


def identity(encoders: Encoders) -> tuple[object, ...]:
    """What the tokens depend on: checksums of both encoders, and how they are fed."""
    said = {entry["path"]: entry["sha256"] for entry in manifest.read(encoders.folder)["files"]}
    graphs = encoders.manifest["graphs"]["fp32"]
    weights = sorted(v for k, v in said.items() if k in (graphs["image"], graphs["audio"]) or "encoder" in k)
    return weights, encoders.image, encoders.front_end.audio
