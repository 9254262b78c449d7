#!/bin/sh
# tests/e2e/run.sh [GROUP...]: hutch run and what goes with it, on the default guest. See lib.sh.inc and run.sh.inc.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh.inc
. tests/e2e/run.sh.inc
limit=400

# one-shot runs, and what they tell
once() {
	check "run: uname" 0 run $patience --result "$tmp/result" -- sh -c 'uname -s; echo to stderr >&2' && {
		is "run: output" Linux
		holds "run: errors are apart" "$tmp/err" "to stderr"
		holds "run: result" "$tmp/result" '"schema":"hutch.result/1"' '"success":true' \
			'"status":"exited"' '"origin":"guest"' '"exit_code":0' '"stdout_bytes":6' '"error":null'
	}
	nothing_left "run: nothing is left"
	check "run: the commands' cgroup, and where time goes" 0 run $patience --cold --timing -- cat /proc/self/cgroup && {
		is "run: a command is in the commands' cgroup" 0::/work
		holds "run: where time goes" "$tmp/err" " load " " kernel " " agent " " setup " " command " " teardown "
	}
	# the first one has booted
	check "run: no boot" 0 run $patience --timing -- sh -c 'hostname; date +%s; cd /proc/sys/kernel/random; cat uuid boot_id' && {
		if grep -q " kernel " "$tmp/err"; then bad "run: no boot" "it booted"; else echo "ok run: no boot"; fi
		cp "$tmp/out" "$tmp/first"
	}
	check "run: another guest" 0 run $patience -- sh -c 'hostname; date +%s; cd /proc/sys/kernel/random; cat uuid boot_id' && {
		late=$(($(date +%s) - $(sed -n 2p "$tmp/out")))
		[ $late -ge 0 ] && [ $late -lt 5 ] && echo "ok run: its clock is right" || bad "run: its clock" "$late s late"
		[ "$(sed -n 1p "$tmp/out")" != "$(sed -n 1p "$tmp/first")" ] && echo "ok run: its name is its own" || bad "run: its name" "is another's"
		[ "$(sed -n 4p "$tmp/out")" != "$(sed -n 4p "$tmp/first")" ] && echo "ok run: its boot id is its own" || bad "run: its boot id" "is another's"
		[ "$(sed -n 3p "$tmp/out")" != "$(sed -n 3p "$tmp/first")" ] && echo "ok run: its random numbers are its own" || bad "run: its random numbers" "are another's"
	}
	check "run: not there" 127 run $patience --result "$tmp/result" -- no-such-command &&
		holds "run: not there" "$tmp/err" "no-such-command: there is no such command in the guest"
	holds "run: not there, result" "$tmp/result" '"exit_code":127' '"code":"E_NOT_FOUND"' '"success":false'
	check "run: a limit" 124 run $patience --timeout 2s --result "$tmp/result" -- \
		sh -c 'echo partial; sleep 100' && is "run: a limit keeps what was said" partial
	holds "run: a limit, result" "$tmp/result" '"status":"timeout"' '"limit":"timeout"' '"origin":"hutch"' \
		'"violations":[{"limit":"timeout","value":"2s","action":"kill"' '"sha256":null'
	printf 'one\ntwo\n' | check "run: stdin" 42 run $patience -i -e A=x -w /tmp -- \
		sh -c 'cat; echo $A; pwd; exit 42' && is "run: stdin, environment, place" "one
two
x
/tmp"
	check "run: a machine that ends" 125 run $patience --result "$tmp/result" -- poweroff -f &&
		holds "run: a machine that ends" "$tmp/err" E_MACHINE "power"
	check "run: another try" 125 run $patience --retry 1,delay=0 --result "$tmp/result" -- sh -c 'echo here; sleep 1; poweroff -f' &&
		is "run: another try is another machine" "here
here"
	holds "run: another try, told" "$tmp/err" "try 1 of 2 failed (E_"
	check "run: no other try" 7 run $patience --retry 1 --capture --result "$tmp/result" -- \
		sh -c 'printf "out\0"; echo err >&2; exit 7' &&
		holds "run: capture" "$tmp/result" '"stdout":"out\u0000","stderr":"err\n","encoding":"utf-8"'
	if grep -q "^hutch: try" "$tmp/err"; then bad "run: no other try" "there was one"; else echo "ok run: no other try"; fi
	check "run: input that is gone" 125 run $patience --retry 1 -i -- poweroff -f &&
		holds "run: input that is gone" "$tmp/err" "begun to read its input"
	check "doctor" 0 doctor --boot-timeout 200s && holds "doctor" "$tmp/out" "booted, ran" "this host is ready"
	check "run: boot limit" 124 run --boot-timeout 10ms -- true && holds "run: boot limit" "$tmp/err" boot_timeout doctor
	nothing_left "run: still nothing is left"
}

