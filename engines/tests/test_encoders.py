"""Pictures and sound prepared as the program does it, on the default model and its goldens."""

import os
import shutil
from pathlib import Path

import material
import numpy as np
import pytest
import soundfile
from PIL import Image
from safetensors.numpy import load_file

from tvsl_engines import picture, sound
from tvsl_engines.encoders import Encoders
from tvsl_engines.errors import DataError
from tvsl_engines.features import identity
from tvsl_engines.importer import DEFAULT


@pytest.fixture(scope="module")
def encoders() -> Encoders:
    return Encoders(DEFAULT, 1)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return load_file(DEFAULT / "golden.safetensors")


def off(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def test_the_front_end_is_the_programs(encoders: Encoders, golden) -> None:
    mel = encoders.manifest["audio"]["log_mel"]
    assert off(sound.log_mel(golden["waveform"], mel, 16000), golden["log_mel"]) < 1e-5


def test_encoders_give_the_goldens(encoders: Encoders, golden) -> None:
    assert off(encoders.see(golden["image"]), golden["V"]) < 1e-3
    window = np.zeros(48000, np.float32)
    rows = encoders.hear(window)
    mel = encoders.manifest["audio"]["log_mel"]
    frames = (len(window) - mel["frame_length"]) // mel["frame_step"] + 1
    patches = (frames - mel["patch_frames"]) // mel["patch_step"] + 1
    assert len(rows) == 1 and rows[0].shape == (patches, 384)


def test_rows_are_a_hop_apart_and_reach_back_a_window(encoders: Encoders) -> None:
    """A click in the last patch alone changes the last row alone; longer sound has a window more."""
    quiet = np.zeros(48000, np.float32)
    click = quiet.copy()
    click[45000:45100] = 0.9
    changed = np.abs(encoders.hear(click)[0] - encoders.hear(quiet)[0]).max(axis=1) > 1e-3
    assert changed[-1] and not changed[:-4].any()
    assert len(encoders.hear(np.zeros(80000, np.float32))) == 2


def test_a_picture_whose_exif_says_nothing_stays_as_it_is(tmp_path: Path) -> None:
    """Upright without EXIF, and with one that is damaged; on its side with an orientation."""
    pixels = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40)
    for exif, shape in ((b"", (2, 3, 3)), (b"Exif\0\0damaged", (2, 3, 3)), (b"Exif\0\0II*\0", (2, 3, 3)),
                        (b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0", (3, 2, 3))):
        pixels.save(tmp_path / "a.jpg", exif=exif)
        assert picture.read(tmp_path / "a.jpg").shape == shape, exif


def test_a_letterbox_is_the_programs(encoders: Encoders) -> None:
    place = picture.fit(640, 360, encoders.image)
    assert (place.rows, place.columns) == (7, 12) and (place.width, place.height) == (384, 216)
    x, _ = encoders.whole(np.full((360, 640, 3), 255, np.uint8))
    assert x.shape == (3, 224, 384) and (x[:, :4] == 0).all() and np.allclose(x[:, 4:-4], 1.0)


def test_scaling_is_the_programs() -> None:
    line = np.repeat(np.array([0, 0, 100, 100], np.uint8)[None, :, None], 3, axis=2)
    assert picture.scaled(line, 2, 1)[0, :, 0].tolist() == [14, 86]


def test_a_squashing_model_sees_frames_side_by_side(folder) -> None:
    encoders = Encoders(folder, 1)
    frames = [np.zeros((48, 64, 3), np.uint8), np.full((64, 48, 3), 255, np.uint8)]
    x, place = encoders.beside(frames)
    assert x.shape == (3, 224, 448) and (place.rows, place.columns) == (7, 14)
    assert x[:, :, :224].max() < x[:, :, 224:].min()
    assert encoders.see(x[None]).shape == (1, 98, 32)
    rows = encoders.hear(np.zeros(220500, np.float32))
    assert rows[0].shape == (143, 32) and encoders.t.shape == (len(encoders.classes), 32)


@pytest.mark.parametrize("size", [(1, 224, 224), (2, 224, 448), (1, 160, 288)])
def test_pictures_are_the_same_with_a_head_of_their_own_and_without(folder: Path, headless: Path, size: tuple[int, ...]) -> None:
    x = np.random.default_rng(5).normal(size=(size[0], 3, *size[1:])).astype(np.float32)
    found, expected = (Encoders(path, 1).see(x) for path in (folder, headless))
    assert found.shape == (size[0], size[1] * size[2] // 1024, 32) and off(found, expected) < 1e-5


def test_the_middle_of_a_sound() -> None:
    assert sound.middle(np.arange(10), 4).tolist() == [3, 4, 5, 6]
    assert sound.middle(np.arange(3), 6).tolist() == [0, 1, 2, 0, 1, 2]
    with pytest.raises(ValueError, match="no sample"):
        sound.middle(np.zeros(0), 4)


def test_a_sound_that_many_frames_share_is_read_once_until_it_changes(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, read, reads = tmp_path / "video.wav", soundfile.read, []
    monkeypatch.setattr(soundfile, "read", lambda *a, **k: reads.append(a) or read(*a, **k))
    for value in (0.25, 0.5):
        soundfile.write(path, np.full(500, value), 100)
        os.utime(path, ns=(0, int(value * 100)))
        assert all(np.allclose(sound.heard(path, 100, 300), value, atol=1e-4) for _ in range(5))
        sound.check(path), sound.check(path)
    assert len(reads) == 4, "heard and checked, twice each"


def test_a_damaged_model_folder_is_told(folder, tmp_path) -> None:
    (tmp_path / "manifest.toml").write_text('schema = 1\nclasses = []\n[image]\naspect = "squash"\n')
    with pytest.raises(DataError, match="manifest.toml: no manifest of a model folder: audio, graphs, embedding, classes, files missing"):
        Encoders(tmp_path)
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "audio.onnx").write_bytes((tmp_path / "audio.onnx").read_bytes()[:100])
    with pytest.raises(DataError, match="audio.onnx: ONNX Runtime cannot load it"):
        Encoders(tmp_path)


@pytest.mark.parametrize("source, weights", [
    ("audioclip", "image.bin"), ("audioclip", "image-head.bin"), ("audioclip", "audio.bin"),
    ("default", "encoders.bin"), ("default", "heads.bin")])
def test_other_weights_are_other_encoders_and_other_heads_are_not(folder, tmp_path: Path, source: str, weights: str) -> None:
    """By the content of what the graphs name, whatever a manifest says: both encoders of the default model read heads.bin too."""
    own, heads = (folder, "stage2.bin") if source == "audioclip" else (DEFAULT, "stage2.onnx")
    known, other, same = (identity(Encoders(path, 1)) for path in (
        own, material.altered(own, tmp_path / "other", weights), material.altered(own, tmp_path / "same", heads)))
    assert other != known == same


def test_a_class_in_free_words_is_found_as_split_files_write_it(folder, tmp_path: Path) -> None:
    """Trained and judged by that name too; `tvsl eval` takes its own name alone, and so does `eval` here."""
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    text = (tmp_path / "manifest.toml").read_text()
    (tmp_path / "manifest.toml").write_text(text.replace('name = "dog"', 'name = "steam whistle, loud"'))
    encoders = Encoders(tmp_path, 1)
    own = encoders.classes.index("steam whistle, loud")
    assert encoders.index["steam_whistle_loud"] == encoders.index["steam whistle, loud"] == encoders.named["steam whistle, loud"] == own
    assert "steam_whistle_loud" not in encoders.named


def test_resampling_keeps_a_tone() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(44100) / 44100).astype(np.float32)
    expected = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert off(sound.resampled(tone, 44100, 16000), expected) < 1e-3
