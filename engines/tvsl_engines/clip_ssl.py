"""CLIP-SSL: the sound takes the place of the text query of CLIPSeg's mask generator, whose weights are the user's to supply.

The frozen parts are CLIPSeg's vision transformer, whose layers serve as V, and its decoder; a query is learned from the sound.
"""

import copy
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import CLIPSegForImageSegmentation

from . import picture
from .encoders import Encoders
from .errors import CheckpointError
from .heads import Scale, norm
from .methods import Method

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # CLIPSeg's own processor, in 0–255
AREA = 0.4  # share of a picture that its own sound should cover
GRID = 44  # cells per side of a map
PAIRS = 64  # of a picture and a sound, decoded at once: about 10 MB each with CLIPSeg's published sizes


class ClipSegEncoders(Encoders):
    """The sound and texts of a model folder, with CLIPSeg's vision layers in place of its image graph."""

    def __init__(self, folder: Path, clipseg: Path, threads: int | None = None):
        super().__init__(folder, threads)
        try:
            self.model = CLIPSegForImageSegmentation.from_pretrained(clipseg, local_files_only=True).eval().requires_grad_(False)
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise CheckpointError(f"{clipseg}: no CLIPSeg model in the form of `transformers` ({reason})") from error
        vision = self.model.config.vision_config
        self.image = {"aspect": "squash", "stride": vision.patch_size, "cells_max": (vision.image_size // vision.patch_size) ** 2,
                      "mean": MEAN, "std": STD, "clipseg": _checksum(self.model)}

    def beside(self, frames: list[np.ndarray]) -> tuple[np.ndarray, picture.Fit]:
        """All frames in one square picture; maps come on a grid of their own."""
        own = picture.squashed(self.image, 1)
        whole = np.concatenate([picture.scaled(f, own.width, own.height) for f in frames], axis=1)
        return picture.prepared(whole, own, self.image), picture.Fit(GRID, GRID, 8, GRID * 8, GRID * 8, 0, 0)

    def see(self, batch: np.ndarray) -> np.ndarray:
        """[B, 3, H, W] -> the layers that the decoder reads, one after the other: [B, layers · (1 + cells), C]."""
        with torch.no_grad():
            states = self.model.clip.vision_model(torch.from_numpy(batch), output_hidden_states=True).hidden_states
        return torch.cat([states[i + 1] for i in self.model.extract_layers], dim=1).numpy()


class ClipSsl(Method):
    """A query of the pooled sound for the frozen decoder, learned by matching what each mask covers with its sound."""

    def __init__(self, t: Tensor, model: CLIPSegForImageSegmentation):
        super().__init__(t)
        config: Any = model.config
        dimension, size = t.shape[1], config.projection_dim
        self.decoder = copy.deepcopy(model.decoder).requires_grad_(False)
        self.layers = len(model.extract_layers)
        self.query = nn.Sequential(nn.Linear(dimension, 2 * dimension), nn.GELU(), nn.Linear(2 * dimension, size))
        self.covered = nn.Linear(config.vision_config.hidden_size, size)
        self.scale = Scale(1 / 0.07)

    def masks(self, v: Tensor, q: Tensor) -> Tensor:
        """Activations [B, layers · (1 + cells), C] and queries [B, E] -> masks [B, h, w] in 0–1."""
        layers = v.unflatten(1, (self.layers, -1)).unbind(1)
        return self.decoder(list(layers), q).logits.sigmoid()

    def shares(self, v: Tensor, q: Tensor, side: int) -> Tensor:
        """How much of each cell every sound covers in every picture [B, B, side²]. Pairs are decoded PAIRS at a time, and again for their
        gradient: kept, those of a batch of 64 would take 40 GB."""
        def decoded(v: Tensor, q: Tensor, pairs: Tensor) -> Tensor:
            masks = self.masks(v[pairs // len(q)], q[pairs % len(q)])
            return F.adaptive_avg_pool2d(masks, side).flatten(1)

        pairs = torch.arange(len(v) * len(q), device=v.device).split(PAIRS)
        shares: list[Tensor] = [checkpoint(decoded, v, q, some, use_reentrant=False) for some in pairs]
        return torch.cat(shares).unflatten(0, (len(v), len(q)))

    def losses(self, v: Tensor, a: Tensor, present: Tensor) -> dict[str, Tensor]:
        count, q = len(v), self.query(norm(a).mean(1))
        tokens = v.unflatten(1, (self.layers, -1))[:, -1, 1:]
        side = round(tokens.shape[1] ** 0.5)
        share = self.shares(v, q, side)
        covered = norm(self.covered(share @ tokens / share.sum(-1, keepdim=True).clamp(min=1e-6)))
        odds = self.scale((covered * norm(q)).sum(-1))
        own, area = torch.arange(count, device=v.device), share.mean(-1)
        others = area.sum() - area.diagonal().sum()
        return {
            "match": (F.cross_entropy(odds, own) + F.cross_entropy(odds.T, own)) / 2,
            "area": (area.diagonal() - AREA).abs().mean() + others / max(1, count * (count - 1)),
        }

    def maps(self, v: Tensor, a: Tensor, present: Tensor) -> Tensor:
        """One map of the whole sound for every class asked: this method knows no classes."""
        masks = self.masks(v, self.query(norm(a).mean(1)))
        cells = F.adaptive_avg_pool2d(masks, GRID).flatten(1)
        return cells[:, None].expand(-1, present.shape[1], -1)


def _checksum(model: CLIPSegForImageSegmentation) -> str:
    """Of all weights and the layers that are read, wherever they came from."""
    digest = hashlib.sha256(repr(list(model.extract_layers)).encode())
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.float().contiguous().numpy())
    return digest.hexdigest()
