"""Are trained heads better than those that ship? Two reports of `tvsl eval --json` on the same scenes, side by side.

    python proof/shipped.py NAME=REPORT.json NAME=REPORT.json ...      (from engines/)

prints whether (set F1, class mAP) and where (cap, mean_iou, pointing), each with its 95 % bootstrap interval by scene.
"""

import argparse
import json
from pathlib import Path
from typing import Any

FIGURES = {"set_f1": "set F1", "class_map": "class mAP", "cap": "cap", "mean_iou": "mean_iou", "pointing": "pointing"}


def cell(figure: dict[str, Any]) -> str:
    """A figure with its interval; a dash for one that the scenes do not give."""
    if figure["value"] is None:
        return "–"
    return f"{figure['value']:.3f} ({figure['low']:.3f}–{figure['high']:.3f})"


def beside(reports: dict[str, dict[str, Any]]) -> str:
    """The reports as Markdown, a column each."""
    lines = ["| figure | " + " | ".join(reports) + " |", "|---" * (len(reports) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(cell(report[key]) for report in reports.values()) + " |" for key, name in FIGURES.items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", nargs="+", metavar="NAME=REPORT.json")
    named = (text.partition("=") for text in parser.parse_args().report)
    print("\n" + beside({name: json.loads(Path(path).read_text(encoding="utf-8")) for name, _, path in named}))


if __name__ == "__main__":
    main()