# a sandbox that stays, and all that is done to it
stays() {
	check "run -d" 0 run $patience -d --name box --result "$tmp/result" -- \
		sh -c 'echo begin; trap "echo got TERM; exit 3" TERM; while :; do sleep 0.2; done' && is "run -d" box
	check "ps" 0 ps && holds "ps" "$tmp/out" box running
	check "a second of that name" 125 run --name box -- true && holds "a second of that name" "$tmp/err" box
	check "exec" 7 exec box -- sh -c 'echo hello; exit 7' && is "exec" hello
	printf 'a\0b' | check "exec -i" 0 exec -i box -- od -An -tx1 && is "exec -i" " 61 00 62"
	check "exec: signal" 137 exec box -- sh -c 'kill -9 $$' && echo "ok exec: signal"
	check "exec: limit" 124 exec --timeout 500ms box -- sleep 60 && echo "ok exec: limit"
	check "exec: not runnable" 126 exec -w /nowhere box -- true && holds "exec: bad place" "$tmp/err" /nowhere
	check "exec: a child left behind" 0 exec box -- sh -c 'sleep 60 & echo at once' && is "exec: a child left behind" "at once"
	check "exec: stderr" 0 exec box -- sh -c 'echo err >&2' && holds "exec: stderr" "$tmp/err" err
	check "exec: result" 5 exec --result "$tmp/exec" box -- sh -c 'echo four; exit 5' && holds "exec: result" "$tmp/exec" \
		'"name":"box"' '"exit_code":5' '"stdout_bytes":5' '"status":"exited"'
	{ sleep 5; printf 'x\020\021'; } | check "exec -t: left" 0 exec -t box -- \
		sh -c 'sleep 8; tty >/dev/null && head -c 100000 /dev/zero && touch /tmp/left' &&
		holds "exec -t: left" "$tmp/err" "the command goes on in sandbox 'box'"
	check "exec -t: and it goes on" 0 exec --timeout 60s box -- sh -c 'until [ -e /tmp/left ]; do sleep 0.2; done' &&
		echo "ok exec -t: and it goes on"
	check "exec: nothing to leave" 2 exec --detach-keys ctrl-a box -- true && holds "exec: nothing to leave" "$tmp/err" "goes with -t"
	check "run -t: not to be left" 2 run -t --detach-keys ctrl-a -- true && holds "run -t: not to be left" "$tmp/err" "run -d" "exec -t"
	check "exec: nobody" 125 exec nobody -- true && holds "exec: nobody" "$tmp/err" nobody

	mkdir -p "$tmp/in/sub" && echo text >"$tmp/in/sub/file" && ln -s sub/file "$tmp/in/link"
	check "cp in" 0 cp "$tmp/in" box:/tmp/there && echo "ok cp in"
	check "cp in: there" 0 exec box -- sh -c 'cat /tmp/there/link; readlink /tmp/there/link' && is "cp in: there" "text
sub/file"
	check "cp out" 0 cp box:/tmp/there "$tmp/back" && diff -r "$tmp/in" "$tmp/back" && echo "ok cp out"
	check "cp: not there" 1 cp box:/nowhere "$tmp/x" && holds "cp: not there" "$tmp/err" /nowhere

	check "pause" 0 pause box && check "exec: paused" 125 exec box -- true &&
		holds "exec: paused" "$tmp/err" resume
	check "resume" 0 resume box && check "exec: again" 0 exec box -- echo up && is "exec: again" up
	check "stop" 0 stop --time 20s box && echo "ok stop"
	check "wait" 3 wait box && echo "ok wait: the command's own status"
	check "logs" 0 logs box && is "logs" "begin
got TERM"
	holds "run -d: result" "$tmp/result" '"exit_code":3'
	check "events" 0 events --json box && holds "events" "$tmp/out" execution.start execution.complete
	check "rm" 0 rm box && nothing_left "rm"
}

