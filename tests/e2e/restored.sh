#!/bin/sh
# tests/e2e/restored.sh [GROUP...]: what goes on in a sandbox that was paused or restored, on the default guest. See
# lib.sh.inc and run.sh.inc.
#
#   restored   commands survive a restore, and no other end of their client's; clocks and watchdogs notice nothing
#   crowd      (by name only: it takes minutes where guests are emulated) 30 restores, each of a snapshot of the one
#              before, with commands that go on through all of them, and 64 clients at once
#   still      (by name only, too) twelve pauses of 5 s
#   chain      (by name only, too) a chain of hashes over memory and a disk, saved and restored 20 times at any moment,
#              in each way there is, comes to what it comes to without
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh.inc
. tests/e2e/run.sh.inc
limit=300
case $* in *crowd* | *still* | *chain*) limit=3000 ;; esac
XDG_DATA_HOME=$tmp/data # the store of snapshots
export XDG_DATA_HOME

in_box() { # WORDS: a line of shell in the guest
	timeout 60 $hutch exec box -- sh -c "$*" </dev/null 2>>"$tmp/err"
}

prepare() {
	make -s build/tests/ask || { echo "not ok prepare a crowd of clients"; exit 1; }
}

# between NAME LOW HIGH VALUE: a number, and one of those
between() {
	if [ "$4" -ge "$2" ] 2>/dev/null && [ "$4" -le "$3" ]; then echo "ok $1"; else bad "$1" "'$4' is not between $2 and $3"; fi
}

no_lockup() { # NAME
	in_box dmesg >"$tmp/out"
	if ! [ -s "$tmp/out" ]; then bad "$1" "the guest's kernel says nothing at all"
	elif grep -q "lockup" "$tmp/out"; then bad "$1" "the guest's kernel tells of a lockup"
	else echo "ok $1"; fi
}

# its client is killed: the command is gone within 3 s
client_killed() {
	$hutch exec -i box -- sh -c 'echo $$ >/tmp/pid; exec yes' </dev/null >/dev/null 2>&1 &
	client=$!
	pid=$(in_box 'until [ -s /tmp/pid ]; do sleep 0.1; done; cat /tmp/pid')
	between "kill -9 of a client: its command runs" 1 1 "$(in_box "ls -d /proc/$pid | wc -l")"
	kill -9 $client
	sleep 3
	between "kill -9 of a client: its command is gone" 0 0 "$(in_box "ls -d /proc/$pid 2>/dev/null | wc -l")"
}

# a watchdog that looks after 4 s sees nothing of 5 s in which the machine stood still; a processor that is idle is
# not looked at
pauses() { # TIMES
	in_box 'while :; do :; done >/dev/null 2>&1 & echo $! >/tmp/busy'
	in_box 'echo 2 >/proc/sys/kernel/watchdog_thresh; cat /proc/sys/kernel/soft_watchdog' >"$tmp/out"
	is "pause: there is a watchdog" 1
	for _ in $(seq "$1"); do
		check "pause" 0 pause box && sleep 5 && check "resume" 0 resume box
		in_box true
	done
	sleep 2
	no_lockup "pause: no lockup"
	in_box 'kill $(cat /tmp/busy)'
	near "pause: the date is right" box
}

clock_and_count() {
	now=$(in_box 'cut -d. -f1 /proc/uptime; cat /tmp/n')
	clock=$(echo "$now" | head -n 1) count=$(echo "$now" | tail -n 1)
}

# comes_back NAME LOW HIGH SECONDS: a restore, and the loop counts from between these on
comes_back() {
	check "$1" 0 restore -d "$(basename "$snap" .snap)" && is "$1" box
	near "$1: the date is right" box
	all_at_once "$1: 64 clients at once"
	clock_and_count
	between "$1: the guest's clock goes on" "$uptime" $((uptime + 60)) "$clock"
	between "$1: the command goes on from where it was" "$2" "$3" "$count"
	sleep "$4" # the first time longer than a command may wait for its host
	clock_and_count
	was=$count
	between "$1: and its clock runs" $((uptime + $4)) $((uptime + 60 + $4)) "$clock"
	sleep 1
	clock_and_count
	between "$1: and the command goes on" $((was + 1)) 100000 "$count"
	no_lockup "$1: no lockup"
}

