"""Checks the licence of every dependency against the list in deny.toml; prints those that are not in it."""
import json
import re
import subprocess
import sys
from pathlib import Path

LIST = re.compile(r"^allow = \[(.*?)^\]", re.MULTILINE | re.DOTALL)


def allowed() -> set[str]:
    """The SPDX identifiers of deny.toml."""
    return set(re.findall(r'"([^"]+)"', LIST.search(Path("deny.toml").read_text())[1]))


def satisfied(expression: str, allowed: set[str]) -> bool:
    """Whether an SPDX expression can be met with allowed licences only."""
    words = re.findall(r"\(|\)|\bAND\b|\bOR\b|[^()\s]+(?:\s+WITH\s+[^()\s]+)?", expression.replace("/", " OR "))
    python = {"AND": "and", "OR": "or", "(": "(", ")": ")"}
    return eval(" ".join(python.get(word, str(word in allowed)) for word in words))  # only the words above


def main() -> None:
    command = ["cargo", "metadata", "--locked", "--format-version", "1"]
    packages = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["packages"]
    allow = allowed()
    refused = [f"{p['name']} {p['version']}: {p['license'] or 'no licence named'}" for p in packages
               if not (p["license"] and satisfied(p["license"], allow))]
    print(f"licences: {len(packages)} packages, {len(refused)} outside the list of deny.toml")
    sys.exit("\n".join(refused) if refused else 0)


main()
