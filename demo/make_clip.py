"""Compose the demonstration clip from real photographs and real recordings (see README.md for their credits).

    python demo/make_clip.py SCIKIT_IMAGE_WHEEL SCRATCH_SOUNDS ESC10_FOLDER

writes clip.webm and truth.json beside this file. Needs Pillow, NumPy and ffmpeg; the clip is in the
repository, so nobody needs this to run the demonstration.
"""

import io
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
WIDTH, HEIGHT, RATE, SAMPLES, SECONDS = 640, 360, 25, 48_000, 32.0

# Photographs: (file in the wheel, crop in its pixels, place in the picture).
CAT = ("skimage/data/chelsea.png", (60, 0, 360, 300), (0, 50, 300, 350))
PERSON = ("skimage/data/astronaut.png", (0, 0, 512, 512), (320, 20, 640, 340))
# Where the animal and the person really are, in pixels of the picture.
BOXES = {"cat": (0, 50, 290, 350), "person": (328, 28, 560, 340)}

MEOW, SNEEZE, BARK = (0.0, 0.5), (0.0, 1.6), (0.0, 3.5)  # seconds within the recordings


def every(period: float, start: float, count: int) -> list[float]:
    """`count` times from `start` on."""
    return [start + n * period for n in range(count)]


# Who sounds when: class, recording, its stretch, groups of start times, on screen.
SOUNDS = [
    ("cat", "cat", MEOW, [every(0.9, 4.0, 5), every(0.9, 19.0, 5)], True),
    ("person", "sneeze", SNEEZE, [every(1.7, 11.0, 3), every(1.7, 18.6, 3)], True),
    ("dog", "dog", BARK, [[26.0]], False),
]


def main(photos: str, scratch: str, esc10: str) -> None:
    """Write the clip and its truth."""
    still = scene(zipfile.ZipFile(photos))
    sound = mixture({
        "cat": decode((Path(scratch) / "Animal/Cat.mp3").read_bytes()),
        "sneeze": decode((Path(esc10) / "person_sneeze/3-156558-A.ogg").read_bytes()),
        "dog": decode((Path(esc10) / "dog_bark/2-117271-A.ogg").read_bytes()),
    })
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "sound.f32").write_bytes(sound.astype("<f4").tobytes())
        encode(still, Path(folder) / "sound.f32")
    (HERE / "truth.json").write_text(json.dumps(truth(), indent=1) + "\n")


def scene(wheel: zipfile.ZipFile) -> Image.Image:
    """The photographs side by side on a plain wall, a little larger than the picture."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), (96, 92, 88))
    for name, crop, (x0, y0, x1, y1) in (CAT, PERSON):
        photo = Image.open(io.BytesIO(wheel.read(name))).convert("RGB").crop(crop)
        picture.paste(photo.resize((x1 - x0, y1 - y0), Image.Resampling.LANCZOS), (x0, y0))
    return picture


def decode(data: bytes) -> np.ndarray:
    """Any recording as mono samples."""
    command = ["ffmpeg", "-v", "error", "-i", "-", "-f", "f32le", "-ac", "1", "-ar", str(SAMPLES), "-"]
    return np.frombuffer(subprocess.run(command, input=data, capture_output=True, check=True).stdout, np.float32)


def mixture(recordings: dict[str, np.ndarray]) -> np.ndarray:
    """All sounds at their times, each recording at a peak of -6 dBFS, over digital silence."""
    mixed = np.zeros(int(SECONDS * SAMPLES), np.float32)
    for _, recording, (first, last), groups, _ in SOUNDS:
        part = recordings[recording][int(first * SAMPLES):int(last * SAMPLES)]
        part = part * (0.5 / np.abs(part).max()) * edges(len(part))
        for start in (start for group in groups for start in group):
            at = int(start * SAMPLES)
            mixed[at:at + len(part)] += part
    return mixed


def edges(length: int) -> np.ndarray:
    """A short fade at both ends, so that a cut does not click."""
    ramp = np.minimum(np.arange(length), np.arange(length)[::-1]) / (0.02 * SAMPLES)
    return np.minimum(ramp, 1.0).astype(np.float32)


def encode(still: Image.Image, sound: Path) -> None:
    """VP8 and Opus in WebM: every GStreamer with plugins-base and -good plays it. The camera sways a few pixels."""
    noise = np.random.default_rng(1)
    command = ["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(RATE),
               "-i", "-", "-f", "f32le", "-ac", "1", "-ar", str(SAMPLES), "-i", str(sound), "-c:v", "libvpx", "-b:v", "450k",
               "-g", "50", "-c:a", "libopus", "-b:a", "64k", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact",
               "-map_metadata", "-1", str(HERE / "clip.webm")]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as ffmpeg:
        for number in range(int(SECONDS * RATE)):
            time = number / RATE
            shift = (round(3 * np.sin(time * 0.9)), round(2 * np.sin(time * 0.7)))
            frame = np.roll(np.asarray(still, np.int16), shift, axis=(1, 0))
            frame = frame + noise.integers(-3, 4, (HEIGHT, WIDTH, 1), np.int16)
            ffmpeg.stdin.write(np.clip(frame, 0, 255).astype(np.uint8).tobytes())
        ffmpeg.stdin.close()
    if ffmpeg.returncode:
        raise SystemExit("ffmpeg could not write the clip")


def truth() -> dict:
    """What sounds when and where: spans from the first to the last sound of a group, boxes as shares of the picture."""
    sides = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT])
    sources = []
    for name, _, (first, last), groups, visible in SOUNDS:
        box = [round(float(v), 4) for v in np.array(BOXES[name]) / sides] if visible else None
        spans = [[round(group[0], 2), round(group[-1] + last - first, 2)] for group in groups]
        sources.append({"class": name, "box": box, "sounding": spans})
    return {"clip": "clip.webm", "seconds": SECONDS, "sources": sources}


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
