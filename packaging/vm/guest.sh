#!/bin/bash
# guest.sh: runs inside the virtual machine. Installs the package, gives it a camera (vivid), a sound card (snd-aloop) and
# a broker, tries the default model, doctor and an instance of the template on them, and breaks one after the other. Every fault
# must recover by itself within its limit; prints how long it took. Then it starts the machine anew, for booted.sh.
set -u
cd "$(dirname "$0")" || exit 1
. ./words.sh

# upgraded WHAT LIMIT: the later package is installed within LIMIT seconds, and dpkg counts it as whole.
upgraded() {
    local began
    began=$(uptime_ms)
    dpkg --install later.deb >dpkg.log 2>&1 || fail "$1: dpkg fails: $(tail -n 3 dpkg.log)"
    row "$1: dpkg is done" "$began" "$2"
    [ "$(dpkg-query --show --showformat '${db:Status-Abbrev}' tvsl)" = "ii " ] || fail "$1: the package is not whole: $(dpkg --status tvsl | head -n 2)"
}
# The messages of the next 60 s say that the clock is set, or is not.
clock_set() { mosquitto_sub -h 127.0.0.1 -t tvsl/vm/detections -W 60 2>/dev/null | grep --quiet "\"clock_synced\":$1"; }
# wish VALUE: the answer to a wish for another sensitivity.
wish() { mosquitto_rr -h 127.0.0.1 -q 1 -t tvsl/vm/set/sensitivity -e tvsl/vm/set/sensitivity/result -m "$1" -W 30; }
# eventually COMMAND...: it succeeds within 60 s.
eventually() { for _ in {1..300}; do "$@" && return; sleep 0.2; done; return 1; }

heat() { echo "$1" >/sys/class/thermal/thermal_zone0/temp; }
mount -t tmpfs none /sys/class/thermal && mkdir /sys/class/thermal/thermal_zone0
(cd /sys/class/thermal/thermal_zone0 && echo cpu >type && echo passive >trip_point_0_type && echo 95000 >trip_point_0_temp)
heat 40000

began=$(uptime_ms)
dpkg --install tvsl.deb >/dev/null || fail "the package does not install"
mkdir -p /usr/share/tvsl/engines && cp -r tiny /usr/share/tvsl/engines/
cp tvsl.toml $CONFIG
chgrp video $CONFIG && chmod 640 $CONFIG # as doctor advises for one that holds a password; the service must be able to read it
echo "vm: installed in $((($(uptime_ms) - began) / 1000)) s; $(uname -r), $(systemd --version | head -n 1)"
echo options vivid n_devs=1 node_types=0x1 >/etc/modprobe.d/vivid.conf
modprobe vivid
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
# From another folder than this one, which has a tvsl.toml.
(cd / && tvsl doctor --json) >doctor.json 2>doctor.log || fail "doctor: $(cat doctor.log)"
for stage in configuration model engine camera microphone store tcp mqtt publish; do found $stage ok; done
found unit warning # it is not enabled
grep --quiet '"/var/lib/tvsl/events-' doctor.json || fail "doctor looks elsewhere than in the service's state: $(grep --after-context=3 '"store"' doctor.json)"
# An instance of the template on another broker, which wants a name and a password: systemd hands them over, from files of root's.
sed '/^\[device\]/,/^$/d; s/^source = "v4l2"/source = "test"/; s/^v4l2.*//' tvsl.toml >/etc/tvsl/hall.toml
sed -i 's/^host = .*/&\nport = 1884\nusername_file = "mqtt-user"\npassword_file = "mqtt-password"/' /etc/tvsl/hall.toml
(umask 077 && printf hall >/etc/tvsl/user && printf 'a secret' >/etc/tvsl/password)
credentials=(LoadCredential=mqtt-user:/etc/tvsl/user LoadCredential=mqtt-password:/etc/tvsl/password)
mkdir /etc/systemd/system/tvsl@hall.service.d
printf '%s\n' '[Service]' "${credentials[@]}" >/etc/systemd/system/tvsl@hall.service.d/password.conf
mosquitto_passwd -b -c /etc/mosquitto/hall hall 'a secret' && chown mosquitto /etc/mosquitto/hall
printf '%s\n' 'listener 1884 127.0.0.1' 'password_file /etc/mosquitto/hall' >/etc/mosquitto/hall.conf
systemd-run --quiet --unit=locked mosquitto -c /etc/mosquitto/hall.conf
systemctl daemon-reload
systemctl start tvsl@hall || fail "an instance does not start: $(systemctl show tvsl@hall --property=StatusText --value)"
mosquitto_sub -h 127.0.0.1 -p 1884 -u hall -P 'a secret' -t tvsl/tvsl-vm-hall/status -C 1 -W 30 | grep --quiet online ||
    fail "the instance is not there under its own name, with its password"
