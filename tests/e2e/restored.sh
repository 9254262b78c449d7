#!/bin/sh
# tests/e2e/restored.sh [GROUP...]: what goes on in a sandbox that was paused or restored, on the default guest. See
# lib.sh.inc and run.sh.inc.
#
#   restored   commands survive a restore, and no other end of their client's; clocks and watchdogs notice nothing
#   crowd      (by name only: it takes minutes where guests are emulated) ten restores, each with commands that go on
#              and 64 clients at once
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh.inc
. tests/e2e/run.sh.inc
limit=150
XDG_DATA_HOME=$tmp/data # the store of snapshots
export XDG_DATA_HOME

in_box() { # WORDS: a line of shell in the guest
	timeout 60 $hutch exec box -- sh -c "$*" </dev/null 2>>"$tmp/err"
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

# a watchdog that looks after 4 s sees nothing of 5 s in which the machine stood still
pauses() {
	in_box 'echo 2 >/proc/sys/kernel/watchdog_thresh; cat /proc/sys/kernel/soft_watchdog' >"$tmp/out"
	is "pause: there is a watchdog" 1
	before=$(in_box date +%s)
	for _ in 1 2; do
		check "pause" 0 pause box && sleep 5 && check "resume" 0 resume box
		in_box true
	done
	no_lockup "pause: no lockup"
	between "pause: the date advances" $((before + 1)) $((before + 60)) "$(in_box date +%s)"
}

# comes_back NAME LOW HIGH SECONDS: a restore, and the loop counts from between these on
comes_back() {
	check "$1" 0 restore -d "$(basename "$snap" .snap)" && is "$1" box
	now=$(in_box 'cut -d. -f1 /proc/uptime; cat /tmp/n')
	between "$1: the guest's clock goes on" "$uptime" $((uptime + 60)) "$(echo "$now" | head -n 1)"
	between "$1: the command goes on from where it was" "$2" "$3" "$(echo "$now" | tail -n 1)"
	sleep "$4" # the first time longer than a command may wait for its host
	last=$(in_box cat /tmp/n)
	between "$1: and goes on" $((2 + $(echo "$now" | tail -n 1))) 100000 "$last"
	no_lockup "$1: no lockup"
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

restored() {
	check "run -d" 0 run $patience -d --name box -- \
		sh -c 'i=0; while :; do i=$((i + 1)); echo $i >/tmp/.n; mv /tmp/.n /tmp/n; echo line $i; sleep 0.2; done' || return
	client_killed
	pauses
	# one whose client stands still, and one that reads
	$hutch exec box -- sh -c 'head -c 3000000 /dev/zero; echo >/tmp/loud; sleep 1000' </dev/null 2>&1 | sleep 1000 &
	sleep 1000 | $hutch exec -i box -- sh -c 'echo >/tmp/reads; cat; echo >/tmp/ended' >/dev/null 2>&1 &
	in_box 'until [ -e /tmp/reads ]; do sleep 0.1; done; sleep 1'
	now=$(in_box 'cut -d. -f1 /proc/uptime; cat /tmp/n; ls -d /tmp/loud 2>/dev/null')
	uptime=$(echo "$now" | sed -n 1p) count=$(echo "$now" | sed -n 2p)
	between "a command that nobody listens to waits" 2 2 "$(echo "$now" | wc -l)"
	check "snapshot" 0 snapshot box && read -r snap <"$tmp/out" && check "kill" 0 kill box
	id=$($hutch snap ls --json | sed -n 's/.*"id":"\([0-9a-f]*\)".*/\1/p')
	comes_back "restore" "$count" $((count + 50)) 6
	in_box 'ls -d /tmp/loud /tmp/ended 2>/dev/null' >"$tmp/out"
	is "restore: what is said is taken, and no input has an end" /tmp/loud
	check "kill" 0 kill box
	comes_back "restore again" "$count" $((count + 50)) 1
	as_any_other
	nothing_left "restored: nothing is left"
}

run_groups "restored" "$@"
