"""Sound as the program prepares it: read, resampled, cut into the windows that the audio graph takes."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile


def read(path: Path, rate: int) -> np.ndarray:
    """A sound file -> mono float32 at `rate`, −1…1."""
    samples, source = soundfile.read(path, dtype="float32", always_2d=True)
    return resampled(samples.mean(axis=1), source, rate)


def check(path: Path) -> None:
    """Raises ValueError, or what the reader of files raises, for a sound that cannot be read to its end or holds no numbers."""
    _check(path, path.stat().st_mtime_ns)


@lru_cache(1024)
def _check(path: Path, _changed: int) -> None:
    samples, _ = soundfile.read(path, dtype="float32")
    if len(samples) == 0:
        raise ValueError(f"{path}: the sound holds no sample")
    if not np.isfinite(samples).all():
        raise ValueError(f"{path}: samples that are no numbers")


def resampled(samples: np.ndarray, source: int, rate: int) -> np.ndarray:
    """Resampled through the spectrum: exact for whole files, no filter to choose."""
    if source == rate or len(samples) == 0:
        return samples
    count = round(len(samples) * rate / source)
    spectrum = np.fft.rfft(samples)[:count // 2 + 1]
    return (np.fft.irfft(spectrum, count) * (count / len(samples))).astype(np.float32)


def heard(path: Path, rate: int, count: int) -> np.ndarray:
    """The middle `count` samples of a file. The last files are kept: hundreds of MUSIC's frames share a video's sound."""
    return _heard(path, path.stat().st_mtime_ns, rate, count)


@lru_cache(32)
def _heard(path: Path, _changed: int, rate: int, count: int) -> np.ndarray:
    return middle(read(path, rate), count)


def middle(samples: np.ndarray, count: int) -> np.ndarray:
    """`count` samples from the middle; a shorter sound is repeated."""
    if len(samples) == 0:
        raise ValueError("the sound holds no sample")
    samples = np.tile(samples, -(-count // len(samples)))
    start = (len(samples) - count) // 2
    return samples[start:start + count]


def filled(samples: np.ndarray, window: int, hop: int) -> np.ndarray:
    """Sound shorter than a window is set in digital silence, so that it ends one hop before the window; longer sound
    begins in it, so that it ends with a hop."""
    missing = max(0, window - len(samples))
    after = min(hop, missing)
    odd = -len(samples) % hop if len(samples) > window else 0
    return np.pad(samples, (missing - after + odd, after))


class FrontEnd:
    """The [audio] of a manifest: windows of samples to the batches that the audio graph takes."""

    def __init__(self, audio: dict[str, Any]):
        self.audio, self.rate = audio, audio["sample_rate"]
        self.window, self.hop = (round(audio[key] * self.rate) for key in ("window", "hop"))
        self.mel = audio.get("log_mel") if audio["front_end"] == "log_mel" else None

    def ends(self, samples: int) -> list[int]:
        """Where windows end: laid end to end, and one more up to the end of the sound if that leaves a rest."""
        ends = list(range(self.window, samples + 1, self.window))
        return ends if ends and ends[-1] == samples else [*ends, samples]

    def batches(self, samples: np.ndarray) -> list[np.ndarray]:
        """What the audio graph takes for each window: patches [T, frames, bands] of log-mel, or samples [1, window]."""
        samples = filled(samples, self.window, self.hop) * np.float32(self.audio.get("scale", 1.0))
        if self.mel:
            return self._patches(samples, self.mel)
        before = np.pad(samples, (self.window, 0))
        last = [end // self.hop * self.hop for end in self.ends(len(samples))]
        return [before[None, end:end + self.window].astype(np.float32) for end in last]

    def _patches(self, samples: np.ndarray, mel: dict[str, Any]) -> list[np.ndarray]:
        length, step = mel["patch_frames"], mel["patch_step"]
        silence = np.full((length, mel["bands"]), np.log(mel["log_offset"]), np.float32)
        frames = np.concatenate([silence, log_mel(samples, mel, self.rate)])
        seconds = length * mel["frame_step"] / self.rate
        span = 1 + int((self.audio["window"] - seconds) / self.audio["hop"] + 1e-9)
        reach = mel["frame_length"] - mel["frame_step"]
        batches = []
        for end in self.ends(len(samples)):
            newest = (end - reach) // self.hop
            oldest = max(newest - span, 0, (end - self.window - reach) // self.hop)
            batches.append(np.stack([frames[step * (i + 1):step * (i + 1) + length] for i in range(oldest, newest)]))
        return batches


def log_mel(samples: np.ndarray, mel: dict[str, Any], rate: int) -> np.ndarray:
    """[S] -> [frames, bands]: a periodic Hann window, HTK mel bands, a logarithm with an offset."""
    length, step, fft = mel["frame_length"], mel["frame_step"], mel["fft"]
    if len(samples) < length:
        return np.zeros((0, mel["bands"]), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), length)[::step]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    power = np.abs(np.fft.rfft(frames * hann, fft)) ** mel["power"]
    return np.log(power @ _bands(mel, rate) + mel["log_offset"]).astype(np.float32)


def _bands(mel: dict[str, Any], rate: int) -> np.ndarray:
    """[bins, bands]: triangles straight on the mel scale; the zero-frequency bin is left out."""
    scale = lambda hz: 1127.0 * np.log1p(hz / 700.0)
    edges = np.linspace(scale(mel["low_hz"]), scale(mel["high_hz"]), mel["bands"] + 2)
    bins = scale(np.arange(mel["fft"] // 2 + 1) * rate / mel["fft"])[:, None]
    rise = (bins - edges[:-2]) / np.diff(edges)[:-1]
    fall = (edges[2:] - bins) / np.diff(edges)[1:]
    weights = np.minimum(rise, fall).clip(min=0)
    weights[0] = 0
    return weights
