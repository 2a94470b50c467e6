"""Every method by its name, with the encoders it works over."""

from pathlib import Path

import torch

from .encoders import Encoders
from .errors import TrainingError
from .methods import METHODS, Method

CLIP_SSL = "clip-ssl"
NAMES = (*METHODS, CLIP_SSL)
NEEDS_CLIPSEG = f"{CLIP_SSL} needs CLIPSeg weights: name their folder as `clipseg` (or --clipseg)"


def choose(name: str, folder: Path, clipseg: Path | None) -> tuple[Method, Encoders]:
    """A method, untrained, over the model folder `folder`; clip-ssl needs the user's CLIPSeg weights as well."""
    if name != CLIP_SSL:
        encoders = Encoders(folder)
        return METHODS[name](torch.from_numpy(encoders.t)), encoders
    if clipseg is None:
        raise TrainingError(NEEDS_CLIPSEG)
    from .clip_ssl import ClipSegEncoders, ClipSsl

    own = ClipSegEncoders(folder, clipseg)
    return ClipSsl(torch.from_numpy(own.t), own.model), own
