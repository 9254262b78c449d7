#!/bin/sh
# tests/e2e/snap.sh [GROUP...]: snapshots as a person makes and uses them, also where that goes wrong.
#
# Flat guests, on any /dev/kvm: store full killed live disks others wrong forks chains back timer. Linux: linux pci. See
# lib.sh.inc and run.sh.inc.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh.inc
. tests/e2e/run.sh.inc
flat=build/tests/kvm
unset HUTCH_POLICY_D
export XDG_CACHE_HOME="$tmp/cache"

prepare() {
	make -s build/tests/ask || { echo "not ok prepare who asks what time it is"; exit 1; }
}

# --- flat guests: fill.c has memory that takes its time to be packed, and counts on its console ---

wait_for() { # COMMAND...: at most 20 s
	i=0
	until "$@" >/dev/null 2>&1; do
		i=$((i + 1))
		[ $i -lt 1000 ] || return 1
		sleep 0.02
	done
}

yes_no() { # NAME COMMAND...
	name=$1
	shift
	if "$@" >"$tmp/out" 2>"$tmp/err"; then echo "ok $name"; else bad "$name" "$*"; fi
}

last() { # NAME: the last whole number on its console, if there is one yet
	head -n -1 "$tmp/$1.console" | tr -d '\r' | grep -x '[0-9]*' | tail -n 1
}

counts_past() { # NAME NUMBER
	was=$(last "$1")
	[ "${was:-0}" -gt "$2" ]
}

# goes_on WHAT NAME: from here on, one after the other, without a beginning
goes_on() {
	at=$(last "$2")
	wait_for counts_past "$2" "${at:-0}" || { bad "$1" "it stands still at $at"; return; }
	if grep -q damaged "$tmp/$2.console"; then bad "$1" "its memory is damaged"; return; fi
	# the first line of a restored one may be the rest of one; a line cut by the end of the file is none
	if head -n -1 "$tmp/$2.console" | tr -d '\r' | sed '1d; /filled/d' |
		awk 'NR > 1 && $1 != was + 1 { print was " and then " $1; bad = 1 } { was = $1 } END { exit bad }' >"$tmp/out"; then
		echo "ok $1"
	else
		bad "$1" "it does not count by one"
	fi
}

# a guest that has filled its memory, as NAME
filler() {
	rm -f "$tmp/$1.console"
	$hutch boot --kernel $flat/fill.elf --memory 16M --name "$1" --console "$tmp/$1.console" </dev/null >/dev/null 2>&1 &
	wait_for grep -q filled "$tmp/$1.console"
}

# another one, out of a snapshot that is made once
base() {
	[ ! -e "$tmp/base.snap" ] || return 0
	filler first
	$hutch snapshot first "$tmp/base.snap" >/dev/null
	$hutch stop --time 0 first
	wait
}

from_base() { # NAME
	base
	rm -f "$tmp/$1.console"
	$hutch restore -d --name "$1" --console "$tmp/$1.console" "$tmp/base.snap" >/dev/null || return
	wait_for counts_past "$1" 0
}

ends() { # NAME...
	for n; do
		$hutch stop --time 0 "$n"
		$hutch rm "$n" 2>/dev/null
	done
	return 0
}

temps() { # FOLDER: how many files there are whose writing has not come to its end
	find "$1" -maxdepth 1 -name '.hutch-*' | wc -l
}

# refuses NAME STATUS TEXT [ARGUMENTS OF hutch...]
refuses() {
	name=$1 text=$3
	want=$2
	shift 3
	check "$name" "$want" "$@" </dev/null || return
	if grep -qx 'hutch: *' "$tmp/err"; then bad "$name" "a line says nothing"; else holds "$name" "$tmp/err" "$text"; fi
}

