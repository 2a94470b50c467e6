"""The published files, mixtures, and data that is not whole."""

import json
import pickle
from pathlib import Path

import material
import numpy as np
import pytest
import soundfile

from tvsl_engines import dataset, importer, truth
from tvsl_engines.__main__ import main
from tvsl_engines.config import Config
from tvsl_engines.dataset import Broken, Data
from tvsl_engines.errors import DataError
from tvsl_engines.train import train
from tvsl_engines.truth import Source

CLASSES = list(material.CLASSES)


def test_mixtures_join_two_classes_and_follow_the_seed(tmp_path: Path) -> None:
    data = Data(material.folder(tmp_path))
    clips = dataset.training(tmp_path / "train.txt", CLASSES)
    scenes = dataset.mixtures(data, clips, 2, seed=5)
    assert len(clips) == 12 and len(scenes) == 24
    assert all(len({s.name for s in scene.sources}) == 2 == len(scene.frames) for scene in scenes)
    assert scenes == dataset.mixtures(data, clips, 2, seed=5) != dataset.mixtures(data, clips, 2, seed=6)
    assert {scene.sources[0].name for scene in scenes} == set(CLASSES), "either side"
    assert scenes == dataset.scenes(data, clips, 2, 5, epoch=0) != dataset.scenes(data, clips, 2, 5, epoch=1), "others in another epoch"


def test_a_label_outside_the_classes_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "split.txt").write_text("a,dog\nb,dragon\n")
    with pytest.raises(DataError, match=r"split.txt:2: class 'dragon' is not one of the model's 4; expected one of bird, cat"):
        dataset.split(tmp_path / "split.txt", CLASSES)


def test_a_model_takes_the_classes_of_a_split(tmp_path: Path) -> None:
    (tmp_path / "split.txt").write_text('a,"female speech, woman speaking"\nb,dragon\nc,dragon\n')
    assert importer.of_split(tmp_path / "split.txt") == [
        {"name": "dragon", "prompt": "dragon"}, {"name": "female_speech_woman_speaking", "prompt": "female speech woman speaking"}]


@pytest.mark.parametrize("text, told", [(b"dog_\xff,dog\n", "in UTF-8"), (b"", "the split is empty"), (b'"' + b"x" * 200_000, "field larger")])
def test_a_split_that_is_no_text_is_told(tmp_path: Path, text: bytes, told: str) -> None:
    (tmp_path / "train.txt").write_bytes(text)
    with pytest.raises(DataError, match=f"train.txt: .*{told}"):
        dataset.training(tmp_path / "train.txt", ["dog"])


def test_a_list_of_classes_is_read_and_an_empty_one_is_told(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("# ours\ndog\n\nsteam_whistle\ndog\n")
    assert importer.listed(path) == [{"name": "dog", "prompt": "dog"}, {"name": "steam_whistle", "prompt": "steam whistle"}]
    for text, told in ((b"# none\n", "names no class"), (b"caf\xe9\n", "no text in UTF-8")):
        path.write_bytes(text)
        with pytest.raises(DataError, match=f"classes.txt: {told}"):
            importer.listed(path)


def test_classes_in_free_words_are_those_of_a_split_file_too(tmp_path: Path) -> None:
    """Split files have no blanks or commas in a name; a list of classes may."""
    (tmp_path / "split.txt").write_text('a,steam whistle\nb,playing_violin_fiddle\nc,"playing violin, fiddle"\n')
    names = ["dog", "steam whistle", "playing violin, fiddle"]
    assert dataset.training(tmp_path / "split.txt", names)[1:] == [("b", ("playing_violin_fiddle",)), ("c", ("playing_violin_fiddle",))]
    with pytest.raises(DataError, match="'playing_violin_fiddle' is not one"):
        dataset.training(tmp_path / "split.txt", names[:2])


def test_lines_of_another_form_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "split.txt").write_text("a,dog\n\na,dog,b,cat,c\n")
    with pytest.raises(DataError, match=":3: 5 columns"):
        dataset.split(tmp_path / "split.txt", CLASSES)
    for text in ("a\nb\n", "a,dog\nb,dog,cat\n"):
        (tmp_path / "split.txt").write_text(text)
        with pytest.raises(DataError, match="training wants lines"):
            dataset.training(tmp_path / "split.txt", CLASSES)
    (tmp_path / "split.txt").write_text("\n")
    with pytest.raises(DataError, match="empty"):
        dataset.split(tmp_path / "split.txt", CLASSES)


