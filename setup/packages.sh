#!/usr/bin/env bash
# packages.sh GROUP...: installs the Debian/Ubuntu packages of the groups that are missing; without any missing,
# it needs no root and says nothing.
set -euo pipefail

build="gcc libc6-dev pkg-config libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev libasound2-dev"
# h264parse is in "bad", the decoders of H.264 and AAC are in "libav".
run="gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-libav gstreamer1.0-alsa"
demo="mosquitto"
# Beside the broker of the demonstration, the tests run subscribers, an RTSP server, a sound card of their own and
# a system bus, and `systemd-analyze verify`.
test="g++ mosquitto-clients openssl dbus libgstrtspserver-1.0-dev gstreamer1.0-plugins-ugly gstreamer1.0-rtsp gstreamer1.0-tools alsa-utils procps systemd python3 python3-cbor2 python3-jinja2 python3-jsonschema python3-paho-mqtt python3-prometheus-client python3-yaml"
# Watches memory while tests run.
memory="valgrind"
# Builds the clustered broker of `make test-cluster`.
cluster="gcc protobuf-compiler"
# libFuzzer is C++.
fuzz="g++"
# Makes the Debian package, and tries it in a clean root.
package="dpkg-dev binutils git python3"
clean_root="mmdebstrap"
# Builds for arm64 on an x86-64 machine, and runs that.
cross="gcc-aarch64-linux-gnu libc6-dev-arm64-cross mmdebstrap debian-archive-keyring qemu-user-static"
# A virtual machine with devices to unplug.
machine="qemu-system-x86 mmdebstrap e2fsprogs python3"
# Fetches ONNX Runtime from the Python package index.
fetch="python3 python3-pip"
# Builds the default model.
venv="python3-venv"

wanted=()
for group in "$@"; do
    read -ra names <<<"${!group}"
    wanted+=("${names[@]}")
done

if ! command -v dpkg-query >/dev/null; then
    echo "setup: this is neither Debian nor Ubuntu. Install what these packages hold, then set TVSL_NO_PACKAGES=1:" >&2
    echo "  ${wanted[*]}" >&2
    [ -n "${TVSL_NO_PACKAGES:-}" ] && exit 0
    exit 1
fi

missing=()
for package in "${wanted[@]}"; do
    state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

echo "setup: installing with apt-get what is missing: ${missing[*]}"
by_hand="apt-get update && apt-get install --no-install-recommends ${missing[*]}"
sudo=()
if [ "$(id -u)" -ne 0 ]; then
    sudo=(sudo)
    if ! command -v sudo >/dev/null || ! sudo --validate; then
        echo "setup: this is not root and may not use sudo. As root, run this, then try again:" >&2
        echo "  $by_hand" >&2
        exit 1
    fi
fi

log=.cache/packages.log
mkdir -p .cache
install() {
    "${sudo[@]}" apt-get update --quiet=2 || return
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --quiet=2 --no-install-recommends "${missing[@]}"
}
if ! install >"$log" 2>&1 </dev/null; then
    tail -n 15 "$log" >&2
    echo "setup: apt-get failed; all it said is in $log. (Ubuntu keeps some in its component \"universe\".) By hand:" >&2
    echo "  $by_hand" >&2
    exit 1
fi
case " ${missing[*]} " in *" mosquitto "*)
    echo "setup: the package mosquitto also starts a broker of its own, on 127.0.0.1:1883, which tvsl's demo and tests"
    echo "       do not use; \`systemctl disable --now mosquitto\` stops it."
    ;;
esac
