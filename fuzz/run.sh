#!/usr/bin/env bash
# run.sh SECONDS [TARGET...]: libFuzzer on each target (all, if none is named) for so long, guided by coverage and watched by
# AddressSanitizer. What it finds worth keeping lies in .cache/fuzz/TARGET and is where the next run begins; an input that
# breaks something is kept in .cache/fuzz/found and named.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=$1 kept=$PWD/.cache/fuzz
shift
[ $# -gt 0 ] || set -- configuration manifest scenes wish request

cargo=${CARGO:-cargo} tool=.cache/cargo-fuzz
[ -x "$tool/bin/cargo-fuzz" ] || $cargo install --quiet --locked --root "$tool" cargo-fuzz@0.13.2
# The compiler is the stable one; this lets it take the sanitizer's flags.
export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$PWD/target/fuzz
# The versions of the program's own dependencies.
cp Cargo.lock fuzz/Cargo.lock

# seed TARGET: good inputs to begin with.
seed() {
    case $1 in
    configuration) cp config/tvsl.toml "$kept/$1/shipped" ;;
    manifest) cp engines/default/manifest.toml "$kept/$1/default" && cp tests/data/tiny/manifest.toml "$kept/$1/tiny" ;;
    scenes) echo '{"scenes": [{"image": "a.png", "audio": "a.wav", "kind": "single", "sources": [{"class": "red", "boxes": [[0.1, 0.1, 0.5, 0.5]], "half": "left"}], "silent": ["blue"]}]}' >"$kept/$1/one" ;;
    wish) printf '%s' '{"dog": {"p": 0.5, "p_v": 0.2}} ["dog"] true -1.5' >"$kept/$1/some" ;;
    request) printf 'GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n' >"$kept/$1/metrics" ;;
    esac
}

for target in "$@"; do
    log=$kept/$target.log
    "$tool/bin/cargo-fuzz" build --fuzz-dir fuzz "$target"
    mkdir -p "$kept/$target" "$kept/found"
    seed "$target"
    # Leaks are not looked for: GStreamer keeps what it loaded once.
    if ASAN_OPTIONS=detect_leaks=0 "$tool/bin/cargo-fuzz" run --fuzz-dir fuzz "$target" "$kept/$target" -- \
        -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -artifact_prefix="$kept/found/$target-" >"$log" 2>&1; then
        grep -E '^(Done|#[0-9]+.*DONE)' "$log" | tail -n 2 | sed "s/^/$target: /"
    else
        tail -n 40 "$log" >&2
        echo "fuzz: $target broke; the input is in $kept/found, all that was said in $log" >&2
        exit 1
    fi
done
