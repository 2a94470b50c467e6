"""Half precision ends at 65 504, and no number between the nodes of the default model's encoders comes near it.

Inside a norm their squares go beyond: those an FP16 plan computes in single precision.
"""

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from safetensors.numpy import load_file

from tvsl_engines import manifest, sound
from tvsl_engines.importer import DEFAULT

FAR = 65504 / 8  # below it
PLAIN = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # every node by itself, none fused away


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> dict[str, onnxruntime.InferenceSession]:
    """Both encoders, with everything between their nodes made an output."""
    folder, sessions = tmp_path_factory.mktemp("opened"), {}
    for path in DEFAULT.glob("*.bin"):
        shutil.copyfile(path, folder / path.name)
    for name in ("image", "audio"):
        model = onnx.load(DEFAULT / f"{name}.onnx", load_external_data=False)
        known = {value.name for value in model.graph.output}
        inside = [value for node in model.graph.node for value in node.output if value and value not in known]
        model.graph.output.extend(onnx.ValueInfoProto(name=value) for value in inside)
        onnx.save(model, folder / f"{name}.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.graph_optimization_level = 1, PLAIN
        sessions[name] = onnxruntime.InferenceSession(folder / f"{name}.onnx", options, providers=["CPUExecutionProvider"])
    return sessions


def golden(name: str) -> np.ndarray:
    return load_file(DEFAULT / "golden.safetensors")[name]


def loudest() -> np.ndarray:
    """A window of a square wave of 440 Hz at full scale, as patches of log-mel."""
    said = manifest.read(DEFAULT)["audio"]
    wave = np.where(np.arange(said["window"] * said["sample_rate"]) * 880 // said["sample_rate"] % 2 == 0, 1.0, -1.0)
    return np.concatenate(sound.FrontEnd(said).batches(wave.astype(np.float32)))


def harshest() -> np.ndarray:
    """Every value of every pixel black or white by chance."""
    said = manifest.read(DEFAULT)["image"]
    pixels = 255.0 * np.random.default_rng(0).integers(0, 2, (1, 224, 384, 3))
    return ((pixels - said["mean"]) / said["std"]).transpose(0, 3, 1, 2).astype(np.float32)


@pytest.mark.parametrize("graph, given, take", [
    ("image", "image", lambda: golden("image")), ("image", "image", harshest),
    ("audio", "sound", lambda: golden("sound")), ("audio", "sound", loudest)], ids=["picture", "harshest", "sound", "loudest"])
def test_no_number_comes_near_the_end_of_half_precision(opened, graph: str, given: str, take) -> None:
    session = opened[graph]
    names = [value.name for value in session.get_outputs()]
    values = dict(zip(names, session.run(names, {given: take()})))
    largest = {name: float(np.abs(value).max()) for name, value in values.items() if value.dtype == np.float32}
    most = max(largest, key=largest.get)
    print(f"{graph}: {len(largest)} tensors, the largest number is {largest[most]:.0f}, in {most}")
    assert len(largest) > 100
    assert all(value < FAR for value in largest.values()), {name: value for name, value in largest.items() if not value < FAR}
