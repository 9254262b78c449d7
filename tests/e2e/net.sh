#!/bin/sh
# tests/e2e/net.sh [GROUP...]: Linux guests on a network: over a tap interface, and through passt.
#
# All of it happens in a network namespace of its own, with nothing of the host's network in it; on a machine
# whose KVM cannot run Linux, inside the testbed. Prints "ok NAME" or "not ok NAME"; what a failed guest said
# goes to stderr. Needs busybox, iproute2 and passt.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh.inc
limit=300 around="unshare -n"
[ "$(id -u)" = 0 ] || around="unshare -rn"

prepare() {
	for tool in ip busybox passt; do
		command -v $tool >/dev/null || { echo "skip net: $tool is not installed"; exit 0; }
	done
}

bad() { # NAME WHY
	echo "not ok $1: $2"
	{ echo "--- $1"; tr -d '\r' <"$tmp/raw" | tail -n 30; cat "$tmp/err"; } >&2
}

# guest NAME FLAGS...: run the commands on stdin in a guest that goes on while we do; ended by wait_guest
guest() {
	name=$1 ip=$2
	shift 2
	script=$(base64 -w0)
	: >"$tmp/raw"
	timeout 150 $hutch boot $cloud --name "e2e-net.$$" \
		--append "console=ttyS0 quiet ip=$ip hutch.sh=$script" "$@" >"$tmp/raw" 2>"$tmp/err" </dev/null &
	pid=$!
}

# until the console shows PATTERN, or the guest has ended
await() {
	while ! tr -d '\r' <"$tmp/raw" | grep -qE "$1"; do
		kill -0 $pid 2>/dev/null || return 1
		sleep 0.2
	done
}

# wait_guest PATTERN...: its console shows each pattern
wait_guest() {
	wait $pid
	status=$?
	[ $status = 0 ] || { bad "$name" "exit status $status"; return 1; }
	for pattern; do
		tr -d '\r' <"$tmp/raw" | grep -qE "$pattern" && continue
		bad "$name" "the console does not show '$pattern'"
		return 1
	done
}

counter() { # of the only card, by name
	sed -n "s/.*\"$1\": *\([0-9]*\).*/\1/p" "$tmp/tree.json" | head -n 1
}

serve() { # ADDRESS: /data, and a sink at port 9000 that ends with its first connection
	mkdir -p "$tmp/www"
	[ -e "$tmp/www/data" ] || head -c 6000000 /dev/urandom >"$tmp/www/data"
	sum=$(md5sum <"$tmp/www/data" | cut -d' ' -f1)
	busybox httpd -p "$1:8080" -h "$tmp/www"
}

# What the guest sends is to be what it got, or the beginning of it. The pipe is an input that never ends.
sink() { # BYTES
	want=$(head -c "$1" "$tmp/www/data" | md5sum | cut -d' ' -f1)
	rm -f "$tmp/hold" "$tmp/up"
	mkfifo "$tmp/hold"
	exec 9<>"$tmp/hold"
	# passt resets a connection now and then where all of it is emulated: that is told, and tried again
	for try in 1 2 3; do
		[ $try = 1 ] || echo "--- a connection was reset, try $try" >&2
		busybox nc -l -p 9000 <&9 >"$tmp/up"
		[ "$(md5sum <"$tmp/up" | cut -d' ' -f1)" != "$want" ] || break
	done &
	sink=$!
}

# what the guest at this address serves is to be what it got; then tell it
fetch() { # ADDRESS
	sink='' want=$sum
	await "^$sum" || return
	for _ in 1 2 3 4 5; do
		busybox wget -q -O "$tmp/up" "http://$1/d" 2>/dev/null && break
		sleep 0.5
	done
	for _ in 1 2 3 4 5; do
		echo done | busybox nc "$1" 9000 2>/dev/null && break
		sleep 0.5
	done
}

check_up() {
	[ -z "$sink" ] || wait "$sink"
	[ "$(md5sum <"$tmp/up" | cut -d' ' -f1)" = "$want" ] && return
	bad "$name" "$(wc -c <"$tmp/up") bytes came from the guest, not those it was sent"
	return 1
}

echoes() { # WORD: it comes back over the connection that is open
	echo "$1" >&8
	for _ in $(seq 200); do
		grep -qx "$1" "$tmp/echo" && return
		sleep 0.1
	done
	bad "$name, restored" "'$1' does not come back"
	return 1
}

