#!/usr/bin/env bash
# dependencies.sh: known vulnerabilities of every dependency, the tests' broker included (advisories.sh); its licence and where
# it comes from (deny.toml).
set -euo pipefail
here=$(dirname "$0")

python3 "$here/licences.py"
python3 "$here/sources.py" Cargo.lock tests/cluster/Cargo.lock
# In the program a yanked crate fails too.
"$here/advisories.sh" Cargo.lock --deny yanked
"$here/advisories.sh" tests/cluster/Cargo.lock --no-yanked
