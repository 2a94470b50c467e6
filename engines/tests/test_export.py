"""Exported graphs against PyTorch, small and in the published size: one and two frames, one to five classes, loud sound."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.numpy import load_file

from tvsl_engines import manifest
from tvsl_engines.audioclip import SIDE, tokenize
from tvsl_engines.esresnext import SAMPLES, WINDOW

SINGLE = onnx.TensorProto.FLOAT
# What adds up many values or leaves the range of float16, and the graphs that hold it.
FRONT_END = f"Conv of {WINDOW} taps"
EXACT = {"Softmax": {"image", "text"}, "LayerNormalization": {"text"}, "ReduceL2": {"text", "stage1", "stage2"}, "Log": {"audio"},
         FRONT_END: {"audio"}}


@lru_cache(2)
def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(folder: Path, name: str, **inputs: torch.Tensor) -> list[torch.Tensor]:
    found = session(folder / f"{name}.onnx").run(None, {k: v.numpy() for k, v in inputs.items()})
    return [torch.from_numpy(x) for x in found]


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


@pytest.mark.parametrize("rows, columns", [(7, 7), (7, 14), (5, 9)])
@pytest.mark.parametrize("batch", [1, 2])
def test_pictures(exported, suffix: str, rows: int, columns: int, batch: int) -> None:
    x = torch.randn(batch, 3, 32 * rows, 32 * columns, generator=torch.Generator().manual_seed(columns))
    expected = exported.model.see(x)
    assert expected.shape[:2] == (batch, rows * columns)
    same(run(exported.encoders, f"image{suffix}", image=x)[0], expected, suffix)


def test_sound(exported, suffix: str) -> None:
    sound = torch.randn(2, SAMPLES) * 3000
    same(run(exported.encoders, f"audio{suffix}", sound=sound)[0], exported.model.hear(sound), suffix)


@pytest.mark.parametrize("sound", [square_wave(), torch.zeros(1, SAMPLES)], ids=["square", "silence"])
def test_the_loudest_and_the_quietest_sound_survive_float16(exported, sound: torch.Tensor) -> None:
    """Most rows of these spectra hold rounding errors alone, which PyTorch and ONNX Runtime make differently: its rows are PyTorch's input."""
    single, half = (run(exported.encoders, f"audio{suffix}", sound=sound)[0] for suffix in ("", "-fp16"))
    same(half, single, "-fp16")
    audio = exported.model.audio
    features = audio.features(decibels(exported.encoders, "audio", sound))
    same(single, audio.fc(features.permute(0, 3, 2, 1).flatten(1, 2)), "")


def decibels(folder: Path, name: str, sound: torch.Tensor) -> torch.Tensor:
    """What the front end of the audio graph hands on, made an output of it."""
    model = onnx.load(folder / f"{name}.onnx")
    producer = {output: node for node in model.graph.node for output in node.output}
    first = next(node for node in model.graph.node if node.op_type == "Conv" and _taps(node) == (7, 7))
    value = first.input[0]
    while producer[value].op_type == "Cast":
        value = producer[value].input[0]
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info(value, SINGLE, None))
    found = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return torch.from_numpy(found.run(None, {"sound": sound.numpy()})[0])


def _taps(conv: onnx.NodeProto) -> tuple[int, ...]:
    return next(tuple(x.ints) for x in conv.attribute if x.name == "kernel_shape")


def test_decibels_of_a_full_scale_square_wave_are_those_of_single_precision(exported) -> None:
    """Its power is 10^9 before the logarithm, and float16 ends at 65 504."""
    single, half = (decibels(exported.encoders, f"audio{suffix}", square_wave()) for suffix in ("", "-fp16"))
    assert single.isfinite().all() and torch.equal(half, single) and single.shape[1:3] == (3, 341)
    expected = exported.model.audio.decibels(square_wave())
    loud = expected > expected.max() - 60
    assert loud.sum() > 100 and (single - expected)[loud].abs().max() < 0.05


