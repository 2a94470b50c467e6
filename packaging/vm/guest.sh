#!/bin/bash
# guest.sh: runs inside the virtual machine. Installs the package, gives it a camera (vivid), a sound card (snd-aloop) and
# a broker, tries the default model, doctor and an instance of the template on them, and breaks one after the other. Every fault must recover by itself within its limit; prints how long it took.
set -u
cd "$(dirname "$0")" || exit 1
CAMERA=/dev/v4l/by-path/platform-vivid.0-video-index0
CONFIG=/etc/tvsl/tvsl.toml
failed=0

uptime_ms() { awk '{ printf "%d", $1 * 1000 }' /proc/uptime; }
said() { systemctl show tvsl --property=StatusText --value; }
fail() { echo "vm: FAILED: $*"; failed=1; }
# row WHAT SINCE LIMIT: how long it took since SINCE, and whether that is within LIMIT seconds.
row() {
    local took=$(($(uptime_ms) - $2))
    printf 'vm: | %s | %d.%01d s | %d s |\n' "$1" $((took / 1000)) $((took % 1000 / 100)) "$3"
    [ $took -le $(($3 * 1000)) ] || fail "$1 took longer than $3 s"
}
# A detection that is published from now on, within 120 s.
detection() { mosquitto_sub -h 127.0.0.1 -t tvsl/vm/detections -C 1 -W 120 2>/dev/null | grep --quiet '"class":"red"'; }
# The next detection comes within LIMIT seconds since SINCE.
recovers() { if detection; then row "$@"; else fail "$1: nothing was detected any more; it says: $(said)"; fi; }
# Waits up to 60 s for a status that has WORDS.
status_with() { for _ in {1..300}; do [[ "$(said)" == *$1* ]] && return; sleep 0.2; done; fail "its status never said \"$1\" but: $(said)"; }
status_without() { for _ in {1..300}; do [[ "$(said)" != *$1* ]] && return; sleep 0.2; done; fail "its status still says: $(said)"; }
# health PART STATE: the broker holds this of PART, within 60 s.
health() {
    for _ in {1..60}; do
        heard=$(mosquitto_sub -h 127.0.0.1 -t "tvsl/vm/health/$1" -C 1 -W 5 2>/dev/null)
        [[ "$heard" == *"\"state\":\"$2\""* ]] && return
        sleep 1
    done
    fail "health/$1 never said $2 but: $heard"
}
# Nothing is published in 3 s.
silent() { mosquitto_sub -h 127.0.0.1 -t tvsl/vm/detections -C 1 -W 3 >/dev/null 2>&1 && fail "$1: something was published"; }

show_red() {
    udevadm settle
    local red
    red=$(v4l2-ctl -d $CAMERA --list-ctrls-menu | awk '/ test_pattern /{ at = 1 } at && /100% Red/{ print $1 + 0; exit }')
    v4l2-ctl -d $CAMERA --set-ctrl="test_pattern=$red"
}
# play WHAT: hum.wav for the small model, or the sound of the demonstration's clip, recorded by others, for the default one.
play() {
    modprobe snd-aloop pcm_substreams=1 && udevadm settle
    systemd-run --quiet --unit="$1" --property=Restart=always --property=RestartSec=1 \
        sh -c "while aplay --quiet -D plughw:CARD=Loopback,DEV=0 $PWD/$1.wav; do :; done"
}
# found STAGE VERDICT: what doctor found.
found() { grep --quiet --perl-regexp --null-data "\"stage\": \"$1\",\s*\"verdict\": \"$2\"" doctor.json || fail "doctor: $1 is not $2: $(grep --after-context=3 "\"$1\"" doctor.json)"; }

heat() { echo "$1" >/sys/class/thermal/thermal_zone0/temp; }
mount -t tmpfs none /sys/class/thermal && mkdir /sys/class/thermal/thermal_zone0
(cd /sys/class/thermal/thermal_zone0 && echo cpu >type && echo passive >trip_point_0_type && echo 95000 >trip_point_0_temp)
heat 40000

began=$(uptime_ms)
dpkg --install tvsl.deb >/dev/null || fail "the package does not install"
mkdir -p /usr/share/tvsl/engines && cp -r tiny /usr/share/tvsl/engines/
cp tvsl.toml $CONFIG
echo "vm: installed in $((($(uptime_ms) - began) / 1000)) s; $(uname -r), $(systemd --version | head -n 1)"
modprobe vivid n_devs=1 node_types=0x1
show_red
systemctl start mosquitto

# The model of the package on recorded sound: an emulated CPU takes long for a picture.
play recorded
sed -i 's/^rate = .*/rate = 0.2/; s/^path = .*/path = "engines\/default"/' $CONFIG
began=$(uptime_ms)
systemctl start tvsl || fail "the default model does not start as a service: $(said)"
status_with "pictures/s"
row "default model: first analysed frame" "$began" 120
systemctl stop tvsl recorded
cp tvsl.toml $CONFIG

