"""sbom.py FOLDER ARCHITECTURE: the software bill of materials of a package whose files lie in FOLDER, as CycloneDX 1.5.

Every crate that is linked for ARCHITECTURE with version, licence and the checksum of Cargo.lock; ONNX Runtime and the
model with the checksums of their files. The same package gives the same bytes.
"""
import hashlib
import json
import re
import sys
from pathlib import Path

from crates import linked

LOCKED = re.compile(r'name = "(.*)"\nversion = "(.*)"\nsource = ".*"\nchecksum = "(.*)"')


def crate(package: dict, checksum: str | None) -> dict:
    name, version = package["name"], package["version"]
    component = {"type": "library", "bom-ref": f"pkg:cargo/{name}@{version}", "name": name, "version": version,
                 "purl": f"pkg:cargo/{name}@{version}"}
    if package["license"]:
        component["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if checksum:
        component["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return component


def file(path: Path) -> dict:
    return {"type": "file", "name": path.name,
            "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}]}


def bundled(root: Path) -> list[dict]:
    """What lies beside the program."""
    onnx = Path("setup/onnxruntime.txt").read_text().split("onnxruntime==")[1].split()[0]
    model = root / "usr/share/tvsl/engines/default"
    manifest = (model / "manifest.toml").read_text()
    name, version = (re.search(f'^{key} = "(.*)"', manifest, re.MULTILINE)[1] for key in ("name", "version"))
    return [
        {"type": "library", "bom-ref": f"pkg:pypi/onnxruntime@{onnx}", "name": "onnxruntime", "version": onnx,
         "purl": f"pkg:pypi/onnxruntime@{onnx}", "licenses": [{"license": {"id": "MIT"}}],
         "components": [file(root / "usr/lib/tvsl/libonnxruntime.so")]},
        {"type": "machine-learning-model", "bom-ref": "model", "name": name, "version": version,
         "components": [file(path) for path in sorted(model.iterdir())]},
    ]


def main(root: Path, architecture: str) -> None:
    sums = {(name, version): sum for name, version, sum in LOCKED.findall(Path("Cargo.lock").read_text())}
    own, others = linked(architecture)
    program, *crates = (crate(package, sums.get((package["name"], package["version"]))) for package in [own, *others])
    components = crates + bundled(root)
    bill = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "metadata": {"component": program | {"type": "application"}},
            "components": components,
            "dependencies": [{"ref": program["bom-ref"], "dependsOn": [c["bom-ref"] for c in components]}]}
    json.dump(bill, sys.stdout, indent=1)
    print()


main(Path(sys.argv[1]), sys.argv[2])
