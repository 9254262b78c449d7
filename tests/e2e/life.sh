#!/bin/sh
# tests/e2e/life.sh: the registry of sandboxes and the verbs that only need it, with flat guests, so that any
# /dev/kvm will do: what ps tells while many start and end, names, what kill -9 leaves, wait, stop, logs.
#
# Prints "ok NAME", "not ok NAME: WHY" or "skip NAME: WHY"; with arguments only those parts.
set -u
cd "$(dirname "$0")/../.." || exit 1
B=${B:-build}
hutch=$PWD/$B/hutch
flat=$PWD/$B/tests/kvm
tmp=$(mktemp -d "${TMPDIR:-/tmp}/hutch-life.XXXXXX") || exit 1
export HUTCH_ROOT="$tmp/run"
trap 'rm -rf "$tmp"' EXIT

if ! { : <>/dev/kvm; } 2>/dev/null; then
	echo "skip life: /dev/kvm cannot be opened"
	exit 0
fi

# check NAME COMMAND...
check() {
	name=$1
	shift
	if "$@" >"$tmp/check" 2>&1; then echo "ok $name"; else echo "not ok $name: $(head -n 3 "$tmp/check")"; fi
}

# gives NAME WANT-STATUS PATTERN ARGUMENTS...: what hutch prints, on stdout or stderr, has the pattern
gives() {
	name=$1 want=$2 pattern=$3
	shift 3
	timeout 20 "$hutch" "$@" </dev/null >"$tmp/out" 2>&1
	status=$?
	if [ $status != "$want" ]; then echo "not ok $name: exit status $status, not $want: $(head -n 3 "$tmp/out")"
	elif [ -n "$pattern" ] && ! grep -qE -- "$pattern" "$tmp/out"; then echo "not ok $name: '$(head -n 3 "$tmp/out")' is not like '$pattern'"
	else echo "ok $name"; fi
}

# wait_for COMMAND...: at most 10 s
wait_for() {
	i=0
	until "$@" >/dev/null 2>&1; do
		i=$((i + 1))
		[ $i -lt 500 ] || return 1
		sleep 0.02
	done
}

# nothing is in the registry, not even hidden
is_empty() {
	[ "$(ls -A "$HUTCH_ROOT")" = .lock ]
}

# start GUEST ARGUMENT FLAGS...: in the background, as $pid
start() {
	guest=$1 argument=$2
	shift 2
	"$hutch" boot --kernel "$flat/$guest.elf" --append "$argument" --memory 32M "$@" </dev/null >/dev/null 2>"$tmp/err" &
	pid=$!
}

# sleeper NAME FLAGS...: one that does nothing, for good, and is there
sleeper() {
	box=$1
	shift
	start ends h --name "$box" "$@"
	wait_for has_status "$box" running
}

has_status() {
	"$hutch" ps --all --json | grep -q "\"name\":\"$1\",.*\"status\":\"$2\""
}

# reap WANT-STATUS: how $pid ended
reap() {
	wait "$pid"
	status=$?
	[ $status = "$1" ] || { echo "exit status $status, not $1"; return 1; }
}

# 100 looks while 50 machines start and end: every record is whole, and nothing is said on stderr
records() {
	member='"id":"[0-9a-f]{32}","name":"r[0-9]+","pid":[0-9]+,"status":"(starting|running|stopping)"'
	times='"created_ms":[0-9]{13},"started_ms":([0-9]{13}|0),"ended_ms":0,"exit_code":0,"reason":"[^"]*"'
	last='"command":"boot [^"]*hello.elf x","keep":false,"correlation_id":"[0-9a-f]{32}","cpu_ms":[0-9]+,"memory_bytes":[0-9]+'
	{
		pids=
		for i in $(seq 50); do
			start hello x --name "r$i"
			pids="$pids $pid"
		done
		failed=0
		for p in $pids; do wait "$p" || failed=$((failed + 1)); done
		echo $failed >"$tmp/failed"
	} &
	starter=$!
	looks=
	for i in $(seq 50); do
		"$hutch" ps --json >"$tmp/json.$i" 2>"$tmp/json.err.$i" &
		looks="$looks $!"
		"$hutch" ps >"$tmp/table.$i" 2>"$tmp/table.err.$i" &
		looks="$looks $!"
		sleep 0.01
	done
	bad=0
	for p in $looks; do wait "$p" || bad=$((bad + 1)); done
	wait $starter
	check "50 machines start and end" grep -qx 0 "$tmp/failed"
	check "100 looks meanwhile end well" test $bad = 0
	check "and complain of nothing" sh -c "! cat $tmp/json.err.* $tmp/table.err.* | grep ."
	check "they have seen machines" test "$(cat "$tmp"/json.[0-9]* | grep -c '"id"')" -gt 50
	check "no record is torn" sh -c "! cat $tmp/json.[0-9]* | grep '\"id\"' | grep -vE '^ \\{$member,$times,$last\\},?$'"
	check "no line of a table is" sh -c "! cat $tmp/table.[0-9]* | grep -v ^NAME |
		grep -vE '^r[0-9]+ +[0-9a-f]{12} (starting|running|stopping) +[0-9]+ +[0-9]+(ms|s) +[0-9]+ms +[0-9]+M +boot .*hello.elf x$'"
	check "nothing is left of them" is_empty
	rm -f "$tmp"/json.* "$tmp"/table.*
}

