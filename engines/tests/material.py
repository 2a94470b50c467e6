"""A data folder in the standard layout: frames of one colour per class, tones of one pitch per class; a model folder with a fault."""

import shutil
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

CLASSES = {"dog": ((200, 40, 40), 300.0), "cat": ((40, 200, 40), 800.0), "bird": ((40, 40, 200), 2000.0), "cow": ((200, 200, 40), 120.0)}
RATE = 16000


def clip(folder: Path, name: str, kind: str, seed: int) -> None:
    """Write one clip."""
    chance = np.random.default_rng(seed)
    colour, pitch = CLASSES[kind]
    pixels = np.clip(np.array(colour) + chance.normal(0, 20, (48, 64, 3)), 0, 255).astype(np.uint8)
    wave = 0.3 * np.sin(2 * np.pi * pitch * np.arange(RATE) / RATE) + chance.normal(0, 0.01, RATE)
    (folder / "frames").mkdir(parents=True, exist_ok=True)
    (folder / "audio").mkdir(exist_ok=True)
    Image.fromarray(pixels).save(folder / "frames" / f"{name}.jpg")
    soundfile.write(folder / "audio" / f"{name}.wav", wave, RATE)


def folder(path: Path, each: int = 3) -> Path:
    """Clips of every class with their split file `train.txt`."""
    lines = []
    for kind in CLASSES:
        for i in range(each):
            clip(path, f"{kind}_{i}", kind, len(lines))
            lines.append(f"{kind}_{i},{kind}")
    (path / "train.txt").write_text("\n".join(lines) + "\n")
    return path


def altered(model: Path, path: Path, name: str) -> Path:
    """A copy of a model folder with another bit in the last byte of a file."""
    shutil.copytree(model, path, ignore=shutil.ignore_patterns("build", "tensorrt"))
    data = bytearray((path / name).read_bytes())
    data[-1] ^= 1
    (path / name).write_bytes(data)
    return path
