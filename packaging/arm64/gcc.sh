#!/bin/sh
# gcc.sh ARGUMENT...: the cross linker, with the root's libgcc before its own, which asks for a later glibc. By this
# name cargo knows what kind of linker it is.
root=$(cd "$(dirname "$0")/../.." && pwd)/.cache/arm64/root
exec aarch64-linux-gnu-gcc -L"$root/lib/aarch64-linux-gnu" "$@"
