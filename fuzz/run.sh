#!/usr/bin/env bash
# run.sh SECONDS [TARGET...]: libFuzzer on each target (all, if none is named) for so long, guided by coverage and watched by
# AddressSanitizer. It begins with fuzz/corpus/TARGET and with what earlier runs left in .cache/fuzz/TARGET, and leaves there
# what it finds worth keeping; an input that breaks something is kept in .cache/fuzz/found and named.
# With KEEP=1, what reaches code that fuzz/corpus does not reach is added to it: the smallest set, small inputs only.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=$1 kept=$PWD/.cache/fuzz
shift
[ $# -gt 0 ] || set -- configuration manifest scenes wish request picture sound
# No input in the repository is larger, in bytes.
largest=2048
cargo=${CARGO:-cargo} tool=.cache/cargo-fuzz
[ -x "$tool/bin/cargo-fuzz" ] || $cargo install --quiet --locked --root "$tool" cargo-fuzz@0.13.2
# The compiler is the stable one; this lets it take the sanitizer's flags.
export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$PWD/target/fuzz
# Leaks are not looked for: GStreamer keeps what it loaded once.
export ASAN_OPTIONS=detect_leaks=0
# The versions of the program's own dependencies.
cp Cargo.lock fuzz/Cargo.lock

# seed TARGET: the files of the repository to begin with, beside its corpus.
seed() {
    case $1 in
    configuration) cp config/tvsl.toml "$kept/$1/shipped" ;;
    manifest) cp engines/default/manifest.toml "$kept/$1/default" && cp tests/data/tiny/manifest.toml "$kept/$1/tiny" ;;
    esac
}

# libfuzzer TARGET ARGUMENT...
libfuzzer() { "$tool/bin/cargo-fuzz" run --fuzz-dir fuzz "$1" "${@:2}" >"$kept/$1.log" 2>&1; }

# keep TARGET: adds to its corpus what reaches more.
keep() {
    local small
    small=$(mktemp --directory)
    find "$kept/$1" -type f -size -"$largest"c -exec cp --target-directory="$small" {} +
    libfuzzer "$1" "fuzz/corpus/$1" "$small" -- -set_cover_merge=1 -use_counters=0
    rm -r "$small"
}

for target in "$@"; do
    "$tool/bin/cargo-fuzz" build --fuzz-dir fuzz "$target"
    mkdir -p "$kept/$target" "$kept/found"
    seed "$target"
    if libfuzzer "$target" "$kept/$target" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -artifact_prefix="$kept/found/$target-"; then
        grep -E '^(Done|#[0-9]+.*DONE)' "$kept/$target.log" | tail -n 2 | sed "s/^/$target: /"
    else
        tail -n 40 "$kept/$target.log" >&2
        echo "fuzz: $target broke; the input is in $kept/found, all that was said in $kept/$target.log" >&2
        exit 1
    fi
    [ -z "${KEEP:-}" ] || keep "$target"
done
