#!/bin/sh
# tests/e2e/cli.sh: hutch boot as a person meets it: what it refuses and how it says so, names, the terminal,
# and many machines at once. Guests are the flat ones of tests/kvm, so any /dev/kvm will do.
#
# Prints "ok NAME", "not ok NAME: WHY" or "skip NAME: WHY".
set -u
cd "$(dirname "$0")/../.." || exit 1
B=${B:-build}
hutch=$PWD/$B/hutch
flat=$PWD/$B/tests/kvm
tmp=$(mktemp -d "${TMPDIR:-/tmp}/hutch-cli.XXXXXX") || exit 1
export XDG_RUNTIME_DIR="$tmp/run"
mkdir "$XDG_RUNTIME_DIR"
trap 'rm -rf "$tmp"' EXIT

if ! { : <>/dev/kvm; } 2>/dev/null; then
	echo "skip cli: /dev/kvm cannot be opened"
	exit 0
fi

# says NAME WANT-STATUS PATTERN ARGUMENTS...: one line on stderr, which has the pattern, and nothing on stdout
says() {
	name=$1 want=$2 pattern=$3
	shift 3
	timeout 20 "$@" </dev/null >"$tmp/out" 2>"$tmp/err"
	status=$?
	if [ $status != "$want" ]; then
		echo "not ok $name: exit status $status, not $want: $(head -n 3 "$tmp/err")"
	elif [ "$(wc -l <"$tmp/err")" != 1 ]; then
		echo "not ok $name: not one line: $(cat "$tmp/err")"
	elif ! grep -qE -- "^hutch: $pattern" "$tmp/err"; then
		echo "not ok $name: '$(cat "$tmp/err")' is not like '$pattern'"
	elif [ -s "$tmp/out" ]; then
		echo "not ok $name: it prints on stdout"
	else
		echo "ok $name"
	fi
}

# refuses NAME WANT-STATUS PATTERN FLAGS...
refuses() {
	name=$1 want=$2 pattern=$3
	shift 3
	says "$name" "$want" "$pattern" "$hutch" boot "$@"
}

# check NAME COMMAND...
check() {
	name=$1
	shift
	if "$@" >"$tmp/check" 2>&1; then echo "ok $name"; else echo "not ok $name: $(head -n 3 "$tmp/check")"; fi
}

# wait_for COMMAND...: at most 10 s
wait_for() {
	i=0
	until "$@" >/dev/null 2>&1; do
		i=$((i + 1))
		[ $i -lt 200 ] || return 1
		sleep 0.05
	done
}

bad_values() {
	k="--kernel $flat/hello.elf"
	refuses "unknown flag" 2 "boot: unknown flag --memroy; did you mean --memory\?" --memroy 1G
	refuses "stray argument" 2 "boot: 'stray' is not a flag" $k stray
	refuses "missing value" 2 "--kernel: a value is missing: FILE" --kernel
	refuses "bad size" 2 "memory: '12x' is not a size" $k --memory 12x
	refuses "bare number as size" 2 "memory: '512' is not a size: its unit is missing" $k --memory 512
	refuses "no memory" 2 "memory: '0M' is outside" $k --memory 0M
	refuses "odd memory" 2 "memory: '4097K' is not a multiple of 4K" $k --memory 4097K
	refuses "absurd memory" 2 "memory: '100T' is outside 2M to 16T" $k --memory 100T
	refuses "too much memory for KVM" 1 "memory: .*give less --memory" $k --memory 16T
	refuses "no processors" 2 "cpus: '0' is outside" $k --cpus 0
	refuses "too many processors" 2 "cpus: '5000' is outside" $k --cpus 5000
	refuses "processors of no number" 2 "cpus: 'x' is not a whole number" $k --cpus x
	refuses "bad choice" 2 "boot: 'uefi' is not one of: auto, bzimage, elf, pvh" $k --boot uefi
	refuses "bad switch" 2 "pit: 'maybe' is neither yes nor no" $k --pit=maybe
	refuses "bad name" 2 "--name: 'a/b' is not a name" $k --name a/b
	refuses "balloon above memory" 2 "balloon: 65M is more than the machine's memory of 64M" $k --memory 64M --balloon 65M
	refuses "balloon twice" 2 "balloon: more than 1 are given" $k --balloon 1M --balloon 1M
	refuses "bad console size" 2 "console_size: '80' is no size; write COLUMNSxROWS" $k --console-size 80
	refuses "console size of a serial port" 2 "console_size: a serial port has no size" $k --console-size 80x25
	refuses "long command line" 2 "append: 5000 bytes are too long" $k --append "$(printf %5000s | tr ' ' x)"
	refuses "console of no descriptor" 1 "console fd:99:98: no such file descriptor" $k --console fd:99:98
}

