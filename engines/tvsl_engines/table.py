"""Tables of figures with bootstrap intervals; differences of methods are paired by scene."""

import numpy as np

from .evaluate import Judged, parts, samples

DRAWS, SEED = 1000, 7
SEED_TABLE = "seed (AudioCLIP on VGGSound, by an evaluation of its own): AVGN 44.1 / 49.6 / 31.9 / 37.8, one stage 46.8 / 51.5 / 33.7 / " \
             "38.7, two stages 48.1 / 53.7 / 35.7 / 40.1 (AP / IoU@0.5 single, CAP / CIoU@0.3 duet)"


def draws(scenes: int) -> np.ndarray:
    """[DRAWS, scenes]: how often each scene is drawn, the same for every method."""
    chance = np.random.default_rng(SEED)
    return chance.multinomial(scenes, np.full(scenes, 1 / scenes), size=DRAWS)


def interval(total: np.ndarray, count: np.ndarray) -> tuple[float, float, float]:
    """Mean over samples with its 95 % interval, scenes drawn anew; in percent."""
    often = draws(len(total))
    drawn = (often @ total) / np.maximum(often @ count, 1)
    return tuple(100 * x for x in (total.sum() / count.sum(), *np.percentile(drawn, (2.5, 97.5))))


def figures(judged: list[Judged]) -> dict[str, tuple[float, float, float]]:
    """Every figure of one model: value, low, high, in percent."""
    return {f"{part} {name}": interval(*samples(figure, own))
            for part, (table, own) in parts(judged).items() for name, figure in table.items()}


def compared(judged: dict[str, list[Judged]], protocol: str, notes: dict[str, str]) -> str:
    """Methods beside each other as Markdown: values with intervals, then paired differences to the first method."""
    columns = {name: figures(own) for name, own in judged.items()}
    heads = [name for name in next(iter(columns.values())) if not name.startswith("all ")]
    lines = [f"protocol: {protocol}", "", "| method | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    cell = lambda v: f"{v[0]:.1f} ({v[1]:.1f}–{v[2]:.1f})"
    lines += [f"| {name} | " + " | ".join(cell(own[h]) for h in heads) + " |" for name, own in columns.items()]
    lines += [f"| {name} | {text}" + " |" * len(heads) for name, text in notes.items()]
    first, *others = judged
    for name in others:
        differences = paired(judged[first], judged[name])
        lines.append(f"| {first} − {name} | " + " | ".join(cell(differences[h]) for h in heads) + " |")
    counts = ", ".join(f"{len(own)} {part} scenes" for part, (_, own) in parts(judged[first]).items() if part != "all")
    return "\n".join([*lines, "", f"%, 95 % bootstrap intervals by scene ({counts}; differences paired). {SEED_TABLE}"])


def paired(a: list[Judged], b: list[Judged]) -> dict[str, tuple[float, float, float]]:
    """Differences a − b of every figure, both on the same draws of scenes."""
    result = {}
    for (part, (table, own)), (_, other) in zip(parts(a).items(), parts(b).values()):
        for name, figure in table.items():
            (total, count), (rival, _) = samples(figure, own), samples(figure, other)
            result[f"{part} {name}"] = interval(total - rival, count)
    return result
