"""Cross-validate the map: its constants were chosen on COCO photos, so how good are constants chosen without the photo asked?

    make where        (two minutes)

The photos are dealt into FOLDS; the constants that locate best on the others locate this one. Peak, regions and IoU are
those of `tvsl eval`: bicubic map over the picture, boxes around connected places, against the labelled boxes on a raster.
"""

import dataclasses
import itertools
import json

import numpy as np
from safetensors.numpy import load_file
from scipy import ndimage

import ced
import encoders
import fetch
import heads as heads_file
import reference
import scenes_material as material
import text
from features import Extractor, letterbox

FOLDS, RASTER, CELL = 5, 128, 32
GAINS = {"labels": (0.004, 0.008, 0.03), "person": (0.01, 0.025, 0.1)}
BIASES = (-3.0, -1.0, 0.0, 1.0, 3.0)
THRESHOLDS = (0.2, 0.25, 0.3, 0.35, 0.4)
SHIPPED = {"labels": (0.008, -1.0), "person": (0.025, 1.0)}


def located(heat: np.ndarray, boxes: list, threshold: float) -> tuple[bool, float]:
    """(the peak lies in a box, IoU of the regions' boxes with the labelled ones) on the raster."""
    truth, found = np.zeros_like(heat, bool), np.zeros_like(heat, bool)
    for x0, y0, x1, y1 in np.array(boxes) * RASTER:
        truth[round(y0):round(y1), round(x0):round(x1)] = True
    heat = (heat - heat.min()) / max(np.ptp(heat), 1e-12)
    for place in ndimage.find_objects(ndimage.label(heat >= threshold)[0]):
        found[place] = True
    return truth[np.unravel_index(heat.argmax(), heat.shape)], (truth & found).sum() / max((truth | found).sum(), 1)


def on_picture(h: np.ndarray, place) -> np.ndarray:
    """Cells [rows,columns] -> the raster over the picture, without the padding."""
    at = (np.arange(RASTER) + 0.5) / RASTER
    xs, ys = (np.array([place.to_input(v, v)[axis] for v in at]) / CELL - 0.5 for axis in (0, 1))
    return ndimage.map_coordinates(h, np.meshgrid(ys, xs, indexing="ij"), order=3, mode="nearest")


def figures(results: list) -> np.ndarray:
    """Share of sources with the peak inside, with IoU >= 0.3, with IoU >= 0.5."""
    peak, iou = np.array([r[0] for r in results]), np.array([r[1] for r in results])
    return np.array([peak.mean(), (iou >= 0.3).mean(), (iou >= 0.5).mean()])


def main() -> None:
    networks = encoders.stored(encoders.load(fetch.fetch()))
    heads = heads_file.load(text.TextEncoder(fetch.CACHE / "minilm.safetensors", fetch.CACHE / "minilm_vocab.txt"))
    names = [c["name"] for c in heads.classes]
    silence = ced.patches(ced.log_mel(np.zeros(3 * ced.RATE)), 1)[:1]
    a = reference.audio(networks, heads, silence)
    directory, extractor = material.CACHE / "coco", Extractor(threads=2)
    results = {}  # (kind, gain, bias, threshold) -> [(photo, peak inside, IoU)]
    for photo, scene in enumerate(json.loads((directory / "scenes.json").read_text())["scenes"]):
        x, place = letterbox(directory / scene["image"])
        features, logits = (y.T.reshape(1, -1, place.rows, place.columns) for y in extractor.image(x))
        for kind in GAINS:
            sources = [s for s in scene["sources"] if (s["class"] == "person") == (kind == "person")]
            keys = np.array([names.index(s["class"]) for s in sources], int)
            for gain, bias in itertools.product(GAINS[kind], BIASES) if sources else ():
                own = dataclasses.replace(heads, where=np.full_like(heads.where, 0) + np.float32([gain, bias]))
                maps = reference.stage2(own, reference.embed(own, features, logits), a, heads.text[keys])[0]
                for source, h in zip(sources, maps):
                    heat = on_picture(h.reshape(place.rows, place.columns), place)
                    for threshold in THRESHOLDS:
                        results.setdefault((kind, gain, bias, threshold), []).append(
                            (photo, *located(heat, source["boxes"], threshold)))
    report(results)


def report(results: dict) -> None:
    """Print the shipped constants on all photos, and constants chosen on other photos than the one asked."""
    def pick(kind, threshold, keep):
        kept = {k: [r[1:] for r in rows if keep(r[0])] for k, rows in results.items() if k[0] == kind and k[3] == threshold}
        return max(kept, key=lambda k: figures(kept[k]).sum()), max(figures(rows).sum() for rows in kept.values())

    unseen = {kind: [] for kind in GAINS}
    for fold in range(FOLDS):
        others = lambda photo: photo % FOLDS != fold
        threshold = max(THRESHOLDS, key=lambda t: sum(pick(kind, t, others)[1] for kind in GAINS))
        for kind in GAINS:
            chosen = pick(kind, threshold, others)[0]
            print(f"fold {fold}: {kind} gain {chosen[1]} bias {chosen[2]} threshold {chosen[3]}")
            unseen[kind] += [r[1:] for r in results[chosen] if r[0] % FOLDS == fold]
    shipped = {kind: [r[1:] for r in results[kind, *SHIPPED[kind], 0.3]] for kind in GAINS}
    for title, rows in (("shipped constants", shipped), ("chosen without the photo", unseen)):
        for kind, chosen in (*rows.items(), ("all", sum(rows.values(), []))):
            peak, third, half = figures(chosen)
            print(f"{title:25s} {kind:7s} n {len(chosen):3d}  pointing {peak:.3f}  IoU>=0.3 {third:.3f}  IoU>=0.5 {half:.3f}")


if __name__ == "__main__":
    main()
