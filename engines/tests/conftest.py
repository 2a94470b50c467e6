"""AudioCLIP with random weights, small and in the published size, and the model folders made of them."""

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import nn

from tvsl_engines import export, importer, manifest
from tvsl_engines.__main__ import main
from tvsl_engines.audioclip import SIDE, AudioClip
from tvsl_engines.esresnext import SAMPLES
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


@pytest.fixture(scope="session")
def headless(model: AudioClip, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model in a folder without `image_head`, whose `image` gives V itself, and without half precision."""
    out = shutil.copytree(folder, tmp_path_factory.mktemp("headless"), dirs_exist_ok=True)
    gone = export.files({"image_head": export.ENCODERS["image_head"]}, export.HALVED)
    for name in gone:
        (out / name).unlink()
    export.save(out / export.ENCODERS["image"], export.Call(model, "see"), {"image": torch.zeros(1, 3, SIDE, SIDE)}, ["V"],
                {"image": {0: "B", 2: "H", 3: "W"}, "V": {0: "B", 1: "P"}})
    said = manifest.read(folder)
    single = {part: name for part, name in said["graphs"]["fp32"].items() if part != "image_head"}
    manifest.write(out, {**said, "graphs": {"fp32": single}, "files": [own for own in said["files"] if own["path"] not in gone]}, "")
    return out


def settled(model: AudioClip) -> AudioClip:
    """As after a training: every normalisation knows the mean and spread of what reaches it, and every residual block adds a little to
    what it was given. Fifty layers that are all chance would grow without end, and make much of the last digit."""
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 1.0
        if hasattr(part, "bn3"):
            nn.init.uniform_(part.bn3.weight, 0.1, 0.4)
    blurred = nn.functional.interpolate(torch.randn(2, 3, 7, 7), size=SIDE, mode="bilinear")
    model.train()
    with torch.no_grad():
        model.see(torch.cat([blurred, torch.randn(2, 3, SIDE, SIDE)]))
        model.hear(torch.randn(6, SAMPLES) * torch.linspace(100, 6000, 6)[:, None])
    return model.eval()


class Exported(NamedTuple):
    """A model and heads in PyTorch, and the folders of their graphs."""

    model: AudioClip
    heads: Heads
    encoders: Path
    stages: Path


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The published names, shapes and size: a checkpoint saved, imported by the command, and heads as after a training."""
    torch.manual_seed(3)
    model = settled(stirred(AudioClip.full()))
    checkpoint, out = tmp_path_factory.mktemp("published") / "AudioCLIP-Full-Training.pt", tmp_path_factory.mktemp("full")
    torch.save(model.published(), checkpoint)
    assert main(["import-audioclip", str(checkpoint), "--out", str(out)]) == 0
    checkpoint.unlink()
    own, stages = stirred(Heads(model.dimension)), tmp_path_factory.mktemp("stages")
    export.heads(stages, own, model.dimension)
    return Exported(model, own, out, stages)


@pytest.fixture(scope="session", params=["small", "full"])
def exported(request: pytest.FixtureRequest) -> Exported:
    """Both sizes, one after the other."""
    if request.param == "full":
        return request.getfixturevalue("full")
    folder = request.getfixturevalue("folder")
    return Exported(request.getfixturevalue("model"), request.getfixturevalue("heads"), folder, folder)
