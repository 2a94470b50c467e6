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
# The library's own tests, and those of tests/ that stay in their own process: qemu-user starts no other program for arm64.
tests=(analysis capture_leaks capture_recorded capture_rtsp capture_sync config decision model_any model_faults model_golden model_threads
    tracking)
packaging/arm64/cargo.sh test --release --locked --no-fail-fast --lib "${tests[@]/#/--test=}"
say "ok"
