#!/usr/bin/env bash
# libraries.sh ARCHITECTURE FILE...: what a package with these programs and libraries depends on, for its control file.
# On the architecture itself dpkg-shlibdeps says it, with the versions that the symbols need. It knows only what is
# installed, so for another the packages are named here; a library that none of them holds is an error, and so is a
# glibc later than that of the oldest system served: Ubuntu 22.04, or for another architecture the oldest Jetson.
# TVSL_GLIBC=VERSION serves none that has an earlier one.
set -euo pipefail
architecture=$1
shift
native=
[ "$architecture" != "$(dpkg --print-architecture)" ] || native=yes
latest=${TVSL_GLIBC:-${native:+2.35}}
latest=${latest:-2.31}

glibc=$(LC_ALL=C readelf --version-info --wide "$@" | grep --only-matching 'GLIBC_[0-9.]*' | sort --version-sort | tail -n 1)
glibc=${glibc#GLIBC_}
if [ "$(printf '%s\n' "$glibc" "$latest" | sort --version-sort | tail -n 1)" != "$latest" ]; then
    echo "libraries.sh: a symbol of glibc $glibc is used, and $latest is the latest allowed: the package would not install on the oldest" \
        "systems that it is for (docs/install.md). Build it on one of them, or for later ones alone: TVSL_GLIBC=$glibc" >&2
    exit 1
fi

if [ "$native" ]; then
    work=$(mktemp --directory)
    trap 'rm -r "$work"' EXIT
    mkdir "$work/debian"
    printf 'Source: tvsl\n\nPackage: tvsl\nArchitecture: any\n' >"$work/debian/control"
    libraries=$(cd "$work" && dpkg-shlibdeps -O --warnings=0 "${@/#/-e}")
    echo "${libraries#shlibs:Depends=}"
    exit
fi

LC_ALL=C readelf --dynamic --wide "$@" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort --unique | while read -r library; do
    case $library in
    libasound.so.2) echo libasound2 ;;
    libgstapp-1.0.so.0 | libgstvideo-1.0.so.0) echo "libgstreamer-plugins-base1.0-0 (>= 1.14)" ;;
    libgstreamer-1.0.so.0 | libgstbase-1.0.so.0) echo "libgstreamer1.0-0 (>= 1.14)" ;;
    libglib-2.0.so.0 | libgobject-2.0.so.0 | libgio-2.0.so.0) echo "libglib2.0-0 (>= 2.56)" ;;
    libgcc_s.so.1) echo libgcc-s1 ;;
    libstdc++.so.6) echo libstdc++6 ;;
    libc.so.6 | libm.so.6 | libdl.so.2 | libpthread.so.0 | librt.so.1 | ld-linux-aarch64.so.1) echo "libc6 (>= $glibc)" ;;
    *) echo "libraries.sh: no package is named for $library" >&2 && exit 1 ;;
    esac
done | sort --unique | sed ':all; N; s/\n/, /; b all'
