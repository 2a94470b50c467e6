"""The measurement of speed itself."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tvsl_engines import speed
from tvsl_engines.__main__ import main
from tvsl_engines.features import Stored
from tvsl_engines.speed import Products, Speed, measure
from tvsl_engines.work import Work


def test_products_are_noted_with_their_layout() -> None:
    x, y = torch.randn(3, 4), torch.randn(5, 4)
    with Products() as products:
        x @ y.T
        torch.randn(2, 3, 4) @ torch.randn(2, 4, 6)
        torch.nn.functional.linear(x, y, torch.zeros(5))
        x + 1
    shapes = [(a[0], b[0]) for a, b in products.found]
    assert shapes == [((3, 4), (4, 5)), ((2, 3, 4), (2, 4, 6)), ((3, 4), (4, 5))]
    assert products.found[0][1][1] == (1, 4), "the transposed one stays so"


@pytest.mark.parametrize("workers, amp", [(0, "off"), (1, "bf16")])
def test_steps_are_those_of_a_training_and_read_its_files(monkeypatch: pytest.MonkeyPatch, workers: int, amp: str) -> None:
    updates, reads = [], []
    update, read = Work.update, Stored.__getitem__
    monkeypatch.setattr(Work, "update", lambda self, batch: updates.append(batch[0].shape) or update(self, batch))
    monkeypatch.setattr(Stored, "__getitem__", lambda self, index: reads.append(len(index)) or read(self, index))
    found = measure("tvsl-two-stage", batch=8, classes=20, dimension=32, cells=6, rows=5, times=3, workers=workers, amp=amp)
    assert updates == [(8, 6, 32)] * 4, "one to warm up, and three measured"
    assert workers or reads == [8] * 4
    assert found.products > 0 and 0 < found.wait < found.step


def test_the_verdict_is_told_and_is_the_exit_status(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    good = Speed(step=1.0, wait=0.01, products=0.6, batch=64, device="a GPU")
    assert str(good).count("pass") == 2 and "64.0 scenes/s, on a GPU" in str(good) and "0.60 of a step" in str(good)
    assert "goal 0.5: MISS" in str(replace(good, products=0.4)) and "goal 0.05: MISS" in str(replace(good, wait=0.2))
    for found, code in ((good, 0), (replace(good, products=0.4), 1), (replace(good, wait=0.2), 1)):
        monkeypatch.setattr(speed, "measure", lambda *_, **__: found)
        assert main(["speed"]) == code and str(found) in capsys.readouterr().out
    assert main(["speed", "--method", "magic"]) == 1 and "expected one of tvsl-two-stage" in capsys.readouterr().err
    assert speed.SHARE == 0.5


def test_the_command_measures_two_frames_of_audioclips_size(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """D = 1024 and 221 classes, with a small batch. What it found is no verdict of this test: that a machine is busy proves nothing."""
    seen, update = set(), Work.update
    monkeypatch.setattr(Work, "update", lambda self, batch: seen.add((*(x.shape for x in batch), self.method.t.shape)) or update(self, batch))
    code = main(["speed", "--batch", "2"])
    told = capsys.readouterr().out
    assert seen == {((2, 98, 1024), (2, 143, 1024), (2, 2), (221, 1024))}
    share = re.search(r"ms for its bare matrix products: (\d+\.\d\d) of a step, goal 0\.5: (?:pass|MISS)", told)
    assert share and float(share[1]) > 0 and code == ("MISS" in told)


@pytest.mark.parametrize("rate, code", [("10.00", 0), ("5.00", 0), ("4.99", 1), ("-", 1)])
def test_the_daemons_rate_with_audioclip_is_held_to_five_frames_a_second(tmp_path: Path, rate: str, code: int) -> None:
    """The script over a program that prints what `tvsl bench` does, and a model that is there already."""
    for name in ("engines/proof/audioclip.sh", ".cache/audioclip/random.pt", ".cache/audioclip/model/manifest.toml", "tvsl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    shutil.copy(Path(__file__).parents[1] / "proof/audioclip.sh", tmp_path / "engines/proof")
    (tmp_path / "tvsl").write_text(f"#!/bin/sh\nprintf '%-26s%9s 1/s\\n' frames_per_second 99.00 live_rate {rate}\n")
    (tmp_path / "tvsl").chmod(0o755)
    done = subprocess.run([tmp_path / "engines/proof/audioclip.sh", tmp_path / "tvsl"], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert f"AudioCLIP: {rate} analysed frames a second in real time, goal 5: {'MISS' if code else 'pass'}\n" in done.stdout
