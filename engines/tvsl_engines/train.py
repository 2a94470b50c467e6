"""Training: frozen encoders' features, mixtures, AMP, a cosine schedule, checkpoints to go on from, several GPUs."""

import math
import os
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, Sampler
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from . import dataset
from .checkpoint import read_tensors
from .choose import NAMES, choose
from .encoders import Encoders
from .errors import TrainingError
from .features import Features
from .heads import dials
from .methods import Method

LAST, WEIGHTS = "last.pt", "weights.pt"
PRECISIONS = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Config:
    """Every key of a training configuration (TOML); paths are relative to where the command runs."""

    encoders: Path  # a model folder
    data: Path  # frames/ and audio/
    split: Path  # lines `id,class`
    out: Path  # checkpoints, log, weights
    cache: Path = Path(".cache/features")
    method: str = "tvsl-two-stage"
    clipseg: Path | None = None  # CLIPSeg's weights, for clip-ssl
    mixtures: int = 2  # partners of every clip
    epochs: int = 20
    batch: int = 64  # scenes, of each process
    rate: float = 1e-4  # of learning, at its highest
    dial_rate: float = 1e-2  # that of mixes' shares, scales and calibrations
    decay: float = 1e-4
    warmup: int = 100  # steps
    amp: str = "off"  # off, bf16 or fp16
    workers: int = 0  # processes that read features
    seed: int = 0

    @classmethod
    def read(cls, path: Path, **changed: object) -> "Config":
        """A TOML file, with keys changed on the command line."""
        try:
            values = {**tomllib.loads(path.read_text(encoding="utf-8")), **{k: v for k, v in changed.items() if v is not None}}
        except ValueError as error:
            raise TrainingError(f"{path}: no TOML: {error}") from error
        known = {f.name: f.type for f in fields(cls)}
        for key in values:
            if key not in known:
                raise TrainingError(f"{path}: unknown key `{key}`; expected one of {', '.join(known)}")
        lacking = [k for k in ("encoders", "data", "split", "out") if k not in values]
        if lacking:
            raise TrainingError(f"{path}: missing {', '.join(lacking)}")
        for key, value in values.items():
            kind = {int: int, float: (int, float)}.get(known[key], (str, Path))
            if not isinstance(value, kind) or isinstance(value, bool):
                raise TrainingError(f"{path}: {key} = {value!r}; expected {'a number' if kind != (str, Path) else 'a text'}")
            least = 1 if key in ("mixtures", "epochs", "batch") else 0
            if known[key] in (int, float) and value < least:
                raise TrainingError(f"{path}: {key} = {value}; expected at least {least}")
        config = cls(**{k: Path(v) if known[k] in (Path, Path | None) else v for k, v in values.items()})
        for key, choices in (("method", NAMES), ("amp", PRECISIONS)):
            if getattr(config, key) not in choices:
                raise TrainingError(f"{path}: {key} = {getattr(config, key)!r}; expected one of {', '.join(choices)}")
        return config


def train(config: Config) -> Path:
    """Train the method; returns the file of its weights. Under torchrun every process takes its part."""
    return train_each([config])[0]


def train_each(configs: list[Config]) -> list[Path]:
    """Train one after the other; returns the files of their weights."""
    rank, world = _join()
    try:
        return [_train(config, rank, world) for config in configs]
    finally:
        if world > 1:
            distributed.destroy_process_group()


def _join() -> tuple[int, int]:
    """This process's number and how many there are."""
    world = int(os.environ.get("WORLD_SIZE", 1))
    if world > 1:
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return (distributed.get_rank(), world) if world > 1 else (0, 1)


def _train(config: Config, rank: int, world: int) -> Path:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.manual_seed(config.seed)
    device = torch.device(f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if torch.cuda.is_available() else "cpu")
    config.out.mkdir(parents=True, exist_ok=True)
    method, encoders = choose(config.method, config.encoders, config.clipseg)
    features = load(config, encoders, rank, world)
    method = method.to(device)
    work = Work(config, method, features, device, rank, world)
    work.resume()
    for epoch in range(work.epoch, config.epochs):
        work.run(epoch)
    weights = config.out / WEIGHTS
    if rank == 0:
        torch.save(method.state_dict(), weights)
    return weights


def load(config: Config, encoders: Encoders, rank: int = 0, world: int = 1) -> Features:
    """The features of the training mixtures, encoded as far as they are not yet."""
    data = dataset.Data(config.data)
    clips, broken = dataset.clips(data, config.split, encoders.classes)
    scenes = dataset.mixtures(data, clips, config.mixtures, config.seed)
    if rank == 0:
        features = Features(config.cache, encoders, scenes)
    if world > 1:
        distributed.barrier()
    if rank > 0:
        features = Features(config.cache, encoders, scenes)
    broken.total = max(broken.total, len(scenes))
    features.fill(broken, rank, world)
    if world > 1:
        distributed.barrier()
    if broken.found and rank == 0:
        print(f"skipped {len(broken.found)} clips or mixtures:\n{broken}")
    return features


