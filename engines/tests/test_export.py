"""Exported graphs against PyTorch: pictures of one and two frames, one to five classes, loud sound."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from tvsl_engines import manifest
from tvsl_engines.audioclip import AudioClip, tokenize
from tvsl_engines.esresnext import SAMPLES


def run(folder, name: str, **inputs: torch.Tensor) -> list[torch.Tensor]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(folder / f"{name}.onnx", options, providers=["CPUExecutionProvider"])
    return [torch.from_numpy(x) for x in session.run(None, {k: v.numpy() for k, v in inputs.items()})]


def same(found: torch.Tensor, expected: torch.Tensor, suffix: str) -> None:
    assert found.dtype == torch.float32 and found.shape == expected.shape and found.isfinite().all()
    if suffix:
        assert torch.nn.functional.cosine_similarity(found.flatten(), expected.flatten(), dim=0) >= 0.999
    else:
        assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


def square_wave() -> torch.Tensor:
    return torch.where(torch.arange(SAMPLES)[None] // 50 % 2 == 0, 32767.0, -32768.0)


@pytest.fixture(params=["", "-fp16"])
def suffix(request) -> str:
    return request.param


@pytest.mark.parametrize("width", [224, 448])
@pytest.mark.parametrize("batch", [1, 2])
def test_pictures(model: AudioClip, folder, suffix: str, width: int, batch: int) -> None:
    x = torch.randn(batch, 3, 224, width, generator=torch.Generator().manual_seed(width))
    same(run(folder, f"image{suffix}", image=x)[0], model.see(x), suffix)


def test_sound(model: AudioClip, folder, suffix: str) -> None:
    sound = torch.randn(2, SAMPLES) * 3000
    same(run(folder, f"audio{suffix}", sound=sound)[0], model.hear(sound), suffix)


@pytest.mark.parametrize("sound", [square_wave(), torch.zeros(1, SAMPLES)], ids=["square", "silence"])
def test_the_loudest_and_the_quietest_sound_survive_float16(model: AudioClip, folder, sound: torch.Tensor) -> None:
    """Most rows of these spectra hold rounding errors alone, which PyTorch and ONNX Runtime make differently."""
    single, half = run(folder, "audio", sound=sound)[0], run(folder, "audio-fp16", sound=sound)[0]
    same(half, single, "-fp16")
    assert (single - model.hear(sound)).norm() <= 0.02 * single.norm()


def test_text(model: AudioClip, folder, suffix: str) -> None:
    tokens = tokenize(["a dog", "a cat", "someone playing the violin"])[:, :9].float()
    same(run(folder, f"text{suffix}", tokens=tokens)[0], model.read(tokens), suffix)


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("classes", [1, 2, 3, 4, 5])
def test_heads(heads, folder, suffix: str, frames: int, classes: int) -> None:
    v, a, t = torch.randn(frames, 49 * frames, 32), torch.randn(frames, 143, 32), torch.randn(classes, 32)
    t = torch.nn.functional.normalize(t, dim=-1)
    same(run(folder, f"stage2{suffix}", V=v, A=a, t=t)[0], heads.localize(v, a, t), suffix)
    for found, expected in zip(run(folder, f"stage1{suffix}", V=v, A=a, t=t), heads.detect(v, a, t)):
        same(found, expected, suffix)


def test_graphs_are_of_the_agreed_version_and_type(folder) -> None:
    for path in folder.glob("*.onnx"):
        graph = onnx.load(path, load_external_data=False)
        assert graph.opset_import[0].version <= 17 and graph.ir_version <= 9, path.name
        sizes = {kind: sum(np.prod(x.dims) for x in graph.graph.initializer if x.data_type == kind) for kind in (1, 10)}
        if path.stem.endswith("-fp16") and "audio" not in path.stem:
            assert sizes[onnx.TensorProto.FLOAT16] > 20 * sizes[onnx.TensorProto.FLOAT], path.name
        assert path.stat().st_size < 400_000, f"{path.name} keeps its weights outside"


def test_the_manifest_names_every_file(folder) -> None:
    said = manifest.read(folder)
    listed = {entry["path"]: entry["sha256"] for entry in said["files"]}
    assert set(listed) == {path.name for path in folder.iterdir()} - {manifest.FILE}
    assert all(manifest.sha256(folder / name) == digest for name, digest in listed.items())
    assert all((folder / name).stat().st_mode & 0o444 == 0o444 for name in listed), "the daemon's user reads them too"
    assert said["image"]["cells_max"] == 49 and said["audio"]["scale"] == 32768.0
    assert said["embedding"] == {"dimension": 32, "tokenizer": "clip"}
    assert said["classes"][0]["tokens"][0] == 49406 and said["classes"][0]["tokens"][-1] == 49407