# ten at once of one name: one has it
same_name() {
	pids=
	for i in $(seq 10); do
		"$hutch" boot --kernel "$flat/ends.elf" --append h --memory 32M --name same </dev/null >/dev/null 2>"$tmp/same.$i" &
		pids="$pids $!"
	done
	refused() { [ "$(cat "$tmp"/same.* | grep -c "a sandbox named 'same' runs already")" = 9 ]; }
	check "of ten with one name nine are refused" wait_for refused
	check "and one runs" test "$("$hutch" ps -q | grep -cx same)" = 1
	"$hutch" kill same
	codes=
	for p in $pids; do
		wait "$p" 2>/dev/null
		codes="$codes $?"
	done
	check "the refused end with 1" test "$(echo "$codes" | tr ' ' '\n' | grep -cx 1)" = 9
	check "nothing is left of the one" is_empty
}

# kills FLAGS...: 200 killed at any moment of their lives, as machines and as sandboxes, each looked at once: $left
# are those of which something is there after that. An at_kill() sees each before its end, an after_kill() behind it.
kills() {
	left=0
	for i in $(seq 200); do
		if [ $((i % 2)) = 0 ]; then start ends h --name killed "$@"; else
			"$hutch" run --kernel "$flat/ends.elf" --append h --memory 32M --name killed "$@" -- true </dev/null >/dev/null 2>"$tmp/err" &
			pid=$!
		fi
		sleep "0.0$((i % 6))$((i * 7 % 10))"
		at_kill
		kill -9 $pid
		wait $pid 2>/dev/null
		[ -z "$("$hutch" ps -q 2>&1)" ] && is_empty && after_kill || left=$((left + 1))
	done
}

at_kill() { :; }
after_kill() { :; }

killed() {
	kills
	check "kill -9 at 200 moments leaves nothing after one look" test $left = 0
	sleeper swept
	kill -9 $pid
	wait $pid 2>/dev/null
	gives "gc tells what it swept" 0 '^swept$' gc
	gives "and has nothing to sweep then" 0 'nothing to sweep' gc -v
	mkdir -p "$HUTCH_ROOT/.gone-0123/folder" "$HUTCH_ROOT/.new-4567" "$HUTCH_ROOT/junk"
	echo precious >"$tmp/precious"
	ln -s "$tmp/precious" "$HUTCH_ROOT/.gone-0123/link"
	ln -s "$tmp" "$HUTCH_ROOT/.gone-0123/folder/link"
	echo mine >"$HUTCH_ROOT/junk/file"
	"$hutch" ps >/dev/null
	check "halves of folders are swept" test "$(ls -A "$HUTCH_ROOT" | tr '\n' ' ')" = ".lock junk "
	check "links in them are not followed" grep -q precious "$tmp/precious"
	check "what is no sandbox is not touched" grep -q mine "$HUTCH_ROOT/junk/file"
	gives "and its name not taken" 1 "'junk' is in the folder of sandboxes and is none" \
		boot --kernel "$flat/hello.elf" --name junk
	rm -r "$HUTCH_ROOT/junk"
}

# the same with two taps each, one that hutch makes and one that was there; in a network namespace of their own
taps() {
	around="unshare -n"
	[ "$(id -u)" = 0 ] || around="unshare -rn"
	if ! command -v ip >/dev/null; then echo "skip kill -9 of machines with a tap: iproute2 is not installed"
	elif ! $around ip tuntap add there mode tap 2>"$tmp/err"; then
		echo "skip kill -9 of machines with a tap: none can be had here: $(head -n 1 "$tmp/err")"
	else $around tests/e2e/life.sh taps_inside; fi
}