# in the store and out of it, looked at, and restored as often as one likes
store() {
	XDG_DATA_HOME=$tmp/data
	export XDG_DATA_HOME
	there=$XDG_DATA_HOME/hutch/snapshots
	check "ls of no store" 0 snap ls && is "ls of no store" ""
	filler counts
	check "into the store" 0 snapshot counts && path=$(cat "$tmp/out")
	yes_no "into the store: its path is told" expr "$path" : "$there/counts-[0-9]*-[0-9]*.snap$"
	yes_no "into the store: for nobody else to read" test "$(stat -c %a "$path")" = 600
	goes_on "into the store: the guest goes on" counts
	check "again" 0 snapshot --label "a second" counts && yes_no "again: as another" test "$(cat "$tmp/out")" != "$path"
	check "into a file" 0 snapshot --compress none --label 'of "odd" text' counts "$tmp/file.snap" && is "into a file" "$tmp/file.snap"
	check "over a file" 0 snapshot counts "$tmp/file.snap" && is "over a file" "$tmp/file.snap"
	check "told as JSON" 0 snapshot --json counts "$tmp/file.snap" && holds "told as JSON" "$tmp/out" \
		"{\"path\":\"$tmp/file.snap\",\"id\":\"" '"memory":16777216,"parent":"","compared":false,"took_ms":' '"still_ms":null}'
	id=$(sed -n 's/.*"id":"\([0-9a-f]*\)".*/\1/p' "$tmp/out")
	check "events" 0 events --json counts && holds "events" "$tmp/out" '"event":"sandbox.snapshot"' \
		"\"path\":\"$path\"" "\"snapshot\":\"$id\",\"path\":\"$tmp/file.snap\""
	check "ls" 0 snap ls && holds "ls" "$tmp/out" counts- " 16.0 MiB " "a second"
	yes_no "ls: one line each" test "$(wc -l <"$tmp/out")" = 3
	cp "$tmp/file.snap" "$there/copy.snap" && : >"$there/none.snap" && : >"$there/other"
	check "ls --json" 0 snap ls --json && holds "ls --json" "$tmp/out" '"name":"copy"' '"sandbox":"counts"' '"label":"a second"' '"memory":16777216'
	holds "ls tells of what is none" "$tmp/err" "none.snap: is no snapshot"
	rm "$there/none.snap"
	snap=$(basename "$path" .snap)
	check "inspect" 0 snap inspect "$snap" && holds "inspect" "$tmp/out" 'format = "hutch.machine/1"' "cpu@0 {" 'name = "counts"'
	check "inspect --json" 0 snap inspect --json "$path" && holds "inspect --json" "$tmp/out" '"snapshot":{' '"memory":16777216,'
	$hutch snap inspect --blob "$path" >/dev/full 2>"$tmp/err"
	holds "inspect --blob: nowhere to write" "$tmp/err" "hutch: stdout: No space left on device"
	check "inspect --blob" 0 snap inspect --blob "$path" && cp "$tmp/out" "$tmp/blob" &&
		if command -v fdtdump >/dev/null; then
			yes_no "inspect --blob: fdtdump reads it" sh -c "fdtdump '$tmp/blob' 2>/dev/null | grep -q 'format = \"hutch.machine/1\"'"
		else
			echo "skip inspect --blob: device-tree-compiler is not installed"
		fi
	check "verify" 0 snap verify "$snap" "$tmp/file.snap" && is "verify" "$snap: whole
$tmp/file.snap: whole"

	check "diff: with itself" 0 snap diff "$snap" "$path" && is "diff: with itself" ""
	check "diff" 1 snap diff "$path" "$tmp/file.snap" && holds "diff" "$tmp/out" "/state/cpu@0/regs: " "memory: " " of 256 chunks, "
	check "diff --json" 1 snap diff --json "$path" "$tmp/file.snap" && holds "diff --json" "$tmp/out" '{"where":"/state/cpu@0/regs","a":"' '"memory":{"chunks":256,"differ":'
	refuses "diff: with what is not there" 2 "nosuch.snap: No such file" snap diff "$path" "$tmp/nosuch.snap"
	refuses "diff: of one" 2 "a name is missing" snap diff "$path"
	rm "$there/copy.snap"
	check "prune: which would go" 0 snap prune --keep 1 --dry-run counts && is "prune: which would go" "$snap"
	check "prune: none is so old" 0 snap prune --max-age 1h && is "prune: none is so old" ""
	cp "$path" "$there/counts-20200101-000000.snap"
	check "prune" 0 snap prune --keep 2 counts && yes_no "prune" test "$($hutch snap ls -q | grep -c counts-)" = 2
	refuses "prune: of what" 2 "tell what stays" snap prune
	cp "$path" "$there/counts-20200101-000000.snap"
	check "snap rm" 0 snap rm counts-20200101-000000 && yes_no "snap rm" test ! -e "$there/counts-20200101-000000.snap"
	refuses "restore: its name is taken" 1 "a sandbox named 'counts' runs already" restore -d "$snap"
	for n in one two; do
		$hutch restore -d --name $n --console "$tmp/$n.console" "$snap" >"$tmp/$n.name" 2>"$tmp/$n.err" &
	done
	wait_for grep -q one "$tmp/one.name"
	wait_for grep -q two "$tmp/two.name"
	goes_on "restored twice at once: one goes on" one
	goes_on "restored twice at once: so does the other" two
	goes_on "and so does the first" counts
	wait_for test -e "$XDG_CACHE_HOME"/hutch/*.memory
	yes_no "its memory is kept for the next" test "$(find "$XDG_CACHE_HOME/hutch" -name '*.memory*' | wc -l)" = 1
	rm -f "$XDG_CACHE_HOME"/hutch/*.memory
	yes_no "and what came first" test -s "$XDG_CACHE_HOME"/hutch/*.first
	ends one counts
	rm -f "$tmp/counts.console"
	check "restore: under the name it had" 0 restore -d --console "$tmp/counts.console" "$path" && is "restore: under the name it had" counts
	goes_on "restore: on the console that it is given" counts

	check "a restored one, saved" 0 snapshot two "$tmp/two.snap"
	ends two
	check "and restored" 0 restore -d --name three --console "$tmp/three.console" "$tmp/two.snap" && goes_on "and restored" three
	check "pause" 0 pause three && at=$(last three)
	check "a paused one, saved" 0 snapshot three "$tmp/three.snap" && sleep 0.2 && yes_no "a paused one stays paused" test "$(last three)" = "$at"
	check "and its snapshot runs" 0 restore -d --name four --console "$tmp/four.console" "$tmp/three.snap" &&
		goes_on "and its snapshot runs" four
	check "resume" 0 resume three && goes_on "resume" three
	check "onto where it came from" 0 snapshot four "$tmp/three.snap" && check "onto where it came from: whole" 0 snap verify "$tmp/three.snap" &&
		goes_on "onto where it came from" four
	ends counts three four
	nothing_left "store: nothing is left"
}

# the file system takes no more, or not this: what was there is there, and the guest has seen nothing
full() {
	from_base full || { bad "full" "no guest"; return; }
	mkdir -p "$tmp/small"
	if unshare -rm sh -c "mount -t tmpfs -o size=1500k small '$tmp/small'" 2>"$tmp/err"; then
		unshare -rm sh -c "mount -t tmpfs -o size=1500k small '$tmp/small' && cp '$tmp/base.snap' '$tmp/small/x.snap' && {
			$hutch snapshot --compress none full '$tmp/small/x.snap'; echo \$?; ls -A '$tmp/small'
			cmp '$tmp/base.snap' '$tmp/small/x.snap' && echo same; }" >"$tmp/out" 2>"$tmp/err"
		is "no space: what was there is there, and nothing else" "1
x.snap
same"
		holds "no space: it is told" "$tmp/err" "sandbox 'full': snapshot: it cannot be written: No space left on device"
		goes_on "no space: the guest goes on" full
	else
		echo "skip no space: $(head -n 1 "$tmp/err")"
	fi
	cp "$tmp/base.snap" "$tmp/small/x.snap"
	ln -s "$tmp/small/x.snap" "$tmp/small/link.snap"
	check "a link is replaced, not followed" 0 snapshot full "$tmp/small/link.snap" &&
		yes_no "a link is replaced, not followed" test -f "$tmp/small/link.snap" -a ! -L "$tmp/small/link.snap"
	yes_no "and where it led is what it was" cmp "$tmp/base.snap" "$tmp/small/x.snap"
	ends full
	# the one who writes is the machine
	(ulimit -f 1000 && from_base limited)
	goes_on "ulimit -f" limited
	cp "$tmp/base.snap" "$tmp/small/x.snap"
	refuses "ulimit -f: it is told" 1 "File too large" snapshot --compress none limited "$tmp/small/x.snap"
	yes_no "ulimit -f: what was there is there" cmp "$tmp/base.snap" "$tmp/small/x.snap"
	yes_no "ulimit -f: and nothing else" test "$(temps "$tmp/small")" = 0
	goes_on "ulimit -f: the guest goes on" limited
	refuses "no such folder" 125 "No such file or directory" snapshot limited "$tmp/nowhere/x.snap"
	refuses "a folder" 125 "is there and is no file" snapshot limited "$tmp/small"
	refuses "a device" 125 "is there and is no file" snapshot limited /dev/full
	ends limited
	rm -r "$tmp/small"
	nothing_left "full: nothing is left"
}

# saving NAME FILE [FLAG]: begins, and is not over for a second or more; $saver is the client
saving() {
	$hutch snapshot --compress zlib:9 $3 "$1" "$2" >"$tmp/saver.out" 2>"$tmp/saver.err" &
	saver=$!
	wait_for sh -c "ls '$(dirname "$2")'/.hutch-*.tmp"
	sleep 0.3
}

pid_of() {
	$hutch ps --json | sed -n "s/.*\"name\":\"$1\",\"pid\":\([0-9]*\),.*/\1/p"
}

# kill -9 of who asked and of who writes, in the midst of it
killed() {
	mkdir -p "$tmp/k"
	base
	for who in client machine both; do
		from_base $who || { bad "killed: $who" "no guest"; return; }
		cp "$tmp/base.snap" "$tmp/k/x.snap"
		pid=$(pid_of $who)
		saving $who "$tmp/k/x.snap"
		yes_no "killed $who: while it is written" test "$(temps "$tmp/k")" = 1
		case $who in
		client) kill -9 $saver ;;
		machine) kill -9 "$pid" ;;
		both) kill -9 $saver "$pid" ;;
		esac
		wait $saver 2>/dev/null
		status=$?
		yes_no "killed $who: what was there is there" cmp "$tmp/base.snap" "$tmp/k/x.snap"
		if [ $who = machine ]; then
			cp "$tmp/saver.err" "$tmp/err"
			yes_no "killed machine: the client fails" test $status = 1
			holds "killed machine: it is told" "$tmp/saver.err" "sandbox 'machine': it ended without an answer"
			yes_no "killed machine: no half is left" test "$(temps "$tmp/k")" = 0
		fi
		if [ $who = client ]; then
			goes_on "killed client: the guest goes on" client
			check "killed client: and can be saved" 0 snapshot client "$tmp/k/y.snap" && check "killed client: whole" 0 snap verify "$tmp/k/y.snap" &&
				echo "ok killed client: and can be saved"
			yes_no "killed client: the half is swept" test "$(temps "$tmp/k")" = 0
			ends client
		fi
		if [ $who = both ]; then
			yes_no "killed both: a half is left" test "$(temps "$tmp/k")" = 1
			from_base sweeper
			check "killed both: the next one" 0 snapshot sweeper "$tmp/k/z.snap"
			yes_no "killed both: sweeps it" test "$(temps "$tmp/k")" = 0
			ends sweeper
		fi
	done
	# a half that is being written is nobody's to sweep
	from_base slow
	from_base quick
	saving slow "$tmp/k/slow.snap"
	check "while another is written" 0 snapshot quick "$tmp/k/quick.snap"
	yes_no "while another is written: that goes on" test "$(temps "$tmp/k")" = 1
	wait $saver
	yes_no "while another is written: to its end" test $? = 0
	check "both are whole" 0 snap verify "$tmp/k/slow.snap" "$tmp/k/quick.snap" && echo "ok both are whole"
	ends slow quick
	rm -r "$tmp/k"
	$hutch gc >/dev/null
	nothing_left "killed: nothing is left"
}