# folders in and out, code, numbers of the result
work() {
	mkdir -p "$tmp/w" && echo old >"$tmp/w/keep" && echo gone >"$tmp/w/delete" && echo 1 >"$tmp/w/change"
	check "mount" 0 run $patience --mount "$tmp/w:/work:rw" -w /work --result "$tmp/result" -- \
		sh -c 'rm delete; echo 22 >change; echo new >create; cat keep' && is "mount" old
	holds "mount: what changed" "$tmp/result" '"files_created":["create"]' '"files_modified":["change"]' \
		'"files_deleted":["delete"]' '"workspace_path":"/work"'
	if [ "$(cat "$tmp/w/change" "$tmp/w/create")" = "22
new" ]; then echo "ok mount: copied back"; else bad "mount: copied back" "$(ls "$tmp/w")"; fi
	check "rollback-on-fail" 3 run $patience --mount "$tmp/w:/work:rw" -w /work --rollback-on-fail --result "$tmp/result" -- \
		sh -c 'echo 333 >change; echo more >again; exit 3' &&
		holds "rollback-on-fail: what it did is told" "$tmp/result" '"rolled_back":true' '"files_created":["again"]'
	if [ "$(cat "$tmp/w/change")" = 22 ] && ! [ -e "$tmp/w/again" ]; then echo "ok rollback-on-fail: nothing is kept"
	else bad "rollback-on-fail: nothing is kept" "$(ls "$tmp/w")"; fi
	check "rollback-on-fail: a success" 0 run $patience --mount "$tmp/w:/work:rw" -w /work --rollback-on-fail --result "$tmp/result" -- \
		sh -c 'echo 333 >change' && holds "rollback-on-fail: a success" "$tmp/result" '"rolled_back":false'
	if [ "$(cat "$tmp/w/change")" = 333 ]; then echo "ok rollback-on-fail: that is kept"
	else bad "rollback-on-fail: that is kept" "$(cat "$tmp/w/change")"; fi
	truncate -s 1M "$tmp/raw.img"
	check "a disk is there from the beginning" 0 run $patience --disk "$tmp/raw.img" -- ls /dev/vda &&
		is "a disk is there from the beginning" /dev/vda
	check "rollback-on-fail: a disk" 2 run --rollback-on-fail --disk "$tmp/raw.img" -- true &&
		holds "rollback-on-fail: a disk" "$tmp/err" "disk 0 is written in place"
	echo 'echo "$1 and $2"; exit 9' >"$tmp/code.sh"
	check "code" 9 run $patience --mount "$tmp/w:/ro" --code "$tmp/code.sh" -- a "b c" && is "code" "a and b c"
	check "code: no interpreter" 127 run $patience --runtime python --code "$tmp/code.sh" --result "$tmp/result" -- &&
		holds "code: no interpreter" "$tmp/err" "E_RUNTIME: the guest has no 'python3'" && holds "code: no interpreter, result" "$tmp/result" E_RUNTIME
	check "code: unknown runtime" 125 run --runtime pyton --code "$tmp/code.sh" -- &&
		holds "code: unknown runtime" "$tmp/err" E_RUNTIME python
	nothing_left "work: nothing is left"
}

# a root of one's own: a folder, an image by name, an ext4 image that is written
root() {
	XDG_DATA_HOME=$tmp/data XDG_CACHE_HOME=$tmp/cache
	export XDG_DATA_HOME XDG_CACHE_HOME
	t=$tmp/tree
	mkdir -p "$t/bin" "$t/etc" "$t/proc" "$t/sys" "$t/dev" "$t/run" "$t/tmp"
	cp "$(command -v busybox)" "$t/bin/busybox"
	for applet in sh cat mount df sync ls; do ln -s busybox "$t/bin/$applet"; done
	echo "of the root" >"$t/etc/motd"
	check "image build" 0 image build "$t" base && holds "image build" "$tmp/out" base.img
	for root in base "$t"; do
		check "rootfs $root" 0 run $patience --rootfs "$root" -- sh -c \
			'cat /etc/motd; [ -e /etc/new ] && echo there already; echo x >/etc/new; cat /etc/new' &&
			is "rootfs ${root##*/}: a layer of its own" "of the root
x"
	done
	check "rootfs: a layer with a limit" 1 run $patience --rootfs base --layer 2M -- sh -c \
		'cat /bin/busybox /bin/busybox /bin/busybox >/tmp/../etc/big 2>/dev/null && echo all; exit 1' &&
		is "rootfs: a layer with a limit" ""
	if command -v mksquashfs >/dev/null; then
		mksquashfs "$t" "$tmp/squashed" -quiet -no-progress >/dev/null && check "rootfs: squashfs" 0 run $patience \
			--rootfs "$tmp/squashed" -- cat /etc/motd && is "rootfs: squashfs" "of the root"
	else
		echo "skip rootfs: squashfs: squashfs-tools is not installed"
	fi
	mke2fs -q -t ext4 -d "$t" "$tmp/disk" 32M || { bad "mke2fs" "it failed"; return; }
	check "rootfs-rw" 0 run $patience --rootfs "$tmp/disk" --rootfs-rw -- sh -c 'echo kept >/etc/new' &&
		check "rootfs-rw: again" 0 run $patience --rootfs "$tmp/disk" --rootfs-rw -- cat /etc/new &&
		is "rootfs-rw: what was written stays" kept
	echo nonsense >"$tmp/file"
	check "rootfs: no image" 125 run --rootfs "$tmp/file" -- true && holds "rootfs: no image" "$tmp/err" "$tmp/file"
	nothing_left "rootfs: nothing is left"
}

# output without end, a reader that goes
much() {
	check "much: cut" 141 run $patience --result "$tmp/result" -- yes &&
		[ "$(wc -c <"$tmp/out")" = 2000000 ] && holds "much: cut" "$tmp/result" \
		'"stdout_bytes":2000000' '"stdout_truncated":true' '"limit":"stdout_max","value":"2000000B","action":"cut"'
	holds "much: cut, and it is said" "$tmp/err" "stdout_max of 2000000B was reached"
	timeout 250 $hutch run $patience -- yes 2>"$tmp/err" | head -n 1 >"$tmp/out"
	is "much: a reader that goes" y
	check "much: 64 MB" 0 run $patience --stdout-max 0 -- head -c 64000000 /dev/zero && [ "$(wc -c <"$tmp/out")" = 64000000 ] &&
		echo "ok much: 64 MB"
	nothing_left "much: nothing is left"
}

# every exit status and every signal, through all of it
codes() {
	check "codes: run -d" 0 run $patience -d --name box -- sleep 1h || return
	wrong=
	for n in $(seq 0 255); do
		timeout 60 $hutch exec box -- sh -c "exit $n" </dev/null >"$tmp/out" 2>"$tmp/err"
		status=$?
		[ $status = "$n" ] && [ ! -s "$tmp/err" ] || wrong="$wrong $n:$status"
	done
	if [ -z "$wrong" ]; then echo "ok exit statuses 0 to 255"; else bad "exit statuses" "$wrong"; fi
	wrong=
	# Not those that end no process. The guest's shell ignores 3 itself, so something else is hit.
	for n in $(seq 1 31); do
		case $n in 17 | 18 | 19 | 20 | 21 | 22 | 23 | 28) continue ;; esac
		timeout 60 $hutch exec box -- sh -c "(sleep 0.1; kill -$n \$\$) >/dev/null 2>&1 & exec sleep 9" </dev/null >"$tmp/out" 2>"$tmp/err"
		status=$?
		[ $status = $((128 + n)) ] || wrong="$wrong $n:$status"
	done
	if [ -z "$wrong" ]; then echo "ok signals 1 to 31 that end a process"; else bad "signals" "$wrong"; fi
	check "codes: stop" 0 stop --time 20s box && check "codes: rm" 0 rm box
	nothing_left "codes: nothing is left"
}

