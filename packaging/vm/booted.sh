#!/bin/bash
# booted.sh: the second start of the virtual machine. The service comes by itself, in 1970, and before the broker and the sound
# card do; nobody has to help it. Then the package goes while two services run. `booted.sh 1970` sets the clock, before that.
set -u
cd "$(dirname "$0")" || exit 1
. ./words.sh

if [ "${1:-}" = 1970 ]; then
    # The kernel refuses a time before its own start.
    exec date --set=@$((86400 + $(uptime_ms) / 1000 + 1))
fi

echo "vm: started anew, on $(date --iso-8601)"
show_red
status_with "the microphone is away"
systemctl --quiet is-failed tvsl && fail "it fails without a sound card at the start"
[ "$(systemctl is-active tvsl)" = activating ] || fail "without a sound card it counts as started at once"
sleep 20
began=$(uptime_ms)
rm -f /var/lib/mosquitto/mosquitto.db # or it would know what was told before
systemctl start mosquitto
health microphone failed
health camera ok
row "booted, broker 20 s late: health is at the broker" "$began" 20
silent "booted without a sound card"
began=$(uptime_ms)
play hum
recovers "booted in 1970, sound card late: first detection" "$began" 30
mosquitto_sub -h 127.0.0.1 -t tvsl/vm/detections -C 1 -W 30 | grep --quiet '"clock_synced":false' || fail "a clock that began in 1970 counts as set"
[ "$(systemctl is-active tvsl)" = active ] || fail "it does not count as started with a detection"
[ "$(systemctl show tvsl --property=NRestarts --value)" = 0 ] || fail "it was restarted since the machine started"
began=$(uptime_ms)
date --set=@"$(cat today)" >/dev/null || fail "the clock cannot be set"
recovers "clock set, from 1970 since the start: detection" "$began" 10

# both: both services are enabled and run.
both() {
    sed '/^\[device\]/,/^$/d; s/^source = "v4l2"/source = "test"/; s/^source = "alsa"/source = "media"/; /^v4l2\|^alsa/d' tvsl.toml >/etc/tvsl/hall.toml
    systemctl --quiet enable --now tvsl tvsl@hall || fail "it cannot be enabled and started"
    [ "$(systemctl is-active tvsl tvsl@hall | sort --unique)" = active ] || fail "not both run: $(systemctl is-active tvsl tvsl@hall)"
}
# gone: nothing runs, and nothing is to be started at boot.
gone() {
    pgrep --exact tvsl && fail "$1: it still runs"
    find /etc/systemd/system -name 'tvsl.service' -o -name 'tvsl@*' | grep . && fail "$1: it is still to be started at boot"
    systemctl cat tvsl.service >/dev/null 2>&1 && fail "$1: systemd still knows it"
}
both
began=$(uptime_ms)
dpkg --remove tvsl >/dev/null || fail "it cannot be removed"
row "package removed while two services run" "$began" 30
gone removed
[ -f $CONFIG ] && [ -d /var/lib/private/tvsl ] || fail "removing took configuration or state"
dpkg --install later.deb >/dev/null || fail "it cannot be installed again"
both
began=$(uptime_ms)
dpkg --purge tvsl >/dev/null 2>dpkg.log || fail "it cannot be purged: $(cat dpkg.log)"
row "package purged while two services run" "$began" 30
gone purged
find /var/lib /etc/tvsl/tvsl.toml -name 'tvsl*' 2>/dev/null | grep -v '^/var/lib/dpkg' | grep . && fail "purging left something"
[ -f /etc/tvsl/hall.toml ] || fail "purging took a file of the user's"
verdict ok