# the process that packs for another one, if it does
packer_of() { # PID
	grep -l "^PPid:[[:space:]]*$1$" /proc/[0-9]*/status 2>/dev/null | tr -dc '0-9\n'
}

gone() { # PID: also if nobody has asked what became of it
	! grep -v '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null | grep -q '^State'
}

# the guest goes on while it is packed, whoever is killed meanwhile
live() {
	mkdir -p "$tmp/k"
	from_base live || { bad "live" "no guest"; return; }
	check "live" 0 -v snapshot --live --label "of a live one" live "$tmp/k/x.snap" && is "live" "$tmp/k/x.snap"
	holds "live: for how long it stood still" "$tmp/err" "; the guest stood still for "
	goes_on "live: the guest goes on" live
	check "live: a child" 0 -v snapshot --live --parent "$tmp/k/x.snap" live "$tmp/k/a.snap"
	holds "live: a child: compared" "$tmp/err" "all was written and compared" "; the guest stood still for "
	check "live: its child" 0 -v snapshot --live --parent "$tmp/k/a.snap" live "$tmp/k/b.snap"
	holds "live: its child: known" "$tmp/err" "that may have changed since" "; the guest stood still for "
	check "live: told as JSON" 0 --json snapshot --live --parent "$tmp/k/b.snap" live "$tmp/k/c.snap" && mv "$tmp/out" "$tmp/json" &&
		yes_no "live: told as JSON" grep -qE '"parent":"[0-9a-f]{32}","compared":false,"took_ms":[0-9.]+,"still_ms":[0-9.]+\}$' "$tmp/json"
	check "live: the chain is whole" 0 snap verify "$tmp/k/b.snap"
	check "live: restore of a chain" 0 restore -d --name third --console "$tmp/third.console" "$tmp/k/b.snap" &&
		goes_on "live: restore of a chain" third
	ends third
	check "live: restore" 0 restore -d --name second --console "$tmp/second.console" "$tmp/k/x.snap" && goes_on "live: restore" second
	check "live: of a restored one" 0 snapshot --live second "$tmp/k/y.snap"
	check "live: whole" 0 snap verify "$tmp/k/x.snap" "$tmp/k/y.snap" && echo "ok live: whole"
	ends second
	pid=$(pid_of live)
	cp "$tmp/k/y.snap" "$tmp/k/x.snap"
	saving live "$tmp/k/x.snap" --live
	goes_on "live: while it is packed" live
	refuses "live: one at a time" 1 "another one of this machine is being packed" snapshot --live live "$tmp/k/z.snap"
	check "live: one that stands still, too" 0 snapshot live "$tmp/k/z.snap" && is "live: one that stands still, too" "$tmp/k/z.snap"
	kill -9 "$(packer_of "$pid")"
	wait $saver
	yes_no "live: who packs is killed: the client fails" test $? = 1
	holds "live: who packs is killed: it is told" "$tmp/saver.err" "the process that packed it was killed by signal 9"
	saving live "$tmp/k/x.snap" --live
	kill -9 $saver
	yes_no "live: the client is killed: nobody packs any more" wait_for sh -c "! grep -q '^PPid:[[:space:]]*$pid$' /proc/[0-9]*/status 2>/dev/null"
	goes_on "live: the client is killed: the guest goes on" live
	check "live: and again" 0 snapshot --live live "$tmp/k/z.snap" && is "live: and again" "$tmp/k/z.snap"
	yes_no "live: the half is swept" test "$(temps "$tmp/k")" = 0
	saving live "$tmp/k/x.snap" --live
	packer=$(packer_of "$pid")
	kill -9 "$pid"
	wait $saver
	yes_no "live: the machine is killed: the client fails" test $? = 1
	holds "live: the machine is killed: it is told" "$tmp/saver.err" "it ended without an answer"
	yes_no "live: the machine is killed: nobody packs any more" wait_for gone "$packer"
	yes_no "live: what was there is there" cmp "$tmp/k/y.snap" "$tmp/k/x.snap"
	(ulimit -f 1000 && from_base limited)
	refuses "live: ulimit -f" 1 "File too large" snapshot --live --compress none limited "$tmp/k/x.snap"
	goes_on "live: ulimit -f: the guest goes on" limited
	saving limited "$tmp/k/x.snap" --live
	check "live: stop" 0 stop --time 0 limited
	wait $saver
	yes_no "live: stop: the client fails" test $? = 1
	holds "live: stop: it is told" "$tmp/saver.err" "because the machine has ended"
	yes_no "live: no half is left" test "$(temps "$tmp/k")" = 0
	ends limited
	rm -r "$tmp/k"
	$hutch gc >/dev/null
	nothing_left "live: nothing is left"
}

# damage NAME SED-LIKE: bytes of a copy are changed; what is told of it has TEXT
damage() { # NAME TEXT OFFSET
	rm -rf "$tmp/cache" # where its memory would be whole
	cp "$tmp/base.snap" "$tmp/bad.snap"
	printf '\251\102' | dd of="$tmp/bad.snap" bs=1 seek="$3" conv=notrunc 2>/dev/null
	refuses "$1: verify" 1 "$2" snap verify "$tmp/bad.snap"
	refuses "$1: restore" 1 "$2" restore -d --no-lazy --name none "$tmp/bad.snap"
	nothing_left "$1: nothing is left"
}

