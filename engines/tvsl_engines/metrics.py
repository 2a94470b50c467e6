"""The measures, as pure functions on arrays: average precision, overlap, regions of a heat map."""

import numpy as np
from scipy import ndimage

from .picture import Fit
from .truth import Box, Source

FINENESS = 8  # map positions per cell and axis on which regions are drawn
SPECK = 0.5  # cells; a smaller region is dropped unless it is the best
PLAIN = 0.5  # a further region counts from so far between the threshold and the hottest point
STEPS = 20  # of the threshold in `success_area`


def average_precision(scores: np.ndarray, truth: np.ndarray) -> float:
    """Σ (Rₙ − Rₙ₋₁) Pₙ with equal scores taken together; 0 without a positive."""
    order = np.argsort(-scores, kind="stable")
    scores, truth = scores[order], truth[order]
    last = np.flatnonzero(np.append(np.diff(scores) != 0, True))
    hits = np.cumsum(truth)[last].astype(float)
    if not len(hits) or hits[-1] == 0:
        return 0.0
    return float(np.sum(np.diff(hits, prepend=0.0) * hits / (last + 1)) / hits[-1])


def iou(found: np.ndarray, truth: np.ndarray) -> float:
    """Overlap of two masks; 0 when both are empty."""
    either = np.count_nonzero(found | truth)
    return np.count_nonzero(found & truth) / either if either else 0.0


def success_area(value: float) -> float:
    """Area under "`value` is at least τ" for τ = 0, 0.05 … 1, by trapezia."""
    reached = value + 1e-9 >= np.arange(STEPS + 1) / STEPS
    return float((reached[:-1] + 0.0 + reached[1:]).sum() / 2 / STEPS)


def over_picture(values: np.ndarray, place: Fit, width: int, height: int) -> np.ndarray:
    """Cells [P] over the picture alone, bicubically (Keys' kernel, a = −0.5): [height, width]."""
    cells = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0).reshape(place.rows, place.columns)
    across = _taps(place.columns, place.stride, place.left, place.width, width)
    down = _taps(place.rows, place.stride, place.top, place.height, height)
    return down @ cells @ across.T


def _taps(cells: int, stride: int, offset: int, length: int, count: int) -> np.ndarray:
    """[count, cells]: the weight of every cell; beyond the picture its outermost cell is repeated."""
    first, last = offset // stride, -(-(offset + length) // stride) - 1
    at = (offset + (np.arange(count) + 0.5) / count * length) / stride - 0.5
    base = np.floor(at).astype(int)
    t = (at - base)[:, None]
    near = lambda x: (1.5 * x - 2.5) * x * x + 1.0
    far = lambda x: ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    weights = np.concatenate([far(1 + t), near(t), near(1 - t), far(2 - t)], axis=1)
    taps = np.zeros((count, cells), np.float32)
    for n in range(4):
        np.add.at(taps, (np.arange(count), np.clip(base + n - 1, first, max(last, first))), weights[:, n].astype(np.float32))
    return taps


def scaled(heat: np.ndarray) -> np.ndarray | None:
    """From 0 at the least to 1 at the most; None for a map without contrast."""
    low, extent = heat.min(), np.ptp(heat)
    return (heat - low) / extent if extent > np.finfo(np.float32).tiny and np.isfinite(extent) else None


def regions(values: np.ndarray, place: Fit, threshold: float) -> tuple[list[Box], tuple[float, float]]:
    """The published boxes around connected places of scaled heat ≥ threshold, the best first, and the peak."""
    height, width = place.rows * FINENESS, place.columns * FINENESS
    heat = scaled(over_picture(values, place, width, height))
    if heat is None:
        return [(0.0, 0.0, 1.0, 1.0)], (0.5, 0.5)
    labels, count = ndimage.label(heat >= threshold)
    index = np.arange(1, count + 1)
    peaks = ndimage.maximum(heat, labels, index)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    order = sorted(range(count), key=lambda i: -peaks[i])
    plain = threshold + PLAIN * (1.0 - threshold)
    kept = [i for n, i in enumerate(order) if n == 0 or (sizes[i] >= int(SPECK * FINENESS ** 2) and peaks[i] >= plain)]
    slices = ndimage.find_objects(labels)
    boxes = [(x.start / width, y.start / height, x.stop / width, y.stop / height) for y, x in (slices[i] for i in kept)]
    row, column = np.unravel_index(np.argmax(heat), heat.shape)
    return boxes, ((column + 0.5) / width, (row + 0.5) / height)


def covered(source: Source, side: int) -> np.ndarray:
    """[side, side]: the positions whose centre lies on the source, in its mask or its boxes."""
    if source.mask is None:
        return raster(source.boxes, side)
    rows, columns = (((np.arange(side) + 0.5) * count / side).astype(int) for count in source.mask.shape)
    return source.mask[rows[:, None], columns]


def raster(boxes: list[Box] | tuple[Box, ...], side: int) -> np.ndarray:
    """[side, side]: the positions whose centre lies in a box; a box that misses every centre marks the one it lies in."""
    mask = np.zeros((side, side), bool)

    def span(low: float, high: float) -> slice:
        start, stop = np.float32(low) * side, np.float32(high) * side
        first, past = (int(np.clip(np.ceil(v - np.float32(0.5)), 0, side - i)) for v, i in ((start, 1), (stop, 0)))
        own = min(first, int(start))
        return slice(first, past) if past > first else slice(own, own + 1)

    for x0, y0, x1, y1 in boxes:
        mask[span(y0, y1), span(x0, x1)] = True
    return mask
