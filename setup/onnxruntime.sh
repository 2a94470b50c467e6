#!/usr/bin/env bash
# onnxruntime.sh [MACHINE]: puts libonnxruntime.so (35 MB, MIT) with its licence into .cache/onnxruntime, where the
# program looks for it; that of another machine (x86_64, aarch64) into .cache/onnxruntime-MACHINE, for packages.
# Version and checksums are in onnxruntime.txt. Runs again only when that file changes.
set -euo pipefail
here=$(dirname "$0")
machine=${1:-$(uname -m)}
out=.cache/onnxruntime
[ "$machine" = "$(uname -m)" ] || out+=-$machine

if [ -f "$out/libonnxruntime.so" ] && cmp --silent "$here/onnxruntime.txt" "$out/fetched.txt"; then
    exit 0
fi
case $machine in
x86_64 | aarch64) ;;
*)
    echo "setup: no ONNX Runtime is served for $machine; name a libonnxruntime.so of your own as engine.library" >&2
    exit 1
    ;;
esac

"$here/packages.sh" fetch
mkdir -p "$out"
wheels=$(mktemp --directory)
trap 'rm -r "$wheels"' EXIT
echo "setup: fetching ONNX Runtime from the Python package index"
# The Python version only picks one of several wheels that hold the same library.
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --platform "manylinux_2_28_$machine" --implementation cp --python-version 3.11 \
    --require-hashes --requirement "$here/onnxruntime.txt" --dest "$wheels"
python3 - "$wheels"/*.whl "$out" <<'PYTHON'
import pathlib, sys, zipfile
wheel, out = zipfile.ZipFile(sys.argv[1]), pathlib.Path(sys.argv[2])
library = next(n for n in wheel.namelist() if n.startswith("onnxruntime/capi/libonnxruntime.so."))
names = {library: "libonnxruntime.so", "onnxruntime/LICENSE": "LICENSE",
         "onnxruntime/ThirdPartyNotices.txt": "ThirdPartyNotices.txt"}
for inside, name in names.items():
    part = out / (name + ".part")
    part.write_bytes(wheel.read(inside))
    part.replace(out / name)
PYTHON
cp "$here/onnxruntime.txt" "$out/fetched.txt"
