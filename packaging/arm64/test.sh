#!/usr/bin/env bash
# test.sh PROGRAM: the program for arm64 under qemu-user, on Debian 11's libraries and with ONNX Runtime for arm64.
set -euo pipefail
cd "$(dirname "$0")/../.."
program=$1
out=$(mktemp --directory)
trap 'rm -r "$out"' EXIT
say() { echo "test-arm64: $*"; }
tvsl() { packaging/arm64/run.sh "$program" "$@"; }

tvsl --version
tvsl check --model
# A picture every two seconds: emulated, each takes long.
printf 'camera.rate = 0.5\n' >"$out/tvsl.toml"
tvsl annotate --config "$out/tvsl.toml" demo/clip.webm --out "$out"
grep --quiet '"class":"cat"' "$out/detections.jsonl" || { say "FAILED: the cat of the clip is not reported" >&2; exit 1; }
# The library's own tests, and those of tests/ that stay in their own process, for qemu-user starts no other program for arm64: the
# files that neither name a `Command` nor use a folder of tests/ that does. Of these fleet_figures is left out: it plays the
# whole clip at its full rate, which takes too long emulated, to count messages, which no processor changes.
commanding=$(grep --files-with-matches --word-regexp Command tests/*/*.rs | cut --delimiter=/ --fields=2 | sort --unique |
    paste --serial --delimiters="|")
mapfile -t tests < <(grep --files-without-match --extended-regexp "\bCommand\b|^mod ($commanding);" tests/*.rs |
    sed --quiet 's|^tests/\(.*\)\.rs$|\1|p' | grep --invert-match --line-regexp fleet_figures)
[ ${#tests[@]} -gt 0 ] || { say "FAILED: no test of tests/ stays in its own process" >&2; exit 1; }
say "in their own process: ${tests[*]}"
packaging/arm64/cargo.sh test --release --locked --no-fail-fast --lib "${tests[@]/#/--test=}"
say "ok"