grep --quiet --recursive --fixed-strings 'a secret' /run/credentials/tvsl@hall.service || fail "systemd handed over no password"
systemd-run --quiet --pipe --wait "${credentials[@]/#/--property=}" tvsl doctor --config /etc/tvsl/hall.toml --json >doctor.json 2>doctor.log
for stage in tcp mqtt publish; do found $stage ok; done
grep --quiet 'a secret' doctor.json doctor.log && fail "doctor tells the password"
systemctl stop tvsl@hall locked
rm -r /etc/systemd/system/tvsl@hall.service.d && systemctl daemon-reload

began=$(uptime_ms)
systemctl start tvsl
recovers "service started: first detection" "$began" 60

# Who takes cores through a pipe gets nothing of what it saw, heard or was told.
printf '%s\n' '#!/bin/sh' 'cat >/root/core' >/root/keep-core && chmod +x /root/keep-core
before=$(cat /proc/sys/kernel/core_pattern) && echo '|/root/keep-core' >/proc/sys/kernel/core_pattern
began=$(uptime_ms)
systemctl kill --signal=ABRT tvsl
recovers "service aborted: detection arrives" "$began" 60
echo "$before" >/proc/sys/kernel/core_pattern
[ -s /root/core ] || fail "no core was offered"
echo "vm: core of $(stat --format %s /root/core) bytes"
[ "$(stat --format %s /root/core)" -lt 8000000 ] || fail "the core holds memory: $(stat --format %s /root/core) bytes"
grep --quiet --binary-files=text --fixed-strings tvsl/vm/ /root/core && fail "the core holds what the service was told"
health camera ok
health microphone ok
# The configuration names no size, and the camera offers up to 3840 x 2160.
size=$(mosquitto_sub -h 127.0.0.1 -t tvsl/vm/detections -C 1 -W 60 | grep --only-matching '"width":[0-9]*,"height":[0-9]*' | head -n 1)
[ "$size" = '"width":640,"height":360' ] || fail "a camera's size that is left open becomes $size, not the one nearest 640 x 360"

restarts() { systemctl show tvsl --property=NRestarts --value; }
before=$(restarts)
began=$(uptime_ms)
kill -STOP "$(pid)"
recovers "process stopped with SIGSTOP: watchdog, restart, detection" "$began" 60
[ "$(restarts)" = $((before + 1)) ] || fail "it was not restarted once"

began=$(uptime_ms)
echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind
status_with "the camera is away"
row "camera unplugged: told in its status" "$began" 15
health camera failed
silent "camera unplugged"
# A module goes when nobody has its device open any more.
eventually modprobe -r vivid 2>/dev/null ||
    fail "vivid stays in use; the service keeps of the camera that was pulled out: $(readlink /proc/"$(pid)"/fd/* | grep '^/dev/video.*deleted')"
sleep 5
began=$(uptime_ms)
modprobe vivid
show_red
recovers "camera plugged in again: detection" "$began" 30

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
# What systemd-timesyncd makes when it starts, and when it has set the clock.
mkdir /run/systemd/timesync
clock_set false || fail "a clock that timesyncd has not set yet counts as set"
began=$(uptime_ms)
touch /run/systemd/timesync/synchronized
clock_set true || fail "the service does not learn that timesyncd has set the clock"
row "clock set by timesyncd: told in the messages" "$began" 10
rm -r /run/systemd/timesync

# Filled by a user: what the file system reserves for root stays. All but the last of it takes no time.
setpriv --reuid=nobody --clear-groups sh -c '
    fallocate --length $(($(df --output=avail --block-size=1 /var/tmp | tail -n 1) - (16 << 20))) /var/tmp/filled
    head -c 100G /dev/zero >>/var/tmp/filled' 2>/dev/null
