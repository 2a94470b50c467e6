"""Heat maps against labelled boxes: the program's own protocol on its scenes, and the table's on published tests."""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from scipy.optimize import linear_sum_assignment
from tqdm import tqdm

from . import metrics, picture, sound
from .dataset import UNREADABLE, Broken, Scene
from .encoders import Encoders
from .errors import DataError
from .features import mixed
from .methods import Method
from .picture import Fit
from .truth import Source

PROGRAM_RASTER, RASTER = 128, 224
CUT = 0.5  # of a scaled map, in the table
MEASURES = ("source-wise unless a name says by frame: there the mean IoU of a scene's sources is held against the threshold; IoU: the mask and "
            "the union of the labelled boxes, or their mask; AP, CAP: average precision of the raster's positions ranked by heat; PIAP: by "
            "frame, the mean of CAP when the maps may be given to the sources in any way; AUC: thresholds 0 to 1 in steps of 0.05; single: "
            "scenes with one boxed source; duet: with several")
PROGRAM = (f"as `tvsl eval`: whole picture, class given, in the window of its highest p; the mask is the union of the published regions "
           f"(the model's `map` threshold) on a {PROGRAM_RASTER} x {PROGRAM_RASTER} raster; {MEASURES}")
TABLE = (f"our own, on published tests: frames side by side, the middle of each sound, summed; class given; map interpolated bicubically to "
         f"{RASTER} x {RASTER}, scaled from least to most, the mask cut at {CUT}; {MEASURES}")


@dataclass(frozen=True)
class Judged:
    """One scene with K boxed sources: overlap [K], and average precision [K, K] of map i against the boxes of source j."""

    iou: np.ndarray
    precision: np.ndarray

    @property
    def count(self) -> int:
        return len(self.iou)

    def best_permutation(self) -> float:
        """Mean average precision when maps may be given to sources in any way."""
        return float(self.precision[linear_sum_assignment(self.precision, maximize=True)].mean())


def judge(maps: np.ndarray, sources: Sequence[Source], place: Fit, thresholds: list[float] | None) -> Judged:
    """H [K, P] against K sources. With `thresholds` the program's regions are judged, else the map cut at CUT."""
    side = PROGRAM_RASTER if thresholds else RASTER
    heat = [metrics.over_picture(h, place, side, side) for h in maps]
    truth = [metrics.covered(source, side) for source in sources]
    if thresholds:
        found = [metrics.raster(metrics.regions(h, place, cut)[0], side) for h, cut in zip(maps, thresholds)]
    else:
        found = [(x if x is not None else np.zeros_like(h)) >= CUT for h, x in ((h, metrics.scaled(h)) for h in heat)]
    precision = [[metrics.average_precision(h.ravel(), t.ravel()) for t in truth] for h in heat]
    return Judged(np.array([metrics.iou(f, t) for f, t in zip(found, truth)]), np.array(precision))


def by_program(folder: Path, scenes: Iterable[Scene]) -> list[Judged]:
    """The deployed graphs of a model folder on scenes, as `tvsl eval` judges them; sources without boxes or class are left out."""
    model, scenes = Program(folder), list(scenes)
    lacking = Counter(s.name for scene in scenes for s in scene.sources if s.name not in model.encoders.named)
    for name, times in sorted(lacking.items()):
        print(f"class {name!r} is not in the model: left out, {times} times", file=sys.stderr)
    kept = [(scene, [s for s in scene.sources if s.name not in lacking and s.boxes]) for scene in scenes]
    kept = [(scene, sources) for scene, sources in kept if sources]
    if not kept:
        raise DataError(f"no scene is left to judge: no source has boxes and a class of the model in {folder}")
    return [model.judge(scene, sources) for scene, sources in tqdm(kept, "scenes", leave=False, disable=None)]