# who was connected comes back, and all the others with him
all_at_once() { # NAME [COMMAND...]
	all=$1
	shift
	timeout 60 build/tests/ask "$HUTCH_ROOT/box/vsock" 64 crowd "$@" >"$tmp/out" 2>&1
	if grep -q '^crowd of 64: ' "$tmp/out"; then echo "ok $all"; else bad "$all" "not all have been served"; fi
}

# what can be done to any sandbox
as_any_other() {
	check "restored: ps" 0 ps && holds "restored: ps" "$tmp/out" box running "restore box-"
	check "restored: cp" 0 cp "$tmp/out" box:/tmp/file && check "restored: stats" 0 stats --json box &&
		holds "restored: stats" "$tmp/out" '"status":"running"'
	check "restored: logs" 0 logs box && is "restored: logs, of which there are none" ""
	check "restored: agent" 0 logs --source agent box && holds "restored: agent" "$tmp/out" "3 commands go on after a restore"
	check "restored: events" 0 events --json box && holds "restored: events" "$tmp/out" '"event":"execution.restore"' \
		"\"snapshot\":\"$id\",\"path\":\"$snap\""
	check "restored: pause" 0 pause box && check "restored: resume" 0 resume box
	$hutch wait box >/dev/null 2>&1 &
	waiter=$!
	check "restored: stop" 0 stop --time 20s box && wait $waiter && echo "ok restored: wait, and stop"
	check "restored: rm" 0 rm box
}

# a command in a guest that goes on, beside what was running
from_it() {
	check "run --from" 0 run $patience --from "$snap" --keep --name other -- \
		sh -c 'was=$(cat /tmp/n); sleep 2; [ "$(cat /tmp/n)" -gt "$was" ] && hostname' && is "run --from: commands go on" other
	check "run --from: events" 0 events --json other && holds "run --from: events" "$tmp/out" \
		'"event":"execution.restore"' "\"snapshot\":\"$id\",\"path\":\"$snap\"" '"event":"execution.start"'
	check "run --from: rm" 0 rm other
}

restored() {
	check "run -d" 0 run $patience -d --name box -- \
		sh -c 'i=0; while :; do i=$((i + 1)); echo $i >/tmp/.n; mv /tmp/.n /tmp/n; echo line $i; sleep 0.2; done' || return
	client_killed
	pauses 2
	# one whose client stands still, and one that reads
	$hutch exec box -- sh -c 'head -c 3000000 /dev/zero; echo >/tmp/loud; sleep 1000' </dev/null 2>&1 | sleep 1000 &
	sleep 1000 | $hutch exec -i box -- sh -c 'echo >/tmp/reads; cat; echo >/tmp/ended' >/dev/null 2>&1 &
	in_box 'until [ -e /tmp/reads ]; do sleep 0.1; done; sleep 1'
	between "a command that nobody listens to waits" 0 0 "$(in_box 'ls -d /tmp/loud 2>/dev/null | wc -l')"
	clock_and_count
	uptime=$clock first=$count
	check "snapshot" 0 snapshot box && read -r snap <"$tmp/out" && check "kill" 0 kill box
	id=$($hutch snap ls --json | sed -n 's/.*"id":"\([0-9a-f]*\)".*/\1/p')
	comes_back "restore" "$first" $((first + 50)) 6
	in_box 'ls -d /tmp/loud /tmp/ended 2>/dev/null' >"$tmp/out"
	is "restore: what is said is taken, and no input has an end" /tmp/loud
	check "kill" 0 kill box
	comes_back "restore again" "$first" $((first + 50)) 1
	as_any_other
	from_it
	nothing_left "restored: nothing is left"
}