began=$(uptime_ms)
systemctl restart tvsl
recovers "disk full, service restarted: detection" "$began" 60
answer=$(wish 0.5)
[[ "$answer" == *'"accepted":true'*"in force until the next start only"*"No space left"* ]] || fail "a wish on a full disk is answered with: $answer"
began=$(uptime_ms)
systemctl stop mosquitto
status_with "events are kept in memory only"
row "disk full, broker away: told that events are not on disk" "$began" 30
systemctl start mosquitto
mosquitto_sub -h 127.0.0.1 -t tvsl/vm/health/store -W 25 >store.txt 2>/dev/null
grep --quiet '"state":"degraded".*No space left' store.txt || fail "health/store never said that the disk is full but: $(cat store.txt)"
systemctl stop mosquitto
status_with "events are kept in memory only"
began=$(uptime_ms)
rm -f /var/tmp/filled
status_without "events are kept in memory only"
row "disk has room again, broker away: events are on disk" "$began" 15
began=$(uptime_ms)
systemctl start mosquitto
recovers "broker there again: detection" "$began" 40
health store ok
[[ "$(wish 0)" == *'"accepted":true'*'"reason":""'* ]] || fail "a wish is not written down with room on the disk"
[[ "$(wish 0.25)" == *'"accepted":true'*'"reason":""'* ]] || fail "another wish is not written down"
(cd / && tvsl report --out "$OLDPWD/report.tar.gz") >report.log 2>&1 || fail "report: $(cat report.log)"
tar --extract --gzip --to-stdout --file report.tar.gz tvsl-report/settings.json >settings.json
grep --quiet '"sensitivity": 0.25' settings.json || fail "report does not hold what a subscriber changed but: $(cat settings.json)"
[[ "$(wish 0)" == *'"accepted":true'*'"reason":""'* ]] || fail "the wish before cannot be taken back"
[ "$(systemctl show tvsl --property=NRestarts --value)" = 0 ] || fail "it was restarted since"

before=$(pid)
began=$(uptime_ms)
upgraded "package upgraded" 30
another() { [ "$(pid)" != "$before" ]; }
eventually another || fail "the upgrade left the earlier program running"
recovers "package upgraded: detection" "$began" 60
echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind
status_with "the camera is away"
upgraded "package upgraded without a camera" 30
echo vivid.0 >/sys/bus/platform/drivers/vivid/bind
show_red
detection || fail "upgraded without a camera: nothing was detected with it; it says: $(said)"
sed -i 's/^rate = .*/rate = "many"/' $CONFIG
systemctl reload tvsl
status_with "refused"
upgraded "package upgraded over a wrong file" 30
eventually systemctl --quiet is-failed tvsl || fail "a wrong file is no reason to refuse the start: $(said)"
[ "$(systemctl show tvsl --property=ExecMainStatus --value)" = 78 ] || fail "it did not end for its configuration"
cp good.toml $CONFIG
began=$(uptime_ms)
systemctl start tvsl
recovers "wrong file mended, service started: detection" "$began" 60

# As docs/install.md says.
sudo() { "$@"; }
. <(sed -n '/^mapfile/,/verify$/p' install.md) >verify.txt 2>&1
grep --quiet "not ready for TensorRT.*libcuda" verify.txt || fail "engine verify in the service's cage: $(cat verify.txt)"
detection || fail "engine verify in the service's cage stops the service: $(said)"

verdict "starting anew" || exit
date +%s >today
systemctl --quiet enable tvsl || fail "it cannot be enabled"
systemctl --quiet disable mosquitto tvsl-vm 2>/dev/null
echo vivid >/etc/modules-load.d/vivid.conf
cat >/etc/systemd/system/tvsl-vm-booted.service <<UNIT
[Unit]
Before=tvsl.service
[Service]
Type=exec
# An RTC that shows 1970 is no 1970 yet: systemd sets the clock to its own build before anything else.
ExecStartPre=/bin/bash $PWD/booted.sh 1970
ExecStart=/bin/sh -c 'exec >/dev/ttyS0 2>&1; exec bash $PWD/booted.sh'
ExecStopPost=/bin/systemctl --no-block poweroff
[Install]
WantedBy=multi-user.target
UNIT
systemctl --quiet enable tvsl-vm-booted
sync
systemctl reboot
