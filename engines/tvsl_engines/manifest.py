"""manifest.toml of a model folder: read for its encoders, written for a new one (engines/README.md names every key)."""

import hashlib
import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .errors import DataError

FILE = "manifest.toml"
NEEDED = ("image", "audio", "graphs", "embedding", "classes", "files")
THRESHOLDS = {"p": 0.5, "p_v": 0.5, "p_a": 0.5, "level_dbfs": -55.0, "map": 0.5}


def read(folder: Path) -> dict[str, Any]:
    """The manifest of a model folder. Raises DataError for one that lacks what every model has."""
    with (folder / FILE).open("rb") as file:
        try:
            said = tomllib.load(file)
        except ValueError as error:
            raise DataError(f"{folder / FILE}: no TOML: {error}") from error
    if lacking := [key for key in NEEDED if not said.get(key)]:
        raise DataError(f"{folder / FILE}: no manifest of a model folder: {', '.join(lacking)} missing")
    return said


def write(folder: Path, manifest: dict[str, Any], comment: str) -> None:
    """Write the manifest; every file that `files` names must be final: its checksum is taken here."""
    lines = [f"# {comment}", *_pairs(manifest)]
    lines += _tables("", manifest)
    for entry in manifest["classes"]:
        lines += ["", "[[classes]]", *_pairs(entry)]
    for entry in manifest["files"]:
        digest = sha256(folder / entry["path"])
        lines += ["", "[[files]]", *_pairs({**entry, "sha256": digest})]
    (folder / FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")


def sha256(path: Path) -> str:
    """Checksum of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files(names: Iterable[str], licence: str, source: str) -> list[dict[str, str]]:
    """Entries of `files` with one licence and source."""
    return [{"path": name, "license": licence, "source": source} for name in names]


def _tables(prefix: str, table: dict[str, Any]) -> list[str]:
    lines = []
    for key, value in table.items():
        if isinstance(value, dict):
            pairs = _pairs(value)
            lines += ["", f"[{prefix}{key}]", *pairs] if pairs else []
            lines += _tables(f"{prefix}{key}.", value)
    return lines


def _pairs(values: dict[str, Any]) -> list[str]:
    """JSON's strings, numbers and lists are TOML's too; tables stand elsewhere."""
    plain = {k: v for k, v in values.items() if not isinstance(v, dict) and k not in ("classes", "files")}
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in plain.items()]