has_link() { ip link show "$1" >/dev/null 2>&1; }

taps_inside() {
	ip tuntap add there mode tap
	had=0 busy=0
	at_kill() { ! has_link made || had=$((had + 1)); }
	after_kill() {
		! grep -q tap "$tmp/err" || busy=$((busy + 1))
		! has_link made && has_link there
	}
	kills --net tap=made --net tap=there
	check "kill -9 at 200 moments leaves no tap either" test $left = 0
	check "there were taps to be left ($had)" test $had -gt 20
	check "and the next one could always open them" test $busy = 0
	gives "both can be opened" 0 "" boot --kernel "$flat/hello.elf" --append x --memory 32M --net tap=made --net tap=there
	check "after the end, too, the one that was there is" eval 'has_link there && ! has_link made'
}

# makers take the names of the dead while others sweep them
sweepers() {
	pids=
	for i in $(seq 20); do
		start ends h --name "s$i"
		pids="$pids $pid"
	done
	all() { [ "$("$hutch" ps --json | grep -c '"status":"running"')" = "$1" ]; }
	wait_for all 20
	kill -9 $pids
	for p in $pids; do wait "$p" 2>/dev/null; done
	pids=
	for i in $(seq 20); do
		"$hutch" gc >"$tmp/gc.$i" 2>&1 &
		pids="$pids $!"
		start ends h --name "s$i"
		pids="$pids $pid"
	done
	check "20 take the names of dead ones while 20 sweep" wait_for all 20
	"$hutch" stop --time 0 $("$hutch" ps -q)
	for p in $pids; do wait "$p"; done
	check "each dead one was swept once at most" test -z "$(cat "$tmp"/gc.* | sort | uniq -d)"
	check "nothing is left of any" is_empty
}

# ends_with NAME WANT GUEST ARGUMENT: `hutch wait` ends with the code of the machine
ends_with() {
	name=$1 want=$2
	start "$3" "$4" --name ends --keep
	wait_for test -e "$HUTCH_ROOT/ends"
	timeout 20 "$hutch" wait ends >"$tmp/out" 2>&1
	status=$?
	wait $pid
	own=$?
	"$hutch" rm ends
	check "$name" test "$status $own" = "$want $want"
}

# it sleeps, and does not wake up to look
asleep() {
	before=$(grep -h ctxt_switches "/proc/$1/status")
	sleep 0.2
	grep -q '^State:.S' "/proc/$1/status" && [ "$before" = "$(grep -h ctxt_switches "/proc/$1/status")" ]
}

waits() {
	gives "wait for none" 1 "there is no sandbox 'none'" wait none
	ends_with "wait: power-off" 0 hello x
	ends_with "wait: panic" 3 ends v
	ends_with "wait: triple fault" 4 ends t
	bad=0
	for i in $(seq 20); do # the end comes while wait begins
		start ends t --name soon --keep
		wait_for test -e "$HUTCH_ROOT/soon"
		timeout 20 "$hutch" wait soon 2>/dev/null
		[ $? = 4 ] || bad=$((bad + 1))
		wait $pid
		"$hutch" rm soon
	done
	check "wait and the end race 20 times" test $bad = 0

	for how in "143 kill -TERM" "125 kill -9" "137 hutch" "143 hutch-s"; do
		sleeper waited
		"$hutch" wait waited 2>"$tmp/err" &
		waiter=$!
		wait_for asleep $waiter
		case $how in
		*hutch-s) "$hutch" kill -s TERM waited ;;
		*hutch) "$hutch" kill waited ;;
		*) ${how#* } $pid ;;
		esac
		wait $waiter
		check "wait ends after ${how#* } with ${how%% *}" test $? = "${how%% *}"
		wait $pid 2>/dev/null
	done
	check "nothing is left of those" sh -c "'$hutch' ps; [ \"\$(ls -A '$HUTCH_ROOT')\" = .lock ]"

	start ends t --name w1 --keep
	reap 4
	start hello x --name w0 --keep
	reap 0
	sleeper w2
	timeout 20 "$hutch" wait w0 w1 w2 >"$tmp/out" 2>&1 &
	waiter=$!
	wait_for grep -q w1 "$tmp/out"
	"$hutch" kill -s TERM w2
	wait $waiter
	check "wait for several ends with the first that failed" test $? = 4
	check "and tells each" test "$(tr '\n' ' ' <"$tmp/out")" = "w0 0 w1 4 w2 143 "
	wait $pid 2>/dev/null
	gives "one that is not there" 1 "there is no sandbox 'none'" wait w0 none
	check "and none is told" test "$(wc -l <"$tmp/out")" = 1
	"$hutch" rm w0 w1
}

