#!/usr/bin/env bash
# dependencies.sh: holds every dependency of the program, of the tests' broker and of the fuzzers to deny.toml: known
# vulnerabilities, withdrawn versions, licences, and where it comes from.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$PWD/.cache/tools
version=0.20.2

export PATH="$tools/bin:$PATH"
if [ "$(cargo-deny --version 2>/dev/null)" != "cargo-deny $version" ]; then
    echo "setup: building cargo-deny $version (a minute or two, once)"
    # A debug build takes a third of the time and checks as well.
    CARGO_TARGET_DIR="$tools/target" cargo install cargo-deny --version "$version" --locked --debug --quiet --root "$tools"
    rm -rf "$tools/target"
fi

# Without a network the advisories at hand do. cargo deny takes them from a git repository, so it is given one made of them.
origin=https://github.com/RustSec/advisory-db database=../shared/data/advisory-db
if [ -d "$database" ] && ! timeout 20 git ls-remote --quiet "$origin" main >/dev/null 2>&1; then
    database=$(realpath "$database")
    newest=$(grep --recursive --no-filename --only-matching --perl-regexp '^date = "\K[0-9-]+' "$database/crates" | sort | tail -n 1)
    echo "dependencies: $origin cannot be reached; the advisories at hand, the newest of $newest, are taken"
    made=$(mktemp --directory)
    trap 'rm -rf "$made"' EXIT
    git init --quiet --initial-branch=main "$made"
    git -C "$made" --work-tree="$database" add --all
    git -C "$made" -c user.name=tvsl -c user.email=tvsl commit --quiet --message="the advisories at hand"
    export GIT_CONFIG_COUNT=1 GIT_CONFIG_VALUE_0=$origin GIT_CONFIG_KEY_0="url.file://$made.insteadOf"
fi

# The fuzzers are built with the versions of the program.
cp Cargo.lock fuzz/Cargo.lock
for manifest in Cargo.toml tests/cluster/Cargo.toml fuzz/Cargo.toml; do
    echo "dependencies: of $manifest"
    cargo deny --manifest-path "$manifest" --config deny.toml check --hide-inclusion-graph
done
