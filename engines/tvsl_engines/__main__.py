"""python -m tvsl_engines COMMAND: the command line."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from .errors import MENDABLE, DataError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 when done, 1 when something the user can mend went wrong, or a speed missed its goal."""
    chosen = parser().parse_args(arguments)
    try:
        return chosen.run(chosen) or 0
    except MENDABLE as error:
        print(f"tvsl_engines: {error}", file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    """Every command with its options."""
    top = argparse.ArgumentParser(prog="tvsl_engines", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    own = commands.add_parser("import-audioclip", help="an AudioCLIP checkpoint becomes a model folder")
    own.add_argument("checkpoint", type=Path, help="AudioCLIP-Full-Training.pt")
    own.add_argument("--out", type=Path, required=True, help="the folder to write")
    whose = own.add_mutually_exclusive_group()
    whose.add_argument("--classes", type=Path, help="a text file with a class a line (default: the default model's)")
    whose.add_argument("--split", type=Path, help="the classes of a data set: of its split file, lines `id,class`")
    own.set_defaults(run=_import)

    own = commands.add_parser("train", help="train a method over frozen encoders; run under torchrun for several GPUs")
    own.add_argument("--config", type=Path, required=True, help="a TOML file: engines/train.toml shows every key")
    own.add_argument("--method", action="append", help="instead of the configuration's; several go to OUT/METHOD each")
    own.add_argument("--out", type=Path, help="instead of the configuration's")
    own.set_defaults(run=_train)

    own = commands.add_parser("deploy", help="trained two-stage heads become a model folder")
    own.add_argument("--encoders", type=Path, required=True, help="the model folder that they were trained over")
    own.add_argument("--weights", type=Path, required=True, help="weights.pt of the training")
    own.add_argument("--out", type=Path, required=True, help="the folder to write")
    own.set_defaults(run=_deploy)

    own = commands.add_parser("table", help="compare trained methods on published tests")
    own.add_argument("--encoders", type=Path, required=True, help="the model folder that they were trained over")
    own.add_argument("--data", type=Path, required=True, help="frames/ and audio/")
    own.add_argument("--test", type=Path, action="append", required=True, help="lines `id`, `id,class` or `id,class,id,class`; may be repeated")
    own.add_argument("--boxes", type=Path, required=True, help="vggss.json, MUSIC's, or the folder of masks of VGGSound-Instruments")
    own.add_argument("--weights", action="append", default=[], metavar="METHOD=FILE", help="weights.pt of a training; may be repeated")
    own.add_argument("--trained", type=Path, help="the `out` of a training of several methods, in place of --weights")
    own.add_argument("--clipseg", type=Path, help="CLIPSeg's weights, for clip-ssl")
    own.set_defaults(run=_table)

    own = commands.add_parser("eval", help="judge a model folder on the scenes of `tvsl eval`, in Python")
    own.add_argument("scenes", type=Path, help="scenes.json")
    own.add_argument("--model", type=Path, required=True, help="a model folder")
    own.set_defaults(run=_eval)

    own = commands.add_parser("speed", help="steps of a training beside their bare matrix products, on made-up features")
    own.add_argument("--method", default="tvsl-two-stage")
    own.add_argument("--batch", type=int, default=64)
    own.add_argument("--classes", type=int, default=221)
    own.add_argument("--dimension", type=int, default=1024)
    own.add_argument("--workers", type=int, default=0, help="processes that read the features")
    own.add_argument("--amp", default="off", choices=("off", "bf16", "fp16"))
    own.set_defaults(run=_speed)
    return top


def _import(chosen: argparse.Namespace) -> None:
    from .importer import import_audioclip

    import_audioclip(chosen.checkpoint, chosen.out, chosen.classes, chosen.split)


def _train(chosen: argparse.Namespace) -> None:
    from .config import Config
    from .train import train_each

    methods = chosen.method or [None]
    configs = [Config.read(chosen.config, method=method, out=chosen.out) for method in methods]
    if len(methods) > 1:
        configs = [replace(config, out=config.out / config.method) for config in configs]
    for weights in train_each(configs):
        print("weights:", weights)


def _deploy(chosen: argparse.Namespace) -> None:
    from .deploy import deploy

    deploy(chosen.encoders, chosen.weights, chosen.out)


def _table(chosen: argparse.Namespace) -> None:
    from .rivals import table, trained

    weights = chosen.weights + (trained(chosen.trained) if chosen.trained else [])
    print(table(chosen.encoders, chosen.data, chosen.test, chosen.boxes, weights, chosen.clipseg))


def _eval(chosen: argparse.Namespace) -> None:
    from .dataset import labelled
    from .evaluate import PROGRAM, by_program
    from .table import figures

    print(f"protocol: {PROGRAM}")
    for name, (value, low, high) in figures(by_program(chosen.model, labelled(chosen.scenes))).items():
        print(f"{name:<24}{value:8.2f}   {low:.2f}–{high:.2f}")


def _speed(chosen: argparse.Namespace) -> int:
    from .methods import METHODS
    from .speed import measure

    if chosen.method not in METHODS:
        raise DataError(f"--method {chosen.method}: expected one of {', '.join(METHODS)}")
    found = measure(chosen.method, chosen.batch, chosen.classes, chosen.dimension, workers=chosen.workers, amp=chosen.amp)
    print(found)
    return 0 if found.good else 1


if __name__ == "__main__":
    sys.exit(main())
