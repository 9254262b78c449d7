#!/bin/sh
# tests/e2e/small.sh [GROUP...]: random numbers, the balloon and the virtio console, as Linux uses them
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh.inc
limit=330

rng() {
	for bus in mmio pci; do
		boot "rng over $bus" 0 $cloud --transport $bus <<-EOT || continue
			cat /sys/class/misc/hw_random/rng_current
			head -c 200000 /dev/hwrng >/a && head -c 200000 /dev/hwrng >/b
			cmp -s /a /b || echo different
			gzip -c /a | wc -c | sed 's/^/packed /'
		EOT
		has "rng over $bus" '^virtio_rng' '^different$' '^packed 20[0-9]{4}$'
	done
	boot "no rng" 0 $cloud --rng=no <<-EOT && has "no rng" '^none$'
		[ -e /sys/class/misc/hw_random/rng_current ] && cat /sys/class/misc/hw_random/rng_current || echo none
	EOT
}

rss() { # KiB of the machine
	awk '/^VmRSS/ { print $2 }' "/proc/$pid/status"
}

# wait until the console shows PATTERN, or the machine has ended
shows() {
	for _ in $(seq 600); do
		grep -qE "$1" "$tmp/raw" && return
		kill -0 $pid 2>/dev/null || return
		sleep 0.2
	done
}

# hold until COMMAND succeeds, 60 s at most
until_true() {
	for _ in $(seq 120); do
		"$@" && return
		sleep 0.5
	done
	return 1
}

rss_below() {
	[ "$(rss)" -lt "$1" ]
}

# what the guest frees and what is asked back is really the host's again
balloon() {
	# shellcheck disable=SC2016 # the guest's variables
	script=$(base64 -w0 <<'EOT'
free_k() { awk '/^MemFree/ { print $2 }' /proc/meminfo; }
mount -t tmpfs -o size=100% t /mnt
dd if=/dev/urandom of=/mnt/x bs=1M count=120 2>/dev/null
echo step-used
sleep 1
rm /mnt/x
echo step-freed
until [ -e /sys/bus/virtio/drivers/virtio_balloon ] && [ "$(free_k)" -lt 90000 ]; do sleep 0.2; done
echo step-inflated
dd if=/dev/zero of=/mnt/y bs=1M count=100 2>/dev/null && ls -l /mnt/y
echo step-survived
EOT
	)
	$hutch boot $cloud --memory 256M --balloon --name e2e-balloon --append "console=ttyS0 quiet hutch.sh=$script" \
		>"$tmp/raw" 2>"$tmp/err" </dev/null &
	pid=$!
	shows step-used
	used=$(rss)
	shows step-freed
	if until_true rss_below $((used - 80000)); then echo "ok freed pages go back to the host ($used to $(rss) KiB)"; else
		echo "not ok freed pages stay: $used, now $(rss) KiB"
	fi
	$hutch set e2e-balloon balloon=128M || echo "not ok balloon: set"
	shows step-inflated
	$hutch inspect e2e-balloon --json >"$tmp/tree.json"
	shows step-survived
	wait $pid
	tr -d '\r' <"$tmp/raw" >"$tmp/out"
	has "balloon: inflated, and given up when memory runs out" step-inflated '104857600 .*/mnt/y' step-survived hutch-exit=0
	if grep -q '"size":134217728' "$tmp/tree.json"; then echo "ok the balloon's size in the tree"; else echo "not ok the balloon's size in the tree"; fi
}

# 5,000 lines take an emulated guest a quarter of a minute, so each bus is a group of its own
console() { # BUS
	console=hvc0 boot "virtio console over $1" 0 $cloud --transport $1 --console-device virtio --console-size 91x33 <<-EOT || return
		stty size
		cat /proc/consoles
		seq 5000 | md5sum
		seq 5000
	EOT
	if [ "$(grep -cE '^[0-9]+$' "$tmp/out")" -lt 5000 ]; then bad "virtio console over $1" "lines are missing"; return; fi
	has "virtio console over $1" '^33 91$' '^hvc0 ' 'hutch-exit=0'
}

console_mmio() { console mmio; }

console_pci() { console pci; }

# the console on virtio, with a size; random numbers; a balloon that is filled and tells of the guest's memory
live() {
	for bus in mmio pci; do
		script=$(base64 -w0 <<-EOT
			sleep 0.5
			echo console \$(cat /sys/class/tty/console/active) \$(stty size)
			echo rng \$(cat /sys/class/misc/hw_random/rng_current) \$(head -c 100 /dev/hwrng | wc -c)
			total() { awk '/^MemTotal/ { print \$2 }' /proc/meminfo; }
			try() { i=0; while [ \$i -lt 60 ] && ! "\$@"; do sleep 0.25; i=\$((i + 1)); done; "\$@" && echo ok: "\$@"; }
			less() { [ \$(total) -lt 150000 ]; }
			more() { [ \$(total) -gt 200000 ]; }
			size() { [ "\$(stty size)" = "\$*" ]; }
			try less
			echo typed \$(head -n 1)
			try more
			try size 30 100
		EOT
		)
		(
			i=0
			until $hutch inspect --json e2e-devices >"$tmp/tree.json" 2>/dev/null && grep -q '"readings":[1-9]' "$tmp/tree.json" &&
				grep -q '"reported":[1-9]' "$tmp/tree.json"; do
				i=$((i + 1))
				[ $i -lt 60 ] || break
				sleep 0.5
			done
			i=0
			until grep -q '^ok: less' "$tmp/raw" || [ $i = 60 ]; do
				i=$((i + 1))
				sleep 0.5
			done
			$hutch set e2e-devices balloon=0M
			$hutch set e2e-devices console-size=100x30
			echo hello
			while $hutch inspect e2e-devices >/dev/null 2>&1; do sleep 1; done
		) | timeout 250 $hutch boot $cloud --memory 256M --transport $bus --name e2e-devices --console-device virtio \
			--console-size 91x37 --balloon 96M,deflate_on_oom=no,stats=1 --append "console=auto quiet hutch.sh=$script" \
			>"$tmp/raw" 2>"$tmp/err"
		status=$?
		tr -d '\r' <"$tmp/raw" >"$tmp/out"
		if [ $status != 0 ]; then
			bad "devices over $bus" "exit status $status"
			continue
		fi
		has "virtio console, rng and balloon over $bus" '^console hvc0 37 91$' '^rng virtio_rng.0 100$' \
			'^ok: less$' '^typed hello$' '^ok: more$' '^ok: size 30 100$' 'hutch-exit=0'
		for count in total inflated reported; do
			if grep -q "\"$count\":[1-9]" "$tmp/tree.json"; then echo "ok balloon over $bus counts $count"
			else bad "balloon over $bus counts $count" "$(grep -o '"counters".*' "$tmp/tree.json")"; fi
		done
	done
}

run_groups "rng balloon console_mmio console_pci live" "$@"