pauses() {
	sleeper still
	check "pause" "$hutch" pause still
	check "ps shows it" has_status still paused
	gives "a second pause says so" 1 "sandbox 'still': the machine is paused already" pause still
	check "resume" "$hutch" resume still
	check "ps shows that" has_status still running
	gives "a second resume says so" 1 "the machine is not paused" resume still
	gives "pause of none" 1 "there is no sandbox 'none'" pause none
	"$hutch" pause still
	gives "a paused one is stopped" 0 "its guest is not asked" stop -v still
	wait $pid
	check "and nothing is left of it" is_empty
}

# stops NAME ARGUMENT TIME MOST-MS PATTERN: what stop does with a guest of the kind ARGUMENT
stops() {
	start button "$2" --name stops --keep --console "$tmp/console"
	wait_for grep -q ready "$tmp/console"
	[ "$2" != frozen ] || kill -STOP $pid
	before=$(date +%s%3N)
	gives "stop: $1" 0 "$5" stop -v --time "$3" stops
	took=$(($(date +%s%3N) - before))
	check "stop: $1, in $4 ms ($took)" test $took -le "$4"
	wait $pid 2>/dev/null
	"$hutch" rm stops 2>/dev/null
	rm -f "$tmp/console"
}

stop() {
	stops "a guest that heeds its power button" ok 20s 10000 "power button was pressed$"
	check "it powers off by itself" sh -c "! grep -q 'machine was stopped' $tmp/out"
	stops "one that has none" deaf 20s 10000 "machine was stopped"
	stops "one that does not care" stubborn 500ms 1500 "machine was stopped"
	stops "no time at all" ok 0 1000 "machine was stopped"
	stops "a process that does not answer" frozen 1s 2000 "process is killed"
	gives "stop of none" 1 "there is no sandbox 'none'" stop none
}

kept() {
	start ends t --name kept --keep
	reap 4
	gives "an ended one is not listed" 0 '^NAME.*COMMAND$' ps
	check "and no line follows" test "$(wc -l <"$tmp/out")" = 1
	gives "but with --all" 0 '^kept .* exited \(4\) +- ' ps --all
	gives "its name is taken" 1 "'kept' is kept since it ended; 'hutch rm kept'" boot --kernel "$flat/hello.elf" --name kept
	gives "it is not inspected" 1 "sandbox 'kept': it has ended" inspect kept
	gives "nor killed" 1 "has ended already; 'hutch rm kept' removes it" kill kept
	gives "stop has nothing to do" 0 "" stop kept
	id=$("$hutch" ps -a --json | sed -n 's/.*"id":"\([0-9a-f]*\)".*/\1/p')
	gives "its id finds it" 4 "" wait "$id"
	gives "so does the beginning" 4 "" wait "$(echo "$id" | cut -c1-6)"
	gives "too little of it does not" 1 "there is no sandbox" wait "$(echo "$id" | cut -c1-2)"
	gives "rm" 0 "" rm kept
	gives "rm of none" 1 "there is no sandbox 'kept'" rm kept
	sleeper runs
	gives "rm of one that runs" 1 "sandbox 'runs' runs; 'hutch stop runs'" rm runs
	gives "rm -f" 0 "" rm -f runs
	wait $pid 2>/dev/null
	check "nothing is left" is_empty
	start ends t --name k1 --keep
	reap 4
	sleeper k2
	gives "rm --all" 0 "^k1$" rm --all
	check "it lets those be that run" test "$("$hutch" ps -aq)" = k2
	gives "rm -fa" 0 "^k2$" rm -fa
	wait $pid 2>/dev/null
	check "it does not" is_empty
	gives "rm of nothing" 0 "" rm --all
	# no name: one is made up
	start hello x --keep
	reap 0
	made=$("$hutch" ps -aq)
	check "a name is made up ($made)" sh -c "echo '$made' | grep -qxE '([b-z][aeiou]){4}'"
	"$hutch" rm "$made"
}

