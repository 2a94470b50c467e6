#!/usr/bin/env bash
# advisories.sh LOCK [OPTION...]: known vulnerabilities (cargo audit) of what a lock file names.
set -euo pipefail
tools=$PWD/.cache/tools

if ! cargo audit --version >/dev/null 2>&1; then
    export PATH="$tools/bin:$PATH"
    if ! cargo audit --version >/dev/null 2>&1; then
        echo "setup: building cargo-audit (some minutes, once)"
        # A debug build takes a third of the time and checks as well.
        CARGO_TARGET_DIR="$tools/target" cargo install cargo-audit --version 0.22.2 --locked --debug --quiet --root "$tools"
        rm -rf "$tools/target"
    fi
fi
# A crate without a maintainer is told; a vulnerable or unsound one fails.
audit=(cargo audit --deny unsound)
database=../shared/data/advisory-db
if [ -d "$database" ]; then
    audit+=(--db "$database" --no-fetch --stale)
fi
"${audit[@]}" --file "$1" "${@:2}"