# files that are damaged, others', or none
others() {
	base
	size=$(stat -c %s "$tmp/base.snap")
	damage "damaged header" "its header is damaged" 2000
	damage "damaged index" "its index is damaged" $((size - 40))
	damage "damaged memory" "of its memory is damaged: its checksum is wrong" $((size / 3))
	refuses "damaged memory: met while it runs" 1 "of its memory is damaged: its checksum is wrong" \
		restore --name none --console "$tmp/none.console" "$tmp/bad.snap"
	nothing_left "damaged memory: met while it runs: nothing is left"
	cp "$tmp/base.snap" "$tmp/bad.snap" && truncate -s -1 "$tmp/bad.snap"
	refuses "a file that was cut" 1 "it was cut off" restore -d "$tmp/bad.snap"
	echo >>"$tmp/bad.snap" && echo >>"$tmp/bad.snap"
	refuses "a file that was added to" 1 "it was added to" snap verify "$tmp/bad.snap"
	check "several, one of them bad" 1 snap verify "$tmp/base.snap" "$tmp/bad.snap" "$tmp/base.snap" &&
		yes_no "several, one of them bad" test "$(grep -c ': whole$' "$tmp/out")" = 2
	refuses "no snapshot at all" 1 "is no snapshot" restore -d $flat/fill.elf
	mkfifo "$tmp/fifo"
	for what in "$tmp" "$tmp/fifo" /dev/null; do
		refuses "no file: ${what##*/}" 1 "something else than a file" restore -d "$what"
		refuses "no file: ${what##*/}, verify" 1 "something else than a file" snap verify "$what"
	done
	cp "$tmp/base.snap" "$tmp/bad.snap"
	chmod o+w "$tmp/bad.snap"
	refuses "one that anybody may write" 1 "may be written by anybody" restore -d "$tmp/bad.snap"
	check "it may be looked at" 0 snap verify "$tmp/bad.snap" && echo "ok it may be looked at"
	chmod o-w "$tmp/bad.snap"
	if [ "$(id -u)" = 0 ]; then
		chown 12345 "$tmp/bad.snap"
		refuses "another user's" 1 "is user 12345's" restore -d "$tmp/bad.snap"
		check "it may be looked at, too" 0 snap inspect "$tmp/bad.snap" && echo "ok it may be looked at, too"
	else
		echo "skip another user's: only root can make one"
	fi
	rm -f "$tmp/bad.snap" "$tmp/fifo"
	nothing_left "others: nothing is left"
}

# an overlay of a sector that was written, restored to where there is no room for it, and then there is
full_disk() {
	mkdir "$tmp/small"
	unshare -rm mount -t tmpfs small "$tmp/small" 2>"$tmp/err" || { echo "skip disks: no room: $(head -n 1 "$tmp/err")"; return; }
	i=0 # three sectors of numbers, which the guest looks at
	while [ $i -lt 384 ]; do
		printf "\\$(printf %o $((i % 256)))\\$((i / 256))\\0\\0"
		i=$((i + 1))
	done >"$tmp/words.img"
	truncate -s 1M "$tmp/words.img"
	check "disks: a sector is written" 0 boot --kernel $flat/blk.elf --append m --disk "$tmp/words.img,overlay=$tmp/words.overlay"
	$hutch boot --kernel $flat/idle.elf --memory 16M --disk "$tmp/words.img,overlay=$tmp/words.overlay" --name words --console "$tmp/words.console" </dev/null >/dev/null 2>&1 &
	wait_for grep -q . "$tmp/words.console"
	check "disks: with what was written" 0 snapshot --disk words "$tmp/words.snap"
	ends words
	unshare -rm sh -c "mount -t tmpfs -o size=8k small '$tmp/small' || exit
		$hutch restore -d --disk '0,overlay=$tmp/small/o' '$tmp/words.snap' 2>'$tmp/told'; echo \$?
		mount -o remount,size=1M small '$tmp/small'
		$hutch restore -d --disk '0,overlay=$tmp/small/o' '$tmp/words.snap'; echo \$?
		cmp '$tmp/small/o' '$tmp/words.overlay' && echo whole" >"$tmp/out" 2>"$tmp/err"
	is "disks: no room, and then there is" "1
words
0
whole"
	holds "disks: no room: it is told" "$tmp/told" "disk $tmp/words.img: its overlay: No space left on device"
	ends words
	rm -r "$tmp/small"
}

# images of disks are not in a snapshot: they have to be what they were
disks() {
	truncate -s 1M "$tmp/disk.img"
	$hutch boot --kernel $flat/idle.elf --memory 16M --disk "$tmp/disk.img" --name disk --console "$tmp/disk.console" </dev/null >/dev/null 2>&1 &
	wait_for grep -q . "$tmp/disk.console"
	check "disks: snapshot" 0 snapshot disk "$tmp/disk.snap"
	refuses "disks: still in use" 1 "$tmp/disk.img" restore -d --name other "$tmp/disk.snap"
	ends disk
	check "disks: restore" 0 restore -d "$tmp/disk.snap" && is "disks: restore" disk
	ends disk
	cp -p "$tmp/disk.img" "$tmp/copy.img"
	touch -d '2 seconds ago' "$tmp/disk.img"
	refuses "disks: written since" 1 "disk.img was written since the snapshot was made" restore -d "$tmp/disk.snap"
	holds "disks: written since, and what to do" "$tmp/err" "--disk 0=$tmp/disk.img"
	refuses "disks: other keys do not name it" 1 "disk.img was written since" restore -d --disk 0,engine=threads "$tmp/disk.snap"
	check "disks: named anew" 0 restore -d --disk "0=$tmp/disk.img" "$tmp/disk.snap" && is "disks: named anew" disk
	ends disk
	check "disks: a copy" 0 restore -d --disk "0=$tmp/copy.img" "$tmp/disk.snap" && is "disks: a copy" disk
	check "disks: a copy, told" 0 --json inspect disk && holds "disks: a copy, told" "$tmp/out" "$tmp/copy.img"
	ends disk
	truncate -s 2M "$tmp/copy.img"
	refuses "disks: of another size" 1 "has 2097152 bytes, and had 1048576" restore -d --disk "0=$tmp/copy.img" "$tmp/disk.snap"
	mv "$tmp/disk.img" "$tmp/moved.img"
	refuses "disks: gone" 1 "say where it is now: --disk 0=PATH" restore -d "$tmp/disk.snap"
	refuses "disks: which one" 1 "tell which one, as in --disk 0=copy.img" restore -d --disk "$tmp/moved.img" "$tmp/disk.snap"
	refuses "disks: none of that number" 1 "the machine has no such device" restore -d --disk "1=$tmp/moved.img" "$tmp/disk.snap"
	refuses "disks: what the guest knows" 1 "which its guest knows" restore -d --disk "0=$tmp/moved.img" --disk 0,ro=yes "$tmp/disk.snap"
	refuses "disks: a word" 1 "write each of its keys as KEY=VALUE" restore -d --disk 0,ro "$tmp/disk.snap"
	rm -f "$tmp/moved.img" "$tmp/copy.img" "$tmp/disk.snap"
	truncate -s 1M "$tmp/cow.img"
	$hutch boot --kernel $flat/idle.elf --memory 16M --disk "$tmp/cow.img,format=cow" --name cow --console "$tmp/cow.console" </dev/null >/dev/null 2>&1 &
	wait_for grep -q . "$tmp/cow.console"
	check "disks: an overlay that goes with the machine" 0 snapshot cow "$tmp/cow.snap"
	check "disks: is in it" 0 --json snap inspect "$tmp/cow.snap" && holds "disks: is in it" "$tmp/out" '"captured":1'
	check "disks: several go on from there" 0 fork -n 2 cow && holds "disks: several go on from there" "$tmp/out" cow-1 cow-2
	ends cow cow-1 cow-2
	check "disks: an overlay is made" 0 restore -d --disk "0,overlay=$tmp/cow.overlay" "$tmp/cow.snap" &&
		yes_no "disks: an overlay is made" test -s "$tmp/cow.overlay"
	check "disks: one with a name is named" 0 snapshot cow "$tmp/named.snap"
	check "disks: one with a name, --disk" 0 snapshot --disk cow "$tmp/captured.snap"
	refuses "disks: one with a name is in use" 1 "is in use by another machine" restore -d --name other "$tmp/named.snap"
	check "disks: one that goes along" 0 restore -d --name other "$tmp/captured.snap"
	check "disks: and back, in the jail" 0 rollback cow "$tmp/captured.snap"
	check "disks: it still runs" 0 snapshot --disk --live cow "$tmp/again.snap"
	ends cow other
	full_disk
	nothing_left "disks: nothing is left"
}

