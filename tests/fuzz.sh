#!/bin/sh
# tests/fuzz.sh FUZZER...: each for FUZZ_SECONDS (60), two at a time, from its corpus in tests/corpus.
#
# What is found grows build/fuzz/corpus; a crash leaves its input in build/fuzz/crash-NAME-* and fails.
set -u
cd "$(dirname "$0")/.." || exit 1
seconds=${FUZZ_SECONDS:-60}
B=${B:-build}/fuzz

one() {
	mkdir -p "$B/corpus/$1"
	if ASAN_OPTIONS=detect_leaks=1 "$B/$1" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
		-print_final_stats=1 -verbosity=0 -artifact_prefix="$B/crash-$1-" \
		"$B/corpus/$1" "tests/corpus/$1" >"$B/$1.log" 2>&1; then
		echo "ok $1: $(sed -n 's/^stat::number_of_executed_units: *//p' "$B/$1.log") inputs in $seconds s"
	else
		echo "not ok $1: see $B/$1.log"
		tail -n 30 "$B/$1.log"
	fi
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
