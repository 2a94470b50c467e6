"""The table of methods on published files; test_program.py holds Python's judgement against the program's."""

import json
from pathlib import Path

import material
import numpy as np
import pytest
import soundfile
import torch

from tvsl_engines import evaluate
from tvsl_engines.__main__ import main
from tvsl_engines.checkpoint import save_heads
from tvsl_engines.encoders import Encoders
from tvsl_engines.features import origin
from tvsl_engines.importer import DEFAULT
from tvsl_engines.methods import METHODS


def test_a_table_comes_out_of_one_command(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    data = material.folder(tmp_path)
    (data / "single.csv").write_text("dog_0,dog\ncat_0,cat\n")
    (data / "duet.csv").write_text("dog_0,dog,bird_1,bird\ncow_1,cow,cat_2,cat\n")
    clips = [f"{kind}_{i}" for kind in material.CLASSES for i in range(3)]
    (data / "boxes.json").write_text(json.dumps([{"file": c, "class": c[:-2], "bbox": [[0.2, 0.2, 0.8, 0.8]]} for c in clips]))
    encoders = Encoders(DEFAULT, 1)
    for name, method in METHODS.items():
        (tmp_path / "trained" / name).mkdir(parents=True)
        save_heads(tmp_path / "trained" / name / "weights.pt", method(torch.from_numpy(encoders.t)).state_dict(), origin(encoders))
    command = ["table", "--encoders", str(DEFAULT), "--data", str(data), "--boxes", str(data / "boxes.json"),
               "--trained", str(tmp_path / "trained")]
    encoded, own = [], evaluate.encoded
    monkeypatch.setattr(evaluate, "encoded", lambda *a: encoded.append(a) or own(*a))
    assert main([*command, "--test", str(data / "single.csv"), "--test", str(data / "duet.csv")]) == 0
    assert len(encoded) == 4, "each scene once, whatever the number of methods over the same encoders"
    out = capsys.readouterr().out
    assert all(f"| {name} |" in out for name in METHODS) and "2 single scenes, 2 duet scenes" in out
    assert "clip-ssl | needs CLIPSeg weights" in out and "our own, on published tests: frames side by side" in out
    assert all(told in out for told in ("source-wise", "by frame", "AP, CAP: ", "PIAP: ", "AUC: ")), "how each measure is made"


def test_classes_that_the_model_lacks_are_left_out_and_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    material.clip(tmp_path, "dog", "dog", 1)
    scene = {"image": "frames/dog.jpg", "audio": "audio/dog.wav", "kind": "duet"}
    source = lambda name: {"class": name, "boxes": [[0.1, 0.1, 0.9, 0.9]]}
    path, command = tmp_path / "scenes.json", ["eval", str(tmp_path / "scenes.json"), "--model", str(DEFAULT)]
    path.write_text(json.dumps({"scenes": [{**scene, "sources": [source("dog"), source("theremin")]}]}))
    assert main(command) == 0
    told = capsys.readouterr()
    assert "class 'theremin' is not in the model: left out, 1 times" in told.err and "single AP" in told.out
    path.write_text(json.dumps({"scenes": [{**scene, "sources": [source("theremin")]}]}))
    assert main(command) == 1
    assert "no scene is left to judge" in capsys.readouterr().err


def without_samples(path: Path) -> None:
    soundfile.write(path, np.zeros(0), material.RATE)


@pytest.mark.parametrize("name, spoil, told", [
    ("audio/dog.wav", lambda path: path.write_bytes(b"no sound"), "cannot be read: Error opening"),
    ("audio/dog.wav", Path.unlink, "cannot be read: Error opening"),
    ("audio/dog.wav", without_samples, "dog.wav holds no sound; leave `audio` out for digital silence"),
    ("frames/dog.jpg", lambda path: path.write_bytes(path.read_bytes()[:400]), "cannot be read: ")],
    ids=["no sound", "missing", "no samples", "cut short"])
def test_a_scene_that_cannot_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture, name: str, spoil, told: str) -> None:
    """As `tvsl eval` refuses it."""
    material.clip(tmp_path, "dog", "dog", 1)
    spoil(tmp_path / name)
    scene = {"image": "frames/dog.jpg", "audio": "audio/dog.wav", "kind": "single", "sources": [{"class": "dog", "boxes": [[0, 0, 1, 1]]}]}
    (tmp_path / "scenes.json").write_text(json.dumps({"scenes": [scene]}))
    assert main(["eval", str(tmp_path / "scenes.json"), "--model", str(DEFAULT)]) == 1
    error = capsys.readouterr().err
    assert f"the scene of {tmp_path / 'frames/dog.jpg'}" in error and told in error


def test_weights_must_be_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data = material.folder(tmp_path)
    (data / "boxes.json").write_text(json.dumps([{"file": "dog_0", "class": "dog", "bbox": [[0, 0, 1, 1]]}]))
    (data / "test.csv").write_text("dog_0,dog\n")
    command = ["table", "--encoders", str(DEFAULT), "--data", str(data), "--boxes", str(data / "boxes.json"), "--test", str(data / "test.csv")]
    assert main([*command, "--weights", "magic=x.pt"]) == 1
    assert "expected METHOD=FILE" in capsys.readouterr().err


def test_scenes_that_cannot_be_read_are_listed_and_too_many_stop(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """One is missing and one unreadable: together more than one in twenty."""
    data = material.folder(tmp_path, each=6)
    clips = [f"{kind}_{i}" for kind in material.CLASSES for i in range(6)]
    (data / "boxes.json").write_text(json.dumps([{"file": c, "class": c[:-2], "bbox": [[0, 0, 1, 1]]} for c in clips]))
    (data / "test.csv").write_text("".join(f"{c},{c[:-2]}\n" for c in clips))
    command = ["table", "--encoders", str(DEFAULT), "--data", str(data), "--boxes", str(data / "boxes.json"), "--test", str(data / "test.csv")]
    (data / "audio/dog_0.wav").unlink()
    assert main(command) == 0
    told = capsys.readouterr()
    assert "skipped 1 of 24 scenes:\n  dog_0: no " in told.err and "23 single scenes" in told.out
    (data / "frames/cat_0.jpg").write_bytes(b"no picture")
    assert main(command) == 1
    told = capsys.readouterr().err
    assert "2 of 24 scenes cannot be used, more than 5%" in told and "cat_0: " in told and "dog_0: " in told
