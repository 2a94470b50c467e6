"""Training over the default model's encoders, on clips made here."""

import math
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import material
import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.numpy import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tvsl_engines import manifest
from tvsl_engines.__main__ import main
from tvsl_engines.checkpoint import load_heads, read_gate, read_tensors, save_heads
from tvsl_engines.config import Config
from tvsl_engines.encoders import Encoders
from tvsl_engines.deploy import deploy
from tvsl_engines.errors import CheckpointError, DataError, TrainingError
from tvsl_engines.features import Stored, origin
from tvsl_engines.heads import GATES
from tvsl_engines.importer import DEFAULT
from tvsl_engines.methods import METHODS, Avgn
from tvsl_engines.rivals import methods, trained
from tvsl_engines.supply import Supply
from tvsl_engines.train import train
from tvsl_engines.work import Work, cosine


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    data = material.folder(tmp_path_factory.mktemp("data"))
    return Config(DEFAULT, data, data / "train.txt", data / "out", data / "cache", epochs=3, batch=8, rate=1e-3, warmup=2, seed=4)


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings of this process have a small AVGN: its own takes 0.4 GB with its momenta, at every epoch's end."""
    monkeypatch.setitem(METHODS, "avgn", partial(Avgn, width=32))


def same(a: Path, b: Path) -> bool:
    one, other = read_tensors(a), read_tensors(b)
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_training_lowers_the_loss_and_leaves_weights_log_and_checkpoint(config: Config, tmp_path: Path) -> None:
    features = Supply(replace(config, out=tmp_path), Encoders(DEFAULT, 1)).features()
    v, a, present = features[features.usable()[:8]]
    method = METHODS[config.method](torch.from_numpy(features.encoders.t))
    loss = lambda: sum(method.losses(v.float(), a.float(), present).values()).item()
    before = loss()
    weights = train(replace(config, out=tmp_path, epochs=10))
    method.load_state_dict(load_heads(weights, method.state_dict(), origin(features.encoders), DEFAULT))
    assert loss() < before - 0.1
    assert (tmp_path / "last.pt").is_file() and list(tmp_path.glob("events.*"))


