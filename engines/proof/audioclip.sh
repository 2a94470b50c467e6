#!/usr/bin/env bash
# How fast AudioCLIP's encoders are on this machine's CPU: random weights of the published shapes, imported and run by the daemon.
#
#   proof/audioclip.sh [TVSL]      prints `tvsl bench` of target/release/tvsl; ten minutes, to be left alone, on two cores
#
# live_rate is analysed frames in a second of the clip's own time, with the audio encoder every 0.5 s: it is held to GOAL, and the
# script fails if it is missed. peak_rss is to be held against MemoryMax in systemd/tvsl.service. The targets beside the figures are
# the default model's.
set -euo pipefail
program=$(realpath "${1:-$(dirname "$0")/../../target/release/tvsl}")
cd "$(dirname "$0")/.."
work=../.cache/audioclip python=../.cache/engines-venv/bin/python GOAL=5

mkdir -p $work
[ -f $work/random.pt ] || $python proof/audioclip.py $work/random.pt
[ -f $work/model/manifest.toml ] || $python -m tvsl_engines import-audioclip $work/random.pt --out $work/model
cd ..
"$program" bench --model .cache/audioclip/model --rounds 1 | tee .cache/audioclip/bench.txt
awk -v goal=$GOAL '$1 == "live_rate" { rate = $2 }
END {
    reached = rate + 0 >= goal
    printf "AudioCLIP: %s analysed frames a second in real time, goal %s: %s\n", rate, goal, reached ? "pass" : "MISS"
    exit !reached
}' .cache/audioclip/bench.txt