screen_shows() { # PATTERN: within a minute
	for _ in $(seq 300); do
		tmux -L e2e capture-pane -p -t 0 >"$tmp/out" 2>/dev/null
		grep -qE "$1" "$tmp/out" && return
		sleep 0.2
	done
	return 1
}

prompts() { # PATTERN: in the last line of the screen, within a minute
	for _ in $(seq 300); do
		tmux -L e2e capture-pane -p -t 0 >"$tmp/out" 2>/dev/null
		grep . "$tmp/out" | tail -n 1 | grep -qE "$1" && return
		sleep 0.2
	done
	return 1
}

# a little after the prompt: the guest's shell asks the terminal first where its cursor is
type_line() {
	sleep 1
	tmux -L e2e send-keys -t 0 -l "$1"
	tmux -L e2e send-keys -t 0 Enter
}

# a person at a terminal: its size, colours, Ctrl-C, and what is left of it when the machine is killed
tty() {
	command -v tmux >/dev/null || { echo "skip tty: tmux is not installed"; return; }
	: >"$tmp/err"
	export TMUX_TMPDIR="$tmp" SHELL=/bin/sh LANG=C.UTF-8
	tmux -L e2e -f /dev/null new-session -d -x 90 -y 25 "PS1='host ' sh" || { echo "not ok tty: tmux"; return; }
	prompts '^host' && type_line "stty -g >$tmp/before; $hutch run $patience --timeout 5m --name box -it -- sh"
	prompts '# *$' || bad "tty" "no prompt of the guest's shell"
	type_line 'stty size; tty; printf "\033[31mred\033[0m\n"'
	if screen_shows '^25 90' && screen_shows '^/dev/pts'; then echo "ok tty: a terminal of our size"; else bad "tty: size" "not 25 90"; fi
	tmux -L e2e capture-pane -e -p -t 0 >"$tmp/out"
	if grep -q "$(printf '\033')\[31mred" "$tmp/out"; then echo "ok tty: colours"; else bad "tty: colours" "none"; fi
	tmux -L e2e resize-window -t 0 -x 100 -y 30
	sleep 1
	type_line 'stty size'
	if screen_shows '^30 100'; then echo "ok tty: another size"; else bad "tty: another size" "not 30 100"; fi
	type_line 'echo sle""eping; sleep 1000'
	screen_shows '^sleeping'
	tmux -L e2e send-keys -t 0 C-c
	type_line 'echo inter""rupted'
	if screen_shows '^interrupted'; then echo "ok tty: Ctrl-C"; else bad "tty: Ctrl-C" "it sleeps on"; fi
	type_line 'exit 5'
	prompts '^host' && type_line 'echo status $?'
	if screen_shows '^status 5'; then echo "ok tty: exit status"; else bad "tty: exit status" "not 5"; fi
	prompts '^host' && type_line "clear; $hutch run $patience --timeout 5m --name box -it -- sh"
	prompts '# *$' || bad "tty" "no second prompt"
	kill -9 "$($hutch ps --json | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' | head -n 1)"
	prompts '^host' && type_line "clear; stty -g | cmp - $tmp/before && echo re''stored"
	if screen_shows '^restored'; then echo "ok tty: restored after a kill -9"; else bad "tty: restored after a kill -9" "it is not"; fi
	tmux -L e2e kill-server
	check "tty: gc" 0 gc
	nothing_left "tty: nothing is left"
}

