"""Compose labelled audio-visual scenes from real photographs and recordings, for fitting and for measuring.

    .cache/model-venv/bin/python engines/default/build/scenes.py [--out DIR]

writes DIR/fit/scenes.json and DIR/heldout/scenes.json, png and wav beside them, and scenes.json in DIR/coco, DIR/voices and DIR/fit_voices
(default DIR: .cache/scenes; about two minutes of one core). `make eval` does it.

The two files share no photograph and no recording, whatever their names: what is in `fit` is left out of the other by its bytes. Kinds of the held-out scenes: single 25 %, duet 25 %, silent object 20 %,
off-screen 15 %, silence and noise 15 %; `fit` has more off-screen ones, because they decide the thresholds. A duet is two photos
side by side with both sounds; a silent object two photos with one sound; off-screen a photo with the sound of something that is
not in it. Everything follows from SEED.
coco/ is for localisation only: whole COCO photographs with their boxes and no sound; people only where held out. voices/ asks for
people alone: each held-out COCO photograph with a held-out recording of a person; fit_voices/ is the same of what `fit` has, for choosing
by, with several recordings to a photograph.
"""

import argparse
import functools
import hashlib
import json
import shutil
import zlib
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image
from scipy import signal

import scenes_material as material
from scenes_material import Photo, Sound

SEED = 20260821
RATE, SECONDS = 16000, 3.0
COUNTS = {  # scenes of each kind
    "heldout": {"single": 110, "duet": 110, "silent_object": 88, "off_screen": 66, "silence": 66},
    "fit": {"single": 220, "duet": 240, "silent_object": 180, "off_screen": 260, "silence": 100},
}
VOICES = {"heldout": ("voices", 1), "fit": ("fit_voices", 5)}  # where COCO photographs with voices go, and recordings to a photograph
VISIBLE = 0.02  # of a COCO photograph, for a class to be located
LEAST_AREA = defaultdict(lambda: 0.10, person=0.02)  # of the photograph, for a class of a boxed photo to be asked for
AMBIGUOUS = ({"bird", "waterfowl", "chicken"}, {"car", "bus", "truck", "motorcycle", "emergency_vehicle"}, {"dog", "big_cat"},
             {"cow", "sheep_goat"}, {"guitar", "violin_cello", "banjo"})  # too like for "is not there" to be sure


def split(items: list, key) -> dict[str, list]:
    """Groups of one class alternate between the two files, in an order of hashes; a class's first group is held out, without
    what `fit` has under another name."""
    by_class, side = defaultdict(set), {}
    for item in items:
        by_class[key(item)].add(item.group)
    for name in sorted(by_class):
        groups = sorted(by_class[name] - side.keys(), key=lambda g: zlib.crc32(f"{SEED}{g}".encode()))
        side |= {g: ("heldout", "fit")[i % 2] for i, g in enumerate(groups)}
    sides = {s: [i for i in items if side[i.group] == s] for s in COUNTS}
    return sides | {"heldout": without(sides["heldout"], sides["fit"])}


