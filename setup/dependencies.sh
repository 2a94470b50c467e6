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

# cargo deny takes the advisories from a git repository: without a network it is given one made of the files at hand.
database=$(realpath --quiet --canonicalize-existing ../shared/data/advisory-db) || database=
if [ -n "$database" ]; then
    made=$(mktemp --directory)
    trap 'rm -rf "$made"' EXIT
    git init --quiet --initial-branch=main "$made"
    git -C "$made" --work-tree="$database" add --all
    git -C "$made" -c user.name=tvsl -c user.email=tvsl commit --quiet --message="the advisories at hand"
    export GIT_CONFIG_COUNT=1 GIT_CONFIG_VALUE_0=https://github.com/RustSec/advisory-db
    export GIT_CONFIG_KEY_0="url.file://$made.insteadOf"
fi

# The fuzzers are built with the versions of the program.
cp Cargo.lock fuzz/Cargo.lock
for manifest in Cargo.toml tests/cluster/Cargo.toml fuzz/Cargo.toml; do
    echo "dependencies: of $manifest"
    cargo deny --manifest-path "$manifest" --config deny.toml check --hide-inclusion-graph
done
