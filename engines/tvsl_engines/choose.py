"""Every method by its name, with the encoders it works over."""

from pathlib import Path

import torch

from .encoders import Encoders
from .errors import TrainingError
from .heads import GATES
from .methods import GATED, METHODS, Method

CLIP_SSL = "clip-ssl"
NAMES = (*METHODS, CLIP_SSL)
NEEDS_CLIPSEG = f"{CLIP_SSL} needs CLIPSeg weights: name their folder as `clipseg` (or --clipseg)"


def choose(name: str, folder: Path, clipseg: Path | None, gate: str = GATES[0]) -> tuple[Method, Encoders]:
    """A method, untrained, over the model folder `folder`; clip-ssl needs the user's CLIPSeg weights as well. `gate` is T-VSL's alone."""
    if name != CLIP_SSL:
        encoders = Encoders(folder)
        t = torch.from_numpy(encoders.t)
        return METHODS[name](t, gate) if name in GATED else METHODS[name](t), encoders
    if clipseg is None:
        raise TrainingError(NEEDS_CLIPSEG)
    from .clip_ssl import ClipSegEncoders, ClipSsl

    own = ClipSegEncoders(folder, clipseg)
    return ClipSsl(torch.from_numpy(own.t), own.model), own
