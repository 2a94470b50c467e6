#!/usr/bin/env bash
# tensorrt_rtx.sh: puts the real TensorRT for RTX (170 MB, NVIDIA's licence: for tests, not to be passed on) into
# .cache/tensorrt-rtx, for `make test-rtx`. Its builder and ONNX parser need no GPU. x86-64 only.
set -euo pipefail
here=$(dirname "$0")
out=.cache/tensorrt-rtx

if [ -f "$out/libtensorrt_rtx.so.1" ] && cmp --silent "$here/tensorrt_rtx.txt" "$out/fetched.txt"; then
    exit 0
fi
"$here/packages.sh" fetch
mkdir -p "$out"
wheels=$(mktemp --directory)
trap 'rm -r "$wheels"' EXIT
echo "setup: fetching TensorRT for RTX from the Python package index"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --platform manylinux_2_28_x86_64 --require-hashes --requirement "$here/tensorrt_rtx.txt" --dest "$wheels"
python3 - "$wheels"/*.whl "$out" <<'PYTHON'
import pathlib, re, sys, zipfile
wheel, out = zipfile.ZipFile(sys.argv[1]), pathlib.Path(sys.argv[2])
for inside in wheel.namelist():
    # libtensorrt_rtx.so.1.7.1 is loaded as libtensorrt_rtx.so.1, and so on.
    named = re.search(r"/(lib(?:tensorrt_rtx|tensorrt_onnxparser_rtx|cudart)\.so\.\d+)\.", inside)
    if named:
        part = out / (named[1] + ".part")
        part.write_bytes(wheel.read(inside))
        part.replace(out / named[1])
PYTHON
cp "$here/tensorrt_rtx.txt" "$out/fetched.txt"
