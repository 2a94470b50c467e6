"""The crates that the program is linked from or built with, as cargo knows them; those for tests alone are left out."""
import json
import subprocess

TARGETS = {"amd64": "x86_64-unknown-linux-gnu", "arm64": "aarch64-unknown-linux-gnu"}


def linked(architecture: str) -> tuple[dict, list[dict]]:
    """The program, and the crates by name and version."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", TARGETS[architecture]]
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
    found = {p["id"]: p for p in metadata["packages"] if p["id"] in wanted}
    program = found.pop(root)
    return program, sorted(found.values(), key=lambda p: (p["name"], p["version"]))
