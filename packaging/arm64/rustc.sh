#!/bin/sh
# rustc.sh ARGUMENT...: Debian's compiler from where setup/arm64.sh unpacked it, with the libraries beside it.
rust=$(dirname "$0")/../../.cache/arm64/rust/usr
exec "$rust/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2" --library-path "$rust/lib/x86_64-linux-gnu" \
    "$rust/bin/rustc" --sysroot "$rust" "$@"
