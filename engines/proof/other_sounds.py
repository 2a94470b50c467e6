"""Does a map listen? Each trained method on the proof's tests, with each scene's own sound and with that of the next scene.

    python proof/other_sounds.py --encoders DIR --data DIR --boxes FILE --test FILE ... --trained DIR      (from engines/)

prints AP of both in percent, and their paired difference with its 95 % interval. Classes are given, as in the table; a map that is as
good with another's sound is one of the class, not of what is heard.
"""

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tvsl_engines import dataset, evaluate, rivals, table  # noqa: E402
from tvsl_engines.evaluate import Judged  # noqa: E402
from tvsl_engines.methods import Method  # noqa: E402
from tvsl_engines.picture import Fit  # noqa: E402

Seen = tuple[dataset.Scene, tuple[torch.Tensor, torch.Tensor, Fit]]


def judged(method: Method, index: dict[str, int], scenes: list[Seen], shift: int) -> list[Judged]:
    """Every picture with the sound of the scene that is `shift` further on."""
    result = []
    for i, (scene, (v, _, place)) in enumerate(scenes):
        _, (_, a, _) = scenes[(i + shift) % len(scenes)]
        present = torch.tensor([[index[source.name] for source in scene.sources]])
        with torch.no_grad():
            result.append(evaluate.judge(method.eval().maps(v, a, present)[0].numpy(), scene.sources, place, None))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("--encoders", "--data", "--boxes", "--trained"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--test", type=Path, action="append", required=True)
    args = parser.parse_args()
    methods = rivals.methods(args.encoders, rivals.trained(args.trained), None)
    encoders = methods[rivals.UNTRAINED][1]
    print("\n| test | method | own sound | another's | own − another's |", "|---|---|---|---|---|", sep="\n")
    for test in args.test:
        listed, _ = dataset.published(dataset.Data(args.data), test, args.boxes, encoders.classes)
        scenes = [(scene, evaluate.encoded(encoders, scene)) for scene in listed]
        for name, (method, _) in methods.items():
            own, other = (judged(method, encoders.index, scenes, shift) for shift in (0, 1))
            (a, *_), (b, *_) = (table.figures(x)["all AP"] for x in (own, other))
            difference, low, high = table.paired(own, other)["all AP"]
            print(f"| {test.stem} | {name} | {a:.1f} | {b:.1f} | {difference:.1f} ({low:.1f} to {high:.1f}) |", flush=True)


if __name__ == "__main__":
    main()
