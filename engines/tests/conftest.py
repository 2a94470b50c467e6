"""A small AudioCLIP with random weights, and the model folder made of it."""

from pathlib import Path

import pytest
import torch
from torch import nn

from tvsl_engines import importer
from tvsl_engines.audioclip import AudioClip
from tvsl_engines.heads import Heads

torch.set_num_threads(1)


def stirred(module: nn.Module) -> nn.Module:
    """Normalisations and mixes away from where they start, so that a swapped or forgotten one shows."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, std=0.1)
            nn.init.normal_(part.running_mean, std=0.1)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
        if hasattr(part, "w"):
            nn.init.constant_(part.w, 0.7)
        if hasattr(part, "direction"):
            nn.init.normal_(part.direction, std=0.1)
        if hasattr(part, "fb"):
            nn.init.uniform_(part.m, 0.5, 2.5)
            nn.init.uniform_(part.fb, 0.5, 2.0)
    return module.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def model() -> AudioClip:
    torch.manual_seed(1)
    return stirred(AudioClip.small())


@pytest.fixture(scope="session")
def heads(model: AudioClip) -> Heads:
    torch.manual_seed(2)
    return stirred(Heads(model.dimension))


@pytest.fixture(scope="session")
def folder(model: AudioClip, heads: Heads, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("audioclip")
    importer.write(out, model, heads, importer.known())
    return out