# a machine that is saved and ended, and one that is restored from that: its connections go on
restored() { # ADDRESS
	await '^listening' || return
	rm -f "$tmp/say" "$tmp/echo" "$tmp/net.snap"
	mkfifo "$tmp/say"
	busybox nc "$1" 7000 <"$tmp/say" >"$tmp/echo" &
	nc=$!
	exec 8>"$tmp/say"
	if echoes before && $hutch snapshot "e2e-net.$$" "$tmp/net.snap" >/dev/null 2>>"$tmp/err"; then
		$hutch stop --time 0 "e2e-net.$$"
		wait $pid
		timeout 150 $hutch restore "$tmp/net.snap" >>"$tmp/raw" 2>>"$tmp/err" </dev/null &
		pid=$!
		echoes after && echo "ok $name, restored: its connection goes on"
	fi
	exec 8>&-
	kill $nc 2>/dev/null
}

# 6 MB both ways with offloads over mmio, and the cable; then without offloads over pci
tap() {
	ip link set lo up
	ip tuntap add hutch0 mode tap || { echo "not ok tap: cannot make one"; return; }
	ip addr add 10.77.0.1/24 dev hutch0
	ip link set hutch0 up
	serve 10.77.0.1
	guest "TCP over tap, mmio, offloads" 10.77.0.2/24::10.77.0.1 --net tap=hutch0,mac=02:00:00:00:07:01 <<-EOT
		cat /sys/class/net/eth0/address
		ping -c 2 -W 5 10.77.0.1 >/dev/null && echo pong
		wget -q -O /d http://10.77.0.1:8080/data; md5sum </d
		httpd -h /
		nc -l -p 9000 </dev/null
		echo fetched
		while [ \$(cat /sys/class/net/eth0/carrier) = 1 ]; do sleep 0.1; done
		echo carrier lost
		while [ \$(cat /sys/class/net/eth0/carrier) = 0 ]; do sleep 0.1; done
		echo carrier back
		ping -c 2 -W 5 10.77.0.1 >/dev/null && echo pong again
		echo listening
		nc -l -p 7000 -e cat
		ip route
	EOT
	fetch 10.77.0.2
	if await '^fetched'; then
		$hutch inspect "e2e-net.$$" --json >"$tmp/tree.json"
		$hutch set "e2e-net.$$" net@0=link=no || bad "link=no" "hutch set failed"
		await '^carrier lost' && $hutch set "e2e-net.$$" net@0=link=yes
	fi
	restored 10.77.0.2
	wait_guest '^02:00:00:00:07:01$' '^pong$' "^$sum" '^carrier back' '^pong again' 'default via 10.77.0.1' &&
		check_up && echo "ok $name" && echo "ok link down and up while it runs"
	# frames larger than the wire's prove that the offloads were used
	tx=$(counter tx_packets) bytes=$(counter tx_bytes) rx=$(counter rx_packets)
	if [ "${tx:-0}" -gt 0 ] && [ $((bytes / tx)) -gt 2000 ] && [ $((6000000 / rx)) -gt 2000 ]; then
		echo "ok frames of $((bytes / tx)) bytes out and $((6000000 / rx)) in on average"
	else
		bad "large frames" "${bytes:-0} bytes in ${tx:-0} frames out, 6 MB in ${rx:-0} in"
	fi
	guest "TCP over tap, pci, no offloads, kernel's ip=" 10.77.0.3::10.77.0.1:255.255.255.0:box:eth0:off \
		--transport pci --net tap=hutch0,offload=no,mtu=1400 <<-EOT
		hostname
		cat /sys/class/net/eth0/mtu
		wget -q -O /d http://10.77.0.1:8080/data; md5sum </d
		httpd -h /
		nc -l -p 9000 </dev/null
		echo listening
		nc -l -p 7000 -e cat
		ip addr show eth0
	EOT
	fetch 10.77.0.3
	restored 10.77.0.3
	wait_guest '^box$' '^1400$' "^$sum" '10.77.0.3/24' && check_up && echo "ok $name"
	if $hutch boot --kernel build/guest/vmlinuz --net tap=lo 2>"$tmp/err" >"$tmp/raw" </dev/null; then
		bad "an interface that is no tap" "it boots"
	else
		grep -q 'tap lo: is an interface of another kind' "$tmp/err" && echo "ok an interface that is no tap" ||
			bad "an interface that is no tap" "no sentence about it"
	fi
}