# what follows a sandbox ends with it, and has all of it
logs() {
	start button ok --name logs --console "$HUTCH_ROOT/logs/console"
	wait_for grep -q ready "$HUTCH_ROOT/logs/console"
	timeout 20 "$hutch" logs -f logs >"$tmp/followed" &
	follower=$!
	timeout 20 "$hutch" events -f logs >"$tmp/events" &
	events=$!
	timeout 20 "$hutch" events -f --json logs >"$tmp/events.json" &
	json=$!
	wait_for grep -q ready "$tmp/followed"
	wait_for grep -q start "$tmp/events"
	wait_for grep -q start "$tmp/events.json"
	echo more >>"$HUTCH_ROOT/logs/console"
	check "logs -f prints what is added" wait_for grep -q more "$tmp/followed"
	"$hutch" pause logs
	"$hutch" resume logs
	"$hutch" stop logs
	reap 0
	wait $follower
	check "logs -f ends with the sandbox" test $? = 0
	check "and has the whole console" test "$(tr -d '\r' <"$tmp/followed" | tr '\n' ' ')" = "ready more pressed "
	wait $events
	check "events -f ends with it" test $? = 0
	wait $json
	check "and has them all" test "$(cut -d' ' -f2 "$tmp/events" | tr '\n' ' ')" = \
		"sandbox.start sandbox.pause sandbox.resume sandbox.end "
	check "with what they tell" grep -q 'sandbox.end exit_code=0 reason="the guest powered off"' "$tmp/events"
	check "as JSON too" test "$(grep -cE '^\{"time":"[0-9TZ:.-]{24}","event":"sandbox\.[a-z]+","id":"[0-9a-f]{32}","name":"logs".*\}$' "$tmp/events.json")" = 4

	start hello x --name old --keep --console "$HUTCH_ROOT/old/console"
	reap 0
	gives "logs of one that has ended" 0 "^hello from a flat guest" logs old
	gives "and -f ends at once" 0 "^hello from a flat guest" logs -f old
	{
		echo "2001-01-01T00:00:00.000Z long ago"
		echo "  and more of it"
		echo "$(date -u +%Y-%m-%dT%H:%M:%S.000Z) just now"
		echo "  and more of that"
	} >"$HUTCH_ROOT/old/log"
	gives "logs --source vmm" 0 "long ago" logs --source vmm old
	gives "logs --since" 0 "just now" logs --source vmm --since 5m old
	check "older lines are left out" test "$(wc -l <"$tmp/out")" = 2
	gives "nothing was logged" 0 "" logs --source audit old
	gives "a source that is none" 2 "--source: 'cnsole' is not one of" logs --source cnsole old
	gives "the console has no times" 2 "--since: what the guest says has no times" logs --since 5m old
	"$hutch" rm old
}

stats() {
	truncate -s 1M "$tmp/disk"
	start idle x --name stats --disk "$tmp/disk"
	wait_for has_status stats running
	gives "stats" 0 "^stats +running +[0-9]+ms +- +- +[0-9]+[KM] +[0-9]+ +0B" stats stats
	gives "stats as JSON" 0 '"name":"stats".*"cpu_ms":[0-9]+.*"devices":\{.*"blk@0":\{.*"bytes_read":0' --json stats
	gives "stats for Prometheus" 0 '^hutch_device_total\{name="stats",id="[0-9a-f]{32}",device="blk@0",counter="reads"\} [0-9]+$' stats --prom
	timeout 20 "$hutch" stats --interval 100ms >"$tmp/stats" &
	stats=$!
	wait_for grep -q '[0-9]%' "$tmp/stats"
	timeout 20 "$hutch" stats --prom --interval 100ms stats >"$tmp/prom" &
	prom=$!
	again() { [ "$(grep -c '^hutch_cpu_seconds_total{name="stats"' "$tmp/prom")" -ge 2 ]; }
	check "so it does for Prometheus" wait_for again
	"$hutch" stop --time 0 stats
	wait $prom
	check "and ends with it" test $? = 0
	wait $stats
	check "stats --interval ends with the sandbox" test $? = 0
	wait $pid
	gives "stats of none" 1 "there is no sandbox 'stats'" stats stats
}

# retried GUEST ARGUMENT FLAGS...: a run whose guest has no agent, in the background
retried() {
	kernel=$1 argument=$2
	shift 2
	"$hutch" run --kernel "$flat/$kernel.elf" --append "$argument" -m 32M "$@" -- true </dev/null >"$tmp/out" 2>"$tmp/err" &
	pid=$!
}

