"""Weights from files: only tensors are read, never code, and every name and shape must be the expected one."""

import pickle
from pathlib import Path

import torch
from torch import Tensor

from .errors import CheckpointError

LISTED = 8  # names shown of a long list


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a PyTorch file. Raises CheckpointError for anything but a dictionary of tensors."""
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path}: holds more than tensors, and is not loaded: {reason}") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: damaged or cut short ({reason}); get the file again") from error
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise CheckpointError(f"{path}: expected a dictionary of tensors, found {type(weights).__name__}")
    return weights


def load_weights(path: Path, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `path`, as float32. Raises CheckpointError unless names and shapes are those of `expected`."""
    weights = read_tensors(path)
    shaped = sorted(name for name in weights.keys() & expected.keys() if weights[name].shape != expected[name].shape)
    faults = {
        "missing": sorted(expected.keys() - weights.keys()),
        "unexpected": sorted(weights.keys() - expected.keys()),
        "of another shape": [f"{n} {list(weights[n].shape)} instead of {list(expected[n].shape)}" for n in shaped],
    }
    told = [f"{len(names)} {what}: {listed(names)}" for what, names in faults.items() if names]
    if told:
        raise CheckpointError(f"{path}: the checkpoint of another model; " + "; ".join(told))
    broken = [n for n, value in weights.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise CheckpointError(f"{path}: values that are no numbers in {listed(broken)}")
    return {n: value.float() if value.is_floating_point() else value for n, value in weights.items()}


def listed(names: list[str]) -> str:
    """The names, or the first of very many."""
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")
