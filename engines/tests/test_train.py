"""Training over the default model's encoders, on clips made here."""

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import material
import numpy as np
import onnxruntime
import pytest
import soundfile
import torch

from tvsl_engines import manifest
from tvsl_engines import train as training
from tvsl_engines.__main__ import main
from tvsl_engines.checkpoint import read_tensors
from tvsl_engines.encoders import Encoders
from tvsl_engines.errors import CheckpointError, DataError, TrainingError
from tvsl_engines.importer import DEFAULT
from tvsl_engines.methods import METHODS
from tvsl_engines.rivals import trained
from tvsl_engines.train import Config, Work, cosine, train


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    data = material.folder(tmp_path_factory.mktemp("data"))
    return Config(DEFAULT, data, data / "train.txt", data / "out", data / "cache", epochs=3, batch=8, rate=1e-3, warmup=2, seed=4)


def same(a: Path, b: Path) -> bool:
    one, other = read_tensors(a), read_tensors(b)
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_training_lowers_the_loss_and_leaves_weights_log_and_checkpoint(config: Config, tmp_path: Path) -> None:
    features = training.load(config, Encoders(DEFAULT, 1))
    v, a, present = features[features.usable()[:8]]
    method = METHODS[config.method](torch.from_numpy(features.encoders.t))
    loss = lambda: sum(method.losses(v.float(), a.float(), present).values()).item()
    before = loss()
    weights = train(replace(config, out=tmp_path, epochs=10))
    method.load_state_dict(read_tensors(weights))
    assert loss() < before - 0.1
    assert (tmp_path / "last.pt").is_file() and list(tmp_path.glob("events.*"))


def test_one_seed_one_result(config: Config, tmp_path: Path) -> None:
    first, again = (train(replace(config, out=tmp_path / name)) for name in "ab")
    other = train(replace(config, out=tmp_path / "c", method="avgn"))
    twin = train(replace(config, out=tmp_path / "d", method="avgn", seed=5))
    assert same(first, again) and not same(other, twin)


def test_training_goes_on_where_it_stopped(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(replace(config, out=tmp_path / "whole"))
    run = Work.run

    def interrupted(self: Work, epoch: int) -> None:
        if epoch == 2:
            raise KeyboardInterrupt
        run(self, epoch)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Work, "run", interrupted)
        train(replace(config, out=tmp_path / "parts"))
    assert same(whole, train(replace(config, out=tmp_path / "parts")))


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(config: Config, tmp_path: Path, monkeypatch) -> None:
    method, calls = METHODS[config.method], []
    losses = method.losses

    def broken(self, *inputs):
        parts = losses(self, *inputs)
        calls.append(0)
        return {**parts, "audio": parts["audio"] * math.nan} if len(calls) > 4 else parts

    monkeypatch.setattr(method, "losses", broken)
    with pytest.raises(TrainingError, match=r"step 4: the loss is no number .*audio nan.*last.pt \(epoch 1\)"):
        train(replace(config, out=tmp_path))
    state = read_tensors(tmp_path / "last.pt")
    assert all(value.isfinite().all() for value in state.values()) and int(state["step"]) == 3


def test_amp_trains_too(config: Config, tmp_path: Path) -> None:
    assert all(x.isfinite().all() for x in read_tensors(train(replace(config, out=tmp_path, amp="bf16", epochs=1))).values())


