"""Exported graphs against PyTorch, small and in the published size: one and two frames, one to five classes, loud sound."""

from functools import lru_cache
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from safetensors.numpy import load_file

from tvsl_engines import manifest
from tvsl_engines.audioclip import SIDE, tokenize
from tvsl_engines.esresnext import SAMPLES, WINDOW

HALVED = "image-fp16"
SINGLE, HALF = onnx.TensorProto.FLOAT, {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}
# What adds up many values or leaves the range of float16, and the graphs that hold it.
FRONT_END = f"Conv of {WINDOW} taps"
EXACT = {"Softmax": {"image-head", "text"}, "LayerNormalization": {"text"}, "ReduceL2": {"text", "stage1", "stage2"}, "Log": {"audio"},
         FRONT_END: {"audio"}}
TRUNK = {"Cast", "Conv", "Relu", "AveragePool", "Add"}  # all that is computed in half precision, and the way there and back


@lru_cache(2)
def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(folder: Path, name: str, **inputs: torch.Tensor) -> list[torch.Tensor]:
    found = session(folder / f"{name}.onnx").run(None, {k: v.numpy() for k, v in inputs.items()})
    return [torch.from_numpy(x) for x in found]


def see(folder: Path, trunk: str, image: torch.Tensor) -> torch.Tensor:
    """V by the file of a trunk, and by the head, of which there is one."""
    features, = run(folder, trunk, image=image)
    assert features.dtype == torch.float32
    return run(folder, "image-head", features=features)[0]


def same(found: torch.Tensor, expected: torch.Tensor, trunk: str = "") -> None:
    """To a part in ten thousand, or as a plan of half precision is held to it."""
    assert found.dtype == torch.float32 and found.shape == expected.shape and found.isfinite().all()
    if trunk == HALVED:
        assert torch.nn.functional.cosine_similarity(found.flatten(), expected.flatten(), dim=0) >= 0.999
    else:
        assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


def square_wave() -> torch.Tensor:
    return torch.where(torch.arange(SAMPLES)[None] // 50 % 2 == 0, 32767.0, -32768.0)


@pytest.mark.parametrize("trunk", ["image", HALVED])
@pytest.mark.parametrize("rows, columns", [(7, 7), (7, 14), (5, 9)])
@pytest.mark.parametrize("batch", [1, 2])
def test_pictures(exported, trunk: str, rows: int, columns: int, batch: int) -> None:
    x = torch.randn(batch, 3, 32 * rows, 32 * columns, generator=torch.Generator().manual_seed(columns))
    expected = exported.model.see(x)
    assert expected.shape[:2] == (batch, rows * columns)
    same(see(exported.encoders, trunk, x), expected, trunk)


def test_sound(exported) -> None:
    sound = torch.randn(2, SAMPLES) * 3000
    same(run(exported.encoders, "audio", sound=sound)[0], exported.model.hear(sound))


@pytest.mark.parametrize("sound", [square_wave(), torch.zeros(1, SAMPLES)], ids=["square", "silence"])
def test_the_loudest_and_the_quietest_sound(exported, sound: torch.Tensor) -> None:
    """Most rows of these spectra hold rounding errors alone, which PyTorch and ONNX Runtime make differently: its rows are PyTorch's input."""
    audio = exported.model.audio
    features = audio.features(decibels(exported.encoders, sound))
    same(run(exported.encoders, "audio", sound=sound)[0], audio.fc(features.permute(0, 3, 2, 1).flatten(1, 2)))


def decibels(folder: Path, sound: torch.Tensor) -> torch.Tensor:
    """What the front end of the audio graph hands on, made an output of it."""
    model = onnx.load(folder / "audio.onnx")
    first = next(node for node in model.graph.node if node.op_type == "Conv" and _taps(node) == (7, 7))
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info(first.input[0], SINGLE, None))
    found = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return torch.from_numpy(found.run(None, {"sound": sound.numpy()})[0])


def _taps(conv: onnx.NodeProto) -> tuple[int, ...]:
    return next(tuple(x.ints) for x in conv.attribute if x.name == "kernel_shape")


def test_decibels_of_a_full_scale_square_wave_are_pytorchs(exported) -> None:
    """Its power is 10^9 before the logarithm, and float16 ends at 65 504."""
    found, expected = decibels(exported.encoders, square_wave()), exported.model.audio.decibels(square_wave())
    assert found.isfinite().all() and found.shape[1:3] == (3, 341)
    loud = expected > expected.max() - 60
    assert loud.sum() > 100 and (found - expected)[loud].abs().max() < 0.05


def test_the_front_ends_filters_are_one_constant(exported) -> None:
    """The wavelets are computed when the graph is written: a runtime meets none of their sines, cosines, powers or exponentials."""
    model = onnx.load(exported.encoders / "audio.onnx", load_external_data=False)
    front = [node for node in model.graph.node if node.op_type == "Conv" and _taps(node) == (WINDOW,)]
    held = {node.output[0]: list(x.t.dims) for node in model.graph.node if node.op_type == "Constant" for x in node.attribute}
    held |= {x.name: list(x.dims) for x in model.graph.initializer}
    assert [held.get(node.input[1]) for node in front] == [[2 * 3 * 341, 1, WINDOW]]
    assert not {node.op_type for node in model.graph.node} & {"Sin", "Cos", "Pow", "Exp"}


