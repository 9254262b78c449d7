#!/bin/sh
# Each ACPI table of several boards must survive iasl: taken apart and compiled again it gives the same bytes,
# with no error, warning or remark. What differs by nature is the name of the compiler, and so the checksum.
#
#   tests/acpi.sh		needs $B/tests/t_acpi (B is "build" if unset); exit status 77 without iasl
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
t_acpi=${B:-$top/build}/tests/t_acpi

command -v iasl >/dev/null || {
	echo "acpi.sh: skipped: no iasl here (it is in the package acpica-tools)"
	exit 77
}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
"$t_acpi" dump "$tmp" >"$tmp/log" || {
	cat "$tmp/log"
	exit 1
}

failed=0
fail()	# TABLE WHAT
{
	echo "acpi.sh: $1: $2"
	[ ! -s "$tmp/log" ] || cat "$tmp/log"
	failed=1
}

# offsets, from 1, that may differ: none in a FACS, which has no such header
may_differ()	# TABLE
{
	case $1 in
	*.FACS) echo 0 ;;
	*) echo '$1 == 10 || $1 >= 29 && $1 <= 36' ;;
	esac
}

check()	# TABLE
{
	name=${1##*/}
	if ! iasl -p "$tmp/out" -d "$1" >"$tmp/log" 2>&1 || [ ! -s "$tmp/out.dsl" ]; then
		fail "$name" "iasl cannot read it"
		return
	fi
	if grep -iE 'error|warning|invalid|checksum.*should' "$tmp/log" "$tmp/out.dsl" >"$tmp/found"; then
		fail "$name" "$(cat "$tmp/found")"
	fi
	if ! iasl -p "$tmp/again" "$tmp/out.dsl" >"$tmp/log" 2>&1 ||
		! grep -q ' 0 Errors, 0 Warnings, 0 Remarks' "$tmp/log"; then
		fail "$name" "iasl does not compile it again without complaint"
		return
	fi
	cmp -l "$1" "$tmp/again.aml" >"$tmp/log" 2>&1 || :
	if awk "!($(may_differ "$name"))" "$tmp/log" | grep -q .; then
		fail "$name" "iasl makes other bytes of it"
	fi
	rm "$tmp/out.dsl" "$tmp/again.aml"
}

tables=0
for table in "$tmp"/*.[A-Z]*; do
	check "$table"
	tables=$((tables + 1))
done
[ $tables -gt 20 ] || fail t_acpi "wrote only $tables tables"
[ $failed = 0 ] && echo "acpi.sh: $tables tables, all clean"
exit $failed
