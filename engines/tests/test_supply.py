"""Clips that cannot be read: each counted once, whatever it would have been mixed with, and listed whole."""

from dataclasses import replace
from pathlib import Path

import material
import numpy as np
import pytest
import soundfile

from tvsl_engines import dataset, features
from tvsl_engines.config import Config
from tvsl_engines.encoders import Encoders
from tvsl_engines.errors import DataError, TrainingError
from tvsl_engines.features import Features, Stored
from tvsl_engines.importer import DEFAULT
from tvsl_engines.processes import Processes
from tvsl_engines.supply import Supply


@pytest.fixture(scope="module")
def encoders() -> Encoders:
    return Encoders(DEFAULT, 1)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    data = material.folder(tmp_path, each=25)
    return Config(DEFAULT, data, data / "train.txt", data / "out", data / "cache", mixtures=1)


def spoil(config: Config, count: int) -> list[str]:
    """Damage so many of the 100 clips, each in a way of its own."""
    ways = [lambda c: (config.data / f"audio/{c}.wav").write_bytes(b"no sound"),
            lambda c: (config.data / f"frames/{c}.jpg").write_bytes(b"no picture"),
            lambda c: (config.data / f"frames/{c}.jpg").unlink(),
            lambda c: soundfile.write(config.data / f"audio/{c}.wav", np.full(99, np.nan, np.float32), material.RATE, subtype="FLOAT"),
            lambda c: (config.data / f"frames/{c}.jpg").write_bytes((config.data / f"frames/{c}.jpg").read_bytes()[:300]),
            lambda c: (config.data / f"audio/{c}.wav").unlink()]
    clips = [f"{kind}_{i}" for i in range(2) for kind in material.CLASSES][:count]
    for clip, way in zip(clips, ways):
        way(clip)
    return clips


def test_four_in_a_hundred_pass_and_are_listed_whole(config: Config, encoders: Encoders, capsys: pytest.CaptureFixture) -> None:
    clips = spoil(config, 4)
    supply = Supply(config, encoders)
    assert len(supply.clips) == 96 and not {clip for clip, _ in supply.clips} & set(clips)
    listed = (config.out / "skipped.txt").read_text()
    assert listed.startswith("4 of 100 clips:\n") and all(f"  {clip}: " in listed for clip in clips)
    assert "skipped 4 of 100 clips" in capsys.readouterr().out


def test_six_in_a_hundred_stop_with_the_true_count(config: Config, encoders: Encoders) -> None:
    clips = spoil(config, 6)
    with pytest.raises(DataError, match="6 of 100 clips cannot be used, more than 5%"):
        Supply(config, encoders)
    assert all(f"  {clip}: " in (config.out / "skipped.txt").read_text() for clip in clips)


def test_the_disk_that_features_take_is_told_before_they_are_made(config: Config, encoders: Encoders, capsys: pytest.CaptureFixture) -> None:
    lines = config.split.read_text().splitlines()
    few = replace(config, split=config.data / "few.txt")
    few.split.write_text("\n".join(lines[::10]))
    made = Supply(few, encoders).features()
    taken = sum(np.load(path).nbytes for path in made.folder.glob("*.npy"))
    assert made.each * len(made) == taken
    assert f"features: 10 mixtures of {taken / 1e7:.2f} MB, {taken / 1e9:.2f} GB in {made.folder}\n" in capsys.readouterr().out


def test_a_mixture_of_audioclips_takes_half_a_megabyte(tmp_path: Path) -> None:
    """Two frames of 49 cells and 143 rows of sound, 1024 numbers each, in half precision; and a byte that says it is there."""
    assert Stored(tmp_path, np.zeros((1, 2), int), (98, 1024), (143, 1024)).each == 493_569


def test_every_mixture_of_readable_clips_is_usable(config: Config, encoders: Encoders) -> None:
    lines = (config.split).read_text().splitlines()
    few = replace(config, split=config.data / "few.txt")
    few.split.write_text("\n".join(lines[::4]))
    features = Supply(few, encoders).features()
    v, a, present = features[features.usable()]
    assert len(v) == 25 == len(features) and v.isfinite().all() and a.isfinite().all() and present.shape == (25, 2)


def test_what_could_be_read_is_not_read_again_and_what_could_not_is(config: Config, encoders: Encoders, monkeypatch) -> None:
    from tvsl_engines.dataset import Data

    spoil(config, 1)
    Supply(config, encoders)
    asked = []
    monkeypatch.setattr(Data, "fault", lambda self, clip: asked.append(clip) or "")
    assert len(Supply(config, encoders).clips) == 100 and asked == ["dog_0"]
    assert not (config.out / "skipped.txt").exists(), "of this training, not of the last"


def test_a_clip_that_was_written_to_is_read_again(config: Config, encoders: Encoders) -> None:
    """The first of all, cut short after it was found whole: skipped and counted, and nothing stops."""
    few = replace(config, split=config.data / "few.txt")
    few.split.write_text("".join(f"{kind}_{i},{kind}\n" for i in range(8) for kind in material.CLASSES))
    supply = Supply(few, encoders)
    known = supply.identity()["data"]
    frame = config.data / "frames/dog_0.jpg"
    frame.write_bytes(frame.read_bytes()[:400])
    later = Supply(few, encoders)
    assert len(supply.clips) == 32 and len(later.clips) == 31 and "  dog_0: " in (config.out / "skipped.txt").read_text()
    assert later.identity()["data"] != known, "a checkpoint knows the frames that it saw"
    assert len(later.features().usable()) == 31


