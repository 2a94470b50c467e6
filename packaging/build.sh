#!/usr/bin/env bash
# build.sh PROGRAM FOLDER [VERSION]: the Debian package of a built program, with the default model and ONNX Runtime, for
# the architecture that the program is of (amd64, or arm64 with what setup/arm64.sh unpacked).
# The same inputs give the same package, to the last byte.
set -euo pipefail
cd "$(dirname "$0")/.."
program=$1 out=$2
version=${3:-$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)}
case $(LC_ALL=C readelf --file-header "$program") in
*X86-64*) architecture=amd64 machine=x86_64 ;;
*AArch64*) architecture=arm64 machine=aarch64 ;;
*) echo "build.sh: $program is for neither amd64 nor arm64" >&2 && exit 1 ;;
esac
run=() onnxruntime=.cache/onnxruntime
if [ "$architecture" != "$(dpkg --print-architecture)" ]; then
    run=("packaging/$architecture/run.sh") onnxruntime+=-$machine
fi
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

work=$(mktemp --directory)
trap 'rm -r "$work"' EXIT
root=$work/root
put() { install -D --mode="$1" --target-directory="$root/$2" "${@:3}"; }

put 755 usr/bin "$program"
"$machine-linux-gnu-strip" --strip-unneeded "$root/usr/bin/tvsl"
put 644 usr/lib/tvsl "$onnxruntime"/libonnxruntime.so
put 644 usr/lib/systemd/system systemd/tvsl.service systemd/tvsl@.service
put 644 etc/tvsl packaging/tvsl.toml
find engines/default -maxdepth 1 -type f ! -name README.md -exec \
    install -D --mode=644 --target-directory="$root/usr/share/tvsl/engines/default" {} +
put 644 usr/share/doc/tvsl README.md NOTICE SECURITY.md config/tvsl.toml docs/{install,mqtt,metrics,fleet,reliability}.md
put 644 usr/share/doc/tvsl/onnxruntime "$onnxruntime"/LICENSE "$onnxruntime"/ThirdPartyNotices.txt
install -D --mode=644 LICENSE "$root/usr/share/doc/tvsl/copyright"

# What it is made of, and by whose leave.
python3 packaging/sbom.py "$root" "$architecture" >"$work/sbom.cdx.json"
python3 packaging/licences.py "$architecture" >"$work/licences.txt"
gzip --no-name --best "$work/licences.txt"
put 644 usr/share/doc/tvsl "$work/sbom.cdx.json" "$work/licences.txt.gz"

# The program says itself what shells and `man` can know of it.
"${run[@]}" "$program" man --out "$work/man"
gzip --no-name --best "$work/man"/*.1
put 644 usr/share/man/man1 "$work/man"/*.1.gz
for shell in bash zsh fish; do "${run[@]}" "$program" completions $shell >"$work/$shell"; done
install -D --mode=644 "$work/bash" "$root/usr/share/bash-completion/completions/tvsl"
install -D --mode=644 "$work/zsh" "$root/usr/share/zsh/vendor-completions/_tvsl"
install -D --mode=644 "$work/fish" "$root/usr/share/fish/vendor_completions.d/tvsl.fish"
put 755 DEBIAN packaging/postinst packaging/prerm packaging/postrm
echo /etc/tvsl/tvsl.toml >"$root/DEBIAN/conffiles"

libraries=$(packaging/libraries.sh "$architecture" "$root/usr/bin/tvsl" "$root/usr/lib/tvsl/libonnxruntime.so")
cat >"$root/DEBIAN/control" <<CONTROL
Package: tvsl
Version: $version
Architecture: $architecture
Maintainer: The tvsl maintainers <maintainers@localhost>
Section: misc
Priority: optional
Installed-Size: $(du --summarize --apparent-size --block-size=1024 --exclude=DEBIAN "$root" | cut --fields=1)
Depends: $libraries, gstreamer1.0-plugins-base, gstreamer1.0-plugins-good, ca-certificates
Recommends: gstreamer1.0-plugins-bad, gstreamer1.0-libav, gstreamer1.0-alsa, procps
Description: names what is heard and seen, over MQTT
 A service that hears and sees: it names what is sounding in the camera's
 picture, says where it is, and publishes that over MQTT. With its default
 model and ONNX Runtime; no GPU is needed.
CONTROL
(cd "$root" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
find "$root" -type d -exec chmod 755 {} +
mkdir -p "$out"
dpkg-deb --root-owner-group --build "$root" "$out/tvsl_${version}_$architecture.deb"
