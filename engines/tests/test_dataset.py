"""The published files, mixtures, and data that is not whole."""

import json
from pathlib import Path

import material
import pytest

from tvsl_engines import dataset, importer
from tvsl_engines.dataset import Broken, Data
from tvsl_engines.errors import DataError

CLASSES = list(material.CLASSES)


def test_mixtures_join_two_classes_and_follow_the_seed(tmp_path: Path) -> None:
    data = Data(material.folder(tmp_path))
    clips, broken = dataset.clips(data, tmp_path / "train.txt", CLASSES)
    scenes = dataset.mixtures(data, clips, 2, seed=5)
    assert len(clips) == 12 and not broken.found and len(scenes) == 24
    assert all(len({s.name for s in scene.sources}) == 2 == len(scene.frames) for scene in scenes)
    assert scenes == dataset.mixtures(data, clips, 2, seed=5) != dataset.mixtures(data, clips, 2, seed=6)
    assert {scene.sources[0].name for scene in scenes} == set(CLASSES), "either side"


def test_a_label_outside_the_classes_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "split.txt").write_text("a,dog\nb,dragon\n")
    with pytest.raises(DataError, match=r"split.txt:2: class 'dragon' is not one of the model's 4; expected one of bird, cat"):
        dataset.split(tmp_path / "split.txt", CLASSES)


def test_a_model_takes_the_classes_of_a_split(tmp_path: Path) -> None:
    (tmp_path / "split.txt").write_text('a,"female speech, woman speaking"\nb,dragon\nc,dragon\n')
    assert importer.of_split(tmp_path / "split.txt") == [
        {"name": "dragon", "prompt": "dragon"}, {"name": "female_speech_woman_speaking", "prompt": "female speech woman speaking"}]


def test_lines_of_another_form_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "split.txt").write_text("a,dog,b\n")
    with pytest.raises(DataError, match=":1: 3 columns"):
        dataset.split(tmp_path / "split.txt", CLASSES)
    (tmp_path / "split.txt").write_text("\n")
    with pytest.raises(DataError, match="empty"):
        dataset.split(tmp_path / "split.txt", CLASSES)


def test_missing_clips_are_skipped_and_listed(tmp_path: Path) -> None:
    data = Data(material.folder(tmp_path, each=10))
    (tmp_path / "audio/cow_3.wav").unlink()
    clips, broken = dataset.clips(data, tmp_path / "train.txt", CLASSES)
    assert len(clips) == 39 and list(broken.found) == ["cow_3"] and "cow_3.wav" in str(broken)


def test_more_than_five_in_a_hundred_stop_the_work(tmp_path: Path) -> None:
    data = Data(material.folder(tmp_path, each=10))
    for i in range(3):
        (tmp_path / f"frames/dog_{i}.jpg").unlink()
    with pytest.raises(DataError, match="3 of 40 clips cannot be used, more than 5%"):
        dataset.clips(data, tmp_path / "train.txt", CLASSES)


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


def test_boxes_cut_short_are_told(tmp_path: Path) -> None:
    (tmp_path / "vggss.json").write_text('[{"file": "dog_0", "cla')
    with pytest.raises(DataError, match="vggss.json: no JSON, or cut short"):
        dataset.read_boxes(tmp_path / "vggss.json")


def test_music_boxes_are_given_by_their_size(tmp_path: Path) -> None:
    material.clip(tmp_path, "video_000_00007", "dog", 0)
    (tmp_path / "audio/video_000_00007.wav").rename(tmp_path / "audio/video.wav")
    entry = {"file": "video_000_00007", "class_src1": "dog", "bbox_src1": [0.5, 0.25, 0.25, 0.5],
             "class_src2": "cat", "bbox_src2": [0.8, 0.0, 0.5, 1.0]}
    (tmp_path / "music_duet.json").write_text(json.dumps([entry]))
    scenes, _ = dataset.music_duets(Data(tmp_path), tmp_path / "music_duet.json", CLASSES)
    assert [s.boxes[0] for s in scenes[0].sources] == [(0.5, 0.25, 0.75, 0.75), (0.8, 0.0, 1.0, 1.0)]
    assert scenes[0].sounds[0].name == "video.wav" and len(scenes[0].frames) == 1


def test_class_names_are_those_of_the_split_files() -> None:
    assert dataset.identifier("female speech, woman speaking") == "female_speech_woman_speaking"


def test_a_long_list_of_broken_clips_is_cut() -> None:
    broken = Broken(1000)
    for i in range(30):
        broken.skip(f"{i:03d}", "no sound")
    assert str(broken).endswith("and 10 more")
