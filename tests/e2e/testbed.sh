#!/bin/sh
# tests/e2e/testbed.sh: the testbed hands a command over and its results back, byte for byte.
set -u
cd "$(dirname "$0")/../.." || exit 1
if ! command -v qemu-system-x86_64 >/dev/null; then
	echo "skip testbed: qemu-system-x86 is not installed"
	exit 0
fi
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

check() { # NAME TEST...
	name=$1
	shift
	if "$@"; then echo "ok $name"; else echo "not ok $name"; fi
}

odd='a  b"c$d
e'
tests/testbed --timeout 120 -- sh -c 'printf %s "$1"; printf %s err >&2; pwd >&2; exit 77' sh "$odd" >"$tmp/out" 2>"$tmp/err" </dev/null
check "exit status" test $? = 77
check "arguments, to the byte" test "$(cat "$tmp/out")" = "$odd"
check "stderr apart, in the same folder" test "$(cat "$tmp/err")" = "err$PWD"
head -c 3000000 /dev/urandom >"$tmp/blob"
tests/testbed --timeout 120 -- sh -c 'cat; kill -9 $$' <"$tmp/blob" >"$tmp/out" 2>/dev/null
check "a signal" test $? = 137
check "3 MB in and out" cmp -s "$tmp/blob" "$tmp/out"
tests/testbed --timeout 8 -- sleep 100 >/dev/null 2>&1 </dev/null
check "a time limit" test $? = 124

# what it is poked with arrives, at the device of the ports: 20 in this time, and what else there is there is no 15
cat >"$tmp/count" <<'EOT'
cd /sys/bus/virtio/drivers/virtio_console
ports=$(echo virtio*)
interrupts() { awk -v ports="$ports-" 'index($NF, ports) { n += $2 } END { print n + 0 }' /proc/interrupts; }
was=$(interrupts)
sleep 5
echo $(($(interrupts) - was))
EOT
tests/testbed --timeout 120 -- sh "$tmp/count" >"$tmp/out" 2>/dev/null </dev/null
check "it is poked" test "$(cat "$tmp/out")" -ge 15

# an emulator that does not move any more, here because it is stopped
TESTBED_SILENCE=10 tests/testbed -- sh -c 'echo begun; sleep 300' >"$tmp/out" 2>"$tmp/err" </dev/null &
bed=$!
until grep -q begun "$tmp/out" || ! kill -0 $bed 2>/dev/null; do sleep 1; done
sleep 6 # it has been heard of
kill -STOP "$(pgrep -P "$(pgrep -P $bed -x timeout)")"
wait $bed
check "a stall ends it" test $? = 124
check "a stall is told" grep -q 'the emulator stalled: nothing has moved in it for 10 s' "$tmp/err"
tests/testbed --timeout 120 --cpus 2 -- sh -c 'test -c /dev/kvm && test "$(nproc)" = 2 && echo written >README.md' </dev/null
check "KVM, 2 processors, files that can be written" test $? = 0
check "and are untouched afterwards" sh -c '! grep -q "^written$" README.md'
