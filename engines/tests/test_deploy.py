"""What a model folder of trained heads takes along, whichever graphs see and hear in it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tvsl_engines import manifest
from tvsl_engines.checkpoint import save_heads
from tvsl_engines.deploy import deploy
from tvsl_engines.encoders import Encoders
from tvsl_engines.features import origin
from tvsl_engines.importer import DEFAULT
from tvsl_engines.methods import METHODS

STAGES = {"stage1": "stage1.onnx", "stage2": "stage2.onnx"}


@pytest.mark.parametrize("kind", ["folder", "headless", "default"])
def test_every_graph_of_the_encoders_is_taken_along(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    encoders = Encoders(DEFAULT if kind == "default" else request.getfixturevalue(kind), 1)
    save_heads(tmp_path / "weights.pt", METHODS["tvsl-two-stage"](torch.from_numpy(encoders.t)).state_dict(), origin(encoders))
    deploy(encoders.folder, tmp_path / "weights.pt", tmp_path / "model")
    found = Encoders(tmp_path / "model", 1)
    assert found.manifest["graphs"] == {precision: own | STAGES for precision, own in encoders.manifest["graphs"].items()}
    listed = {entry["path"]: entry["sha256"] for entry in found.manifest["files"]}
    assert listed.keys() == {path.name for path in (tmp_path / "model").iterdir()} - {manifest.FILE}
    assert all(name in listed for own in found.manifest["graphs"].values() for name in own.values())
    x = np.random.default_rng(6).normal(size=(1, 3, 224, 224)).astype(np.float32)
    assert origin(found) == origin(encoders) and np.array_equal(found.see(x), encoders.see(x))