@functools.cache
def content(file: Path) -> str:
    """Equal for equal bytes."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def without(items: list, others: list) -> list:
    """Items less the files that `others` have too; one that has no file left is none."""
    known = {content(file) for item in others for file in item.files}
    kept = ((item, [file for file in item.files if content(file) not in known]) for item in items)
    return [item if files == item.files else replace(item, files=files) for item, files in kept if files]


def photo_class(photo: Photo) -> str:
    """The class a photo is dealt out by: its first that is not a person."""
    return min(photo.classes - {"person"}, default="person" if photo.classes else "")


class Composer:
    """Draws scenes of one split."""

    def __init__(self, photos: list[Photo], sounds: list[Sound], textures: list[Path], random: np.random.Generator):
        self.random, self.textures = random, textures
        self.photos, self.sounds = defaultdict(list), defaultdict(list)
        for photo in photos:
            for name, boxes in photo.boxes.items():
                if not boxes or max((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes) >= LEAST_AREA[name]:
                    self.photos[name].append(photo)
        for sound in sounds:
            self.sounds[sound.name].append(sound)
        self.both = sorted(self.photos.keys() & self.sounds.keys())
        self.turn = defaultdict(int)

    def pick(self, pool: dict[str, list], name: str):
        """Every photo and recording of a class in turn; of a person's many recordings all groups alike."""
        self.turn[id(pool), name] += 1
        chosen = pool[name]
        return chosen[(self.turn[id(pool), name] * 7919) % len(chosen)]

    def a_class(self, avoid: set[str] = frozenset(), pool=None) -> str:
        """A class with a photo and a sound, unlike everything in `avoid`; persons are drawn as often as three classes."""
        apart = set(avoid).union(*(group for group in AMBIGUOUS if group & set(avoid)))
        names = [n for n in (pool or self.both) if n not in apart]
        weights = np.array([3.0 if n == "person" else 1.0 for n in names])
        return str(self.random.choice(names, p=weights / weights.sum()))

    def photo_with(self, name: str, without: set[str]) -> Photo:
        """A photo of the class that shows none of `without` (or the last one tried)."""
        for _ in range(40):
            photo = self.pick(self.photos, name)
            if not photo.classes & without:
                break
        return photo

    # -- pictures ----------------------------------------------------------------------------------------------

    def ground(self, width: int, height: int) -> Image.Image:
        """A plain gradient or a texture for a cut-out to stand on."""
        if self.random.random() < 0.5:
            texture = Image.open(self.textures[self.random.integers(len(self.textures))]).convert("RGB")
            tint = Image.new("RGB", texture.size, tuple(int(c) for c in self.random.integers(60, 220, 3)))
            return Image.blend(texture, tint, 0.4).resize((width, height))
        top, bottom = self.random.integers(70, 250, (2, 1, 3))
        rows = np.linspace(top, bottom, height).repeat(width, axis=1)
        return Image.fromarray((rows + self.random.normal(0, 3, rows.shape)).clip(0, 255).astype(np.uint8))

    def shown(self, photo: Photo, width: int, height: int) -> tuple[Image.Image, dict[str, list]]:
        """The photo filling (cropped) width x height; cut-outs on a ground; boxes in 0..1 of the result."""
        image = material.opened(photo)
        if photo.cut_out:
            image = image.crop(image.getchannel("A").getbbox())
            scale = self.random.uniform(0.6, 0.95) * min(width / image.width, height / image.height)
            image = image.resize((max(int(image.width * scale), 1), max(int(image.height * scale), 1)), Image.LANCZOS)
            x, y = (int(self.random.integers(0, room + 1)) for room in (width - image.width, height - image.height))
            canvas = self.ground(width, height)
            canvas.paste(image, (x, y), image)
            box = (x / width, y / height, (x + image.width) / width, (y + image.height) / height)
            return canvas, {name: [box] for name in photo.boxes}
        scale = max(width / image.width, height / image.height)
        w, h = image.width * scale, image.height * scale
        left, top = (w - width) / 2, (h - height) / 2
        image = image.resize((round(w), round(h)), Image.LANCZOS).crop((int(left), int(top), int(left) + width, int(top) + height))
        place = lambda v, size, offset, out: min(max((v * size - offset) / out, 0.0), 1.0)
        boxes = {name: [(place(x0, w, left, width), place(y0, h, top, height), place(x1, w, left, width), place(y1, h, top, height))
                        for x0, y0, x1, y1 in listed] for name, listed in photo.boxes.items()}
        boxes = {n: [b for b in listed if (b[2] - b[0]) * (b[3] - b[1]) > 1e-3] for n, listed in boxes.items()}
        return image, {n: b for n, b in boxes.items() if b or not photo.boxes[n]}

    def alone(self, photo: Photo):
        """The whole picture in its own aspect."""
        if photo.cut_out:
            return self.shown(photo, 640, 480)
        width, height = material.opened(photo).size
        scale = 640 / max(width, height)
        return self.shown(photo, round(width * scale), round(height * scale))

    def side_by_side(self, left: Photo, right: Photo):
        """Two photos in the halves of a 16:9 picture; a class without boxes gets its half."""
        canvas, boxes = Image.new("RGB", (640, 360)), defaultdict(list)
        for half, photo in enumerate((left, right)):
            image, found = self.shown(photo, 320, 360)
            canvas.paste(image, (320 * half, 0))
            for name, listed in found.items():
                boxes[name] += [((half + x0) / 2, y0, (half + x1) / 2, y1) for x0, y0, x1, y1 in listed or [(0, 0, 1, 1)]]
        return canvas, dict(boxes)

    # -- sounds ------------------------------------------------------------------------------------------------

    def heard(self, sound: Sound, dbfs: float) -> np.ndarray:
        """3 s of the recording: one of its liveliest parts, short ones repeated after a pause; `dbfs`: of its loud moments."""
        count = int(RATE * SECONDS)
        if len(sound.files) > 1:  # keystrokes
            chosen = self.random.choice(len(sound.files), 24)
            wave = np.zeros(count + RATE, np.float32)
            for at, i in zip(np.cumsum(self.random.uniform(0.08, 0.3, 24)), chosen):
                key = self.read(sound.files[i])[:RATE // 2]
                start = int(at * RATE)
                wave[start:start + len(key)] += key[:max(len(wave) - start, 0)]
        else:
            wave = self.read(sound.files[0])
        pause = np.zeros(int(RATE * self.random.uniform(0.3, 1.0)), np.float32)
        while len(wave) < 0.8 * count:
            wave = np.concatenate([wave, pause, wave])
        wave = np.pad(wave, (RATE, max(count - len(wave), 0)))
        total = np.concatenate([[0.0], np.cumsum(wave.astype(np.float64) ** 2)])
        energy = (total[count:] - total[:-count])[::RATE // 10]
        start = int(self.random.choice(np.flatnonzero(energy >= 0.9 * energy.max()))) * (RATE // 10)
        wave = wave[start:start + count]
        frames = np.sort((wave.astype(np.float64) ** 2).reshape(-1, 480).mean(axis=1))
        loud = np.sqrt(frames[-len(frames) // 10:].mean()) + 1e-9  # ticks and barks are mostly pause: their loud tenth counts
        return wave / loud * 10 ** (dbfs / 20)

    @staticmethod
    @functools.cache
    def read(file: Path) -> np.ndarray:
        """At most 20 s."""
        with soundfile.SoundFile(file) as f:
            samples = f.read(f.samplerate * 20, dtype="float32", always_2d=True).mean(axis=1)
            return signal.resample_poly(samples, RATE, f.samplerate).astype(np.float32)

    def noise(self, dbfs: float) -> np.ndarray:
        """White, pink or mains hum."""
        count, kind = int(RATE * SECONDS), self.random.integers(3)
        if kind == 2:
            t, base = np.arange(count) / RATE, self.random.choice([50, 60, 100])
            wave = sum(np.sin(2 * np.pi * base * k * t + self.random.uniform(0, 6)) / k for k in (1, 2, 3, 5))
        else:
            spectrum = np.fft.rfft(self.random.normal(size=count))
            wave = np.fft.irfft(spectrum / (np.sqrt(np.arange(len(spectrum)) + 1) if kind else 1), count)
        return wave / np.sqrt(np.mean(wave ** 2)) * 10 ** (dbfs / 20)

    def mixed(self, chosen: list[Sound]) -> np.ndarray:
        """The sum at a level of the scene's own, sources within 6 dB; half of the time over a quiet background; never clipped."""
        level = self.random.uniform(-30, -16)
        wave = sum((self.heard(s, level + self.random.uniform(-3, 3)) for s in chosen), np.zeros(int(RATE * SECONDS)))
        if self.random.random() < 0.5:
            wave = wave + self.noise(self.random.uniform(-65, -48))
        return wave / max(np.abs(wave).max() / 0.95, 1.0)

    # -- scenes ------------------------------------------------------------------------------------------------

    def scene(self, kind: str):
        """(picture, waveform or None, scene without its files)"""
        if kind == "silence":
            picture, boxes = self.alone(self.pick(self.photos, self.a_class()))
            level = self.random.choice([-np.inf, self.random.uniform(-75, -40)], p=[0.2, 0.8])
            return picture, self.noise(level), [], sorted(boxes)
        if kind == "off_screen":
            photo = self.pick(self.photos, self.a_class(pool=sorted(self.photos)))
            sound = self.a_class(photo.classes, sorted(self.sounds))
            picture, boxes = self.alone(photo)
            return picture, self.mixed([self.pick(self.sounds, sound)]), [s for s in [sound] if s], sorted(boxes)
        first = self.a_class()
        if kind == "single":
            picture, boxes = self.alone(self.pick(self.photos, first))
            if first not in boxes:
                return self.scene(kind)
            return picture, self.mixed([self.pick(self.sounds, first)]), [(first, boxes)], sorted(set(boxes) - {first})
        left = self.pick(self.photos, first)
        second = self.a_class(left.classes)
        right = self.photo_with(second, {first} if kind == "silent_object" else set())
        order = (left, right) if self.random.random() < 0.5 else (right, left)
        picture, boxes = self.side_by_side(*order)
        if first not in boxes or second not in boxes or (kind == "silent_object" and left.classes & right.classes):
            return self.scene(kind)
        sounding = [first, second] if kind == "duet" else [first]
        wave = self.mixed([self.pick(self.sounds, name) for name in sounding])
        return picture, wave, [(name, boxes) for name in sounding], sorted(set(boxes) - set(sounding))

    def write(self, directory: Path, counts: dict[str, int]) -> None:
        """All scenes of the split."""
        directory.mkdir(parents=True, exist_ok=True)
        scenes = []
        for kind, count in counts.items():
            for i in range(count):
                picture, wave, sources, silent = self.scene(kind)
                stem = f"{kind}_{i:03d}"
                picture.save(directory / f"{stem}.png", compress_level=1)
                soundfile.write(directory / f"{stem}.wav", wave.astype(np.float32), RATE, subtype="FLOAT")
                named = [{"class": s, "boxes": []} if isinstance(s, str) else
                         {"class": s[0], "boxes": [[round(v, 4) for v in b] for b in s[1][s[0]]]} for s in sources]
                scenes.append({"image": f"{stem}.png", "audio": f"{stem}.wav", "kind": kind, "sources": named, "silent": silent})
        (directory / "scenes.json").write_text(json.dumps({"scenes": scenes}, indent=1))

    def write_voices(self, directory: Path, photos: list[Photo], times: int) -> dict[str, int]:
        """Whole COCO photos, each `times` with a voice: of a person who covers VISIBLE of it, or of nobody to be seen. Returns the number
        of scenes of each kind."""
        directory.mkdir(parents=True, exist_ok=True)
        scenes = []
        for photo in (p for p in photos if p.group.startswith("coco/")):
            people = photo.boxes.get("person", [])
            if people and max((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in people) < VISIBLE:
                continue
            shutil.copy(photo.path, directory)
            for audio in (f"{photo.path.stem}{f'-{turn}' if turn else ''}.wav" for turn in range(times)):
                wave = self.mixed([self.pick(self.sounds, "person")])
                soundfile.write(directory / audio, wave.astype(np.float32), RATE, subtype="FLOAT")
                scenes.append({"image": photo.path.name, "audio": audio, "kind": "single" if people else "off_screen",
                               "sources": [{"class": "person", "boxes": people}], "silent": []})
        (directory / "scenes.json").write_text(json.dumps({"scenes": scenes}, indent=1))
        return Counter(scene["kind"] for scene in scenes)


def write_coco(directory: Path, everything: list[Photo], heldout: list[Photo]) -> int:
    """Whole COCO photos; a class is asked for when its boxes cover VISIBLE of the picture. Returns the number of sources."""
    directory.mkdir(parents=True, exist_ok=True)
    unfitted, scenes = {p.group for p in heldout}, []
    for photo in (p for p in everything if p.group.startswith("coco/")):
        sources = [{"class": name, "boxes": boxes} for name, boxes in photo.boxes.items()
                   if sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes) >= VISIBLE
                   and (name != "person" or photo.group in unfitted)]
        if sources:
            shutil.copy(photo.path, directory)
            scenes.append({"image": photo.path.name, "kind": "single", "sources": sources, "silent": []})
    (directory / "scenes.json").write_text(json.dumps({"scenes": scenes}, indent=1))
    return sum(len(s["sources"]) for s in scenes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=material.CACHE)
    out = parser.parse_args().out
    tree = material.fetched()
    material.check(tree)
    everything = material.photos(tree)
    photos = split(everything, photo_class)
    print("coco", write_coco(out / "coco", everything, photos["heldout"]), "sources to locate")
    sounds = split(material.sounds(tree), key=lambda s: s.name)
    textures = [tree / f"skimage/data/{n}.png" for n in ("brick", "grass", "gravel")]
    for i, (name, counts) in enumerate(COUNTS.items()):
        composer = Composer(photos[name], sounds[name], textures, np.random.default_rng(SEED + i))
        composer.write(out / name, counts)
        print(name, counts, f"{len(photos[name])} photos, {len(sounds[name])} recordings, {len(composer.both)} classes seen and heard:",
              *composer.both)
        folder, times = VOICES[name]
        print(folder, dict(composer.write_voices(out / folder, photos[name], times)))


if __name__ == "__main__":
    main()
