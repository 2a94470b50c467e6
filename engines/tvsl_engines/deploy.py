"""Trained heads and the encoders they were trained over become a model folder for `tvsl`."""

import shutil
from pathlib import Path

import torch
from safetensors.numpy import load_file

from . import export, golden, manifest
from .checkpoint import load_heads, read_gate
from .encoders import Encoders
from .features import origin
from .methods import TwoStage

COMMENT = "Written by `python -m tvsl_engines deploy`."
SOURCE = "heads trained with tvsl_engines"
KEPT = ("name", "prompt", "label", "aliases", "tokens")  # of a class; its thresholds belong to the old heads


def deploy(encoders: Path, weights: Path, out: Path) -> None:
    """Copy the encoders' files and write both stages from `weights`, those of tvsl-two-stage."""
    said, own = manifest.read(encoders), Encoders(encoders, 1)
    t = own.t
    method = TwoStage(torch.from_numpy(t), read_gate(weights))
    method.load_state_dict(load_heads(weights, method.state_dict(), origin(own), encoders))
    heads = method.heads.eval()
    out.mkdir(parents=True, exist_ok=True)
    kept = [entry for entry in said["files"] if not entry["path"].startswith(tuple(export.STAGES))]
    for entry in kept:
        shutil.copyfile(encoders / entry["path"], out / entry["path"])
    if (out / golden.FILE).is_file():
        golden.write(out, load_file(out / golden.FILE), t, heads)
    names = export.heads(out, heads, t.shape[1])
    graphs = {precision: {**named, **export.STAGES} for precision, named in said["graphs"].items()}
    kept = [{key: value for key, value in entry.items() if key != "sha256"} for entry in kept]
    for entry in (entry for entry in kept if entry["path"] == golden.FILE):
        entry["source"] += f"; of the stages: {SOURCE}"
    classes = [{key: value for key, value in entry.items() if key in KEPT} for entry in said["classes"]]
    manifest.write(out, {**said, "name": f"{said['name']}-trained", "graphs": graphs, "thresholds": manifest.THRESHOLDS,
                         "classes": classes, "files": kept + manifest.files(names, "Apache-2.0", SOURCE)}, COMMENT)