tries() { grep -c "^hutch: try [0-9]* of" "$tmp/err"; }

retries() {
	retried hello x --retry 2,delay=100ms --name again --result "$tmp/result" --pid-file "$tmp/pid"
	wait_for test -s "$tmp/pid"
	check "the file has one process's id for all tries" grep -qx $pid "$tmp/pid"
	reap 125
	check "retry: two more tries, each is told" test "$(tries)" = 2
	check "and is in the result" grep -q '"attempts":\[\({"started_at":"[^"]*","duration_ms":[0-9]*,"error":{"code":"E_MACHINE","message":"[^"]*"}},*\)\{3\}\]' \
		"$tmp/result"
	check "the file is gone, and all" sh -c "[ ! -e $tmp/pid ] && [ \"\$(ls -A '$HUTCH_ROOT')\" = .lock ]"
	retried ends h --retry 1,delay=0 --boot-timeout 300ms
	reap 124
	check "retry: after the boot timeout" grep -q "try 1 of 2 failed (E_LIMIT)" "$tmp/err"
	echo "no kernel" >"$tmp/nonsense"
	retried hello x --retry 3,delay=0 --kernel "$tmp/nonsense" --result "$tmp/result"
	wait $pid
	check "retry: what no try would mend is not tried again" test "$(tries)" = 0
	check "and it is hutch that failed" grep -q '"status":"error","origin":"hutch".*"message":"[^"]*nonsense' "$tmp/result"
	for flag in "--pid-file $tmp/none/pid" "--rootfs nosuch" "--retry 1 --pid-file $tmp/none/pid"; do
		retried hello x --result "$tmp/result" $flag
		reap 125
		check "what fails before the machine is hutch's too: $flag" \
			grep -q '"status":"error","origin":"hutch".*"error":{"code":"E_MACHINE"' "$tmp/result"
	done
	"$hutch" check --kernel "$flat/hello.elf" --rootfs nosuch --code "$tmp/nonsense" 2>"$tmp/err"
	check "and tells nothing of code that was not compiled" test $? = 125
	check "retry: but memory may be there later" sh -c "ulimit -v 100000
		'$hutch' run --retry 1,delay=0 --kernel '$flat/hello.elf' -- true 2>&1 | grep -q '^hutch: try 1 of 2'"

	# ended by a signal: to the parent, the try, its process group, or between two tries
	for how in "143 kill -TERM" "130 kill -INT" "143 hutch-s" "137 hutch" "137 try" "137 kill -KILL"; do
		retried ends h --retry 3,delay=0 --name ended
		wait_for running_try ended
		before=$(date +%s)
		case $how in
		*hutch-s) "$hutch" kill -s TERM ended ;;
		*hutch) "$hutch" kill ended 2>"$tmp/kill.err" || echo "not ok hutch kill of a try: $(cat "$tmp/kill.err")" ;;
		*try) kill -9 "$(pid_of ended)" ;;
		*) ${how#* } $pid ;;
		esac
		wait $pid 2>/dev/null
		check "retry: ${how#* } ends all tries with ${how%% *}" test "$? $(tries)" = "${how%% *} 0"
		check "and at once" test $(($(date +%s) - before)) -le 5
		check "and nothing is left" wait_for is_swept
	done
	retried hello x --retry 3,delay=60s --name between
	wait_for grep -q "^hutch: try 1" "$tmp/err"
	gives "between two tries it is there" 0 '"name":"between","pid":'"$pid"',"status":"starting"' ps --json
	kill $pid
	reap 143
	check "retry: a signal between two tries ends all" is_empty
	# a try that breaks is one that failed
	retried ends h --retry 1,delay=0 --name broke --keep
	wait_for running_try broke
	first=$(pid_of broke)
	kill -SEGV "$first"
	wait_for running_try broke
	check "retry: a try that breaks" grep -q "E_MACHINE: its process died of signal 11" "$tmp/err"
	check "and the next is another process" test "$(pid_of broke)" != "$first"
	gives "which answers" 0 "" inspect broke
	"$hutch" stop --time 0 broke
	reap 125
	gives "and its end is kept" 0 "^broke .* exited \(125\)" ps --all
	gives "with its events" 0 "sandbox.retry level=warning attempt=1 code=E_MACHINE" events broke
	"$hutch" rm broke

	retried hello x --retry 1,delay=0 -d
	reap 125
	check "retry: detached, and it never began" test "$(tries) $(cat "$tmp/out")" = "1 "
	gives "its end is kept" 0 " exited \(125\)" ps --all
	"$hutch" rm $("$hutch" ps -aq)
	gives "no number" 2 "--retry: 'x' does not begin with a number" run --retry x -- true
	gives "too many" 2 "from 1 to 100" run --retry 101 -- true
	gives "no such part" 2 "--retry: ',dely=1s' in '3,dely=1s' is not understood" run --retry 3,dely=1s -- true
	gives "a delay without a unit" 2 "--retry delay: '5' has no unit" run --retry 3,delay=5 -- true
}

