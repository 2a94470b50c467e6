#!/usr/bin/env bash
# image.sh FOLDER: a bootable Debian 12 for `make test-vm` in FOLDER: kernel, initrd, and a disk with systemd, mosquitto
# and what the package depends on. At its start it unpacks its second disk, a tar, and runs guest.sh from it.
# Needs root; the mirror is this machine's. Made once, and again when this file changes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
if [ -f "$out/disk" ] && cmp --silent "$here/image.sh" "$out/made-by"; then exit 0; fi

work=$(mktemp --directory --tmpdir tvsl-vm.XXXXXX)
trap 'rm -rf --one-file-system "$work"' EXIT
root=$work/root
echo "vm: a Debian for the virtual machine (once, some minutes)"
present=()
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.sources; do [ -s "$file" ] && present+=("$file"); done
system=systemd-sysv,libnss-systemd,udev,dbus,kmod,linux-image-amd64,procps,mosquitto,mosquitto-clients,alsa-utils,v4l-utils
needs=libasound2,libgstreamer1.0-0,libgstreamer-plugins-base1.0-0,gstreamer1.0-plugins-base,gstreamer1.0-plugins-good
mmdebstrap --quiet --variant=minbase --include="$system,$needs,ca-certificates,libstdc++6" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' "" "$root" "${present[@]}"

echo tvsl-vm >"$root/etc/hostname"
cat >"$root/etc/systemd/system/tvsl-vm.service" <<'UNIT'
[Unit]
After=multi-user.target mosquitto.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'exec >/dev/ttyS0 2>&1; mkdir /var/payload; tar -xf /dev/vdb -C /var/payload && exec bash /var/payload/guest.sh'
ExecStopPost=/bin/systemctl --no-block poweroff
[Install]
WantedBy=multi-user.target
UNIT
chroot "$root" systemctl --quiet enable tvsl-vm.service
# The faults are ours to make: nothing else shall start, and nothing shall set the clock.
chroot "$root" systemctl --quiet mask systemd-timesyncd.service getty@tty1.service serial-getty@ttyS0.service apt-daily.timer apt-daily-upgrade.timer

cp "$root"/boot/vmlinuz-* "$out/kernel"
cp "$root"/boot/initrd.img-* "$out/initrd"
rm -rf "$root"/boot/* "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
mke2fs -q -t ext4 -d "$root" "$out/disk" 3G
cp "$here/image.sh" "$out/made-by"
