"""What the frozen encoders say about a picture or a sound, as NumPy arrays (through ONNX Runtime).

    from features import Extractor, letterbox, read_sound
    e = Extractor()                              # weights are fetched on first use
    x, fit = letterbox("photo.jpg")              # [1,3,H,W], at most 84 cells, aspect kept
    f, logits = e.image(x)                       # [P,1280] features, [P,1000] ImageNet logits, P row-major
    scores = e.audio(read_sound("a.ogg"))        # [T,527] sigmoids, a row every 0.24 s

    .cache/model-venv/bin/python engines/default/build/features.py FILE...     # prints the likeliest labels of pictures and sounds
"""

import csv
import hashlib
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile
from PIL import Image

import ced
import encoders
import efficientnet_lite0 as lite0
import fetch
from onnx_writer import Graph, Weights

CELLS_MAX = 84
HOP_FRAMES = 24  # 0.24 s


@dataclass(frozen=True)
class Fit:
    """Where the scaled picture lies in the model's input: rows x columns cells, pixels."""

    rows: int
    columns: int
    width: int
    height: int
    left: int
    top: int

    def to_input(self, x, y):
        """Normalised picture coordinates (0..1) -> input pixels."""
        return x * self.width + self.left, y * self.height + self.top


def fit(width: int, height: int, cells: int = CELLS_MAX, stride: int = lite0.STRIDE) -> Fit:
    """The grid of at most `cells` cells that shows the picture largest, then with the least padding."""
    def inside(rows, columns):
        scale = min(columns * stride / width, rows * stride / height)
        w = min(max(int(width * scale + 0.5), 1), columns * stride)
        h = min(max(int(height * scale + 0.5), 1), rows * stride)
        return Fit(rows, columns, w, h, (columns * stride - w) // 2, (rows * stride - h) // 2)

    grids = (inside(r, c) for r in range(1, cells + 1) for c in range(1, cells // r + 1))
    return max(grids, key=lambda f: (f.width * f.height, -f.rows * f.columns))


def letterbox(picture, cells: int = CELLS_MAX) -> tuple[np.ndarray, Fit]:
    """A path, PIL image or RGB array [h,w,3] of 0..255 -> ([1,3,H,W] normalised, its Fit)."""
    if not isinstance(picture, Image.Image):
        picture = Image.fromarray(picture) if isinstance(picture, np.ndarray) else Image.open(picture)
    place = fit(*picture.size, cells)
    scaled = picture.convert("RGB").resize((place.width, place.height), Image.BILINEAR)
    x = np.zeros((1, 3, place.rows * lite0.STRIDE, place.columns * lite0.STRIDE), np.float32)
    x[0, :, place.top:place.top + place.height, place.left:place.left + place.width] = (
        (np.asarray(scaled, np.float32) - lite0.MEAN) / lite0.STD).transpose(2, 0, 1)
    return x, place


def read_sound(path, rate: int = ced.RATE) -> np.ndarray:
    """A sound file -> mono f32 at `rate`, -1..1 (band-limited resampling)."""
    samples, source = soundfile.read(path, dtype="float32", always_2d=True)
    return resampled(samples.mean(axis=1), source, rate)


def resampled(samples: np.ndarray, source: int, rate: int) -> np.ndarray:
    """Resample through the spectrum (exact for whole files, no filter to choose)."""
    if source == rate or len(samples) == 0:
        return samples
    count = int(round(len(samples) * rate / source))
    spectrum = np.fft.rfft(samples)
    kept = np.zeros(count // 2 + 1, complex)
    shared = min(len(spectrum), len(kept))
    kept[:shared] = spectrum[:shared]
    return (np.fft.irfft(kept, count) * (count / len(samples))).astype(np.float32)


class Extractor:
    """Both frozen encoders with the FP16-rounded weights of the model folder, or with FP32 ones, or with the `whole` classifier."""

    def __init__(self, cache: Path = fetch.CACHE, threads: int = 1, half: bool = True, whole: bool = False):
        networks = encoders.load(fetch.fetch(cache), whole)
        with tempfile.TemporaryDirectory() as directory:
            file, folder = Weights("encoders.bin", half), Path(directory)
            image, audio = Graph("image"), Graph("audio")
            features = encoders.features(image, file, networks.image)
            image.output(features, "features", [None] * 4)
            image.output(encoders.logits(image, file, networks.image, features), "logits", [None] * 4)
            audio.output(ced.add(audio, file, networks.audio), "logits", [None] * 2)
            file.write(folder)
            self.digest = hashlib.sha256(file.bytes).hexdigest()[:12]  # of the weights
            image.save(folder / "image.onnx")
            audio.save(folder / "audio.onnx")
            self._image, self._audio = (session(folder / f"{name}.onnx", threads) for name in ("image", "audio"))

    def image(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """[1,3,H,W] -> ([P,1280], [P,1000] logits), cells row-major."""
        features, logits = self._image.run(None, {"image": x.astype(np.float32)})
        return tuple(a[0].reshape(a.shape[1], -1).T for a in (features, logits))

    def audio(self, waveform: np.ndarray, step: int = HOP_FRAMES) -> np.ndarray:
        """Mono 16 kHz -> [T,527] sigmoids, a row per `step` frames of 10 ms."""
        (logits,) = self._audio.run(None, {"sound": ced.patches(ced.log_mel(waveform), step)})
        return sigmoid(logits)


def session(path: Path, threads: int = 1) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Element by element; never overflows."""
    return 0.5 * (1.0 + np.tanh(0.5 * logits))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _main(files: list[str]) -> None:
    extractor = Extractor()
    with (fetch.CACHE / "audioset.csv").open() as table:
        sounds = [row["display_name"] for row in csv.DictReader(table)]
    for file in files:
        if Path(file).suffix in (".ogg", ".wav", ".flac"):
            scores, names = extractor.audio(read_sound(file)).max(axis=0), sounds
        else:
            scores = softmax(extractor.image(letterbox(file)[0])[1].mean(axis=0))
            names = [str(i) for i in range(len(scores))]
        best = np.argsort(-scores)[:4]
        print(Path(file).name, ", ".join(f"{names[i]} {scores[i]:.3f}" for i in best))


if __name__ == "__main__":
    _main(sys.argv[1:])
