"""Fit the heads to the scenes of scenes.py's `fit` split; write heads.json and heads.safetensors.

    .cache/model-venv/bin/python engines/default/build/fit.py     (three minutes; the scenes and what it needs come with `make eval`)
    make model                                                    puts what it wrote into the folder
    ... fit.py --report                                           what heads.json scores on the held-out scenes
    ... fit.py --report --unrounded                               the same with weights that are not rounded to FP16
    ... fit.py --whole                                            fits to ImageNet's classifier as published, not thin; writes nothing, says what that scores

What is fitted, and to what:
  person head     logistic regression on the 1280 features of each cell: the fit half of coco/ with its boxes, cut-outs of people, and
                  the other fit photos, each alone and next to others; C and calibration by 5-fold cross-validation over photos
  p_v             visible or not ~ gain ln s + bias + slope b_n: three numbers for all classes but `person`
  p_a             audible or not ~ gain u + bias + slope b_n: three numbers for all classes
                  b_n: what the class scores by chance, a high quantile over the scenes without it (there are hundreds for each)
  p               seen and heard ~ visual logit p_v + audio logit p_a + elsewhere e + bias: four numbers
                  e: how plainly anything is heard that is not seen, one number for the scene
  thresholds      of p (what is reported is rather true than not), p_v, p_a, and of p_a for a person: the best set F1 whose off-screen, noise and silent false rates stay
                  below LIMITS
  p_v of a person that of PERSON_SEEN with which, in the scenes of fit_voices/ and under the thresholds fitted to it, the share of people found is
                  farthest above the share of scenes without anybody where something is reported (Youden's J), the middle one of several;
                  each photograph is judged by the weights of the fold without it
No number is fitted to the pictures or recordings of one class (`person` apart), so a class without any here is calibrated like the others.
"""

import itertools
import json
import pickle
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ImageOps
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

import scenes
import scenes_material as material
from features import Extractor, letterbox, read_sound, softmax

HERE = Path(__file__).resolve().parent
LIMITS = {"off_screen": 0.048, "silence": 0.0, "silent": 0.12}
CHANCE_SEEN, CHANCE_HEARD = 0.95, 0.99  # quantiles over scenes without the class
CEILING = 3.0  # visual log-odds: however plain a thing is to see, it must still be heard
AUDIBLE = (-9.0, 3.0)  # CED's logits are clipped to this
ELSEWHERE = {"slope": 3.0, "seen": 1.0, "least": -4.0, "most": 2.0}  # log-odds; what is heard and not seen takes from the rest
PERSON_COUNTS = 0.3  # set F1 given up per share of the speaking people found
PERSON_C = (0.001, 0.003, 0.01)
PERSON_SEEN = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # p_v: voices are heard everywhere, so more is asked of a person
BESIDE, SIDE = 4, 360  # pictures of each photo next to another, and their height
COVERED, CLEAR, VISIBLE = 0.5, 0.1, 0.02  # of a cell: in a box, outside all; of a picture: a person to be found


# -- features ------------------------------------------------------------------------------------------------------

def scene_features(split: str, extractor: Extractor) -> list[dict]:
    """Scenes with what the encoders say: `share` [P,1000], `features` [P,1280], `scores` [T,527]; kept in .cache."""
    directory = material.CACHE / split
    cache, source = directory / f"features-{extractor.digest}.pickle", directory / "scenes.json"
    if cache.exists() and cache.stat().st_mtime > source.stat().st_mtime:
        return pickle.loads(cache.read_bytes())
    found = json.loads(source.read_text())["scenes"]
    for scene in found:
        x, place = letterbox(directory / scene["image"])
        features, logits = extractor.image(x)
        wave = read_sound(directory / scene["audio"])
        scene |= {"features": features.astype(np.float16), "share": softmax(logits).astype(np.float32), "rows": place.rows,
                  "columns": place.columns, "scores": extractor.audio(wave),
                  "dbfs": 10 * np.log10(np.mean(wave.astype(np.float64) ** 2) + 1e-20)}
    cache.write_bytes(pickle.dumps(found))
    return found


