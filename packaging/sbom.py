"""sbom.py FOLDER ARCHITECTURE: the software bill of materials of a package whose files lie in FOLDER, as CycloneDX 1.5.

Every crate that is linked for ARCHITECTURE with version, licence and the checksum of Cargo.lock; ONNX Runtime and the
model with the checksums of their files. The same package gives the same bytes.
"""
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

LOCKED = re.compile(r'name = "(.*)"\nversion = "(.*)"\nsource = ".*"\nchecksum = "(.*)"')
TARGETS = {"amd64": "x86_64-unknown-linux-gnu", "arm64": "aarch64-unknown-linux-gnu"}


def crates(target: str) -> tuple[dict, list[dict]]:
    """The program, and the crates that it is linked from or built with; those for tests alone are left out."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    metadata = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    needs = {node["id"]: [d["pkg"] for d in node["deps"] if any(k["kind"] != "dev" for k in d["dep_kinds"])]
             for node in metadata["resolve"]["nodes"]}
    root, wanted = metadata["resolve"]["root"], set()
    waiting = [root]
    while waiting:
        package = waiting.pop()
        if package not in wanted:
            wanted.add(package)
            waiting += needs[package]
    sums = {(name, version): sum for name, version, sum in LOCKED.findall(Path("Cargo.lock").read_text())}
    found = {p["id"]: crate(p, sums.get((p["name"], p["version"]))) for p in metadata["packages"] if p["id"] in wanted}
    program = found.pop(root) | {"type": "application"}
    return program, sorted(found.values(), key=lambda c: c["bom-ref"])


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
    program, linked = crates(TARGETS[architecture])
    components = linked + bundled(root)
    bill = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "metadata": {"component": program},
            "components": components,
            "dependencies": [{"ref": program["bom-ref"], "dependsOn": [c["bom-ref"] for c in components]}]}
    json.dump(bill, sys.stdout, indent=1)
    print()


main(Path(sys.argv[1]), sys.argv[2])