bad_files() {
	cd "$tmp" || exit 1
	k="--kernel $flat/hello.elf"
	mkdir folder
	: >empty
	head -c 5000 /dev/urandom | sed 's/^./x/' >random
	cp "$flat/hello.elf" elf32
	printf '\001' | dd of=elf32 bs=1 seek=4 conv=notrunc 2>/dev/null
	{ head -c 56 /dev/zero; printf 'ARMd'; head -c 1000 /dev/zero; } >arm64
	head -c 20M /dev/zero >big
	head -c 65536 /dev/zero >disk
	printf 'memory: 64M\nmemroy: 1G\n' >bad.yaml
	printf 'memory: 64\n' >size.yaml
	printf '{ "cpus": 2, "disk": [ { "path": "%s" } ] }\n' "$tmp/none" >disk.json

	refuses "kernel missing" 1 "kernel none: there is no such file" --kernel none
	refuses "kernel a folder" 1 "kernel folder: is a directory" --kernel folder
	refuses "kernel empty" 1 "kernel empty: is empty" --kernel empty
	refuses "kernel of noise" 1 "kernel random: is not a Linux kernel" --kernel random
	refuses "kernel of 32 bits" 1 "kernel elf32: is a 32-bit ELF file" --kernel elf32
	refuses "kernel for arm64" 1 "kernel arm64: is an arm64 kernel" --kernel arm64
	refuses "initrd too big" 1 "initrd big: 20M do not fit .* give more --memory" $k --initrd big --memory 16M
	refuses "initrd missing" 1 "initrd none: there is no such file" $k --initrd none
	refuses "disk twice" 2 "disk disk: is given twice" $k --disk disk --disk disk
	refuses "disk twice by two names" 1 "disk ./disk: is in use" $k --disk disk --disk ./disk
	refuses "disk missing" 1 "disk none: No such file" $k --disk none
	refuses "disk a folder" 1 "disk folder: is a folder" $k --disk folder
	refuses "disk empty" 1 "disk empty: has 0 bytes" $k --disk empty
	refuses "disk with unknown key" 2 "disk: unknown key 'rw'; did you mean 'ro'\?" $k --disk disk,rw
	refuses "disk without path" 2 "disk 0: a path is missing" $k --disk ,ro
	refuses "config of unknown key" 2 "bad.yaml:2: unknown key 'memroy'; did you mean 'memory'\?" -C bad.yaml
	refuses "config of bad size" 2 "size.yaml:1: memory: '64' is not a size" -C size.yaml
	refuses "config missing" 2 "config file none.yaml: No such file" -C none.yaml
	refuses "config in JSON" 1 "disk $tmp/none: No such file" $k -C disk.json
	cd - >/dev/null || exit 1
}

# /dev/kvm as other hosts have it, in a mount namespace
bad_hosts() {
	if ! unshare -m true 2>/dev/null; then
		echo "skip no /dev/kvm: mount namespaces are not allowed here"
		return
	fi
	boot="$hutch boot --kernel $flat/hello.elf"
	says "no /dev/kvm" 1 "cannot open /dev/kvm: it is not there; .*modprobe" \
		unshare -m sh -c "mount -t tmpfs none /dev && exec $boot"
	says "/dev/kvm of something else" 1 "/dev/kvm .*is it really KVM" \
		unshare -m sh -c "mount --bind /dev/null /dev/kvm && exec $boot"
	cp "$hutch" "$flat/hello.elf" "$tmp"
	chmod -R go+rX "$tmp"
	says "no permission for /dev/kvm" 1 "cannot open /dev/kvm: permission denied for user 65534; .*usermod" \
		unshare -m sh -c "mknod $tmp/kvm c 10 232 && chmod 600 $tmp/kvm && mount --bind $tmp/kvm /dev/kvm &&
			XDG_RUNTIME_DIR= exec setpriv --reuid 65534 --regid 65534 --clear-groups \
			$tmp/hutch boot --kernel $tmp/hello.elf"
}

# a machine that sleeps for good
sleeper() {
	"$hutch" boot --kernel "$flat/ends.elf" --append h --memory 32M "$@" </dev/null >/dev/null 2>&1 &
	pid=$!
}

