#!/bin/sh
# tests/bench/vsock.sh [RUNS] [MIB]: one stream and round trips over virtio-vsock, and over a Unix socket of the host
#
# The Unix socket is the limit: what two processes of the host get without any guest. Rows are MB/s of one stream
# to and from the guest, and round trips of one byte a second, medians of RUNS.
set -eu
cd "$(dirname "$0")/../.."
runs=${1:-3} mib=${2:-64}
. tests/bench/lib.sh.inc
[ -x build/tests/peer ] || make -s build/tests/peer
in_testbed "$runs" "$mib"
programs "$tmp/tools.cpio" build/tests/peer
guest_files "$tmp/tools.cpio"
peer=build/tests/peer

figures() { # ROW FILE: of a sink's line, or of rr's
	sed -n -e "s|.* \([0-9.]*\) MB/s.*|figure $1 \1|p" -e "s|.* \([0-9]*\)/s\$|figure $1 \1|p" "$2"
}

# the same three with both ends on the host
host() {
	$peer sink "unix-listen:$tmp/u" >"$tmp/sink" &
	$peer -w 5 send "unix:$tmp/u" "${mib}M" >/dev/null
	wait $!
	figures stream-to "$tmp/sink"
	figures stream-from "$tmp/sink"
	rm -f "$tmp/u"
	$peer echo "unix-listen:$tmp/u" 1 >/dev/null &
	$peer -w 5 rr "unix:$tmp/u" 5000 1 >"$tmp/rr"
	wait $!
	figures round-trips "$tmp/rr"
	rm -f "$tmp/u"
}

# the guest listens at 1 and 3, and sends to the host's port 2
vsock() {
	hutch --vsock "path=$tmp/v" "$@" >"$tmp/console" 2>&1 </dev/null &
	vm=$!
	until grep -q '^ready' "$tmp/console"; do sleep 0.2; kill -0 $vm || { cat "$tmp/console" >&2; return 1; }; done
	$peer -w 10 send "fc:$tmp/v:1" "${mib}M" >/dev/null
	$peer sink "unix-listen:$tmp/v_2" >"$tmp/sink" &
	sink=$!
	$peer -w 10 rr "fc:$tmp/v:3" 5000 1 >"$tmp/rr"
	wait $sink
	wait $vm
	tr -d '\r' <"$tmp/console" >"$tmp/plain"
	figures stream-to "$tmp/plain"
	figures stream-from "$tmp/sink"
	figures round-trips "$tmp/rr"
}

line=$(guest_line <<EOT
modprobe vmw_vsock_virtio_transport
echo ready
peer sink vsock-listen:1
peer echo vsock-listen:3 1
peer -w 10 send vsock:2:2 ${mib}M
EOT
)
for _ in $(seq "$runs"); do
	one unix-socket host
	one hutch-mmio vsock
	one hutch-pci vsock --transport pci
done
table unix-socket hutch-mmio hutch-pci