def test_missing_and_unreadable_clips_are_told_apart(tmp_path: Path) -> None:
    data = Data(material.folder(tmp_path))
    (tmp_path / "audio/cow_0.wav").unlink()
    (tmp_path / "audio/cow_1.wav").write_bytes((tmp_path / "audio/cow_1.wav").read_bytes()[:30])
    (tmp_path / "frames/dog_0.jpg").write_bytes((tmp_path / "frames/dog_0.jpg").read_bytes()[:400])
    soundfile.write(tmp_path / "audio/dog_1.wav", np.full(10, np.nan, np.float32), material.RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "audio/dog_2.wav", np.zeros(0), material.RATE)
    assert "no " in data.missing("cow_0") and "cow_0.wav" in data.missing("cow_0") and not data.missing("cow_1")
    assert all(data.fault(clip) for clip in ("cow_1", "dog_0", "dog_1", "dog_2")) and not data.fault("cow_2")
    assert "no numbers" in data.fault("dog_1") and "no sample" in data.fault("dog_2")


def test_more_than_five_in_a_hundred_are_too_many() -> None:
    Broken(40, found={"a": "x", "b": "y"}).judge()
    with pytest.raises(DataError, match="3 of 40 clips cannot be used, more than 5%:\n  a: x\n  b: y\n  c: z"):
        Broken(40, found={"a": "x", "b": "y", "c": "z"}).judge()


def test_vggss_and_the_duet_file(tmp_path: Path) -> None:
    material.folder(tmp_path)
    boxes = [{"file": f"{kind}_0", "class": kind, "bbox": [[0.2, 0.1, 1.2, 0.9], [0, 0, 0.1, 0.1]]} for kind in CLASSES]
    (tmp_path / "vggss.json").write_text(json.dumps(boxes))
    (tmp_path / "duet.csv").write_text("dog_0,dog,cat_0,cat\nbird_0,bird,cow_0,cow\n")
    (tmp_path / "single.csv").write_text("dog_0,dog\n")
    duets, _ = dataset.published(Data(tmp_path), tmp_path / "duet.csv", tmp_path / "vggss.json", CLASSES)
    assert [s.name for s in duets[0].sources] == ["dog", "cat"] and duets[0].kind == "duet"
    assert duets[0].sources[0].boxes[0] == (0.1, 0.1, 0.5, 0.9) and duets[0].sources[1].boxes[0] == (0.6, 0.1, 1.0, 0.9)
    singles, _ = dataset.published(Data(tmp_path), tmp_path / "single.csv", tmp_path / "vggss.json", CLASSES)
    assert singles[0].sources[0].boxes == ((0.2, 0.1, 1.0, 0.9), (0, 0, 0.1, 0.1)) and singles[0].kind == "single"


def test_a_test_without_classes_takes_those_of_its_boxes(tmp_path: Path) -> None:
    """vggss_test.csv."""
    material.folder(tmp_path)
    (tmp_path / "vggss.json").write_text(json.dumps([{"file": "dog_0", "class": "dog", "bbox": [[0, 0, 1, 1]]}]))
    (tmp_path / "vggss_test.csv").write_text("dog_0\n")
    found, _ = dataset.published(Data(tmp_path), tmp_path / "vggss_test.csv", tmp_path / "vggss.json", CLASSES)
    assert found[0].sources == (Source("dog", ((0, 0, 1, 1),)),)
    with pytest.raises(DataError, match="vggss.json: class 'dog' is not one of the model's 1"):
        dataset.published(Data(tmp_path), tmp_path / "vggss_test.csv", tmp_path / "vggss.json", ["cat"])


