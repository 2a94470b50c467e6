#!/usr/bin/env bash
# cargo.sh ARGUMENT...: cargo for arm64, with what setup/arm64.sh unpacked; programs run under qemu-user.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=aarch64-unknown-linux-gnu
cache=$PWD/.cache/arm64
root=$cache/root

export CARGO_BUILD_TARGET=$target
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=$PWD/packaging/arm64/gcc.sh
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C link-arg=--sysroot=$root"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER=$PWD/packaging/arm64/run.sh
export CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc
export CFLAGS_aarch64_unknown_linux_gnu=--sysroot=$root
export PKG_CONFIG_ALLOW_CROSS=1 PKG_CONFIG_SYSROOT_DIR=$root PKG_CONFIG_PATH=
export PKG_CONFIG_LIBDIR=$root/usr/lib/aarch64-linux-gnu/pkgconfig:$root/usr/share/pkgconfig
[ -d "$(rustc --print sysroot)/lib/rustlib/$target" ] || export RUSTC=$PWD/packaging/arm64/rustc.sh

exec cargo "$@"
