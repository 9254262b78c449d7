#!/bin/sh
# tests/e2e/vsock.sh [GROUP...]: a Debian guest and programs of the host talk over virtio-vsock.
#
# On a machine whose KVM can run Linux this runs as it is, elsewhere inside the testbed. Prints "ok NAME" or
# "not ok NAME"; what a failed guest said goes to stderr.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh.inc
peer=build/tests/peer
limit=300
BYTES=${HUTCH_VSOCK_BYTES:-16M}

bad() { # NAME WHY
	echo "not ok $1: $2"
	{ echo "--- $1"; tail -n 40 "$tmp/out"; cat "$tmp/err" "$tmp"/host.*; } >&2
}

# expect NAME FILE PATTERN...: each pattern stands in the file
expect() {
	name=$1 file=$2
	shift 2
	for pattern; do
		if ! grep -qE "$pattern" "$file"; then
			bad "$name" "$(basename "$file") does not show '$pattern'"
			return
		fi
	done
	echo "ok $name"
}

# what the guest does; each line of the peer is marked with its test
guest_script() {
	cat <<-EOT
		[ "\$(stat -c %t:%T /dev/vsock)" ] && echo device
		p() { name=\$1; shift; /peer "\$@" 2>&1 | sed "s/^/\$name: /"; }
		p host-many echo vsock-listen:1000 100 &
		p host-rr echo vsock-listen:1001 1 &
		p host-send sink vsock-listen:1002 &
		p host-sink send vsock-listen:1003 $BYTES &
		p host-cut echo vsock-listen:1004 10 &
		p guest-many -w 60 many vsock:2:2000 100 20000
		p guest-send -w 60 send vsock:2:2001 $BYTES
		p guest-sink -w 60 sink vsock:2:2002
		p guest-rr -w 60 rr vsock:2:2003 300 64
		p guest-refused many vsock:2:2999 1
		for i in 1 2 3 4 5 6 7 8 9 10; do /peer -w 60 rr vsock:2:2004 1000000 60000 & cut="\$cut \$!"; done 2>/dev/null
		sleep 2
		kill -9 \$cut && echo guest-killed
		echo cut-done
		p last-echo echo vsock-listen:1005 1
		sleep 2
		dmesg -r | grep -iE '^<[0-4]>.*(vsock|virtio)' && echo complaint
		echo guest-fine
	EOT
}

# start FILE COMMAND...: a program of the host in the background
start() {
	file=$tmp/host.$1
	shift
	"$@" >"$file" 2>&1 &
	started="$started $!"
}

# wait_for FILE PATTERN: at most 100 s
wait_for() {
	i=0
	until grep -qE "$2" "$1" 2>/dev/null; do
		i=$((i + 1))
		[ $i -lt 1000 ] || return 1
		sleep 0.1
	done
}

host_side() {
	v=$1 started=
	# a guest may take longer to boot than the minute that a peer waits for its port
	wait_for "$tmp/raw" '^device'
	start guest-many $peer echo "unix-listen:${v}_2000" 100
	start guest-send $peer sink "unix-listen:${v}_2001"
	start guest-sink $peer send "unix-listen:${v}_2002" $BYTES
	start guest-rr $peer echo "unix-listen:${v}_2003" 1
	start guest-cut $peer echo "unix-listen:${v}_2004" 10
	start host-many $peer -w 60 many "fc:$v:1000" 100 20000
	start host-send $peer -w 60 send "fc:$v:1002" $BYTES
	start host-sink $peer -w 60 sink "fc:$v:1003"
	for i in 1 2 3 4 5 6 7 8 9 10; do
		$peer -w 60 rr "fc:$v:1004" 1000000 60000 >/dev/null 2>&1 &
		eval "cut$i=$!"
	done
	wait_for "$tmp/raw" guest-rr:
	$peer rr "fc:$v:1001" 300 64 >"$tmp/host.host-rr" 2>&1
	$peer many "fc:$v:1999" 1 >"$tmp/host.host-refused" 2>&1
	for i in 1 2 3 4 5 6 7 8 9 10; do eval "kill -9 \$cut$i"; done 2>/dev/null
	wait_for "$tmp/raw" cut-done
	$peer -w 60 many "fc:$v:1005" 1 200000 >"$tmp/host.last" 2>&1
}

