#!/bin/sh
# tests/bench/net.sh [RUNS] [SECONDS]: iperf3 and round trips over virtio-net and a tap, hutch and QEMU's microvm in turns
#
# A guest on a tap interface of a network namespace; the other end is iperf3 on the host. QEMU without vhost, with
# its offloads, as hutch. Rows are Mbit/s from and to the guest with one stream, and TCP round trips of one byte a
# second, medians of RUNS. The number behind each is hutch's rate over that VMM's: above 1 hutch is faster.
set -eu
cd "$(dirname "$0")/../.."
runs=${1:-3} seconds=${2:-3}
. tests/bench/lib.sh.inc
[ -x build/tests/peer ] || make -s build/tests/peer
in_testbed "$runs" "$seconds"
programs "$tmp/tools.cpio" "$(command -v iperf3)" build/tests/peer
guest_files "$tmp/tools.cpio"

if [ "${HUTCH_BENCH_NET:-}" != inside ]; then
	HUTCH_BENCH=inside HUTCH_BENCH_NET=inside exec unshare -n "$0" "$runs" "$seconds"
fi
ip link set lo up
ip tuntap add hutch0 mode tap
ip addr add 192.0.2.1/24 dev hutch0
ip link set hutch0 up
iperf3 -s >/dev/null 2>&1 &
servers=$!
build/tests/peer echo tcp-listen:192.0.2.1:7 1000000 >/dev/null 2>&1 &
servers="$servers $!"
trap 'kill $servers 2>/dev/null; rm -rf "$tmp"' EXIT

line=$(guest_line <<EOT
ip addr add 192.0.2.2/24 dev eth0 && ip link set eth0 up
sleep 1
rate() { # ROW FLAGS...
	row=\$1
	shift
	iperf3 -c 192.0.2.1 -t $seconds -O 1 -f m "\$@" | sed -n "s|.* \([0-9.]*\) Mbits/sec.*receiver.*|figure \$row \1|p"
}
rate from-the-guest
rate to-the-guest -R
peer rr tcp:192.0.2.1:7 2000 1 | sed -n "s|.* \([0-9]*\)/s.*|figure round-trips \1|p"
EOT
)
qnet="-netdev tap,id=n,ifname=hutch0,script=no,downscript=no,vhost=off"
for _ in $(seq "$runs"); do
	one hutch-mmio hutch --net tap=hutch0
	one qemu-mmio qemu "" $qnet -device virtio-net-device,netdev=n
	one hutch-pci hutch --transport pci --net tap=hutch0
	one qemu-pci qemu ,pcie=on $qnet -device virtio-net-pci,netdev=n,rombar=0
done
table hutch-mmio qemu-mmio
table hutch-pci qemu-pci
