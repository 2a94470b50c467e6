#!/bin/sh
# run.sh PROGRAM ARGUMENT...: a program for arm64 under qemu-user, with the libraries that setup/arm64.sh unpacked.
here=$(cd "$(dirname "$0")/../.." && pwd)
root=$here/.cache/arm64/root
libraries=$root/usr/lib/aarch64-linux-gnu
export QEMU_LD_PREFIX="$root"
export GST_PLUGIN_SYSTEM_PATH_1_0="$libraries/gstreamer-1.0" GST_PLUGIN_SCANNER_1_0=/nonexistent
export GST_REGISTRY_1_0="$here/.cache/arm64/registry.bin"
export TVSL_ONNXRUNTIME="${TVSL_ONNXRUNTIME:-$here/.cache/onnxruntime-aarch64/libonnxruntime.so}"
# Or the program would begin anew, outside of qemu.
export ORT_DISABLE_TELEMETRY=1 MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=131072 GST_V4L2_FORCE_DRAIN=1
export PATH="$here/packaging/arm64/bin:$PATH"
exec qemu-aarch64-static "$@"
