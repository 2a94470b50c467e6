"""ONNX graphs of a model folder, float32 and float16-typed, all with float32 at the interface."""

import copy
import warnings
from collections.abc import Iterable
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from .audioclip import CONTEXT, SIDE, AudioClip
from .esresnext import SAMPLES, EsResNeXt
from .heads import Heads

OPSET = 17
PRECISIONS = {"fp32": "", "fp16": "-fp16"}  # what stands before .onnx


class Call(nn.Module):
    """One method of a module, as a module of its own."""

    def __init__(self, module: nn.Module, method: str):
        super().__init__()
        self.module, self.method = module, method

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        return getattr(self.module, self.method)(*inputs)


def save(path: Path, call: Call, inputs: dict[str, Tensor], outputs: list[str], free: dict[str, dict[int, str]]) -> None:
    """Trace a call into `path`; `free` names the axes of any length. Its weights lie beside it, in PATH.bin."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about sizes that are constant here on purpose, and the exporter's age
        torch.onnx.export(call.eval(), tuple(inputs.values()), str(path), input_names=list(inputs), output_names=outputs,
                          dynamic_axes=free, opset_version=OPSET, dynamo=False)
    model = onnx.load(path)
    model.producer_version = ""
    data = path.with_suffix(".bin")
    data.unlink(missing_ok=True)
    onnx.save(model, path, save_as_external_data=True, location=data.name, size_threshold=1024,
              convert_attribute=True)
    data.chmod(0o644)  # onnx writes it for its owner alone, but the daemon runs as a user of its own


def encoders(folder: Path, model: AudioClip) -> list[str]:
    """Write image, audio and text graphs in both precisions; the names of the files."""
    model = copy.deepcopy(model)
    model.audio.fold()
    for precision, suffix in PRECISIONS.items():
        own = model if precision == "fp32" else half(model)
        save(folder / f"image{suffix}.onnx", Call(own, "see"), {"image": torch.zeros(1, 3, SIDE, SIDE)}, ["V"],
             {"image": {0: "B", 2: "H", 3: "W"}, "V": {0: "B", 1: "P"}})
        save(folder / f"audio{suffix}.onnx", Call(own, "hear"), {"sound": torch.zeros(1, SAMPLES)}, ["A"],
             {"sound": {0: "B"}, "A": {0: "B"}})
        save(folder / f"text{suffix}.onnx", Call(own, "read"), {"tokens": torch.zeros(2, CONTEXT)}, ["t"],
             {"tokens": {0: "N", 1: "L"}, "t": {0: "N"}})
    return names("image", "audio", "text")


def heads(folder: Path, module: Heads, dimension: int, precisions: Iterable[str] = PRECISIONS) -> list[str]:
    """Write stage1 and stage2 in these precisions; the names of the files."""
    v, a, t = torch.zeros(1, 6, dimension), torch.zeros(1, 3, dimension), torch.zeros(2, dimension)
    free = {"V": {0: "B", 1: "P"}, "A": {0: "B", 1: "T"}}
    odds = {name: {0: "B", 1: "N"} for name in ("p", "p_v", "p_a")}
    for precision in precisions:
        suffix = PRECISIONS[precision]
        own = module if precision == "fp32" else half(module)
        save(folder / f"stage1{suffix}.onnx", Call(own, "detect"), {"V": v, "A": a, "t": t}, list(odds),
             {**free, "t": {0: "N"}, **odds})
        save(folder / f"stage2{suffix}.onnx", Call(own, "localize"), {"V": v, "A": a, "t": t}, ["H"],
             {**free, "t": {0: "K"}, "H": {0: "B", 1: "K", 2: "P"}})
    return names("stage1", "stage2", precisions=precisions)


def graphs(*parts: str, precisions: Iterable[str] = PRECISIONS) -> dict[str, dict[str, str]]:
    """The manifest's [graphs.PRECISION] of these parts."""
    return {precision: {part: f"{part}{PRECISIONS[precision]}.onnx" for part in parts} for precision in precisions}


def names(*parts: str, precisions: Iterable[str] = PRECISIONS) -> list[str]:
    return [f"{part}{PRECISIONS[precision]}.{kind}" for part in parts for precision in precisions for kind in ("onnx", "bin")]


def half(module: nn.Module) -> nn.Module:
    """A copy that computes in float16, except the front end of sound."""
    own = copy.deepcopy(module).half()
    for name, part in module.named_modules():
        if isinstance(part, EsResNeXt):
            setattr(own.get_submodule(name), "folded", part.folded)
    return own
