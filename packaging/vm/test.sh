#!/usr/bin/env bash
# test.sh PROGRAM: installs the package of a built program in a virtual machine with systemd, a camera, a sound card and a
# broker, breaks them one after the other, and prints how long each took to recover (guest.sh); then starts it anew (booted.sh).
# Needs root; no KVM.
set -euo pipefail
cd "$(dirname "$0")/../.."
cache=.cache/vm
nice -n 10 packaging/vm/image.sh "$cache"

work=$(mktemp --directory --tmpdir tvsl-vm.XXXXXX)
trap 'rm -r "$work"' EXIT
# As they are: an emulated CPU takes long to unpack what is compressed.
export DPKG_DEB_COMPRESSOR_TYPE=none
packaging/build.sh "$1" "$work"
mkdir "$work/payload"
mv "$work"/tvsl_*.deb "$work/payload/tvsl.deb"
packaging/build.sh "$1" "$work" 9.9
mv "$work"/tvsl_*.deb "$work/payload/later.deb"
gst-launch-1.0 --quiet filesrc location=demo/clip.webm ! decodebin ! audio/x-raw ! audioconvert ! audioresample \
    ! audio/x-raw,format=S16LE,rate=48000,channels=2 ! wavenc ! filesink location="$work/payload/recorded.wav"
cp -r tests/data/tiny packaging/vm/{guest,booted,words}.sh packaging/vm/tvsl.toml docs/install.md "$work/payload"
python3 - "$work/payload/hum.wav" <<'PYTHON'
import array, math, sys, wave
with wave.open(sys.argv[1], "wb") as hum:
    hum.setparams((2, 2, 48000, 0, "NONE", ""))
    tone = (int(26000 * math.sin(math.tau * 200 * i / 48000)) for i in range(48000 * 10))
    hum.writeframes(array.array("h", (level for sample in tone for level in (sample, sample))).tobytes())
PYTHON
tar --create --file "$work/payload.tar" --directory "$work/payload" .

echo "vm: starting; software emulation takes some minutes"
# The machine's time passes with the instructions that it runs and not with ours (icount): what it measures does not
# depend on what else this computer does, and waiting takes no time.
machine() {
    nice -n 10 timeout --kill-after 10 "${LIMIT:-3600}" qemu-system-x86_64 -machine q35 -accel tcg -icount shift=1,sleep=off \
        -rtc clock=vm -cpu max -m 1536 -display none -nodefaults -no-reboot -serial stdio -nic none \
        -kernel "$cache/kernel" -initrd "$cache/initrd" -append "root=/dev/vda rw console=ttyS0 quiet loglevel=3" \
        -drive file="$work/disk",format=raw,if=virtio,cache=unsafe \
        -drive file="$work/payload.tar",format=raw,if=virtio,readonly=on </dev/null |
        stdbuf --output=L tr --delete '\r' | tee --append "$work/log" | grep --line-buffered '^vm: ' || true
}
# Nor shall it wait for this computer's disk (cache=unsafe), for such a wait is time to it.
cp --sparse=always "$cache/disk" "$work/disk"
machine
# A reset is a machine of its own here: with icount, QEMU's crawls after one.
if grep --quiet '^vm: starting anew' "$work/log"; then machine; fi
if ! grep --quiet '^vm: ok' "$work/log"; then
    tail -n 80 "$work/log" >&2
    echo "vm: FAILED" >&2
    exit 1
fi