pid_of() {
	"$hutch" ps --json | sed -n "s/.*\"name\":\"$1\",\"pid\":\([0-9]*\),.*/\1/p"
}

# it is the try that is listed, and its machine is there
running_try() {
	[ -n "$(pid_of "$1")" ] && [ "$(pid_of "$1")" != $pid ] && "$hutch" inspect "$1" >/dev/null 2>&1
}

is_swept() {
	"$hutch" ps >/dev/null
	is_empty
}

wrong() {
	gives "no name" 2 "wait: a name is missing: hutch wait NAME" wait
	gives "too many names" 2 "logs: 'b' is too much" logs a b
	gives "rm of what?" 2 "rm: either names or --all" rm
	gives "rm of both" 2 "rm: either names or --all" rm --all x
	gives "two formats" 2 "--json and --prom exclude each other" stats --json --prom
	gives "a path is no name" 1 "there is no sandbox '../run'" inspect ../run
	gives "a duration without a unit" 2 "--time: '5' has no unit; write 5ms, 5s, 5m or 5h" stop --time 5 x
	gives "a signal that is none" 2 "kill: 'TREM' is no signal" kill -s TREM x
	gives "an unknown flag" 2 "ps: unknown flag --al; did you mean --all" ps --al
	gives "an unknown verb" 2 "there is no verb 'pss'; did you mean 'ps'" pss
	gives "a shell that is none" 2 "completion: 'csh' is not one of: bash, zsh, fish" completion csh
	gives "a name too long for a socket" 2 "the path has more than 96 bytes" \
		--root "$tmp/$(printf %80s | tr ' ' x)" boot --kernel "$flat/hello.elf" --name x
	gives "no folder to make it in" 1 "the folder of sandboxes, /nonexistent/run: No such file.*--root" \
		--root /nonexistent/run boot --kernel "$flat/hello.elf" --name x
	k="--kernel $flat/hello.elf"
	# shellcheck disable=SC2086
	{
		gives "check: nothing is wrong" 0 "" check $k
		gives "check: no such initrd" 125 "initrd $tmp/none: No such file" check $k --initrd "$tmp/none"
		gives "check: no such disk" 125 "disk $tmp/none: No such file" check $k --disk "$flat/hello.elf" --disk "$tmp/none"
		gives "check: no such root" 125 "rootfs $tmp/none: No such file.*hutch image ls" check $k --rootfs "$tmp/none"
		gives "check: a name that is none" 2 "'a b' is not a name" check $k --name "a b"
		gives "check: a port that is none" 2 "forward=99999:80: write ports of 1 to 65535" check $k -p 99999:80
		gives "check: a mount of no known kind" 2 "':wr' behind the guest's path is none of" check $k --mount /tmp:/x:wr
	}
	gives "none has been made yet" 0 "^NAME" --root "$tmp/none" ps
	mkdir "$tmp/open"
	chmod 777 "$tmp/open"
	gives "a folder that others may write" 125 "others may write in it" ps --root "$tmp/open"
	ln -s /tmp "$tmp/link"
	gives "a folder that is a link" 125 "$tmp/link: " ps --root "$tmp/link"
	start ends h --name elsewhere --root "$tmp/other"
	check "--root" wait_for "$hutch" --root "$tmp/other" inspect elsewhere
	gives "is another world" 1 "there is no sandbox 'elsewhere'" inspect elsewhere
	"$hutch" kill --root "$tmp/other" elsewhere
	wait $pid 2>/dev/null
	gives "version as JSON" 0 '^\{"name":"hutch","version":"[0-9.]+"\}$' version --json
}

