"""How much of training's time is its matrix products: the steps of a real training, fed with made-up features from the disk, beside the
bare products of the same shapes, all by the clock on the wall."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from .config import Config
from .features import DONE, Stored
from .heads import norm
from .methods import METHODS
from .processes import Processes
from .waiting import MOST
from .work import Work

PRODUCTS = {torch.ops.aten.mm.default: (0, 1), torch.ops.aten.bmm.default: (0, 1), torch.ops.aten.addmm.default: (1, 2)}
SHARE, WAIT = 0.5, MOST  # goals: at least so much of a step is products, at most so much of it waits for data
Operand = tuple[tuple[int, ...], tuple[int, ...], torch.dtype]  # shape, strides, type


@dataclass(frozen=True)
class Speed:
    """Middle seconds of a step with its batch, of which waiting for the batch, and of its bare products; scenes in a step."""

    step: float
    wait: float
    products: float
    batch: int
    device: str

    @property
    def share(self) -> float:
        return self.products / self.step

    @property
    def busy(self) -> bool:
        """Whether enough of a step is products."""
        return self.share >= SHARE

    @property
    def fed(self) -> bool:
        """Whether little enough of a step is waiting."""
        return self.wait <= WAIT * self.step

    @property
    def good(self) -> bool:
        return self.busy and self.fed

    def __str__(self) -> str:
        verdict = lambda good: "pass" if good else "MISS"
        return (f"{self.step * 1e3:.0f} ms a step, {self.batch / self.step:.1f} scenes/s, on {self.device}\n"
                f"{self.products * 1e3:.0f} ms for its bare matrix products: {self.share:.2f} of a step, goal {SHARE}: {verdict(self.busy)}\n"
                f"{self.wait * 1e3:.1f} ms of waiting for data: {self.wait / self.step:.3f} of a step, goal {WAIT}: {verdict(self.fed)}")


class Products(TorchDispatchMode):
    """Notes the operands' shapes and strides of every matrix product that runs within it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[Operand, ...]] = []

    def __torch_dispatch__(self, operation: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        for place in [PRODUCTS[operation]] if operation in PRODUCTS else []:
            self.found.append(tuple((tuple(arguments[i].shape), arguments[i].stride(), arguments[i].dtype) for i in place))
        return operation(*arguments, **(keywords or {}))


def measure(name: str, batch: int, classes: int, dimension: int, cells: int = 98, rows: int = 143, times: int = 5, workers: int = 0,
            amp: str = "off") -> Speed:
    """`times` steps of a training whose loader reads cached features, each followed by its bare products."""
    torch.manual_seed(0)
    with TemporaryDirectory() as folder:
        config = Config(Path(), Path(), Path(), Path(folder), method=name, batch=batch, epochs=1, workers=workers, amp=amp)
        work = Work(config, METHODS[name](norm(torch.randn(classes, dimension))), Processes(), {})
        work.feed(made_up(Path(folder), batch * (times + 1), (cells, dimension), (rows, dimension), classes))
        batches = iter(work.loader)
        with Products() as products:
            work.update(next(batches))
        made = [tuple(_like(operand, work.device) for operand in pair) for pair in products.found]
        bare = lambda: [torch.matmul(x, y) for x, y in made]
        bare()
        taken = [(*_step(work, batches), _seconds(bare, work.device)) for _ in range(times)]
        if work.log:
            work.log.close()  # else it may write into the folder while that is removed
    device = torch.cuda.get_device_name() if work.device.type == "cuda" else f"{torch.get_num_threads()} threads of the CPU"
    waits, updates, bares = zip(*taken)
    return Speed(median(w + u for w, u in zip(waits, updates)), median(waits), median(bares), batch, device)


def made_up(folder: Path, count: int, v: tuple[int, int], a: tuple[int, int], classes: int) -> Stored:
    """Features of chance, in files as those of a training are."""
    chance = np.random.default_rng(0)
    stored = Stored(folder / "features", np.array([chance.permutation(classes)[:2] for _ in range(count)]), v, a)
    for part, scenes in enumerate(stored.parts):
        with stored.written(part) as (own_v, own_a, state):
            for row in range(len(scenes)):
                own_v[row], own_a[row] = chance.standard_normal(v), chance.standard_normal(a)
            state[:] = DONE
    return stored


def _step(work: Work, batches: Iterator[tuple[Tensor, ...]]) -> tuple[float, float]:
    """Seconds of waiting for a batch, and of the step with it."""
    start = time.perf_counter()
    batch = next(batches)
    return time.perf_counter() - start, _seconds(lambda: work.update(batch), work.device)


def _seconds(run: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _like(operand: Operand, device: torch.device) -> Tensor:
    """A tensor of numbers laid out in memory as the original was."""
    shape, strides, kind = operand
    size = 1 + sum((n - 1) * s for n, s in zip(shape, strides))
    return torch.rand(size, device=device).to(kind).as_strided(shape, strides)