crowd() {
	check "run -d" 0 run $patience -d --name box -- sh -c 'while :; do echo x >>/tmp/beat.0; sleep 1; done' || return
	for round in $(seq 30); do
		$hutch exec box -- sh -c "while :; do echo x >>/tmp/beat.$round; sleep 1; done" </dev/null >/dev/null 2>&1 &
		in_box "until [ -s /tmp/beat.$round ]; do sleep 0.1; done"
		check "crowd: snapshot" 0 snapshot box "$tmp/$round.snap" && check "crowd: kill" 0 kill box
		rm -f "$tmp/$((round - 1)).snap"
		check "crowd: restore $round" 0 restore -d "$tmp/$round.snap" || return
		all_at_once "crowd: 64 clients at once, round $round"
		in_box 'sleep 6; cat /tmp/beat.* | wc -l; for f in /tmp/beat.*; do wc -l <$f >$f~; done; sleep 3
			for f in /tmp/beat.*[0-9]; do [ $(wc -l <$f) -gt $(cat $f~) ] && echo; done | wc -l' >"$tmp/out"
		between "crowd: all commands go on, round $round" $((round + 1)) $((round + 1)) "$(tail -n 1 "$tmp/out")"
	done
	check "crowd: rm" 0 rm -f box
	nothing_left "crowd: nothing is left"
}

still() {
	check "run -d" 0 run $patience -d --name box -- sleep 1h || return
	pauses 12
	check "still: rm" 0 rm -f box
	nothing_left "still: nothing is left"
}

# FILE DISK STEPS: each hash is of all the ones before it and of a sector that was read back
hashes='head -c 200000 /dev/zero | tr "\\0" x >$1
	i=0
	while [ $i -lt $3 ]; do
		h=$({ cat $1; dd if=$2 bs=512 skip=$i count=1 2>/dev/null; } | sha256sum | cut -c1-64)
		i=$((i + 1))
		echo $h >>$1
		echo $h | dd of=$2 bs=512 seek=$i count=1 conv=notrunc,sync,fsync 2>/dev/null
	done
	cat $1 $2 | sha256sum | cut -c1-64 >$1.sum'

chain() {
	steps=300 disk=$tmp/0.img parent=
	truncate -s 1M "$disk" "$tmp/other.img"
	work="set -- /tmp/x /dev/vda $steps; $hashes"
	check "chain: without a stop" 0 run $patience --timeout 0 --disk "$tmp/other.img" -- sh -c "$work; cat /tmp/x.sum" || return
	uninterrupted=$(cat "$tmp/out")
	check "chain: run -d" 0 run $patience -d --timeout 0 --name box --disk "$disk" -- sh -c "$work; sleep 10000" || return
	for round in $(seq 20); do
		in_box "sleep 0.$(date +%N | cut -c1-2)"
		how= by=
		case $((round % 4)) in 1) how=--no-lazy ;; 2) by=--compress=none ;; 3) [ -z "$parent" ] || by=--parent=$parent ;; esac
		check "chain: snapshot $round" 0 snapshot $by box "$tmp/$round.snap" && check "chain: kill" 0 kill box || return
		parent=$tmp/$round.snap
		cp "$disk" "$tmp/$round.img" && rm -f "$disk" && disk=$tmp/$round.img
		check "chain: restore $round" 0 restore $how -d --disk "0=$disk" "$tmp/$round.snap" || return
	done
	# it was not over before it was restored for the last time
	in_box '[ ! -s /tmp/x.sum ] && echo under way' >"$tmp/out"
	is "chain: it has not ended yet" "under way"
	timeout 900 $hutch exec box -- sh -c 'until [ -s /tmp/x.sum ]; do sleep 0.2; done; cat /tmp/x.sum' </dev/null >"$tmp/out" 2>"$tmp/err"
	is "chain: the same as without a stop" "${uninterrupted:-none}"
	check "chain: rm" 0 rm -f box
	nothing_left "chain: nothing is left"
}

run_groups "restored" "$@"
