"""What the proof prints of trained heads and those that ship."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "proof/shipped.py"
FIGURES = ("set_f1", "class_map", "cap", "mean_iou", "pointing")


def report(path: Path, value: float | None) -> Path:
    """As `tvsl eval --json` writes it, which leaves out what the scenes do not give."""
    own = {"value": value, "n": 9, "low": value and value - 0.1, "high": value and value + 0.1}
    path.write_text(json.dumps({"model": "m", **dict.fromkeys(FIGURES, own)}))
    return path


def test_reports_stand_side_by_side_with_their_intervals(tmp_path: Path) -> None:
    given = [f"trained={report(tmp_path / 'a.json', 0.5)}", f"shipped={report(tmp_path / 'b.json', None)}"]
    done = subprocess.run([sys.executable, SCRIPT, *given], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[1] == "| figure | trained | shipped |"
    for name in ("set F1", "class mAP", "cap", "mean_iou", "pointing"):
        assert f"| {name} | 0.500 (0.400–0.600) | – |\n" in done.stdout
