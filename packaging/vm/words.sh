# words.sh: what the two halves of the test say with. Both run in the folder that was unpacked, as root.
CAMERA=/dev/v4l/by-path/platform-vivid.0-video-index0
CONFIG=/etc/tvsl/tvsl.toml
failed=0

pid() { systemctl show tvsl --property=MainPID --value; }
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
# verdict WORD: WORD, or where something failed what the service said.
verdict() {
    [ $failed = 0 ] && echo "vm: $1" && return
    journalctl --unit tvsl --no-pager --output short-monotonic | tail -n 60
    return 1
}