ours() { # processes called $1 in this network namespace
	for p in /proc/[0-9]*; do
		[ "$(readlink "$p/ns/net")" = "$(readlink /proc/self/ns/net)" ] && grep -qs "^$1\(\.avx2\)*$" "$p/comm" && echo "${p#/proc/}"
	done
}

# address, route and MTU by DHCP from passt; TCP through it; the gateway is not a way to the host's loopback
# a host on a network, as passt wants to find it
outside() {
	ip link set lo up
	ip link add d0 type dummy || { echo "skip user: no dummy interface"; return 1; }
	ip addr add 10.88.0.2/24 dev d0
	ip addr add 10.99.0.1/32 dev d0
	ip link set d0 up
	ip route add default via 10.88.0.1
	serve 10.99.0.1
}

user() {
	outside || return
	busybox httpd -p 127.0.0.1:8081 -h "$tmp/www"
	sink 2000000
	guest "TCP through passt, address by DHCP" dhcp --net user --transport pci <<-EOT
		ip addr show eth0
		wget -q -O /d http://10.99.0.1:8080/data; md5sum </d
		for i in 1 2 3; do head -c 2000000 /d >/part; nc 10.99.0.1 9000 </part && break; sleep 1; done
		timeout 5 wget -q -O /dev/null http://10.88.0.1:8081/data; echo "loopback \$?"
		ip route
		cat /sys/class/net/eth0/address
	EOT
	wait_guest 'inet 10.88.0.2/24' "^$sum" 'default via 10.88.0.1' '^02:' && check_up && echo "ok $name"
	# ended, or refused: a program that fell over is no answer
	tr -d '\r' <"$tmp/raw" | grep -qE '^loopback (1|124|143)$' && echo "ok the gateway is not the host" ||
		bad "the gateway is not the host" "it answers"
	[ -z "$(ours passt)" ] && echo "ok no passt is left" || echo "not ok no passt is left"
	guest "no passt is left by a kill -9" dhcp --net user <<-EOT
		echo up; sleep 100
	EOT
	await '^up' && kill -9 $(ours hutch) || bad "$name" "it did not come up"
	wait $pid 2>/dev/null
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		[ -z "$(ours passt)" ] && break
		sleep 0.5
	done
	[ -z "$(ours passt)" ] && echo "ok $name" || echo "not ok $name"
}

# the same by hutch run, and a port of ours that leads to the guest; the guest stays until its standard input ends
publish() {
	[ -e /sys/class/net/d0 ] || outside || return
	rm -f "$tmp/stay" "$tmp/up"
	mkfifo "$tmp/stay"
	timeout 200 $hutch run --boot-timeout 150s --heartbeat 30s -i -p 8090:80 -- sh -c 'wget -q -O /d http://10.99.0.1:8080/data
		md5sum </d; mkdir /w; echo served >/w/i; httpd -p 80 -h /w; cat; echo end' <"$tmp/stay" >"$tmp/raw" 2>"$tmp/err" &
	pid=$!
	exec 7>"$tmp/stay"
	# a connection from before there is a server may be kept waiting: each try is a short one
	for _ in $(seq 600); do
		timeout 3 busybox wget -q -O "$tmp/up" http://127.0.0.1:8090/i 2>/dev/null && break
		kill -0 $pid 2>/dev/null || break
		sleep 0.3
	done
	exec 7>&-
	wait $pid
	status=$?
	if [ $status = 0 ] && grep -q "^$sum" "$tmp/raw" && grep -q end "$tmp/raw"; then
		echo "ok run: a network"
	else
		bad "run: a network" "exit status $status"
	fi
	[ "$(cat "$tmp/up")" = served ] && echo "ok run: a port of the host" || bad "run: a port of the host" "no answer"
	[ -z "$(ours passt)" ] && echo "ok no passt is left by run" || echo "not ok no passt is left by run"
}

leave() {
	[ -z "${sink:-}" ] || kill "$sink" 2>/dev/null
	for p in $(ours busybox) $(ours hutch); do kill "$p" 2>/dev/null; done
}

run_groups "tap user publish" "$@"
