#!/bin/sh
# tests/e2e/debian.sh [GROUP...]: hutch run on a root that is a whole Debian (bookworm, minbase): apt-get, gcc, python.
#
# The root is made by debootstrap from the mirror that apt is set to, once, in build/debian, and packed into an image.
# Needs root and debootstrap.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh.inc
. tests/e2e/run.sh.inc
limit=550
debian=$PWD/build/debian

prepare() {
	[ ! -s "$debian/root.img" ] || return 0
	PATH=$PATH:/usr/sbin:/sbin
	command -v debootstrap >/dev/null || { echo "skip debian: debootstrap is not installed"; exit 0; }
	[ "$(id -u)" = 0 ] || { echo "skip debian: debootstrap needs root"; exit 0; }
	mirror=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
		sed -n 's/^bookworm main //p' | head -n 1)
	[ "$mirror" ] || { echo "skip debian: apt has no mirror of bookworm"; exit 0; }
	rm -rf "$debian"
	mkdir -p "$debian"
	if ! debootstrap --variant=minbase --include=gcc,libc6-dev,python3-minimal bookworm "$debian/root" "$mirror" \
		>"$debian/log" 2>&1; then
		# a mirror that apt reaches and nobody else is no failure of ours; all the rest is
		if grep -qE 'Failed getting release file|Couldn.t download' "$debian/log"; then
			echo "skip debian: debootstrap does not reach $mirror"
			exit 0
		fi
		echo "not ok debian: debootstrap failed: $(tail -n 1 "$debian/log")"
		exit 1
	fi
	rm -rf "$debian"/root/var/cache/apt/archives/*.deb "$debian"/root/var/lib/apt/lists/*
	build/hutch image build "$debian/root" -o "$debian/root.new" && build/hutch image build "$debian/root" -o "$debian/again" &&
		cmp "$debian/root.new" "$debian/again" || { echo "not ok debian: packing it twice"; exit 1; }
	rm -rf "$debian/again" "$debian/root"
	mv "$debian/root.new" "$debian/root.img"
}

# each of these is a machine of its own
debian() {
	check "debian: apt-get" 0 run $patience --rootfs "$debian/root.img" -- apt-get --version &&
		holds "debian: apt-get" "$tmp/out" "apt 2.6"
	check "debian: gcc" 7 run $patience -m 512M --timeout 4m --rootfs "$debian/root.img" -w /root -- sh -c '
		printf "#include <stdio.h>\nint main(void) { puts(\"compiled\"); return 7; }\n" >a.c
		gcc -O2 -o a a.c && ./a' && is "debian: gcc" compiled
	check "debian: python3" 3 run $patience --rootfs "$debian/root.img" -u nobody -- python3 -c '
import os, sys
print(sum(range(100000)), os.getuid())
sys.exit(3)' && is "debian: python3, as somebody else" "4999950000 65534"
}

# code for an interpreter of the guest: run, and compiled only
code() {
	mkdir -p "$tmp/c"
	printf 'import sys\nprint("argument", sys.argv[1])\nsys.exit(4)\n' >"$tmp/c/good.py"
	printf 'print("never")\ndef f(:\n' >"$tmp/c/bad.py"
	check "code: python" 4 run $patience --rootfs "$debian/root.img" --runtime python --code "$tmp/c/good.py" -- one &&
		is "code: python" "argument one"
	check "check --code: good" 0 check $patience --rootfs "$debian/root.img" --runtime python --code "$tmp/c/good.py" &&
		is "check --code: is not run" ""
	check "check --code: bad" 1 check $patience --rootfs "$debian/root.img" --runtime python --code "$tmp/c/bad.py" &&
		holds "check --code: bad" "$tmp/err" SyntaxError "line 2"
	check "code: no interpreter" 127 run $patience --rootfs "$debian/root.img" --runtime javascript --code "$tmp/c/bad.py" &&
		holds "code: no interpreter" "$tmp/err" E_RUNTIME node
}

run_groups "debian code" "$@"