def test_unreadable_clips_are_counted_and_too_many_stop(config: Config, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data = material.folder(tmp_path, each=30)
    (data / "audio/dog_0.wav").write_bytes(b"no sound")
    own = replace(config, data=data, split=data / "train.txt", mixtures=1, cache=tmp_path / "cache")
    features = training.load(own, Encoders(DEFAULT, 1))
    assert 0 < 120 - len(features.usable()) <= 6 and "dog_0" in capsys.readouterr().out
    for i in range(6):
        (data / f"frames/cat_{i}.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match="more than 5%"):
        training.load(replace(own, cache=tmp_path / "other"), Encoders(DEFAULT, 1))


def test_a_sound_of_no_numbers_is_an_unreadable_clip(config: Config, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data = material.folder(tmp_path, each=15)
    soundfile.write(data / "audio/cow_1.wav", np.full(material.RATE, np.nan, np.float32), material.RATE, subtype="FLOAT")
    own = replace(config, data=data, split=data / "train.txt", mixtures=1, cache=tmp_path / "cache")
    features = training.load(own, Encoders(DEFAULT, 1))
    assert 0 < 60 - len(features.usable()) <= 3 and "the sound's tokens are no numbers" in capsys.readouterr().out
    v, a, _ = features[features.usable()]
    assert v.isfinite().all() and a.isfinite().all()


def test_a_folder_of_unreadable_clips_is_told(config: Config, tmp_path: Path) -> None:
    data = material.folder(tmp_path)
    for path in data.glob("frames/*.jpg"):
        path.write_bytes(b"no picture")
    with pytest.raises(DataError, match="none of 24 scenes can be read"):
        training.load(replace(config, data=data, split=data / "train.txt", cache=tmp_path / "cache"), Encoders(DEFAULT, 1))


def test_a_checkpoint_cut_short_is_told(config: Config, tmp_path: Path) -> None:
    train(replace(config, out=tmp_path, epochs=1))
    (tmp_path / "last.pt").write_bytes((tmp_path / "last.pt").read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="last.pt: damaged or cut short"):
        train(replace(config, out=tmp_path))


def test_several_methods_train_one_after_the_other(config: Config, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    paths = {key: str(getattr(config, key)) for key in ("encoders", "data", "split", "cache")}
    (tmp_path / "train.toml").write_text("\n".join([*(f'{k} = "{v}"' for k, v in paths.items()), f'out = "{tmp_path}/out"', "epochs = 1"]))
    assert main(["train", "--config", str(tmp_path / "train.toml"), "--method", "tvsl-one-stage", "--method", "avgn"]) == 0
    found = trained(tmp_path / "out")
    assert found == [f"{name}={tmp_path}/out/{name}/weights.pt" for name in ("tvsl-one-stage", "avgn")]
    assert all(line.partition("=")[2] in capsys.readouterr().out for line in found[:1])
    with pytest.raises(DataError, match="no METHOD/weights.pt"):
        trained(tmp_path)


def test_two_processes_share_the_work(config: Config, tmp_path: Path) -> None:
    text = [f'{key} = "{getattr(config, key)}"' for key in ("encoders", "data", "split")]
    (tmp_path / "train.toml").write_text("\n".join([*text, f'cache = "{tmp_path}/cache"', f'out = "{tmp_path}/out"', "epochs = 1", "batch = 4"]))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m", "tvsl_engines",
               "train", "--config", str(tmp_path / "train.toml")]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "out/weights.pt").is_file()
    assert int(read_tensors(tmp_path / "out/last.pt")["step"]) == 3, "24 mixtures, 4 in each of 2 processes"


def test_a_wrong_configuration_is_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    needed = 'encoders = "a"\ndata = "b"\nsplit = "c"\n'
    for text, told in ((needed + 'out = "d"\nlearning = 1', "unknown key `learning`"), (needed, "missing out"), ("epochs =", "no TOML"),
                       (needed + 'out = "d"\nmethod = "magic"', "expected one of tvsl-two-stage"),
                       (needed + 'out = "d"\nepochs = "ten"', "epochs = 'ten'; expected a number"),
                       (needed + 'out = "d"\nbatch = 0', "batch = 0; expected at least 1"),
                       (needed + 'out = 3', "out = 3; expected a text"), (needed + 'out = "d"', "No such file")):
        (tmp_path / "train.toml").write_text(text)
        assert main(["train", "--config", str(tmp_path / "train.toml")]) == 1
        assert told in capsys.readouterr().err


def test_the_documented_configuration_is_one() -> None:
    assert Config.read(Path(__file__).parents[1] / "train.toml") == Config(
        Path("audioclip"), Path("vggsound"), Path("vggsound_duet_train.txt"), Path("trained"))


def test_the_schedule_rises_and_falls() -> None:
    shares = [cosine(step, 10, 110) for step in range(111)]
    assert shares[0] == 0.1 and max(shares) == 1.0 == shares[10] and shares[60] == pytest.approx(0.5) and shares[110] < 1e-9


def test_trained_heads_become_a_model_folder(config: Config, tmp_path: Path) -> None:
    weights = train(replace(config, out=tmp_path / "out", epochs=1))
    assert main(["deploy", "--encoders", str(DEFAULT), "--weights", str(weights), "--out", str(tmp_path / "model")]) == 0
    encoders = Encoders(tmp_path / "model", 1)
    method = METHODS[config.method](torch.from_numpy(encoders.t)).eval()
    method.load_state_dict(read_tensors(weights))
    v, a = torch.randn(1, 84, 384), torch.randn(1, 9, 384)
    with torch.no_grad():
        expected = method.maps(v, a, torch.arange(3)[None])
    session = onnxruntime.InferenceSession(tmp_path / "model/stage2.onnx", providers=["CPUExecutionProvider"])
    found = session.run(["H"], {"V": v.numpy(), "A": a.numpy(), "t": encoders.t[:3]})[0]
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    said = manifest.read(tmp_path / "model")
    assert all(manifest.sha256(tmp_path / "model" / f["path"]) == f["sha256"] for f in said["files"])
    assert "p_v" not in said["classes"][0] and said["graphs"]["fp16"]["stage1"] == "stage1-fp16.onnx"


def test_weights_of_another_method_are_not_deployed(config: Config, tmp_path: Path) -> None:
    weights = train(replace(config, out=tmp_path / "out", epochs=1, method="avgn"))
    with pytest.raises(CheckpointError, match="another model"):
        from tvsl_engines.deploy import deploy
        deploy(DEFAULT, weights, tmp_path / "model")