# back_to WHAT NAME FROM: it counted, went back to FROM or a bit more, once, and counts on from there
back_to() {
	wait_for went_back "$2" || { bad "$1" "it counts on"; return; }
	# the number that it was amid may be cut, and have the rest of another behind it
	if tr -d '\r' <"$tmp/$2.console" | grep -x '[0-9][0-9]*' |
		awk -v from="$3" 'NR > 1 && $1 != was + 1 { n += was - $1 > 20; to = $1 } { was = $1 }
			END { print "back " n " times, to " to ", from " from; exit !(n == 1 && to >= from && to < from + 50) }' >"$tmp/out"; then
		echo "ok $1"
	else
		bad "$1" "not once, or to somewhere else"
	fi
}

went_back() { # NAME
	tr -d '\r' <"$tmp/$1.console" | grep -x '[0-9]*' | awk 'NR > 1 && $1 < was { bad = 1 } { was = $1 } END { exit !bad }'
}

# in place: the process, its name and its console stay; and what is refused is not noticed
back() {
	filler back
	pid=$(pid_of back)
	at=$(last back)
	check "back: a snapshot" 0 snapshot back "$tmp/back.snap"
	wait_for counts_past back $((${at:-0} + 60))
	check "back" 0 rollback back "$tmp/back.snap" && is "back" ""
	back_to "back: and on from there" back "${at:-0}"
	yes_no "back: the process is the same" test "$(pid_of back)" = "$pid"
	check "back: it is told" 0 events back && holds "back: it is told" "$tmp/out" "execution.rollback" "$tmp/back.snap"
	cp "$tmp/back.snap" "$tmp/damaged.snap"
	printf x | dd of="$tmp/damaged.snap" bs=1 seek=9000 conv=notrunc 2>/dev/null
	head -c 5000 "$tmp/back.snap" >"$tmp/short.snap"
	at=$(last back)
	refuses "back: a damaged one" 1 "is damaged" rollback back "$tmp/damaged.snap"
	refuses "back: a short one" 1 "cut off" rollback back "$tmp/short.snap"
	refuses "back: no such one" 1 "nosuch.snap: No such file" rollback back "$tmp/nosuch.snap"
	refuses "back: a folder" 1 "something else than a file" rollback back "$tmp"
	refuses "back: no such sandbox" 1 "there is no sandbox 'none'" rollback none "$tmp/back.snap"
	refuses "back: to what" 2 "rollback" rollback back
	wait_for counts_past back "${at:-0}"
	back_to "back: what was refused was not noticed" back 0
	check "back: pause" 0 pause back
	check "back: a paused one" 0 rollback back "$tmp/back.snap" &&
		yes_no "back: it is paused no more" sh -c "$hutch ps --json | grep -q '\"name\":\"back\".*\"running\"'"
	at=$(last back)
	wait_for counts_past back "${at:-0}" && echo "ok back: and runs" || bad "back: and runs" "it stands still at $at"
	at=$(last back)
	check "back: a child" 0 snapshot --parent "$tmp/back.snap" back "$tmp/back.child.snap"
	wait_for counts_past back $((${at:-0} + 60))
	at=$(last back)
	check "back: to a child" 0 rollback back "$tmp/back.child.snap"
	sleep 0.3
	yes_no "back: to a child" test "$(last back)" -lt "$at"
	check "back: its parent again" 0 rollback back "$tmp/back.snap" && echo "ok back: its parent again"
	rm "$tmp/damaged.snap" "$tmp/short.snap" # of the same id
	mv "$tmp/back.snap" "$tmp/elsewhere"
	refuses "back: to a child without its parent" 1 "its parent back.snap is missing" rollback back "$tmp/back.child.snap"
	mv "$tmp/elsewhere" "$tmp/back.snap"
	ends back
	truncate -s 1M "$tmp/back.img"
	$hutch boot --kernel $flat/idle.elf --memory 16M --disk "$tmp/back.img" --name disk --console "$tmp/disk.console" </dev/null >/dev/null 2>&1 &
	wait_for grep -q . "$tmp/disk.console"
	refuses "back: another machine's" 1 "kernel: the snapshot's machine was made with" rollback disk "$tmp/back.snap"
	check "back: with a disk" 0 snapshot disk "$tmp/disk.snap" && check "back: with a disk" 0 rollback disk "$tmp/disk.snap" && echo "ok back: with a disk"
	touch "$tmp/back.img"
	refuses "back: a disk that was written" 1 "was written since the snapshot was made" rollback disk "$tmp/disk.snap"
	check "back: which runs on" 0 ps && holds "back: which runs on" "$tmp/out" disk
	ends disk
	rm -f "$tmp"/back.* "$tmp"/disk.* "$tmp"/damaged.snap "$tmp"/short.snap
	nothing_left "back: nothing is left"
}

