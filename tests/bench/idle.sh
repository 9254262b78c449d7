#!/bin/sh
# tests/bench/idle.sh [SECONDS]: what a machine costs the host while its guest sleeps, all devices set up
#
# Wake-ups are the voluntary context switches of all threads; processor time is that of the whole process.
set -eu
cd "$(dirname "$0")/../.."
B=${B:-build}
seconds=${1:-5}
tmp=$(mktemp -d "${TMPDIR:-/tmp}/hutch-idle.XXXXXX")
pid=
"$B/tests/peer" echo "unix-listen:$tmp/net" 1 >/dev/null & # a network that sends frames back
echo=$!
trap '[ -z "$pid" ] || kill "$pid"; kill $echo 2>/dev/null; rm -rf "$tmp"' EXIT
until [ -S "$tmp/net" ]; do sleep 0.05; done

wakes() { cat "/proc/$pid"/task/*/status | awk '/^voluntary_ctxt_switches/ { n += $2 } END { print n }'; }
ticks() { awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$pid/stat"; }

truncate -s 1M "$tmp/disk"
"$B/hutch" boot --kernel "$B/tests/kvm/idle.elf" --memory 64M --disk "$tmp/disk" --balloon 1M,stats=1 \
	--vsock "$tmp/vsock" --net "user,socket=$tmp/net" \
	</dev/null >"$tmp/console" 2>"$tmp/err" &
pid=$!
i=0
until grep -q 'devices$' "$tmp/console"; do
	i=$((i + 1))
	[ $i -lt 100 ] || { echo "idle.sh: the guest does not come up: $(cat "$tmp/err")" >&2; exit 1; }
	sleep 0.05
done
sleep 1
w=$(wakes) t=$(ticks)
sleep "$seconds"
w=$(($(wakes) - w)) t=$(($(ticks) - t))
awk -v w=$w -v t=$t -v s="$seconds" -v hz="$(getconf CLK_TCK)" -v what="$(tr -d '\r' <"$tmp/console")" \
	'BEGIN { printf "%s: %.1f wake-ups/s, %.2f%% of a CPU, over %d s\n", what, w / s, 100 * t / hz / s, s }'
