#!/usr/bin/env bash
# arm64.sh: puts what builds for arm64 on an x86-64 machine into .cache/arm64, which may be deleted whole (1.7 GB):
#   rust  Debian's Rust compiler with the standard library for arm64; not fetched where rustup has that target
#   root  the libraries and GStreamer plug-ins of Debian 11 for arm64, against which it is built and tried
# Only unpacked, never run as a system: no root is needed. Debian 11's glibc, 2.31, is the oldest that a Jetson
# has (JetPack 5), and what is built against it runs with every later one. A second run takes no time.
set -euo pipefail
if [ "$(uname -m)" != x86_64 ]; then
    echo "setup: building for arm64 elsewhere is prepared for x86_64 alone; on an arm64 machine, \`make deb\` does it" >&2
    exit 1
fi
cache=.cache/arm64
target=aarch64-unknown-linux-gnu
root_suite=bullseye
root_packages=libc6-dev,libgstreamer1.0-dev,libgstreamer-plugins-base1.0-dev,libasound2-dev,libgstrtspserver-1.0-dev,\
gstreamer1.0-plugins-base,gstreamer1.0-plugins-good,gstreamer1.0-plugins-bad,gstreamer1.0-plugins-ugly,gstreamer1.0-libav,gstreamer1.0-alsa
rust_suite=forky
rust_packages=rustc,libstd-rust-dev:arm64
# This machine's mirror where it has Debian's, else mmdebstrap's own.
mirror=${TVSL_DEBIAN_MIRROR-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' |
    head -n 1)}

# unpack NAME SUITE ARCHITECTURES PACKAGES: those packages, and what they depend on, as files in .cache/arm64/NAME.
unpack() {
    local out=$cache/$1
    [ "$(cat "$out/.made" 2>/dev/null)" != "$2 $3 $4" ] || return 0
    echo "setup: unpacking $1 for arm64 from Debian's $2 (about a minute)"
    rm -rf "$out" "$out.part"
    mkdir -p "$out.part"
    # A suite that is not released yet may have an index past its date; its signature is checked all the same.
    if ! mmdebstrap --mode=chrootless --variant=extract --architectures="$3" --include="$4" \
        --aptopt='Acquire::Check-Valid-Until "false"' "$2" - ${mirror:+"$mirror"} 2>"$out.log" |
        tar --extract --directory="$out.part" --no-same-owner --exclude='./dev/*'; then
        tail -n 15 "$out.log" >&2
        echo "setup: mmdebstrap failed; all it said is in $out.log. TVSL_DEBIAN_MIRROR names another mirror of Debian." >&2
        exit 1
    fi
    relative "$out.part"
    echo "$2 $3 $4" >"$out.part/.made"
    mv "$out.part" "$out"
}

# Links to absolute paths would lead out of the folder.
relative() {
    find "$1" -type l -lname '/*' -printf '%p\t%l\n' | while IFS=$'\t' read -r link to; do
        ln --symbolic --relative --force --no-dereference "$1$to" "$link"
    done
}

unpack root $root_suite arm64 "$root_packages"
# Where Debian's alternatives would point, and what lies in folders of its own.
libraries=$cache/root/usr/lib/aarch64-linux-gnu
ln --symbolic --relative --force $libraries/{blas,lapack,pulseaudio}/*.so* $libraries

# ONNX Runtime asks what processor this is, and stumbles over the answer of one that is no arm64: a Cortex-A78AE, as in Orin.
processor() {
    mkdir -p "$1/proc" "$1/sys/devices/system/cpu"
    printf '%s\n' 'processor : 0' 'Features : fp asimd aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp' \
        'CPU implementer : 0x41' 'CPU architecture: 8' 'CPU variant : 0x0' 'CPU part : 0xd42' 'CPU revision : 1' >"$1/proc/cpuinfo"
    for name in possible present kernel_max; do echo 0 >"$1/sys/devices/system/cpu/$name"; done
}
processor $cache/root

# GdkPixbuf finds its loaders in a list that is made when a package is installed.
loaders=$libraries/gdk-pixbuf-2.0
if [ ! -f $loaders/2.10.0/loaders.cache ]; then
    packaging/arm64/run.sh $loaders/gdk-pixbuf-query-loaders >"$cache/loaders.part"
    mv "$cache/loaders.part" $loaders/2.10.0/loaders.cache
fi

if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target" ]; then
    unpack rust $rust_suite amd64,arm64 "$rust_packages"
    # Only the compiler is wanted of it.
    rm -rf $cache/rust/usr/{share,include,libexec} $cache/rust/usr/lib/gcc
fi