names() {
	sleeper --name one
	first=$pid
	check "a named machine answers" wait_for "$hutch" inspect one
	refuses "name taken" 1 "a sandbox named 'one' runs already" --kernel "$flat/hello.elf" --name one
	check "it still answers" "$hutch" inspect --json one
	kill -9 $first
	wait $first 2>/dev/null
	says "nobody answers for a killed one" 1 "there is no sandbox 'one'" "$hutch" inspect one
	sleeper --name one
	check "its name is free again" wait_for "$hutch" inspect one
	kill $pid
	wait $pid
	status=$?
	check "SIGTERM ends a machine with 143" test $status = 143
	check "and nothing of it is left" test ! -e "$XDG_RUNTIME_DIR/hutch/one"
	# where names are kept is found without the environment, too, and at the end from within the jail
	check "a name without XDG_RUNTIME_DIR" env -u XDG_RUNTIME_DIR timeout 20 "$hutch" boot --kernel "$flat/hello.elf" \
		--memory 32M --name "cli-$$" --console none
	check "and nothing is left of it" sh -c "! ls -d /run/hutch/cli-$$ /tmp/hutch-*/cli-$$"
	# a folder that is not ours could lead anywhere
	rm -rf "$XDG_RUNTIME_DIR/hutch"
	ln -s /tmp "$XDG_RUNTIME_DIR/hutch"
	refuses "run folder a link" 1 "the folder of sandboxes, .*: .*take another" --kernel "$flat/hello.elf" --name one
	rm "$XDG_RUNTIME_DIR/hutch"
}

# in_terminal WHAT-TO-DO: a machine in a terminal of its own; $tmp/tty: stty before, marks, stty after
in_terminal() {
	cat >"$tmp/session" <<-EOT
		stty -g >$tmp/before
		$hutch boot --kernel $flat/ends.elf --append h --memory 32M &
		echo \$! >$tmp/pid
		fg %1
		echo \$? >$tmp/status
		sleep 0.2
		stty -g >$tmp/after
	EOT
	rm -f "$tmp/pid" "$tmp/after"
	{ eval "$1"; } | timeout 20 script -qec "bash -m $tmp/session" /dev/null >"$tmp/screen" 2>&1
	[ -s "$tmp/before" ] && cmp -s "$tmp/before" "$tmp/after"
}

# the machine's terminal is raw: it has taken it
is_raw() {
	wait_for test -s "$tmp/pid" && wait_for sh -c "stty -a <\$(readlink /proc/\$(cat $tmp/pid)/fd/0) | grep -q -- -icanon"
}

terminal() {
	check "the terminal is raw, and restored by Ctrl-A x" in_terminal \
		'is_raw && touch $tmp/raw1; printf "a\001\001\001h"; sleep 0.2; printf "\001x"; sleep 0.5'
	check "it was raw" test -e "$tmp/raw1"
	check "Ctrl-A x ends with 0" grep -qx 0 "$tmp/status"
	check "Ctrl-A h tells the keys" grep -q "Ctrl-A x ends the machine" "$tmp/screen"
	check "restored after SIGTERM" in_terminal 'is_raw; kill $(cat $tmp/pid); sleep 0.5'
	check "SIGTERM ends with 143" grep -qx 143 "$tmp/status"
	check "restored after kill -9" in_terminal 'is_raw && touch $tmp/raw2; kill -9 $(cat $tmp/pid); sleep 0.5'
	check "it was raw before kill -9" test -e "$tmp/raw2"
	check "kill -9 is seen" grep -qx 137 "$tmp/status"
}

many() {
	pids=
	for i in $(seq 64); do
		timeout 60 "$hutch" boot --kernel "$flat/ends.elf" --append cr --on-reboot reset --memory 32M --name "m$i" \
			--console "$tmp/many.$i" </dev/null 2>"$tmp/many.err.$i" &
		pids="$pids $!"
	done
	failed=0
	for p in $pids; do wait "$p" || failed=$((failed + 1)); done
	check "64 machines at once end well" test $failed = 0
	check "each said its own" test "$(grep -ho 12345 "$tmp"/many.[0-9]* | wc -l)" = 64
	check "no run folder is left" test -z "$(ls "$XDG_RUNTIME_DIR/hutch" 2>/dev/null)"
	check "no process is left" wait_for sh -c "! ps -e -o args= | grep -q '[h]utch boot .*--name m[0-9]'"
}

# the guest's terminal is as large as ours, and stays so
window() {
	cat >"$tmp/session" <<-EOT
		stty cols 90 rows 33
		readlink /proc/self/fd/0 >$tmp/tty
		$hutch boot --kernel $flat/idle.elf --memory 32M --console-device virtio --name window
	EOT
	size() { "$hutch" inspect --json window | grep -q "\"cols\":$1,\"rows\":$2"; }
	rm -f "$tmp/sized" "$tmp/resized"
	{
		wait_for size 90 33 && touch "$tmp/sized"
		stty cols 101 rows 44 <"$(cat "$tmp/tty")"
		wait_for size 101 44 && touch "$tmp/resized"
		printf '\001x'
		sleep 0.5
	} | timeout 40 script -qec "bash $tmp/session" /dev/null >"$tmp/screen" 2>&1
	check "a virtio console has the size of its terminal" test -e "$tmp/sized"
	check "and is told when that changes" test -e "$tmp/resized"
}

