#!/bin/sh
# tests/e2e/image.sh: hutch image as a person meets it: what it makes, lists and removes, what it refuses, two at
# once and one that is killed. No guest is run.
#
# Prints "ok NAME", "not ok NAME: WHY" or "skip NAME: WHY".
set -u
cd "$(dirname "$0")/../.." || exit 1
hutch=$PWD/${B:-build}/hutch
tmp=$(mktemp -d "${TMPDIR:-/tmp}/hutch-image.XXXXXX") || exit 1
export XDG_DATA_HOME="$tmp/data" XDG_CACHE_HOME="$tmp/cache"
trap 'rm -rf "$tmp"' EXIT

# check NAME COMMAND...
check() {
	name=$1
	shift
	if "$@" >"$tmp/check" 2>&1; then echo "ok $name"; else echo "not ok $name: $(head -n 3 "$tmp/check")"; fi
}

# says NAME WANT-STATUS PATTERN ARGUMENTS...: one line on stderr, which has the pattern, and nothing on stdout
says() {
	name=$1 want=$2 pattern=$3
	shift 3
	"$hutch" image "$@" </dev/null >"$tmp/out" 2>"$tmp/err"
	status=$?
	if [ $status != "$want" ]; then
		echo "not ok $name: exit status $status, not $want: $(head -n 3 "$tmp/err")"
	elif [ "$(wc -l <"$tmp/err")" != 1 ] || ! grep -qE -- "^hutch: $pattern" "$tmp/err"; then
		echo "not ok $name: '$(cat "$tmp/err")' is not like '$pattern'"
	elif [ -s "$tmp/out" ]; then
		echo "not ok $name: it prints on stdout"
	else
		echo "ok $name"
	fi
}

nothing_yet() {
	check "an empty list" sh -c '[ -z "$("$0" image ls)" ] && [ "$("$0" image ls --json)" = "[]" ]' "$hutch"
	check "looking makes nothing" [ ! -e "$tmp/data" ]
}

refused() {
	says "no such verb" 2 "image: there is no 'bild'; did you mean 'build'" bild
	says "nothing to build" 2 "image build: a source" build
	says "a source without a name" 2 "image build: .*-o FILE" build "$tmp"
	says "a name and a file" 2 "image build: .*-o FILE" build "$tmp" name -o "$tmp/x"
	says "-o of nothing" 2 "-o: a value is missing: FILE" build "$tmp" -o
	says "a bad name" 2 "image build: 'a/b' is not a name" build "$tmp" a/b
	says "an unknown flag" 2 "image build: unknown flag --outptu; did you mean --output" build "$tmp" --outptu x
	says "no such source" 125 ".*/none: No such file" build "$tmp/none" name
	says "a text as source" 125 ".*is not an archive of tar" build Makefile name
	says "a device as target" 125 "/dev/null: is there and is no file" build tools -o /dev/null
	says "no such folder" 125 ".*cannot be made: No such file" build tools -o "$tmp/none/x"
	says "too many for ls" 2 "image ls: 'x' is too many" ls x
	says "rm of nothing" 2 "image rm: a name is needed" rm
	says "rm of what is not there" 1 "image rm: there is no image 'none'" rm none
}

life() {
	check "build" "$hutch" image build tools tools
	check "build with -o" "$hutch" image build tools -o "$tmp/file"
	check "the same bytes" cmp "$tmp/file" "$tmp/data/hutch/images/tools.img"
	check "the list" sh -c '"$0" image ls | grep -qE "^tools +erofs +[0-9]+ .*iB  20"' "$hutch"
	check "the list as JSON" sh -c '"$0" image ls --json | grep -qE "$1"' "$hutch" \
		'^\[\{"name":"tools","type":"erofs","files":[0-9]+,"size_bytes":[0-9]+,"created_at":"20.*Z"\}\]$'
	says "rm of a similar name" 1 "image rm: there is no image 'tool'; did you mean 'tools'\?" rm tool
	check "rm" "$hutch" image rm tools
	check "and it is gone" sh -c '[ -z "$("$0" image ls)" ]' "$hutch"
}

# the last one wins, whole; and nobody's half stays
at_once() {
	mkdir "$tmp/src"
	dd if=/dev/zero bs=1M count=30 2>/dev/null | tr '\0' x >"$tmp/src/big"
	"$hutch" image build "$tmp/src" twice >/dev/null & one=$!
	"$hutch" image build "$tmp/src" twice >/dev/null & two=$!
	wait $one || echo "not ok the first of two at once"
	wait $two || echo "not ok the second of two at once"
	check "two at once" sh -c '"$0" image build "$1/src" -o "$1/whole" && cmp "$1/whole" "$2"' \
		"$hutch" "$tmp" "$tmp/data/hutch/images/twice.img"
	for delay in 0.01 0.03 0.1; do
		"$hutch" image build "$tmp/src" killed >/dev/null & one=$!
		sleep $delay
		kill -9 $one 2>/dev/null
		wait $one 2>/dev/null
	done
	check "after a kill" "$hutch" image build "$tmp/src" twice
	check "nothing is left of the killed" sh -c '! ls -A "$1" | grep -v "^twice.img$\|^killed.img$"' \
		"$hutch" "$tmp/data/hutch/images"
}

nothing_yet
refused
life
at_once