# ceilings, what happens at a limit, and what can be told without running
policy() {
	HUTCH_POLICY_D=$tmp/policy.d
	export HUTCH_POLICY_D
	mkdir "$HUTCH_POLICY_D"
	printf 'memory: 256M\ntimeout: 1h\nboot_timeout: 200s\non_violation: log\n' >"$HUTCH_POLICY_D/a.yaml"
	printf 'idle_timeout: 2s\non_violation: log\n' >"$tmp/p.yaml"
	check "policy: over it" 125 run -m 1G --result "$tmp/none" -- true &&
		holds "policy: over it" "$tmp/err" "E_POLICY: memory: '1G' (-m)" "'256M' ($HUTCH_POLICY_D/a.yaml:1)"
	check "check: over it" 125 check -m 1G && holds "check: over it" "$tmp/err" E_POLICY
	check "check: no sense" 2 check --net tap && holds "check: no sense" "$tmp/err" "--net tap=NAME"
	check "check: good" 0 check -m 128M -- true && is "check: good" ""
	check "check --effective" 0 check --effective -c 2 --policy "$tmp/p.yaml" && sed -i 's/  */ /g' "$tmp/out" &&
		holds "check --effective" "$tmp/out" "memory 256M $HUTCH_POLICY_D/a.yaml:1" "cpus 2 -c" \
		"idle_timeout 2s $tmp/p.yaml:1" "timeout 10m level standard" "pids 0 built-in"
	mkdir "$tmp/etc"
	printf 'pids = 64\ncpus = 3\n' >"$tmp/etc/base.toml"
	printf 'extends: base.toml\ncpus: 2\n' >"$tmp/etc/hutch.yaml"
	(
		export HUTCH_CONFIG_D="$tmp/etc" HUTCH_IDLE_TIMEOUT=9s HUTCH_TIMEOTU=1s
		check "check: layers" 0 check --effective && sed -i 's/  */ /g' "$tmp/out" &&
			holds "check: layers" "$tmp/out" "pids 64 $tmp/etc/base.toml:1" "cpus 2 $tmp/etc/hutch.yaml:2" \
			"idle_timeout 9s HUTCH_IDLE_TIMEOUT" && holds "check: a typo" "$tmp/err" "did you mean HUTCH_TIMEOUT?"
		check "check --no-config" 0 check --effective --no-config && sed -i 's/  */ /g' "$tmp/out" &&
			holds "check --no-config" "$tmp/out" "cpus 1 built-in"
	)
	check "policy: log" 0 run $patience --policy "$tmp/p.yaml" --on-violation log --keep --name log \
		--result "$tmp/result" --correlation-id order:7 -- sh -c 'sleep 4; free -m | awk "/Mem/ { print \$2 < 256 }"' &&
		is "policy: log, and it goes on under the ceiling" 1
	holds "policy: log, result" "$tmp/result" '"violations":[{"limit":"idle_timeout","value":"2s","action":"log","at":"20' \
		"\"policy\":{\"level\":\"standard\",\"sha256\":\"$(cat "$HUTCH_POLICY_D/a.yaml" "$tmp/p.yaml" | sha256sum | cut -d' ' -f1)\"}"
	check "policy: audit" 0 logs --source audit log && holds "policy: audit" "$tmp/out" "idle_timeout of 2s was reached: log"
	check "policy: events" 0 events --json log && holds "policy: events" "$tmp/out" security.violation '"level":"warning"'
	holds "log: the result has the correlation id" "$tmp/result" '"correlation_id":"order:7"'
	check "log: events" 0 events log && holds "log: events" "$tmp/out" "execution.start correlation_id=order:7" \
		"security.violation level=warning" "execution.complete correlation_id=order:7 exit_code=0"
	check "log: agent" 0 logs --source agent log && holds "log: agent" "$tmp/out" " info the guest is set up" \
		" is sh" " ended with 0"
	check "log: agent, JSON" 0 logs --json --source agent log && holds "log: agent, JSON" "$tmp/out" \
		'{"source":"agent","ts":"20' '"level":"info","id":"order:7","name":"log","msg":"the guest is set up"}'
	check "policy: rm" 0 rm log && echo "ok policy: rm"
	rm -r "$HUTCH_POLICY_D"

	check "pause" 0 run $patience -d --name still --timeout 1s --on-violation pause -- sh -c 'sleep 2; echo on' &&
		is "pause" still
	i=0
	until $hutch ps | grep -q paused; do
		i=$((i + 1))
		[ $i -lt 200 ] || { bad "pause: at the limit" "it is not paused"; break; }
		sleep 0.1
	done
	check "pause: goes on" 0 resume still && check "pause: to its end" 0 wait still &&
		check "pause: logs" 0 logs still && is "pause: logs" on
	check "pause: rm" 0 rm still

	printf 'echo "\nif true; then' >"$tmp/bad.sh"
	check "check --code" 1 check $patience --code "$tmp/bad.sh" && holds "check --code" "$tmp/err" hutch-code.sh syntax
	nothing_left "policy: nothing is left"
}