# live NAME WANT-STATUS PATTERN KEY=VALUE: set something of the machine "live"
live() {
	name=$1 want=$2 pattern=$3
	shift 3
	"$hutch" set live "$@" >"$tmp/out" 2>&1
	status=$?
	if [ $status = "$want" ] && { [ -z "$pattern" ] || grep -qE -- "$pattern" "$tmp/out"; }; then echo "ok $name"
	else echo "not ok $name: status $status: $(cat "$tmp/out")"; fi
}

# what can be changed while a machine runs
changes() {
	truncate -s 1M "$tmp/live.img" "$tmp/base.img"
	"$hutch" boot --kernel "$flat/idle.elf" --memory 32M --name live --console-device virtio --balloon 1M \
		--disk "$tmp/live.img" --disk "$tmp/base.img,format=cow" </dev/null >/dev/null 2>&1 &
	pid=$!
	has() { "$hutch" inspect --json live | grep -q "$1"; }
	wait_for has '"cols":0,"rows":0'
	live "balloon set" 0 '' balloon=8M
	check "the guest is told the new target" has '"target":2048'
	live "balloon above memory refused" 1 "balloon: 33M is more than the machine's memory of 32M" balloon=33M
	live "reporting is no live key" 1 "reporting cannot be changed" balloon=reporting=no
	live "disk limits set" 0 '' disk@0.iops=100 disk@1=bw=2M,iops-burst=7
	check "the limits stand in the tree" has '"bw":0,"bw_burst":0,"iops":100'
	check "each on its own disk" has '"bw":2097152,"bw_burst":0,"iops":0,"iops_burst":7'
	live "a limit that is none" 1 "disk@0.iops: 'many' is not a whole number" disk@0.iops=many
	live "a disk that is not there" 1 "disk@2.iops: the machine has no such device" disk@2.iops=5
	live "which disk" 1 "write which one, as in disk@0" disk=iops=5
	live "a key of the disk that is not live" 1 "disk@0.path: path cannot be changed" disk@0.path=/x
	live "a key that is not live" 1 "memory: memory cannot be changed" memory=64M
	live "a key that is none" 1 "unknown key 'ipos'; did you mean 'iops'" disk@0.ipos=5
	live "console size set" 0 '' console-size=132x50
	check "the guest is told the new size" has '"cols":132,"rows":50'
	live "bad console size refused" 1 "console_size: '132' is no size" console-size=132
	check "and nothing has changed" has '"cols":132,"rows":50'
	kill $pid
	wait $pid
}

# machines with every device at once: each uses all of its own
many_devices() {
	pids=
	"$flat/../peer" echo "unix-listen:$tmp/net" 64 >/dev/null & # a network that sends frames back
	echo=$!
	wait_for test -S "$tmp/net"
	before=$(ls /proc/$$/fd | wc -l)
	for i in $(seq 64); do
		truncate -s 1M "$tmp/disk.$i"
		timeout 60 "$hutch" boot --kernel "$flat/all.elf" --memory 32M --disk "$tmp/disk.$i" --balloon 1M,stats=1 \
			--net "user,socket=$tmp/net" --vsock \
			--console-device virtio --name "d$i" --console "$tmp/devices.$i" </dev/null 2>"$tmp/devices.err.$i" &
		pids="$pids $!"
	done
	failed=0
	for p in $pids; do wait "$p" || failed=$((failed + 1)); done
	check "64 machines with all devices end well" test $failed = 0
	check "each used all of its devices" test "$(cat "$tmp"/devices.[0-9]* | grep -cE '^(blk|net|vsock|rng|balloon|console): ok$')" = 384
	check "and none failed" test -z "$(grep -h failed "$tmp"/devices.[0-9]*)"
	wait $echo
	check "the network served all of them" test $? = 0
	check "no run folder of theirs is left" test -z "$(ls "$XDG_RUNTIME_DIR/hutch" 2>/dev/null)"
	check "no process of theirs is left" wait_for sh -c "! ps -e -o args= | grep -q '[h]utch boot .*--name d[0-9]'"
	check "no descriptor is left" test "$(ls /proc/$$/fd | wc -l)" = "$before"
	rm -f "$tmp"/disk.[0-9]*
}

