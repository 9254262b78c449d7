#!/bin/sh
# tests/e2e/demo.sh: README's first screen is what `make demo` prints, but for the machine's name and the kernel's version
cd "$(dirname "$0")/../.." || exit 1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# one kernel and one name for all
plain() {
	sed -E 's/^Linux [a-z]+ .*GNU\/Linux$/Linux NAME VERSION/' "$1"
}

awk '/^What `make demo` shows:$/ { on = 1; next } on && /^    / { print substr($0, 5) } on && /^[^ ]/ { exit }' README.md >"$tmp/readme"
MAKEFLAGS= timeout 900 make demo >"$tmp/all" 2>&1
status=$?
sed -n '/^+ /,$p' "$tmp/all" >"$tmp/demo"
plain "$tmp/readme" >"$tmp/want"
plain "$tmp/demo" >"$tmp/got"
if [ $status = 0 ] && [ -s "$tmp/want" ] && diff "$tmp/want" "$tmp/got" >"$tmp/diff"; then
	echo "ok README's first screen is what make demo shows"
else
	echo "not ok README's first screen is not what make demo shows (exit status $status)"
	cat "$tmp/all" "$tmp/diff" >&2
fi
