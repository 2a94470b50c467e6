"""Pictures as the program prepares them: fitted into the model's grid, scaled, normalised."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps


@dataclass(frozen=True)
class Fit:
    """Where a picture lies in the model's input: a grid of cells of `stride` pixels, the picture's own pixels in it."""

    rows: int
    columns: int
    stride: int
    width: int
    height: int
    left: int
    top: int


def read(path: Path) -> np.ndarray:
    """A picture file -> RGB [h, w, 3], turned upright as its EXIF says."""
    with Image.open(path) as image:
        ImageOps.exif_transpose(image, in_place=True)
        return np.asarray(image.convert("RGB"))


def fit(width: int, height: int, image: dict[str, Any]) -> Fit:
    """Where a picture lies, by the [image] of a manifest."""
    if image["aspect"] == "squash":
        return squashed(image, 1)
    return _letterbox(width, height, image["stride"], image["cells_max"])


def squashed(image: dict[str, Any], count: int) -> Fit:
    """The grid of `count` square frames side by side, each squashed."""
    side, stride = int(image["cells_max"] ** 0.5), image["stride"]
    return Fit(side, side * count, stride, side * count * stride, side * stride, 0, 0)


@lru_cache
def _letterbox(width: int, height: int, stride: int, cells: int) -> Fit:
    """The grid of at most `cells` cells that shows the picture largest, then with the least padding."""
    def inside(rows: int, columns: int) -> Fit:
        scale = min(columns * stride / width, rows * stride / height)
        w = min(max(int(width * scale + 0.5), 1), columns * stride)
        h = min(max(int(height * scale + 0.5), 1), rows * stride)
        return Fit(rows, columns, stride, w, h, (columns * stride - w) // 2, (rows * stride - h) // 2)

    grids = (inside(r, c) for r in range(1, cells + 1) for c in range(1, cells // r + 1))
    return max(grids, key=lambda f: (f.width * f.height, -f.rows * f.columns))


def scaled(rgb: np.ndarray, width: int, height: int) -> np.ndarray:
    """The picture at another size, rounded to bytes; a triangle filter that widens when it shrinks."""
    if rgb.shape[:2] == (height, width):
        return rgb
    wide = np.einsum("ox,yxc->yoc", _taps(rgb.shape[1], width), rgb.astype(np.float32), optimize=True)
    return np.floor(np.einsum("oy,yxc->oxc", _taps(rgb.shape[0], height), wide, optimize=True) + 0.5).astype(np.uint8)


@lru_cache(64)
def _taps(source: int, target: int) -> np.ndarray:
    """[target, source] float32: the weight of every source position."""
    scale = source / target
    support = max(scale, 1.0)
    centre = (np.arange(target)[:, None] + 0.5) * scale
    weights = (1 - np.abs(np.arange(source) + 0.5 - centre) / support).clip(min=0)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def prepared(rgb: np.ndarray, place: Fit, image: dict[str, Any]) -> np.ndarray:
    """RGB bytes -> the image graph's input [3, H, W]; padding is 0."""
    pixels = scaled(rgb, place.width, place.height)
    values = (pixels.astype(np.float32) - np.float32(image["mean"])) / np.float32(image["std"])
    if image.get("channels") == "bgr":
        values = values[..., ::-1]
    x = np.zeros((3, place.rows * place.stride, place.columns * place.stride), np.float32)
    x[:, place.top:place.top + place.height, place.left:place.left + place.width] = values.transpose(2, 0, 1)
    return x
