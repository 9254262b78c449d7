#!/bin/sh
# tests/bench/run.sh [RUNS] [CALLS] [COMMANDS]: a sandbox, from `hutch run` to its end, and what it costs meanwhile
#
# 1. `hutch run --cold -- true` from fork to its end, RUNS times, and where that time goes. In turns with it,
#    `hutch run -- true`, which goes on from the boot that the first of these has kept, and the same
#    kernel, words for it and initramfs, but with tests/tools/once.c as /init, which does what the agent does and
#    powers off, because QEMU has no vsock without vhost: under `hutch boot`, under QEMU's microvm with the kernel
#    unpacked, as hutch run takes it, and packed. These three wait for the guest's power-off and talk to nobody.
#    And `hutch run --from` a snapshot of such a sandbox: whose memory is kept, and out of the packed file each time.
# 2. Round trips to a sandbox that runs. Within one process, CALLS of each, three turns: an echo of one byte through
#    vsock over an open connection, the same with a connection each, a question to the agent (info), and `true` run
#    by it; the last two have a connection each too. Then COMMANDS times the whole `hutch exec`, beside a hutch that
#    does nothing (version).
# 3. The memory of hutch beside its guest's, and of the agent.
#
# Times are medians. In the testbed they mean nothing, ratios do.
set -eu
cd "$(dirname "$0")/../.."
runs=${1:-5} calls=${2:-1000} commands=${3:-50}
. tests/bench/lib.sh.inc
in_testbed "$runs" "$calls" "$commands"

export HUTCH_ROOT="$tmp/run" HUTCH_KERNEL="$tmp/vmlinux" HUTCH_BOX="$tmp/box"
trap 'build/hutch kill bench 2>/dev/null || :; rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
mkdir -m 700 "$tmp/run" "$tmp/once"
cp build/guest/vmlinux build/guest/vmlinuz build/guest/box "$tmp" # so that no first read counts
cp build/tests/once "$tmp/once/init"
(cd "$tmp/once" && echo init | busybox cpio -o -H newc -R 0:0 2>/dev/null) | cat build/guest/box - >"$tmp/once.cpio"
line=$(cat build/guest/cmdline)
${CC:-gcc} -O2 -D_GNU_SOURCE -o "$tmp/spawn" tests/bench/spawn.c
hutch=$PWD/build/hutch
for name in hutch-run hutch-warm hutch-from hutch-boot hutch-exec hutch-version; do ln -s "$hutch" "$tmp/$name"; done
for name in qemu-vmlinux qemu-vmlinuz; do ln -s "$(command -v qemu-system-x86_64)" "$tmp/$name"; done

whole() { # of spawn's lines: nobody asked when the first byte came
	sed 's/ [0-9]* us to its first byte (least *[0-9]*),//'
}

is_gone() {
	[ -z "$(ls "$HUTCH_ROOT")" ] || { echo "run.sh: left in the run directory: $(ls "$HUTCH_ROOT")" >&2; exit 1; }
}

echo "a sandbox from start to end, $runs runs in turns:"
set -- -M microvm,acpi=on,rtc=on,pit=off,pic=off,isa-serial=off -accel kvm -cpu host -m 512 -nodefaults -display none \
	-no-reboot -device virtio-rng-device -initrd "$tmp/once.cpio" -append "$line"
export XDG_CACHE_HOME="$tmp/cache" # nobody has booted before
build/hutch run --cold -d --name bench --memory 512M -- sleep 1h >/dev/null
build/hutch snapshot -q bench "$tmp/bench.snap" >/dev/null
build/hutch kill bench
build/hutch rm bench 2>/dev/null || :
size=$(stat -c %s "$tmp/bench.snap")
echo "  a snapshot of one that has just booted: $((size / 1024)) KiB, $((size * 1000 / 536870912)) thousandths of its memory"
printf '#!/bin/sh\nXDG_CACHE_HOME=/dev/null exec %s "$@"\n' "$hutch" >"$tmp/hutch-packed"
chmod +x "$tmp/hutch-packed"
build/hutch restore --no-lazy -d "$tmp/bench.snap" >/dev/null # keeps its memory, before it runs
build/hutch kill bench
build/hutch rm bench 2>/dev/null || :
timeout 3000 "$tmp/spawn" "$runs" "$tmp/hutch-run" run --cold --timing --memory 512M -- true \
	, "$tmp/hutch-warm" run --memory 512M -- true \
	, "$tmp/hutch-from" run --from "$tmp/bench.snap" -- true \
	, "$tmp/hutch-packed" run --from "$tmp/bench.snap" -- true \
	, "$tmp/hutch-boot" boot --memory 512M --console none --kernel "$tmp/vmlinux" \
		--initrd "$tmp/once.cpio" --append "$line" \
	, "$tmp/qemu-vmlinux" "$@" -kernel "$tmp/vmlinux" \
	, "$tmp/qemu-vmlinuz" "$@" -kernel "$tmp/vmlinuz" 2>"$tmp/timing" >"$tmp/out" || { cat "$tmp/timing" >&2; exit 1; }
