"""golden.safetensors of a model folder: inputs, and what PyTorch makes of them, for runtimes to agree with."""

from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save

from .heads import Heads

FILE = "golden.safetensors"


def write(folder: Path, given: dict[str, np.ndarray], t: np.ndarray, heads: Heads) -> None:
    """Keep `given`, the inputs with V, A, the classes `keys` of the maps and, where a graph makes it, t, and what the heads make of them."""
    v, a, keys = (torch.from_numpy(given[name]) for name in ("V", "A", "keys"))
    texts = torch.from_numpy(t)
    a = a.reshape(1, -1, a.shape[-1])  # patches of sound are a batch
    with torch.no_grad():
        made = dict(zip(("p", "p_v", "p_a"), heads.detect(v, a, texts))) | {"H": heads.localize(v, a, texts[keys])}
    tensors = {**given, **{name: value.numpy() for name, value in made.items()}}
    (folder / FILE).write_bytes(save({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}))
