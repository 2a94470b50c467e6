#!/bin/sh
# Compares slots.def with real TensorRT headers: headers.sh DIR [CUDA_INCLUDE_DIR]
# (on a Jetson: headers.sh /usr/include/aarch64-linux-gnu). Prints every slot and
# every enumerator's value that differs; needs c++.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
headers=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

version() { sed -nE "s/^#define (TRT|NV_TENSORRT|TRT_RTX)_$1(_ENTERPRISE|_RTX)? +([0-9]+).*/\3/p" "$headers/NvInferVersion.h" | head -n 1; }
major=$(version MAJOR)
minor=$(version MINOR)
case $major in 8) column=3 ;; 10) column=4 ;; *) column=5 ;; esac

skipped='^$'
[ -f "$headers/NvOnnxParser.h" ] || { skipped="$skipped|Parser"; echo "not compared: the ONNX parser, for $headers/NvOnnxParser.h is not there"; }
[ "$major.$minor" != 8.5 ] || { skipped="$skipped|setBuilderOptimizationLevel|kREVERSE_SEQUENCE|kNORMALIZATION"
    echo "not compared: setBuilderOptimizationLevel, kREVERSE_SEQUENCE and kNORMALIZATION, which 8.5 lacks"; }

# NvInfer.h needs no more of CUDA than these two names.
if [ $# -lt 2 ]; then
    echo 'typedef struct CUstream_st* cudaStream_t; typedef struct CUevent_st* cudaEvent_t;' > "$work/cuda_runtime_api.h"
fi

rows() { # of one kind: SLOT or VALUE
    sed -nE "s/^$1\\((.*)\\)\$/\\1/p" "$here/slots.def" | sed -E 's/RTX_ONLY\((.*)\)/'"$([ "$major" = 1 ] && echo '\1' || echo -1)"'/' |
        tr -d ' ' | grep -vE "$skipped"
}
{
    rows SLOT | awk -F, -v column="$column" '
        $column < 0 { next }
        $2 == "delete" {
          classes = $1 == "Handle" ? "Runtime CudaEngine EngineInspector ExecutionContext Builder BuilderConfig NetworkDefinition TimingCache HostMemory" : $1
          count = split(classes, made, " ")
          for (n = 1; n <= count; n++) {
            space = $1 == "Handle" ? "nvinfer1" : "nvonnxparser"
            printf "    compare(\"delete %s\", deleted<%s::I%s>(), %s);\n", made[n], space, made[n], $column }
          next }
        { class = $1 ~ /^Parser/ ? "nvonnxparser::I" $1 : "V" $1
          slot = $2 ~ /^(deserializeCudaEngine|createExecutionContext)$/ ? $2 : "slot"
          printf "    compare(\"%s.%s\", %s(&%s::%s), %s);\n", $1, $2, slot, class, $2, $column }'
    rows VALUE | awk -F, -v column="$column" '
        $column < 0 { next }
        { printf "    compare(\"%s.%s\", static_cast<int>(%s::%s), %s, \"value\");\n", $1, $2, $1, $2, $column }'
} > "$work/rows.inc"

c++ -std=c++17 -w -DROWS="$(wc -l < "$work/rows.inc")" -I"$work" ${2:+-I"$2"} -I"$headers" "$here/headers.cpp" -o "$work/compare"
"$work/compare"
