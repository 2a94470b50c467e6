"""The configuration of a training."""

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from .choose import CLIP_SSL, NAMES, NEEDS_CLIPSEG
from .errors import TrainingError
from .heads import GATES

PRECISIONS = ("off", "bf16", "fp16")
TOLD = {bool: "true or false", int: "a whole number", float: "a number", Path: "a text", str: "a text"}


@dataclass(frozen=True)
class Config:
    """Every key of a training configuration (TOML); paths are relative to where the command runs."""

    encoders: Path  # a model folder
    data: Path  # frames/ and audio/
    split: Path  # lines `id,class`, or `id,class,class` of real duets
    out: Path  # checkpoints, log, weights, skipped clips
    cache: Path = Path(".cache/features")
    method: str = "tvsl-two-stage"
    clipseg: Path | None = None  # CLIPSeg's weights, for clip-ssl
    gate: str = GATES[0]  # of T-VSL's maps
    mixtures: int = 2  # partners of every clip
    fresh: bool = False  # other partners in every epoch
    epochs: int = 20
    batch: int = 64  # scenes, of each process
    rate: float = 1e-4  # of learning, at its highest
    dial_rate: float = 1e-2  # that of mixes' shares, scales and calibrations
    decay: float = 1e-4
    warmup: int = 100  # steps, at most a fifth of all
    amp: str = "off"  # off, bf16 or fp16
    workers: int = 0  # processes that read features
    seed: int = 0

    @classmethod
    def read(cls, path: Path, **changed: object) -> "Config":
        """A TOML file, with keys changed on the command line."""
        try:
            values: dict[str, Any] = {**tomllib.loads(path.read_text(encoding="utf-8")), **{k: v for k, v in changed.items() if v is not None}}
        except ValueError as error:
            raise TrainingError(f"{path}: no TOML: {error}") from error
        known = {f.name: Path if f.type == Path | None else f.type for f in fields(cls)}
        for key in values:
            if key not in known:
                raise TrainingError(f"{path}: unknown key `{key}`; expected one of {', '.join(known)}")
        lacking = [k for k in ("encoders", "data", "split", "out") if k not in values]
        if lacking:
            raise TrainingError(f"{path}: missing {', '.join(lacking)}")
        for key, value in values.items():
            _fits(path, key, value, known[key])
        typed: dict[str, Any] = {k: Path(v) if known[k] is Path else v for k, v in values.items()}
        config = cls(**typed)
        for key, choices in (("method", NAMES), ("gate", GATES), ("amp", PRECISIONS)):
            if getattr(config, key) not in choices:
                raise TrainingError(f"{path}: {key} = {getattr(config, key)!r}; expected one of {', '.join(choices)}")
        if config.method == CLIP_SSL and config.clipseg is None:  # before the methods ahead of it are trained for days
            raise TrainingError(f"{path}: {NEEDS_CLIPSEG}")
        return config


def _fits(path: Path, key: str, value: object, kind: Any) -> None:
    """Raises TrainingError for a value of another type, or a number that is too small."""
    wanted = {float: (int, float), Path: (str, Path)}.get(kind, kind)
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
        raise TrainingError(f"{path}: {key} = {value!r}; expected {TOLD[kind]}")
    least = 1 if key in ("mixtures", "epochs", "batch") else 0
    if isinstance(value, (int, float)) and not value >= least:
        raise TrainingError(f"{path}: {key} = {value}; expected at least {least}")
