"""Write clips of one source each in the layout that `python -m tvsl_engines` trains and tests on.

    .cache/engines-venv/bin/python engines/default/build/clips.py [--out DIR]

writes frames/, audio/, train.txt, single.csv, duet.csv and boxes.json there (default DIR: .cache/clips). `make proof` does it.

Photographs and recordings are those of scenes.py, and so is the split: train.txt draws on `fit`, the tests on `heldout`, and the two
share no photograph and no recording, but their classes. The tests draw only on photographs of which it is known where their things are:
boxes.json, which has the form of vggss.json, makes none up. A duet is two test clips, neither of which shows the other's class.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import soundfile

import scenes_material as material
from fetch import REPOSITORY
from scenes import RATE, SEED, Composer, photo_class, split

COUNTS = {"fit": 1200, "heldout": 300}
DUETS = 300
SIZE = (320, 360)


class Writer:
    """Writes the clips of one split."""

    def __init__(self, out: Path, composer: Composer):
        self.out, self.composer = out, composer
        for name in ("frames", "audio"):
            (out / name).mkdir(parents=True, exist_ok=True)

    def clip(self, name: str):
        """One clip -> its class, what its photo shows, and its boxes."""
        composer = self.composer
        while True:
            label = composer.a_class()
            photo = composer.pick(composer.photos, label)
            image, boxes = composer.shown(photo, *SIZE)
            if label in boxes:
                break
        image.save(self.out / "frames" / f"{name}.jpg", quality=92)
        wave = composer.mixed([composer.pick(composer.sounds, label)])
        soundfile.write(self.out / "audio" / f"{name}.wav", wave.astype(np.float32), RATE, subtype="FLOAT")
        return label, photo.classes, [[round(v, 4) for v in box] for box in boxes[label]]


def boxed(photo: material.Photo) -> bool:
    """Whether it is known where everything in it is; a cut-out gets its box when it is put somewhere."""
    return photo.cut_out or all(photo.boxes.values())


def duets(clips: dict, random: np.random.Generator):
    """Pairs of clips that do not show each other's class."""
    names = sorted(clips)
    while True:
        left, right = random.choice(names, 2, replace=False)
        (a, seen_a, _), (b, seen_b, _) = clips[left], clips[right]
        if a not in seen_b and b not in seen_a:
            yield f"{left},{a},{right},{b}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=REPOSITORY / ".cache" / "clips")
    out = parser.parse_args().out
    tree = material.fetched()
    photos = split(material.photos(tree), photo_class)
    photos["heldout"] = [photo for photo in photos["heldout"] if boxed(photo)]
    sounds = split(material.sounds(tree), key=lambda s: s.name)
    textures = [tree / f"skimage/data/{n}.png" for n in ("brick", "grass", "gravel")]
    clips, trained = {}, set()
    for i, (part, count) in enumerate(COUNTS.items()):
        random = np.random.default_rng(SEED + 10 + i)
        composer = Composer(photos[part], sounds[part], textures, random)
        composer.both = [name for name in composer.both if name in trained or not clips]
        writer = Writer(out, composer)
        clips[part] = {f"{part}_{n:04d}": writer.clip(f"{part}_{n:04d}") for n in range(count)}
        trained |= {label for label, *_ in clips[part].values()}
        print(part, count, "clips of", len({label for label, *_ in clips[part].values()}), "classes")
    pairs = duets(clips["heldout"], np.random.default_rng(SEED))
    single = lambda part: "".join(f"{name},{label}\n" for name, (label, *_) in clips[part].items())
    (out / "train.txt").write_text(single("fit"))
    (out / "single.csv").write_text(single("heldout"))
    (out / "duet.csv").write_text("".join(next(pairs) for _ in range(DUETS)))
    (out / "boxes.json").write_text(json.dumps([{"file": name, "class": label, "bbox": boxes}
                                                for name, (label, _, boxes) in clips["heldout"].items()]))


if __name__ == "__main__":
    main()
