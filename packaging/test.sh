#!/usr/bin/env bash
# test.sh PROGRAM: packages the program twice and takes it through its life in a clean root: install, check, upgrade to a
# version with another configuration file, over that of before as it came and edited, remove, purge, all from the
# upgrades on with a systemd that refuses all it is asked for. Needs root and
# mmdebstrap; the mirror is this machine's. A program of another architecture is installed as such, beside a system of this
# machine's, and runs under qemu-user.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp --directory --tmpdir tvsl-deb.XXXXXX)
root=$work/root
trap 'umount "$root/proc" 2>/dev/null; rm -rf --one-file-system "$work"' EXIT
say() { echo "test-deb: $*"; }
fail() { say "FAILED: $*" >&2; exit 1; }
inside() { chroot "$root" env LC_ALL=C DEBIAN_FRONTEND=noninteractive PATH=/stand-in:/usr/sbin:/usr/bin:/sbin:/bin "$@"; }
tvsl() { inside "${emulator[@]}" /usr/bin/tvsl "$@"; }

packaging/build.sh "$1" "$work/first" 0.1.0~test1
packaging/build.sh "$1" "$work/again" 0.1.0~test1 >/dev/null
cmp "$work"/first/*.deb "$work"/again/*.deb || fail "two builds differ"
# A later version, whose configuration file does not say what was said before.
dpkg-deb --raw-extract "$work"/first/*.deb "$work/later"
was='# port = 1883' is='# port = 8883'
sed --in-place 's/^Version: .*/Version: 0.1.0~test2/' "$work/later/DEBIAN/control"
sed --in-place "s/^$was\$/$is/" "$work/later/etc/tvsl/tvsl.toml"
grep --quiet --line-regexp "$is" "$work/later/etc/tvsl/tvsl.toml" || fail "the configuration file has no line '$was' to change"
(cd "$work/later" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
dpkg-deb --root-owner-group -Zgzip -z1 --build "$work/later" "$work/second.deb" >/dev/null
(cd "$work" && sha256sum first/*.deb && ls -l --block-size=M first/*.deb)

say "a clean root with what the package depends on"
sources=(/etc/apt/sources.list /etc/apt/sources.list.d/*.sources)
present=()
for file in "${sources[@]}"; do [ -s "$file" ] && present+=("$file"); done
depends=$(dpkg-deb --field "$work"/first/*.deb Depends | sed 's/ *([^)]*)//g; s/ *|[^,]*//g; s/ //g')
own=$(dpkg --print-architecture)
architecture=$(dpkg-deb --field "$work"/first/*.deb Architecture)
emulator=()
if [ "$architecture" != "$own" ]; then
    # Or the program would begin anew, outside of it.
    emulator=(/qemu -E ORT_DISABLE_TELEMETRY=1,MALLOC_ARENA_MAX=2,MALLOC_MMAP_THRESHOLD_=131072,GST_V4L2_FORCE_DRAIN=1)
    # Certificates are of no architecture.
    depends=$(sed "s/,/:$architecture,/g; s/\$/:$architecture/; s/ca-certificates:$architecture/ca-certificates/" <<<"$depends")
fi
mmdebstrap --quiet --variant=apt --architectures="$own${emulator:+,$architecture}" --include="$depends" "" "$root" "${present[@]}"
[ ${#emulator[@]} -eq 0 ] || cp "$(command -v qemu-aarch64-static)" "$root/qemu"
cp "$work"/first/*.deb "$root/tmp/first.deb"
cp "$work/second.deb" "$root/tmp/second.deb"
# ONNX Runtime looks there for the files that it opens.
mount -t proc proc "$root/proc"

say "install"
inside dpkg --install /tmp/first.deb
tvsl check --model
tvsl check | grep --quiet "/etc/tvsl/tvsl.toml" || fail "the shipped configuration is not used"
grep --quiet '"bom-ref": "pkg:cargo/gstreamer@' "$root/usr/share/doc/tvsl/sbom.cdx.json" || fail "the bill of materials names no crate"
zcat "$root/usr/share/doc/tvsl/licences.txt.gz" | grep "^gstreamer .*(MIT OR Apache-2.0)" >/dev/null || fail "no licence of a crate is in the package"
for file in install.md mqtt.md metrics.md fleet.md reliability.md SECURITY.md; do
    [ -s "$root/usr/share/doc/tvsl/$file" ] || fail "$file is not in the package"
done
inside dpkg --verify tvsl | grep . && fail "files differ from the package"
[ ! -e "$root/etc/systemd/system/multi-user.target.wants/tvsl.service" ] || fail "it was enabled without being asked"

# As when the service refuses its configuration: maintainer scripts that mind leave a package that apt cannot mend.
mkdir -p "$root/run/systemd/system" "$root/stand-in"
printf '#!/bin/sh\necho "$*" >>/stand-in/asked\nexit 1\n' >"$root/stand-in/systemctl"
chmod 755 "$root/stand-in/systemctl"
# asked WORDS...: systemctl was asked for just these, one after the other, since the last time.
asked() {
    printf '%s\n' "$@" | diff "$root/stand-in/asked" - || fail "systemctl was asked for something else"
    rm "$root/stand-in/asked"
}
settled() { [ "$(inside dpkg-query --show --showformat '${db:Status-Abbrev}' tvsl)" = "$1" ] || fail "dpkg does not count it as $1"; }

# As `systemctl enable` leaves it, for the service and for an instance.
wants=$root/etc/systemd/system/multi-user.target.wants
mkdir -p "$wants"
ln -s /usr/lib/systemd/system/tvsl.service "$wants/tvsl.service"
ln -s /usr/lib/systemd/system/tvsl@.service "$wants/tvsl@hall.service"
# upgraded OPTIONS...: installs the later version, which nobody is asked about.
upgraded() {
    inside dpkg "$@" --install /tmp/second.deb </dev/null >"$work/said" 2>&1 || fail "$(cat "$work/said")"
    settled "ii "
    asked daemon-reload daemon-reload "$restart"
    [ "$(inside dpkg-query --show --showformat '${Version}' tvsl)" = 0.1.0~test2 ] || fail "it is not the later version"
    [ -L "$wants/tvsl.service" ] && [ -L "$wants/tvsl@hall.service" ] || fail "the upgrade left it not to be started at boot"
}
restart="--no-block try-restart tvsl.service tvsl@*.service"

say "upgrade over the configuration file as it came"
upgraded
grep --quiet --line-regexp "$is" "$root/etc/tvsl/tvsl.toml" || fail "the later version's configuration file was not taken over"
grep "Configuration file" "$work/said" && fail "the user was asked about a file that he never edited"
inside dpkg --force-downgrade --install /tmp/first.deb
grep --quiet --line-regexp "$was" "$root/etc/tvsl/tvsl.toml" || fail "the version before did not bring its file back"
rm "$root/stand-in/asked"

say "upgrade over an edited configuration"
printf 'device.name = "kept"\n' >"$root/etc/tvsl/tvsl.toml"
upgraded --force-confold
grep --quiet kept "$root/etc/tvsl/tvsl.toml" || fail "the user's configuration was overwritten"
grep --quiet --line-regexp "$is" "$root/etc/tvsl/tvsl.toml.dpkg-dist" || fail "the later version's file is not beside it"
tvsl check | grep --quiet kept || fail "the user's configuration is not used"
inside dpkg --install /tmp/second.deb
rm "$root/stand-in/asked"

say "remove"
mkdir -p "$root"/var/lib/private/tvsl{,-hall}
inside dpkg --remove tvsl
settled "rc "
asked "stop tvsl.service tvsl@*.service" daemon-reload
find "$root/etc/systemd" -name 'tvsl*' | grep . && fail "removing left it to be started at boot"
[ ! -e "$root/usr/bin/tvsl" ] || fail "the program is still there"
grep --quiet kept "$root/etc/tvsl/tvsl.toml" || fail "removing took the configuration"
[ -d "$root/var/lib/private/tvsl" ] || fail "removing took the state"

say "install again, and purge"
inside dpkg --install /tmp/second.deb
asked daemon-reload "$restart"
grep --quiet kept "$root/etc/tvsl/tvsl.toml" || fail "the configuration did not come back"
inside dpkg --purge tvsl
asked "stop tvsl.service tvsl@*.service" daemon-reload daemon-reload
inside find / -xdev -path /tmp -prune -o -name '*tvsl*' -print | grep . && fail "purging left something"
inside dpkg --purge tvsl 2>/dev/null
say "ok"
