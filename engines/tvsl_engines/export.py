"""ONNX graphs of a model folder, with float32 at the interface. The picture's trunk is written with types of float16 as well: in it are
convolutions alone, while all other graphs hold norms, softmax or the front end of sound, which are never computed in half precision."""

import copy
import warnings
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from .audioclip import CONTEXT, SIDE, STRIDE, AudioClip
from .esresnext import SAMPLES
from .heads import Heads

OPSET = 17
# The manifest's names of graphs, and their files.
ENCODERS = {"image": "image.onnx", "image_head": "image-head.onnx", "audio": "audio.onnx", "text": "text.onnx"}
STAGES = {"stage1": "stage1.onnx", "stage2": "stage2.onnx"}
HALVED = {"image": "image-fp16.onnx"}  # in [graphs.fp16], in place of those of single precision


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
    data = weights(path)
    data.unlink(missing_ok=True)
    onnx.save(model, path, save_as_external_data=True, location=data.name, size_threshold=1024,
              convert_attribute=True)
    data.chmod(0o644)  # onnx writes it for its owner alone, but the daemon runs as a user of its own


def encoders(folder: Path, model: AudioClip) -> list[str]:
    """Write the graphs of ENCODERS and HALVED; the names of the files."""
    model = copy.deepcopy(model)
    model.audio.fold()
    picture, cells = torch.zeros(1, 3, SIDE, SIDE), torch.zeros(1, model.channels, SIDE // STRIDE, SIDE // STRIDE)
    features = {"features": {0: "B", 2: "h", 3: "w"}}
    for name, own in ((ENCODERS["image"], model), (HALVED["image"], halved(model))):
        save(folder / name, Call(own, "trunk"), {"image": picture}, ["features"], {"image": {0: "B", 2: "H", 3: "W"}, **features})
    save(folder / ENCODERS["image_head"], Call(model, "pool"), {"features": cells}, ["V"], {**features, "V": {0: "B", 1: "P"}})
    save(folder / ENCODERS["audio"], Call(model, "hear"), {"sound": torch.zeros(1, SAMPLES)}, ["A"],
         {"sound": {0: "B"}, "A": {0: "B"}})
    save(folder / ENCODERS["text"], Call(model, "read"), {"tokens": torch.zeros(2, CONTEXT)}, ["t"],
         {"tokens": {0: "N", 1: "L"}, "t": {0: "N"}})
    return files(ENCODERS, HALVED)


def heads(folder: Path, module: Heads, dimension: int) -> list[str]:
    """Write the graphs of STAGES; the names of the files."""
    v, a, t = torch.zeros(1, 6, dimension), torch.zeros(1, 3, dimension), torch.zeros(2, dimension)
    free = {"V": {0: "B", 1: "P"}, "A": {0: "B", 1: "T"}}
    odds = {name: {0: "B", 1: "N"} for name in ("p", "p_v", "p_a")}
    save(folder / STAGES["stage1"], Call(module, "detect"), {"V": v, "A": a, "t": t}, list(odds), {**free, "t": {0: "N"}, **odds})
    save(folder / STAGES["stage2"], Call(module, "localize"), {"V": v, "A": a, "t": t}, ["H"],
         {**free, "t": {0: "K"}, "H": {0: "B", 1: "K", 2: "P"}})
    return files(STAGES)


def files(*graphs: dict[str, str]) -> list[str]:
    """The files of graphs, each with that of its weights."""
    return [str(path) for named in graphs for name in named.values() for path in (Path(name), weights(Path(name)))]


def weights(path: Path) -> Path:
    """The file beside a graph that `save` puts its weights into."""
    return path.with_suffix(".bin")


def halved(model: AudioClip) -> AudioClip:
    """A copy whose `trunk` computes in float16."""
    own = copy.deepcopy(model)
    own.clip.visual.half()
    return own