def test_clips_without_boxes_or_files_are_skipped_and_too_many_stop(tmp_path: Path) -> None:
    material.folder(tmp_path)
    many = [f"{kind}_{i}" for kind in CLASSES for i in range(3)] * 2
    (tmp_path / "vggss.json").write_text(json.dumps([{"file": c, "class": c[:-2], "bbox": [[0, 0, 1, 1]]} for c in many if c != "cow_2"]))
    (tmp_path / "test.csv").write_text("".join(f"{c},{c[:-2]}\n" for c in many if c != "cow_2") + "cow_2,cow\n")
    scenes, broken = dataset.published(Data(tmp_path), tmp_path / "test.csv", tmp_path / "vggss.json", CLASSES)
    assert len(scenes) == 22 and list(broken.found) == ["cow_2"] and "nothing in" in broken.found["cow_2"]
    (tmp_path / "audio/dog_0.wav").unlink()
    with pytest.raises(DataError, match="2 of 23 clips cannot be used"):
        dataset.published(Data(tmp_path), tmp_path / "test.csv", tmp_path / "vggss.json", CLASSES)


@pytest.mark.parametrize("text, told", [
    ('[{"file": "dog_0", "cla', "no JSON, or cut short"), ('{"a": 1}', "expected a list of clips"), ('[3]', "entry 0: expected `file`"),
    ('[{"file": "a", "class": "dog", "bbox": [[0, 0, 1, 1]]}, {"file": "b", "class": "dog", "bbox": []}]', "entry 1: expected"),
    ('[{"file": "a", "class": "dog", "bbox": [[0, 0, 1]]}]', "boxes of four numbers"),
    ('[{"file": "a", "class": "dog", "bbox": [0, 0, "wide", 1]}]', "boxes of four numbers"),
    ('[{"file": "a", "class": "dog", "bbox": [0, 0, NaN, 1]}]', "boxes of four numbers"),
    ('[{"file": "a", "class_src1": "dog", "bbox_src1": [0, 0, 1, 1]}]', "`class_src2`")])
def test_malformed_boxes_are_told(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "vggss.json").write_text(text)
    with pytest.raises(DataError, match=f"vggss.json: .*{told}"):
        truth.read(tmp_path / "vggss.json")


@pytest.mark.parametrize("text, told", [
    ("[]", "expected an object with `scenes`"), ('{"scenes": 3}', "expected an object"), ('{"scenes": [{"image": "a.png"}]}', "scene 0: expected"),
    ('{"scenes": [{"image": "a.png", "kind": "single", "sources": [{"class": "dog", "boxes": [[0, 0, 1]]}]}]}', "boxes` of four"),
    ('{"scenes": [7]}', "found 7")])
def test_malformed_scenes_are_told(tmp_path: Path, capsys: pytest.CaptureFixture, text: str, told: str) -> None:
    (tmp_path / "scenes.json").write_text(text)
    assert main(["eval", str(tmp_path / "scenes.json"), "--model", str(importer.DEFAULT)]) == 1
    assert told in capsys.readouterr().err


def music(folder: Path, clips: list[str]) -> None:
    """Frames of MUSIC videos in the published form: VIDEO_PART_FRAME.jpg, one VIDEO.wav, classes and boxes by their size."""
    entries = []
    for i, clip in enumerate(clips):
        material.clip(folder, clip, ["dog", "bird"][i % 2], i)
        (folder / f"audio/{clip}.wav").rename(folder / f"audio/{clip[:-10]}.wav")
        entries.append({"file": clip, "class_src1": "dog", "bbox_src1": [0.5, 0.25, 0.25, 0.5],
                        "class_src2": "cat", "bbox_src2": [0.8, 0.0, 0.5, 1.0]})
    (folder / "music_duet.json").write_text(json.dumps(entries))
    (folder / "music_duet_test.csv").write_text("".join(f"{clip}\n" for clip in clips))
    (folder / "music_duet_train.txt").write_text("".join(f"{clip},dog,cat\n" for clip in clips))


