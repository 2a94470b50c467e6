#!/usr/bin/env bash
# test.sh PROGRAM TEST...: the program for arm64 under qemu-user, on Debian 11's libraries and with ONNX Runtime for arm64. The TESTs, which
# measure memory, are left out: it is qemu's here.
set -euo pipefail
cd "$(dirname "$0")/../.."
program=$1 left_out=("${@:2}")
out=$(mktemp --directory)
trap 'rm -r "$out"' EXIT
say() { echo "test-arm64: $*"; }
tvsl() { packaging/arm64/run.sh "$program" "$@"; }

tvsl --version
tvsl check --model
# A picture every two seconds: emulated, each takes long.
printf 'camera.rate = 0.5\n' >"$out/tvsl.toml"
tvsl annotate --config "$out/tvsl.toml" demo/clip.webm --out "$out"
grep --quiet '"class":"cat"' "$out/detections.jsonl" || { say "FAILED: the cat of the clip is not reported" >&2; exit 1; }
# What a test starts is for arm64 too, this program first of all: while the tests run, the kernel hands such files to qemu-user, as it does
# for ever where Debian's binfmt-support is installed.
binfmt=/proc/sys/fs/binfmt_misc
handed() { QEMU_LD_PREFIX=$PWD/.cache/arm64/root "$program" --version >/dev/null 2>&1; }
if ! handed; then
    mountpoint --quiet $binfmt || mount --types binfmt_misc binfmt_misc $binfmt
    sed 's/^:qemu-aarch64:/:tvsl-aarch64:/' /usr/lib/binfmt.d/qemu-aarch64.conf >$binfmt/register
    trap 'echo -1 >$binfmt/tvsl-aarch64; rm -r "$out"' EXIT
    handed || { say "FAILED: the kernel starts no program for arm64; on the host, apt-get install qemu-user-static binfmt-support" >&2; exit 1; }
fi

# Those that would play with the default model for minutes and more, and one in which Debian 11's RTSP server ends itself.
left_out+=(every_sound_of_the_demonstration_is_one_event the_demonstration_tells_the_truth on_a_terminal_a_bar_shows)
left_out+=(what_the_parser_is_given_computes_what_the_files_compute frames_are_judged_on_the_gpu_as_on_the_cpu)
left_out+=(the_default_model_hears_and_sees_what_is_not_its_own what_is_masked_in_a_photograph_is_not_found)
left_out+=(a_frame_allocates_nothing a_gpu_that_fails_takes_one_frame_with_it two_cameras_are_judged_in_one_run_as_on_the_cpu)
left_out+=(the_page_says_what_a_device_tells another_model_is_given_sound_and_pictures_of_its_own_kind)
left_out+=(opening_for_ever_keeps_nothing versions_that_compute_in_the_types_of_the_file versions_that_take_a_flag_compute)
packaging/arm64/cargo.sh test --profile emulated --locked --no-fail-fast --tests -- ${left_out[@]/#/--skip }
say "ok"
