#!/usr/bin/env bash
# kernel.sh write|check: makes src/engine/tensorrt/kernels.ptx of kernels.cu, or checks that it is what NVIDIA's own compiler makes of
# it and that their assemblers take it for every GPU that is served. Needs no GPU; fetches 170 MB once. x86-64 only.
set -euo pipefail
here=$(dirname "$0")
out=.cache/cuda-compiler

if ! cmp --silent "$here/kernel.txt" "$out/fetched.txt"; then
    "$here/packages.sh" fetch
    mkdir -p "$out"
    wheels=$(mktemp --directory)
    trap 'rm -r "$wheels"' EXIT
    echo "setup: fetching NVIDIA's CUDA compiler from the Python package index"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --platform manylinux2014_x86_64 --require-hashes --requirement "$here/kernel.txt" --dest "$wheels"
    for wheel in "$wheels"/*.whl; do
        folder=$out/$(basename "$wheel" | cut -d- -f1,2)
        python3 -m zipfile --extract "$wheel" "$folder"
    done
    cp "$here/kernel.txt" "$out/fetched.txt"
fi
python3 "$here/kernel.py" "$1" "$out"
