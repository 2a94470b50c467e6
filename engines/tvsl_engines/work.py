"""A method under training: its steps, and the checkpoint from which it goes on."""

import math
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, Sampler
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from .checkpoint import ABOUT, noted, read_note, read_tensors
from .config import Config
from .errors import TrainingError
from .features import Stored
from .heads import dials
from .methods import Method
from .processes import Processes
from .waiting import MOST, Waiting

LAST = "last.pt"
TYPES = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}
MOST_WARMUP = 0.2  # of all steps; a short training would not get beyond its warm-up else
LEAST_SCALE = 1.0  # of float16's gradients; below it the loss scaler only ever skipped


class Work:
    """Model, optimizer, schedule and how far they are. `about` names what the training depends on, in its checkpoints too."""

    clock: Callable[[], float] = staticmethod(time.perf_counter)

    def __init__(self, config: Config, method: Method, processes: Processes, about: dict[str, str]):
        self.config, self.processes, self.device = config, processes, processes.device
        self.about = {**about, **{key: str(getattr(config, key)) for key in ("method", "mixtures", "fresh", "seed")}}
        self.method = method.to(self.device)
        several = processes.world > 1
        self.model: nn.Module = DistributedDataParallel(self.method, find_unused_parameters=True) if several else self.method
        self.optimizer = torch.optim.AdamW(groups(config, self.method))
        self.highest = [group["lr"] for group in self.optimizer.param_groups]
        self.scaler = GradScaler(self.device.type, enabled=config.amp == "fp16")
        self.log = SummaryWriter(str(config.out)) if processes.rank == 0 else None
        self.epoch = self.step = 0
        self.within = 0  # steps of this epoch

    def feed(self, features: Stored) -> None:
        """Take batches from these from now on."""
        if getattr(self, "features", None) is not features:
            self.features = features
            self.loader, self.order = _loader(self.config, features, self.processes)

    def run(self, epoch: int, features: Stored) -> None:
        """One pass over the mixtures, then a checkpoint."""
        self.feed(features)
        self.within = 0
        self.order.set_epoch(epoch)
        _chance(self.config.seed, epoch, self.processes.rank)
        self.model.train()
        self._steps(f"epoch {epoch + 1}/{self.config.epochs}")
        self.epoch = epoch + 1
        if self.log:
            self.log.flush()
            self.save()

    def _steps(self, name: str) -> None:
        """A step with every batch, and at the end a word if they were waited for too long."""
        waiting, quiet = Waiting(self.clock), self.processes.rank > 0 or None
        bar = tqdm(waiting.over(self.loader), name, len(self.loader), disable=quiet, leave=False)
        for batch in bar:
            parts = self.update(batch)
            share = waiting.stepped()
            if self.log:
                self.log.add_scalar("waiting", share, self.step)
            bar.set_postfix({**{part: f"{value:.3f}" for part, value in parts.items()}, "waiting": f"{waiting.share:.0%}"})
        self._warn(name, max(self.processes.told(waiting.share)))  # where one process waits, all do

    def _warn(self, name: str, share: float) -> None:
        if share > MOST and self.processes.rank == 0:
            print(f"{name}: {share:.0%} of the time went by waiting for features, more than {MOST:.0%}; raise `workers` (now "
                  f"{self.config.workers}), the processes that read them, or put `cache` on a faster disk", file=sys.stderr)

    def update(self, batch: tuple[Tensor, ...]) -> dict[str, float]:
        """One step; the parts of the loss. Raises TrainingError, before it moves a weight, for a loss or gradient that is no number."""
        rate = self._rate()
        for group, highest in zip(self.optimizer.param_groups, self.highest):
            group["lr"] = highest * rate
        parts = self._losses(batch)
        loss = torch.stack(list(parts.values())).sum()
        values = {name: value.item() for name, value in parts.items()}
        if not loss.isfinite():
            raise self._stopped("the loss is no number (" + ", ".join(f"{name} {value:.3g}" for name, value in values.items()) + ")")
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self._move()
        self.step += 1
        self.within += 1
        if self.log:
            for name, value in {**values, "sum": loss.item()}.items():
                self.log.add_scalar(f"loss/{name}", value, self.step)
            self.log.add_scalar("rate", self.config.rate * rate, self.step)
        return values

    def _rate(self) -> float:
        """The share of the highest rate. It goes by epochs and the part of this one, not by steps alone: of those another batch or number
        of processes makes more or fewer, and the rate would not be 0 at the end."""
        each, epochs = max(1, len(self.loader)), self.config.epochs
        return cosine(self.epoch * each + self.within, min(self.config.warmup, MOST_WARMUP * epochs * each), epochs * each)

    def _losses(self, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        v, a, present = (x.to(self.device, non_blocking=True) for x in batch)
        kind = TYPES[self.config.amp]
        with torch.autocast(self.device.type, kind, enabled=kind is not None):
            parts: dict[str, Tensor] = self.model(v.float(), a.float(), present)
        return parts

    def _move(self) -> None:
        """Move the weights. float16's scaler leaves a step out whose gradient overflowed, and tries a lower scale next."""
        if not self.scaler.is_enabled():
            size = nn.utils.get_total_norm([p.grad for p in self.method.parameters() if p.grad is not None])
            if not size.isfinite():
                names = [name for name, p in self.method.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
                raise self._stopped(f"the loss is a number, but its gradient is none for {', '.join(names) or 'all weights together'}")
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.scaler.is_enabled() and self.scaler.get_scale() < LEAST_SCALE:
            raise self._stopped(f"the gradient is no number at any scale down to {LEAST_SCALE:g}")

    def _stopped(self, reason: str) -> TrainingError:
        path = self.config.out / LAST
        kept = f"The last good checkpoint is {path} (epoch {self.epoch})" if self.epoch else "No epoch was over, so there is no checkpoint"
        return TrainingError(f"step {self.step}: {reason}; stopped. {kept}; a lower `rate` or amp = \"off\" may help")

    def save(self) -> None:
        """Write the checkpoint so that there is always a whole one, and a good one: what is no number is not written."""
        state = {**{f"method.{k}": v for k, v in self.method.state_dict().items()}, "epoch": torch.tensor(self.epoch),
                 "step": torch.tensor(self.step), ABOUT: noted(self.about)}
        for i, values in self.optimizer.state_dict()["state"].items():
            state |= {f"optimizer.{i}.{name}": value for name, value in values.items()}
        state |= {f"scaler.{name}": torch.tensor(value) for name, value in self.scaler.state_dict().items()}
        broken = [name for name, value in state.items() if not value.isfinite().all()]
        if broken:
            self.epoch -= 1
            raise self._stopped(f"no numbers in {', '.join(broken)}")
        path = self.config.out / LAST
        torch.save(state, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    def resume(self) -> None:
        """Go on from the checkpoint of the first process, which alone writes one, if there is one. Raises TrainingError if it is of
        another training."""
        path = self.config.out / LAST
        reads = self.processes.rank == 0 and path.is_file()
        state = self.processes.first(read_tensors(path) if reads else None)
        if state is None:
            return
        lacking = [key for key in (ABOUT, "epoch", "step") if key not in state]
        if lacking:
            raise TrainingError(f"{path}: no checkpoint of a training ({', '.join(lacking)} missing); move it away to start anew")
        about = read_note(path, state[ABOUT])
        other = [f"{key} {about.get(key)} instead of {own}" for key, own in self.about.items() if about.get(key) != own]
        if other:
            raise TrainingError(f"{path}: the checkpoint of another training: {', '.join(other)}; move it away to start anew")
        own = {k.removeprefix("method."): v for k, v in state.items() if k.startswith("method.")}
        try:
            self.method.load_state_dict(own)
        except RuntimeError as error:
            raise TrainingError(f"{path}: weights of other shapes; move it away to start anew: {error}") from error
        self.epoch, self.step = int(state["epoch"]), int(state["step"])
        optimizer = self.optimizer.state_dict()
        for key, value in state.items():
            if key.startswith("optimizer."):
                _, i, name = key.split(".")
                optimizer["state"].setdefault(int(i), {})[name] = value
        self.optimizer.load_state_dict(optimizer)
        scaler = {key.removeprefix("scaler."): value.item() for key, value in state.items() if key.startswith("scaler.")}
        if scaler and self.scaler.is_enabled():
            self.scaler.load_state_dict(scaler)


def _chance(seed: int, epoch: int, rank: int) -> None:
    """Start PyTorch's chance anew, so that an epoch leaves out the same branches of layers whether or not training stopped before it; in
    each process others."""
    torch.manual_seed(int(np.random.SeedSequence((seed, epoch, rank)).generate_state(1)[0]))


def groups(config: Config, method: Method) -> list[dict[str, object]]:
    """What the optimizer moves, and how: a mix starts as the identity, and hardly leaves it where its one number learns as slowly as
    each weight of its layers. That number, scales and biases do not decay: nought is nothing they should come back to."""
    own = dials(method)
    known = {id(p) for p in own}
    layers = [p for p in method.parameters() if p.requires_grad and id(p) not in known]
    return [{"params": layers, "lr": config.rate, "weight_decay": config.decay},
            {"params": own, "lr": config.dial_rate, "weight_decay": 0.0}]


class Shuffled(Sampler[int]):
    """Every index once, in an order that follows from seed and epoch; a distributed run gives each process its part."""

    def __init__(self, indices: np.ndarray, seed: int, processes: Processes):
        self.indices = indices
        everything: Any = range(len(indices))  # all that it asks for is a length
        self.inner: DistributedSampler[int] = DistributedSampler(everything, processes.world, processes.rank, seed=seed)

    def set_epoch(self, epoch: int) -> None:
        self.inner.set_epoch(epoch)

    def __iter__(self) -> Iterator[int]:
        return (int(self.indices[i]) for i in self.inner)

    def __len__(self) -> int:
        return len(self.inner)


def _loader(config: Config, features: Stored, processes: Processes) -> tuple[DataLoader[tuple[Tensor, ...]], Shuffled]:
    order = Shuffled(features.usable(), config.seed, processes)
    batches = BatchSampler(order, min(config.batch, max(1, len(order))), drop_last=True)
    loader = DataLoader(features, sampler=batches, batch_size=None, num_workers=config.workers,
                        pin_memory=torch.cuda.is_available(), persistent_workers=config.workers > 0)
    return loader, order


def cosine(step: float, warmup: float, steps: int) -> float:
    """The share of the highest rate: up to 1 in `warmup` steps, then down to 0 along a cosine."""
    if step < warmup:
        return min(1.0, (step + 1) / warmup)
    return (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup)))) / 2