whole <"$tmp/out"
is_gone
echo "where the time of hutch run --cold goes:"
sed -n 's/^hutch: \(.*[a-z]\)  *\([0-9.]*\) ms.*/\1|\2/p' "$tmp/timing" | awk -F '|' '!($1 in n) { order[++k] = $1 }
	{ v[$1, ++n[$1]] = $2 }
	END {
		for (i = 1; i <= k; i++) {
			name = order[i]
			for (a = 2; a <= n[name]; a++)
				for (b = a; b > 1 && v[name, b - 1] + 0 > v[name, b] + 0; b--) {
					t = v[name, b]; v[name, b] = v[name, b - 1]; v[name, b - 1] = t
				}
			printf "  %-12s %8.1f ms\n", name, v[name, int((n[name] + 1) / 2)]
		}
	}'

build/hutch run -d --pid-file "$tmp/pid" --name bench --memory 512M --mount "$PWD/build/tests/peer:/peer" \
	-- /peer echo vsock-listen:7 1000000 >/dev/null
vsock=$HUTCH_ROOT/bench/vsock
figure() { # ROW COMMAND...: its p50 and p99
	row=$1
	shift
	timeout 1500 "$@" >"$tmp/out" || { echo "run.sh: $row failed" >&2; exit 1; }
	sed -n 's/.*: p50 \([0-9.]*\) us p99 \([0-9.]*\) us.*/\1 \2/p' "$tmp/out" >"$tmp/figures"
	read -r p50 p99 <"$tmp/figures"
	echo "$p50" >>"$tmp/p50.$row"
	echo "$p99" >>"$tmp/p99.$row"
}
for _ in 1 2 3; do
	figure echo build/tests/peer -w 10 rr "fc:$vsock:7" "$calls"
	figure echo-call build/tests/peer calls "fc:$vsock:7" "$calls"
	figure info build/tests/ask "$vsock" "$calls" info
	figure exec build/tests/ask "$vsock" "$calls" exec true
done
echo "round trips within one process, 3 turns of $calls:"
base=$(median "$tmp/p50.echo-call")
for row in echo echo-call info exec; do
	echo "$row $(median "$tmp/p50.$row") $(median "$tmp/p99.$row") $base" | awk '{
		printf "  %-12s p50 %9.1f us  p99 %9.1f us  ratio to echo-call %6.2f, %+9.1f us\n", $1, $2, $3, $2 / $4, $2 - $4 }'
done
echo "the whole command, $commands in turns:"
timeout 1500 "$tmp/spawn" "$commands" "$tmp/hutch-exec" exec bench -- true , "$tmp/hutch-version" version >"$tmp/out"
whole <"$tmp/out"

echo "memory:"
awk '/^[0-9a-f]+-[0-9a-f]+ / { guest = 0 }
	/^Size:/ { guest = $2 >= 500 * 1024 }
	/^Rss:/ && guest { rss += $2 }
	/^Private_/ && !guest { own += $2 }
	END { printf "  hutch        %6d KiB of its own, beside %d KiB of its guest\n", own, rss }' "/proc/$(cat "$tmp/pid")/smaps"
build/hutch exec bench -- grep -E 'VmHWM|VmRSS' /proc/1/status |
	awk '{ sub(/:/, "", $1); printf "  agent        %6d KiB %s\n", $2, $1 }'
printf '  agent        %6d KiB as a file\n' $(($(stat -c %s build/agent/agent) / 1024))
build/hutch kill bench
build/hutch rm bench 2>/dev/null || :
is_gone