# by a timer of the host's: what that is told to run works, also where nothing of this environment is
timer() {
	XDG_DATA_HOME=$tmp/timer
	export XDG_DATA_HOME
	plain=$hutch
	mkdir -p "$tmp/bin" "$tmp/no-bin"
	printf '#!/bin/sh\nprintf "%%s\\n" "$@" >"%s"\n' "$tmp/asked" >"$tmp/bin/systemd-run"
	chmod +x "$tmp/bin/systemd-run"
	filler tick
	hutch="env PATH=$tmp/bin:$PATH $plain"
	check "every" 0 snapshot --every 1h --keep 2 --label "it's \$5, or 50%" tick && is "every" hutch-snapshot-tick.timer
	holds "every: how to end it" "$tmp/err" "stop hutch-snapshot-tick.timer' ends it"
	holds "every: what systemd is asked" "$tmp/asked" --unit=hutch-snapshot-tick --on-active=3600000ms --on-unit-active=3600000ms \
		"--setenv=XDG_DATA_HOME=$tmp/timer" "--label=it's \$\$5, or 50%"
	yes_no "every: nothing is saved yet" test ! -e "$tmp/timer/hutch/snapshots"
	for n in 1 2 3; do
		sed '1,/^--$/d; s/[$][$]/$/g' "$tmp/asked" | xargs -d '\n' env -i HOME=/ XDG_DATA_HOME="$tmp/timer" >"$tmp/out" 2>"$tmp/err" ||
			bad "every: what it runs" "try $n"
	done
	check "every: two are kept" 0 snap ls && yes_no "every: two are kept" test "$(grep -c "^tick-.*it's \$5, or 50%$" "$tmp/out")" = 2
	printf '#!/bin/sh\necho "System has not been booted with systemd" >&2\nexit 1\n' >"$tmp/bin/systemd-run"
	refuses "every: systemd does not run" 125 "E_HOST: nothing is set up" snapshot --every 1h --label "it's 50%" tick
	holds "every: what it says of it is told" "$tmp/err" "System has not been booted"
	sed -n 's/.*: 0 [*].1 [*] [*] [*] //p' "$tmp/err" | sed 's/\\%/%/g' >"$tmp/line"
	yes_no "every: the line for cron works" env -i HOME=/ sh "$tmp/line"
	check "every: the line for cron works" 0 snap ls && holds "every: the line for cron works" "$tmp/out" "it's 50%"
	hutch="env PATH=$tmp/no-bin $(command -v "$plain")"
	for every in "1m */1" "15m */15" "2h 0#*/2" "24h 0#0" "1d 0#0"; do
		refuses "every ${every% *}: there is no systemd" 125 "\`crontab -e\`: $(echo "${every#* }" | tr '#' ' ') *" snapshot --every "${every% *}" tick
	done
	for every in 7m 5h 90s 2d; do refuses "every $every: cron cannot" 125 "cron has no such interval" snapshot --every $every tick; done
	hutch=$plain
	refuses "every: too often" 2 "'59s' is too often" snapshot --every 59s tick
	refuses "every: how often" 2 "--every: '1'" snapshot --every 1 tick
	refuses "every: into one file" 2 "leave FILE out" snapshot --every 1h tick "$tmp/x.snap"
	refuses "keep: into one file" 2 "leave FILE out" snapshot --keep 1 tick "$tmp/x.snap"
	refuses "keep: none" 2 "at least 1" snapshot --keep 0 tick
	refuses "every: with a parent" 2 "leave --parent out" snapshot --every 1h --parent x tick
	refuses "every: of none" 1 "there is no sandbox 'none'" snapshot --every 1h none
	ends tick
	unset XDG_DATA_HOME
	nothing_left "timer: nothing is left"
}

# what cannot be, in a sentence
wrong() {
	base
	from_base here
	refuses "no such sandbox" 1 "there is no sandbox 'none'" snapshot none "$tmp/x.snap"
	$hutch boot --kernel $flat/hello.elf --memory 16M --name over --keep --console none </dev/null >/dev/null 2>&1
	refuses "one that has ended" 1 "sandbox 'over': it has ended" snapshot over "$tmp/x.snap"
	$hutch rm over
	for level in lz4 zlib: zlib:0 zlib:10 zlib:x 1; do
		refuses "--compress $level" 2 "'$level' is neither none, zlib, nor zlib:1 to zlib:9" snapshot --compress $level here "$tmp/x.snap"
	done
	refuses "a label of two lines" 2 "--label: at most 127 bytes, on one line" snapshot --label "a
b" here "$tmp/x.snap"
	refuses "a long label" 2 "--label: at most 127 bytes" snapshot --label "$(printf %128s x)" here "$tmp/x.snap"
	check "a label that just fits" 0 snapshot --label "$(printf %127s x)" here "$tmp/x.snap" && echo "ok a label that just fits"
	rm -f "$tmp/x.snap"
	refuses "no name" 2 "snapshot" snapshot
	refuses "too many names" 2 "snapshot" snapshot here a b
	yes_no "nothing was written" test ! -e "$tmp/x.snap" -a "$(temps "$tmp")" = 0
	refuses "no such snapshot" 1 "there is no snapshot 'nosuch', here or in the store" restore nosuch
	refuses "no such file" 1 "$tmp/nosuch.snap: No such file" restore "$tmp/nosuch.snap"
	refuses "none given" 2 "restore" restore
	refuses "a bad name" 2 "'a/b'" restore -d --name a/b "$tmp/base.snap"
	refuses "a network that it lacks" 1 "the machine has no such device" restore -d --name x --net 0=tap0 "$tmp/base.snap"
	# and by each verb that is given one
	missing="there is no snapshot 'nosuch', here or in the store"
	refuses "no such snapshot: rollback" 1 "$missing" rollback here nosuch
	refuses "no such snapshot: a parent" 1 "$missing" snapshot --parent nosuch here "$tmp/x.snap"
	for verb in log inspect verify rm; do
		refuses "no such snapshot: $verb" 1 "$missing" snap $verb nosuch
	done
	refuses "no such snapshot: diff" 2 "$missing" snap diff "$tmp/base.snap" nosuch
	refuses "run: no such snapshot" 125 "there is no snapshot 'nosuch'" run --from nosuch -- true
	refuses "run: a raw machine" 125 "is of a machine without an agent" run --from "$tmp/base.snap" -- true
	refuses "run: other memory" 125 "memory: the snapshot's machine was made with '16M'" run --from "$tmp/base.snap" --memory 1G -- true
	refuses "run: -m, too" 125 "memory: the snapshot's machine was made with '16M'" run --from "$tmp/base.snap" -m 1G -- true
	refuses "run: the same memory" 125 "without an agent" run --from "$tmp/base.snap" --memory 16384K -- true
	refuses "run: other CPUs" 125 "cpus: the snapshot's machine was made with '1'" run --from "$tmp/base.snap" --cpus 2 -- true
	refuses "run: another kernel" 125 "kernel: the snapshot's machine was made with" run --from "$tmp/base.snap" --kernel /none -- true
	refuses "run: a disk" 125 "--disk: a snapshot's machine has what it had" run --from "$tmp/base.snap" --disk /none -- true
	refuses "run: a dry run finds it, too" 125 "memory: the snapshot's machine" run --dry-run --from "$tmp/base.snap" --memory 1G -- true
	refuses "snap: which" 2 "snap" snap
	refuses "snap: what is none" 2 "snap" snap frobnicate
	goes_on "the guest is well" here
	ends here
	nothing_left "wrong: nothing is left"
}

# --- Linux ---

# ids NAME SANDBOX: what it draws, and what it is known by, one a line, behind all others'
ids() {
	check "$1" 0 exec "$2" -- cat /proc/sys/kernel/random/uuid /proc/sys/kernel/random/boot_id /etc/machine-id &&
		cat "$tmp/out" >>"$tmp/ids"
}

# a sandbox is saved, goes, and comes back: as another, with another's name and luck
linux() {
	check "linux: run -d" 0 run $patience -d --name box -- sleep 1h || return
	check "linux: exec" 0 exec box -- sh -c 'echo remembered >/tmp/file; mkdir /tmp/tree; echo a >/tmp/tree/a; head -c 100000 /dev/urandom >/tmp/tree/big; chown 5:6 /tmp/tree/a; echo 0123456789abcdef0123456789abcdef >/etc/machine-id; hostname' &&
		is "linux: exec" box
	ids "linux: its luck" box
	check "linux: snapshot" 0 snapshot --label "a sandbox" box "$tmp/box.snap" && is "linux: snapshot" "$tmp/box.snap"
	check "linux: the guest goes on" 0 exec box -- cat /tmp/file && is "linux: the guest goes on" remembered
	check "linux: what is to be undone" 0 exec box -- sh -c 'echo changed >/tmp/file'
	$hutch exec --timeout 1h box -- sh -c 'echo began; sleep 1h' >"$tmp/undone" 2>"$tmp/undone.err" &
	undone=$!
	wait_for grep -q began "$tmp/undone"
	check "linux: rollback" 0 rollback box "$tmp/box.snap" && is "linux: rollback" ""
	wait $undone
	yes_no "linux: rollback: who listened is told" test $? = 125
	check "linux: rollback: it is undone" 0 exec box -- sh -c 'cat /tmp/file; hostname' && is "linux: rollback: it is undone" "remembered
box"
	near "linux: rollback: what time it is" box
	# its own command goes on, and so does the process that waits for it
	check "linux: rollback: what ran runs" 0 exec box -- sh -c 'cat /proc/[0-9]*/comm | grep -cx sleep' && is "linux: rollback: what ran runs" 1
	check "linux: kill" 0 kill box
	wait_for sh -c "! $hutch ps -q | grep box"
	sleep 4
	check "linux: restore -d" 0 restore -d --name again "$tmp/box.snap" && is "linux: restore -d" again || return
	ids "linux: another's luck" again
	check "linux: extract" 0 snap extract "$tmp/box.snap" /tmp/file "$tmp" &&
		yes_no "linux: extract, a file" test "$(cat "$tmp/file")" = remembered
	refuses "linux: extract, what is not there" 1 "/tmp/none" snap extract "$tmp/box.snap" /tmp/none "$tmp"
	check "linux: what comes back alone" 0 exec again -- sh -c 'echo spoilt >/tmp/file; rm /tmp/tree/a; echo new >/tmp/tree/new'
	check "linux: files come back" 0 rollback again "$tmp/box.snap" /tmp/file /tmp/tree && is "linux: files come back" ""
	check "linux: files are back" 0 exec again -- sh -c 'cat /tmp/file /tmp/tree/a /tmp/tree/new; stat -c %u:%g /tmp/tree/a; hostname' &&
		is "linux: files are back" "remembered
a
new
5:6
again"
	check "linux: files: events" 0 events --json again && holds "linux: files: events" "$tmp/out" '"files":["/tmp/file","/tmp/tree"]'
	refuses "linux: files that were not there" 1 "/tmp/none" rollback again "$tmp/box.snap" /tmp/none
	refuses "linux: files that are too much" 1 "more than copy_max" rollback --copy-max 10K again "$tmp/box.snap" /tmp/tree
	refuses "linux: files by a path of nowhere" 2 "begins with a slash" rollback again "$tmp/box.snap" tmp/file
	check "linux: what it remembers" 0 exec again -- cat /tmp/file && is "linux: what it remembers" remembered
	near "linux: what time it is" again
	check "linux: what it is called" 0 exec again -- hostname && is "linux: what it is called" again
	check "linux: a second time" 0 restore -d --name third "$tmp/box.snap" && is "linux: a second time" third
	ids "linux: a third one's luck" third
	check "linux: fork" 0 fork -n 2 again && is "linux: fork" "again-1
again-2"
	for n in again-1 again-2; do
		check "linux: fork: $n remembers" 0 exec $n -- sh -c 'cat /tmp/file; hostname' && is "linux: fork: $n remembers" "remembered
$n"
		ids "linux: fork: the luck of $n" $n
	done
	yes_no "linux: five of them, and no id twice" test "$(sort -u "$tmp/ids" | wc -l)" = 15
	ends again-1 again-2
	check "linux: it writes" 0 exec again -- sh -c 'echo more >>/tmp/file'
	check "linux: and is saved again" 0 snapshot --parent "$tmp/box.snap" again "$tmp/second.snap" && is "linux: and is saved again" "$tmp/second.snap"
	ends again
	check "linux: back to another's" 0 rollback third "$tmp/box.snap" &&
		check "linux: back to another's" 0 exec third -- hostname && is "linux: back to another's" third
	check "linux: pause" 0 pause third
	check "linux: a paused one" 0 snapshot --parent "$tmp/box.snap" third "$tmp/paused.snap" && is "linux: a paused one" "$tmp/paused.snap"
	yes_no "linux: a child is small" test "$(stat -c %s "$tmp/paused.snap")" -lt "$(($(stat -c %s "$tmp/box.snap") / 2))"
	refuses "linux: it is paused still" 125 resume exec third -- true
	check "linux: resume" 0 resume third
	check "linux: and well" 0 exec third -- cat /tmp/file && is "linux: and well" remembered
	ends third
	check "linux: the second generation" 0 restore -d --name again "$tmp/second.snap" &&
		check "linux: the second generation" 0 exec again -- cat /tmp/file && is "linux: the second generation" "remembered
more"
	near "linux: the second generation's time" again
	ends again
	check "linux: out of a paused one" 0 restore -d --name again "$tmp/paused.snap" &&
		check "linux: out of a paused one" 0 exec again -- cat /tmp/file && is "linux: out of a paused one" remembered
	ends again
	check "linux: run --from" 7 run --heartbeat 30s --from "$tmp/box.snap" -- sh -c 'cat /tmp/file; exit 7' && is "linux: run --from" remembered
	refuses "linux: run --from, other memory" 125 "memory: the snapshot's machine" run --from "$tmp/box.snap" --memory 1G -- true
	refuses "linux: run --from, a port" 125 "-p: the snapshot's machine has no network" run --from "$tmp/box.snap" -p 8080:80 -- true
	mkdir -p "$tmp/policy"
	echo "memory: 64M" >"$tmp/policy/small.yaml"
	HUTCH_POLICY_D=$tmp/policy
	export HUTCH_POLICY_D
	refuses "linux: a policy holds for run --from" 125 "E_POLICY: memory: '512M' (snapshot $tmp/box.snap) goes over the policy's '64M'" \
		run --from "$tmp/box.snap" -- true
	refuses "linux: and for restore" 1 "E_POLICY: memory: '512M'" restore -d --name again "$tmp/box.snap"
	unset HUTCH_POLICY_D
	nothing_left "linux: nothing is left"
}

# address NAME SANDBOX: of its card, in $mac; it is what the device says, and it reaches this host from its IP address
address() {
	check "$1" 0 exec "$2" -- sh -c 'cat /sys/class/net/eth0/address; ping -c 1 -W 10 10.77.9.1 >&2; ip addr show eth0' || return
	mac=$(head -n 1 "$tmp/out")
	holds "$1: IP" "$tmp/out" " $3/24 "
	check "$1: inspect" 0 --json inspect "$2" && holds "$1: inspect" "$tmp/out" "\"mac\":\"$(echo "$mac" | tr -d :)\""
}

# virtio over PCI, and two processors; on a network, where there can be one
pci() {
	if ip tuntap add snap0 mode tap 2>"$tmp/err" && ip addr add 10.77.9.1/24 dev snap0 && ip link set snap0 up; then
		net=--net=tap=snap0,ip=10.77.9.2/24::10.77.9.1
	else
		echo "skip pci: on a network: $(head -n 1 "$tmp/err")"
		net=''
	fi
	mac=''
	check "pci: run -d" 0 run $patience -d --transport pci --cpus 2 $net --name box -- sleep 1h || return
	check "pci: exec" 0 exec box -- sh -c 'echo remembered >/tmp/file'
	[ -z "$net" ] || address "pci: the address of box" box 10.77.9.2
	was=$mac
	check "pci: snapshot" 0 snapshot box "$tmp/box.snap"
	ends box
	for n in one two box; do
		ip=10.77.9.2
		[ $n != two ] || ip=10.77.9.3
		check "pci: restore $n" 0 restore -d --name $n ${net:+--net "0,ip=$ip/24::10.77.9.1"} "$tmp/box.snap"
		check "pci: $n remembers" 0 exec $n -- sh -c 'cat /tmp/file; nproc' && is "pci: $n remembers" "remembered
2"
		near "pci: what time it is for $n" $n
		[ -z "$net" ] || address "pci: the address of $n" $n $ip
		echo "$mac" >>"$tmp/macs"
		ends $n
	done
	if [ "$net" ]; then
		yes_no "pci: each name has its own address" test "$(sort -u "$tmp/macs" | wc -l)" = 3
		yes_no "pci: and box still has its own" test "$mac" = "$was"
		ip link del snap0
	fi
	nothing_left "pci: nothing is left"
}

# many out of one that runs, and out of a snapshot
forks() {
	base
	filler one
	check "fork" 0 fork -n 8 one && is "fork" "$(for i in 1 2 3 4 5 6 7 8; do echo one-$i; done)"
	goes_on "fork: the guest goes on" one
	yes_no "fork: all run" test "$($hutch ps -q | grep -c '^one')" = 9
	for i in 1 8; do
		cpu=$($hutch stats --json one-$i | sed -n 's/.*"cpu_ms":\([0-9]*\).*/\1/p')
		sleep 0.3
		yes_no "fork: one-$i does something" test "$($hutch stats --json one-$i | sed -n 's/.*"cpu_ms":\([0-9]*\).*/\1/p')" -gt "${cpu:-0}"
	done
	check "fork: with its times" 0 fork --timing --name timed one
	$hutch stop --time 0 timed-1
	check "fork: its log has them" 0 logs --source vmm timed-1 && holds "fork: its log has them" "$tmp/out" "fork " "first entry "
	refuses "fork: a name that is taken" 1 "runs already" fork one
	check "fork: of a fork, by another name" 0 fork --name two one-3 && is "fork: of a fork, by another name" two-1
	yes_no "fork: no file is left" test -z "$(find "$tmp/cache" -name 'fork-*')"
	check "fork: out of a snapshot" 0 fork -n 2 --name three "$tmp/base.snap" && is "fork: out of a snapshot" "three-1
three-2"
	ends one one-1 one-2 one-3 one-4 one-5 one-6 one-7 one-8 two-1 three-1 three-2
	$hutch rm timed-1 >/dev/null
	wait
	refuses "fork: none" 1 "there is no sandbox 'none'" fork none
	refuses "fork: so many" 2 "no number from 1 to" fork -n 0 none
	nothing_left "fork: nothing is left"
}

# child NAME WAY ARGUMENTS OF hutch snapshot...: is it made so, "known" to the machine or "compared"?
child() {
	name=$1 way="that may have changed since"
	[ "$2" = known ] || way="all was written and compared"
	shift 2
	check "$name" 0 -v snapshot "$@" && holds "$name" "$tmp/err" "$way"
}

# snapshots that are the changes of another, in the jail and under a full file system
chains() {
	mkdir -p "$tmp/c"
	base
	cp "$tmp/base.snap" "$tmp/c/0.snap"
	rm -f "$tmp/kid.console"
	$hutch restore -d --no-lazy --name kid --console "$tmp/kid.console" "$tmp/c/0.snap" >/dev/null
	wait_for counts_past kid 0
	child "a child of what it was restored from" known --parent "$tmp/c/0.snap" kid "$tmp/c/1.snap"
	goes_on "a child: the guest goes on" kid
	child "a child of that" known --label third --parent "$tmp/c/1.snap" kid "$tmp/c/2.snap"
	yes_no "a child is small" test "$(stat -c %s "$tmp/c/2.snap")" -lt "$(($(stat -c %s "$tmp/c/0.snap") / 2))"
	yes_no "a child: for nobody else to read" test "$(stat -c %a "$tmp/c/2.snap")" = 600
	child "a child of an older one" compared --compress zlib:6 --parent "$tmp/c/0.snap" kid "$tmp/c/3.snap"
	yes_no "a compared one: for nobody else to read" test "$(stat -c %a "$tmp/c/3.snap")" = 600
	child "a child of that" known --compress none --parent "$tmp/c/3.snap" kid "$tmp/c/4.snap"
	refuses "onto one of its parents" 1 "0.snap itself" snapshot --parent "$tmp/c/4.snap" kid "$tmp/c/0.snap"
	ln -s 3.snap "$tmp/c/link.snap"
	refuses "onto one of its parents, by a link" 1 "3.snap itself" snapshot --parent "$tmp/c/4.snap" kid "$tmp/c/link.snap"
	rm "$tmp/c/link.snap"
	mkdir "$tmp/small"
	if unshare -rm sh -c "mount -t tmpfs -o size=8k small '$tmp/small'" 2>"$tmp/err"; then
		unshare -rm sh -c "mount -t tmpfs -o size=8k small '$tmp/small' && {
			$hutch snapshot --parent '$tmp/c/4.snap' kid '$tmp/small/x.snap'; echo \$?; ls -A '$tmp/small'; }" >"$tmp/out" 2>"$tmp/err"
		is "a child without space: nothing is left" 1
		holds "a child without space: it is told" "$tmp/err" "No space left on device"
	else
		echo "skip a child without space: $(head -n 1 "$tmp/err")"
	fi
	rmdir "$tmp/small"
	child "the next one has it all" known --parent "$tmp/c/4.snap" kid "$tmp/c/5.snap"
	yes_no "no half is left" test "$(temps "$tmp/c")" = 0
	goes_on "after all of them: the guest goes on" kid
	ends kid

	check "snap log" 0 snap log "$tmp/c/2.snap" && holds "snap log" "$tmp/out" third
	yes_no "snap log: from the last to the first" test "$(awk 'NR > 1 { printf "%s:%s ", $1, $8 }' "$tmp/out")" = "2:1 1:0 0:- "
	check "snap log --json" 0 --json snap log "$tmp/c/2.snap" && holds "snap log --json" "$tmp/out" '"name":"0"' '"parent_path":"1.snap"' '"label":"third"'
	check "verify" 0 snap verify "$tmp/c/5.snap" "$tmp/c/2.snap" && echo "ok verify"
	mv "$tmp/c" "$tmp/d"
	for i in 2 5; do
		rm -rf "$tmp/cache" "$tmp/kid.console"
		check "restore: $i.snap" 0 restore -d --name kid --console "$tmp/kid.console" "$tmp/d/$i.snap" && goes_on "restore: $i.snap" kid
		ends kid
	done
	mv "$tmp/d/3.snap" "$tmp/3.snap"
	rm -rf "$tmp/cache"
	refuses "a parent is missing" 1 "4.snap: its parent 3.snap is missing" restore -d "$tmp/d/5.snap"
	refuses "a parent is missing: verify" 1 "4.snap: its parent 3.snap is missing" snap verify "$tmp/d/5.snap"
	refuses "a parent is missing: snap log" 1 "4.snap: its parent 3.snap is missing" snap log "$tmp/d/5.snap"
	yes_no "a parent is missing: snap log lists the others" test "$(grep -c '^[0-9]' "$tmp/out")" = 2
	cp "$tmp/d/1.snap" "$tmp/d/3.snap"
	refuses "a parent is another" 1 "3.snap is not its parent: it is" restore -d "$tmp/d/5.snap"
	check "it may be looked at" 0 snap inspect "$tmp/d/5.snap" && echo "ok it may be looked at"
	cp "$tmp/3.snap" "$tmp/d/other.snap"
	check "a parent by another name" 0 snap verify "$tmp/d/5.snap" && echo "ok a parent by another name"
	rm -r "$tmp/d"
	nothing_left "chains: nothing is left"
}

# those of flat guests run here, in any case; those of Linux where there can be one
natives="store full killed live disks others wrong forks chains back timer" native="" testbed=""
for group in ${*:-$natives linux pci}; do
	case " $natives " in *" $group "*) native="$native $group" ;; *) testbed="$testbed $group" ;; esac
done
if [ -n "$native" ]; then
	if { : <>/dev/kvm; } 2>/dev/null; then
		mkdir -p "$tmp"
		trap 'rm -rf "$tmp"' EXIT
		for group in $native; do $group; done
	else
		echo "skip snap: /dev/kvm cannot be opened"
	fi
fi
[ -z "$testbed" ] || run_groups "$testbed"