class Work:
    """A method under training: model, optimizer, schedule and how far they are."""

    def __init__(self, config: Config, method: Method, features: Features, device: torch.device, rank: int, world: int):
        self.config, self.method, self.device, self.rank = config, method, device, rank
        self.loader, self.order = _loader(config, features, rank, world)
        self.model: nn.Module = DistributedDataParallel(method, find_unused_parameters=True) if world > 1 else method
        self.optimizer = torch.optim.AdamW(groups(config, method))
        steps = max(1, config.epochs * len(self.loader))
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: cosine(step, config.warmup, steps))
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.amp == "fp16")
        self.log = SummaryWriter(str(config.out)) if rank == 0 else None
        self.epoch = self.step = 0

    def run(self, epoch: int) -> None:
        """One pass over the mixtures, then a checkpoint."""
        self.order.set_epoch(epoch)
        self.model.train()
        bar = tqdm(self.loader, f"epoch {epoch + 1}/{self.config.epochs}", disable=self.rank > 0 or None, leave=False)
        for batch in bar:
            parts = self.update(batch)
            bar.set_postfix({name: f"{value:.3f}" for name, value in parts.items()})
        self.epoch = epoch + 1
        if self.rank == 0:
            self.log.flush()
            self.save()

    def update(self, batch: tuple[torch.Tensor, ...]) -> dict[str, float]:
        """One step; the parts of the loss. Raises TrainingError for a loss that is no number."""
        v, a, present = (x.to(self.device, non_blocking=True) for x in batch)
        kind = PRECISIONS[self.config.amp]
        with torch.autocast(self.device.type, kind, enabled=kind is not None):
            parts = self.model(v.float(), a.float(), present)
        loss = sum(parts.values())
        if not loss.isfinite():
            told = ", ".join(f"{name} {value.item():.3g}" for name, value in parts.items())
            raise TrainingError(f"step {self.step}: the loss is no number ({told}); stopped. The last good checkpoint is "
                                f"{self.config.out / LAST} (epoch {self.epoch}); a lower `rate` or amp = \"off\" may help")
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()
        self.step += 1
        values = {name: value.item() for name, value in parts.items()}
        if self.log:
            for name, value in {**values, "sum": loss.item()}.items():
                self.log.add_scalar(f"loss/{name}", value, self.step)
            self.log.add_scalar("rate", self.schedule.get_last_lr()[0], self.step)
        return values

    def save(self) -> None:
        """Write the checkpoint so that there is always a whole one."""
        state = {**{f"method.{k}": v for k, v in self.method.state_dict().items()}, "epoch": torch.tensor(self.epoch),
                 "step": torch.tensor(self.step)}
        for i, values in self.optimizer.state_dict()["state"].items():
            state |= {f"optimizer.{i}.{name}": value for name, value in values.items()}
        if self.scaler.is_enabled():
            state["scale"] = torch.tensor(self.scaler.get_scale())
        path = self.config.out / LAST
        torch.save(state, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one."""
        path = self.config.out / LAST
        if not path.is_file():
            return
        state = read_tensors(path)
        own = {k.removeprefix("method."): v for k, v in state.items() if k.startswith("method.")}
        try:
            self.method.load_state_dict(own)
        except RuntimeError as error:
            raise TrainingError(f"{path}: a checkpoint of another method or encoder; move it away to start anew: {error}") from error
        self.epoch, self.step = int(state["epoch"]), int(state["step"])
        optimizer = self.optimizer.state_dict()
        for key, value in state.items():
            if key.startswith("optimizer."):
                _, i, name = key.split(".")
                optimizer["state"].setdefault(int(i), {})[name] = value
        self.optimizer.load_state_dict(optimizer)
        if "scale" in state:
            self.scaler.load_state_dict({**self.scaler.state_dict(), "scale": float(state["scale"])})
        self.schedule.load_state_dict({**self.schedule.state_dict(), "last_epoch": self.step})
        for group, rate in zip(self.optimizer.param_groups, self.schedule.base_lrs):
            group["lr"] = rate * self.schedule.lr_lambdas[0](self.step)


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

    def __init__(self, indices: np.ndarray, seed: int, rank: int, world: int):
        self.indices = indices
        self.inner = DistributedSampler(range(len(indices)), world, rank, seed=seed)

    def set_epoch(self, epoch: int) -> None:
        self.inner.set_epoch(epoch)

    def __iter__(self):
        return (int(self.indices[i]) for i in self.inner)

    def __len__(self) -> int:
        return len(self.inner)


def _loader(config: Config, features: Features, rank: int, world: int) -> tuple[DataLoader, Shuffled]:
    order = Shuffled(features.usable(), config.seed, rank, world)
    batches = BatchSampler(order, min(config.batch, max(1, len(order))), drop_last=True)
    loader = DataLoader(features, sampler=batches, batch_size=None, num_workers=config.workers,
                        pin_memory=torch.cuda.is_available(), persistent_workers=config.workers > 0)
    return loader, order


def cosine(step: int, warmup: int, steps: int) -> float:
    """The share of the highest rate: up to 1 in `warmup` steps, then down to 0 along a cosine."""
    if step < warmup:
        return (step + 1) / warmup
    return (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup)))) / 2

