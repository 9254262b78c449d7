#!/bin/sh
# tests/fuzz.sh FUZZER...: each for FUZZ_SECONDS (60), two at a time, from its corpus in tests/corpus; that of snapshots
# for a minute at least.
#
# The fuzzers of devices go on in rounds of that time until each device has seen FUZZ_RINGS chains (0), taken or
# refused, and that of snapshots until it has had as many files. What is found grows build/fuzz/corpus; a crash leaves
# its input in build/fuzz/crash-NAME-* and fails.
set -u
cd "$(dirname "$0")/.." || exit 1
rings=${FUZZ_RINGS:-0}
B=${B:-build}/fuzz

# enough NAME INPUTS: has each device seen what it should, or the loader? The sums of all rounds stand in NAME.rings.
enough() {
	sed -n 's/^rings: //p' "$B/$1.log" >>"$B/$1.all"
	awk '{ n[$1] += $2 } END { for (d in n) print d, n[d] }' "$B/$1.all" >"$B/$1.rings"
	[ "$1" != fuzz_snap ] || [ "$2" -ge "$rings" ] || return 1
	awk '{ print $2 }' "$B/$1.rings" | awk -v least="$rings" '$1 < least { exit 1 }'
}

one() {
	mkdir -p "$B/corpus/$1"
	rm -f "$B/$1.all"
	inputs=0 result='not ok' seconds=${FUZZ_SECONDS:-60}
	[ "$1" != fuzz_snap ] || [ "$seconds" -gt 60 ] || seconds=60
	# what cannot get there in two hours never does
	for round in $(seq $((7200 / seconds + 1))); do
		if ! ASAN_OPTIONS=detect_leaks=1 "$B/$1" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
			-max_len=2048 -len_control=0 -print_final_stats=1 -verbosity=0 -artifact_prefix="$B/crash-$1-" \
			"$B/corpus/$1" "tests/corpus/$1" >"$B/$1.log" 2>&1; then
			echo "not ok $1: see $B/$1.log"
			tail -n 30 "$B/$1.log"
			return
		fi
		inputs=$((inputs + $(sed -n 's/^stat::number_of_executed_units: *//p' "$B/$1.log")))
		if enough "$1" $inputs; then result=ok && break; fi
	done
	echo "$result $1: $inputs inputs in $((round * seconds)) s$(
		sed 's/\(.*\) \(.*\)/, \2 rings of \1/' "$B/$1.rings" | tr -d '\n')"
}

while [ $# -gt 0 ]; do
	one "$1" &
	shift
	if [ $# -gt 0 ]; then
		one "$1" &
		shift
	fi
	wait
done