both_ways() { # BUS NAME V FLAGS...
	bus=$1 v=$2
	shift 2
	$hutch boot $cloud --initrd "$tmp/peer.cpio" --transport "$bus" \
		--append "console=ttyS0 quiet hutch.sh=$(guest_script | base64 -w0)" "$@" \
		>"$tmp/raw" 2>"$tmp/err" </dev/null &
	machine=$!
	i=0
	until [ -S "$v" ] || [ $i = 100 ]; do i=$((i + 1)); sleep 0.1; done
	host_side "$v"
	sleep 0.5
	$hutch inspect "$bus" --json >"$tmp/tree" 2>&1
	wait $machine
	status=$?
	# shellcheck disable=SC2086 # one word each
	kill $started 2>/dev/null
	tr -d '\r' <"$tmp/raw" >"$tmp/out"
	[ $status = 0 ] || { bad "vsock over $bus" "exit status $status"; return; }
	o=$tmp/out h=$tmp/host
	expect "100 connections of the host over $bus" $h.host-many '^many 100 connections'
	expect "100 connections of the guest over $bus" $o 'guest-many: many 100 connections'
	expect "the host sends over $bus" $o 'host-send: received [0-9]{6,} bytes'
	expect "the guest sends over $bus" $h.guest-send 'received [0-9]{6,} bytes'
	expect "the host takes over $bus" $h.host-sink 'received [0-9]{6,} bytes'
	expect "the guest takes over $bus" $o 'guest-sink: received [0-9]{6,} bytes'
	expect "round trips of the host over $bus" $h.host-rr '^rr 300'
	expect "round trips of the guest over $bus" $o 'guest-rr: rr 300'
	expect "ports where nobody listens over $bus" $h.host-refused 'connect: '
	expect "ports of the host where nobody listens over $bus" $o 'guest-refused: peer: connect: Connection reset'
	expect "programs of the host that die over $bus" $o 'host-cut: echoed 10 connections'
	expect "programs of the guest that die over $bus" $h.guest-cut 'echoed 10 connections'
	expect "a connection after all that over $bus" $h.last '^many 1 connections'
	expect "no connection is left over $bus" "$tmp/tree" '"vsock":\{"kicks":[0-9]{3,}.*"connections":0,"opened":2[0-9]{2}'
	if grep -q '^complaint' "$o"; then bad "the guest is fine over $bus" "its kernel complains"
	else expect "the guest is fine over $bus" $o '^device$' '^guest-killed$' '^guest-fine$' 'hutch-exit=0'; fi
	if [ -e "$v" ]; then bad "the socket is removed over $bus" "it is there"; else echo "ok the socket is removed over $bus"; fi
	grep -hE 'MB/s|rr 300|many 100' "$o" $h.* | sed "s/^/    $bus: /" >&2
}

# a killed machine leaves its socket; the next of that name takes its place, and leaves nothing
left_behind() {
	v=$XDG_RUNTIME_DIR/hutch/left/vsock
	for signal in KILL TERM; do
		$hutch boot --kernel build/tests/kvm/ends.elf --append h --memory 32M --name left --vsock \
			</dev/null >"$tmp/out" 2>"$tmp/err" &
		machine=$!
		wait_for_machine left || { bad "a socket left behind" "no machine before SIG$signal"; return; }
		[ -S "$v" ] || { bad "a socket left behind" "no socket before SIG$signal"; return; }
		kill -$signal $machine
		wait $machine
		[ $signal = KILL ] && [ ! -S "$v" ] && bad "a socket left behind" "it is not"
	done 2>/dev/null
	if [ -e "$XDG_RUNTIME_DIR/hutch/left" ]; then bad "a socket left behind" "the run folder is still there"
	else echo "ok a socket left behind is replaced"; fi
}

wait_for_machine() {
	i=0
	until $hutch inspect "$1" >/dev/null 2>&1; do
		i=$((i + 1))
		[ $i -lt 200 ] || return 1
		sleep 0.1
	done
}

set_up() {
	export XDG_RUNTIME_DIR="$tmp"
	mkdir -p "$tmp/tree.d"
	cp "$peer" "$tmp/tree.d/peer"
	(cd "$tmp/tree.d" && echo peer | cpio -o -H newc --quiet) >"$tmp/peer.cpio"
}

mmio() {
	set_up
	left_behind
	both_ways mmio "$tmp/v" --name mmio --vsock "path=$tmp/v"
}

pci() {
	set_up
	both_ways pci "$XDG_RUNTIME_DIR/hutch/pci/vsock" --name pci --vsock cid=77 --cpus 2
}

run_groups "mmio pci" "$@"
