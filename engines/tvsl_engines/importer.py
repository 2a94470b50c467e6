"""A published AudioCLIP checkpoint becomes a model folder with heads that are the identity until they are trained."""

from pathlib import Path

import torch

from . import audioclip, dataset, export, manifest
from .audioclip import AudioClip
from .errors import DataError
from .esresnext import RATE, SAMPLES
from .heads import Heads

COMMENT = "Written by `python -m tvsl_engines import-audioclip`."
DEFAULT = Path(__file__).resolve().parents[1] / "default"
HOP = 0.5  # seconds between runs of the audio graph
SOURCE = "AudioCLIP (A. Guzhov and others, 2021) and CLIP (OpenAI)"


def import_audioclip(checkpoint: Path, out: Path, classes: Path | None = None, split: Path | None = None) -> None:
    """Load the official checkpoint and write the folder `out`; `classes`: a text file with a class a line; `split`: `id,class`."""
    named = listed(classes) if classes else of_split(split) if split else known()
    model = AudioClip.full()
    model.load_published(checkpoint)
    write(out, model, Heads(model.dimension), named)


def listed(path: Path) -> list[dict[str, str]]:
    """Classes of a text file: a name a line, prompted by itself."""
    try:
        lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: no text in UTF-8: {error}") from error
    names = dict.fromkeys(name for name in lines if name and not name.startswith("#"))
    if not names:
        raise DataError(f"{path}: names no class; expected one a line")
    return [{"name": name, "prompt": name.replace("_", " ")} for name in names]


def of_split(path: Path) -> list[dict[str, str]]:
    """Every class of a published split, prompted by its words."""
    names = {name for line in dataset.split(path, None) for _, own in line for name in own}
    if not names:
        raise DataError(f"{path}: its lines name no classes")
    return [{"name": name, "prompt": name.replace("_", " ")} for name in sorted(names)]


def known() -> list[dict[str, str]]:
    """The classes of the default model."""
    return [{key: c[key] for key in ("name", "prompt", "label", "aliases") if key in c} for c in manifest.read(DEFAULT)["classes"]]


def write(out: Path, model: AudioClip, heads: Heads, classes: list[dict[str, str]]) -> None:
    """Export everything and describe it."""
    out.mkdir(parents=True, exist_ok=True)
    model.eval()
    names = export.encoders(out, model) + export.heads(out, heads, model.dimension)
    for entry, tokens in zip(classes, audioclip.tokenize([c["prompt"] for c in classes])):
        entry["tokens"] = tokens[:int(tokens.argmax()) + 1].tolist()
    manifest.write(out, {
        "schema": 1, "name": "audioclip", "version": "1",
        "description": "AudioCLIP's encoders with T-VSL's heads",
        "image": {"aspect": "squash", "stride": audioclip.STRIDE, "cells_max": (audioclip.SIDE // audioclip.STRIDE) ** 2,
                  "channels": "rgb", "mean": [255 * x for x in audioclip.MEAN], "std": [255 * x for x in audioclip.STD]},
        "audio": {"front_end": "waveform", "sample_rate": RATE, "window": SAMPLES / RATE, "hop": HOP, "scale": 32768.0},
        "graphs": export.graphs("image", "audio", "stage1", "stage2", "text"),
        "embedding": {"dimension": model.dimension, "tokenizer": "clip"},
        "thresholds": manifest.THRESHOLDS,
        "classes": classes,
        "files": manifest.files(names, "MIT", SOURCE),
    }, COMMENT)