def test_text(exported) -> None:
    tokens = tokenize(["a dog", "a cat", "someone playing the violin"])[:, :9].float()
    same(run(exported.encoders, "text", tokens=tokens)[0], exported.model.read(tokens))


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("classes", [1, 2, 3, 4, 5])
def test_heads(exported, frames: int, classes: int) -> None:
    size = exported.model.dimension
    v, a, t = torch.randn(frames, 49 * frames, size), torch.randn(frames, 143, size), torch.randn(classes, size)
    t = torch.nn.functional.normalize(t, dim=-1)
    same(run(exported.stages, "stage2", V=v, A=a, t=t)[0], exported.heads.localize(v, a, t))
    for found, expected in zip(run(exported.stages, "stage1", V=v, A=a, t=t), exported.heads.detect(v, a, t)):
        same(found, expected)


def test_half_precision_knows_convolutions_alone(exported) -> None:
    """No softmax, norm, exponential, logarithm or sum: what may not be halved is in no graph with types of half precision, not even in
    float32. It is in graphs where no value at all is of such a type."""
    halved = opened(exported.encoders / f"{HALVED}.onnx")
    assert {node.op_type for node in halved.node} == TRUNK and HALF & types(halved)
    found: dict[str, set[str]] = {name: set() for name in EXACT}
    for path in {path for folder in (exported.encoders, exported.stages) for path in folder.glob("*.onnx")}:
        graph = opened(path)
        assert path.stem == HALVED or not HALF & types(graph), path.name
        for node in graph.node:
            kind = FRONT_END if node.op_type == "Conv" and _taps(node) == (WINDOW,) else node.op_type
            if kind in EXACT:
                found[kind].add(path.stem)
    assert found == EXACT


def opened(path: Path) -> onnx.GraphProto:
    return onnx.shape_inference.infer_shapes(onnx.load(path, load_external_data=False)).graph


def types(graph: onnx.GraphProto) -> set[int]:
    """Those of every value; fails if one's is not known."""
    known = {x.name: x.type.tensor_type.elem_type for x in (*graph.input, *graph.output, *graph.value_info)}
    known |= {x.name: x.data_type for x in graph.initializer}
    return {known[x] for node in graph.node for x in (*node.input, *node.output) if x}


def test_every_graph_gives_the_goldens(exported) -> None:
    """A picture and a sound such as cameras and microphones give, with what PyTorch made of them."""
    golden = {name: torch.from_numpy(x) for name, x in load_file(exported.encoders / "golden.safetensors").items()}
    v, a, t, image, sound = (golden[name] for name in ("V", "A", "t", "image", "sound"))
    assert image.shape == (1, 3, SIDE, SIDE) and torch.nn.functional.avg_pool2d(image, 8).std() > 0.7 * image.std() > 0.3, "no noise"
    assert sound.shape == (1, SAMPLES) and sound.abs().max() < 32768 and 1000 < sound.std() < 10000, "in whole steps of 16 bits"
    for trunk in ("image", HALVED):
        same(see(exported.encoders, trunk, image), v, trunk)
    given = {"audio": {"sound": sound}, "stage1": {"V": v, "A": a, "t": t}, "stage2": {"V": v, "A": a, "t": t[golden["keys"]]}}
    for graph, names in (("audio", ["A"]), ("stage1", ["p", "p_v", "p_a"]), ("stage2", ["H"])):
        for name, found in zip(names, run(exported.encoders, graph, **given[graph])):
            same(found, golden[name])


def test_graphs_are_of_the_agreed_version_and_type(folder) -> None:
    for path in folder.glob("*.onnx"):
        graph = onnx.load(path, load_external_data=False)
        assert graph.opset_import[0].version <= 17 and graph.ir_version <= 9, path.name
        weights = {x.data_type for x in graph.graph.initializer if len(x.dims) > 1}
        assert weights == {onnx.TensorProto.FLOAT16 if path.stem == HALVED else SINGLE}, path.name
        assert path.stat().st_size < 400_000, f"{path.name} keeps its weights outside"


def test_the_manifest_names_every_file(folder) -> None:
    said = manifest.read(folder)
    listed = {entry["path"]: entry["sha256"] for entry in said["files"]}
    assert set(listed) == {path.name for path in folder.iterdir()} - {manifest.FILE}
    assert all(manifest.sha256(folder / name) == digest for name, digest in listed.items())
    assert all((folder / name).stat().st_mode & 0o444 == 0o444 for name in listed), "the daemon's user reads them too"
    single = {"image": "image.onnx", "image_head": "image-head.onnx", "audio": "audio.onnx", "text": "text.onnx",
              "stage1": "stage1.onnx", "stage2": "stage2.onnx"}
    assert said["graphs"] == {"fp32": single, "fp16": single | {"image": "image-fp16.onnx"}}
    assert said["image"]["cells_max"] == 49 and said["audio"]["scale"] == 32768.0
    assert said["embedding"] == {"dimension": 32, "tokenizer": "clip"}
    assert said["classes"][0]["tokens"][0] == 49406 and said["classes"][0]["tokens"][-1] == 49407