# a console that takes nothing does not hold the guest up, and what is lost is told
lost_output() {
	timeout 20 "$hutch" boot --kernel "$flat/hello.elf" </dev/null >/dev/full 2>"$tmp/err"
	check "a full disk under the console is no failure" test $? = 0
	check "lost output is told" grep -q "^hutch: 24 bytes of console output were dropped" "$tmp/err"
}

# where our own lines go, and how they look
log_lines() {
	loses="--kernel $flat/hello.elf" # 24 bytes of its console
	timeout 20 "$hutch" boot --nonsense --log-format json $loses </dev/null >/dev/null 2>"$tmp/err"
	check "a wrong flag, as JSON" grep -qxE '\{"ts":"[0-9TZ:.-]{24}","level":"error","msg":"boot: unknown flag --nonsense; .hutch help boot. lists them"\}' "$tmp/err"
	timeout 20 "$hutch" boot $loses --log-file "$tmp/log" --log-format json --name logged </dev/null >/dev/full 2>"$tmp/err"
	check "a log file is no failure" test $? = 0
	check "and stderr is silent then" test ! -s "$tmp/err"
	check "it has the line, and whose it is" grep -qxE \
		'\{"ts":"[0-9TZ:.-]{24}","level":"warning","id":"[0-9a-f]{32}","name":"logged","msg":"24 bytes of console .*"\}' "$tmp/log"
	check "it is nobody else's to read" test "$(stat -c %a "$tmp/log")" = 600
	timeout 20 "$hutch" boot $loses --log-file "$tmp/log" </dev/null >/dev/full 2>"$tmp/err"
	check "it is appended to, as text" test "$(grep -cE '^[0-9TZ:.-]{24} hutch: 24 bytes' "$tmp/log") $(wc -l <"$tmp/log")" = "1 2"
	says "a log file that cannot be" 125 "error 125 E_LOG: --log-file $tmp/none/log: No such file" \
		"$hutch" boot $loses --log-file "$tmp/none/log"
	says "a format that is none" 2 "--log-format: 'yaml' is neither text nor json" "$hutch" boot --log-format yaml
	timeout 20 "$hutch" boot $loses --log-file /dev/full </dev/null >/dev/full 2>"$tmp/err"
	check "a log on a full disk ends nothing" test $? = 0
	check "and that is told, once" test "$(cat "$tmp/err")" = \
		"hutch: warning: the log cannot be written, and lines of it are lost: No space left on device"
	printf 'memory: 32M\n' >"$tmp/policy.yaml"
	refused="$hutch run --policy $tmp/policy.yaml -m 64M"
	says "what a policy refuses is told once" 125 "error 125 E_POLICY: memory: '64M'" $refused -- true
	timeout 20 $refused --log-format json --correlation-id order:7 --log-file "$tmp/refused" -- true
	check "and as JSON it is an event too" grep -qF \
		'"level":"warning","id":"order:7","event":"security.policy","key":"memory","value":"64M","origin":"-m","most":"32M","policy":"'"$tmp/policy.yaml"'","msg":' \
		"$tmp/refused"
	# whoever reads our lines is not spoken to by what is in them
	odd=$(printf '\033[31m\nhutch: forged')
	says "a text that is odd" 1 'kernel .*\\x1b\[31m\\x0ahutch: forged: there is no such file' "$hutch" boot --kernel "$odd"
}

# what the process itself costs beside its guest, in a minimal machine that sleeps
memory() {
	if grep -q __asan_init "$hutch"; then
		echo "skip memory of the process: this hutch is built with sanitizers"
		return
	fi
	sync "$hutch" # else its own text counts as dirty while the page cache is
	sleeper
	sleep 0.5
	rollup=$(awk '/^Private_Dirty/ { print $2 }' "/proc/$pid/smaps_rollup")
	# guest RAM: the mapping of 32 MiB
	guest=$(awk '/^[0-9a-f]+-/ { size = 0; split($1, a, "-") } /^Size:/ { size = $2 }
		/^Private_Dirty:/ && size == 32768 { print $2 }' "/proc/$pid/smaps")
	kill "$pid"
	wait "$pid" 2>/dev/null
	own=$((rollup - ${guest:-0}))
	echo "memory: $rollup KiB private, $guest KiB of it the guest's" >&2
	check "the process itself takes 2 MiB at most ($own KiB)" test "$own" -le 2048
	check "and its guest's memory was told apart" test "${guest:-0}" -gt 0
}

bad_values
bad_files
bad_hosts
names
terminal
lost_output
log_lines
many
many_devices
changes
window
memory
