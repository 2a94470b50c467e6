"""How much of training's time is its matrix products: steps on made-up features beside the bare products of the same shapes."""

import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from .heads import norm
from .methods import METHODS

PRODUCTS = {torch.ops.aten.mm.default: (0, 1), torch.ops.aten.bmm.default: (0, 1), torch.ops.aten.addmm.default: (1, 2)}


class Products(TorchDispatchMode):
    """Notes the operands' shapes and strides of every matrix product that runs within it."""

    def __init__(self):
        super().__init__()
        self.found: list[tuple[tuple, tuple]] = []

    def __torch_dispatch__(self, operation, types, arguments=(), keywords=None):
        for place in [PRODUCTS[operation]] if operation in PRODUCTS else []:
            self.found.append(tuple((tuple(arguments[i].shape), arguments[i].stride(), arguments[i].dtype) for i in place))
        return operation(*arguments, **(keywords or {}))


def seconds(work: Callable[[], object], times: int, device: torch.device) -> float:
    """The middle one of `times` runs, after one that does not count. On a CPU its own time, whatever else the machine does."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    taken = []
    for _ in range(times + 1):
        start = clock()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(clock() - start)
    return sorted(taken[1:])[times // 2]


def measure(name: str, batch: int, classes: int, dimension: int, cells: int = 98, rows: int = 143, times: int = 3) -> dict[str, float]:
    """Seconds of a training step and of its bare products (on a CPU: of all its threads), and scenes in such a second."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    method = METHODS[name](norm(torch.randn(classes, dimension))).to(device)
    optimizer = torch.optim.AdamW(method.parameters())
    v, a = torch.randn(batch, cells, dimension, device=device), torch.randn(batch, rows, dimension, device=device)
    present = torch.stack([torch.randperm(classes)[:2] for _ in range(batch)]).to(device)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        sum(method(v, a, present).values()).backward()
        optimizer.step()

    with Products() as products:
        step()
    made = [tuple(_like(*operand, device) for operand in pair) for pair in products.found]
    bare = seconds(lambda: [torch.matmul(x, y) for x, y in made], times, device)
    whole = seconds(step, times, device)
    return {"step": whole, "products": bare, "share": bare / whole, "scenes": batch / whole}


def _like(shape: tuple[int, ...], strides: tuple[int, ...], kind: torch.dtype, device: torch.device) -> Tensor:
    """A tensor of numbers laid out in memory as the original was."""
    size = 1 + sum((n - 1) * s for n, s in zip(shape, strides))
    return torch.rand(size, device=device).to(kind).as_strided(shape, strides)