def test_features_are_of_the_frames_that_are_there_now(config: Config, encoders: Encoders) -> None:
    few = replace(config, split=config.data / "few.txt")
    few.split.write_text("dog_0,dog\ncat_0,cat\n")
    before = Supply(few, encoders).features()
    again = Supply(few, encoders).features()
    for clip in ("dog_0", "cat_0"):
        material.clip(config.data, clip, "cow", 99)
    after = Supply(few, encoders).features()
    assert again.folder == before.folder and not np.array_equal(before[[0]][0], after[[0]][0])


def test_shapes_are_those_of_the_first_scene_that_can_be_encoded(config: Config, encoders: Encoders) -> None:
    """It was whole when the clips were read."""
    scenes = dataset.scenes(dataset.Data(config.data), dataset.training(config.split, encoders.classes), 1, 0, 0)[:30]
    for frame in scenes[0].frames:
        frame.write_bytes(b"no picture")
    own = Features(config.cache, encoders, scenes)
    assert any(reason.startswith("0, of ") for reason in own.fill()) and 0 not in own.usable() and len(own.usable()) > 20
    with pytest.raises(DataError, match=f"none of 1 scenes can be encoded; the first, of {scenes[0].frames[0]}: "):
        Features(config.cache, encoders, scenes[:1])


def test_processes_check_their_parts_and_judge_together(config: Config, encoders: Encoders) -> None:
    """Two ranks one after the other, each told by hand what the other found: 6 of 100 are too many though neither met more than 5."""
    spoil(config, 6)

    class Two(Processes):
        def told(self, mine):
            if isinstance(mine, dict):
                found.setdefault(self.rank, mine)
                return [mine, *(other for rank, other in found.items() if rank != self.rank)]
            return [mine] * 2

    found: dict[int, dict] = {}
    Supply(config, encoders, Two(1, 2))
    assert 0 < len(found[1]) < 6
    with pytest.raises(DataError, match="6 of 100 clips"):
        Supply(config, encoders, Two(0, 2))


def test_a_process_has_a_gpu_of_its_own_and_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    from tvsl_engines import processes

    done = []
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "1")
    cuda, distributed = processes.torch.cuda, processes.distributed
    monkeypatch.setattr(cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda, "device_count", lambda: 2)
    monkeypatch.setattr(cuda, "set_device", lambda n: done.append(n))
    monkeypatch.setattr(distributed, "init_process_group", lambda backend, timeout: done.append((backend, timeout.days)))
    monkeypatch.setattr(distributed, "get_rank", lambda: 3)
    assert Processes.join() == Processes(3, 4)
    assert done[0] == 1 and done[1][0] == "cpu:gloo,cuda:nccl" and done[1][1] >= 7, "the device is chosen before the processes meet"
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(TrainingError, match="process 2 of this machine has no GPU of its own: there are 2"):
        Processes.join()


class Nth(Processes):
    """One of several processes that work one after the other."""

    def told(self, mine):
        return [mine]

    def first(self, mine):
        return mine

    def share(self, folder: Path) -> None:
        pass


def test_no_file_of_features_has_two_writers_and_nothing_is_encoded_twice(encoders: Encoders, tmp_path: Path, monkeypatch) -> None:
    """Two processes; then one that is interrupted, and three that go on."""
    data = material.folder(tmp_path)
    scenes = dataset.scenes(dataset.Data(data), dataset.training(data / "train.txt", encoders.classes), 1, 0, 0)
    count, encoded, wrote = len(scenes), [], []
    number = {id(scene): i for i, scene in enumerate(scenes)}  # two may be alike

    def encode(self: Features, scene: dataset.Scene) -> tuple[np.ndarray, np.ndarray]:
        if len(encoded) == interrupted:
            raise KeyboardInterrupt
        encoded.append(scene)
        return np.full((2, 3), number[id(scene)]), np.full((5, 3), -number[id(scene)])

    def fill(cache: str, rank: int, world: int) -> set[str]:
        wrote.clear()
        Features(tmp_path / cache, encoders, scenes, Nth(rank, world)).fill()
        return set(wrote)

    def whole(cache: str, times: int) -> None:
        """Every scene is there, each encoded once, and the first also `times` for its shape."""
        v, a, _ = Features(tmp_path / cache, encoders, scenes)[range(count)]
        assert v[:, 0, 0].tolist() == list(range(count)) and a[:, 4, 2].tolist() == [-i for i in range(count)]
        assert len(encoded) == count + times + 1

    opened = np.lib.format.open_memmap
    monkeypatch.setattr(np.lib.format, "open_memmap", lambda path, mode, *more: mode != "r" and wrote.append(path.name) or opened(path, mode, *more))
    monkeypatch.setattr(Features, "_encoded", encode)
    monkeypatch.setattr(features, "PARTS", 5)
    interrupted = None
    first, second = fill("two", 0, 2), fill("two", 1, 2)
    assert first and second and not first & second
    whole("two", 2)
    encoded.clear()
    interrupted = count // 2
    with pytest.raises(KeyboardInterrupt):
        fill("one", 0, 1)
    interrupted = None
    written = [fill("one", rank, 3) for rank in range(3)]
    assert not (written[0] & written[1] or written[0] & written[2] or written[1] & written[2])
    whole("one", 4)