def test_music_duets_are_one_frame_with_two_sources(tmp_path: Path) -> None:
    music(tmp_path, ["video_000_00007", "-_-TDDxoaAc_001_00037"])
    data, boxes = Data(tmp_path), tmp_path / "music_duet.json"
    found, broken = dataset.published(data, tmp_path / "music_duet_test.csv", boxes, CLASSES)
    assert [s.name for s in found[0].sources] == ["dog", "cat"] and found[0].kind == "duet" and not broken.found
    assert [s.boxes[0] for s in found[0].sources] == [(0.5, 0.25, 0.75, 0.75), (0.8, 0.0, 1.0, 1.0)]
    assert [f.name for f in found[1].frames] == ["-_-TDDxoaAc_001_00037.jpg"] and [s.name for s in found[1].sounds] == ["-_-TDDxoaAc.wav"]
    assert dataset.published(data, tmp_path / "music_duet_train.txt", boxes, CLASSES)[0] == found, "classes in the split too"
    clips = dataset.training(tmp_path / "music_duet_train.txt", CLASSES)
    learned = dataset.scenes(data, clips, 2, seed=0)
    assert [len(s.frames) for s in learned] == [1, 1] and [s.name for s in learned[0].sources] == ["dog", "cat"]
    assert importer.of_split(tmp_path / "music_duet_train.txt") == [{"name": n, "prompt": n} for n in ("cat", "dog")]


def test_music_is_trained_on_and_judged(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    music(tmp_path, [f"video{i}_000_0000{i}" for i in range(4)])
    weights = train(Config(importer.DEFAULT, tmp_path, tmp_path / "music_duet_train.txt", tmp_path / "out", tmp_path / "cache", epochs=1, batch=2))
    assert main(["table", "--encoders", str(importer.DEFAULT), "--data", str(tmp_path), "--boxes", str(tmp_path / "music_duet.json"),
                 "--test", str(tmp_path / "music_duet_test.csv"), "--weights", f"tvsl-two-stage={weights}"]) == 0
    out = capsys.readouterr().out
    assert "4 duet scenes" in out and "duet PIAP" in out and "| tvsl-two-stage |" in out


def test_a_clip_beside_another_has_one_source(tmp_path: Path) -> None:
    music(tmp_path, ["video_000_00007", "video_000_00008"])
    (tmp_path / "test.csv").write_text("video_000_00007,dog,video_000_00008,cat\n")
    with pytest.raises(DataError, match="(?s)1 of 1 clips.*dog in the split, but dog and cat in its boxes"):
        dataset.published(Data(tmp_path), tmp_path / "test.csv", tmp_path / "music_duet.json", CLASSES)


def test_vggsound_instruments_masks_are_judged_by(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """sample0000.pkl beside its clip; two of them beside each other in the test of mixtures."""
    material.folder(tmp_path)
    (tmp_path / "anno").mkdir()
    mask = np.zeros((4, 6), np.uint8)
    mask[1, 2] = 1
    for clip in ("dog_0", "cat_0"):
        (tmp_path / f"anno/{clip}.pkl").write_bytes(pickle.dumps(mask))
    (tmp_path / "single.csv").write_text("dog_0,dog\ncat_0,cat\n")
    (tmp_path / "multi.csv").write_text("dog_0,dog,cat_0,cat\n")
    duets, _ = dataset.published(Data(tmp_path), tmp_path / "multi.csv", tmp_path / "anno", CLASSES)
    assert [(s.name, np.argwhere(s.mask).tolist(), s.mask.shape) for s in duets[0].sources] == [
        ("dog", [[1, 2]], (4, 12)), ("cat", [[1, 8]], (4, 12))]
    assert main(["table", "--encoders", str(importer.DEFAULT), "--data", str(tmp_path), "--boxes", str(tmp_path / "anno"),
                 "--test", str(tmp_path / "single.csv"), "--test", str(tmp_path / "multi.csv")]) == 0
    assert "2 single scenes, 1 duet scenes" in capsys.readouterr().out


def test_class_names_are_those_of_the_split_files() -> None:
    assert dataset.identifier("female speech, woman speaking") == "female_speech_woman_speaking"


def test_a_long_list_of_broken_clips_is_cut() -> None:
    broken = Broken(1000, found={f"{i:03d}": "no sound" for i in range(30)})
    assert str(broken).endswith("and 10 more") and len(broken.lines()) == 30
