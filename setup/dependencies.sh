#!/usr/bin/env bash
# dependencies.sh: known vulnerabilities (cargo audit) of every dependency, the tests' broker included; its licence and where it
# comes from (deny.toml).
set -euo pipefail
here=$(dirname "$0")
tools=$PWD/.cache/tools

python3 "$here/licences.py"
python3 "$here/sources.py" Cargo.lock tests/cluster/Cargo.lock

if ! cargo audit --version >/dev/null 2>&1; then
    export PATH="$tools/bin:$PATH"
    if ! cargo audit --version >/dev/null 2>&1; then
        echo "setup: building cargo-audit (some minutes, once)"
        # A debug build takes a third of the time and checks as well.
        CARGO_TARGET_DIR="$tools/target" cargo install cargo-audit --version 0.22.2 --locked --debug --quiet --root "$tools"
        rm -rf "$tools/target"
    fi
fi
# A crate without a maintainer is told; a vulnerable or unsound one fails, and in the program a yanked one.
audit=(cargo audit --deny unsound)
database=../shared/data/advisory-db
if [ -d "$database" ]; then
    audit+=(--db "$database" --no-fetch --stale)
fi
"${audit[@]}" --deny yanked
"${audit[@]}" --no-yanked --file tests/cluster/Cargo.lock
