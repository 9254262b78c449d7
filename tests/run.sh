#!/bin/sh
# tests/run.sh [unit] [scripts] [lint] [asan] [fuzz] [e2e]: run the tests, all kinds unless some are named.
#
# Each program prints what it does into a log; when it fails, the checks that failed and the log's end are shown, or
# where it is such a run itself, what that showed.
# The last line counts single checks: "N passed, N failed", and ", N skipped" with the reasons above it.
#   unit      tests/t_*.c (libcheck), flat guests on /dev/kvm among them
#   scripts   tests/*.sh that test (acpi.sh, syscalls.sh), lines "ok NAME", "not ok NAME", "skip NAME: REASON"
#   lint      tools/lint.sh
#   asan      the unit tests again, under the address and undefined-behaviour sanitizers
#   fuzz      every fuzzer for half a minute, two at a time, and that of snapshots for a whole one; `make fuzz` goes on
#             for a million rings a device
#   e2e       tests/e2e/*.sh, Linux guests; in the testbed where this machine cannot run them
set -u
cd "$(dirname "$0")/.." || exit 1
B=${B:-build}
logs=$B/test-logs
# those that build are makes of their own, not parts of the one that called
unset MAKEFLAGS MAKELEVEL MFLAGS
mkdir -p "$logs"
passed=0 failed=0 skipped=0
[ $# -gt 0 ] || set -- unit scripts lint asan fuzz e2e

note() { # RESULT NAME SECONDS LOG
	printf '%-5s %-24s %3s s\n' "$1" "$2" "$3"
	[ "$1" = FAIL ] || return 0
	if grep -q '^FAIL ' "$4"; then grep -E '^(FAIL |      \| )' "$4"; else grep '^not ok ' "$4"; fi |
		sed 's/^/      | /'
	{ echo; tail -n 40 "$4"; } | sed 's/^/      | /'
}

# a libcheck program: its summary counts
unit() {
	name=$(basename "$1") log=$logs/$(basename "$1").log start=$(date +%s)
	CK_DEFAULT_TIMEOUT=60 timeout 600 "$1" >"$log" 2>&1
	status=$?
	counts=$(sed -n 's/^[0-9]*%: Checks: \([0-9]*\), Failures: \([0-9]*\), Errors: \([0-9]*\).*/\1 \2 \3/p' "$log" |
		awk '{ c += $1; b += $2 + $3 } END { print c + 0, b + 0 }')
	all=${counts% *} bad=${counts#* }
	skips=$(grep -c '^skip ' "$log")
	# a program that died before its summary, or says it failed where it counts nothing, is one failure
	if [ $status != 0 ] && [ "$bad" = 0 ]; then bad=1 all=$((all + 1)); fi
	if [ $status = 0 ] && [ "$all" = 0 ]; then bad=1 all=1; echo "no test was run" >>"$log"; fi
	passed=$((passed + all - bad - skips)) failed=$((failed + bad)) skipped=$((skipped + skips))
	[ "$bad" = 0 ] && result=ok || result=FAIL
	note $result "$name" $(($(date +%s) - start)) "$log"
	sed -n 's/^skip /      skipped: /p' "$log"
}

# a script that prints its results as lines
script() {
	name=$1 log=$logs/$(echo "$1" | tr / -).log start=$(date +%s)
	shift
	timeout 2400 "$@" >"$log" 2>&1
	status=$?
	ok=$(grep -c '^ok ' "$log") bad=$(grep -c '^not ok ' "$log") skips=$(grep -c '^skip ' "$log")
	[ $status = 0 ] || [ "$bad" != 0 ] || bad=1
	if [ $((ok + bad + skips)) = 0 ]; then bad=1; echo "no test was run" >>"$log"; fi
	passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skips))
	[ "$bad" = 0 ] && result=ok || result=FAIL
	note $result "$name" $(($(date +%s) - start)) "$log"
	sed -n 's/^skip /      skipped: /p' "$log"
}

for kind; do
	case $kind in
	unit) for t in "$B"/tests/t_*; do case $t in *.*) ;; *) unit "$t" ;; esac; done ;;
	scripts)
		script acpi sh -c 'tests/acpi.sh
			case $? in 0) echo "ok ACPI tables under iasl" ;; 77) echo "skip acpi: iasl is missing" ;; *) exit 1 ;; esac'
		script syscalls tests/syscalls.sh
		;;
	asan) script asan make --no-print-directory asan ;;
	lint) script lint sh -c 'tools/lint.sh && echo ok lint' ;;
	fuzz) script fuzz make --no-print-directory FUZZ_SECONDS=30 FUZZ_RINGS=0 fuzz ;;
	e2e) for t in tests/e2e/*.sh; do script "e2e/$(basename "$t" .sh)" "$t"; done ;;
	*) echo "run.sh: there is no kind of test '$kind'"; failed=$((failed + 1)) ;;
	esac
done
if [ $skipped = 0 ]; then
	echo "$passed passed, $failed failed"
else
	echo "$passed passed, $failed failed, $skipped skipped"
fi
[ $failed = 0 ]