class Clock:
    """Time that passes by being told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def timed(monkeypatch: pytest.MonkeyPatch, reading: float) -> None:
    """A batch takes so many seconds to read, and a step one more."""
    clock, read, update = Clock(), Stored.__getitem__, Work.update
    passed = lambda seconds: setattr(clock, "now", clock.now + seconds)
    monkeypatch.setattr(Work, "clock", clock)
    monkeypatch.setattr(Stored, "__getitem__", lambda self, index: passed(reading) or read(self, index))
    monkeypatch.setattr(Work, "update", lambda self, batch: passed(1.0) or update(self, batch))


@pytest.mark.parametrize("reading, told", [(0.25, True), (0.04, False)])
def test_waiting_for_data_is_logged_and_told_once_an_epoch(
        config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, reading: float, told: bool) -> None:
    timed(monkeypatch, reading)
    train(replace(config, out=tmp_path, epochs=2))
    log = EventAccumulator(str(tmp_path)).Reload().Scalars("waiting")
    assert [entry.step for entry in log] == [1, 2, 3, 4, 5, 6]
    assert [entry.value for entry in log] == pytest.approx([reading / (reading + 1)] * 6)
    warned = [line for line in capsys.readouterr().err.splitlines() if "waiting for features" in line]
    assert len(warned) == (2 if told else 0) and all("20% of the time" in line and "`workers` (now 0)" in line for line in warned)


def test_one_seed_one_result(config: Config, tmp_path: Path) -> None:
    first, again = (train(replace(config, out=tmp_path / name)) for name in "ab")
    other = train(replace(config, out=tmp_path / "c", method="avgn"))
    twin = train(replace(config, out=tmp_path / "d", method="avgn", seed=5))
    assert same(first, again) and not same(other, twin)


def interrupt(monkeypatch: pytest.MonkeyPatch, config: Config, epochs: int) -> None:
    """Train, and be stopped after so many epochs."""
    run = Work.run

    def interrupted(self: Work, epoch: int, features) -> None:
        if epoch == epochs:
            raise KeyboardInterrupt
        run(self, epoch, features)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Work, "run", interrupted)
        train(config)


@pytest.mark.parametrize("changed", [{}, {"fresh": True, "mixtures": 1}, {"amp": "fp16"}, {"method": "avgn"}],
                         ids=["plain", "fresh", "fp16", "avgn"])
def test_training_goes_on_where_it_stopped(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict) -> None:
    config = replace(config, **changed)
    whole = train(replace(config, out=tmp_path / "whole"))
    interrupt(monkeypatch, replace(config, out=tmp_path / "parts"), 2)
    assert same(whole, train(replace(config, out=tmp_path / "parts")))
    one, other = (read_tensors(tmp_path / name / "last.pt") for name in ("whole", "parts"))
    assert all(torch.equal(value, other[name]) for name, value in one.items()), "momenta, scale and step too"


def test_fresh_mixtures_are_others_in_every_epoch(config: Config, tmp_path: Path) -> None:
    config = replace(config, fresh=True, mixtures=1, out=tmp_path, cache=tmp_path / "cache")
    supply = Supply(config, Encoders(DEFAULT, 1))
    epochs = [supply.features(epoch) for epoch in range(3)]
    frames = [[scene.frames for scene in features.scenes] for features in epochs]
    assert frames[0] != frames[1] != frames[2] and supply.features(2) is epochs[2]
    assert [features.folder.is_dir() for features in epochs] == [False, False, True], "disk for one epoch"
    still = Supply(replace(config, fresh=False), Encoders(DEFAULT, 1))
    assert still.features(0) is still.features(1)


@pytest.mark.parametrize("method", ["tvsl-two-stage", "avgn"])
@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_amp_trains_too(config: Config, tmp_path: Path, amp: str, method: str) -> None:
    config = replace(config, method=method)
    plain, other = (read_tensors(train(replace(config, out=tmp_path / kind, amp=kind, epochs=1))) for kind in ("off", amp))
    assert all(x.isfinite().all() for x in other.values()) and any(not torch.equal(plain[name], x) for name, x in other.items())
    scale = read_tensors(tmp_path / amp / "last.pt").get("scaler.scale")
    assert (scale is not None and scale > 1) == (amp == "fp16")


def broken_from(monkeypatch: pytest.MonkeyPatch, method: str, call: int, spoil) -> None:
    """The method's loss of sound goes through `spoil` from its `call`th step on."""
    losses, calls = METHODS[method].losses, []

    def broken(self, *inputs):
        parts = losses(self, *inputs)
        calls.append(0)
        return {**parts, "audio": spoil(parts["audio"])} if len(calls) >= call else parts

    monkeypatch.setattr(METHODS[method], "losses", broken)


class NoGradient(torch.autograd.Function):
    """A number whose gradient is none, as that of a root or a norm at nought."""

    @staticmethod
    def forward(_, x):
        return x.clone()

    @staticmethod
    def backward(_, gradient):
        return gradient * math.nan


@pytest.mark.parametrize("spoil, told", [
    (lambda x: x * math.nan, r"the loss is no number .*audio nan"),
    (NoGradient.apply, r"the loss is a number, but its gradient is none for .*heads.mix.ac")], ids=["loss", "gradient"])
def test_what_is_no_number_stops_before_it_moves_a_weight(config: Config, tmp_path: Path, monkeypatch, spoil, told: str) -> None:
    broken_from(monkeypatch, config.method, 5, spoil)
    moved = []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self, *a: moved.append(0) or step(self, *a))
    with pytest.raises(TrainingError, match=rf"step 4: {told}.*last.pt \(epoch 1\)"):
        train(replace(config, out=tmp_path))
    state = read_tensors(tmp_path / "last.pt")
    assert all(value.isfinite().all() for value in state.values()) and int(state["step"]) == 3 and len(moved) == 4
    assert not (tmp_path / "weights.pt").exists()