def test_the_front_ends_filters_are_one_constant(exported, suffix: str) -> None:
    """The wavelets are computed when the graph is written: a runtime meets none of their sines, cosines, powers or exponentials."""
    model = onnx.load(exported.encoders / f"audio{suffix}.onnx", load_external_data=False)
    front = [node for node in model.graph.node if node.op_type == "Conv" and _taps(node) == (WINDOW,)]
    held = {node.output[0]: list(x.t.dims) for node in model.graph.node if node.op_type == "Constant" for x in node.attribute}
    held |= {x.name: list(x.dims) for x in model.graph.initializer}
    assert [held.get(node.input[1]) for node in front] == [[2 * 3 * 341, 1, WINDOW]]
    assert not {node.op_type for node in model.graph.node} & {"Sin", "Cos", "Pow", "Exp"}


def test_text(exported, suffix: str) -> None:
    tokens = tokenize(["a dog", "a cat", "someone playing the violin"])[:, :9].float()
    same(run(exported.encoders, f"text{suffix}", tokens=tokens)[0], exported.model.read(tokens), suffix)


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("classes", [1, 2, 3, 4, 5])
def test_heads(exported, suffix: str, frames: int, classes: int) -> None:
    size = exported.model.dimension
    v, a, t = torch.randn(frames, 49 * frames, size), torch.randn(frames, 143, size), torch.randn(classes, size)
    t = torch.nn.functional.normalize(t, dim=-1)
    same(run(exported.stages, f"stage2{suffix}", V=v, A=a, t=t)[0], exported.heads.localize(v, a, t), suffix)
    for found, expected in zip(run(exported.stages, f"stage1{suffix}", V=v, A=a, t=t), exported.heads.detect(v, a, t)):
        same(found, expected, suffix)


def test_sums_norms_and_logarithms_stay_in_single_precision(exported) -> None:
    """By the types that reach each of them in the float16 graphs."""
    found: dict[str, set[str]] = {name: set() for name in EXACT}
    for folder, names in ((exported.encoders, ("image", "audio", "text")), (exported.stages, ("stage1", "stage2"))):
        for name in names:
            model = onnx.shape_inference.infer_shapes(onnx.load(folder / f"{name}-fp16.onnx", load_external_data=False))
            graph = model.graph
            types = {x.name: x.type.tensor_type.elem_type for x in (*graph.input, *graph.value_info)}
            types |= {x.name: x.data_type for x in graph.initializer}
            for node in graph.node:
                kind = FRONT_END if node.op_type == "Conv" and _taps(node) == (WINDOW,) else node.op_type
                if kind in EXACT:
                    found[kind].add(name)
                    assert {types[x] for x in node.input if x} <= {SINGLE, onnx.TensorProto.INT64}, f"{name}: {node.name}"
    assert found == EXACT


def test_every_graph_gives_the_goldens(exported, suffix: str) -> None:
    """A picture and a sound such as cameras and microphones give, with what PyTorch made of them."""
    golden = {name: torch.from_numpy(x) for name, x in load_file(exported.encoders / "golden.safetensors").items()}
    v, a, t, image, sound = (golden[name] for name in ("V", "A", "t", "image", "sound"))
    assert image.shape == (1, 3, SIDE, SIDE) and torch.nn.functional.avg_pool2d(image, 8).std() > 0.7 * image.std() > 0.3, "no noise"
    assert sound.shape == (1, SAMPLES) and sound.abs().max() < 32768 and 1000 < sound.std() < 10000, "in whole steps of 16 bits"
    given = {"image": {"image": image}, "audio": {"sound": sound}, "stage1": {"V": v, "A": a, "t": t},
             "stage2": {"V": v, "A": a, "t": t[golden["keys"]]}}
    for graph, names in (("image", ["V"]), ("audio", ["A"]), ("stage1", ["p", "p_v", "p_a"]), ("stage2", ["H"])):
        for name, found in zip(names, run(exported.encoders, f"{graph}{suffix}", **given[graph])):
            same(found, golden[name], suffix)


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
