"""python -m tvsl_engines COMMAND: the command line."""

import argparse
import sys
from pathlib import Path

from .checkpoint import CheckpointError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 when done, 1 when something the user can mend went wrong."""
    chosen = parser().parse_args(arguments)
    try:
        chosen.run(chosen)
    except CheckpointError as error:
        print(f"tvsl_engines: {error}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """Every command with its options."""
    top = argparse.ArgumentParser(prog="tvsl_engines", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    own = commands.add_parser("import-audioclip", help="an AudioCLIP checkpoint becomes a model folder")
    own.add_argument("checkpoint", type=Path, help="AudioCLIP-Full-Training.pt")
    own.add_argument("--out", type=Path, required=True, help="the folder to write")
    own.add_argument("--classes", type=Path, help="a text file with a class a line (default: the default model's)")
    own.set_defaults(run=_import)
    return top


def _import(chosen: argparse.Namespace) -> None:
    from .importer import import_audioclip

    import_audioclip(chosen.checkpoint, chosen.out, chosen.classes)


if __name__ == "__main__":
    sys.exit(main())
