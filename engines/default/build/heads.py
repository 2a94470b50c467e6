"""The heads between the frozen encoders and T-VSL: which labels speak for a class, how surely, and where in text space.

Fitted numbers come from heads.json and heads.safetensors; the text table from the prompts in heads.json.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

import ced
import efficientnet_lite0

_SETTINGS = Path(__file__).with_name("heads.json")
NOTHING = "nothing to be seen and nothing to be heard"  # gives the direction of "no class at all"


@dataclass(frozen=True)
class Heads:
    """N classes: the first L are read from ImageNet labels, the other M from linear heads on the features."""

    settings: dict  # heads.json
    text: np.ndarray  # t [N, D], unit rows
    dual: np.ndarray  # d [N, D]: d_n · t_m is 1 for n = m, else 0; carries whether a class is there
    place: np.ndarray  # t' [N, D]: each t_n with its halves exchanged
    place_dual: np.ndarray  # e [N, D]: e_n · t'_m is 1 for n = m, else 0; carries where it is
    nothing: np.ndarray  # b [D], unit; d, e, t, t' and b: every product not named above is 0
    labels: np.ndarray  # [L, 1000], 1 where an ImageNet label belongs to the class
    linear_weight: np.ndarray  # [M, 1280]
    linear_bias: np.ndarray  # [M]
    heard: np.ndarray  # [N, most] AudioSet ids of each class, the last one repeated
    visual: np.ndarray  # [N, 2] gain and bias of the visual log-odds
    audio: np.ndarray  # [N, 2] gain and bias of the audio log-odds
    where: np.ndarray  # [N, 2] gain and bias of the map

    @property
    def classes(self) -> list[dict]:
        """Name, prompt, label, ids and thresholds of each class, in table order."""
        return self.settings["classes"]


def load(encode) -> Heads:
    """Read the fitted heads; `encode` turns sentences into unit vectors [n, D]."""
    settings = json.loads(_SETTINGS.read_text())
    weights = load_file(_SETTINGS.with_suffix(".safetensors"))
    classes = settings["classes"]
    seen = [c for c in classes if c["imagenet"]]
    fitted = [c["name"] for c in classes if not c["imagenet"]]
    if classes[:len(seen)] != seen:
        raise SystemExit("heads.json: classes without ImageNet labels must come last")
    text = encode([c["prompt"] for c in classes]).astype(np.float32)
    place = np.roll(text, text.shape[1] // 2, axis=1)
    dual, place_dual, nothing = projections(text, place, encode([NOTHING])[0])
    return Heads(
        settings, text, dual, place, place_dual, nothing,
        np.stack([_marks(c["imagenet"]) for c in seen]),
        np.stack([weights[f"{name}.image.weight"] for name in fitted]),
        np.concatenate([weights[f"{name}.image.bias"] for name in fitted]),
        _padded([c["audioset"] for c in classes]),
        np.array([c["visual"] for c in classes], np.float32),
        np.array([c["audio"] for c in classes], np.float32),
        np.array([c["where"] for c in classes], np.float32),
    )


def named_labels() -> list[list[int]]:
    """The ImageNet labels that speak for each class that has such."""
    return [entry["imagenet"] for entry in json.loads(_SETTINGS.read_text())["classes"] if entry["imagenet"]]


def projections(text: np.ndarray, place: np.ndarray, nothing: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The joint dual basis of the rows of `text` and `place`, and `nothing` made orthogonal to all of them."""
    rows = np.vstack([text, place]).astype(np.float64)
    dual = np.linalg.solve(rows @ rows.T, rows)
    rest = nothing - dual.T @ (rows @ nothing)
    d, e = np.split(dual.astype(np.float32), 2)
    return d, e, (rest / np.linalg.norm(rest)).astype(np.float32)


def _marks(ids: list[int]) -> np.ndarray:
    row = np.zeros(efficientnet_lite0.LABELS, np.float32)
    row[ids] = 1.0
    return row


def _padded(lists: list[list[int]]) -> np.ndarray:
    most = max(map(len, lists))
    table = np.array([ids + ids[-1:] * (most - len(ids)) for ids in lists], np.int64)
    if table.max() >= ced.LABELS:
        raise SystemExit(f"heads.json: AudioSet id {table.max()}, expected 0 to {ced.LABELS - 1}")
    return table