# other names of verbs, and verbs that are programs on PATH
names() {
	gives "list is ps" 0 "^NAME +ID" list
	gives "its help says so" 0 "^hutch list is hutch ps$" help list
	gives "create is run -d" 2 "-t and -d exclude each other" create -t -- true
	gives "monitor is stats" 0 "DISK-READ" monitor
	gives "shutdown is stop" 1 "there is no sandbox 'none'" shutdown none
	gives "an alias is meant" 2 "did you mean 'shutdown'" shutdwon
	mkdir "$tmp/bin"
	printf '#!/bin/sh\necho "<$HUTCH_ROOT>" "$@"\nexit 7\n' >"$tmp/bin/hutch-more"
	chmod +x "$tmp/bin/hutch-more"
	cp "$tmp/bin/hutch-more" "$tmp/bin/hutch-ps"
	: >"$tmp/bin/hutch-nothing"
	saved=$PATH
	PATH=$tmp/bin:$PATH
	gives "a program is a verb" 7 "^<$HUTCH_ROOT> -x a b$" more -x "a b"
	gives "it gets what stood in front" 7 "^</elsewhere> --json -v x$" --root /elsewhere --json -v more x
	gives "a verb of ours comes first" 0 "^NAME +ID" ps
	gives "what cannot be run is none" 2 "there is no verb 'nothing'" nothing
	gives "nor is a path" 2 "there is no verb '../bin/hutch-more'" ../bin/hutch-more
	gives "help lists it" 0 "^  more$" help
	gives "and asks it" 7 "^<$HUTCH_ROOT> --help$" help more
	cd "$tmp/bin" && PATH=:$saved && gives "not from where we happen to be" 2 "there is no verb" more
	PATH=$saved
	cd - >/dev/null
}

# what this host can do: whatever that is, both ways of telling it agree
doctors() {
	"$hutch" doctor >"$tmp/doctor"
	status=$?
	check "doctor: each line is ok, warn or fail" sh -c "! sed '/^\$/,\$d; /^ *fix: /d' $tmp/doctor | grep -vE '^(ok   |warn |fail ) [a-z_]'"
	check "doctor: what fails makes it not ready" test $((status != 0)) = $(($(grep -c ^fail "$tmp/doctor") > 0))
	gives "doctor --json" $status '"ready":(true|false)\}$' doctor --json
	check "doctor --json: the same facts" test "$(grep -c '"state":' "$tmp/out")" = "$(grep -cE '^(ok|warn|fail) ' "$tmp/doctor")"
	gives "doctor: what is not to be waited for" 2 "--boot-timeout: '0' is not between" doctor --boot-timeout 0
}

# the words that bash would offer
completions() {
	command -v bash >/dev/null || { echo "skip completion: there is no bash"; return; }
	start ends h --name offered
	wait_for has_status offered running
	"$hutch" completion bash >"$tmp/completion"
	offers() {
		bash -c '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _hutch; echo "${COMPREPLY[*]}"' \
			bash "$tmp/completion" "$hutch" "$@"
	}
	check "completion of verbs" test "$(offers --root "$HUTCH_ROOT" resu)" = resume
	check "of flags" test "$(offers stop --t)" = --time
	check "of flags that go with a machine" test "$(offers boot --templ) $(offers --templ)" = "--template --template"
	check "of a machine's flags" test "$(offers boot --on-r)" = --on-reboot
	check "of names" test "$(offers kill off)" = offered
	check "of names for another name of a verb" test "$(offers shutdown off)" = offered
	check "of verbs of a verb" test "$(offers image l)" = ls
	XDG_DATA_HOME=$tmp/data
	export XDG_DATA_HOME
	store=$XDG_DATA_HOME/hutch/images
	mkdir -p "$store" && : >"$store/picture.img"
	check "of images" test "$(offers image rm pic) $(offers run --rootfs pic)" = "picture picture"
	check "the script for zsh is bash's" sh -c "'$hutch' completion zsh | bash -n"
	check "the one for fish has every verb" test "$("$hutch" completion fish | grep -c ' -n __fish_use_subcommand ')" = \
		"$("$hutch" help | grep -cE '^  [a-z]')"
	"$hutch" kill offered
	wait $pid 2>/dev/null
}

for part in ${*:-records same_name killed taps sweepers waits pauses stop kept logs stats retries wrong names doctors completions}; do $part; done
left() { ps -e -o args= | grep -E "^$hutch (boot|run) --kernel" | grep -v grep | grep -q .; }
check "no process is left" eval '! left'
