"""A published AudioCLIP checkpoint becomes a model folder with heads that are the identity until they are trained."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file
from torch import Tensor

from . import audioclip, dataset, export, golden, manifest, picture, sound
from .audioclip import AudioClip
from .errors import DataError
from .esresnext import RATE, SAMPLES
from .heads import Heads, norm

COMMENT = "Written by `python -m tvsl_engines import-audioclip`."
DEFAULT = Path(__file__).resolve().parents[1] / "default"
HOP = 0.5  # seconds between runs of the audio graph
IMAGE: dict[str, Any] = {"aspect": "squash", "stride": audioclip.STRIDE, "cells_max": (audioclip.SIDE // audioclip.STRIDE) ** 2,
                         "channels": "rgb", "mean": [255 * x for x in audioclip.MEAN], "std": [255 * x for x in audioclip.STD]}
AUDIO: dict[str, Any] = {"front_end": "waveform", "sample_rate": RATE, "window": SAMPLES / RATE, "hop": HOP, "scale": 32768.0}
SOURCE = "AudioCLIP (A. Guzhov and others, 2021) and CLIP (OpenAI)"
GOLDEN_SOURCE = "tvsl_engines, by PyTorch; photo and sound of the default model's golden inputs (CC0)"
NOISE = 0.001  # RMS in the golden sound, −60 dBFS
MAPS = 3  # classes whose map the golden outputs hold


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
    graphs = export.ENCODERS | export.STAGES
    tokens = audioclip.tokenize([c["prompt"] for c in classes])
    for entry, own in zip(classes, tokens):
        entry["tokens"] = own[:int(own.argmax()) + 1].tolist()
    given = encoded(model, *cat(), tokens)
    golden.write(out, given, given["t"], heads)
    manifest.write(out, {
        "schema": 1, "name": "audioclip", "version": "1",
        "description": "AudioCLIP's encoders with T-VSL's heads",
        "image": IMAGE, "audio": AUDIO,
        "graphs": {"fp32": graphs, "fp16": graphs | export.HALVED},
        "embedding": {"dimension": model.dimension, "tokenizer": "clip"},
        "thresholds": manifest.THRESHOLDS,
        "classes": classes,
        "files": [*manifest.files(names, "MIT", SOURCE), *manifest.files([golden.FILE], "MIT AND CC0-1.0", GOLDEN_SOURCE)],
    }, COMMENT)


def cat() -> tuple[np.ndarray, np.ndarray]:
    """A cat and its voice, the default model's golden inputs, as AudioCLIP takes them."""
    said, own = manifest.read(DEFAULT), load_file(DEFAULT / golden.FILE)
    pixels = own["image"][0].transpose(1, 2, 0) * np.float32(said["image"]["std"]) + np.float32(said["image"]["mean"])
    voice = sound.middle(sound.resampled(own["waveform"], said["audio"]["sample_rate"], RATE), SAMPLES)
    # A microphone's noise: without it there would be nothing above the voice but rounding, of which each runtime has its own.
    samples = (voice + np.random.default_rng(0).normal(0, NOISE, SAMPLES).astype(np.float32)) * np.float32(AUDIO["scale"])
    return picture.prepared(pixels.round().astype(np.uint8), picture.squashed(IMAGE, 1), IMAGE)[None], samples[None]


def encoded(model: AudioClip, image: np.ndarray, samples: np.ndarray, tokens: Tensor) -> dict[str, np.ndarray]:
    """The inputs of both senses with what PyTorch makes of them and of the texts; `keys` are the classes that are most alike to a cell."""
    with torch.no_grad():
        v, a, t = model.see(torch.from_numpy(image)), model.hear(torch.from_numpy(samples)), model.read(tokens.float())
    keys = (norm(v[0]) @ t.T).amax(0).topk(min(MAPS, len(t))).indices
    return {"image": image, "sound": samples, "keys": keys.numpy(), "V": v.numpy(), "A": a.numpy(), "t": t.numpy()}