play hum
tvsl devices --json | grep --quiet "$CAMERA" || fail "devices does not list the camera"
tvsl doctor --json >doctor.json 2>doctor.log || fail "doctor: $(cat doctor.log)"
for stage in configuration model engine camera microphone tcp mqtt publish; do found $stage ok; done
found unit warning # it is not enabled
sed '/^\[device\]/,/^$/d; s/^source = "v4l2"/source = "test"/; s/^v4l2.*//' tvsl.toml >/etc/tvsl/hall.toml
systemctl start tvsl@hall || fail "an instance does not start: $(systemctl show tvsl@hall --property=StatusText --value)"
mosquitto_sub -h 127.0.0.1 -t tvsl/tvsl-vm-hall/status -C 1 -W 30 | grep --quiet online || fail "the instance is not there under its own name"
systemctl stop tvsl@hall

began=$(uptime_ms)
systemctl start tvsl
recovers "service started: first detection" "$began" 60
health camera ok
health microphone ok

began=$(uptime_ms)
kill -STOP "$(systemctl show tvsl --property=MainPID --value)"
recovers "process stopped with SIGSTOP: watchdog, restart, detection" "$began" 60
[ "$(systemctl show tvsl --property=NRestarts --value)" = 1 ] || fail "it was not restarted once"

began=$(uptime_ms)
echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind
status_with "the camera is away"
row "camera unplugged: told in its status" "$began" 15
health camera failed
silent "camera unplugged"
sleep 5
began=$(uptime_ms)
echo vivid.0 >/sys/bus/platform/drivers/vivid/bind
show_red
recovers "camera plugged in again: detection" "$began" 30
kept=$(readlink /proc/"$(systemctl show tvsl --property=MainPID --value)"/fd/* | grep '^/dev/video.*deleted')
[ -z "$kept" ] || fail "it keeps of the camera that was pulled out: $kept"

systemctl stop hum
began=$(uptime_ms)
echo snd_aloop.0 >/sys/bus/platform/drivers/snd_aloop/unbind
status_with "the microphone is away"
row "sound card unplugged: told in its status" "$began" 15
health microphone failed
silent "sound card unplugged"
modprobe -r snd-aloop || fail "snd-aloop stays in use"
sleep 5
began=$(uptime_ms)
play hum
recovers "sound card plugged in again: detection" "$began" 30

systemctl stop mosquitto
sleep 10
began=$(uptime_ms)
systemctl start mosquitto
recovers "broker away for 10 s: detection arrives" "$began" 40

cp $CONFIG good.toml
sed -i 's/^rate = .*/rate = "many"/' $CONFIG
began=$(uptime_ms)
systemctl reload tvsl
status_with "refused"
row "reload of a wrong file: refused in its status" "$began" 10
recovers "reload of a wrong file: the one before still detects" "$began" 15
cp good.toml $CONFIG
began=$(uptime_ms)
systemctl reload tvsl
status_without "refused"
row "reload of the right file: in force" "$began" 10
recovers "reload of the right file: detection" "$began" 15

sed -i 's/^rate = .*/rate = 4.0/' $CONFIG
began=$(uptime_ms)
for _ in {1..300}; do journalctl --unit tvsl --since=-60s --output cat | grep --quiet "file has changed" && break; sleep 0.2; done
row "configuration file saved, without a reload: read" "$began" 10
recovers "configuration file saved, without a reload: detection" "$began" 15

began=$(uptime_ms)
heat 97000
status_with "slowed down: cpu is at 97"
row "processor too hot: fewer pictures" "$began" 15
recovers "processor too hot: it still detects" "$began" 20
began=$(uptime_ms)
heat 60000
status_without "slowed down"
row "processor cool again: full rate" "$began" 60

today=$(date +%s)
began=$(uptime_ms)
# The kernel refuses a time before its own start.
date --set=@$((86400 + $(uptime_ms) / 1000)) >/dev/null || fail "the clock cannot be set"
recovers "clock set to 1970: detection" "$began" 10
# Four pictures a second go on, and say that nobody set the clock.
began=$(uptime_ms)
mosquitto_sub -h 127.0.0.1 -t tvsl/vm/detections -C 12 -W 60 >at1970.txt
row "clock set to 1970: twelve detections" "$began" 6
[ "$(grep --count '"clock_synced":false' at1970.txt)" = 12 ] || fail "in 1970 the clock counts as set: $(head -c 300 at1970.txt)"
began=$(uptime_ms)
date --set=@"$today" >/dev/null || fail "the clock cannot be set back"
recovers "clock set back: detection" "$began" 10

began=$(uptime_ms)
# Filled by a user: what the file system reserves for root stays.
setpriv --reuid=nobody --clear-groups head -c 100G /dev/zero >/var/tmp/filled 2>/dev/null
recovers "disk full: detection" "$(uptime_ms)" 10
began=$(uptime_ms)
systemctl restart tvsl
recovers "disk full, service restarted: detection" "$began" 60
rm -f /var/tmp/filled
[ "$(systemctl show tvsl --property=NRestarts --value)" = 0 ] || fail "it was restarted since"

before=$(systemctl show tvsl --property=MainPID --value)
began=$(uptime_ms)
dpkg --install later.deb >/dev/null || fail "the later package does not install"
recovers "package upgraded: detection" "$began" 60
[ "$(systemctl show tvsl --property=MainPID --value)" != "$before" ] || fail "the upgrade left the earlier program running"

[ $failed = 0 ] && echo "vm: ok" && exit
journalctl --unit tvsl --no-pager --output short-monotonic | tail -n 60
