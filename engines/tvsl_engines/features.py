"""What the frozen encoders make of scenes, computed once and kept as float16 on disk."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from . import manifest, picture, sound
from .dataset import Broken, Scene
from .encoders import Encoders
from .errors import DataError

PENDING, DONE, BROKEN = 0, 1, 2


class Features(Dataset):
    """V [P, D], A [T, D] and the K classes of every usable scene; an index list gives a batch.

    All scenes must have as many frames and sources. Work that was interrupted goes on where it stopped.
    """

    def __init__(self, cache: Path, encoders: Encoders, scenes: list[Scene]):
        self.encoders, self.scenes = encoders, scenes
        self.folder = cache / _key(encoders, scenes)
        self.present = np.array([[encoders.index[s.name] for s in scene.sources] for scene in scenes])
        self._open()

    def _open(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        whole = next((scene for scene in self.scenes if _readable(scene)), None)
        if whole is None:
            raise DataError(f"none of {len(self.scenes)} scenes can be read, the first of {self.scenes[0].frames[0]}")
        v, a = self._encoded(whole)
        self.v, self.a = (self._array(name, x.shape, np.float16) for name, x in (("V", v), ("A", a)))
        self.state = self._array("state", (), np.uint8)

    def _array(self, name: str, shape: tuple[int, ...], kind: type) -> np.memmap:
        path = self.folder / f"{name}.npy"
        if path.is_file():
            return np.load(path, mmap_mode="r+")
        return np.lib.format.open_memmap(path, "w+", kind, (len(self.scenes), *shape))

    def fill(self, broken: Broken, rank: int = 0, world: int = 1) -> None:
        """Encode this process's part of what is still missing; unreadable scenes are counted in `broken`."""
        for i in tqdm(range(rank, len(self.scenes), world), "features", disable=rank > 0 or None, leave=False):
            if self.state[i] == DONE:
                continue
            try:
                self.v[i], self.a[i] = self._encoded(self.scenes[i])
                self.state[i] = DONE
            except (OSError, ValueError, RuntimeError) as error:
                self.state[i] = BROKEN
                broken.skip("+".join(f.stem for f in self.scenes[i].frames), str(error))
        for array in (self.v, self.a, self.state):
            array.flush()

    def _encoded(self, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
        x, _ = self.encoders.beside([picture.read(frame) for frame in scene.frames])
        v, a = self.encoders.see(x[None])[0], self.encoders.hear(mixed(self.encoders, scene))[0]
        for what, tokens in (("picture", v), ("sound", a)):
            if not (np.abs(tokens) <= np.finfo(np.float16).max).all():
                raise ValueError(f"the {what}'s tokens are no numbers, or beyond float16")
        return v, a

    def usable(self) -> np.ndarray:
        """Indices of the scenes that could be read."""
        return np.flatnonzero(self.state == DONE)

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: list[int] | np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        index = np.asarray(index)
        return tuple(torch.from_numpy(np.ascontiguousarray(x[index])) for x in (self.v, self.a, self.present))


def mixed(encoders: Encoders, scene: Scene) -> np.ndarray:
    """The middle windows of a scene's sounds, summed."""
    end = encoders.front_end
    return sum(sound.middle(sound.read(path, end.rate), end.window) for path in scene.sounds)


def _readable(scene: Scene) -> bool:
    try:
        return bool([picture.read(f) for f in scene.frames] and [sound.read(s, 16000) for s in scene.sounds])
    except (OSError, ValueError, RuntimeError):
        return False


def _key(encoders: Encoders, scenes: list[Scene]) -> str:
    """Another name for other encoders or other scenes."""
    said = {entry["path"]: entry["sha256"] for entry in manifest.read(encoders.folder)["files"]}
    graphs = encoders.manifest["graphs"]["fp32"]
    weights = sorted(v for k, v in said.items() if k in (graphs["image"], graphs["audio"]) or "encoder" in k)
    files = [[str(f) for f in scene.frames + scene.sounds] for scene in scenes]
    return hashlib.sha256(repr((weights, encoders.image, encoders.front_end.audio, files)).encode()).hexdigest()[:16]