class Program:
    """A model folder's graphs, run as the program runs them."""

    def __init__(self, folder: Path):
        self.encoders = Encoders(folder)
        graphs = self.encoders.manifest["graphs"]["fp32"]
        run = lambda name: onnxruntime.InferenceSession(folder / graphs[name], providers=["CPUExecutionProvider"]).run
        self.stage1, self.stage2 = run("stage1"), run("stage2")
        general = self.encoders.manifest["thresholds"]["map"]
        self.thresholds = [entry.get("map", general) for entry in self.encoders.manifest["classes"]]

    def judge(self, scene: Scene, sources: list[Source]) -> Judged:
        encoders = self.encoders
        frame, samples = self._read(scene)
        x, place = encoders.whole(frame)
        v, rows = encoders.see(x[None]), encoders.hear(samples)
        p = np.stack([self.stage1(["p"], {"V": v, "A": a[None], "t": encoders.t})[0][0] for a in rows])
        classes = [encoders.named[s.name] for s in sources]
        maps = [self.stage2(["H"], {"V": v, "A": rows[p[:, k].argmax()][None], "t": encoders.t[k:k + 1]})[0][0, 0] for k in classes]
        return judge(np.stack(maps), sources, place, [self.thresholds[k] for k in classes])

    def _read(self, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
        """Picture and sound of a scene, no samples where it names no sound. Raises DataError for files that cannot be read or hold none."""
        try:
            frame = picture.read(scene.frames[0])
            samples = [sound.read(path, self.encoders.front_end.rate) for path in scene.sounds]
        except UNREADABLE as error:
            raise DataError(f"the scene of {scene.frames[0]} cannot be read: {error}") from error
        for path in (path for path, own in zip(scene.sounds, samples) if not len(own)):
            raise DataError(f"the scene of {scene.frames[0]}: {path} holds no sound; leave `audio` out for digital silence")
        return frame, samples[0] if samples else np.zeros(0, np.float32)


def by_methods(methods: dict[str, tuple[Method, Encoders]], scenes: list[Scene], broken: Broken) -> dict[str, list[Judged]]:
    """Methods with their encoders on the same scenes, each encoded once by those that differ; unreadable ones are counted in `broken`."""
    different = dict.fromkeys(encoders for _, encoders in methods.values())
    judged: dict[str, list[Judged]] = {name: [] for name in methods}
    for scene in tqdm(scenes, "scenes", leave=False, disable=None):
        try:
            seen = {encoders: encoded(encoders, scene) for encoders in different}
        except UNREADABLE as error:
            broken.found["+".join(f.stem for f in scene.frames)] = str(error)
            continue
        for name, (method, encoders) in methods.items():
            v, a, place = seen[encoders]
            present = torch.tensor([[encoders.index[s.name] for s in scene.sources]])
            with torch.no_grad():
                maps = method.eval().maps(v, a, present)[0].numpy()
            judged[name].append(judge(maps, scene.sources, place, None))
    broken.judge()
    return judged


def encoded(encoders: Encoders, scene: Scene) -> tuple[torch.Tensor, torch.Tensor, Fit]:
    """V [1, P, D] and A [1, T, D] of a scene, and where its picture lies."""
    x, place = encoders.beside([picture.read(frame) for frame in scene.frames])
    a = encoders.hear(mixed(encoders, scene))[0]
    return torch.from_numpy(encoders.see(x[None])), torch.from_numpy(a[None]), place


def _share(least: float) -> Callable[[float], float]:
    return lambda value: float(value >= least)


def _sources(of: Callable[[float], float]) -> Callable[[Judged], list[float]]:
    return lambda scene: [of(v) for v in scene.iou]


def _frame(of: Callable[[float], float]) -> Callable[[Judged], list[float]]:
    return lambda scene: [of(float(scene.iou.mean()))]


ALL = {
    "AP": lambda scene: list(scene.precision.diagonal()),
    "IoU@0.3": _sources(_share(0.3)),
    "IoU@0.5": _sources(_share(0.5)),
    "AUC": _sources(metrics.success_area),
}
SINGLE = {
    "AP": lambda scene: [scene.precision[0, 0]],
    "IoU@0.5": _sources(_share(0.5)),
    "AUC": _sources(metrics.success_area),
}
DUET = {
    "CAP": lambda scene: list(scene.precision.diagonal()),
    "PIAP": lambda scene: [scene.best_permutation()],
    "CIoU@0.3": _sources(_share(0.3)),
    "CIoU@0.3 by frame": _frame(_share(0.3)),
    "AUC": _sources(metrics.success_area),
    "AUC by frame": _frame(metrics.success_area),
}


def samples(figure: Callable[[Judged], list[float]], judged: list[Judged]) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of a figure's samples in every scene."""
    values = [figure(scene) for scene in judged]
    return np.array([sum(v) for v in values]), np.array([len(v) for v in values])


def parts(judged: list[Judged]) -> dict[str, tuple[dict, list[Judged]]]:
    """Scenes of one source with their figures, those of several with theirs, and all of them."""
    single, duet = [j for j in judged if j.count == 1], [j for j in judged if j.count > 1]
    named = (("single", SINGLE, single), ("duet", DUET, duet), ("all", ALL, judged))
    return {name: (figures, own) for name, figures, own in named if own}
