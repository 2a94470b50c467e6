"""sources.py LOCK...: every package of these lock files comes from a registry that deny.toml allows; prints those that do not."""

import re
import sys
from pathlib import Path

LIST = re.compile(r"^allow-registry = \[(.*?)\]", re.MULTILINE | re.DOTALL)
PACKAGE = re.compile(r'^name = "(?P<name>.*)"\nversion = "(?P<version>.*)"\n(?:source = "(?P<source>.*)"\n(?P<checksum>checksum)?)?',
                     re.MULTILINE)


def foreign(lock: Path, allowed: set[str]) -> list[str]:
    """The packages from elsewhere: another registry, a repository, or a registry that vouches for no checksum."""
    found = PACKAGE.finditer(lock.read_text())
    # What has no source is in this repository.
    return [f"{lock}: {p['name']} {p['version']} comes from {p['source']}{'' if p['checksum'] else ', without a checksum'}"
            for p in found if p["source"] and not (p["source"] in allowed and p["checksum"])]


def main() -> None:
    listed = re.findall(r'"([^"]+)"', LIST.search((Path(__file__).parent.parent / "deny.toml").read_text())[1])
    allowed = {f"registry+{registry}" for registry in listed}
    locks = [Path(name) for name in sys.argv[1:]]
    refused = [line for lock in locks for line in foreign(lock, allowed)]
    print(f"sources: {len(locks)} lock files, {len(refused)} packages from elsewhere than deny.toml allows")
    sys.exit("\n".join(refused) if refused else 0)


main()
