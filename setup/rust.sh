#!/usr/bin/env bash
# rust.sh: says clearly when Rust is missing or too old; installs nothing.
set -euo pipefail

needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
if ! command -v cargo >/dev/null || ! command -v rustc >/dev/null; then
    echo "setup: Rust $needed or later is needed and no cargo is on the PATH; see https://rustup.rs" >&2
    exit 1
fi
found=$(rustc --version | cut -d' ' -f2)
if [ "$(printf '%s\n%s\n' "$needed" "${found%%-*}" | sort --version-sort | head -n1)" != "$needed" ]; then
    echo "setup: Rust $needed or later is needed, and this is $found ($(command -v rustc)); try \`rustup update stable\`" >&2
    exit 1
fi
