"""Masks of VGGSound-Instruments: pickled NumPy arrays, read without running anything that a pickle names.

Whatever makes an array in a pickle is answered by the two classes below, which only keep numbers; every other name is refused.
"""

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np

NUMBERS = re.compile(r"[<>|=]?[biuf][1248]")  # NumPy's names of types that hold nothing but numbers


class _Kind:
    """Stands for numpy.dtype."""

    def __init__(self, code: str, *_: object):
        if not NUMBERS.fullmatch(code):
            raise pickle.UnpicklingError(f"values of type {code!r}")
        self.code, self.order = code.lstrip("<>|="), "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    def dtype(self) -> np.dtype[Any]:
        return np.dtype((self.order if self.order in "<>" else "=") + self.code)


class _Array:
    """Stands for numpy.ndarray, and for the functions that make one."""

    def __init__(self, *_: object):
        self.values = np.zeros(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, columns_first, data = state
        self._fill(data, kind, shape, "F" if columns_first else "C")

    @classmethod
    def of(cls, data: Any, kind: _Kind, shape: tuple[int, ...], order: str) -> "_Array":
        """As NumPy's `_frombuffer`."""
        array = cls()
        array._fill(data, kind, shape, order)
        return array

    def _fill(self, data: Any, kind: _Kind, shape: tuple[int, ...], order: str) -> None:
        data = data.encode("latin1") if isinstance(data, str) else data
        self.values = np.frombuffer(data, kind.dtype()).reshape(shape, order="F" if order == "F" else "C")


def _bytes(text: str, _: str) -> bytes:
    """How the older protocols write bytes."""
    return text.encode("latin1")


KNOWN = {
    ("numpy", "ndarray"): _Array, ("numpy", "dtype"): _Kind, ("_codecs", "encode"): _bytes,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _Array.of for core in ("core", "_core")},
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in KNOWN:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return KNOWN[module, name]


def read(path: Path) -> np.ndarray:
    """A mask [h, w], true where the source is. Raises ValueError for anything but a plain array of two axes."""
    with path.open("rb") as file:
        try:
            found = _Reader(file, encoding="latin1").load()
        except pickle.UnpicklingError as error:
            raise ValueError(f"{path}: cut short, or more than an array of numbers, and not loaded: {error}") from error
        except (EOFError, ValueError, TypeError, AttributeError, IndexError, KeyError, LookupError, MemoryError, OverflowError) as error:
            raise ValueError(f"{path}: damaged or cut short: {error}") from error
    values = found.values if isinstance(found, _Array) else None
    if values is None or values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"{path}: expected an array of two axes, found {type(found).__name__ if values is None else list(values.shape)}")
    return values != 0
