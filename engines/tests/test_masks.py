"""Pickled masks: every form of them is read, and nothing that one names is run."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from tvsl_engines import masks

WHOLE = np.arange(12).reshape(3, 4) % 3
OLD = b"""cnumpy.core.multiarray\n_reconstruct\np0\n(cnumpy\nndarray\np1\n(I0\ntp2\nS'b'\np3\ntp4\nRp5\n(I1\n(I2\nI2\ntp6\ncnumpy\ndtype\np7\n(S'u1'\np8\nI0\nI1
tp9\nRp10\n(I3\nS'|'\np11\nNNNI-1\nI-1\nI0\ntp12\nbI00\nS'\\x00\\x01\\xff\\x00'\np13\ntp14\nb."""  # as Python 2 wrote [[0, 1], [255, 0]]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", ["?", "u1", "<i8", ">f4", "f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_every_form_are_read(tmp_path: Path, protocol: int, kind: str, order: str) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(np.array(WHOLE, kind, order=order), protocol))
    assert masks.read(tmp_path / "a.pkl").tolist() == (WHOLE != 0).tolist()


def test_a_part_of_an_array_and_an_array_of_python_2_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(WHOLE[:, ::2]))
    assert masks.read(tmp_path / "a.pkl").tolist() == (WHOLE[:, ::2] != 0).tolist()
    (tmp_path / "old.pkl").write_bytes(OLD)
    assert masks.read(tmp_path / "old.pkl").tolist() == [[False, True], [True, False]]


class Payload:
    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return (Path.touch, (self.target,))


def test_a_pickle_with_code_is_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    for value in (Payload(trace), [WHOLE, Payload(trace)], np.array([[Payload(trace)]], object)):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(value))
        with pytest.raises(ValueError, match="a.pkl: .*not loaded"):
            masks.read(tmp_path / "a.pkl")
    assert not trace.exists()


@pytest.mark.parametrize("value", [3, "text", [WHOLE], np.zeros(4), np.zeros((2, 2, 2)), np.zeros((0, 3)), np.array([["a"]])])
def test_anything_but_an_array_of_two_axes_is_told(tmp_path: Path, value: object) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(value))
    with pytest.raises(ValueError, match="a.pkl: (expected an array of two axes|cut short, or more than an array)"):
        masks.read(tmp_path / "a.pkl")


def test_a_mask_cut_short_is_told_at_every_length(tmp_path: Path) -> None:
    for protocol in (0, 2, 5):
        whole = pickle.dumps(WHOLE, protocol)
        for size in range(len(whole)):
            (tmp_path / "a.pkl").write_bytes(whole[:size])
            with pytest.raises(ValueError, match="a.pkl: "):
                masks.read(tmp_path / "a.pkl")