# what a machine gets of a processor, what a command may spend of it, and what is counted
throttle() {
	check "throttle" 0 run $patience --timeout 1s --on-timeout throttle --fuel 1h --result "$tmp/result" -- \
		sh -c 'sleep 2; echo on' && is "throttle" on
	holds "throttle: it is said" "$tmp/err" "throttled to 10% of a processor"
	holds "throttle: result" "$tmp/result" '"limit":"timeout","value":"1s","action":"throttle"' \
		'"fuel_budget":3600000,"fuel_unit":"ms"' '"io":{"read_bytes":0,' '"net":{"rx_bytes":0,'
	check "fuel" 124 run $patience --fuel 500ms --result "$tmp/result" -- sh -c 'while :; do :; done' &&
		holds "fuel" "$tmp/result" '"status":"limit"' '"limit":"fuel"' '"fuel_budget":500,"fuel_unit":"ms"'
	if $hutch doctor | grep -q '^ok *pmu '; then
		check "fuel: instructions" 124 run $patience --fuel 1000000i --result "$tmp/result" -- sh -c 'while :; do :; done' &&
			holds "fuel: instructions" "$tmp/result" '"fuel_budget":1000000,"fuel_unit":"instructions"'
	else
		check "fuel: no PMU" 125 run --fuel 1000000i -- true && holds "fuel: no PMU" "$tmp/err" \
			"E_FUEL: instructions of a guest: "
	fi
	check "cpu-percent" 0 run $patience -d --name slow --cpu-percent 50 -- sleep 1h && is "cpu-percent" slow
	check "cpu-percent: set" 0 set slow cpu-percent=20 && check "cpu-percent: stats" 0 stats --json slow &&
		holds "cpu-percent: stats" "$tmp/out" '"cpu_limit_percent":20,' '"vcpus":{"cpu_ms":'
	check "cpu-percent: too much" 1 set slow cpu-percent=101 && holds "cpu-percent: too much" "$tmp/err" "at most 100"
	check "cpu-percent: rm" 0 rm -f slow
	nothing_left "throttle: nothing is left"
}

