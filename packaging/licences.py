"""licences.py ARCHITECTURE: the licences of every crate that the program is linked from or built with, each text once, after the crates that it is of.

Fails where a crate has neither a text nor a licence by name.
"""
import re
import sys
from pathlib import Path

from crates import linked

TEXT = re.compile(r"(un)?(licen[cs]e|copying|copyright|notice)", re.IGNORECASE)


def texts(package: dict) -> list[str]:
    """What the files of a crate say of its licence."""
    folder = Path(package["manifest_path"]).parent
    files = sorted(path for path in folder.iterdir() if path.is_file() and TEXT.match(path.name))
    found = [path.read_text(errors="replace").strip() for path in files]
    if not found and not package["license"]:
        sys.exit(f"licences.py: {package['name']} {package['version']} says nothing of its licence")
    return found or ["(The crate holds no text; its licence is meant by name.)"]


def main(architecture: str) -> None:
    crates_of: dict[str, list[str]] = {}
    for package in linked(architecture)[1]:
        name = f"{package['name']} {package['version']} ({package['license'] or 'by its text'})"
        for text in texts(package):
            crates_of.setdefault(text, []).append(name)
    print("The program tvsl is linked from these crates, or was built with them.")
    for text, crates in crates_of.items():
        print("\n" + "=" * 100, *crates, "", text, sep="\n")


main(sys.argv[1])
