"""Build the default model folder, or check the one that is there.

    make model           fetch, build, write goldens, check
    make check-model     (`build.py --check`) compare ONNX Runtime with the goldens, and what is stored with FP32 weights
"""

import hashlib
import sys
import tomllib
from pathlib import Path

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator
from PIL import Image
from safetensors.numpy import load_file, save

import ced
import encoders
import fetch
import graphs
import heads
import manifest
import reference
import text
from features import HOP_FRAMES, letterbox, read_sound, session

FOLDER = Path(__file__).resolve().parents[1]
TOLERANCES = {"fp32": 1e-3, "fp16": 1e-2}  # relative L2
GOLDEN_CROP, GOLDEN_CELLS = (0, 0, 512, 288), 40  # 16:9, so 5 by 8 cells
GOLDEN_ROWS, GOLDEN_SAMPLES = 5, 10000
GOLDEN_KEYS = ("person", "dog", "cat")


def main(arguments: list[str]) -> None:
    """Build unless asked only to check; always check."""
    cache = fetch.fetch()
    networks = encoders.load(cache)
    encoder = text.TextEncoder(cache / "minilm.safetensors", cache / "minilm_vocab.txt")
    text.self_check(encoder)
    fitted = heads.load(encoder)
    if "--check" not in arguments:
        build(cache, networks, fitted)
    check_files()
    check_outputs()
    compare_with_unrounded(networks, encoders.load(cache, whole=True), fitted)


def build(cache: Path, networks: encoders.Encoders, fitted: heads.Heads) -> None:
    """Write every file of the folder; the same inputs give the same bytes."""
    graphs.write(FOLDER, networks, fitted)
    _save(FOLDER / "text.safetensors", {"t": fitted.text})
    inputs = golden_inputs(cache, fitted)
    _save(FOLDER / "golden.safetensors", inputs | reference.golden(encoders.stored(networks), fitted, inputs))
    manifest.write(FOLDER, fitted)


def golden_inputs(cache: Path, fitted: heads.Heads) -> dict[str, np.ndarray]:
    """A portrait and a speech, so that there is something to be detected."""
    waveform = read_sound(cache / "speech.wav")
    frames = ced.log_mel(waveform)[:ced.PATCH + (GOLDEN_ROWS - 1) * HOP_FRAMES]
    names = [entry["name"] for entry in fitted.classes]
    picture, _ = letterbox(Image.open(cache / "astronaut.png").crop(GOLDEN_CROP), GOLDEN_CELLS)
    return {"image": picture, "waveform": waveform[:GOLDEN_SAMPLES],
            "sound": ced.patches(frames, HOP_FRAMES), "keys": np.array([names.index(k) for k in GOLDEN_KEYS])}


def run_folder(inputs: dict[str, np.ndarray], precision: str) -> dict[str, np.ndarray]:
    """Every output of the folder's graphs of this precision, through ONNX Runtime."""
    graphs = tomllib.loads((FOLDER / "manifest.toml").read_text(encoding="utf-8"))["graphs"][precision]
    run = {name: session(FOLDER / file).run for name, file in graphs.items()}
    (features,), (a,) = run["image"](None, {"image": inputs["image"]}), run["audio"](None, {"sound": inputs["sound"]})
    (v,) = run["image_head"](None, {"features": features})
    t = load_file(FOLDER / "text.safetensors")["t"]
    window = a.transpose(1, 0, 2)
    p, p_v, p_a = run["stage1"](["p", "p_v", "p_a"], {"V": v, "A": window, "t": t})
    (h,) = run["stage2"](None, {"V": v, "A": window, "t": t[inputs["keys"]]})
    return {"V": v, "A": a, "p": p, "p_v": p_v, "p_a": p_a, "H": h}


def check_files() -> None:
    """Every file has the SHA-256 that the manifest gives."""
    files = tomllib.loads((FOLDER / "manifest.toml").read_text(encoding="utf-8"))["files"]
    for entry in files:
        if hashlib.sha256((FOLDER / entry["path"]).read_bytes()).hexdigest() != entry["sha256"]:
            raise SystemExit(f"{entry['path']}: altered since the manifest was written; run `make model`")
    total = sum((FOLDER / entry["path"]).stat().st_size for entry in files)
    print(f"{len(files)} files, {total / 1e6:.2f} MB, SHA-256 as in the manifest")


def check_outputs() -> None:
    """ONNX Runtime agrees with the NumPy reference; so does the encoder of half precision when each step is rounded, which it does not do."""
    golden = load_file(FOLDER / "golden.safetensors")
    for precision, tolerance in TOLERANCES.items():
        for name, value in run_folder(golden, precision).items():
            check_output(f"ONNX Runtime, {precision}", name, value, golden[name], tolerance)
    features = run_rounded("image-fp16", {"image": golden["image"]})
    v = run_rounded("image-head", {"features": features})
    check_output("image-fp16.onnx, every step rounded", "V", v, golden["V"], TOLERANCES["fp16"])


def check_output(by: str, name: str, value: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """The relative L2 error is at most `tolerance`."""
    error = relative(value, expected)
    print(f"{name:4} {str(value.shape):14} {by}, against the NumPy reference: relative L2 {error:.1e}")
    if not error <= tolerance:
        raise SystemExit(f"{name}, {by}: relative L2 {error:.1e}, expected at most {tolerance:.0e}")


def run_rounded(name: str, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """The output of a graph, every step in NumPy and in the type that the graph says."""
    return ReferenceEvaluator(onnx.load(FOLDER / f"{name}.onnx")).run(None, inputs)[0]


def compare_with_unrounded(networks: encoders.Encoders, whole: encoders.Encoders, fitted: heads.Heads) -> None:
    """Print what rounding the weights to FP16 costs, and the thin classifier."""
    golden = load_file(FOLDER / "golden.safetensors")
    for what, exact in (("FP32 weights", networks), ("FP32 weights and the whole classifier", whole)):
        exact = reference.golden(exact, fitted, golden)
        errors = (f"{name} {relative(golden[name], exact[name]):.1e}" for name in ("V", "A", "p", "p_v", "p_a", "H"))
        print(f"as stored against {what}, relative L2:", ", ".join(errors))


def relative(value: np.ndarray, expected: np.ndarray) -> float:
    """Relative L2 error."""
    return float(np.linalg.norm(value - expected) / np.linalg.norm(expected))


def _save(path: Path, tensors: dict[str, np.ndarray]) -> None:
    path.write_bytes(save({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}))


if __name__ == "__main__":
    main(sys.argv[1:])
