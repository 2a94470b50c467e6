#!/usr/bin/env bash
# Does it learn? Trains three methods over two pairs of encoders, on clips composed here, and prints two tables for each pair.
#
#   proof/run.sh [zero-shot] [default]      both without arguments; an hour and a half of one core, and it goes on where it stopped
#
# With `default`, a built program and the held-out scenes of `make eval`, its trained heads are held against those that ship as well.
#
# TESTS: so many lines of each test, 300 if not given. WORK and CLIPS: folders in place of .cache/proof and .cache/clips. TVSL: the program,
# target/release/tvsl if not given. SCENES: in place of .cache/scenes/heldout/scenes.json.
# zero-shot: the default model's encoders with nothing fitted to its classes (zero_shot.py); default: the default model's own.
set -euo pipefail
cd "$(dirname "$0")/.."
work=${WORK:-../.cache/proof} clips=${CLIPS:-../.cache/clips} python=../.cache/engines-venv/bin/python
tvsl=${TVSL:-../target/release/tvsl} scenes=${SCENES:-../.cache/scenes/heldout/scenes.json}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

# The stages that ship were fitted to the photographs and recordings that `clips.py` trains on: neither they nor the trained ones know these.
against_shipped() {
    if ! [ -x "$tvsl" ] || ! [ -f "$scenes" ]; then
        echo "the heads that ship: not compared, for want of $tvsl (make build) or $scenes (make eval)"
        return
    fi
    $python -m tvsl_engines deploy --encoders default --weights "$work/default-trained/tvsl-two-stage/weights.pt" --out "$work/default-model"
    "$tvsl" eval --json --model "$work/default-model" "$scenes" > "$work/trained.json"
    "$tvsl" eval --json --model default "$scenes" > "$work/shipped.json"
    $python proof/shipped.py trained="$work/trained.json" shipped="$work/shipped.json" | tee "$work/shipped.md"
}

mkdir -p "$work"
[ "$clips/boxes.json" -nt default/build/clips.py ] || $python default/build/clips.py --out "$clips"
[ -f "$work/zero-shot/manifest.toml" ] || $python proof/zero_shot.py --out "$work/zero-shot"
[ $# -gt 0 ] || set -- zero-shot default
for name in "$@"; do
    encoders=$work/zero-shot
    [ "$name" = zero-shot ] || encoders=default
    { cat proof/train.toml; printf '%s = "%s"\n' encoders "$encoders" data "$clips" split "$clips/train.txt" \
        out "$work/trained" cache "$work/features"; } > "$work/$name.toml"
    $python -m tvsl_engines train --config "$work/$name.toml" --out "$work/$name-trained" \
        --method tvsl-two-stage --method tvsl-one-stage --method avgn
    echo "encoders: $name"
    for test in single duet; do head -n "${TESTS:-300}" "$clips/$test.csv" > "$work/$test.csv"; done
    judged=(--encoders "$encoders" --data "$clips" --boxes "$clips/boxes.json" --test "$work/single.csv" --test "$work/duet.csv"
        --trained "$work/$name-trained")
    $python -m tvsl_engines table "${judged[@]}" | tee "$work/$name.md"
    $python proof/other_sounds.py "${judged[@]}" | tee "$work/$name-sounds.md"
    if [ "$name" = default ]; then against_shipped; fi
done
