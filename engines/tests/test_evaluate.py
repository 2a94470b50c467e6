"""Python's judgement beside the program's on the same scenes, and the table of methods on published files."""

import json
import os
import subprocess
from pathlib import Path

import material
import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from tvsl_engines.__main__ import main
from tvsl_engines.dataset import labelled
from tvsl_engines.encoders import Encoders
from tvsl_engines.evaluate import by_program
from tvsl_engines.importer import DEFAULT
from tvsl_engines.methods import METHODS
from tvsl_engines.table import figures

REPOSITORY = DEFAULT.parents[1]
PROGRAMS = [REPOSITORY / f"target/{profile}/tvsl" for profile in ("release", "debug")]
NAMES = {"all AP": "cap", "all IoU@0.3": "iou_at_30", "all IoU@0.5": "iou_at_50", "all AUC": "auc",
         "single AP": "single_ap", "single IoU@0.5": "single_iou_at_50", "single AUC": "single_auc",
         "duet CAP": "duet_cap", "duet PIAP": "duet_piap", "duet CIoU@0.3": "duet_ciou_at_30",
         "duet CIoU@0.3 by frame": "duet_ciou_at_30_by_frame", "duet AUC": "duet_auc", "duet AUC by frame": "duet_auc_by_frame"}


def write_scenes(folder: Path, count: int) -> Path:
    """Blurred noise with random boxes: maps of every shape. One sound is short, one longer than a window."""
    chance, scenes = np.random.default_rng(11), []
    boxed = lambda: [*(x := chance.uniform(0, 0.6, 2)).round(3), *(x + chance.uniform(0.2, 0.4, 2)).round(3)]
    for i in range(count):
        small = Image.fromarray(chance.integers(0, 256, (9, 16, 3), dtype=np.uint8))
        small.resize([(640, 360), (333, 500)][i % 2], Image.BICUBIC).save(folder / f"{i}.png")
        seconds = [3.0, 1.3, 4.1][i % 3]
        soundfile.write(folder / f"{i}.wav", chance.normal(0, 0.1, int(16000 * seconds)).cumsum() % 0.5, 16000, subtype="FLOAT")
        names = ["dog", "cat"] if i % 2 else ["guitar"]
        sources = [{"class": name, "boxes": [boxed()]} for name in names]
        scenes.append({"image": f"{i}.png", "audio": f"{i}.wav", "kind": "duet" if i % 2 else "single", "sources": sources})
    (folder / "scenes.json").write_text(json.dumps({"scenes": scenes}))
    return folder / "scenes.json"


def test_the_program_and_python_agree_to_a_tenth_of_a_point(tmp_path: Path) -> None:
    program = next((path for path in PROGRAMS if path.is_file()), None)
    if program is None:
        pytest.skip("no tvsl program in target/: `make build` first")
    scenes = write_scenes(tmp_path, 12)
    run = [program, "eval", scenes, "--json", "--model", DEFAULT]
    done = subprocess.run(run, cwd=REPOSITORY, env={**os.environ, "TVSL_CONFIG": ""}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report, own = json.loads(done.stdout), figures(by_program(DEFAULT, labelled(scenes)))
    assert NAMES.keys() == own.keys()
    for name, key in NAMES.items():
        assert own[name][0] == pytest.approx(100 * report[key]["value"], abs=0.1), name
    assert own["all AP"][0] > 5
    assert own["duet PIAP"][0] > own["duet CAP"][0], "some maps lie better on the other source"


def test_a_table_comes_out_of_one_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data = material.folder(tmp_path)
    (data / "single.csv").write_text("dog_0,dog\ncat_0,cat\n")
    (data / "duet.csv").write_text("dog_0,dog,bird_1,bird\ncow_1,cow,cat_2,cat\n")
    clips = [f"{kind}_{i}" for kind in material.CLASSES for i in range(3)]
    (data / "boxes.json").write_text(json.dumps([{"file": c, "class": c[:-2], "bbox": [[0.2, 0.2, 0.8, 0.8]]} for c in clips]))
    t = torch.from_numpy(Encoders(DEFAULT, 1).t)
    for name, method in METHODS.items():
        (tmp_path / "trained" / name).mkdir(parents=True)
        torch.save(method(t).state_dict(), tmp_path / "trained" / name / "weights.pt")
    command = ["table", "--encoders", str(DEFAULT), "--data", str(data), "--boxes", str(data / "boxes.json"),
               "--trained", str(tmp_path / "trained")]
    assert main([*command, "--test", str(data / "single.csv"), "--test", str(data / "duet.csv")]) == 0
    out = capsys.readouterr().out
    assert all(f"| {name} |" in out for name in METHODS) and "2 single scenes, 2 duet scenes" in out
    assert "clip-ssl | needs CLIPSeg weights" in out and "published: frames side by side" in out


def test_weights_must_be_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data = material.folder(tmp_path)
    (data / "boxes.json").write_text(json.dumps([{"file": "dog_0", "class": "dog", "bbox": [[0, 0, 1, 1]]}]))
    (data / "test.csv").write_text("dog_0,dog\n")
    command = ["table", "--encoders", str(DEFAULT), "--data", str(data), "--boxes", str(data / "boxes.json"), "--test", str(data / "test.csv")]
    assert main([*command, "--weights", "magic=x.pt"]) == 1
    assert "expected METHOD=FILE" in capsys.readouterr().err