# passt of any but those that were there before; and the sandbox's own processes
helpers() { pgrep passt | grep -vxF "${others:-none}"; }

ours() { pgrep -f -- "run --name killed.$$"; helpers; }

is_running() { grep -q '"status":"running"' "$HUTCH_ROOT/killed.$$/state" 2>/dev/null; }

# kill_one FLAGS...: begin one, and once at_moment() returns kill -9 the process that is the machine, and none but it;
# then it is looked at once. What is there after that, or did not begin, is in $wrong.
kill_one() {
	$hutch run --name killed.$$ $patience --mount "$tmp/w:/work:rw" "$@" -- sleep 60 >"$tmp/out" 2>"$tmp/err" </dev/null &
	caller=$!
	at_moment
	machine=$(pgrep -n -f -- "run --name killed.$$") || machine=$caller
	! is_running || begun=$((begun + 1))
	[ -z "$(helpers)" ] || helped=$((helped + 1))
	kill -9 "$machine" 2>/dev/null || wrong="$wrong it ended before: $(cat "$tmp/err");"
	wait $caller 2>/dev/null # that of one with -d ends by itself
	late=$([ "$machine" = $caller ] && pgrep -f -- "run --name killed.$$") && kill -9 $late # made just then
	i=0
	while [ $i -lt 50 ] && [ -n "$(ours)" ]; do # helpers see a closed socket, and need a moment
		i=$((i + 1))
		sleep 0.1
	done
	there=$($hutch ps -q 2>&1; ours; ls -A "$HUTCH_ROOT" | grep -vx .lock
		ls -A "$tmp/w" | grep -vx note; find /sys/fs/cgroup -name '*killed*' -o -name '*hutch*')
	[ -z "$there" ] || wrong="$wrong $*: $there;"
}

