"""Weights from files: only tensors are read, never code, and every name and shape must be the expected one."""

import json
import pickle
import re
import struct
import zipfile
from pathlib import Path

import torch
from open_clip.factory import load_state_dict
from torch import Tensor

from .errors import CheckpointError
from .heads import GATES

ABOUT = "about"  # the tensor that says what the others were trained over and how
ZIP = b"PK\x03\x04"  # how the files of torch.save begin


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a PyTorch file. Raises CheckpointError for anything but a dictionary of tensors."""
    try:
        if _lacks_its_end(path):
            raise CheckpointError(f"{path}: cut short; get the file again")
        weights = load_state_dict(str(path), device="cpu", weights_only=True)
    except StopIteration:
        return {}
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except pickle.UnpicklingError as error:
        if "truncated" in str(error):
            raise CheckpointError(f"{path}: cut short; get the file again") from error
        called = re.search(r"Unsupported global: GLOBAL (\S+)", str(error))
        reason = f"holds more than tensors (it calls {called[1]})" if called else "is no file of tensors as torch.save writes them"
        raise CheckpointError(f"{path}: {reason}, and is not loaded") from error
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError, AssertionError, struct.error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: damaged or cut short ({reason}); get the file again") from error
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise CheckpointError(f"{path}: expected a dictionary of tensors, found {type(weights).__name__}")
    return weights


def _lacks_its_end(path: Path) -> bool:
    """Whether a file is empty, or an archive without the directory that stands at its end."""
    with path.open("rb") as file:
        start = file.read(len(ZIP))
    return not start or (start == ZIP and not zipfile.is_zipfile(path))


def load_weights(path: Path, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `path`, as float32. Raises CheckpointError unless names and shapes are those of `expected`."""
    return _fitting(path, read_tensors(path), expected)


def save_heads(path: Path, weights: dict[str, Tensor], over: dict[str, str]) -> None:
    """Keep trained weights with what they were trained over."""
    torch.save({**weights, ABOUT: noted(over)}, path)


def load_heads(path: Path, expected: dict[str, Tensor], over: dict[str, str], folder: Path) -> dict[str, Tensor]:
    """Trained weights, as `load_weights`. Raises CheckpointError unless they were trained over what is in `folder`, which `over` names:
    over others of the same dimension they fit as well, and find nothing."""
    weights = read_tensors(path)
    note = weights.pop(ABOUT, None)
    about = {} if note is None else read_note(path, note)
    other = [f"{key} ({about[key]} instead of {own})" for key, own in over.items() if about.get(key, own) != own]
    if other:
        raise CheckpointError(f"{path}: trained over other {' and '.join(other)} than those of {folder}; name the model folder that it "
                              "was trained over, or train over this one")
    fitting = _fitting(path, weights, expected)
    lacking = [key for key in over if key not in about]
    if lacking:
        raise CheckpointError(f"{path}: does not say over which {' and '.join(lacking)} it was trained, as no file did before; run its "
                              f"`train` again over {folder}")
    return fitting


def read_gate(path: Path) -> str:
    """The gate of the maps that weights were trained for: the first where their file says none, as none did before there was a choice.
    Raises CheckpointError for one that is not known."""
    note = read_tensors(path).get(ABOUT)
    gate = (read_note(path, note) if note is not None else {}).get("gate", GATES[0])
    if gate not in GATES:
        raise CheckpointError(f"{path}: trained for the gate {gate!r}, expected {' or '.join(GATES)}; get the file again, or train again")
    return gate


def noted(about: dict[str, str]) -> Tensor:
    """Names as a tensor, for files of nothing else."""
    return torch.tensor(list(json.dumps(about).encode()), dtype=torch.uint8)


def read_note(path: Path, note: Tensor) -> dict[str, str]:
    """The names that `noted` made a tensor of. Raises CheckpointError for anything else."""
    try:
        about = json.loads(bytes(note.tolist()))
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: `{ABOUT}` cannot be read; get the file again, or train again: {error}") from error
    if not isinstance(about, dict):
        raise CheckpointError(f"{path}: `{ABOUT}` holds {about!r}, expected names; get the file again, or train again")
    return about


def _fitting(path: Path, weights: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as float32. Raises CheckpointError for other names or shapes, and for what is no number."""
    shaped = sorted(name for name in weights.keys() & expected.keys() if weights[name].shape != expected[name].shape)
    faults = {
        "missing": sorted(expected.keys() - weights.keys()),
        "unexpected": sorted(weights.keys() - expected.keys()),
        "of another shape": [f"{n} {list(weights[n].shape)} instead of {list(expected[n].shape)}" for n in shaped],
    }
    told = [f"{len(names)} {what}: {', '.join(names)}" for what, names in faults.items() if names]
    if told:
        raise CheckpointError(f"{path}: the checkpoint of another model; " + "; ".join(told))
    broken = [n for n, value in weights.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise CheckpointError(f"{path}: values that are no numbers in {', '.join(broken)}")
    return {n: value.float() if value.is_floating_point() else value for n, value in weights.items()}
