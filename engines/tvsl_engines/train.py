"""Training: frozen encoders' features, mixtures, AMP, a cosine schedule, checkpoints to go on from, several GPUs."""

import os
from pathlib import Path

import torch

from .checkpoint import save_heads
from .choose import choose
from .config import Config
from .features import origin
from .processes import Processes
from .supply import Supply
from .work import Work

WEIGHTS = "weights.pt"


def train(config: Config) -> Path:
    """Train the method; returns the file of its weights. Under torchrun every process takes its part."""
    return train_each([config])[0]


def train_each(configs: list[Config]) -> list[Path]:
    """Train one after the other; returns the files of their weights."""
    processes = Processes.join()
    try:
        return [_train(config, processes) for config in configs]
    finally:
        processes.part()


def _train(config: Config, processes: Processes) -> Path:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.manual_seed(config.seed)
    method, encoders = choose(config.method, config.encoders, config.clipseg, config.gate)
    supply = Supply(config, encoders, processes)
    work = Work(config, method, processes, supply.identity())
    work.resume()
    for epoch in range(work.epoch, config.epochs):
        work.run(epoch, supply.features(epoch))
    weights = config.out / WEIGHTS
    if processes.rank == 0:
        save_heads(weights, work.method.state_dict(), {**origin(encoders), "gate": config.gate})
    return weights