def test_before_the_first_checkpoint_none_is_named(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken_from(monkeypatch, config.method, 1, lambda x: x * math.nan)
    with pytest.raises(TrainingError, match="step 0: the loss is no number .* No epoch was over, so there is no checkpoint"):
        train(replace(config, out=tmp_path))
    assert not list(tmp_path.glob("*.pt"))


def test_float16_skips_an_overflow_and_stops_at_a_lasting_one(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    once = []
    broken_from(monkeypatch, config.method, 2, lambda x: x if once else once.append(0) or NoGradient.apply(x))
    assert all(x.isfinite().all() for x in read_tensors(train(replace(config, out=tmp_path / "once", amp="fp16"))).values())
    broken_from(monkeypatch, config.method, 1, NoGradient.apply)
    with pytest.raises(TrainingError, match="no number at any scale.*epoch 5"):
        train(replace(config, out=tmp_path / "lasting", amp="fp16", epochs=20))
    assert all(x.isfinite().all() for x in read_tensors(tmp_path / "lasting/last.pt").values())


def test_weights_that_are_no_numbers_never_replace_a_good_checkpoint(config: Config, tmp_path: Path, monkeypatch) -> None:
    train(replace(config, out=tmp_path, epochs=1))
    good, run, save = (tmp_path / "last.pt").read_bytes(), Work.run, Work.save

    def spoiled(self: Work) -> None:
        next(iter(self.optimizer.state.values()))["exp_avg"].fill_(math.inf)
        save(self)

    monkeypatch.setattr(Work, "save", spoiled)
    with pytest.raises(TrainingError, match=r"no numbers in optimizer.0.exp_avg.*\(epoch 1\)"):
        train(replace(config, out=tmp_path))
    assert (tmp_path / "last.pt").read_bytes() == good


@pytest.mark.parametrize("changed, told", [
    ({"seed": 9}, "seed 4 instead of 9"), ({"mixtures": 3}, "mixtures 2 instead of 3"), ({"method": "avgn"}, "method tvsl-two-stage instead of avgn")])
def test_a_checkpoint_of_another_training_is_not_gone_on_from(config: Config, tmp_path: Path, changed: dict, told: str) -> None:
    train(replace(config, out=tmp_path, epochs=1))
    with pytest.raises(TrainingError, match=f"last.pt: the checkpoint of another training: {told}"):
        train(replace(config, out=tmp_path, **changed))


def test_other_encoders_other_texts_and_other_data_are_noticed(config: Config, tmp_path: Path) -> None:
    """Another number among their weights is enough."""
    train(replace(config, out=tmp_path, epochs=1))
    other = material.altered(DEFAULT, tmp_path / "other", "heads.bin")
    with pytest.raises(TrainingError, match="another training: encoders [0-9a-f]{8} instead of"):
        train(replace(config, out=tmp_path, encoders=other))
    reworded = material.altered(DEFAULT, tmp_path / "reworded", "text.safetensors")
    with pytest.raises(TrainingError, match="another training: texts [0-9a-f]{8} instead of"):
        train(replace(config, out=tmp_path, encoders=reworded))
    (tmp_path / "other.txt").write_text("\n".join(config.split.read_text().splitlines()[1:]))
    with pytest.raises(TrainingError, match="another training: data [0-9a-f]{8} instead of"):
        train(replace(config, out=tmp_path, split=tmp_path / "other.txt"))
    torch.save({"w": torch.ones(1)}, tmp_path / "last.pt")
    with pytest.raises(TrainingError, match=r"no checkpoint of a training \(about, epoch, step missing\)"):
        train(replace(config, out=tmp_path))


def test_a_checkpoint_cut_short_is_told(config: Config, tmp_path: Path) -> None:
    train(replace(config, out=tmp_path, epochs=1))
    (tmp_path / "last.pt").write_bytes((tmp_path / "last.pt").read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="last.pt: cut short"):
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
    assert main(["train", "--config", str(tmp_path / "train.toml"), "--out", str(tmp_path / "none"), "--method", "avgn", "--method", "clip-ssl"]) == 1
    assert "needs CLIPSeg weights" in capsys.readouterr().err and not (tmp_path / "none").exists(), "before any is trained"


def torchrun(*command: str) -> subprocess.CompletedProcess:
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", *command]
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    return subprocess.run(run, env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}, capture_output=True, text=True, timeout=600)


def written(config: Config, folder: Path, **changed: object) -> str:
    """The configuration as a file in `folder`, which is also where its caches and results go."""
    keys = {"encoders": config.encoders, "data": config.data, "split": config.split, "cache": folder / "cache", "out": folder / "out", **changed}
    (folder / "train.toml").write_text("\n".join(f"{k} = {v}" if isinstance(v, int) else f'{k} = "{v}"' for k, v in keys.items()))
    return str(folder / "train.toml")


@pytest.mark.parametrize("method", ["tvsl-two-stage", "avgn"])
def test_two_processes_share_the_work_and_repeat_it(config: Config, tmp_path: Path, method: str) -> None:
    """One unreadable clip of 24, and it falls to the second process: counted, listed, left out of both; twice gives the same weights."""
    data = material.folder(tmp_path / "data", each=6)
    lines = (data / "train.txt").read_text().splitlines()
    clip = lines[1].partition(",")[0]
    (data / f"audio/{clip}.wav").write_bytes(b"no sound")
    own = replace(config, data=data, split=data / "train.txt")
    for name in "ab":
        (tmp_path / name).mkdir()
        done = torchrun("-m", "tvsl_engines", "train", "--config", written(own, tmp_path / name, method=method, epochs=1, batch=4, mixtures=1))
        assert done.returncode == 0, done.stderr[-2000:]
        assert "skipped 1 of 24 clips" in done.stdout and f"{clip}: " in (tmp_path / name / "out/skipped.txt").read_text()
    assert int(read_tensors(tmp_path / "a/out/last.pt")["step"]) == 3, "23 mixtures, 4 in each of 2 processes"
    assert same(tmp_path / "a/out/weights.pt", tmp_path / "b/out/weights.pt")
    assert same(tmp_path / "a/out/last.pt", tmp_path / "b/out/last.pt")


def apart(folder: Path, more: str = "") -> str:
    """The package's program as a script, each process of which works in a folder of its own."""
    for rank in "01":
        (folder / rank).mkdir()
    script = folder / "apart.py"
    script.write_text(f"import os, sys\nos.chdir({str(folder)!r} + '/' + os.environ['RANK'])\n{more}\n"
                      "from tvsl_engines.__main__ import main\nsys.exit(main(sys.argv[1:]))\n")
    return str(script)


def test_all_processes_go_on_from_the_checkpoint_of_the_first(config: Config, tmp_path: Path) -> None:
    """`out` is relative, so that only the first process has a checkpoint in its folder."""
    script = apart(tmp_path, "import torch\nfrom tvsl_engines.work import Work\nrun = Work.run\n"
                             "def kept(self, epoch, features):\n    run(self, epoch, features)\n"
                             "    torch.save(self.method.state_dict(), f'weights-{epoch}-{self.step}.pt')\nWork.run = kept")
    for epochs in (1, 2):
        done = torchrun(script, "train", "--config", written(config, tmp_path, out="out", epochs=epochs, batch=4))
        assert done.returncode == 0, done.stderr[-2000:]
    one, other = (sorted(path.name for path in (tmp_path / rank).glob("weights-*")) for rank in "01")
    assert one == other and len(one) == 2, "epoch 0, then epoch 1"
    assert all(same(tmp_path / "0" / name, tmp_path / "1" / name) for name in one)
    assert not (tmp_path / "1/out/last.pt").exists() and same(tmp_path / "1" / one[-1], tmp_path / "0/out/weights.pt")


def test_a_loss_that_is_no_number_in_one_process_stops_all(config: Config, tmp_path: Path) -> None:
    """In the second of two, in the second epoch: the checkpoint of the first epoch stays, and the process that found it says so."""
    script = tmp_path / "broken.py"
    script.write_text("import os, sys\nfrom tvsl_engines.__main__ import main\nfrom tvsl_engines.methods import TwoStage\n"
                      "from tvsl_engines.work import Work\nlosses, run = TwoStage.losses, Work.run\nepochs = []\n"
                      "def broken(self, *given):\n    parts = losses(self, *given)\n"
                      "    return {**parts, 'audio': parts['audio'] * float('nan')} if len(epochs) > 1 else parts\n"
                      "def kept(self, epoch, features):\n    epochs.append(epoch)\n    run(self, epoch, features)\n"
                      "Work.run = kept\nif os.environ['RANK'] == '1':\n    TwoStage.losses = broken\nsys.exit(main(sys.argv[1:]))\n")
    done = torchrun(str(script), "train", "--config", written(config, tmp_path, epochs=3, batch=4))
    assert done.returncode != 0 and "step 3: the loss is no number" in done.stderr and "last.pt (epoch 1)" in done.stderr
    state = read_tensors(tmp_path / "out/last.pt")
    assert (int(state["epoch"]), int(state["step"])) == (1, 3) and all(value.isfinite().all() for value in state.values())
    assert not (tmp_path / "out/weights.pt").exists()


def test_processes_without_a_common_folder_are_told(config: Config, tmp_path: Path) -> None:
    """A relative cache, and each process in a folder of its own."""
    done = torchrun(apart(tmp_path), "train", "--config", written(config, tmp_path, cache="cache", epochs=1, batch=4))
    assert done.returncode != 0 and "the process of rank 1 does not see what rank 0 wrote there" in done.stderr


def test_a_wrong_configuration_is_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    needed = 'encoders = "a"\ndata = "b"\nsplit = "c"\n'
    for text, told in ((needed + 'out = "d"\nlearning = 1', "unknown key `learning`"), (needed, "missing out"), ("epochs =", "no TOML"),
                       (needed + 'out = "d"\nmethod = "magic"', "expected one of tvsl-two-stage"),
                       (needed + 'out = "d"\nepochs = "ten"', "epochs = 'ten'; expected a whole number"),
                       (needed + 'out = "d"\nbatch = 0', "batch = 0; expected at least 1"),
                       (needed + 'out = "d"\ngate = "ajar"', "gate = 'ajar'; expected one of outside, inside"),
                       (needed + 'out = "d"\nfresh = 1', "fresh = 1; expected true or false"),
                       (needed + 'out = "d"\nrate = nan', "rate = nan; expected at least 0"),
                       (needed + 'out = "d"\nmethod = "clip-ssl"', "train.toml: clip-ssl needs CLIPSeg weights: name their folder"),
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


def rates(monkeypatch: pytest.MonkeyPatch, config: Config) -> list[float]:
    """The shares of the highest rate that a training takes its steps at."""
    taken, update = [], Work.update

    def kept(self: Work, batch):
        parts = update(self, batch)
        taken.append(self.optimizer.param_groups[0]["lr"] / config.rate)
        return parts

    with monkeypatch.context() as patch:
        patch.setattr(Work, "update", kept)
        train(config)
    return taken


@pytest.mark.parametrize("batch", [2, 12])
def test_another_batch_goes_on_along_the_same_schedule(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    """24 mixtures: 6 steps an epoch, then 12 or 2. The rate goes on from where it was, and ends beside 0."""
    config = replace(config, out=tmp_path, epochs=6, batch=4, warmup=0)
    interrupt(monkeypatch, config, 3)
    assert int(read_tensors(tmp_path / "last.pt")["step"]) == 18
    later = rates(monkeypatch, replace(config, batch=batch))
    assert len(later) == 3 * 24 // batch and later[0] == pytest.approx(0.5) and later == sorted(later, reverse=True)
    assert later[-1] == pytest.approx(cosine(len(later) * 2 - 1, 0, len(later) * 2))


def test_a_short_training_gets_beyond_its_warm_up(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """20 steps, 4 of them to warm up, though 100 are asked for."""
    shares = rates(monkeypatch, replace(config, out=tmp_path, epochs=5, batch=6, warmup=100))
    assert len(shares) == 20 and shares[:5] == [0.25, 0.5, 0.75, 1.0, 1.0] and shares[-1] < 0.01


@pytest.mark.parametrize("gate", GATES)
def test_trained_heads_become_a_model_folder(config: Config, tmp_path: Path, gate: str) -> None:
    weights = train(replace(config, out=tmp_path / "out", epochs=1, gate=gate))
    assert main(["deploy", "--encoders", str(DEFAULT), "--weights", str(weights), "--out", str(tmp_path / "model")]) == 0
    encoders = Encoders(tmp_path / "model", 1)
    method = METHODS[config.method](torch.from_numpy(encoders.t), gate).eval()
    method.load_state_dict(load_heads(weights, method.state_dict(), origin(encoders), DEFAULT))
    v, a = torch.randn(1, 84, 384), torch.randn(1, 9, 384)
    with torch.no_grad():
        expected = method.maps(v, a, torch.arange(3)[None])
    session = onnxruntime.InferenceSession(tmp_path / "model/stage2.onnx", providers=["CPUExecutionProvider"])
    found = session.run(["H"], {"V": v.numpy(), "A": a.numpy(), "t": encoders.t[:3]})[0]
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    said = manifest.read(tmp_path / "model")
    assert all(manifest.sha256(tmp_path / "model" / f["path"]) == f["sha256"] for f in said["files"])
    assert {f["path"] for f in said["files"]} == {path.name for path in (tmp_path / "model").iterdir()} - {manifest.FILE}
    assert "p_v" not in said["classes"][0]
    stages = {"stage1": "stage1.onnx", "stage2": "stage2.onnx"}
    assert said["graphs"] == {precision: own | stages for precision, own in manifest.read(DEFAULT)["graphs"].items()}
    old, golden = (load_file(path / "golden.safetensors") for path in (DEFAULT, tmp_path / "model"))
    assert all(np.array_equal(golden[name], old[name]) for name in old.keys() - {"p", "p_v", "p_a", "H"})
    v, a, keys = torch.from_numpy(old["V"]), torch.from_numpy(old["A"]).transpose(0, 1), torch.from_numpy(old["keys"])
    np.testing.assert_allclose(golden["H"], method.maps(v, a, keys[None]).detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(golden["p"], method.presence(v, a).detach().numpy(), atol=1e-5)
    judged, _ = methods(DEFAULT, [f"{config.method}={weights}"], None)[config.method]
    assert torch.equal(judged.maps(v, a, keys[None]), method.maps(v, a, keys[None])), "the table's"


@pytest.mark.parametrize("note, gate", [({}, "outside"), ({"gate": "inside"}, "inside"), ({"gate": "ajar"}, None)])
def test_weights_tell_their_gate(tmp_path: Path, note: dict[str, str], gate: str | None) -> None:
    """Those of before there was a choice tell none."""
    save_heads(tmp_path / "weights.pt", {}, note)
    if gate:
        assert read_gate(tmp_path / "weights.pt") == gate
    else:
        with pytest.raises(CheckpointError, match="trained for the gate 'ajar', expected outside or inside"):
            read_gate(tmp_path / "weights.pt")


def test_weights_of_another_method_are_not_deployed(config: Config, tmp_path: Path) -> None:
    weights = train(replace(config, out=tmp_path / "out", epochs=1, method="avgn"))
    with pytest.raises(CheckpointError, match="another model"):
        deploy(DEFAULT, weights, tmp_path / "model")


@pytest.mark.parametrize("name, told", [("heads.bin", "encoders"), ("text.safetensors", "texts")])
def test_heads_are_judged_and_deployed_over_what_they_were_trained_over_alone(
        config: Config, tmp_path: Path, capsys: pytest.CaptureFixture, name: str, told: str) -> None:
    """Others of the same dimension fit as well: one bit among their weights or texts makes them others."""
    weights = train(replace(config, out=tmp_path / "out", epochs=1))
    other = material.altered(DEFAULT, tmp_path / "other", name)
    (tmp_path / "boxes.json").write_text('[{"file": "dog_0", "class": "dog", "bbox": [[0, 0, 1, 1]]}]')
    (tmp_path / "test.csv").write_text("dog_0,dog\n")
    table = ["table", "--data", str(config.data), "--boxes", str(tmp_path / "boxes.json"), "--test", str(tmp_path / "test.csv"),
             "--weights", f"{config.method}={weights}"]
    assert main([*table, "--encoders", str(DEFAULT)]) == 0
    for command in (table, ["deploy", "--weights", str(weights), "--out", str(tmp_path / "model")]):
        assert main([*command, "--encoders", str(other)]) == 1
        assert f"weights.pt: trained over other {told} (" in capsys.readouterr().err and not (tmp_path / "model").exists()


@pytest.mark.parametrize("note, told", [
    (None, "does not say over which encoders and texts it was trained.*run its `train` again over"),
    (torch.zeros(3), "`about` cannot be read"), (torch.tensor(list(b"[1]"), dtype=torch.uint8), r"`about` holds \[1\], expected names")])
def test_heads_that_do_not_say_what_they_were_trained_over_are_told(tmp_path: Path, note: torch.Tensor | None, told: str) -> None:
    """As weights were kept before they did."""
    method = METHODS["tvsl-two-stage"](torch.from_numpy(Encoders(DEFAULT, 1).t))
    torch.save({**method.state_dict(), **({} if note is None else {"about": note})}, tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match=f"weights.pt: {told}"):
        deploy(DEFAULT, tmp_path / "weights.pt", tmp_path / "model")