# what --net user needs, and whether it is there: the testbed has no network but what we make
may_have_net() {
	command -v passt >/dev/null || return
	[ "$(uname -n)" != testbed ] || { ip link add d0 type dummy && ip addr add 10.88.0.2/24 dev d0 && ip link set d0 up &&
		ip route add default via 10.88.0.1; } 2>/dev/null
	[ -n "$(ip route show default)" ]
}

# the machine and all that goes with it, at any moment of its life
kills() {
	net=
	if may_have_net; then net="--net user"; else echo "skip kill -9 with --net user: there is no passt, or no network"; fi
	mkdir -p "$tmp/w" && echo text >"$tmp/w/note"
	wrong='' begun=0 helped=0 moments='' others=$(pgrep passt)
	at_moment() {
		ms=$(($(od -An -N2 -tu2 /dev/urandom) % 5000))
		moments="$moments $ms"
		sleep "$((ms / 1000)).$(printf %03d $((ms % 1000)))"
	}
	for _ in 1 2 3; do
		kill_one
		kill_one -d
		kill_one $net
		kill_one -d $net
	done
	at_moment() { # of two it is known that their commands ran
		i=0
		until is_running || [ $i = 500 ] || ! kill -0 $caller; do
			i=$((i + 1))
			sleep 0.1
		done
	}
	kill_one $net
	kill_one -d $net
	: >"$tmp/out"
	if [ -z "$wrong" ]; then echo "ok kill -9 at 14 moments leaves nothing after one look"
	else bad "kill -9" "left behind (killed after ms$moments):$wrong"; fi
	if [ $begun -ge 2 ] && { [ -z "$net" ] || [ $helped -ge 2 ]; }; then
		echo "ok kill -9: some had begun ($begun of 14), some had a helper ($helped)"
	else bad "kill -9" "only $begun had begun, $helped had a helper"; fi
	check "kill -9: and the name is free" 0 run $patience --name killed.$$ --mount "$tmp/w:/work" -- cat /work/note &&
		is "kill -9: and the name is free" text
	nothing_left "kill -9: nothing is left of that either"
}

run_groups "once stays codes tty work root much policy throttle kills" "$@"