def neighbourhood(x: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """[P,n] -> mean over the existing cells of each 3 by 3 neighbourhood."""
    def total(y):
        y = np.pad(y, ((1, 1), (1, 1), (0, 0)))
        return sum(y[i:i + rows, j:j + columns] for i in range(3) for j in range(3))

    return (total(x.reshape(rows, columns, -1)) / total(np.ones((rows, columns, 1)))).reshape(rows * columns, -1)


def seen(scene: dict, heads: dict) -> np.ndarray:
    """ln of the strongest cell's share of each class with ImageNet labels, [L]."""
    marks = np.zeros((1000, sum(bool(c["imagenet"]) for c in heads["classes"])), np.float32)
    for n, c in enumerate(heads["classes"]):
        marks[c["imagenet"], n if c["imagenet"] else 0] = 1.0
    shares = neighbourhood(scene["share"] @ marks, scene["rows"], scene["columns"])
    return np.log(shares.max(axis=0) + heads["epsilon"])


def heard(scene: dict, heads: dict) -> np.ndarray:
    """Log-odds of each class's strongest label, [T,N]."""
    scores = np.stack([scene["scores"][:, c["audioset"]].max(axis=1) for c in heads["classes"]], axis=1).clip(1e-6, 1 - 1e-6)
    return np.log(scores / (1 - scores)).clip(*heads["audible"])


def truth(found: list[dict], names: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(seen and heard, seen, heard), each [S,N]."""
    both, visible, audible = (np.zeros((len(found), len(names)), bool) for _ in range(3))
    for i, scene in enumerate(found):
        present = scene["kind"] not in ("off_screen", "silence")
        for name in (s["class"] for s in scene["sources"] if s["class"] in names):
            audible[i, names.index(name)] = True
            both[i, names.index(name)] = visible[i, names.index(name)] = present
        for name in set(scene["silent"]) & set(names):
            visible[i, names.index(name)] = True
    return both, visible, audible


# -- the person head -----------------------------------------------------------------------------------------------

def whole(photo) -> scenes.Image.Image:
    """The photograph; a cut-out before grey."""
    image = material.opened(photo)
    if not photo.cut_out:
        return image.convert("RGB")
    ground = scenes.Image.new("RGB", image.size, (128, 134, 140))
    ground.paste(image, (0, 0), image)
    return ground


def beside(image: scenes.Image.Image, boxes: list, other: scenes.Image.Image, random: np.random.Generator):
    """(picture, boxes): the image, perhaps mirrored and smaller, next to another, as things stand in scenes."""
    if random.random() < 0.5:
        image, boxes = ImageOps.mirror(image), [(1 - x1, y0, 1 - x0, y1) for x0, y0, x1, y1 in boxes]
    height = round(SIDE * random.uniform(0.6, 1.0))
    image = image.resize((max(image.width * height // image.height, 8), height))
    other = other.resize((max(other.width * SIDE // other.height, 8), SIDE))
    picture = scenes.Image.new("RGB", (image.width + other.width, SIDE), (128, 134, 140))
    left, top = int(random.integers(2)) * other.width, int(random.integers(SIDE - height + 1))
    picture.paste(other, (0 if left else image.width, 0))
    picture.paste(image, (left, top))
    return picture, [((left + x0 * image.width) / picture.width, (top + y0 * height) / SIDE,
                      (left + x1 * image.width) / picture.width, (top + y1 * height) / SIDE) for x0, y0, x1, y1 in boxes]


class Look(NamedTuple):
    """A picture as the person head sees it."""

    photo: int
    features: np.ndarray  # [P,1280]
    cover: np.ndarray  # a person's, of each cell, 0..1
    largest: float  # person's share of the picture
    shape: tuple[int, int]


def looks(photos: list, extractor: Extractor):
    """Each photo by itself and BESIDE times next to one without people."""
    random = np.random.default_rng(0)
    without = [photo for photo in photos if "person" not in photo.classes]
    for number, photo in enumerate(photos):
        image, boxes = whole(photo), photo.boxes.get("person", [])
        if "person" in photo.classes and not boxes:
            boxes = [(0.0, 0.0, 1.0, 1.0)]  # a cut-out is a person from edge to edge
        pictures = [(image, boxes)]
        pictures += [beside(image, boxes, whole(without[random.integers(len(without))]), random) for _ in range(BESIDE)]
        for picture, boxes in pictures:
            x, place = letterbox(picture)
            features, _ = extractor.image(x)
            mask = np.zeros(x.shape[2:], bool)
            for x0, y0, x1, y1 in boxes:
                (left, top), (right, bottom) = place.to_input(x0, y0), place.to_input(x1, y1)
                mask[round(top):round(bottom), round(left):round(right)] = True
            cover = mask.reshape(place.rows, 32, place.columns, 32).mean(axis=(1, 3)).ravel()
            largest = max(((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes), default=0.0)
            yield Look(number, features, cover, largest, (place.rows, place.columns))


def strongest(linear: np.ndarray, rows: int, columns: int) -> float:
    """The strongest cell of [P], smoothed as labels are."""
    return neighbourhood(linear[:, None], rows, columns).max()


def person_head(photos: list, extractor: Extractor) -> tuple[np.ndarray, float, float, float, np.ndarray]:
    """(weight [1280], bias, gain, offset, unseen): logit of "a person is in the picture" = gain strongest(f.w + b) + offset;
    `unseen`: this logit of each photo by itself, from weights fitted without it."""
    seen = list(looks(photos, extractor))
    x, cover = (np.concatenate(parts).astype(np.float32) for parts in zip(*((look.features, look.cover) for look in seen)))
    photo = np.repeat([look.photo for look in seen], [len(look.cover) for look in seen])
    certain, y = (cover > COVERED) | (cover < CLEAR), cover > COVERED
    largest = np.array([look.largest for look in seen])
    asked, shown = (largest == 0) | (largest >= VISIBLE), largest >= VISIBLE

    def fitted(c, rows):
        return LogisticRegression(C=c, class_weight="balanced", max_iter=300).fit(x[rows & certain], y[rows & certain])

    best = None
    for c in PERSON_C:
        peak = np.zeros(len(seen))
        for _, test in GroupKFold(5).split(seen, groups=[look.photo for look in seen]):
            model = fitted(c, ~np.isin(photo, [seen[i].photo for i in test]))
            for i in test:
                peak[i] = strongest(model.decision_function(seen[i].features), *seen[i].shape)
        outer = LogisticRegression(class_weight="balanced").fit(peak[asked, None], shown[asked])
        correct = outer.predict_proba(peak[asked, None])[np.arange(asked.sum()), shown[asked].astype(int)]
        auc = (peak[asked & shown][:, None] > peak[asked & ~shown]).mean()
        print(f"person head C={c}: picture AUC {auc:.3f}, log-loss {-np.log(correct).mean():.3f} (5-fold, {asked.sum()} pictures, "
              f"{shown.sum()} with a person)")
        if best is None or np.log(correct).mean() > best[0]:
            best = np.log(correct).mean(), c, outer, outer.decision_function(peak[::1 + BESIDE, None])
    _, c, outer, unseen = best
    model = fitted(c, np.ones(len(x), bool))
    return model.coef_[0], model.intercept_[0], outer.coef_[0, 0], outer.intercept_[0], unseen


# -- calibration ---------------------------------------------------------------------------------------------------

def calibrated(x: np.ndarray, y: np.ndarray, quantile: float) -> tuple[float, np.ndarray]:
    """(gain, bias [N]) of logit P(y) = gain x + bias_n, bias_n = bias + slope chance_n, over all [S,N] pairs."""
    chance = np.array([np.quantile(x[~y[:, n], n], quantile) for n in range(x.shape[1])])
    pairs = np.stack([x.ravel(), np.broadcast_to(chance, x.shape).ravel()], axis=1)
    model = LogisticRegression(C=10.0, max_iter=500).fit(pairs, y.ravel())
    return model.coef_[0, 0], model.intercept_[0] + model.coef_[0, 1] * chance


def logits(found: list[dict], heads: dict, weights: dict) -> tuple[np.ndarray, np.ndarray]:
    """logit p_v and logit p_a of every scene and class, [S,N], as the graphs compute them."""
    visual, audio = (np.array([c[k] for c in heads["classes"]]) for k in ("visual", "audio"))
    all_seen, all_heard = [], []
    for scene in found:
        linear = scene["features"].astype(np.float32) @ weights["person.image.weight"] + weights["person.image.bias"]
        all_seen.append(np.append(seen(scene, heads), strongest(linear, scene["rows"], scene["columns"])))
        all_heard.append((heard(scene, heads) * audio[:, 0] + audio[:, 1]).max(axis=0))
    return np.minimum(np.array(all_seen) * visual[:, 0] + visual[:, 1], heads["ceiling"]), np.array(all_heard)


def rates(found: list[dict], names: list[str], reported: np.ndarray, both: np.ndarray) -> dict[str, float]:
    """Set F1 and the false rates, named as by `tvsl eval`."""
    kinds = np.array([s["kind"] for s in found])
    quiet = [(i, names.index(n)) for i, s in enumerate(found) if s["kind"] not in ("off_screen", "silence")
             for n in s["silent"] if n in names]
    return {"set_f1": 2 * (reported & both).sum() / max(reported.sum() + both.sum(), 1),
            "set_precision": (reported & both).sum() / max(reported.sum(), 1), "set_recall": (reported & both).sum() / both.sum(),
            "off_screen": reported[kinds == "off_screen"].any(axis=1).mean(), "silence": reported[kinds == "silence"].any(axis=1).mean(),
            "silent": np.mean([reported[i] for i in quiet])}


def average_precision(y: np.ndarray, score: np.ndarray) -> float:
    """Area under precision over recall."""
    y = y[np.argsort(-score, kind="stable")]
    return (np.cumsum(y) / np.arange(1, len(y) + 1))[y].mean()


def senses(v: np.ndarray, a: np.ndarray, heads: dict) -> np.ndarray:
    """[S,N,3]: both logits, and what is heard elsewhere (ELSEWHERE)."""
    how = heads["elsewhere"]
    alone = (a - how["slope"] * np.maximum(v + how["seen"], 0.0)).max(axis=1, keepdims=True)
    return np.stack([v, a, np.broadcast_to(alone.clip(how["least"], how["most"]), v.shape)], axis=2)


def decide(v: np.ndarray, a: np.ndarray, heads: dict, loud: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(logit p, reported), each [S,N]."""
    joint, least = heads["joint"], heads["thresholds"]
    p = senses(v, a, heads) @ [joint["visual"], joint["audio"], joint["elsewhere"]] + joint["bias"]
    floor = {k: logit(np.array([c.get(k, least[k]) for c in heads["classes"]])) for k in ("p", "p_v", "p_a")}
    return p, (p >= floor["p"]) & (v >= floor["p_v"]) & (a >= floor["p_a"]) & loud[:, None]


def logit(p: np.ndarray) -> np.ndarray:
    """Log-odds."""
    return np.log(p / (1 - p))


def fit(found: list[dict], voices: list[dict], heads: dict, weights: dict) -> None:
    """Calibrate both senses, join them, choose thresholds; `heads` is changed in place. `voices` say how plainly a `person` is seen."""
    names = [c["name"] for c in heads["classes"]]
    labelled = [n for n, c in enumerate(heads["classes"]) if c["imagenet"]]
    both, visible, audible = truth(found, names)
    loud = np.array([s["dbfs"] >= heads["thresholds"]["level_dbfs"] for s in found])
    heads |= {"ceiling": CEILING, "audible": AUDIBLE, "elsewhere": ELSEWHERE}
    gain, bias = calibrated(np.array([seen(s, heads) for s in found]), visible[:, labelled], CHANCE_SEEN)
    for n, b in zip(labelled, bias):
        heads["classes"][n]["visual"] = [round(float(gain), 4), round(float(b), 4)]
    gain, bias = calibrated(np.array([heard(s, heads).max(axis=0) for s in found])[loud], audible[loud], CHANCE_HEARD)
    for c, b in zip(heads["classes"], bias):
        c["audio"] = [round(float(gain), 4), round(float(b), 4)]
    v, a = logits(found, heads, weights)
    model = LogisticRegression(C=10.0, max_iter=500).fit(senses(v, a, heads)[loud].reshape(-1, 3), both[loud].ravel())
    heads["joint"] = {k: round(float(x), 4)
                      for k, x in zip(("visual", "audio", "elsewhere", "bias"), (*model.coef_[0], *model.intercept_))}
    voice_v, voice_a = logits(voices, heads, weights)
    voice_v[:, -1] = np.minimum([scene["person"] for scene in voices], heads["ceiling"])
    voice_loud = np.array([scene["dbfs"] >= heads["thresholds"]["level_dbfs"] for scene in voices])
    nobody = np.array([scene["kind"] == "off_screen" for scene in voices])
    person = heads["classes"][-1]
    worth = {}
    for person["p_v"] in PERSON_SEEN:
        if not choose_thresholds(found, heads, v, a, loud, both):
            continue
        reported = decide(voice_v, voice_a, heads, voice_loud)[1]
        false, right = reported[nobody].any(axis=1), reported[~nobody, -1]
        print(f"p_v of a person {person['p_v']}: {false.mean():.3f} of {len(false)} voices without anybody reported, "
              f"{right.mean():.3f} of {len(right)} with somebody found; {heads['thresholds']}, p_a of a person {person['p_a']}")
        worth[person["p_v"]] = right.mean() - false.mean()
    if not worth:
        raise SystemExit("fit: no thresholds keep the false rates below the limits")
    best = [p_v for p_v, J in worth.items() if J == max(worth.values())]
    person["p_v"] = best[len(best) // 2]
    choose_thresholds(found, heads, v, a, loud, both)


def choose_thresholds(found: list[dict], heads: dict, v: np.ndarray, a: np.ndarray, loud: np.ndarray, both: np.ndarray) -> bool:
    """The thresholds of the highest worth that keep the false rates below LIMITS, if any do; `heads` is changed in place."""
    best = None
    names, person = [c["name"] for c in heads["classes"]], heads["classes"][-1]
    for p, p_v, p_a, person["p_a"] in itertools.product(
            (0.5, 0.55, 0.6, 0.65), (0.05, 0.1, 0.15, 0.2, 0.25, 0.3), (0.1, 0.15, 0.2), (0.2, 0.3, 0.4)):
        heads["thresholds"] |= {"p": p, "p_v": p_v, "p_a": p_a}
        reported = decide(v, a, heads, loud)[1]
        scores = rates(found, names, reported, both)
        worth = scores["set_f1"] + PERSON_COUNTS * reported[both[:, -1], -1].mean()
        if all(scores[k] <= limit for k, limit in LIMITS.items()) and (best is None or worth > best[0]):
            best = worth, dict(heads["thresholds"]), person["p_a"]
    if best is not None:
        _, heads["thresholds"], person["p_a"] = best
    return best is not None


def report(found: list[dict], heads: dict, weights: dict) -> None:
    """What a split scores."""
    names = [c["name"] for c in heads["classes"]]
    both, visible, audible = truth(found, names)
    loud = np.array([s["dbfs"] >= heads["thresholds"]["level_dbfs"] for s in found])
    v, a = logits(found, heads, weights)
    p, reported = decide(v, a, heads, loud)
    scores = rates(found, names, reported, both)
    scores["class_map"] = np.mean([average_precision(both[:, n], p[:, n]) for n in range(len(names)) if both[:, n].any()])
    swapped = decide(v, np.roll(a, len(found) // 2 + 7, axis=0), heads, np.roll(loud, len(found) // 2 + 7))[1]
    scores["swapped_audio_f1"] = rates(found, names, swapped, both)["set_f1"]
    quiet = [i for i, s in enumerate(found) if "person" in s["silent"]]
    scores["person_found"], scores["person_silent_false"] = reported[both[:, -1], -1].mean(), reported[quiet, -1].mean()
    print({k: round(float(s), 3) for k, s in scores.items()}, len(found), "scenes")
    for n in np.flatnonzero(both.any(axis=0) | reported.any(axis=0)):
        y = both[:, n]
        print(f"  {names[n]:18s} n {y.sum():3d} found {(reported[:, n] & y).sum():3d} false {(reported[:, n] & ~y).sum():3d}  "
              f"of the missed: unseen {(y & ~reported[:, n] & (v[:, n] < -1)).sum():3d} unheard {(y & ~reported[:, n] & (a[:, n] < -1)).sum():3d}")


def write(heads: dict) -> None:
    """heads.json, a class a line."""
    lines = [f" {json.dumps(k)}: {json.dumps(v)}" for k, v in heads.items() if k != "classes"]
    classes = ",\n".join("  " + json.dumps(c) for c in heads["classes"])
    (HERE / "heads.json").write_text("{\n" + ",\n".join(lines) + ",\n \"classes\": [\n" + classes + "\n ]\n}\n")


def main(arguments: list[str]) -> None:
    heads, weights = json.loads((HERE / "heads.json").read_text()), load_file(HERE / "heads.safetensors")
    whole = "--whole" in arguments
    extractor = Extractor(threads=2, half="--unrounded" not in arguments, whole=whole)
    if "--report" in arguments:
        report(scene_features("heldout", extractor), heads, weights)
        return
    found, voices = scene_features("fit", extractor), scene_features("fit_voices", extractor)
    tree = material.fetched()
    photos = scenes.split(material.photos(tree), scenes.photo_class)["fit"]
    weight, bias, gain, offset, unseen = person_head(photos, extractor)
    unseen = {photo.path.name: logit for photo, logit in zip(photos, unseen)}
    voices = [scene | {"person": unseen[scene["image"]]} for scene in voices]
    weights = {"person.image.weight": weight.astype(np.float32), "person.image.bias": np.array([bias], np.float32)}
    heads["classes"][-1]["visual"] = [round(float(gain), 4), round(float(offset), 4)]
    fit(found, voices, heads, weights)
    report(found, heads, weights)
    print(heads["joint"], heads["thresholds"])
    if whole:
        report(scene_features("heldout", extractor), heads, weights)
        return
    write(heads)
    save_file(weights, HERE / "heads.safetensors")


if __name__ == "__main__":
    main(sys.argv[1:])
